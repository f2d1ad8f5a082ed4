"""Who says that a mail is spam, and that it is deleted: labels, names, flags and filters."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.data.mail import read_mailbox
from core.data.mail.labels import split_labels
from core.data.mail.names import class_in_name, names_trash
from core.errors import DataError
from tests.mails import mail, make_maildir, write_mbox


def verdicts(path: Path, own: str | None = None) -> list[bool]:
    return [found.spam for found in read_mailbox(path, own).mails]


def verdict(tmp_path: Path, headers: str, name: str = "inbox.mbox", own: str | None = None) -> bool:
    return verdicts(write_mbox(tmp_path / name, mail(headers=headers)), own)[0]


# --- Names ---

SPAM_NAMES = [
    *(
        "spam",
        "Spam.mbox",
        "SPAM",
        "Junk",
        "junk.mbox.gz",
        "Junk E-mail",
        "Junk-E-Mail.mbox",
        "Junk Email",
        "spam_2",
        "spam-2013",
    ),
    *(
        "my-spam.mbox",
        "bob-spam",
        "Gmail Spam",
        "[Gmail].Spam",
        "INBOX.Junk",
        "spam-archive",
        "Spam (1).mbox",
        "20030228_spam",
    ),
    *(
        "Bulk Mail",
        "Spamverdacht",
        "Unerwünscht",
        "Courrier indésirable",
        "Indésirables",
        "Pourriel",
        "Correo no deseado",
    ),
    *(
        "Posta indesiderata",
        "Lixo Eletrônico",
        "Ongewenste e-mail",
        "Uønsket e-post",
        "Søppelpost",
        "Skräppost",
        "Roskaposti",
    ),
    *(
        "Niechciane",
        "Nevyžádaná pošta",
        "Levélszemét",
        "Önemsiz E-posta",
        "İstenmeyen",
        "Спам",
        "Нежелательная почта",
        "Спам.mbox",
    ),
    *(
        "Ανεπιθύμητα",
        "דואר זבל",
        "البريد العشوائي",
        "هرزنامه",
        "स्पैम",
        "จดหมายขยะ",
        "Thư rác",
        "迷惑メール",
        "垃圾邮件",
        "垃圾郵件",
        "스팸함",
    ),
    "SKRA\u0308PPOST",
]
NO_OPINION = [
    *(
        "All mail Including Spam and Trash.mbox",
        "Not Spam.mbox",
        "ham-not-spam.mbox",
        "not-junk",
        "no-spam",
        "nospam",
        "Non-Spam",
    ),
    *(
        "Kein Spam",
        "anti-spam",
        "Antispam",
        "spam-ham",
        "ham and spam",
        "Spam & ham",
        "Spam oder Ham",
        "Spam or not",
        "No more spam",
    ),
    *(
        "Recipes, spam",
        "Spam recipes",
        "Spam filter",
        "Spam reports",
        "spamassassin-talk",
        "Junk drawer",
        "Hamburg",
        "Birmingham",
        "inbox",
    ),
    *(
        "Alle E-Mails einschließlich Spam und Papierkorb.mbox",
        "Tous les messages, y compris ceux du dossier Spam et de la corbeille.mbox",
    ),
    *(
        "Todo el correo, incluido Spam y Papelera.mbox",
        "Вся почта, включая Спам и Корзину.mbox",
        "without spam",
        "About spam",
        "Spamalot",
    ),
    "すべてのメール（迷惑メールとゴミ箱のメールを含む）.mbox",
]


@pytest.mark.parametrize("name", SPAM_NAMES)
def test_the_name_of_spam_in_any_language_and_spelling_means_it(name: str) -> None:
    assert class_in_name(name) is True


@pytest.mark.parametrize("name", NO_OPINION)
def test_a_name_that_negates_names_several_or_only_has_the_word_is_no_opinion(name: str) -> None:
    assert class_in_name(name) is None


@pytest.mark.parametrize("name", ["ham", "HAM.mbox", "easy_ham", "hard_ham_2", "enron1-ham"])
def test_ham_is_named_too(name: str) -> None:
    assert class_in_name(name) is False


def test_a_name_of_ones_own_is_spam_in_its_spelling_and_no_other() -> None:
    assert class_in_name("Reklame.mbox", "reklame") is True
    assert class_in_name("Reklame und Rest", "reklame") is None


@pytest.mark.parametrize(
    "name", ["Trash", "Papierkorb", "Corbeille", "Deleted Items", "Корзина", "ゴミ箱", "Trash.mbox"]
)
def test_folders_of_deleted_mail_are_known(name: str) -> None:
    assert names_trash(name)
    assert class_in_name(name) is None


@pytest.mark.parametrize("name", NO_OPINION[:3])
def test_under_a_name_without_opinion_labels_and_filters_decide(name: str, tmp_path: Path) -> None:
    path = write_mbox(
        tmp_path / name, mail(), mail(headers="X-Gmail-Labels: Spam\n"), mail(headers="X-Spam-Flag: YES\n")
    )
    assert verdicts(path) == [False, True, True]


# --- Labels ---


@pytest.mark.parametrize(
    ("labels", "spam"),
    [
        ("Spam", True),
        ("Inbox,Spam,Unread", True),
        ('Inbox,"Spam",Unread', True),
        ('Inbox,"Recipes, spam",Unread', False),
        ('"Recipes, spam",Spam', True),
        ('"spam, spam, spam"', False),
        ("Not Spam,Inbox", False),
        ("Spam recipes", False),
        ("spammy", False),
        ("=?UTF-8?Q?Spam,Ge=C3=B6ffnet?=", True),
        ("=?UTF-8?Q?Posteingang?=,\n =?UTF-8?Q?Spam?=", True),
        ("=?UTF-8?B?0KHQv9Cw0Lw=?=", True),
        ("=?UTF-8?Q?=D0=A1=D0=BF=D0?= =?UTF-8?Q?=B0=D0=BC?=", True),
        ("=?UTF-8?B?6L+35oOR44Oh44O844Or?=,=?UTF-8?B?5pyq6Kqt?=", True),
        ('=?UTF-8?Q?"Rezepte,_Spam"?=', False),
        ("Skräppost", True),
        ("Archive/Spam", True),
        ("Important,Opened", False),
        ("", False),
    ],
)
def test_labels_of_gmail_say_spam_in_any_language_and_quotes_hold_one_together(
    labels: str, spam: bool, tmp_path: Path
) -> None:
    headers = f"X-Spam-Flag: {'NO' if spam else 'YES'}\nX-Gmail-Labels: {labels}\n"
    assert verdict(tmp_path, headers) is spam


def test_labels_are_split_at_commas_outside_quotes() -> None:
    assert split_labels('a, b ,"c, d",,e') == ["a", "b", "c, d", "e"]


def test_an_own_label_is_spam_and_is_never_a_word(tmp_path: Path) -> None:
    path = write_mbox(
        tmp_path / "all.mbox", mail(headers="X-Gmail-Labels: Reklame,Inbox\n"), mail(headers="X-Gmail-Labels: Inbox\n")
    )
    assert verdicts(path) == [False, False]
    assert verdicts(path, "reklame") == [True, False]
    assert all(found.text == "Subject: Lunch\nAt noon?\n" for found in read_mailbox(path, "reklame").mails)


@pytest.mark.parametrize(
    ("headers", "spam"),
    [
        ("X-Keywords: $Junk\n", True),
        ("X-Keywords: NonJunk\nX-Spam-Flag: YES\n", False),
        ("X-Mozilla-Keys: Junk $label1\n", True),
        ("X-Spam-Flag: YES\n", True),
        ("X-Spam-Flag: no\n", False),
        ("X-Spam-Status: Yes, score=7.1\n", True),
        ("X-Spam-Status: No, score=7.1\n", False),
        ("X-Spam: yes\n", True),
        ("X-Bogosity: Spam, tests=bogofilter\n", True),
        ("X-Bogosity: Ham, tests=bogofilter\n", False),
        ("X-DSPAM-Result: Innocent\n", False),
        ("X-MS-Exchange-Organization-SCL: 6\n", True),
        ("X-MS-Exchange-Organization-SCL: -1\n", False),
        ("X-Forefront-Antispam-Report: CIP:1.2.3.4;SFV:SPM;H:x\n", True),
        ("X-Spam-Flag: maybe\nX-Spam: yes\n", True),
    ],
)
def test_keywords_of_a_program_outweigh_filters_and_filters_are_known(headers: str, spam: bool, tmp_path: Path) -> None:
    assert verdict(tmp_path, headers) is spam


# --- Deleted ---


@pytest.mark.parametrize(
    "headers",
    [
        "X-Mozilla-Status: 0009\n",
        "X-Mozilla-Status: 0008\n",
        "X-Mozilla-Status: 8009\n",
        "X-Mozilla-Status: 0001\nX-Mozilla-Status2: 00200000\n",
        "X-Status: AD\n",
        "Status: ROD\n",
        "X-Evolution: 0000001a-0012\n",
        "X-Gmail-Labels: Trash\n",
        "X-Gmail-Labels: =?UTF-8?Q?Papierkorb,Ge=C3=B6ffnet?=\n",
    ],
)
def test_deleted_mail_that_is_still_there_is_counted_and_left_out(headers: str, tmp_path: Path) -> None:
    box = read_mailbox(write_mbox(tmp_path / "inbox", mail(), mail(headers=headers), mail()))
    assert (len(box.mails), box.deleted, box.skipped) == (2, 1, 0)


@pytest.mark.parametrize(
    "headers",
    [
        "X-Mozilla-Status: 0001\n",
        "X-Mozilla-Status: 1001\n",
        "X-Mozilla-Status: nonsense\n",
        "X-Mozilla-Status2: 00000000\n",
        "Status: RO\n",
        "Status: Delivered to you\n",
        "X-Status: AF\n",
        "X-Evolution: 0000001a-0010\n",
        "X-Gmail-Labels: Trash talk\n",
    ],
)
def test_other_marks_delete_nothing(headers: str, tmp_path: Path) -> None:
    assert read_mailbox(write_mbox(tmp_path / "inbox", mail(headers=headers))).deleted == 0


@pytest.mark.parametrize("name", ["cur_1:2,ST", "cur_1:2,T", "cur_1.host,S=9:2,RST", "cur_1;2,T", "cur_1!2,ST"])
def test_the_flag_t_of_a_maildir_is_a_deleted_mail(name: str, tmp_path: Path) -> None:
    path = make_maildir(tmp_path / "box", **{name: mail(), "cur_2:2,S": mail(), "new_T3": mail()})
    box = read_mailbox(path)
    assert (len(box.mails), box.deleted) == (2, 1)


def test_a_mailbox_of_deleted_mail_alone_says_so(tmp_path: Path) -> None:
    path = write_mbox(tmp_path / "inbox", mail(headers="X-Mozilla-Status: 0009\n"))
    with pytest.raises(DataError, match=r"inbox holds only mail that its owner has deleted \(1\)"):
        read_mailbox(path)
