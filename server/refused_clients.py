"""Clients that are left out: those without which key holders would sign a list, and those that have lied.

A key holder that declines a list because of some clients names them. When so many have named one that too few are left
to sign any list with it, its next commitments are refused, so that the run goes on. Fewer holders, who may be
dishonest, leave out no client. A false update speaks for itself: its client takes part in the run no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import structlog

from core.errors import Reason, Refused

log = structlog.get_logger()
ABOUT_CLIENTS = frozenset({Reason.STALE_MEMORY, Reason.BUDGET_SPENT})
"""What a client can be left out for."""


class RefusedClients:
    """Which clients key holders have named, and why.

    Args:
        enough: how many holders must name a client until it is left out.
    """

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._liars: dict[str, Refused] = {}
        self._named: defaultdict[str, dict[str, Refused]] = defaultdict(dict)

    def name(self, holder: str, clients: Iterable[str], refusal: Refused) -> None:
        """Note that a holder signs no list with these clients."""
        for client in clients:
            self._named[client][holder] = refusal
            if len(self._named[client]) == self._enough:
                log.warning("client left out", client=client, reason=refusal.reason.value, why=str(refusal))

    def convict(self, client: str, refusal: Refused) -> None:
        """Note that a client has signed a false update, which its signature shows to everybody."""
        self._liars[client] = refusal

    def require_truthful(self, client: str) -> None:
        """Raise the refusal of a client's false update, if it has signed one in this run."""
        if client in self._liars:
            raise self._liars[client]

    def require_welcome(self, client: str) -> None:
        """Raise the last holder's refusal if a client is left out."""
        refusals = self._named.get(client, {})
        if len(refusals) >= self._enough:
            raise list(refusals.values())[-1]
