"""Names that mean spam: of folders, files and labels, in the languages that mail programs speak.

A name is an opinion only if it is the name of one class. "Junk E-mail", "my-spam" and "spam_2" are; "Not Spam", "All
mail Including Spam and Trash", "Spam and ham" and "Spam recipes" are none: they negate, name several things, or only
have the word in them.
"""

from __future__ import annotations

import re
import unicodedata

SPAM_NAMES = """
spam, junk, spams, junks, junk mail, junk mails, junk email, junk emails, junk e mail, spam mail, spam mails, spam email,
spam e mail, spambox, spam box, junkbox, spamfolder, junkmail, bulk mail, bulkmail, unsolicited, spamverdacht,
spam verdacht, junk mail folder, spamtrap, unerwünscht, unerwünschte, unerwünschte werbung, unerwünschte mails,
unerwünschte e mail, unerwünschte e mails, werbemüll, pourriel, pourriels, indésirable, indésirables, indesirables,
courrier indésirable, courrier indesirable, courriers indésirables, courriel indésirable, messages indésirables,
correo no deseado, correo basura, no deseado, no deseados, mensajes no deseados, correu brossa, correo lixo,
posta indesiderata, indesiderata, posta spazzatura, spazzatura, lixo eletrônico, lixo eletrónico, lixo electrónico,
lixo eletronico, correio não solicitado, e mail de lixo, ongewenst, ongewenste e mail, ongewenste mail,
ongewenste reclame, uønsket, uønsket e post, uønsket e mail, uønsket mail, søppelpost, søppel post, skräppost,
skräp post, skrappost, roskaposti, roskapostit, ruslpóstur, niechciane, wiadomości śmieci, wiadomości spam,
niechciana poczta, nevyžádaná pošta, nevyžádané, nevyžiadaná pošta, nevyžiadané, levélszemét, spam levelek,
neželjena pošta, neželjeno, vsiljena pošta, nezaželena pošta, neželena pošta, šlamštas, brukalas, surogātpasts,
mēstules, rämpspost, önemsiz, önemsiz e posta, istenmeyen, istenmeyen posta, gereksiz, gereksiz e posta,
спам, нежелательная почта, нежелательные, небажана пошта, небажані, непотребна пошта, нежељена пошта,
нежелана поща, нежелана, ανεπιθύμητα, ανεπιθύμητη αλληλογραφία, ανεπιθύμητη ηλεκτρονική αλληλογραφία,
דואר זבל, ספאם, غير مرغوب فيه, غير مرغوب فيها, البريد غير المرغوب فيه, البريد العشوائي, بريد عشوائي,
الرسائل غير المرغوب فيها, هرزنامه, اسپم, स्पैम, जंक, สแปม, จดหมายขยะ, อีเมลขยะ, thư rác, surel sampah, sampah spam,
迷惑メール, 迷惑メイル, スパム, 垃圾邮件, 垃圾郵件, 垃圾箱邮件, 广告邮件, 廣告郵件, 垃圾信件, 스팸, 스팸함, 스팸메일, 스팸 메일함, 스팸 메일,
정크, 정크 메일, 정크 메일함
"""
HAM_NAMES = "ham, hams"
NOT_SPAM_NAMES = """
not spam, non spam, no spam, notspam, nonspam, nospam, not junk, non junk, no junk, notjunk, nonjunk, kein spam, geen spam,
no es spam, pas spam, pas indésirable, não spam, non è spam, inte spam, ikke spam, не спам
"""
TRASH_NAMES = """
trash, bin, deleted, deleted items, deleted messages, deleted mail, wastebasket, papierkorb, gelöscht,
gelöschte elemente, gelöschte objekte, corbeille, éléments supprimés, messages supprimés, papelera, elementos eliminados,
eliminados, cestino, posta eliminata, lixeira, lixo, itens excluídos, itens eliminados, prullenbak, verwijderde items,
papirkurv, papperskorgen, papperskorg, slettet post, borttaget, roskakori, poistetut, kosz, elementy usunięte, koš, kôš,
odstraněná pošta, kuka, lomtár, törölt elemek, smeće, koszyk, çöp, çöp kutusu, silinmiş öğeler, корзина, удаленные,
удалённые, кошик, видалені, κάδος, κάδος απορριμμάτων, διαγραμμένα, אשפה, פריטים שנמחקו, المهملات, سلة المهملات,
العناصر المحذوفة, زباله دان, ट्रैश, ถังขยะ, thùng rác, sampah, ゴミ箱, ごみ箱, 削除済みアイテム, 已删除邮件, 已刪除的郵件, 垃圾桶, 回收站,
휴지통, 지운 편지함
"""
# Words that may stand around the name of a class without changing what it says.
NEUTRAL = frozenset(
    "a all account archive archived archives backup box collection corpus data dataset e easy email emails export folder "
    "from gmail hard hotmail imap in inbox incoming mail mailbox mails mbox message messages my new of old outlook "
    "part sample samples set test testing the train training yahoo alte alter altes archiv mein meine meiner ordner "
    "mes mi mis mio mon ma dossier carpeta cartella pasta map".split()
)
BEFORE = 2
"""How many words that are not known may stand before the name: "bob-spam" is Bob's."""
# Words that may not: they negate, exclude, include or join.
TURNING = frozenset(
    "about against anti antispam and any aside avoid block blocked but ein eine except excluding fight fighting filter free "
    "gegen ham has have including inclusive is kein keine keinen less maybe mehr mit more nicht nie niet no non "
    "none nor not ohne on or oder other over pas plus possible possibly prevent protect probably report reported sans "
    "sauf sem sin sonstige stop sur un una une und unless unlike unmarked untagged von vs without with y e et ou o og och "
    "en geen zonder ne nem nie bez без не нет и или против про non-spam senza contro contra über compris inclus incluido "
    "incluindo inclusief einschließlich sous para pour".split()
)
ENDINGS = re.compile(
    r"\.(?:gz|bz2|xz|mbox|mbx|mbs|eml|emlx|txt|tsv|csv|sbd|directory|maildir|mdir|mail)$", re.IGNORECASE
)
SEVERAL = re.compile(r"[,;&+()（）、，]| - ")
TOKEN = re.compile(r"[^\W\d_]+")


def _phrases(names: str) -> dict[tuple[str, ...], int]:
    phrases = (_tokens(name) for name in names.split(","))
    return {phrase: len(phrase) for phrase in phrases if phrase}


def _tokens(name: str) -> tuple[str, ...]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    # Vowel signs are marks, which end no word: "स्पैम".
    whole = "".join(character if unicodedata.category(character)[0] != "M" else "" for character in folded)
    return tuple(TOKEN.findall(whole.replace("'", "")))


SPAM, HAM = _phrases(SPAM_NAMES), _phrases(HAM_NAMES)
NOT_SPAM, TRASH = _phrases(NOT_SPAM_NAMES), _phrases(TRASH_NAMES)
LONGEST = max(SPAM.values())


def names_spam(label: str, own: str | None = None) -> bool:
    """Tell whether a label is the name of spam in some language, or the owner's own; nothing else may be in it."""
    return any(_tokens(part) in SPAM or (own is not None and same_name(part, own)) for part in (label, *label.split("/")))


def names_trash(label: str) -> bool:
    """Tell whether a label or folder is named as the place of deleted mail."""
    return _tokens(ENDINGS.sub("", label)) in TRASH


def same_name(name: str, own: str) -> bool:
    """Tell whether two names are the same but for case, spaces and how their characters are made."""
    folded = [" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in (name, own)]
    return folded[0] == folded[1] != ""


def class_in_name(name: str, own: str | None = None) -> bool | None:
    """Return the class that a file or folder is named after: True is spam, False ham; None if its name is no opinion."""
    while (shorter := ENDINGS.sub("", name)) not in ("", name):
        name = shorter
    if own is not None and same_name(name, own):
        return True
    if SEVERAL.search(re.sub(r"\s*\(\d+\)$", "", name)):
        return None
    tokens = _tokens(name)
    named = [spam for spam, phrases in ((True, SPAM), (False, HAM)) if any((word,) in phrases for word in tokens)]
    if len(named) > 1:
        return None
    return True if _only_name(tokens, SPAM) else False if _only_name(tokens, HAM) else None


def negates(name: str) -> bool:
    """Tell whether a name says "not spam": of a folder beside that of spam, it is the other class."""
    return _tokens(ENDINGS.sub("", name)) in NOT_SPAM


def _only_name(tokens: tuple[str, ...], phrases: dict[tuple[str, ...], int]) -> bool:
    """Tell whether the words are one of the phrases, with nothing around it that changes what it says."""
    for length in range(min(LONGEST, len(tokens)), 0, -1):
        for start in range(len(tokens) - length + 1):
            if tokens[start : start + length] in phrases:
                before, after = tokens[:start], tokens[start + length :]
                unknown = [word for word in before if word not in NEUTRAL]
                return NEUTRAL.issuperset(after) and len(unknown) <= BEFORE and not TURNING.intersection(before)
    return False
