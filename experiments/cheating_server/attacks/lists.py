"""The closed list: without it, with too few signatures, changed, without the victim, with strangers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace

from core.errors import Reason
from core.identity.signing import LIST, SIGNATURE_BYTES
from core.protocol import HolderSignature
from core.wire.holder_messages import sign_statement
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.attacks.copies import cancelling, read_victim
from experiments.cheating_server.ciphertexts import blend
from experiments.cheating_server.conspirators import MADE_UP
from experiments.cheating_server.crafted import ClosedList
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, OTHERS, VICTIM

FIRST, SECOND = CONSPIRATORS[:2]


def no_list(attacker: Attacker) -> Loot:
    """Demand the updates before any list is closed, and let a conspirator commit then to what cancels the others."""
    return _early(attacker, lambda _closed: ())


def forged_signatures(attacker: Attacker) -> Loot:
    """Do the same with the aggregator's own signature under the list in the name of each holder."""

    def forged(closed: ClosedList) -> Iterable[HolderSignature]:
        own = sign_statement(attacker.identity.signing, "server", LIST, closed.statement, MADE_UP)
        yield from (replace(own, holder=holder) for holder in attacker.stage.holders)
        yield own
        yield HolderSignature("keyholder-9", secrets.token_bytes(SIGNATURE_BYTES), MADE_UP)

    return _early(attacker, forged)


def repeated_signature(attacker: Attacker) -> Loot:
    """Do the same with one conspiring holder's signature repeated, under its own name and under others'."""

    def repeated(closed: ClosedList) -> Iterable[HolderSignature]:
        (*_, genuine) = attacker.conspirators.sign_list(closed.statement)
        yield from (genuine for _ in range(3))
        yield from (replace(genuine, holder=holder) for holder in attacker.stage.holders)

    return _early(attacker, repeated)


def changed_list(attacker: Attacker) -> Loot:
    """Have a list signed, get the updates, and have another one signed with what a conspirator made of them."""
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    attacker.demand_updates(attacker.close_list(crafted, found.values()))
    late = attacker.commit_as(FIRST, crafted, cancelling(attacker, crafted))
    closed = attacker.close_list(crafted, [*found.values(), late])
    return read_victim(attacker, closed, [*HONEST, FIRST])


def victim_left_out(attacker: Attacker) -> Loot:
    """Close a list without the victim, have it upload anyway, and open it with two that are on the list."""
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    neutral = [attacker.commit_as(name, crafted, blend(crafted.key, crafted.encoding)) for name in (FIRST, SECOND)]
    closed = attacker.close_list(crafted, [*(found[name] for name in OTHERS), *neutral])
    attacker.demand_updates(closed, [VICTIM])
    return read_victim(attacker, closed, [VICTIM, FIRST, SECOND])


def strangers_contribute(attacker: Attacker) -> Loot:
    """Close an honest list, and name contributors who are not on it."""
    crafted = attacker.describe(attacker.ask_key())
    closed = attacker.full_list(crafted, HONEST)
    attacker.updates |= {name: blend(crafted.key, crafted.encoding) for name in ("stranger-1", "stranger-2")}
    return read_victim(attacker, closed, [VICTIM, "stranger-1", "stranger-2"])


def swapped_others(attacker: Attacker) -> Loot:
    """Hand the holders neutral updates in place of those the other clients committed to."""
    crafted = attacker.describe(attacker.ask_key())
    closed = attacker.full_list(crafted, HONEST)
    attacker.updates |= {name: blend(crafted.key, crafted.encoding) for name in OTHERS}
    return read_victim(attacker, closed, list(HONEST))


def _early(attacker: Attacker, sign: Callable[[ClosedList], Iterable[HolderSignature]]) -> Loot:
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    unsigned = ClosedList(crafted, tuple(found.values()), ())
    attacker.demand_updates(ClosedList(crafted, unsigned.commitments, tuple(sign(unsigned))))
    late = attacker.commit_as(FIRST, crafted, cancelling(attacker, crafted))
    closed = attacker.close_list(crafted, [*found.values(), late])
    return read_victim(attacker, closed, [*HONEST, FIRST])


ATTACKS = (
    Attack(
        "12", "an upload demanded without a closed list", no_list, Party.CLIENT, Reason.LIST_SIGNATURES,
        conspirators="1 client",
    ),
    Attack(
        "13a", "a list with forged signatures", forged_signatures, Party.CLIENT, Reason.LIST_SIGNATURES,
        conspirators="1 client",
    ),
    Attack(
        "13b", "a list with one signature many times", repeated_signature, Party.CLIENT, Reason.LIST_SIGNATURES,
        conspirators="1 client, 1 holder", holders=1,
    ),
    Attack(
        "14a", "a list changed after it was signed", changed_list, Party.HOLDER, Reason.LIST_CHANGED,
        conspirators="1 client",
    ),
    Attack(
        "14b", "a list without the victim", victim_left_out, Party.CLIENT, Reason.NOT_IN_LIST,
        also=(Reason.WRONG_DIGEST,), conspirators="2 clients",
    ),
    Attack(
        "15", "contributors who are not on the list", strangers_contribute, Party.HOLDER, Reason.NOT_IN_LIST,
        also=(Reason.WRONG_DIGEST,),
    ),
    Attack(
        "16b", "others' ciphertexts swapped after committing", swapped_others, Party.HOLDER, Reason.WRONG_DIGEST
    ),
)  # fmt: skip
