"""A run's public record: it holds as it is, no byte of it can be changed unseen, and no lie passes its checks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import DataError, GrokfedError
from core.federated import save_model
from core.wire import federation_pb2 as pb
from results.__main__ import app
from results.record import FILE, RoundRecord, read_record, write_record
from results.verifying import VerifiedRound, WrongRecordError, verify
from simulation.in_process import InProcessFederation, play
from simulation.slot_task import known, slot_task

ROUNDS = 3


@pytest.fixture(scope="module")
def federation() -> Iterator[InProcessFederation]:
    with known(slot_task(3)) as task:
        yield play(task, clients=3, rounds=ROUNDS, key_bits=320)


@pytest.fixture
def records(federation: InProcessFederation) -> list[RoundRecord]:
    return [RoundRecord.from_line(line, "a line") for line in federation.record]


@pytest.fixture
def registrar(federation: InProcessFederation) -> bytes:
    return federation.identities["server"].registrar


def checked(records: list[RoundRecord], registrar: bytes) -> list[VerifiedRound]:
    return list(verify(records, registrar))


# ------------------------------------------------------------------------------------------------ a record that holds


def test_every_round_of_an_honest_run_holds_and_ends_with_its_model(
    federation: InProcessFederation, records: list[RoundRecord], registrar: bytes
) -> None:
    rounds = checked(records, registrar)
    assert [(each.round, each.contributors) for each in rounds] == [(1, 3), (2, 3), (3, 3)]
    assert federation.model is not None
    assert np.array_equal(rounds[-1].model, federation.model)


def test_other_processes_come_to_the_same_verdict(records: list[RoundRecord], registrar: bytes) -> None:
    assert [each.round for each in verify(records, registrar, workers=2, alone=0)] == [1, 2, 3]
    wrong = replace(records[1], opened=records[0].opened)
    with pytest.raises(WrongRecordError, match="round 2 does not hold"):
        list(verify([records[0], wrong, records[2]], registrar, workers=2, alone=0))


def test_the_record_holds_no_ciphertext_of_a_single_client(
    federation: InProcessFederation, records: list[RoundRecord]
) -> None:
    updates = [part for message in federation.messages for part in [getattr(message.content, "data", b"")] if part]
    assert all(update not in record.order + record.agreement for update in updates for record in records)


# ------------------------------------------------------------------------------------------------ changed bytes


def found_changed(lines: list[str], registrar: bytes, tmp_path: Path, rng: random.Random) -> str:
    """Change one byte anywhere in the record, and return what is said of it."""
    raw = bytearray("".join(lines).encode())
    place = rng.randrange(len(raw))
    raw[place] ^= rng.randrange(1, 256)
    (tmp_path / FILE).write_bytes(raw)
    with pytest.raises(GrokfedError) as refused:
        list(verify(read_record(tmp_path / FILE), registrar))
    return str(refused.value)


@pytest.mark.parametrize(
    "count", [300, pytest.param(2_000, marks=pytest.mark.slow)], ids=["three hundred", "two thousand"]
)
def test_each_changed_byte_is_found_and_named(
    federation: InProcessFederation, registrar: bytes, tmp_path: Path, count: int
) -> None:
    rng = random.Random(count)
    for _ in range(count):
        said = found_changed(federation.record, registrar, tmp_path, rng)
        assert "round " in said or "line " in said


# ------------------------------------------------------------------------------------------------ lies


def changed_order(record: RoundRecord, change: Callable[[pb.OpenSum], None]) -> RoundRecord:
    order = pb.OpenSum()
    order.ParseFromString(record.order)
    change(order)
    return replace(record, order=order.SerializeToString(deterministic=True))


def with_commitments_in_another_order(order: pb.OpenSum) -> None:
    order.list.commitments.append(order.list.commitments[0])
    del order.list.commitments[0]


def with_contributors_in_another_order(order: pb.OpenSum) -> None:
    order.contributors.append(order.contributors[0])
    del order.contributors[0]


def without_a_contributor(order: pb.OpenSum) -> None:
    del order.contributors[0]


def with_a_contributor_twice(order: pb.OpenSum) -> None:
    order.contributors.append(order.contributors[-1])


def with_one_signature(order: pb.OpenSum) -> None:
    del order.signatures[1:]


def with_a_foreign_signature(order: pb.OpenSum) -> None:
    order.signatures[-1].holder = "keyholder-9"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (with_commitments_in_another_order, "has not signed the list"),
        (with_contributors_in_another_order, "has not signed the request"),
        (without_a_contributor, "fewer clients contribute than its minimum cohort"),
        (with_a_contributor_twice, "a client contributes twice"),
        (with_one_signature, "the closed list is signed by 1 key holders"),
        (with_a_foreign_signature, "'keyholder-9' has not signed the list"),
    ],
)
def test_an_order_that_was_not_signed_is_refused(
    records: list[RoundRecord], registrar: bytes, change: Callable[[pb.OpenSum], None], sentence: str
) -> None:
    with pytest.raises(WrongRecordError, match=f"round 1 does not hold: .*{sentence}"):
        checked([changed_order(records[0], change)], registrar)


@pytest.mark.parametrize("name", ["total", "opened", "agreement", "endorsement", "order"])
def test_parts_of_another_round_are_refused(records: list[RoundRecord], registrar: bytes, name: str) -> None:
    swapped = replace(records[1], **{name: getattr(records[2], name)})
    with pytest.raises(WrongRecordError, match="round 2 does not hold"):
        checked([records[0], swapped], registrar)


def test_rounds_in_another_order_left_out_or_twice_are_refused(records: list[RoundRecord], registrar: bytes) -> None:
    for rounds in ([1, 2], [0, 2], [0, 0], [0, 2, 1]):
        with pytest.raises(WrongRecordError, match=r"round \d follows round \d|the first round has no roster"):
            checked([records[place] for place in rounds], registrar)


def test_a_record_of_another_registrar_is_refused(records: list[RoundRecord]) -> None:
    with pytest.raises(WrongRecordError, match="not signed by this federation's registrar"):
        checked(records, bytes(32))


def test_a_roster_with_other_spaces_is_refused(records: list[RoundRecord], registrar: bytes) -> None:
    spaced = replace(records[0], roster=records[0].roster.replace(b"\n  ", b"\n\t ", 1))
    with pytest.raises(WrongRecordError, match="the roster is not written in its one form"):
        checked([spaced], registrar)


def test_an_empty_record_is_refused(registrar: bytes) -> None:
    with pytest.raises(WrongRecordError, match="no round"):
        checked([], registrar)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("\n", "is not JSON"),
        ("[]\n", "does not have the fields"),
        ('{"round": 1}\n', "does not have the fields"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str, sentence: str) -> None:
    (tmp_path / FILE).write_text(line)
    with pytest.raises(DataError, match=f"line 1 of .* {sentence}"):
        list(read_record(tmp_path / FILE))


def test_a_line_has_one_form_only(records: list[RoundRecord]) -> None:
    line = records[0].to_line()
    assert RoundRecord.from_line(line, "it") == records[0]
    for other in (line.replace(",", ", ", 1), line.strip(), json.dumps(json.loads(line), indent=1) + "\n"):
        with pytest.raises(DataError, match="is not written as a record is"):
            RoundRecord.from_line(other, "it")


# ------------------------------------------------------------------------------------------------ the command


def invoke(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    return result.exit_code, " ".join(result.output.split())


def test_the_command_says_what_holds_and_exits_with_1_at_what_does_not(
    federation: InProcessFederation, records: list[RoundRecord], registrar: bytes, tmp_path: Path
) -> None:
    write_record(tmp_path, federation.record)
    with known(slot_task(3)) as task:
        save_model(tmp_path / "model.npz", task, checked(records, registrar)[-1].model)
        code, said = invoke("verify", tmp_path, "--registrar", registrar.hex())
        assert (code, "3 rounds with 9 contributions: all signatures, sums and models hold" in said) == (0, True)
        assert "model.npz is the last of them" in said
        code, said = invoke("verify", tmp_path, "--registrar", registrar.hex(), "--json")
        answer = json.loads(said)
        assert answer.pop("message").startswith("3 rounds with 9 contributions: all signatures, sums and models hold")
        assert answer == {"rounds": 3, "holds": True, "model": True, "registrar": registrar.hex()}
        save_model(tmp_path / "model.npz", task, np.zeros(3))
        code, said = invoke("verify", tmp_path, "--registrar", registrar.hex())
        assert (code, "model.npz is not the model of round 3" in said) == (1, True)
        code, answer = as_json("verify", tmp_path, "--registrar", registrar.hex())
        assert (code, answer["holds"], "is not the model of round 3" in answer["message"]) == (1, False, True)


def as_json(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_json_says_what_does_not_hold_and_what_could_not_be_checked(tmp_path: Path) -> None:
    code, answer = as_json("verify", tmp_path)
    assert (code, answer["holds"], "--registrar is needed" in answer["message"]) == (1, None, True)
    key = ("--registrar", "ab" * 32)
    code, answer = as_json("verify", tmp_path, *key)
    assert (code, answer["holds"], "cannot be read" in answer["message"]) == (1, None, True)
    (tmp_path / FILE).write_text("{}\n")
    code, answer = as_json("verify", tmp_path, *key)
    assert (code, answer["holds"], "fields of a round" in answer["message"]) == (1, False, True)
    code, answer = as_json("evidence", tmp_path / FILE, *key)
    assert (code, answer["holds"]) == (1, False)
    code, answer = as_json("evidence", tmp_path / "nothing", *key)
    assert (code, answer["holds"]) == (1, None)


def test_of_a_run_with_virtual_clients_there_is_nothing_to_verify(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"way": "virtual", "state": "completed"}))
    for more in ((), ("--registrar", "ab" * 32)):
        code, said = invoke("verify", tmp_path, *more)
        assert (code, "run with virtual clients, in which no one signs anything: it has no record.jsonl" in said) == (
            1,
            True,
        )
    (tmp_path / "run.json").write_text(json.dumps({"way": "processes", "state": "completed"}))
    assert "--registrar is needed" in invoke("verify", tmp_path)[1]


def test_every_command_has_json() -> None:
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert "--json" in invoke(name, "--help")[1], name


def test_the_command_asks_for_the_registrars_key(tmp_path: Path) -> None:
    code, said = invoke("verify", tmp_path)
    assert (code, "--registrar is needed" in said) == (1, True)
    code, said = invoke("verify", tmp_path, "--registrar", "abc")
    assert (code, "expected 64 hexadecimal digits" in said) == (1, True)
    code, said = invoke("verify", tmp_path, "--registrar", "ab" * 32)
    assert (code, "record.jsonl cannot be read" in said) == (1, True)
