"""What private rounds cost, who is chosen for them, and what the aggregator reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from federations import RUN, SmallFederation

from core.errors import SettingsError
from core.federated import initial_model
from core.privacy.mechanism import Privacy
from core.protocol import AttemptId, RoundResult, Signed
from core.tasks import get_task
from server.accountant import spent
from server.budget import _event, ending_of, with_epsilon, within_budget
from server.report import report
from server.results import PRIVATE_COLUMNS, row, table
from server.rounds.waiting import select
from server.rules import RoundRules
from server.settings import RunSettings
from server.store import Store

SPAM = get_task("spam")

VALUES = len(initial_model(SPAM, 0))

PRIVACY = Privacy(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5)

# ------------------------------------------------------------------------------------------------ what it costs

RULES = RoundRules(rounds=20, min_cohort=4, max_cohort=10)
SETTINGS = RunSettings(rules=RULES, privacy=PRIVACY)


def result(number: int, contributors: int = 4) -> RoundResult:
    return RoundResult(number, contributors, 0.9, 0.3, 1e4, 0.1, 0.1, 0.1, 0.1, 0.0, 0.0)


def test_each_round_says_what_all_rounds_so_far_have_cost() -> None:
    results: list[RoundResult] = []
    for number in (1, 2, 3):
        results.append(with_epsilon(result(number), SETTINGS, VALUES, results, (4, 4)))
    costs = [each.epsilon for each in results]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(4.73, abs=0.01)
    made = SETTINGS.mechanism
    assert made is not None
    events = [_event(number, 4, PRIVACY, made, VALUES, (4, 4)) for number in (1, 2, 3)]
    assert costs[2] == spent(events, PRIVACY.delta).epsilon
    assert results[2].epsilon_models == results[2].epsilon


def test_more_contributors_than_the_minimum_add_more_noise_than_was_promised() -> None:
    assert with_epsilon(result(1, 9), SETTINGS, VALUES, [], (9, 9)).epsilon < 3


def test_without_privacy_nothing_is_said_of_epsilon() -> None:
    assert with_epsilon(result(1), RunSettings(rules=RULES), VALUES, [], (4, 4)) == result(1)


def test_a_budget_ends_the_run_before_it_is_exceeded_and_the_ending_says_so() -> None:
    limited = within_budget(replace(SETTINGS, privacy=replace(PRIVACY, epsilon_budget=12.0)), VALUES)
    rounds = limited.rules.rounds
    assert 1 < rounds < 20
    made = SETTINGS.mechanism
    assert made is not None
    worst = [_event(number, 4, PRIVACY, made, VALUES, (1, 1)) for number in range(1, 30)]
    assert spent(worst[:rounds], 1e-5).epsilon <= 12.0 < spent(worst[: rounds + 1], 1e-5).epsilon
    cost, more = (spent(worst[:number], 1e-5).epsilon for number in (rounds, rounds + 1))
    why = (
        f"in sums of 4, the minimum cohort, {rounds} rounds cost an epsilon of {cost:.3g} and one more {more:.3g}, above "
        "the budget of 12; each contributor adds noise, so larger sums cost less"
    )
    said = f"the privacy budget allows {rounds} of the 20 rounds asked for"
    assert limited.rules.ending == f"{said}, and they are completed: {why}"
    assert limited.rules.foretold == f"{said}: {why}"
    larger = with_epsilon(result(1, 9), limited, VALUES, [], (9, 9))
    assert larger.epsilon < cost
    assert ending_of(limited, [larger]) == f"{limited.rules.ending}; these have cost {larger.epsilon:.3g}"
    assert ending_of(limited, []) == limited.rules.ending
    assert ending_of(SETTINGS, [larger]) == ""
    assert limited.rules.before_budget == SETTINGS.rules


def test_a_budget_with_room_for_all_rounds_changes_nothing() -> None:
    for settings in (
        SETTINGS,
        RunSettings(rules=RULES),
        replace(SETTINGS, privacy=replace(PRIVACY, epsilon_budget=500.0)),
    ):
        assert within_budget(settings, VALUES) is settings
    assert RULES.ending == "all rounds are completed"


def test_a_budget_without_room_for_one_round_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"one round costs an epsilon of 4\.73, more than the budget of 4"):
        within_budget(replace(SETTINGS, privacy=replace(PRIVACY, epsilon_budget=4.0)), VALUES)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"count_cap": 100}, "count_cap is 100; with privacy"),
        ({"privacy": replace(PRIVACY, max_colluders=4)}, "no client's noise"),
        ({"privacy": replace(PRIVACY, clip_norm=32000.0)}, "does not fit the slots"),
    ],
)
def test_runs_that_could_not_be_private_cannot_be_set_up(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        replace(SETTINGS, **changes)  # type: ignore[arg-type]


def test_a_run_is_not_gone_on_with_under_another_promise() -> None:
    stored = SETTINGS.to_json()
    SETTINGS.check_same(stored, "here")
    with pytest.raises(SettingsError, match=f"run with --noise-multiplier {PRIVACY.noise_multiplier:g}, not 0.5."):
        replace(SETTINGS, privacy=replace(PRIVACY, noise_multiplier=0.5)).check_same(stored, "here")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((1.0, None, 1e-5, 0, None), "--noise-multiplier is missing"),
        ((None, 1.0, 1e-5, 0, None), "--clip-norm is missing"),
        ((None, None, 1e-5, 0, 8.0), "need --clip-norm and --noise-multiplier"),
        ((None, None, 1e-5, 2, None), "need --clip-norm and --noise-multiplier"),
    ],
)
def test_half_of_the_options_are_refused(options: tuple, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Privacy.if_asked(*options)


def test_options_make_the_settings_they_name() -> None:
    assert Privacy.if_asked(None, None, 1e-5, 0, None) is None
    assert Privacy.if_asked(1.0, 2.0, 1e-6, 1, 8.0) == Privacy(1.0, 2.0, 1e-6, 1, 8.0)


# ------------------------------------------------------------------------------------------------ who is chosen


def test_the_draw_of_clients_cannot_be_repeated_without_the_secret() -> None:
    names = frozenset(f"client-{number}" for number in range(100))
    open_choice = select(names, 1, 1, 10)
    assert open_choice == select(names, 1, 1, 10)
    hidden = select(names, 1, 1, 10, "secret")
    assert hidden == select(names, 1, 1, 10, "secret")
    assert len({open_choice, hidden, select(names, 1, 1, 10, "other"), select(names, 2, 1, 10, "secret")}) == 4
    assert all(len(choice) == 10 for choice in (open_choice, hidden))


def test_the_secret_of_a_run_lasts_and_is_private(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin_run(RUN, {}, np.zeros(1))
    store.begin_run("f" * 16, {}, np.zeros(1))
    secret = store.selection_secret(RUN)
    store.close()
    again = Store(tmp_path)
    assert again.selection_secret(RUN) == secret
    assert again.selection_secret("f" * 16) != secret
    assert len(secret) == 32
    again.close()
    assert secret not in repr(replace(RULES, selection_secret=secret))


def test_the_store_knows_from_how_many_an_attempts_clients_were_chosen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin_run(RUN, {}, np.zeros(1))
    id, signed = AttemptId(RUN, 1, 1), Signed(b"body", b"s" * 64)
    store.open_attempt(id, 1, signed, frozenset({"a", "b"}), 5)
    assert store.sampling(id) == (2, 5)
    store.open_attempt(replace(id, attempt=2), 2, signed, frozenset({"a", "b"}), 2)
    store.widen_attempt(replace(id, attempt=2), frozenset({"a", "b", "late"}))
    assert store.sampling(replace(id, attempt=2)) == (3, 3)
    store.close()


# ------------------------------------------------------------------------------------------------ what is shown


def test_history_and_table_show_epsilon_only_with_privacy() -> None:
    private = with_epsilon(result(1), SETTINGS, VALUES, [], (4, 4))
    assert tuple(row(private, SETTINGS)) == PRIVATE_COLUMNS
    assert row(private, SETTINGS)["epsilon"] == pytest.approx(4.73, abs=0.01)
    assert "epsilon" not in row(result(1), RunSettings(rules=RULES))
    assert [column.header for column in table([private], "", PRIVACY).columns][-1] == "ε"
    assert "ε" not in [column.header for column in table([result(1)], "").columns]


def test_the_report_says_what_was_promised_and_what_it_cost(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation")
    private = with_epsilon(result(1), SETTINGS, VALUES, [], (4, 9))
    words = report(RUN, SETTINGS, federation.roster, [private], {})
    for part in (
        "epsilon spent against parties that see who takes part: 4.7",
        "against those that see models only: 4.7",
        "delta 1e-05",
        "clip norm 1, noise multiplier 1 for the smallest cohort, 4, of whom 0 may collude",
        "4 of 9",
        "as far as the noise lets it",
    ):
        assert part in words
    assert "epsilon" not in report(RUN, RunSettings(rules=RULES), federation.roster, [result(1)], {})
    federation.close()
