"""A client remembers how far each key holder's ledger was, and refuses signatures of one that has lost entries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from federations import SmallFederation
from refusals import refused_with

from client.seen_ledgers import FILE, SeenLedgers
from core.checks import Verifier
from core.errors import DataError, Reason
from core.protocol import Head, HolderSignature, LedgerState

NAMES = ("keyholder-1", "keyholder-2")


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verifier]:
    federation = SmallFederation(tmp_path_factory.mktemp("seen") / "federation")  # 2 of 3 sign
    yield federation.verifier()
    federation.close()


def signed(number: int, life: str = "a", *names: str) -> list[HolderSignature]:
    lives = [(name, life.encode()) for name in NAMES]
    return [
        HolderSignature(name, b"", LedgerState(Head(number, bytes(32)), life.encode(), tuple(lives)))
        for name in names or NAMES
    ]


def test_what_a_holder_signs_later_is_taken_and_what_it_signed_before_in_that_life_too(verifier: Verifier) -> None:
    seen = SeenLedgers()
    for number, life in ((5, "a"), (7, "a"), (5, "a"), (9, "b"), (7, "a"), (12, "b"), (2_000_000_001, "c")):
        seen.require_fresh(verifier, signed(number, life), agreed=True)


@pytest.mark.parametrize("agreed", [True, False])
@pytest.mark.parametrize("number", [6, 7])
def test_an_unseen_life_whose_entries_are_not_newer_is_refused(verifier: Verifier, number: int, agreed: bool) -> None:
    seen = SeenLedgers()
    seen.require_fresh(verifier, signed(7), agreed=agreed)
    with refused_with(
        Reason.STALE_LEDGER, match="keyholder-1, keyholder-2 signed with a ledger older than what was seen"
    ):
        seen.require_fresh(verifier, signed(number, "b"), agreed=agreed)
    seen.require_fresh(verifier, signed(8, "b"), agreed=agreed)


def test_one_restored_holder_does_not_matter_where_enough_others_have_signed(verifier: Verifier) -> None:
    seen = SeenLedgers()
    names = (*NAMES, "keyholder-3")
    seen.require_fresh(verifier, signed(7, "a", *names), agreed=False)
    old = signed(6, "b", "keyholder-3")
    seen.require_fresh(verifier, [*signed(8), *old], agreed=True)
    with refused_with(Reason.STALE_LEDGER, match="keyholder-3 signed"):
        seen.require_fresh(verifier, [*signed(8, "a", "keyholder-1"), *old], agreed=True)


def test_it_is_remembered_by_the_next_process(verifier: Verifier, tmp_path: Path) -> None:
    seen = SeenLedgers(tmp_path)
    seen.require_fresh(verifier, signed(7), agreed=True)
    seen.save()
    again = SeenLedgers(tmp_path)
    again.require_fresh(verifier, signed(5), agreed=True)
    with refused_with(Reason.STALE_LEDGER):
        again.require_fresh(verifier, signed(7, "b"), agreed=True)


@pytest.mark.parametrize("content", ["[]", '{"keyholder-1": 5}', '{"keyholder-1": {"a": "b"}}', "{"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(DataError, match=FILE):
        SeenLedgers(tmp_path)
