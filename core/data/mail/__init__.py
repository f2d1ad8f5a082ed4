"""Mail: read it in whatever format it comes, write it in the simplest.

What a mailbox can be (each file also packed with gzip, bzip2 or xz):

- a file of lines `label<TAB>text` with the labels ham and spam, named *.tsv or anything, such as the published
  SMSSpamCollection. A line without label is counted and skipped (a header line, a stray line end);
- a CSV file with a column of labels and one of texts, in UTF-8, UTF-16 or Windows-1252 (tables.py);
- an mbox file (mbox.py says what separates mails), a Maildir with its sub-folders (maildir.py), a mailbox folder of
  Apple Mail or Thunderbird, a single mail (.eml, .emlx), or a folder of these;
- a folder of sub-folders named after the classes, such as ham/ and spam/ (or junk/, or easy_ham/ and spam_2/), with one
  file a mail (text or .eml), or a mailbox in each;
- a folder of the files ham.mbox and spam.mbox, or of the files ham.txt and spam.txt with one mail a line, as the book's
  data comes.

Who says that a mail is spam; the first of these that says anything decides: the folder of a collection or mailbox that
the mail lies in; the owner's labels (X-Gmail-Labels, keywords, flags of a mail program); the name of the mailbox;
a filter's header (X-Spam-Flag and others, labels.py). Mail of which nothing is said is ham. names.py knows the names of
spam in many languages, and which names only have the word in them.

Mail that its owner has deleted (a mark in the file, a flag, a label or folder for deleted mail) is counted and left
out. So is what cannot be read, and what is no mail. A mail's text is "Subject: ", its subject and its body
(message.py).
"""

from core.data.mail.kinds import Mail
from core.data.mail.message import text_of_message
from core.data.mail.reading import (
    Mailbox,
    Opened,
    mailboxes_in,
    open_mailbox,
    read_mailbox,
    require_both_classes,
    single_mails_in,
)
from core.data.mail.writing import write_tsv

__all__ = [
    "Mail",
    "Mailbox",
    "Opened",
    "mailboxes_in",
    "open_mailbox",
    "read_mailbox",
    "require_both_classes",
    "single_mails_in",
    "text_of_message",
    "write_tsv",
]
