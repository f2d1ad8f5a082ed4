"""Who works with the aggregator: clients whose keys it may use, key holders who sign and open whatever it likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.identity import signing
from core.identity.party import PartyIdentity
from core.protocol import HolderSignature, KeyCertificate
from experiments.cheating_server.stage import Stage
from keyholder.shares import Shares


@dataclass(frozen=True)
class Conspirators:
    """Parties by name, of a stage of which nothing else is used."""

    stage: Stage
    names: tuple[str, ...]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def identity(self, name: str) -> PartyIdentity:
        """Everything a conspirator has."""
        assert name in self.names, f"{name} does not conspire"
        return self.stage.identities[name]

    def sign_list(self, statement: bytes) -> tuple[HolderSignature, ...]:
        """Conspiring holders' signatures under a list, which they do not look at."""
        return self._signed(lambda identity: identity.signing.sign(signing.LIST, statement))

    def sign_model(self, statement: bytes) -> tuple[HolderSignature, ...]:
        """Conspiring holders' signatures under whatever model."""
        return self._signed(lambda identity: identity.signing.sign(signing.MODEL, statement))

    def partials(self, certificate: KeyCertificate, payload: bytes) -> dict[int, bytes]:
        """What conspiring holders make of any ciphertexts with their shares: they check nothing, and keep them."""
        shares = [Shares(self.identity(name)).open(certificate) for name in self._holders]
        return {share.holder: share.partial(payload) for share in shares}

    @property
    def _holders(self) -> list[str]:
        return [name for name in self.stage.holders if name in self.names]

    def _signed(self, sign: Callable[[PartyIdentity], bytes]) -> tuple[HolderSignature, ...]:
        return tuple(HolderSignature(name, sign(self.identity(name))) for name in self._holders)
