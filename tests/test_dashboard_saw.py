"""What the aggregator saw: an update in clear gives its words away, an encrypted one nothing; the bytes are the real ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from in_process import OPTIONS, SpamFederation, Start, mailbox

from core.protocol import digest
from core.tasks.spam import VOCABULARY
from dashboard.records import RunRecord
from dashboard.saw import MOST_KEPT, Keeper, Seen, saw
from server import states


def record_of(federation: SpamFederation) -> RunRecord:
    return RunRecord(federation.folder)


async def test_a_plain_update_is_shown_as_it_lies_there_and_gives_its_words_away(start: Start) -> None:
    federation = await start(scheme="plain")
    await federation.play_until(states.Releasing)
    said = saw(record_of(federation), Keeper(), 1)
    payload = federation.submission("client-1").payload
    assert (said["client"], said["source"]) == ("client-1", "in the aggregator's database now")
    assert said["update"] == {"length": said["update"]["length"], "hex": payload[:512].hex()}
    assert said["sha256"] == digest(payload).hex()
    used = set(mailbox(0, 1).indices.tolist())  # type: ignore[attr-defined]
    read = said["update_words"]
    assert read["read"]
    assert 0 < read["count"] <= len(used)
    assert {VOCABULARY.index(each["word"]) for each in read["words"]} <= used
    assert said["opened"] is None


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik"])
async def test_an_encrypted_update_gives_nothing_away_and_the_sum_does(start: Start, scheme: str) -> None:
    federation = await start(scheme=scheme)
    await federation.play_until(states.Releasing)
    record, keeper = record_of(federation), Keeper()
    said = saw(record, keeper, 1)
    assert said["update"]["hex"] == federation.submission("client-1").payload[:512].hex()
    assert (said["update_words"]["read"], said["update_words"]["words"]) == (False, [])
    assert "these bytes are no update" in said["update_words"]["why"]
    payload = federation.submission("client-1").payload
    await federation.finish()
    gone = saw(record, keeper, 1)
    assert (gone["update"]["hex"], gone["source"].partition(" ")[0]) == ("", "deleted")
    assert payload[:16].hex() not in str(gone)
    assert gone["sum_words"]["read"]
    used = {number for client in (1, 2, 3) for number in mailbox(0, client).indices.tolist()}  # type: ignore[attr-defined]
    assert {VOCABULARY.index(each["word"]) for each in gone["sum_words"]["words"]} <= used


async def test_what_was_seen_in_time_is_kept_in_memory(start: Start) -> None:
    federation = await start(scheme="paillier")
    await federation.play_until(states.Releasing)
    record, keeper = record_of(federation), Keeper()
    keeper.look(record, 1)
    await federation.finish()
    said = saw(record, keeper, 1)
    assert said["source"].startswith("kept by this page")
    assert said["update"]["hex"] == federation.submission("client-1").payload[:512].hex()


async def test_a_plain_update_of_made_up_mail_is_computed_again_and_is_the_one_committed_to(start: Start) -> None:
    federation = await start(scheme="plain", options=replace(OPTIONS, load=None))
    await federation.play_until(states.Finished)
    said = saw(record_of(federation), Keeper(), 1)
    assert said["source"].startswith("computed again")
    assert said["update_words"]["read"]
    other = await start(scheme="plain")  # its clients have other mail than the task makes up
    await other.finish()
    assert saw(record_of(other), Keeper(), 1)["source"].startswith("deleted")


async def test_a_round_that_has_not_begun_is_one_sentence(start: Start) -> None:
    federation = await start(scheme="plain")
    said = saw(record_of(federation), Keeper(), 7)
    assert (said["available"], said["why"]) == (False, "the aggregator has nothing of this round")


def test_no_more_is_kept_than_has_room() -> None:
    keeper = Keeper()
    for number in range(MOST_KEPT + 5):
        keeper.keep("run", number, Seen("client-1", b"x", b"y", "somewhere"))
    assert keeper.kept("run", 4) is None
    assert keeper.kept("run", 5) is not None
