"""Who together reads one client's update: what is said, and what the attacks of the cheating-server study get."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.console import quiet_log
from core.errors import Reason
from core.policy import Policy
from core.secagg.factory import encryptor_for
from core.secagg.opening import combine
from core.who_reads import DEFAULT_HOLDERS, DEFAULT_MIN_COHORT, DEFAULT_THRESHOLD, WhoReads, least_contributors
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.attacks import ATTACKS
from experiments.cheating_server.attacks.cohorts import all_but_one
from experiments.cheating_server.attacks.holders import two_openings
from experiments.cheating_server.stage import MIN_COHORT, SINGLE, THREE_OF_FOUR, THRESHOLD, Profile
from experiments.cheating_server.suite import Suite
from keyholder.shares import Shares
from server.settings import RunSettings

ROOT = Path(__file__).parent.parent
FOUR_OF_FIVE = Profile("4 of 5", 5, 4)
PROFILES = (SINGLE, THRESHOLD, THREE_OF_FOUR, FOUR_OF_FIVE)
OPEN_ALONE = next(attack for attack in ATTACKS if attack.number == "26")


def reads(profile: Profile, contributors: int = MIN_COHORT) -> WhoReads:
    return WhoReads(profile.threshold, profile.holders, contributors)


# --- What is said ---


@pytest.mark.parametrize(
    ("threshold", "holders", "said"),
    [
        (1, 1, "The key holder reads everything."),
        (2, 2, "2 of the 2 key holders together read everything."),
        (
            2,
            3,
            "2 of the 3 key holders together read everything. With the aggregator and a client, 1 dishonest key holder "
            "can have two sums of one round opened, and so read a single update.",
        ),
        (
            3,
            4,
            "3 of the 4 key holders together read everything. With the aggregator and a client, 2 dishonest key "
            "holders can have two sums of one round opened, and so read a single update; 1 cannot.",
        ),
    ],
)
def test_what_key_holders_can_do_depends_on_how_keys_are_shared(threshold: int, holders: int, said: str) -> None:
    words = WhoReads(threshold, holders, 5).sentence
    assert words == (
        "Whoever controls the aggregator and all but one contributor of a sum reads that one's update; sums have at "
        f"least 5 contributors, so that takes 4 of them. {said}"
    )


def test_with_groups_it_is_said_that_each_groups_sum_is_opened() -> None:
    words = WhoReads(3, 4, 5, groups=4).sentence
    assert "each round opens the sums of 4 groups, which have at least 5 contributors each, so that takes 4" in words


def test_noise_is_said_to_stay_on_what_is_read() -> None:
    assert "carries noise" not in WhoReads(3, 4, 5).sentence
    assert WhoReads(3, 4, 5, noise=1.5).sentence.endswith(
        "(1.5 times the clip norm), a single update only its own share of it."
    )


@pytest.mark.parametrize(
    ("min_cohort", "colluders", "least"), [(5, 1, 5), (2, 1, 3), (2, 0, 2), (3, 1, 3), (5, 6, 8), (1, 1, 1)]
)
def test_a_sum_has_two_contributors_more_than_may_work_together(min_cohort: int, colluders: int, least: int) -> None:
    assert least_contributors(min_cohort, colluders) == least


def test_the_defaults_are_3_of_4_key_holders_and_five_contributors_with_one_colluder() -> None:
    rules, policy = RunSettings().rules, Policy()
    assert (rules.threshold, rules.holders, rules.min_cohort) == (3, 4, 5)
    assert (policy.min_cohort, policy.max_colluders, policy.least_contributors) == (5, 1, 5)


def test_the_readme_says_what_the_function_says_of_the_defaults() -> None:
    said = WhoReads(DEFAULT_THRESHOLD, DEFAULT_HOLDERS, DEFAULT_MIN_COHORT).sentence
    assert said in " ".join((ROOT / "README.md").read_text().split())
    assert RunSettings().who_reads == said


# --- What the attacks get ---


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with quiet_log(logging.CRITICAL):
        yield Suite(tmp_path_factory.mktemp("cheating"), seed=1)


COHORT = Attack("-", "all but one", all_but_one, Party.HOLDER, Reason.COHORT_TOO_SMALL, keys=1)
TWICE = Attack("-", "two openings", two_openings, Party.HOLDER, Reason.ALREADY_RELEASED, keys=1)
sharing = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: f"{profile.threshold} of {profile.holders}")


@pytest.mark.slow
@sharing
def test_the_aggregator_and_all_but_one_contributor_read_that_one(suite: Suite, profile: Profile) -> None:
    loot = suite.defended(COHORT, profile).loot
    assert loot is not None
    assert loot.at_least(1.0)
    assert reads(profile).colluders == MIN_COHORT - 1


@pytest.mark.slow
def test_a_single_key_holder_reads_whatever_it_is_shown(suite: Suite) -> None:
    stage = suite.stage(SINGLE)
    (serial,) = stage.deal(1)
    shares = Shares(stage.identities["keyholder-1"])
    (certificate,) = (key.certificate for key in shares.dealt() if key.certificate.serial == serial)
    with closing(encryptor_for(certificate.key, 1)) as encryptor:
        payload = encryptor.encrypt([41])
    share = shares.open(certificate).partial(payload)
    assert list(combine(certificate.key, 1, 1, payload, {1: share}).plaintexts) == [41]
    assert reads(SINGLE).openers == 1


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES[1:], ids=lambda profile: f"{profile.threshold} of {profile.holders}")
def test_as_many_key_holders_as_are_said_to_read_everything_do_and_one_fewer_do_not(
    suite: Suite, profile: Profile
) -> None:
    openers = reads(profile).openers
    loot = suite.defended(replace(OPEN_ALONE, holders=openers), profile).loot
    assert loot is not None
    assert loot.at_least(1.0)
    assert suite.defended(replace(OPEN_ALONE, holders=openers - 1), profile).reason == Reason.WRONG_SHARE


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES[1:], ids=lambda profile: f"{profile.threshold} of {profile.holders}")
def test_as_many_as_are_said_to_have_two_sums_opened_do_and_one_fewer_do_not(suite: Suite, profile: Profile) -> None:
    twice = reads(profile).twice
    loot = suite.defended(replace(TWICE, holders=twice), profile).loot
    assert loot is not None
    assert loot.at_least(1.0)
    assert suite.defended(replace(TWICE, holders=twice - 1), profile).reason == Reason.ALREADY_RELEASED
