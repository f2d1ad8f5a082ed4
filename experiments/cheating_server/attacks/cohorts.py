"""Cohorts that are wrong: too small, invented, forged, not allowed."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Reason
from core.identity.signing import SigningKey
from core.protocol import Signed
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.ciphertexts import blend
from experiments.cheating_server.crafted import Round
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, OTHERS, REVOKED, VICTIM

FIRST = CONSPIRATORS[0]


def cohort_of_one(attacker: Attacker) -> Loot:
    """Close a list with only the victim on it."""
    crafted = attacker.describe(attacker.ask_key())
    return _open_with(attacker, crafted, (), ())


def one_contributor(attacker: Attacker) -> Loot:
    """Close an honest list, and say that only the victim's update has come."""
    crafted = attacker.describe(attacker.ask_key())
    closed = attacker.full_list(crafted, HONEST)
    return attacker.loot(crafted, attacker.read_sum(closed, [VICTIM]), 1)


def small_cohort_announced(attacker: Attacker) -> Loot:
    """Describe a round in which a sum of one may be opened."""
    crafted = attacker.describe(attacker.ask_key(), min_cohort=1)
    return _open_with(attacker, crafted, (), ())


def invented_clients(attacker: Attacker) -> Loot:
    """Fill the list with clients that the registrar never enrolled."""
    crafted, key = attacker.describe(attacker.ask_key()), SigningKey.generate()
    return _open_with(attacker, crafted, ("sybil-1", "sybil-2"), (key, key))


def forged_clients(attacker: Attacker) -> Loot:
    """Fill the list in the names of other clients, without their keys."""
    crafted, key = attacker.describe(attacker.ask_key()), SigningKey.generate()
    return _open_with(attacker, crafted, OTHERS, (key, key))


def aggregator_as_client(attacker: Attacker) -> Loot:
    """Fill the list with a conspiring client and the aggregator itself."""
    crafted = attacker.describe(attacker.ask_key())
    own = attacker.conspirators.identity(FIRST).signing
    return _open_with(attacker, crafted, (FIRST, "server"), (own, attacker.identity.signing))


def revoked_client(attacker: Attacker) -> Loot:
    """Fill the list with a conspiring client and one that was revoked, whose key the aggregator has."""
    crafted = attacker.describe(attacker.ask_key())
    names = (FIRST, REVOKED)
    return _open_with(attacker, crafted, names, [attacker.conspirators.identity(name).signing for name in names])


def _open_with(attacker: Attacker, crafted: Round, names: Sequence[str], keys: Sequence[SigningKey]) -> Loot:
    """Open the sum of the victim's update and of neutral ones in these names."""
    listed: list[Signed] = list(attacker.open_round(crafted, [VICTIM]).values())
    for name, key in zip(names, keys, strict=True):
        listed.append(attacker.commit_as(name, crafted, blend(crafted.key, crafted.encoding), key))
    closed = attacker.close_list(crafted, listed)
    attacker.demand_updates(closed, [VICTIM])
    return attacker.loot(crafted, attacker.read_sum(closed, [VICTIM, *names]), 1 + len(names))


ATTACKS = (
    Attack("1a", "a cohort of one", cohort_of_one, Party.HOLDER, Reason.COHORT_TOO_SMALL),
    Attack("1b", "one contributor of a list of three", one_contributor, Party.HOLDER, Reason.COHORT_TOO_SMALL),
    Attack(
        "10a", "Sybils: invented clients fill the list", invented_clients, Party.HOLDER, Reason.NOT_IN_ROSTER,
        also=(Reason.COMMITMENT_SIGNATURE,),
    ),
    Attack(
        "10b", "Sybils: others' signatures are forged", forged_clients, Party.HOLDER, Reason.COMMITMENT_SIGNATURE
    ),
    Attack(
        "10c", "Sybils: the aggregator as a client", aggregator_as_client, Party.HOLDER, Reason.WRONG_ROLE,
        conspirators="1 client",
    ),
    Attack(
        "21", "a revoked client in the cohort", revoked_client, Party.HOLDER, Reason.REVOKED,
        conspirators="1 client, 1 revoked",
    ),
    Attack(
        "24", "a minimum cohort below the client's own", small_cohort_announced, Party.CLIENT, Reason.COHORT_TOO_SMALL
    ),
)  # fmt: skip
