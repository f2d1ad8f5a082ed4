"""What is said where a privacy budget does not allow one round: advice that can be followed."""

from __future__ import annotations

import re

import pytest

from core.errors import SettingsError
from core.privacy.mechanism import Privacy
from server.budget import within_budget
from server.rules import RoundRules
from server.settings import RunSettings


def message(noise: float, budget: float) -> str:
    privacy = Privacy(1.0, noise, 1e-5, epsilon_budget=budget)
    settings = RunSettings(rules=RoundRules(min_cohort=2), privacy=privacy)
    with pytest.raises(SettingsError) as refused:
        within_budget(settings, 8193)
    return str(refused.value)


def test_a_noise_that_is_enough_is_named_and_then_is_enough() -> None:
    said = message(1.0, 1.0)
    named = re.search(r"a noise multiplier of (\S+) is enough", said)
    assert named is not None, said
    privacy = Privacy(1.0, float(named.group(1)), 1e-5, epsilon_budget=1.0)
    settings = within_budget(RunSettings(rules=RoundRules(min_cohort=2), privacy=privacy), 8193)
    assert settings.rules.rounds >= 1


@pytest.mark.parametrize("noise", [600.0, 1000.0])
def test_where_no_more_noise_is_possible_none_is_advised(noise: float) -> None:
    said = message(noise, 1e-6)
    assert "no noise that fits is enough, so take a larger budget, or a larger delta" in said
    assert "a noise multiplier of" not in said
