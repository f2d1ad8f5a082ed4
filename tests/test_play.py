"""A whole run by one call, as notebooks use it: its messages can be printed, and nothing else is."""

from __future__ import annotations

import asyncio

import pytest
from recomputation import SPAM

from core.federated import evaluate_model
from simulation.in_process import InProcessFederation, Options, play


@pytest.fixture(scope="module")
def federation() -> InProcessFederation:
    return play(SPAM, clients=3, key_bits=256)


def lines(federation: InProcessFederation, *parts: str) -> list[str]:
    printed = [str(message) for message in federation.messages]
    return [line for line in printed if all(part in line for part in parts)]


def test_every_message_of_the_round_can_be_printed(federation: InProcessFederation) -> None:
    for client in ("client-1", "client-2", "client-3"):
        for call in ("Join", "Commit", "Submit"):
            assert len(lines(federation, f"{client} -> aggregator", f"  {call}")) == 1
    assert not lines(federation, "client-", "FetchModel"), "it comes along with the round"
    assert len(lines(federation, "-> aggregator", "Release")) == 3, "every holder that agreed lends its share"


def test_time_passes_between_messages_and_no_holder_is_asked_for_keys_again_meanwhile(
    federation: InProcessFederation,
) -> None:
    assert 0.5 < federation.messages[-1].seconds < 5
    assert len(lines(federation, "NeedKey")) <= 6, "once a holder when it comes, and once when all are here"


def test_the_model_is_judged_on_made_up_test_data(federation: InProcessFederation) -> None:
    assert federation.model is not None
    judged = evaluate_model(SPAM, federation.model, SPAM.load_test("generated", 0, 3).data)
    assert federation.results[-1].accuracy == judged.accuracy > 0.8


async def test_it_works_where_an_event_loop_is_running_and_logs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert asyncio.get_running_loop().is_running()
    federation = play(SPAM, clients=2, scheme="plain", options=Options(seed=5))
    assert federation.results[-1].contributors == 2
    assert federation.messages, "recorded whatever the options say"
    assert capsys.readouterr() == ("", "")
