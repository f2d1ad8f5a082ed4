"""A setting is written once: its option, its bounds, the arguments for another process all follow from the field."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from core.errors import SettingsError
from core.local_settings import LocalSettings, OptimiserName
from core.policy import Policy
from core.privacy.mechanism import Privacy
from core.robust import Robust
from core.server_rules import RuleName, ServerRule
from core.settings.command_line import Given, offered_by, options_of
from core.settings.setting import Bounds, Setting, Settings, arguments_of, entries_of, make
from keyholder.difference import DifferenceRule
from keyholder.settings import HolderSettings
from registrar.settings import InitSettings
from server.rules import RoundRules
from server.settings import Bound, Places, RunSettings
from simulation.settings import SimulationSettings, policy_for
from simulation.settings_tables import PROGRAMS, fill, table_of


class Pace(StrEnum):
    SLOW = "slow"
    FAST = "fast"


@dataclass(frozen=True, kw_only=True)
class Boots(Settings):
    size: Annotated[int, Setting("Of a boot.", bounds=Bounds(at_least=20, at_most=50))]
    waxed: Annotated[bool, Setting("Keep water out.")] = False

    @classmethod
    def if_asked(cls, size: int | None, waxed: bool) -> Boots | None:
        return None if size is None else cls(size=size, waxed=waxed)


@dataclass(frozen=True, kw_only=True)
class Route(Settings):
    miles: Annotated[float, Setting("How far.", "miles", Bounds(above=0, at_most=30), option="length")] = 5.0
    start: str = "home"


@dataclass(frozen=True, kw_only=True)
class Walk(Settings):
    dog: Annotated[str | None, Setting("Who comes along.")] = None
    pace: Annotated[Pace, Setting("How fast.")] = Pace.SLOW
    map: Annotated[Path, Setting("Where to.", "file")] = Path("map.txt")
    quiet: Annotated[bool, Setting("Say nothing.", variable="WALK_QUIET")] = False
    route: Route = Route()
    boots: Boots | None = None


def walked(*arguments: str, **environment: str) -> tuple[Walk | None, int, str]:
    """What a program with these settings makes of its arguments, its exit code, and what it says."""
    made: list[Walk] = []
    app = typer.Typer(rich_markup_mode=None)

    @app.command()
    @options_of(Walk)
    def walk(given: Given) -> None:
        made.append(given.make(Walk, start="station"))

    result = CliRunner().invoke(app, arguments, env=environment)
    return next(iter(made), None), result.exit_code, str(result.exception or result.output)


# ------------------------------------------------------------------------------------------------ bounds


@pytest.mark.parametrize(
    ("bounds", "words", "allowed", "refused"),
    [
        (Bounds(at_least=1, at_most=3), "1 to 3", [1, 2.5, 3], [0, 3.1, float("nan"), float("inf")]),
        (Bounds(at_least=1), "at least 1", [1, 10**9], [0.999, float("nan")]),
        (Bounds(above=0, below=1), "more than 0, less than 1", [0.5], [0, 1, float("nan")]),
        (Bounds(above=0, at_most=30), "more than 0, at most 30", [0.1, 30], [0, 30.1]),
        (Bounds(), "", [-1, 0, float("inf")], []),
    ],
)
def test_bounds_say_what_they_allow(bounds: Bounds, words: str, allowed: list[float], refused: list[float]) -> None:
    assert str(bounds) == words
    assert all(bounds.allow(value) for value in allowed)
    assert not any(bounds.allow(value) for value in refused)


def test_a_value_out_of_bounds_is_one_sentence_with_the_option_the_value_and_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match=r"^--length is 31; expected more than 0, at most 30 miles$"):
        Route(miles=31)
    Route(miles=30)
    assert Setting("", "clients", Bounds(at_least=1)).allowed == "at least 1 client"


def test_nothing_insecure_can_be_written_into_a_policy() -> None:
    with pytest.raises(ValueError, match="insecure"):
        Setting("no locks", insecure=True, in_policy=True)
    for entries in PROGRAMS.values():
        assert all(entry.setting.insecure == entry.option.startswith(("insecure-", "allow-plain")) for entry in entries)


# ------------------------------------------------------------------------------------------------ command lines


def test_every_setting_is_an_option_and_a_field_without_one_is_not() -> None:
    assert [entry.option for entry in entries_of(Walk)] == ["dog", "pace", "map", "quiet", "length", "size", "waxed"]


def test_options_make_the_groups_that_they_belong_to() -> None:
    assert walked()[0] == Walk(route=Route(start="station"))
    full = Walk(
        dog="Rex", pace=Pace.FAST, map=Path("x"), quiet=True,
        route=Route(miles=2.5, start="station"), boots=Boots(size=40, waxed=True),
    )  # fmt: skip
    typed = "--dog Rex --pace fast --map x --quiet --length 2.5 --size 40 --waxed"
    assert walked(*typed.split())[0] == full


def test_a_setting_can_come_from_the_environment() -> None:
    walk = walked(WALK_QUIET="true")[0]
    assert walk is not None
    assert walk.quiet
    walk = walked("--no-quiet", WALK_QUIET="true")[0]
    assert walk is not None
    assert not walk.quiet


def test_help_has_meaning_bounds_unit_and_default() -> None:
    said = " ".join(walked("--help")[2].split())
    assert "How far. (more than 0, at most 30 miles)" in said
    assert "5.0" in said


def test_a_value_out_of_bounds_on_the_command_line_is_refused() -> None:
    walk, code, said = walked("--length", "0")
    assert (walk, code) == (None, 1)
    assert said == "--length is 0.0; expected more than 0, at most 30 miles"


def test_of_two_groups_with_the_same_option_the_first_says_what_it_is() -> None:
    offered = {entry.option: entry for entry in offered_by(SimulationSettings, RunSettings)}
    assert offered["key-bits"].default == 2048
    assert offered["rounds"].default == RoundRules().rounds
    assert "max-cohort" in offered
    assert "max-cohort" not in {entry.option for entry in PROGRAMS["simulation"]}


def test_what_the_program_decides_goes_before_what_was_given() -> None:
    assert make(Walk, {"length": 3.0}, miles=4.0).route.miles == 4.0


# ------------------------------------------------------------------------------------------------ other processes


def values_of(arguments: list[str], *groups: type[Settings]) -> dict[str, Any]:
    """What a program with these groups gets from its command line."""
    found: list[Given] = []
    app = typer.Typer()

    @app.command()
    @options_of(*groups)
    def program(given: Given) -> None:
        found.append(given)

    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert found, result.output
    return dict(found[0].values)


RUN = RunSettings(
    "mnist", "damgard-jurik", 2048, 7,
    RoundRules(
        rounds=9, min_cohort=3, max_cohort=11, target=10, cohort=5, over_selection=1.5, gather_seconds=1.5,
        round_seconds=2.5, upload_seconds=3.5, answer_seconds=4.5, patience_seconds=5.5,
    ),
    insecure_demo_keys=True, insecure_unbounded=True, insecure_plaintext=True, privacy=Privacy(1.5, 2.0, 1e-6, 1, 8.0, 3.0),
    server_rule=ServerRule(
        RuleName.fedadam, 0.5, beta1=0.8, beta2=0.98, tau=0.1, clip_quantile=0.4, clip_rate=0.3,
    ),
    local=LocalSettings(
        learning_rate=0.5, lr_schedule="step:2:0.5", local_epochs=3, batch_size=4, optimiser=OptimiserName.SGD, prox_mu=0.1,
    ),
)  # fmt: skip


def test_a_process_gets_the_very_settings_that_its_arguments_were_made_of() -> None:
    """No option is forgotten: every one of this run differs from its default."""
    places = Places(identity=Path("i"), listen="h:1", state=Path("s"), out=Path("o"), test="generated", metrics="h:2")
    got = Given(values_of(arguments_of(places, RUN), Places, RunSettings))
    assert (got.make(Places), got.make(RunSettings)) == (places, RUN)
    same = {entry.option for entry in entries_of(RunSettings) if got[entry.option] == entry.default}
    needless = {
        "count-cap",
        "bound",
        "largest-norm",
        "local-steps",
        "population",
        "server-momentum",
        "groups",
        "robust",
    }
    assert same == needless, "not with privacy, --insecure-unbounded, --local-epochs, fedadam and --clip-quantile"
    counted = RunSettings(count_cap=7, bound=Bound.NORM, largest_norm=0.5, local=LocalSettings(local_steps=9))
    grouped = RunSettings(rules=RoundRules(groups=3), robust=Robust.trimmed_mean)
    for settings in (counted, grouped):
        assert Given(values_of(arguments_of(settings), RunSettings)).make(RunSettings) == settings


def test_a_key_holder_gets_its_settings_and_the_policy_that_fits_the_run() -> None:
    settings = HolderSettings(server="h:1", state=Path("s"), difference_rule=DifferenceRule.OFF, patience=7.0)
    policy = policy_for(RUN)
    assert policy == Policy(
        min_cohort=3, insecure_demo_keys=True, insecure_unbounded=True, min_noise=2.0, max_delta=1e-6
    )
    got = Given(values_of(arguments_of(settings, policy), HolderSettings, Policy))
    assert (got.make(HolderSettings), got.make(Policy)) == (settings, policy)
    assert policy_for(RunSettings(scheme="plain")).allow_plain


def test_the_environment_changes_nothing_that_a_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROKFED_INSECURE_DEMO_KEYS", "true")
    assert Given(values_of([], Policy)).make(Policy).insecure_demo_keys
    assert Given(values_of(arguments_of(Policy()), Policy)).make(Policy) == Policy()


def test_an_option_that_may_be_repeated_is_repeated() -> None:
    settings = InitSettings(clients=5, operator=["server=Anna", "client-1=Bela"])
    assert arguments_of(settings).count("--operator") == 2
    assert Given(values_of(arguments_of(settings), InitSettings)).make(InitSettings) == settings


def test_rules_cut_short_by_a_budget_are_passed_on_as_they_were_asked_for() -> None:
    assert RoundRules(rounds=3, asked=9).before_budget == RoundRules(rounds=9)
    assert RoundRules(rounds=3).before_budget == RoundRules(rounds=3)


# ------------------------------------------------------------------------------------------------ documentation


def test_a_table_has_one_row_a_setting() -> None:
    rows = table_of(entries_of(Walk)).splitlines()[2:]
    assert rows[1] == "| `--pace` | `slow`, `fast` | `slow` |  | How fast. |"
    assert rows[3] == "| `--quiet` | on or off | off |  | Say nothing. Also by `WALK_QUIET=true`. |"
    assert rows[4] == "| `--length` | number, miles | `5.0` | more than 0, at most 30 | How far. |"
    assert len(rows) == 7


def test_only_the_tables_of_a_page_are_written_anew() -> None:
    page = "a\n<!-- settings: python -m registrar deal -->\nold\n<!-- end of settings -->\nb\n"
    filled = fill(page)
    assert filled.startswith("a\n<!-- settings: python -m registrar deal -->\n| option |")
    assert filled.endswith("<!-- end of settings -->\nb\n")
    assert "old" not in filled
    assert fill(filled) == filled
