"""Whether a dashboard on this machine shows a folder of runs: the address to tell a person who starts one."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

DEFAULT_LISTEN = "127.0.0.1:8080"
SECONDS = 0.3
LARGEST_ANSWER = 1 << 16


def page_of(folder: Path, listen: str = DEFAULT_LISTEN) -> str | None:
    """Return the address at which a dashboard shows the run in `folder`; None if none does, or it does not answer."""
    with closing(http.client.HTTPConnection(listen, timeout=SECONDS)) as connection:
        try:
            connection.request("GET", "/api/about")
            answer = json.loads(connection.getresponse().read(LARGEST_ANSWER))
        except (OSError, ValueError, http.client.HTTPException):
            return None
    shown = answer.get("runs") if isinstance(answer, dict) else None
    if shown != str(folder.resolve().parent):
        return None
    return f"http://{listen}/#/live/{quote(folder.name)}"
