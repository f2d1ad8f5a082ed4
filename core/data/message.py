"""One message to be judged; how mail is read is in core/data/mail."""

from __future__ import annotations

from core.data.mail.html import html_to_text
from core.data.mail.kinds import Mail
from core.data.mail.message import text_of_message

__all__ = ["Mail", "html_to_text", "text_of_message"]
