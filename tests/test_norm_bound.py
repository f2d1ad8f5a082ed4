"""`--bound norm`: what is proven of an update's length, how clients keep to it, and who is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_false_updates import FOUR, LIAR, begin, kept, lying, model_of, refusals, task  # noqa: F401
from test_wire import DESCRIPTION

from core.errors import GrokfedError, Reason, Refused, SettingsError
from core.federated import slots_of_update
from core.privacy.mechanism import Mechanism, Privacy
from core.protected_update import ProtectedUpdate
from core.proven_bounds import largest_square, shortened
from core.secagg.encoding import Encoding, IntArray
from core.update import Update
from core.wire import messages
from experiments.cheating_client.forge import Forge
from server.settings import Bound, RunSettings

Begin = Callable[..., Awaitable[Any]]
ENCODING = Encoding(4, 224, 8, fraction_bits=14)


def update(*delta: float) -> Update:
    return Update(np.array(delta), 1, 0.0, 0)


# ------------------------------------------------------------------------------------------------ the number


def test_without_privacy_the_squares_may_add_up_to_the_norm_in_steps_squared() -> None:
    assert largest_square(1.5, ENCODING, None) == (3 * 2**13) ** 2
    assert largest_square(1e-4, ENCODING, None) == 1  # 1.6 steps


def test_a_norm_of_less_than_one_step_is_refused() -> None:
    with pytest.raises(SettingsError, match="less than one step of the encoding, 6.1"):
        largest_square(2.0**-15, ENCODING, None)


def test_with_noise_there_is_room_for_what_honest_clients_draw_and_hardly_more() -> None:
    values, mechanism = 400, Mechanism(1.0, 10, sensitivity=1024, variance=900, limit=31_726)
    square = largest_square(1.0, Encoding(values, 2047, 8, fraction_bits=10), mechanism)
    expected = 1024**2 + 2 * 1024 * sqrt(57 * 900) + 900 * (values + 2 * sqrt(28.5 * values) + 57)
    assert expected <= square <= expected + 4
    rng = np.random.default_rng(1)
    delta = np.full(values, 1 / sqrt(values))
    longest = max(int((mechanism.protect(delta, rng.bytes) ** 2).sum()) for _ in range(200))
    assert 0.75 * square < longest < square


def test_noise_that_is_longer_than_can_be_proven_is_not_sent() -> None:
    mechanism = Mechanism(1.0, 10, sensitivity=1024, variance=900, limit=31_726)
    encoding = Encoding(4, 224, 8, fraction_bits=10)
    assert slots_of_update(encoding, update(1, 0, 0, 0), mechanism, largest_norm=1.0).shape == (9,)
    strong = replace(mechanism, variance=1_000_000)  # as if its draws came out far too long
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.federated.largest_square", lambda norm, encoding, _: largest_square(norm, encoding, None))
        with pytest.raises(GrokfedError, match="longer than can be proven.*nothing was sent"):
            slots_of_update(encoding, update(1, 0, 0, 0), strong, np.random.default_rng(1).bytes, 1.0)


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.floats(0.001, 4))
def test_no_change_is_longer_than_the_norm_in_steps(delta: list[float], norm: float) -> None:
    short = shortened(update(*delta), ENCODING, norm)
    steps: IntArray = ENCODING.slots_of(short)[5:] - ENCODING.offset
    assert int((steps * steps).sum()) <= largest_square(norm, ENCODING, None)


def test_a_short_change_is_sent_as_it_is() -> None:
    whole = update(0.5, -0.25, 0.0, 0.125)
    assert (ENCODING.slots_of(shortened(whole, ENCODING, 0.6)) == ENCODING.slots_of(whole)).all()


# ------------------------------------------------------------------------------------------------ rounds


async def test_clients_shorten_their_changes_and_prove_it(begin: Begin) -> None:  # noqa: F811
    federation = await begin(bound=Bound.NORM, largest_norm=0.5)
    assert await model_of(federation) == [0.125] * 4  # each of four clients would have added 1, and adds a half
    assert kept(federation) == {}


def unshortened(forge: Forge, slots: IntArray) -> ProtectedUpdate:
    """A change of 1 instead of a half, proven with the range it is in."""
    changed = slots.copy()
    changed[5:] = forge.description.encoding.offset + 2 * (slots[5:] - forge.description.encoding.offset)
    with pytest.raises(ValueError, match="norm of the update is above"):
        forge.honest(changed)
    forge.description = replace(forge.description, largest_norm=None)
    return forge.prove(forge.encrypt(changed), changed)


async def test_a_client_that_does_not_shorten_its_change_is_named(begin: Begin, lying: Any) -> None:  # noqa: F811
    lying(unshortened)
    federation = await begin(bound=Bound.NORM, largest_norm=0.5)
    sixth = round(0.5 / 3, 9)
    assert await model_of(federation) == [sixth, 0.0, sixth, sixth]
    assert (LIAR, Reason.WRONG_PROOF) in refusals(federation)


async def test_with_privacy_the_clip_norm_is_proven_and_noise_fits(begin: Begin) -> None:  # noqa: F811
    privacy = Privacy(clip_norm=1.0, noise_multiplier=0.5, delta=1e-5)
    federation = await begin(FOUR, bound=Bound.NORM, privacy=privacy)
    await federation.play()
    assert federation.run.results[0].contributors == 4
    assert federation.run.context.settings.proven_norm == 1.0
    assert kept(federation) == {}


# ------------------------------------------------------------------------------------------------ what is said


def test_the_norm_travels_in_the_signed_description() -> None:
    described = replace(DESCRIPTION, bounded=True, largest_norm=0.5, privacy=None)
    assert messages.description_from_bytes(messages.description_to_bytes(described)) == described


@pytest.mark.parametrize("norm", [0.0, float("nan"), 1e9])
def test_a_description_with_an_impossible_norm_is_refused(norm: float) -> None:
    described = replace(DESCRIPTION, bounded=True, largest_norm=norm, privacy=None)
    with pytest.raises(Refused, match="largest norm is"):
        messages.description_from_bytes(messages.description_to_bytes(described))


def test_a_description_whose_norm_is_not_its_clip_norm_is_refused() -> None:
    privacy = Privacy(clip_norm=1.0, noise_multiplier=1.0)
    described = replace(DESCRIPTION, bounded=True, largest_norm=2.0, privacy=privacy)
    with pytest.raises(Refused, match="expected the clip norm"):
        messages.description_from_bytes(messages.description_to_bytes(described))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"largest_norm": 1.0}, "only --bound norm proves; add --bound norm"),
        ({"bound": Bound.NORM}, "add --largest-norm"),
        ({"bound": Bound.NORM, "largest_norm": 1.0, "scheme": "plain"}, "nothing is proven of updates that are not"),
        ({"bound": Bound.NORM, "largest_norm": 1.0, "insecure_unbounded": True}, "with --insecure-unbounded"),
        ({"bound": Bound.NORM, "largest_norm": 1.0, "privacy": Privacy(1.0, 1.0)}, "so leave it out"),
    ],
)
def test_settings_that_contradict_each_other_get_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        RunSettings("spam", **settings)


def test_a_norm_that_cannot_be_proven_is_refused_with_the_way_out() -> None:
    settings = RunSettings("spam", bound=Bound.NORM, largest_norm=256.0)  # 2^22 steps, and their square has 45 bits
    with pytest.raises(
        SettingsError, match="--largest-norm is 256; for this task it must be less than 256; or leave --bound"
    ):
        settings.proven(ENCODING)
