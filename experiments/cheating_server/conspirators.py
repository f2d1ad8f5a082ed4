"""Who works with the aggregator: clients whose keys it may use, key holders who sign and open whatever it likes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from core.identity import signing
from core.identity.party import PartyIdentity
from core.protocol import (
    LIFE_BYTES,
    Head,
    HolderSignature,
    HolderStart,
    KeyCertificate,
    LedgerState,
    Signed,
    Vouch,
    digest,
)
from core.wire.holder_messages import sign_statement, start_from_bytes, start_to_bytes, vouch_to_bytes
from experiments.cheating_server.stage import Stage
from keyholder.shares import Shares

FIRST = Head(1, digest(b"made up"))
"""What conspiring holders say that their ledger holds."""
MADE_UP = LedgerState(FIRST, bytes(LIFE_BYTES))
"""The state of no ledger."""


@dataclass(frozen=True)
class Conspirators:
    """Parties by name, of a stage of which nothing else is used.

    Attributes:
        lives: of all key holders, as the conspiring ones say; their own are made up.
    """

    stage: Stage
    names: tuple[str, ...]
    lives: dict[str, bytes] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def identity(self, name: str) -> PartyIdentity:
        """Return everything a conspirator has."""
        assert name in self.names, f"{name} does not conspire"
        return self.stage.identities[name]

    def sign_list(self, statement: bytes) -> tuple[HolderSignature, ...]:
        """Sign a list as the conspiring holders, without looking at it."""
        return self.sign(signing.LIST, statement)

    def sign_request(self, statement: bytes) -> tuple[HolderSignature, ...]:
        """Agree, as the conspiring holders, to open any sum."""
        return self.sign(signing.REQUEST, statement)

    def sign_model(self, statement: bytes) -> tuple[HolderSignature, ...]:
        """Sign any model as the conspiring holders."""
        return self.sign(signing.MODEL, statement)

    def sign(self, domain: str, statement: bytes) -> tuple[HolderSignature, ...]:
        """Sign anything as the conspiring holders, with whatever they say of their ledgers."""
        return tuple(
            sign_statement(self.identity(name).signing, name, domain, statement, self._state(name))
            for name in self._holders
        )

    def starts(self) -> tuple[Signed, ...]:
        """Return what the conspiring holders say when they start."""
        return tuple(self._start(name) for name in self._holders)

    def vouches(self, start: Signed) -> tuple[tuple[str, Signed], ...]:
        """Vouch for another holder's start as the conspiring ones, who have seen nothing."""
        said = start_from_bytes(start.body)
        body = vouch_to_bytes(Vouch(said.federation, said.holder, said.life, Head(), 0, b"", ()))
        return tuple(
            (name, Signed(body, self.identity(name).signing.sign(signing.VOUCH, body))) for name in self._holders
        )

    def _start(self, name: str) -> Signed:
        life = self.lives.setdefault(name, secrets.token_bytes(LIFE_BYTES))
        identity = self.identity(name)
        body = start_to_bytes(HolderStart(identity.federation, name, life, FIRST))
        return Signed(body, identity.signing.sign(signing.START, body))

    def _state(self, name: str) -> LedgerState:
        peers = tuple(sorted((other, life) for other, life in self.lives.items() if other != name))
        return LedgerState(FIRST, self.lives[name], peers)

    def partials(self, certificate: KeyCertificate, payload: bytes) -> dict[int, bytes]:
        """Open ciphertexts with the conspiring holders' shares, which check nothing and are kept."""
        shares = [Shares(self.identity(name)).open(certificate) for name in self._holders]
        return {share.holder: share.partial(payload) for share in shares}

    @property
    def _holders(self) -> list[str]:
        return [name for name in self.stage.holders if name in self.names]
