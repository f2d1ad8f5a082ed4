"""The keys that a key holder offers, and the shares that it destroys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from asking import open_sum, restarted, share_file
from federations import BITS, HonestAttempt, SmallFederation
from refusals import refused_with

from core.clock import today
from core.errors import Reason, StorageError
from core.policy import Policy
from core.protocol import MOST_OFFERED, Signed
from core.wire import federation_pb2 as pb
from core.wire.calls import converse
from core.wire.messages import (
    certificate_from_bytes,
)
from keyholder.session import HolderSession


def serials(keys: list[Signed]) -> list[int]:
    return [certificate_from_bytes(key.body).serial for key in keys]


def test_a_holder_that_was_away_offers_what_the_others_have_not_used_since(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=2)
    dealt = serials(federation.deal(MOST_OFFERED + 3))
    holder = federation.key_holder(1, tmp_path / "holder")
    assert serials(holder.unused_keys("paillier", BITS, above=dealt[-3])) == dealt[-2:]
    assert serials(holder.unused_keys("paillier", BITS, above=dealt[0])) == dealt[1 : MOST_OFFERED + 1]
    federation.close()


def test_unused_keys_are_offered_the_lowest_first_and_not_too_many(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=2)
    dealt = serials(federation.deal(MOST_OFFERED + 2))
    holder = federation.key_holder(1, tmp_path / "holder")
    assert serials(holder.unused_keys("paillier", BITS)) == dealt[:MOST_OFFERED]
    keys = holder.unused_keys("paillier", BITS)
    first, second = (HonestAttempt(federation, keys[n], attempt=n + 1) for n in (0, 1))
    holder.sign_list(first.list_order())
    open_sum(holder, second.release_order(), second.fetch)
    assert serials(holder.unused_keys("paillier", BITS)) == dealt[2:], "a list or a sum uses a key up"
    federation.close()


def test_only_keys_of_the_wanted_kind_are_offered(federation: SmallFederation, tmp_path: Path) -> None:
    long, other, plain = (federation.deal(scheme=s, bits=b)[0] for s, b in (("paillier", 512), ("damgard-jurik", 256), ("plain", 256)))  # fmt: skip
    holder = federation.key_holder(1, tmp_path / "holder")
    assert holder.unused_keys("paillier", 512) == [long]
    assert other in holder.unused_keys("damgard-jurik", 256)
    assert plain in holder.unused_keys("plain", 256)
    assert not {other.body, plain.body, long.body} & {k.body for k in holder.unused_keys("paillier", 256)}


def test_keys_that_its_policy_does_not_allow_are_not_offered(federation: SmallFederation, tmp_path: Path) -> None:
    careful = federation.key_holder(1, tmp_path / "holder", policy=Policy())
    with refused_with(Reason.BAD_KEY):
        careful.unused_keys("paillier", BITS)
    with refused_with(Reason.BAD_KEY):
        careful.unused_keys("plain", BITS)
    assert careful.unused_keys("paillier", 2048) == []


def test_keys_that_are_out_of_date_do_not_stand_before_newer_ones(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=1, holders=1, threshold=1)
    old = replace(federation.dealer(), today=today() - 1000)
    assert len(list(old.deal(1, MOST_OFFERED, "paillier", 128))) == MOST_OFFERED
    fresh = federation.deal(bits=128)
    holder = federation.key_holder(1, tmp_path / "holder")
    assert holder.unused_keys("paillier", 128) == fresh
    federation.close()


def test_shares_of_keys_out_of_date_are_destroyed_when_a_run_is_over(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=1, holders=1, threshold=1)
    old = replace(federation.dealer(), today=today() - 1000)
    assert list(old.deal(1, 2, "paillier", 128)) == [1, 2]
    (fresh,) = federation.deal(bits=128)
    holder = federation.key_holder(1, tmp_path / "holder")
    over = pb.HolderTask(run_ended=pb.RunEnded(completed=True, sentence="all rounds are completed"))
    converse(HolderSession(holder).answer(over), pytest.fail)
    assert [key.signed for key in holder.shares.dealt()] == [fresh]
    federation.close()


def test_of_keys_used_before_only_shares_that_are_still_there_are_destroyed(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = [HonestAttempt(federation, key, attempt=n) for n, key in enumerate(federation.deal(3), start=1)]
    holder = federation.key_holder(1, tmp_path / "holder")
    destroyed: list[int] = []
    destroy = holder.shares.destroy
    monkeypatch.setattr(holder.shares, "destroy", lambda serial: (destroyed.append(serial), destroy(serial)))
    for attempt in attempts:
        holder.sign_list(attempt.list_order())
        share_file(attempt, holder).write_bytes(b"damaged since")
    assert destroyed == [attempt.description.certificate.serial for attempt in attempts[:2]], "each once"
    assert [share_file(attempt, holder).exists() for attempt in attempts] == [False, False, True]


def test_a_share_that_cannot_be_destroyed_holds_up_no_answer_and_goes_later(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = HonestAttempt(federation, federation.deal()[0])
    holder = federation.key_holder(1, tmp_path / "holder")

    def full(_serial: int) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(holder.shares, "destroy", full)
    assert open_sum(holder, attempt.release_order(), attempt.fetch).partial
    assert share_file(attempt, holder).exists()
    restarted(federation, holder, tmp_path / "holder")
    assert not share_file(attempt, holder).exists()
