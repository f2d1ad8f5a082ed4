"""A key holder whose disk is restored from a copy has forgotten what it signed since; all holders are honest.

What two groups of t holders have in common is then a holder that signs two contradicting things, in two lives.
"""

from __future__ import annotations

from core.errors import Reason
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.attacks.copies import cancelling
from experiments.cheating_server.attacks.differences import WITH, WITHOUT, difference
from experiments.cheating_server.crafted import ClosedList
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS


def second_sum(attacker: Attacker) -> Loot:
    """Have two holders open the whole sum; restore one of them, and have it open the sum without the victim."""
    restored, second, third = attacker.holders
    crafted = attacker.describe(attacker.ask_key())
    closed = attacker.full_list(crafted, WITH)
    attacker.honest_copy(restored)
    whole = attacker.read_sum(closed, WITH, [restored, second])
    attacker.restore(restored)
    less = attacker.read_sum(closed, WITHOUT, [restored, third])
    return difference(attacker, (crafted, whole), (crafted, less))


def early_share(attacker: Attacker) -> Loot:
    """Get one holder's share when it alone has agreed; restore it, before any other holder knows what it signed."""
    restored, second, third = attacker.holders
    crafted = attacker.describe(attacker.ask_key())
    closed = attacker.full_list(crafted, WITH)
    attacker.honest_copy(restored)
    order = attacker.order(closed, WITH)
    first = attacker.lend(closed, order, attacker.sign_request(order, [restored]), [restored])
    attacker.restore(restored)
    less = attacker.read_sum(closed, WITHOUT, [restored, third])
    rest = attacker.lend(closed, order, attacker.sign_request(order, [second]), [second])
    whole = attacker.opened(crafted, attacker.total(crafted, WITH), first | rest)
    return difference(attacker, (crafted, whole), (crafted, less))


def former_life(attacker: Attacker) -> Loot:
    """Have a list signed by one holder, restore it, and let another one sign; the restored one signs a second list."""
    restored, second, third = attacker.holders
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    attacker.honest_copy(restored)
    before = attacker.close_list(crafted, found.values(), [restored])
    attacker.restore(restored)
    after = attacker.close_list(crafted, found.values(), [second])
    attacker.demand_updates(ClosedList(crafted, before.commitments, (*before.signatures, *after.signatures)))
    late = attacker.commit_as(CONSPIRATORS[0], crafted, cancelling(attacker, crafted))
    closed = attacker.close_list(crafted, [*found.values(), late], [restored, third])
    plaintexts = attacker.read_sum(closed, WITH, [restored, third])
    return attacker.loot(crafted, plaintexts, len(WITH))


RESTORED = "a key holder is restored from a copy"
ATTACKS = (
    Attack(
        "35", "a second sum, of a restored key holder", second_sum, Party.HOLDER, Reason.STALE_LEDGER,
        also=(Reason.ALREADY_RELEASED,), conspirators="1 client", assumed=RESTORED, fewest_holders=3,
    ),
    Attack(
        "36", "a share lent by a holder that agrees alone", early_share, Party.HOLDER,
        Reason.REQUEST_SIGNATURES, conspirators="1 client", assumed=RESTORED, fewest_holders=3,
    ),
    Attack(
        "37", "a list signed in a life that is over", former_life, Party.CLIENT, Reason.LIST_SIGNATURES,
        conspirators="1 client", assumed=RESTORED, fewest_holders=3,
    ),
)  # fmt: skip
