"""Cohorts that are wrong: too small, invented, forged, not allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core.errors import Reason
from core.identity import roster
from core.identity.signing import SigningKey
from core.protocol import Signed
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.ciphertexts import blend
from experiments.cheating_server.crafted import Round
from experiments.cheating_server.honest import Setting
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


def all_but_one(attacker: Attacker) -> Loot:
    """Open the smallest sum that is allowed, of the victim and of conspirators, who send nothing."""
    crafted = attacker.describe(attacker.ask_key())
    contributors = [VICTIM, *CONSPIRATORS[: attacker.min_cohort - 1]]
    closed = attacker.full_list(crafted, contributors)
    return attacker.loot(crafted, attacker.read_sum(closed, contributors), len(contributors))


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


def earlier_roster(attacker: Attacker) -> Loot:
    """Hand out the registrar's own roster of before the revocation, and fill the list as above."""
    try:
        attacker.hand_out_roster(attacker.stage.earlier_roster)
        return revoked_client(attacker)
    finally:  # in the control they have gone back to it
        for holder in attacker.holders:
            attacker.stage.identities[holder].roster.accept(attacker.stage.newest_roster)


@contextmanager
def forgetting_versions() -> Iterator[None]:
    """Let parties take over whatever roster the registrar has ever signed."""
    check = roster._check_follows
    roster._check_follows = lambda *_: None
    try:
        yield
    finally:
        roster._check_follows = check


def _open_with(attacker: Attacker, crafted: Round, names: Sequence[str], keys: Sequence[SigningKey]) -> Loot:
    """Open the sum of the victim's update and of neutral ones in these names."""
    listed: list[Signed] = list(attacker.open_round(crafted, [VICTIM]).values())
    for name, key in zip(names, keys, strict=True):
        listed.append(attacker.commit_as(name, crafted, blend(crafted.key, crafted.encoding), key))
    closed = attacker.close_list(crafted, listed)
    attacker.demand_updates(closed, [VICTIM])
    return attacker.loot(crafted, attacker.read_sum(closed, [VICTIM, *names]), 1 + len(names))


ATTACKS = (
    Attack(
        "32", "a sum of the victim and one conspirator", all_but_one, Party.CLIENT, Reason.COHORT_TOO_SMALL,
        conspirators="1 client", setting=Setting(min_cohort=2),
    ),
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
        "21a", "a revoked client in the cohort", revoked_client, Party.HOLDER, Reason.REVOKED,
        conspirators="1 client, 1 revoked",
    ),
    Attack(
        "21b", "the same, with the roster of before the revocation", earlier_roster, Party.HOLDER, Reason.REVOKED,
        conspirators="1 client, 1 revoked", control=Setting(), around=forgetting_versions,
        control_note="an older roster is taken over",
    ),
    Attack(
        "24", "a minimum cohort below the client's own", small_cohort_announced, Party.CLIENT, Reason.COHORT_TOO_SMALL
    ),
)  # fmt: skip
