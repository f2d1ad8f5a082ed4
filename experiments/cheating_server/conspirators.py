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
        """Return everything a conspirator has."""
        assert name in self.names, f"{name} does not conspire"
        return self.stage.identities[name]

    def sign_list(self, statement: bytes) -> tuple[HolderSignature, ...]:
        """Sign a list as the conspiring holders, without looking at it."""
        return self._signed(lambda identity: identity.signing.sign(signing.LIST, statement))

    def sign_model(self, statement: bytes) -> tuple[HolderSignature, ...]:
        """Sign any model as the conspiring holders."""
        return self._signed(lambda identity: identity.signing.sign(signing.MODEL, statement))

    def partials(self, certificate: KeyCertificate, payload: bytes) -> dict[int, bytes]:
        """Open ciphertexts with the conspiring holders' shares, which check nothing and are kept."""
        shares = [Shares(self.identity(name)).open(certificate) for name in self._holders]
        return {share.holder: share.partial(payload) for share in shares}

    @property
    def _holders(self) -> list[str]:
        return [name for name in self.stage.holders if name in self.names]

    def _signed(self, sign: Callable[[PartyIdentity], bytes]) -> tuple[HolderSignature, ...]:
        return tuple(HolderSignature(name, sign(self.identity(name))) for name in self._holders)
