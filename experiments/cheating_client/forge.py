"""How a liar makes its update: the product's own maker, and what it takes to send something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from client.participant import Submission
from core.bounds.parameters import Parameters
from core.bounds.proof import Witness, prove
from core.protected_update import ProtectedUpdate, UpdateMaker, split_update, statement_of
from core.protocol import RoundDescription
from core.secagg.encoding import IntArray
from core.secagg.noise import NoiseKind
from core.secagg.paillier import Encrypted, PaillierEncryptor
from experiments.cheating_client.forger import Liar, packed

Lie = Callable[["Forge", IntArray], ProtectedUpdate]
"""Returns a false update, given the slots of the honest one."""


@dataclass(frozen=True)
class Disguised(ProtectedUpdate):
    """An update that is sent with other ciphertexts than those whose digest is signed beside it."""

    sent: bytes

    @property
    def payload(self) -> bytes:
        """What is sent."""
        return self.sent + self.proof


class Forge(UpdateMaker):
    """Makes updates that lie.

    Args:
        accomplice: returns what another client has made for this round, as that client could hand it over.
        earlier: the liar's own updates of earlier rounds.
    """

    def __init__(
        self, lie: Lie, accomplice: Callable[[], Submission], earlier: Sequence[Submission],
        description: RoundDescription, description_digest: bytes, client: str,
    ) -> None:  # fmt: skip
        super().__init__(description, description_digest, client, NoiseKind.SHORT)
        self._lie = lie
        self._accomplice = accomplice
        self._digest = description_digest
        self.description = description
        self.earlier = tuple(split_update(each.description, each.payload) for each in earlier)

    def make(self, slots: IntArray) -> ProtectedUpdate:
        """Lie about these slots."""
        return self._lie(self, slots)

    def honest(self, slots: IntArray) -> ProtectedUpdate:
        """Return the update of an honest client."""
        return super().make(slots)

    @property
    def parameters(self) -> Parameters | None:
        """Of the proofs that the round asks for."""
        return self.description.proven

    @property
    def others(self) -> ProtectedUpdate:
        """The accomplice's update."""
        return split_update(self.description, self._accomplice().payload)

    def encrypt(self, slots: IntArray, change: Callable[[list[int]], None] = lambda _: None) -> Encrypted:
        """Encrypt numbers of any size in slots, after a change of the plaintexts."""
        assert isinstance(self._encryptor, PaillierEncryptor)
        plaintexts = self.packed(slots)
        change(plaintexts)
        return self._encryptor.encrypt_known(plaintexts)

    def packed(self, slots: IntArray) -> list[int]:
        """Lay numbers of any size in slots into plaintexts."""
        encoding = self.description.encoding
        return packed(encoding.slot_bits, encoding.slots_per_plaintext - 1, slots.tolist())

    def prove(self, encrypted: Encrypted, slots: IntArray, client: str = "", **lies: Any) -> ProtectedUpdate:
        """Return an update whose proof speaks of these slots, whatever is in the ciphertexts.

        Where the slots can be proven, the proof is an honest one: a liar that kept an attempt with unlucky masks, of
        which the honest client throws one in fifty away, would be refused for those.
        """
        assert self.parameters is not None
        statement = statement_of(self.description, self._digest, client or self._about[1], encrypted.payload)
        witness = Witness(slots, encrypted.power_of_roots)
        if not lies:
            with suppress(ValueError):  # the slots are out of their ranges
                return ProtectedUpdate(encrypted.payload, prove(self.parameters, statement, witness))
        return ProtectedUpdate(encrypted.payload, Liar(self.parameters, statement, witness, **lies).proof())
