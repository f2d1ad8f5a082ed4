"""Counting an update more than once, or copying it: amplification, scaled copies, sums that are not the product."""

from __future__ import annotations

from core.errors import Reason
from core.secagg.factory import payload_bytes
from core.wire.calls import Dialogue
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.ciphertexts import blend, product
from experiments.cheating_server.crafted import ClosedList, Round
from experiments.cheating_server.honest import Setting
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, OTHERS, VICTIM
from keyholder.holder import KeyHolder
from keyholder.orders import ReleaseOrder, VerifiedList, fetch_updates

TIMES = 5
"""How often a client's step must be in a sum to stand out from those of two others."""
SUM = "the sum"


class TrustingHolder(KeyHolder):
    """A holder that opens what the aggregator says is the sum, without adding up. For controls only."""

    def _recompute(self, _order: ReleaseOrder, verified: VerifiedList) -> Dialogue[bytes]:
        description = verified.description
        length = payload_bytes(description.key, description.encoding.plaintexts)
        (total,) = yield from fetch_updates(description.id, [SUM], length)
        return total


def listed_many_times(attacker: Attacker) -> Loot:
    """Put the victim's commitment on the list five times."""
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    closed = attacker.close_list(crafted, [*[found[VICTIM]] * (TIMES - 1), *found.values()])
    attacker.demand_updates(closed)
    return _amplified(attacker, closed, [VICTIM] * (TIMES - 1) + list(HONEST))


def counted_many_times(attacker: Attacker) -> Loot:
    """Close an honest list, and name the victim five times among the contributors."""
    closed = _honest_list(attacker)
    return _amplified(attacker, closed, [VICTIM] * (TIMES - 1) + list(HONEST))


def copied_by_conspirators(attacker: Attacker) -> Loot:
    """Have four clients commit to the victim's own ciphertexts, of which they have seen the digest only."""
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    # What they commit to is the digest in the victim's commitment; the ciphertexts come later, from the victim.
    copies = [attacker.copy_commitment(found[VICTIM], name, crafted) for name in CONSPIRATORS]
    closed = attacker.close_list(crafted, [*found.values(), *copies])
    attacker.demand_updates(closed)
    attacker.updates |= dict.fromkeys(CONSPIRATORS, attacker.updates[VICTIM])
    return _amplified(attacker, closed, [*HONEST, *CONSPIRATORS])


def power_as_sum(attacker: Attacker) -> Loot:
    """Present the victim's ciphertexts, raised to the fifth power, as the cohort's sum."""
    closed = _honest_list(attacker)
    crafted = closed.round
    plaintexts = _open_instead(
        attacker, closed, product(crafted.key, crafted.encoding, [(attacker.updates[VICTIM], TIMES)])
    )
    return attacker.amplified_loot(crafted, plaintexts, TIMES, TIMES)


def wrong_sum(attacker: Attacker) -> Loot:
    """Leave all but the victim's update out of the sum, and set the counters right."""
    closed = _honest_list(attacker)
    crafted = closed.round
    forged = blend(crafted.key, crafted.encoding, [(attacker.updates[VICTIM], 1)], neutrals=len(OTHERS))
    plaintexts = _open_instead(attacker, closed, forged)
    return attacker.loot(crafted, plaintexts, len(HONEST))


def scaled_copy(attacker: Attacker) -> Loot:
    """Get the victim's ciphertexts before the list is closed; a conspirator commits to their fourth power.

    Nothing shows in the opened sum: counters, slots and guard bits are all as of four honest clients.
    """
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    attacker.demand_updates(ClosedList(crafted, tuple(found.values()), ()), [VICTIM])
    copy = blend(crafted.key, crafted.encoding, [(attacker.updates[VICTIM], TIMES - 1)], neutrals=2 - TIMES)
    copied = attacker.commit_as(CONSPIRATORS[0], crafted, copy)
    closed = attacker.close_list(crafted, [*found.values(), copied])
    attacker.demand_updates(closed, OTHERS)
    plaintexts = attacker.read_sum(closed, [*HONEST, CONSPIRATORS[0]])
    crafted.encoding.decode(plaintexts, len(HONEST) + 1)  # nothing shows
    return attacker.amplified_loot(crafted, plaintexts, len(HONEST) + 1, TIMES)


def swapped_for_scaled_copy(attacker: Attacker) -> Loot:
    """Have a conspirator commit, see the others' ciphertexts, and upload what cancels all but the victim's."""
    crafted = attacker.describe(attacker.ask_key())
    found = attacker.open_round(crafted)
    committed = attacker.commit_as(CONSPIRATORS[0], crafted, blend(crafted.key, crafted.encoding))
    closed = attacker.close_list(crafted, [*found.values(), committed])
    attacker.demand_updates(closed)
    attacker.updates[CONSPIRATORS[0]] = cancelling(attacker, crafted)
    return read_victim(attacker, closed, [*HONEST, CONSPIRATORS[0]])


def cancelling(attacker: Attacker, crafted: Round) -> bytes:
    """Make an update that takes the others' out of a sum, with neutral ones that keep its counters right."""
    return blend(
        crafted.key, crafted.encoding, [(attacker.updates[name], -1) for name in OTHERS], neutrals=1 + len(OTHERS)
    )


def read_victim(attacker: Attacker, closed: ClosedList, contributors: list[str]) -> Loot:
    """Open the sum of the victim and of others who add nothing, and see that nothing shows in it."""
    plaintexts = attacker.read_sum(closed, contributors)
    closed.round.encoding.decode(plaintexts, len(contributors))
    return attacker.loot(closed.round, plaintexts, len(contributors))


def _honest_list(attacker: Attacker) -> ClosedList:
    return attacker.full_list(attacker.describe(attacker.ask_key()), HONEST)


def _amplified(attacker: Attacker, closed: ClosedList, contributors: list[str]) -> Loot:
    return attacker.amplified_loot(closed.round, attacker.read_sum(closed, contributors), len(contributors), TIMES)


def _open_instead(attacker: Attacker, closed: ClosedList, forged: bytes) -> list[int]:
    """Ask for the opening of something that is not the sum."""
    attacker.updates[SUM] = forged
    partials = attacker.open_sum(closed, list(HONEST), total=forged)
    return attacker.opened(closed.round, forged, partials)


MANY = Setting(min_cohort=6)
TRUSTING = Setting(holder=TrustingHolder)
BELIEVED = "holders open the aggregator's sum without adding up"

ATTACKS = (
    Attack(
        "2a", "amplified: on the list five times", listed_many_times, Party.HOLDER, Reason.DUPLICATE,
        also=(Reason.COPIED,),
    ),
    Attack("2b", "amplified: five times a contributor", counted_many_times, Party.HOLDER, Reason.DUPLICATE),
    Attack(
        "2c", "amplified: committed to by four clients too", copied_by_conspirators, Party.HOLDER, Reason.COPIED,
        conspirators="4 clients", setting=MANY,
    ),
    Attack(
        "2d", "amplified: its fifth power as the sum", power_as_sum, Party.HOLDER, Reason.WRONG_SUM,
        control=TRUSTING, control_note=BELIEVED,
    ),
    Attack(
        "11", "a scaled copy, of an update got early", scaled_copy, Party.CLIENT, Reason.LIST_SIGNATURES,
        conspirators="1 client",
    ),
    Attack(
        "16a", "a scaled copy, swapped in after committing", swapped_for_scaled_copy, Party.HOLDER,
        Reason.WRONG_DIGEST, conspirators="1 client",
    ),
    Attack(
        "17", "a sum that is not the product", wrong_sum, Party.HOLDER, Reason.WRONG_SUM,
        control=TRUSTING, control_note=BELIEVED,
    ),
)  # fmt: skip
