"""A key holder serves once enough others have told what they know, and contradicts nothing that it has forgotten."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from asking import sign_request
from federations import HEAD, HonestAttempt, SmallFederation, life_of
from refusals import refused_with

from core.answers import statement_of
from core.checks import have_quorum
from core.errors import Reason
from core.identity import signing
from core.identity.members import Roster
from core.protocol import Head, HolderSignature, HolderStart, LedgerState, ReportedRequest, Signed, digest
from core.secagg.opening import check_answer
from core.wire.holder_messages import list_statement, start_to_bytes, vouch_from_bytes, vouch_from_wire
from keyholder.holder import KeyHolder
from keyholder.starting import Agreement, peers_needed


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path_factory.mktemp("starting") / "federation", holders=4, threshold=3, clients=4)
    yield federation
    federation.close()


@pytest.mark.parametrize(
    ("threshold", "holders", "dishonest", "needed"),
    [(1, 1, 0, 0), (2, 2, 1, 1), (2, 3, 0, 2), (3, 4, 1, 3), (3, 4, 0, 2), (3, 5, 0, 3), (4, 5, 2, 4), (5, 7, 2, 5)],
)
def test_so_many_others_are_needed_that_one_honest_one_remembers(
    threshold: int, holders: int, dishonest: int, needed: int
) -> None:
    """Of the others, t - 1 - f honest ones signed what was forgotten; any q of n - 1 must include one of these."""
    assert peers_needed(threshold, holders, dishonest) == needed
    honest, remember = holders - 1 - dishonest, threshold - 1 - dishonest
    if holders > threshold:
        assert (needed - dishonest) + remember > honest, "two groups of honest others that must meet"


def others(federation: SmallFederation, holder: KeyHolder) -> list[str]:
    return [name for name in federation.holders if name != holder.identity.name]


def agree(federation: SmallFederation, holder: KeyHolder, by: list[str], **known: object) -> Agreement:
    agreement = holder.start()
    for task in federation.vouches(agreement.start, by, **known):
        agreement.take(*vouch_from_wire(task.vouched), holder.verifier)
    return agreement


def test_all_three_others_must_vouch_at_3_of_4(federation: SmallFederation, tmp_path: Path) -> None:
    holder = federation.key_holder(1, tmp_path / "h")
    names = others(federation, holder)
    assert not agree(federation, holder, names[:2]).complete
    assert not agree(federation, holder, [*names[:2], names[0]]).complete, "the same one twice is one"
    assert agree(federation, holder, names).complete


@pytest.mark.parametrize(
    "wrong",
    [{"life": b"another life...."}, {"about": "keyholder-2"}],
    ids=["another start", "another holder"],
)
def test_a_vouch_for_something_else_counts_for_nothing(
    federation: SmallFederation, tmp_path: Path, wrong: dict[str, object]
) -> None:
    holder = federation.key_holder(1, tmp_path / "h")
    with refused_with(Reason.BAD_SIGNATURE):
        agree(federation, holder, ["keyholder-2"], **wrong)


def test_a_vouch_of_its_own_or_of_a_client_counts_for_nothing(federation: SmallFederation, tmp_path: Path) -> None:
    holder = federation.key_holder(1, tmp_path / "h")
    for name in ("keyholder-1", "client-1"):
        with refused_with(Reason.WRONG_ROLE):
            agree(federation, holder, [name])


def test_a_forged_vouch_counts_for_nothing(federation: SmallFederation, tmp_path: Path) -> None:
    holder = federation.key_holder(1, tmp_path / "h")
    agreement = holder.start()
    ((_, honest),) = [vouch_from_wire(task.vouched) for task in federation.vouches(agreement.start, ["keyholder-2"])]
    with refused_with(Reason.BAD_SIGNATURE):
        agreement.take("keyholder-3", honest, holder.verifier)


# ------------------------------------------------------------------------------------------------ forgotten entries


def test_a_ledger_that_lacks_an_entry_that_another_has_seen_does_not_serve(
    federation: SmallFederation, tmp_path: Path
) -> None:
    holder = federation.key_holder(1, tmp_path / "h")
    last = holder.ledger.record_start(b"an earlier life.")
    assert agree(federation, holder, ["keyholder-2"], head=last).vouched == {"keyholder-2"}
    with refused_with(Reason.STALE_LEDGER, match="keyholder-2 has seen entry 900 .* not in .*keyholder.sqlite"):
        agree(federation, holder, ["keyholder-2"], head=Head(900, bytes(32)))
    with refused_with(Reason.STALE_LEDGER, match="put the newest in its place, or start once with --new-ledger"):
        agree(federation, holder, ["keyholder-2"], head=replace(last, hash=bytes(32)))


def test_a_restored_ledger_is_noticed_by_a_holder_that_saw_a_later_start_however_often_it_is_tried(
    federation: SmallFederation, tmp_path: Path
) -> None:
    first, second = federation.key_holder(1, tmp_path / "1"), federation.key_holder(2, tmp_path / "2")
    forget(second)
    assert known_of(second, first.start().start) == Head()
    first.ledger.close()
    shutil.copytree(tmp_path / "1", tmp_path / "copy")
    for _ in range(2):
        first = federation.key_holder(1, tmp_path / "1")
        first.life = digest(bytes([_]))[:16]
        start = first.start().start
        assert known_of(second, start).number > 0
        seen = first.ledger.head
        first.ledger.close()
    shutil.rmtree(tmp_path / "1")
    shutil.copytree(tmp_path / "copy", tmp_path / "1")
    restored = federation.key_holder(1, tmp_path / "1")
    for attempt in range(5):
        restored.life = digest(b"restored %d" % attempt)[:16]
        agreement = restored.start()
        name, signed = second.vouch_for(agreement.start)
        assert vouch_from_bytes(signed.body).head == seen
        with refused_with(Reason.STALE_LEDGER):
            agreement.take("keyholder-2", signed, restored.verifier)
    assert dict(second.ledger.peers.lives)["keyholder-1"] == digest(bytes([1]))[:16], "no life began"
    assert name == "keyholder-1"


def forget(holder: KeyHolder) -> None:
    """Let a key holder know nothing of the others."""
    holder.ledger.peers._seen.clear()
    holder.ledger.peers._database._db.executescript("DELETE FROM peers")


def known_of(holder: KeyHolder, start: Signed) -> Head:
    return vouch_from_bytes(holder.vouch_for(start)[1].body).head


def test_a_life_that_is_over_does_not_begin_again(federation: SmallFederation, tmp_path: Path) -> None:
    """A dishonest aggregator shows an old start again, so that signatures of that life would count."""
    holder = federation.key_holder(2, tmp_path / "2")
    identity, name = federation["keyholder-1"], "keyholder-1"

    def start(life: bytes, number: int, *earlier: tuple[bytes, int]) -> Signed:
        said = HolderStart(identity.federation, name, life, Head(number, digest(life)), 0, earlier)
        body = start_to_bytes(said)
        return Signed(body, identity.signing.sign(signing.START, body))

    one, two = (life_of(name), 1), (b"second life.....", 5)
    first, second = start(*one), start(*two, one)
    holder.vouch_for(second)
    assert dict(holder.ledger.peers.lives)[name] == two[0]
    for old in (first, start(b"unseen life.....", 7, one), start(b"another.........", 5, one)):
        holder.vouch_for(old)
        assert dict(holder.ledger.peers.lives)[name] == two[0]
    holder.vouch_for(start(b"third life......", 9, one, two))
    assert dict(holder.ledger.peers.lives)[name] == b"third life......"


# ------------------------------------------------------------------------------------------------ what was told


def test_a_holder_signs_no_other_list_with_a_key_than_another_one_did_before_it_started(
    federation: SmallFederation, tmp_path: Path
) -> None:
    attempt = HonestAttempt(federation, federation.deal()[0])
    serial = attempt.description.certificate.serial
    known = {"serial": serial, "list_digest": digest(b"another list")}
    holder = federation.key_holder(1, tmp_path / "h")
    agree(federation, holder, others(federation, holder), **known)
    with refused_with(Reason.KEY_USED):
        holder.sign_list(attempt.list_order())
    later = HonestAttempt(federation, federation.deal()[0], attempt=2)
    assert holder.sign_list(later.list_order())


def test_a_holder_that_was_away_signs_the_list_and_the_request_that_the_others_signed(
    federation: SmallFederation, tmp_path: Path
) -> None:
    attempt = HonestAttempt(federation, federation.deal()[0])
    second = federation.key_holder(2, tmp_path / "2")
    forget(second)
    second.sign_list(attempt.list_order())
    statement = list_statement(attempt.digest, attempt.commitment_digests())
    signatures = federation.signatures(signing.LIST, statement, federation.holders[1:])
    order = replace(attempt.release_order(), signatures=signatures)
    sign_request(second, order, attempt.fetch)
    holder = federation.key_holder(1, tmp_path / "1")
    agreement = holder.start()
    _, vouch = second.vouch_for(agreement.start)
    agreement.take("keyholder-2", vouch, holder.verifier)
    assert holder.sign_list(attempt.list_order())
    assert sign_request(holder, order, attempt.fetch).signature


def test_a_holder_signs_no_other_request_of_a_round_or_an_earlier_one_than_another_one_did(
    federation: SmallFederation, tmp_path: Path
) -> None:
    attempt = HonestAttempt(federation, federation.deal()[0], round_number=1)
    order = replace(attempt.release_order(), signatures=attempt.list_signatures(3))
    for number, told in enumerate((1, 2)):
        holder = federation.key_holder(1, tmp_path / str(number))
        requests = (ReportedRequest(attempt.id.run, told, digest(b"another request"), digest(b"a model")),)
        agree(federation, holder, others(federation, holder), requests=requests)
        with refused_with(Reason.ALREADY_RELEASED):
            sign_request(holder, order, attempt.fetch)
    holder = federation.key_holder(1, tmp_path / "other run")
    elsewhere = ReportedRequest("f" * 16, 9, digest(b"another request"), digest(b"a model"))
    agree(federation, holder, others(federation, holder), requests=(elsewhere,))
    assert sign_request(holder, order, attempt.fetch).signature


def test_nor_does_it_open_another_round_from_a_model_than_another_one_did(
    federation: SmallFederation, tmp_path: Path
) -> None:
    attempt = HonestAttempt(federation, federation.deal()[0])
    order = replace(attempt.release_order(), signatures=attempt.list_signatures(3))
    holder = federation.key_holder(1, tmp_path / "h")
    told = ReportedRequest("f" * 16, 1, digest(b"another request"), attempt.description.model_digest)
    agree(federation, holder, others(federation, holder), requests=(told,))
    with refused_with(Reason.MODEL_USED):
        sign_request(holder, order, attempt.fetch)


# ------------------------------------------------------------------------------------------------ lending


def test_a_share_is_lent_once_t_holders_have_signed_the_same_request(
    federation: SmallFederation, tmp_path: Path
) -> None:
    attempt = HonestAttempt(federation, federation.deal()[0])
    order = replace(attempt.release_order(), signatures=attempt.list_signatures(3))
    holder = federation.key_holder(1, tmp_path / "h")
    with refused_with(Reason.NOT_SIGNED):
        holder.lend(attempt.id, attempt.request_signatures(order, federation.holders))
    sign_request(holder, order, attempt.fetch)
    two, three = (attempt.request_signatures(order, federation.holders[:count]) for count in (2, 3))
    fewer = replace(order, contributors=order.contributors[:3])
    for wrong in ((), two, (*two, two[0]), attempt.request_signatures(fewer, federation.holders)):
        with refused_with(Reason.REQUEST_SIGNATURES):
            holder.lend(attempt.id, wrong)
    answer = holder.lend(attempt.id, three)
    claim = statement_of(attempt.description, 1, order.digest, attempt.total())
    assert check_answer(claim, answer) == attempt.partial(1)
    again = holder.lend(attempt.id, attempt.request_signatures(order, federation.holders[1:]))
    assert again == answer, "whichever they are; and no second proof is made of one answer"


def test_a_signature_of_a_life_that_is_over_makes_no_quorum(federation: SmallFederation, tmp_path: Path) -> None:
    """keyholder-1 signed, was restored and started again; keyholder-2 signed after that, and knows its new life."""
    attempt = HonestAttempt(federation, federation.deal()[0])
    order = replace(attempt.release_order(), signatures=attempt.list_signatures(3))
    holder = federation.key_holder(2, tmp_path / "h")
    holder.ledger.peers.began("keyholder-1", b"a new life......", HEAD)
    signed = sign_request(holder, order, attempt.fetch).signature
    old = attempt.request_signatures(order, ["keyholder-1", "keyholder-3"])
    with refused_with(Reason.REQUEST_SIGNATURES, "but no 3 of them signed after the last start"):
        holder.lend(attempt.id, (*old, signed))
    assert holder.lend(attempt.id, (*attempt.request_signatures(order, ["keyholder-3", "keyholder-4"]), signed))


def signature(name: str, life: str, **peers: str) -> HolderSignature:
    known = tuple(sorted((peer, each.encode()) for peer, each in peers.items()))
    return HolderSignature(name, b"", LedgerState(HEAD, life.encode(), known))


def test_a_quorum_are_t_signers_that_know_each_other_in_the_lives_in_which_they_signed() -> None:
    a, b, c = signature("a", "1", b="1", c="1"), signature("b", "1", a="1", c="1"), signature("c", "1", a="1", b="1")
    newer = signature("b", "2", a="1", c="1")
    unaware = signature("c", "1", a="1")
    assert have_quorum([a], 1)
    assert have_quorum([a, b, c], 3)
    assert have_quorum([a, newer, c], 2)
    assert not have_quorum([a, newer, c], 3)
    assert not have_quorum([a, b], 3)
    assert not have_quorum([b, unaware], 2)


def test_a_revoked_holder_is_in_no_view(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", holders=4, threshold=3, clients=3)
    attempt = HonestAttempt(federation, federation.deal()[0])
    holder = federation.key_holder(1, tmp_path / "h")
    before = holder.sign_list(attempt.list_order())
    federation.revoke("keyholder-4")
    after = holder.sign_list(attempt.list_order())
    assert [name for name, _ in before.ledger.peers] == ["keyholder-2", "keyholder-3", "keyholder-4"]
    assert [name for name, _ in after.ledger.peers] == ["keyholder-2", "keyholder-3"]
    federation.close()


def test_a_federation_withstands_as_many_dishonest_holders_as_it_says(federation: SmallFederation) -> None:
    roster: Roster = federation.roster
    assert roster.opened_once_against == 1
