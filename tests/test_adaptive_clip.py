"""A clip that adapts: the paper's update and noise by hand, what clients send, and the same in every way of running."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt
from pathlib import Path

import numpy as np
import pytest
from test_virtual_command import invoke

from core.errors import Reason, Refused, SettingsError
from core.federated import mean_update
from core.identity import signing
from core.privacy.composition import cost_of_sum
from core.privacy.mechanism import Mechanism, Privacy, mechanism_for
from core.protocol import AttemptId, RoundDescription, Signed
from core.secagg.encoding import CohortSum
from core.server_rules import RuleName, ServerModel, ServerRule
from core.task_checks import require_local_training
from core.tasks import get_task
from core.wire import federation_pb2 as pb
from core.wire.messages import (
    description_from_bytes,
    description_to_bytes,
    privacy_from_wire,
    privacy_to_wire,
    rule_from_wire,
    rule_to_wire,
)
from results.record import RoundRecord
from results.verifying import verify
from server import states
from server.context import RunContext
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.in_process import InProcessFederation, Options, play
from simulation.slot_task import known, slot_task
from simulation.virtual.block import BlockRunner
from simulation.virtual.population import Generated
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import WorkerPool

MEDIAN = ServerRule(clip_quantile=0.5)
ADAPTIVE = Privacy(clip_norm=1.0, noise_multiplier=1.0, count_noise=1.0)
LITTLE_NOISE = Privacy(clip_norm=0.87, noise_multiplier=0.005, count_noise=0.02)


# ------------------------------------------------------------------------------------------------ the equations


def test_the_clip_moves_geometrically_by_what_is_within_it() -> None:
    """C <- C exp(-rate (b - quantile)) with rate 0.2: all within shrink it by e^-0.1, none lengthen it by e^0.1."""
    after = MEDIAN.clip_factor_after
    assert after(3.0, 0.5) == 3.0
    assert after(1.0, 1.0) == pytest.approx(exp(-0.1), rel=1e-15)
    assert after(2.0, 0.0) == pytest.approx(2 * exp(0.1), rel=1e-15)
    assert ServerRule(clip_quantile=0.9, clip_rate=1.0).clip_factor_after(1.0, 0.4) == pytest.approx(
        exp(0.5), rel=1e-15
    )
    assert [after(2.0**20, -9.0), after(2.0**-20, 9.0)] == [2.0**20, 2.0**-20], "whatever the noise says"


def test_updates_come_back_in_their_size_and_the_clip_is_remembered_with_any_rule() -> None:
    """Clients send the update divided by the factor: 1/2 is 1/2 in round 1, and e^-0.1 / 2 after all were within."""
    model = ServerModel.start(MEDIAN, np.array([1.0])).after(np.array([0.5, 1.0]), 4)
    assert (model.model.tolist(), model.clip_factor) == ([1.5], exp(-0.1))
    model = model.after(np.array([0.5, 0.5]), 4)
    assert model.model.tolist() == [1.5 + exp(-0.1) * 0.5]
    momentum = ServerModel.start(ServerRule(RuleName.fedavgm, momentum=0.5, clip_quantile=0.5), np.zeros(1))
    momentum = momentum.after(np.array([1.0, 0.5]), 4).after(np.array([1.0, 0.5]), 4)
    assert (momentum.model.tolist(), momentum.state.tolist()) == ([2.5], [1.5, 1.0])
    assert ServerModel.from_vector(momentum.rule, momentum.vector).state.tolist() == [1.5, 1.0]


def test_the_clip_finds_the_quantile_that_it_is_to_follow() -> None:
    """Norms e^x with x from -2 to 2: the median is 1, and 80 % are below e^1.2."""
    norms = np.exp(np.linspace(-2, 2, 401))
    for quantile, wanted in ((0.5, 1.0), (0.8, exp(1.2))):
        factor, rule = 0.01, ServerRule(clip_quantile=quantile)
        for _ in range(300):
            factor = rule.clip_factor_after(factor, float((norms <= factor).mean()))
        assert factor == pytest.approx(wanted, rel=0.02)


def test_the_updates_get_more_noise_so_that_both_together_have_what_was_promised() -> None:
    """Theorem 1 with z = z_b = 1: z_u = (1 - 1/4)^-1/2 = 2 / sqrt(3), and the bit is h = z_u D / 2 = D / sqrt(3)."""
    assert ADAPTIVE.update_noise == pytest.approx(4 / 3)
    made, plain = mechanism_for(ADAPTIVE, 10, 16), mechanism_for(replace(ADAPTIVE, count_noise=None), 10, 16)
    assert made.half_bit == int(made.sensitivity / sqrt(3))
    assert made.variance == pytest.approx(4 / 3 * made.sensitivity**2 / 10, rel=1e-6)
    assert made.moved == pytest.approx(made.sensitivity * sqrt(4 / 3), rel=1e-4)
    costs = [cost_of_sum(each.moved, each.variance, 10, 1) for each in (made, plain)]
    assert costs == [pytest.approx(1.0, rel=1e-3)] * 2, "a round costs what it costs with a clip that stays"
    assert made.sensitivity**2 + made.half_bit**2 <= 10 * made.variance, "and never more than promised"
    assert made.sensitivity**2 + made.half_bit**2 <= made.moved**2
    assert plain.half_bit == 0
    assert plain.moved == plain.sensitivity


def test_the_noise_on_the_number_within_is_as_wide_as_asked() -> None:
    """In bits of 2h steps, the noise of ten clients has a standard deviation of z_b: one client, or three."""
    for count_noise in (1.0, 3.0):
        made = mechanism_for(replace(ADAPTIVE, count_noise=count_noise), 10, 16)
        assert sqrt(10 * made.variance) / (2 * made.half_bit) == pytest.approx(count_noise, rel=1e-3)


# ------------------------------------------------------------------------------------------------ what clients send

QUIET = Mechanism(clip_norm=1.0, fraction_bits=10, sensitivity=1024, variance=4, limit=31_726, half_bit=500)
"""A mechanism whose noise, 2 steps, leaves everything to be seen."""


def test_a_client_says_whether_its_update_was_within_the_clip_of_the_round() -> None:
    for length, factor, bit in ((0.9, 1.0, 500), (1.1, 1.0, -500), (1.1, 2.0, 500), (0.9, 0.5, -500)):
        sent = QUIET.protect(np.array([length, 0.0]), clip_factor=factor)
        assert sent == pytest.approx([min(length / factor, 1.0) * 1024, 0, bit], abs=30)


def test_the_share_within_the_clip_is_read_from_the_sum() -> None:
    """Three of four within: (3 - 1) 500 / 4 = 250 steps, and 1/2 + 250 / 1000 = 3/4."""
    cohort = CohortSum(4, np.array([2.0, (3 - 1) * 500 / 1024]), 0, 0.0, 0)
    assert mean_update(cohort, QUIET).tolist() == [0.5, 0.75]
    assert mean_update(cohort, replace(QUIET, half_bit=0)).tolist() == [0.5, 1000 / 4096]


# ------------------------------------------------------------------------------------------------ all parties


@pytest.fixture(scope="module")
def federation() -> InProcessFederation:
    """Three clients whose updates have the norm 1, with little noise and a clip that begins at 0.87."""
    with known(slot_task(3)) as task:
        return play(
            task, clients=3, rounds=3, scheme="plain", options=Options(server_rule=MEDIAN, privacy=LITTLE_NOISE)
        )


def verified(federation: InProcessFederation) -> list[np.ndarray]:
    records = [RoundRecord.from_line(line, "a line") for line in federation.record]
    with known(slot_task(3)):
        return [each.model for each in verify(records, federation.identities["server"].registrar)]


STEPS = [0.87 / 3, 0.87 * exp(0.1) / 3, 1 / 3]
"""By how much each weight moves in the three rounds: none is within 0.87 or 0.96, and all are within the third clip, 1.06."""


def test_the_clip_grows_until_updates_are_within_and_then_leaves_them_whole(federation: InProcessFederation) -> None:
    models = verified(federation)
    assert np.array_equal(models[-1], federation.model)
    moved = np.diff([np.zeros(3), *models], axis=0)
    assert moved == pytest.approx(np.repeat(STEPS, 3).reshape(3, 3), abs=0.01)


def test_a_description_says_the_clip_of_its_round_in_one_form(federation: InProcessFederation) -> None:
    submission = federation.clients["client-1"].session.participant.last
    assert submission is not None
    last = submission.description
    assert log(last.clip_factor) == pytest.approx(0.2, abs=0.02)
    assert last.encoding.values == 4
    assert description_from_bytes(description_to_bytes(last)) == last
    for wrong in (0.0, float("nan"), float("inf"), 2.0**21):
        with pytest.raises(Refused) as refused:
            description_from_bytes(description_to_bytes(replace(last, clip_factor=wrong)))
        assert refused.value.reason is Reason.MALFORMED


def test_a_round_with_half_of_what_a_clip_that_adapts_takes_is_refused(federation: InProcessFederation) -> None:
    participant = federation.clients["client-1"].session.participant
    assert participant.last is not None
    last, task = participant.last.description, participant.task
    require_local_training(participant.verifier.require, last, task, federation.policy)
    assert last.privacy is not None
    for half in (
        replace(last, privacy=replace(last.privacy, count_noise=None)),
        replace(last, rule=ServerRule()),
        replace(last, privacy=None),
    ):
        with pytest.raises(Refused, match="a clip that adapts takes"):
            require_local_training(participant.verifier.require, half, task, federation.policy)


# ------------------------------------------------------------------------------------------------ settings


def test_the_number_within_gets_a_twentieth_of_the_cohort_as_noise_and_at_least_the_multiplier() -> None:
    """The paper's choice, z_b = n / 20, where cohorts are large enough for it."""
    for min_cohort, expected in ((5, 1.0), (60, 3.0)):
        rules = RoundRules(min_cohort=min_cohort, max_cohort=60)
        settings = RunSettings(rules=rules, server_rule=MEDIAN, privacy=Privacy(1.0, 1.0))
        assert settings.privacy is not None
        assert settings.privacy.count_noise == expected
        settings.check_training(get_task("spam"))
    assert RunSettings(privacy=Privacy(1.0, 1.0)).privacy == Privacy(1.0, 1.0)


def test_rule_and_privacy_come_back_from_the_wire() -> None:
    for rule in (MEDIAN, ServerRule(RuleName.fedadam, clip_quantile=0.3, clip_rate=0.5)):
        assert rule_from_wire(rule_to_wire(rule)) == rule
        assert "clip at quantile" in rule.sentence
    assert privacy_from_wire(privacy_to_wire(ADAPTIVE)) == ADAPTIVE
    state = MEDIAN.initial_state(2)
    assert MEDIAN.state_digest(state) != ServerRule(clip_quantile=0.4).state_digest(state)


def test_what_cannot_be_is_refused_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"--clip-count-noise is 0.7; with a noise multiplier of 1 .* at least 0.707"
    ):
        Privacy(1.0, 1.0, count_noise=0.7)
    with pytest.raises(SettingsError, match="--clip-rate is 0.1, which only --clip-quantile has"):
        ServerRule(clip_rate=0.1)
    usual = ["--virtual", "--clients", "6", "--rounds", "2", "--workers", "1", "--out", tmp_path / "run"]
    private = ["--clip-norm", "0.1", "--noise-multiplier", "0.5"]
    for more, sentence in (
        (["--clip-quantile", "0.5"], "a clip that adapts takes --clip-quantile, --clip-norm"),
        ([*private, "--clip-count-noise", "1"], "a clip that adapts takes --clip-quantile, --clip-norm"),
        (
            [*private, "--clip-quantile", "0.5", "--clients", "9", "--groups", "3", "--min-cohort", "3"],
            "counts in one sum",
        ),
        ([*private, "--clip-quantile", "0.5", "--rule", "scaffold"], "the run has privacy"),
    ):
        code, said = invoke(*usual, *more)
        assert code != 0
        assert sentence in said


def test_virtual_clients_follow_the_clip_and_their_history_has_it() -> None:
    task, rules = slot_task(3), RoundRules(rounds=3, min_cohort=3, max_cohort=3, threshold=1, holders=1)
    settings = RunSettings(
        task.name, "plain", 256, 0, rules, insecure_demo_keys=True, privacy=LITTLE_NOISE, server_rule=MEDIAN
    )
    population = Generated(task, 0, 3)
    run, clips, models = VirtualRun(settings, task, population), [], [np.zeros(3)]
    with WorkerPool(BlockRunner(task, population, 0), 1, len(run.start), run.slots, 3) as pool:
        for result in run.rounds(pool, lambda _clients: None):
            clips.append(result.more_columns["clip_norm"])
            models.append(run.model)
    assert clips == pytest.approx([0.87, 0.87 * exp(0.1), 0.87 * exp(0.2)], abs=0.02)
    assert np.diff(models, axis=0) == pytest.approx(np.repeat(STEPS, 3).reshape(3, 3), abs=0.01)


# ------------------------------------------------------------------------------------------------ an aggregator that lies


def first_description(federation: InProcessFederation) -> RoundDescription:
    record = RoundRecord.from_line(federation.record[0], "a line")
    return description_from_bytes(pb.OpenSum.FromString(record.order).list.round.description)


def test_a_first_round_that_does_not_begin_with_the_clip_of_the_run_is_refused(federation: InProcessFederation) -> None:
    participant, first = federation.clients["client-1"].session.participant, first_description(federation)
    participant.verifier.verify_lineage(first, participant.task, ())
    with pytest.raises(Refused) as refused:
        participant.verifier.verify_lineage(replace(first, clip_factor=2.0), participant.task, ())
    assert refused.value.reason is Reason.MODEL_LINEAGE


def test_key_holders_sign_no_model_after_a_round_with_another_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    describe = RunContext.describe

    def lying(self: RunContext, id: AttemptId, key: Signed, model: ServerModel) -> tuple[RoundDescription, Signed]:
        description, signed = describe(self, id, key, model)
        if id.round == 1:
            return description, signed
        changed = replace(description, clip_factor=2 * description.clip_factor)
        body = description_to_bytes(changed)
        return changed, Signed(body, self.identity.signing.sign(signing.ROUND, body))

    monkeypatch.setattr(RunContext, "describe", lying)
    options = Options(server_rule=MEDIAN, privacy=Privacy(clip_norm=0.125, noise_multiplier=0.5))
    with known(slot_task(3)) as task:
        federation = play(task, clients=3, rounds=2, scheme="plain", options=options)
    assert isinstance(federation.phase, states.Failed)
    assert "does not endorse it" in str(federation.phase)
    assert len(federation.run.results) == 1
