"""What a client does to its update: clip, round, add noise; and what does not fit is said before anything is sent."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused_with

from core.errors import GrokfedError, Reason, SettingsError
from core.federated import encode_update, encoding_for
from core.privacy.mechanism import (
    HEADROOM,
    Mechanism,
    Privacy,
    add_noise,
    central_sum,
    clip,
    mechanism_for,
    to_integers,
)
from core.secagg.encoding import Encoding, Update
from core.tasks import get_task
from core.wire import federation_pb2 as pb
from core.wire.messages import privacy_from_wire, privacy_to_wire

PRIVACY = Privacy(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5)
SPAM = get_task("spam")


def seeded(seed: int = 1):
    return np.random.default_rng(seed).bytes


def norm(integers: np.ndarray) -> float:
    return sqrt(sum(int(value) ** 2 for value in integers))


# ------------------------------------------------------------------------------------------------ clipping


def test_a_long_update_is_shortened_and_keeps_its_direction() -> None:
    assert np.allclose(clip(np.array([3.0, 4.0]), 1.0), [0.6, 0.8])


def test_a_short_update_is_left_alone() -> None:
    update = np.array([0.3, -0.4])
    assert clip(update, 1.0) is update
    assert clip(np.zeros(3), 1.0).tolist() == [0, 0, 0]


def test_an_update_too_long_for_floats_becomes_zero_and_not_infinite() -> None:
    assert clip(np.array([1e200, 1e200]), 1.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_update_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        clip(np.array([0.0, value]), 1.0)


def test_integers_are_the_nearest_ones() -> None:
    assert to_integers(np.array([0.26, -0.24, 0.5]), 2, 100).tolist() == [1, -1, 2]


def test_what_rounding_made_too_long_is_shortened_in_whole_numbers() -> None:
    clipped = np.full(100, 0.06)  # norm 0.6; in steps of 0.1 each rounds up to 1, together a norm of 10
    scaled = to_integers(clipped * 10, 0, 6)
    assert norm(scaled) <= 6


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
    st.floats(0.01, 100),
    st.integers(0, 12),
)
def test_no_update_moves_the_integers_farther_than_the_sensitivity(
    values: list[float], clip_norm: float, fraction_bits: int
) -> None:
    sensitivity = int(Fraction(clip_norm) * 2**fraction_bits)
    integers = to_integers(clip(np.array(values), clip_norm), fraction_bits, sensitivity)
    assert sum(int(value) ** 2 for value in integers) <= sensitivity**2


def test_the_longest_allowed_update_keeps_nearly_all_its_length() -> None:
    made = mechanism_for(PRIVACY, 10, 16)
    update = np.random.default_rng(0).normal(size=8193)
    integers = to_integers(clip(update, 1.0), made.fraction_bits, made.sensitivity)
    assert 0.98 * made.sensitivity < norm(integers) <= made.sensitivity


# ------------------------------------------------------------------------------------------------ how much noise


def test_five_clients_together_add_the_noise_that_was_promised() -> None:
    made = mechanism_for(PRIVACY, 5, 16)
    assert made.sensitivity == 2**made.fraction_bits
    assert 5 * made.variance >= made.sensitivity**2
    assert 5 * (made.variance - 1) < made.sensitivity**2


def test_those_who_may_collude_are_not_counted_on() -> None:
    alone, together = mechanism_for(replace(PRIVACY, max_colluders=4), 5, 16), mechanism_for(PRIVACY, 5, 16)
    assert alone.variance / alone.sensitivity**2 >= 1
    assert alone.variance / alone.sensitivity**2 == pytest.approx(5 * together.variance / together.sensitivity**2)


@settings(max_examples=200)
@given(
    st.floats(2.0**-20, 100),
    st.floats(0.1, 50),
    st.integers(2, 500),
    st.integers(0, 100),
    st.sampled_from([12, 16, 24]),
)
def test_whatever_is_made_fits_and_is_strong_enough(
    clip_norm: float, noise: float, cohort: int, colluders: int, value_bits: int
) -> None:
    try:
        made = mechanism_for(Privacy(clip_norm, noise, 1e-5, colluders), cohort, value_bits)
    except SettingsError:
        return
    honest = cohort - colluders
    assert honest * made.variance >= (Fraction(noise) * made.sensitivity) ** 2
    assert made.sensitivity <= Fraction(clip_norm) * 2**made.fraction_bits < made.sensitivity + 1
    assert made.sensitivity + HEADROOM * made.share_sigma <= 2 ** (value_bits - 1)
    assert made.share_sigma >= 2


def test_the_finest_scale_that_fits_is_taken() -> None:
    made = mechanism_for(PRIVACY, 5, 16)
    twice = 2 * (made.sensitivity + HEADROOM * made.share_sigma)
    assert twice > made.limit


@pytest.mark.parametrize(
    ("privacy", "cohort", "sentence"),
    [
        (replace(PRIVACY, max_colluders=5), 5, "no client's noise can be counted on"),
        (replace(PRIVACY, clip_norm=30000.0, noise_multiplier=0.5), 5, "longest that fits is about 8614"),
        (replace(PRIVACY, noise_multiplier=1000.0, clip_norm=0.001), 1, ""),
        (replace(PRIVACY, noise_multiplier=0.001), 10**6, "noise multiplier of about 0.12"),
    ],
)
def test_what_does_not_fit_is_said_with_what_would(privacy: Privacy, cohort: int, sentence: str) -> None:
    if not sentence:
        mechanism_for(privacy, cohort, 16)
        with pytest.raises(SettingsError, match=r"the largest that fits is 10\.5"):
            mechanism_for(privacy, cohort, 8)
        return
    with pytest.raises(SettingsError, match=sentence):
        mechanism_for(privacy, cohort, 16)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clip_norm", 0.0), ("clip_norm", float("nan")), ("clip_norm", 1e9),
        ("noise_multiplier", 0.0), ("noise_multiplier", -1.0), ("noise_multiplier", float("inf")),
        ("delta", 0.0), ("delta", 1.0), ("delta", 1e-13),
        ("max_colluders", -1), ("epsilon_budget", 0.0), ("epsilon_budget", float("nan")),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_cannot_be_made(field: str, value: float) -> None:
    with pytest.raises(SettingsError):
        replace(PRIVACY, **{field: value})


# ------------------------------------------------------------------------------------------------ adding it


def test_noise_has_the_width_that_was_asked_for_and_sits_on_the_value() -> None:
    noisy = add_noise(np.full(20_000, 100), 400, 32767, seeded())
    assert noisy.mean() == pytest.approx(100, abs=1)
    assert noisy.std() == pytest.approx(20, rel=0.02)


def test_noise_that_leaves_the_slot_is_refused_and_not_clipped() -> None:
    with pytest.raises(GrokfedError, match="nothing was sent"):
        add_noise(np.full(1000, 32760), 400, 32767, seeded())


def test_two_answers_to_the_same_round_have_other_noise() -> None:
    made = mechanism_for(PRIVACY, 5, 16)
    update = np.ones(100)
    assert not np.array_equal(made.protect(update), made.protect(update))


def test_the_trusted_partys_sum_has_noise_once() -> None:
    clipped = np.tile(np.array([[10] + [0] * 19_999]), (3, 1))
    total = central_sum(clipped, PRIVACY, 100, seeded())
    assert total.std() == pytest.approx(100, rel=0.03)
    strong = central_sum(clipped, replace(PRIVACY, noise_multiplier=100.0), 100, seeded())
    assert strong.std() == pytest.approx(10_000, rel=0.03)


# ------------------------------------------------------------------------------------------------ in the encoding


def noisy_encoding(made: Mechanism, values: int = 50) -> Encoding:
    return Encoding(values, 2047, 10, 16, made.fraction_bits)


def test_a_sum_of_noisy_updates_is_decoded_to_their_sum_and_says_nothing_of_examples() -> None:
    made = mechanism_for(PRIVACY, 3, 16)
    encoding = noisy_encoding(made)
    updates = [Update(np.full(50, 0.1 * client), 300, 12.0, 200) for client in (1, 2, 3)]
    random_bytes = seeded()
    encoded = [encode_update(encoding, update, made, random_bytes) for update in updates]
    cohort = encoding.decode([sum(column) for column in zip(*encoded, strict=True)], 3)
    again = seeded()
    expected = sum(made.protect(update.delta, again) for update in updates) / 2.0**made.fraction_bits
    assert np.array_equal(cohort.delta_sum, expected)
    assert (cohort.examples, cohort.mean_loss, cohort.correct) == (0, 0.0, 0)


def test_integers_that_do_not_fit_a_slot_are_not_packed() -> None:
    encoding = Encoding(1, 2047, 10, 16, 13)
    assert encoding.pack(encoding.slots_of_integers(np.array([-32768])))
    with pytest.raises(ValueError, match="outside"):
        encoding.pack(encoding.slots_of_integers(np.array([32768])))


def test_with_privacy_the_scale_is_the_mechanisms_and_counts_are_refused() -> None:
    made = mechanism_for(PRIVACY, 5, 16)
    assert encoding_for(SPAM, 8193, 2047, 10, 0, made).fraction_bits == made.fraction_bits
    assert encoding_for(SPAM, 8193, 2047, 10).fraction_bits == 13
    with pytest.raises(SettingsError, match="count_cap is 100"):
        encoding_for(SPAM, 8193, 2047, 10, 100, made)


# ------------------------------------------------------------------------------------------------ on the wire


@pytest.mark.parametrize("privacy", [PRIVACY, Privacy(0.25, 2.0, 1e-6, 3, 8.0)])
def test_privacy_settings_survive_the_wire(privacy: Privacy) -> None:
    assert privacy_from_wire(privacy_to_wire(privacy)) == privacy


def test_impossible_privacy_settings_from_the_wire_are_malformed() -> None:
    with refused_with(Reason.MALFORMED):
        privacy_from_wire(pb.Privacy(clip_norm=1.0, noise_multiplier=0.0, delta=1e-5))
