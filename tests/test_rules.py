"""Settings of a run that contradict themselves cannot be made; each sentence names the setting and the value."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from core.errors import SettingsError
from core.local_settings import LocalSettings
from core.privacy.mechanism import Privacy
from core.server_rules import RuleName, ServerRule
from server.rules import RoundRules
from server.settings import RunSettings


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"rounds": 0}, "--rounds is 0; expected 1 to 1000000 rounds"),
        ({"rounds": 1_000_001}, "--rounds is 1000001; expected 1 to 1000000"),
        ({"max_cohort": 1_000_001}, "--max-cohort is 1000001; expected 1 to 1000000 clients"),
        ({"min_cohort": 0}, "--min-cohort is 0; expected 1 to 1000000 clients"),
        ({"min_cohort": 5, "max_cohort": 4}, "minimum cohort is 5; it must be at most the largest cohort, 4"),
        (
            {"target": 2, "min_cohort": 3},
            "2 clients are expected, and the minimum cohort is 3; pass --min-cohort 2 here and to every client",
        ),
        ({"target": 65}, "65 clients are expected"),
        (
            {"cohort": 2, "min_cohort": 3},
            "2 updates a round are wanted; .* between the minimum cohort, 3, and the largest, 64",
        ),
        ({"cohort": 65}, "65 updates a round are wanted"),
        ({"over_selection": 0.9}, "--over-selection is 0.9; expected 1 to 10 times the cohort"),
        ({"over_selection": 10.1}, "--over-selection is 10.1"),
        ({"over_selection": float("nan")}, "--over-selection is nan"),
        ({"threshold": 0}, "0 of 4 key holders are to open a sum"),
        ({"threshold": 5}, "5 of 4 key holders are to open a sum"),
        ({"holders": 1}, "3 of 1 key holders"),
        ({"round_seconds": 0}, "--round-seconds is 0; expected more than 0, at most 1000000 seconds"),
        ({"upload_seconds": -1.0}, "--upload-seconds is -1.0"),
        ({"answer_seconds": float("nan")}, "--answer-seconds is nan"),
        ({"patience_seconds": float("inf")}, "--patience is inf"),
        ({"gather_seconds": 1e6 + 1}, "--gather-seconds is 1000001.0; expected more than 0, at most 1000000 seconds"),
        ({"max_attempts": 0}, "number of attempts at one round is 0; it must be at least 1"),
    ],
)
def test_rules_that_contradict_themselves_are_one_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as caught:
        RoundRules(**wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"rounds": 1_000_000, "max_cohort": 1_000_000},
        {"min_cohort": 1, "max_cohort": 1},
        {"target": 5},
        {"target": 64},
        {"cohort": 5, "over_selection": 1},
        {"cohort": 64, "over_selection": 10},
        {"threshold": 1, "holders": 1},
        {"threshold": 4},
        {"max_attempts": 1},
    ],
)
def test_rules_at_the_edge_can_be_made(right: dict[str, Any]) -> None:
    RoundRules(**right)


@pytest.mark.parametrize(
    ("cohort", "factor", "selected"),
    [
        (10, 1.3, 13),
        (10, 1.0, 10),
        (10, 1.25, 13),  # rounded up
        (50, 1.1, 55),  # 50 * 1.1 is 55.00000000000001 in floating point
        (60, 1.3, 64),  # not more than the slots have room for
        (None, 1.3, 64),  # everyone
    ],
)
def test_some_more_clients_are_selected_than_updates_are_wanted(
    cohort: int | None, factor: float, selected: int
) -> None:
    assert RoundRules(cohort=cohort, over_selection=factor).selected == selected


# ------------------------------------------------------------------------------------------------ a run's settings


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"key_bits": 1024}, "1024 bits can be broken"),
        ({"key_bits": 2050}, "multiple of 16"),
        ({"scheme": "rot13"}, "scheme is 'rot13'"),
        ({"rules": RoundRules(min_cohort=1)}, "minimum cohort is 1; the sum of one client is that client's update"),
        ({"seed": -1}, "--seed is -1; expected 0 to 9223372036854775807"),
        ({"seed": 1 << 63}, "--seed is 9223372036854775808"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        RunSettings(**wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"seed": (1 << 63) - 1},
        {"key_bits": 256, "insecure_demo_keys": True},
        {"rules": RoundRules(min_cohort=1), "insecure_demo_keys": True},
        {"rules": RoundRules(min_cohort=1), "scheme": "plain"},
    ],
)
def test_insecure_settings_need_to_be_asked_for(right: dict[str, Any]) -> None:
    RunSettings(**right)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "Paillier, 3072 bits, 3 of 4 key holders"),
        ({"scheme": "damgard-jurik", "key_bits": 3072}, "Damgård-Jurik, 3072 bits, 3 of 4 key holders"),
        ({"key_bits": 256, "insecure_demo_keys": True}, "Paillier, 256 bits, 3 of 4 key holders: INSECURE"),
        ({"scheme": "plain", "key_bits": 256}, "plain: NOTHING IS ENCRYPTED"),
    ],
)
def test_how_updates_are_protected_is_said_in_words(settings: dict[str, Any], words: str) -> None:
    assert RunSettings(**settings).protection == words


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({}, False),
        ({"key_bits": 2048}, True),
        ({"key_bits": 256, "insecure_demo_keys": True}, False),  # that is stamped INSECURE
        ({"key_bits": 2048, "scheme": "plain"}, False),
    ],
)
def test_keys_that_protect_but_not_for_long_are_warned_of(settings: dict[str, Any], warned: bool) -> None:
    assert bool(RunSettings(**settings).weaker_key) == warned


def test_an_unfinished_run_goes_on_with_the_same_settings_only() -> None:
    stored = RunSettings(seed=1, rules=RoundRules(rounds=3)).to_json()
    RunSettings(seed=1, rules=RoundRules(rounds=3)).check_same(stored, "here")
    with pytest.raises(SettingsError, match="here holds an unfinished run with --seed 1, not 2"):
        RunSettings(seed=2, rules=RoundRules(rounds=3)).check_same(stored, "here")
    with pytest.raises(SettingsError, match="unfinished run with --rounds 3, not 5"):
        RunSettings(seed=1).check_same(stored, "here")


def test_a_run_that_has_not_begun_may_wait_for_another_number_of_clients_and_no_other() -> None:
    stored = RunSettings(rules=RoundRules(target=20)).to_json()
    fewer = RunSettings(rules=RoundRules(target=15))
    fewer.check_same(stored, "here", begun=False)
    with pytest.raises(SettingsError, match="unfinished run with --clients 20, not 15"):
        fewer.check_same(stored, "here")
    with pytest.raises(SettingsError, match="unfinished run with --rounds 5, not 9"):
        RunSettings(rules=RoundRules(target=15, rounds=9)).check_same(stored, "here", begun=False)


def test_settings_are_stored_whole() -> None:
    stored = RunSettings().to_json()
    assert stored["rules"] == asdict(RoundRules())
    assert set(stored) == {field.name for field in fields(RunSettings)}


@pytest.mark.parametrize(
    ("settings", "stamp"),
    [
        ({}, []),
        ({"key_bits": 256, "insecure_demo_keys": True}, ["keys of 256 bits protect nothing"]),
        ({"scheme": "plain", "key_bits": 256}, ["nothing is encrypted"]),
        ({"insecure_plaintext": True}, ["connections without TLS"]),
        ({"rules": RoundRules(min_cohort=1), "insecure_demo_keys": True}, ["sums of 1 client"]),
    ],
)
def test_what_was_switched_off_is_stamped_on_the_results(settings: dict[str, Any], stamp: list[str]) -> None:
    assert RunSettings(**settings).insecurities == stamp


def test_all_settings_of_an_unfinished_run_that_differ_are_named_and_the_way_out() -> None:
    stored = RunSettings(seed=1, rules=RoundRules(rounds=3, target=5)).to_json()
    with pytest.raises(SettingsError) as refused:
        RunSettings(seed=2, rules=RoundRules(rounds=4, target=20, deal="another")).check_same(stored, "here")
    said = str(refused.value)
    assert "--seed 1, not 2; --rounds 3, not 4; --clients 5, not 20." in said
    assert "docker compose down --volumes" in said


PRIVATE = Privacy(1.0, 1.0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"server_rule": ServerRule(RuleName.fedadam)}, {}, "--rule fedadam, not fedavg"),
        ({"server_rule": ServerRule(RuleName.fedadam, learning_rate=0.1)}, {},
         "--rule fedadam, not fedavg; --server-learning-rate 0.1, not without it"),
        ({}, {"server_rule": ServerRule(RuleName.fedavgm, momentum=0.5)},
         "--rule fedavg, not fedavgm; no --server-momentum, not 0.5"),
        ({"rules": RoundRules(target=5), "server_rule": ServerRule(RuleName.scaffold)}, {"rules": RoundRules(target=5)},
         "--rule scaffold, not fedavg"),
        ({"privacy": PRIVATE}, {},
         "--clip-norm 1, not without it; --noise-multiplier 1, not without it"),
        ({"rules": RoundRules(rounds=2, asked=9), "privacy": replace(PRIVATE, epsilon_budget=3)},
         {"rules": RoundRules(rounds=4, asked=9), "privacy": replace(PRIVATE, epsilon_budget=5)},
         "--epsilon-budget 3, not 5"),
        ({"insecure_unbounded": True}, {}, "--insecure-unbounded, not without it"),
        ({}, {"insecure_unbounded": True, "local": LocalSettings(learning_rate=0.5)},
         "no --insecure-unbounded, not with it; no --learning-rate, not 0.5"),
        ({"rules": RoundRules(threshold=2)}, {}, "--threshold 2, not 3"),
    ],
)  # fmt: skip
def test_what_differs_is_named_by_options_and_values_as_they_are_typed(
    old: dict[str, Any], new: dict[str, Any], said: str
) -> None:
    stored = json.loads(json.dumps(RunSettings(**old).to_json()))
    RunSettings(**old).check_same(stored, "here")
    with pytest.raises(SettingsError, match=re.escape(f"here holds an unfinished run with {said}. Start")):
        RunSettings(**new).check_same(stored, "here")
