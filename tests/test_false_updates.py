"""A client whose update is false is refused and named, and the others finish the round without it."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import RULES
from templates import Shape, copy_federation

import client.participant
import keyholder.adding
import server.attempt
from core.bounds.transcript import Statement, split
from core.errors import DataError, Reason, Refused
from core.identity.party import load_identity
from core.policy import Policy
from core.protected_update import ProtectedUpdate, UpdateMaker, split_update
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask
from core.wire.streams import model_from_bytes
from experiments.cheating_client.forge import Forge, Lie
from experiments.cheating_client.lies import BOOST, TARGET, first_ciphertext, only_in_ciphertexts, with_proof
from registrar.folder import load_registrar
from results.evidence import judge, judge_file
from server import __main__ as program
from server import states
from server.rounds.cohort import in_uploading
from server.rules import RoundRules
from server.settings import Places, RunSettings
from server.states import AbandonAttempt, RequestRelease, RunState, SubmissionRefused, Uploading
from server.status import write_evidence
from simulation.in_process import InProcessFederation, Options
from simulation.slot_task import known, slot_task

FOUR = replace(RULES, target=4)
LIAR = "client-2"
MARK = 16_384
"""Steps of 2^-14 by which each client changes the weight of its own number: a change of 1."""


@pytest.fixture(autouse=True)
def task() -> Iterator[Task]:
    """Sixty weights, of which each client adds 1 to its own."""
    with known(slot_task(60)) as task:
        yield task


@pytest.fixture
async def begin(tmp_path: Path, task: Task) -> AsyncIterator[Callable[..., Awaitable[InProcessFederation]]]:
    """Starts federations whose clients prove what they send, unless `unbounded`."""
    begun: list[InProcessFederation] = []

    async def begin(
        rules: RoundRules = FOUR, scheme: str = "paillier", unbounded: bool = False, **more: Any
    ) -> InProcessFederation:
        folder = tmp_path / str(len(begun))
        members = copy_federation(Shape(4, rules.holders, rules.threshold, scheme, 256, 6), folder / "federation")
        names = [member.name for member in load_registrar(members).roster.members]
        identities = {name: load_identity(members / name) for name in names}
        settings = RunSettings(
            task.name, scheme, 256, 0, rules, insecure_demo_keys=True, insecure_unbounded=unbounded, **more
        )
        federation = InProcessFederation(folder, identities, settings, task, Options(record=True))
        begun.append(federation)
        await federation.start()
        return federation

    yield begin
    for federation in begun:
        await federation.close()


async def model_of(federation: InProcessFederation) -> list[float]:
    """Play the round, and return the first four weights of its model."""
    await federation.play()
    assert federation.phase == states.Finished(), federation.phase
    return [round(float(weight), 9) for weight in federation.aggregator.store.model(federation.run.context.id)[1][:4]]


def refusals(federation: InProcessFederation) -> list[tuple[str, Reason]]:
    return [(each.receiver, each.content.reason) for each in federation.messages if isinstance(each.content, Refused)]


def kept(federation: InProcessFederation) -> dict[str, tuple[str, bytes]]:
    return federation.aggregator.store.evidence(federation.run.context.id)


MALFORMED = first_ciphertext(lambda _: 0)
UNPROVEN = with_proof(lambda _forge, _slots, honest: honest.proof)


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the liar make its updates in another way."""

    def by(lie: Lie, *also: str) -> None:
        """Name the other way, and who else makes them so."""

        def choose(description: Any, digest: bytes, name: str, noise: Any) -> UpdateMaker:
            if name in (LIAR, *also):
                return Forge(lie, lambda: pytest.fail("nobody helps"), (), description, digest, name)
            return UpdateMaker(description, digest, name, noise)

        monkeypatch.setattr(client.participant, "UpdateMaker", choose)

    return by


def only_ciphertexts(adder: Any, _description: Any, _commitment: Any, update: ProtectedUpdate, *_: Any) -> None:
    """What was checked before there were proofs."""
    adder.check(update.ciphertexts)


# ------------------------------------------------------------------------------------------------ honest rounds


@pytest.mark.parametrize(
    ("scheme", "cap"),
    [
        ("paillier", 0),
        pytest.param("damgard-jurik", 0, marks=pytest.mark.slow),
        pytest.param("paillier", 9, marks=pytest.mark.slow),
    ],
)
async def test_a_round_with_proofs_gives_the_model_of_one_without(begin: Any, scheme: str, cap: int) -> None:
    proven = await begin(scheme=scheme, count_cap=cap)
    assert proven.run.context.settings.bounded
    assert await model_of(proven) == await model_of(await begin(scheme=scheme, count_cap=cap, unbounded=True))
    assert kept(proven) == {}
    assert proven.run.results[0].contributors == 4


async def test_a_client_that_is_killed_makes_its_next_proof_with_other_masks(begin: Any) -> None:
    federation = await begin()
    await federation.play_until(states.Closing)
    identity, signed = federation.identities["client-1"], federation.run.attempt.signed
    again = federation.new_client(identity).participant
    again.enrolled(federation.run.context.id)
    description = again.verify(signed)
    _, raw, _ = await federation.run.model(0)
    first = federation.clients["client-1"].session.participant.last
    second = again.answer(description, signed, model_from_bytes(raw, again.values))
    assert again.answer(description, signed, model_from_bytes(raw, again.values)) is second
    shown = [split(description.proven, about_lengths(description), each) for each in proofs(description, first, second)]
    for part in ("mask", "sums", "combinations", "equations", "columns"):
        assert getattr(shown[0], part) != getattr(shown[1], part)


def about_lengths(description: Any) -> Statement:
    return Statement(description.key.modulus, b"", b"", ())


def proofs(description: Any, *submissions: Any) -> list[bytes]:
    return [split_update(description, each.payload).proof for each in submissions]


# ------------------------------------------------------------------------------------------------ lies


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (only_in_ciphertexts, Reason.WRONG_PROOF),
        (MALFORMED, Reason.BAD_CIPHERTEXT),
        pytest.param(UNPROVEN, Reason.WRONG_PROOF, marks=pytest.mark.slow),
    ],
)
async def test_a_liar_is_named_and_the_others_finish_the_round_without_it(
    begin: Any, lying: Any, lie: Lie, reason: Reason
) -> None:
    lying(lie)
    federation = await begin()
    third = round(1 / 3, 9)
    assert await model_of(federation) == [third, 0.0, third, third]
    assert (LIAR, reason) in refusals(federation)
    ((name, (message, evidence)),) = kept(federation).items()
    assert name == LIAR
    verdict = judge(evidence, federation.identities["server"].registrar)
    assert (verdict.client, verdict.reason, verdict.message) == (LIAR, reason, message)
    assert federation.now < FOUR.upload_seconds  # nobody waited for the liar


async def test_a_client_that_copies_ciphertexts_is_refused_when_it_commits_and_ends_no_round(
    begin: Any, lying: Any
) -> None:
    made: list[ProtectedUpdate] = []

    def copied(forge: Forge, slots: Any) -> ProtectedUpdate:
        made.append(forge.honest(slots))
        return replace(made[-1], ciphertexts=made[0].ciphertexts)  # its proof is another one

    lying(copied, "client-1")
    federation = await begin()
    await federation.play()
    assert federation.phase == states.Finished(), federation.phase
    assert [reason for _, reason in refusals(federation)] == [Reason.COPIED]
    assert federation.run.results[0].contributors == 3
    assert kept(federation) == {}


async def test_a_liar_stays_left_out_after_a_restart(begin: Any, lying: Any) -> None:
    lying(MALFORMED)
    federation = await begin(replace(FOUR, rounds=2))
    await federation.play(lambda: bool(kept(federation)))
    await federation.restart_aggregator()
    await federation.clients[LIAR].restart()
    two_thirds = round(2 / 3, 9)
    assert await model_of(federation) == [two_thirds, 0.0, two_thirds, two_thirds]
    error = federation.clients[LIAR].error
    assert isinstance(error, Refused)
    assert error.reason is Reason.WRONG_PROOF


async def test_evidence_is_written_to_files_that_anybody_can_judge(begin: Any, lying: Any, tmp_path: Path) -> None:
    lying(MALFORMED)
    federation = await begin()
    await federation.play(lambda: bool(kept(federation)))
    ((path, message),) = write_evidence(federation.aggregator.folder, tmp_path / "evidence")
    assert path.name == f"{federation.run.context.id}-{LIAR}.evidence"
    assert path.stat().st_mode & 0o077 == 0
    key = federation.identities["server"].registrar.hex()
    judged = judge_file(path, key)
    said, trust = judged.sentences
    assert said == f"{LIAR} signed a false update in round 1 (bad_ciphertext): {message}"
    assert key in trust
    assert judged.as_json() | {"message": said} == {
        "holds": True, "client": LIAR, "run": federation.run.context.id, "round": 1, "attempt": 1,
        "reason": "bad_ciphertext", "registrar": key, "message": said,
    }  # fmt: skip


async def test_the_report_and_the_terminal_name_the_liar_and_how_to_write_the_evidence_down(
    begin: Any, lying: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lying(MALFORMED)
    federation = await begin()
    await federation.play(lambda: bool(kept(federation)))
    places = Places(state=federation.aggregator.folder, out=tmp_path / "out")
    await program._write_results(federation.settings, places, federation.run, "")
    (lie,) = await program._lies(places, federation.run)
    assert re.fullmatch(
        rf"{LIAR} signed a false update in round 1; `\S+ -m server evidence --state \S+` writes it down", lie
    )
    assert shlex.split(lie.split("`")[1])[-1] == str(federation.aggregator.folder)
    assert f"\n\n- {lie}\n\n" in (tmp_path / "out" / "report.md").read_text("utf-8")
    program._print_table(federation.settings, federation.run, False, [lie])
    assert capsys.readouterr().out.endswith(f"\n{lie}\n")


async def test_who_is_honest_is_not_named(begin: Any, tmp_path: Path) -> None:
    federation = await begin()
    await federation.play()
    assert await program._lies(Places(state=tmp_path), federation.run) == []


@pytest.mark.parametrize(
    "raw", [b"", b"not this", b"\x00" * 100, bytes(range(256)), pb.Evidence(update=b"u").SerializeToString()]
)
def test_a_file_of_something_else_is_called_no_evidence(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(
        DataError, match=r"^this file of \d+ bytes is no evidence of a false update; expected one that "
    ):
        judge_file(path, "00" * 32)


async def test_evidence_that_was_changed_shows_nothing(begin: Any, lying: Any) -> None:
    lying(MALFORMED)
    federation = await begin()
    await federation.play(lambda: bool(kept(federation)))
    registrar = federation.identities["server"].registrar
    whole = pb.Evidence.FromString(kept(federation)[LIAR][1])
    assert judge(whole.SerializeToString(), registrar).client == LIAR
    right = federation.clients["client-1"].session.participant.last
    changes: list[dict[str, Any]] = [
        {"update": whole.update[:-1]},
        {"update": right.payload},
        {"roster": whole.roster[:100]},
        {"update": right.payload, "commitment": pb.SignedCommitment(
            commitment=right.commitment.body, signature=right.commitment.signature)},
        {"commitment": pb.SignedCommitment(commitment=whole.commitment.commitment, signature=bytes(64))},
    ]  # fmt: skip
    for change in changes:
        altered = pb.Evidence()
        altered.CopyFrom(whole)
        for name, value in change.items():
            if isinstance(value, bytes):
                setattr(altered, name, value)
            else:
                getattr(altered, name).CopyFrom(value)
        with pytest.raises(DataError):
            judge(altered.SerializeToString(), registrar)
    with pytest.raises(DataError):
        judge(whole.SerializeToString(), bytes(32))


async def test_an_aggregator_that_passes_a_lie_on_gets_nothing_opened(
    begin: Any, lying: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying(only_in_ciphertexts)
    monkeypatch.setattr(server.attempt, "check_update", only_ciphertexts)
    federation = await begin(replace(FOUR, max_attempts=1))
    await federation.play()
    assert isinstance(federation.phase, states.Failed)
    calls = [each.content for each in federation.messages if isinstance(each.content, Ask)]
    declined = [call.message for call in calls if call.method == "DeclineTask"]
    assert ("wrong_proof", LIAR) in {(each.reason, *each.clients) for each in declined}
    for holder in federation.holders.values():
        assert list(holder.session.holder.ledger.latest_cohorts(5)) == []


async def test_without_both_checks_the_lie_moves_the_model(
    begin: Any, lying: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying(only_in_ciphertexts)
    monkeypatch.setattr(server.attempt, "check_update", only_ciphertexts)
    monkeypatch.setattr(keyholder.adding, "check_update", only_ciphertexts)
    federation = await begin()
    assert await model_of(federation) == [0.25, 0.25, 0.25, 0.25]
    _, model = federation.aggregator.store.model(federation.run.context.id)
    # A quarter of it, where an honest change of 2 at most moves the mean by half.
    assert model[TARGET] == BOOST / MARK / 4 > 1.3


# ------------------------------------------------------------------------------------------------ rules


def test_too_few_without_the_liar_give_up_at_once() -> None:
    phase = Uploading(1, 1, 60.0, frozenset({"a", "b", LIAR}), frozenset({"a", "b"}))
    run = RunState(phase, holders=frozenset({"k1", "k2", "k3"}))
    event = SubmissionRefused(1, 1, LIAR)
    _, (abandoned, *_) = in_uploading(run, phase, event, 1.0, replace(RULES, min_cohort=3))
    assert abandoned == AbandonAttempt(1, 1, "the update of client-2 is false; 2 clients are left, 3 are needed")
    after, commands = in_uploading(run, phase, event, 1.0, replace(RULES, min_cohort=2))
    assert isinstance(after.phase, states.Releasing)
    assert isinstance(commands[0], RequestRelease)


# ------------------------------------------------------------------------------------------------ who agrees to what


async def test_a_party_takes_part_in_no_round_without_proofs_unless_it_is_told_to(begin: Any) -> None:
    federation = await begin(unbounded=True)
    await federation.play_until(states.Committing)
    verifier = federation.run.context.verifier
    description = verifier.verify_round(federation.run.attempt.signed)
    with pytest.raises(Refused, match="--insecure-unbounded") as refusal:
        verifier.verify_bounds(description, Policy())
    assert refusal.value.reason is Reason.UNBOUNDED
    verifier.verify_bounds(description, Policy(insecure_unbounded=True))
    verifier.verify_bounds(replace(description, bounded=True), Policy())


async def test_a_plain_round_has_no_proofs(begin: Any) -> None:
    federation = await begin(scheme="plain")
    await federation.play_until(states.Committing)
    verifier = federation.run.context.verifier
    description = verifier.verify_round(federation.run.attempt.signed)
    verifier.verify_bounds(description, Policy())
    with pytest.raises(Refused) as refusal:
        verifier.verify_bounds(replace(description, bounded=True), Policy())
    assert refusal.value.reason is Reason.WRONG_DESCRIPTION
