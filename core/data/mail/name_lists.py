"""The words that names.py knows: what spam, ham and deleted mail are called, and what can stand around such a name."""

from __future__ import annotations

SPAM = """
spam, junk, spams, junks, junk mail, junk mails, junk email, junk emails, junk e mail, spam mail, spam mails,
spam email, spam e mail, spambox, spam box, junkbox, spamfolder, junkmail, bulk mail, bulkmail, unsolicited,
spamverdacht, spam verdacht, junk mail folder, spamtrap, unerwünscht, unerwünschte, unerwünschte werbung,
unerwünschte mails, unerwünschte e mail, unerwünschte e mails, werbemüll, pourriel, pourriels, indésirable,
indésirables, indesirables, courrier indésirable, courrier indesirable, courriers indésirables,
courriel indésirable, messages indésirables, correo no deseado, correo basura, no deseado, no deseados,
mensajes no deseados, correu brossa, correo lixo, posta indesiderata, indesiderata, posta spazzatura, spazzatura,
lixo eletrônico, lixo eletrónico, lixo electrónico, lixo eletronico, correio não solicitado, e mail de lixo,
ongewenst, ongewenste e mail, ongewenste mail, ongewenste reclame, uønsket, uønsket e post, uønsket e mail,
uønsket mail, søppelpost, søppel post, skräppost, skräp post, skrappost, roskaposti, roskapostit, ruslpóstur,
niechciane, wiadomości śmieci, wiadomości spam, niechciana poczta, nevyžádaná pošta, nevyžádané, nevyžiadaná pošta,
nevyžiadané, levélszemét, spam levelek, neželjena pošta, neželjeno, vsiljena pošta, nezaželena pošta,
neželena pošta, šlamštas, brukalas, surogātpasts, mēstules, rämpspost, önemsiz, önemsiz e posta, istenmeyen,
istenmeyen posta, gereksiz, gereksiz e posta, спам, нежелательная почта, нежелательные, небажана пошта, небажані,
непотребна пошта, нежељена пошта, нежелана поща, нежелана, ανεπιθύμητα, ανεπιθύμητη αλληλογραφία,
ανεπιθύμητη ηλεκτρονική αλληλογραφία, דואר זבל, ספאם, غير مرغوب فيه, غير مرغوب فيها, البريد غير المرغوب فيه,
البريد العشوائي, بريد عشوائي, الرسائل غير المرغوب فيها, هرزنامه, اسپم, स्पैम, जंक, สแปม, จดหมายขยะ, อีเมลขยะ,
thư rác, surel sampah, sampah spam, 迷惑メール, 迷惑メイル, スパム, 垃圾邮件, 垃圾郵件, 垃圾箱邮件, 广告邮件,
廣告郵件, 垃圾信件, 스팸, 스팸함, 스팸메일, 스팸 메일함, 스팸 메일, 정크, 정크 메일, 정크 메일함
"""
HAM = """
ham, hams
"""
NOT_SPAM = """
not spam, non spam, no spam, notspam, nonspam, nospam, not junk, non junk, no junk, notjunk, nonjunk, kein spam,
geen spam, no es spam, pas spam, pas indésirable, não spam, non è spam, inte spam, ikke spam, не спам
"""
TRASH = """
trash, bin, deleted, deleted items, deleted messages, deleted mail, wastebasket, papierkorb, gelöscht,
gelöschte elemente, gelöschte objekte, corbeille, éléments supprimés, messages supprimés, papelera,
elementos eliminados, eliminados, cestino, posta eliminata, lixeira, lixo, itens excluídos, itens eliminados,
prullenbak, verwijderde items, papirkurv, papperskorgen, papperskorg, slettet post, borttaget, roskakori,
poistetut, kosz, elementy usunięte, koš, kôš, odstraněná pošta, kuka, lomtár, törölt elemek, smeće, koszyk, çöp,
çöp kutusu, silinmiş öğeler, корзина, удаленные, удалённые, кошик, видалені, κάδος, κάδος απορριμμάτων,
διαγραμμένα, אשפה, פריטים שנמחקו, المهملات, سلة المهملات, العناصر المحذوفة, زباله دان, ट्रैश, ถังขยะ, thùng rác,
sampah, ゴミ箱, ごみ箱, 削除済みアイテム, 已删除邮件, 已刪除的郵件, 垃圾桶, 回收站, 휴지통, 지운 편지함
"""

# Words that may stand around the name of a class without changing what it says.
NEUTRAL = """
a all account archive archived archives backup box collection corpus data dataset e easy email emails export folder
from gmail hard hotmail imap in inbox incoming mail mailbox mails mbox message messages my new of old outlook part
sample samples set test testing the train training yahoo alte alter altes archiv mein meine meiner ordner mes mi
mis mio mon ma dossier carpeta cartella pasta map
"""

# Words that may not stand before it: they negate, exclude, include or join.
TURNING = """
about against anti antispam and any aside avoid block blocked but ein eine except excluding fight fighting filter
free gegen ham has have including inclusive is kein keine keinen less maybe mehr mit more nicht nie niet no non
none nor not ohne on or oder other over pas plus possible possibly prevent protect probably report reported sans
sauf sem sin sonstige stop sur un una une und unless unlike unmarked untagged von vs without with y e et ou o og
och inte icke ej ikke ikkje ei não é eivät değil nu sa nincs kun en geen zonder ne nem nie bez без не нет и или
против про non-spam senza contro contra über compris inclus incluido incluindo inclusief einschließlich sous para
pour
"""
