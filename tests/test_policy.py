"""What a party agrees to: by its options, by policy.toml in its folder, and what is refused in either."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

import client.__main__ as client_program
import keyholder.__main__ as holder_program
from core.errors import SettingsError
from core.policy import Policy
from core.settings.policy_file import FILE, read_policy

WHOLE = """
min-cohort = 10
min-key-bits = 3072
min-noise = 1.5
max-delta = 1e-6
"""
PROGRAMS = {"client": client_program, "keyholder": holder_program}


def policy_of(program: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Policy:
    """The policy that a party makes of its folder and its options; it ends there."""
    made: list[Policy] = []

    class LastWords(Policy):
        def __post_init__(self) -> None:
            made.append(Policy(**asdict(self)))
            raise SettingsError("that is all")

    monkeypatch.setattr(program, "Policy", LastWords)
    arguments = ["--identity", str(folder), *options]
    if program is client_program:
        arguments += ["--mail", "generated"]
    result = CliRunner().invoke(program.app, arguments)
    assert made, result.output
    return made[0]


def refusal(program: ModuleType, folder: Path) -> str:
    result = CliRunner().invoke(program.app, ["--identity", str(folder)])
    assert result.exit_code == 2
    return " ".join(result.output.split())


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_the_file_says_holds_and_the_command_line_goes_before_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert policy_of(PROGRAMS[name], tmp_path, monkeypatch) == Policy()
    (tmp_path / FILE).write_text(WHOLE)
    said = Policy(min_cohort=10, min_noise=1.5, max_delta=1e-6, min_key_bits=3072)
    assert policy_of(PROGRAMS[name], tmp_path, monkeypatch) == said
    again = policy_of(PROGRAMS[name], tmp_path, monkeypatch, "--min-cohort", "3")
    assert (again.min_cohort, again.min_key_bits) == (3, 3072)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "min-chort = 10",
            "has a setting 'min-chort'; known are budget, dataset, min-cohort, max-colluders, min-key-bits, min-noise, max-delta, "
            "max-epsilon",
        ),
        ("insecure-demo-keys = true", "has a setting 'insecure-demo-keys'"),
        ("allow-plain = true", "has a setting 'allow-plain'"),
        ("difference-rule = 'off'", "has a setting 'difference-rule'"),
        ("min-cohort =", "cannot be read"),
        ("min-cohort = 'many'", "says min-cohort = 'many': 'many' is not a whole number"),
        ("min-key-bits = 1024", "says min-key-bits = 1024; expected at least 2048 bits"),
    ],
)
def test_a_policy_that_is_not_understood_is_refused_in_a_sentence(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(content)
    assert sentence in refusal(client_program, tmp_path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_policy(tmp_path, ["min-cohort"])


def test_a_key_holders_policy_may_name_the_difference_rule(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("difference-rule = 'reprot'")
    assert "'reprot' is not one of" in refusal(holder_program, tmp_path)
    (tmp_path / FILE).write_text("difference-rule = 'report'")
    assert read_policy(tmp_path, ["difference-rule"]) == {"difference-rule": "report"}


def test_a_shorter_key_than_the_policy_wants_is_refused_and_one_as_long_is_not() -> None:
    strict = Policy(min_key_bits=3072)
    strict.check_key("paillier", 3072)
    with pytest.raises(SettingsError, match="2048 bits; this party wants at least 3072"):
        strict.check_key("paillier", 2048)
    Policy(min_key_bits=3072, insecure_demo_keys=True).check_key("paillier", 256)
    Policy(min_key_bits=3072, allow_plain=True).check_key("plain", 256)
