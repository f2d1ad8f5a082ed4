"""What clients send that does not fit the round, or not what they committed to, is refused by name."""

from __future__ import annotations

from dataclasses import replace

from in_process import SpamFederation, Start
from refusals import refused_with

from client.participant import Submission
from client.session import commit_call, submit_call
from core.errors import Reason
from core.identity import signing
from core.protocol import Commitment, Signed, digest
from core.wire.messages import commitment_from_bytes, commitment_to_bytes
from server import states


async def open_round(start: Start) -> tuple[SpamFederation, list[Submission]]:
    """Three clients of an open round, the first two of whom have committed; and their answers."""
    federation = await start(scheme="paillier")
    await federation.play_until(states.Committing)
    await federation.settle("client-1")
    await federation.settle("client-2")
    mine = await federation.another_submission("client-3")
    await federation.clients["client-3"].stop()
    return federation, [federation.submission("client-1"), federation.submission("client-2"), mine]


def signed(federation: SpamFederation, client: str, commitment: Commitment) -> Signed:
    body = commitment_to_bytes(commitment)
    return Signed(body, federation.identities[client].signing.sign(signing.COMMITMENT, body))


async def test_commitments_that_do_not_fit_the_round_are_refused_by_name(start: Start) -> None:
    federation, submissions = await open_round(start)
    honest = submissions[2]
    true = commitment_from_bytes(honest.commitment.body)
    again, another = replace(true, id=replace(true.id, attempt=2)), replace(true, description_digest=digest(b"another"))
    refusals = [
        (Reason.ROUND_NOT_OPEN, signed(federation, "client-3", again)),
        (Reason.WRONG_DESCRIPTION, signed(federation, "client-3", another)),
        (Reason.COMMITMENT_SIGNATURE, Signed(honest.commitment.body, bytes(64))),
        (Reason.COMMITMENT_SIGNATURE, signed(federation, "client-1", true)),
        (Reason.COMMITMENT_SIGNATURE, submissions[1].commitment),
        (Reason.NOT_IN_ROSTER, signed(federation, "client-3", replace(true, client="client-9"))),
        (Reason.MALFORMED, Signed(b"no commitment", honest.commitment.signature)),
    ]
    for reason, commitment in refusals:
        with refused_with(reason):
            await federation.call("client-3", commit_call(replace(honest, commitment=commitment)))
    for repeated in (False, True):
        assert (await federation.call("client-3", commit_call(honest))).repeated is repeated


async def test_updates_that_do_not_fit_what_was_committed_to_are_refused_by_name(start: Start) -> None:
    federation, (mine, others, honest) = await open_round(start)
    with refused_with(Reason.ROUND_NOT_OPEN):  # no client uploads before the list is signed
        await federation.call("client-1", submit_call(mine))
    with refused_with(Reason.NOT_COMMITTED):
        await federation.call("client-3", submit_call(honest))
    # The third commits to a ciphertext that is none: 1 is an encryption of 0 without randomness.
    one = (1).to_bytes(honest.description.key.bits // 4, "big")
    bare = one + honest.payload[len(one) :]
    true = commitment_from_bytes(honest.commitment.body)
    committed = replace(
        honest,
        commitment=signed(federation, "client-3", replace(true, digest=digest(bare))),
        header=replace(honest.header, digest=digest(bare)),
        payload=bare,
    )
    await federation.call("client-3", commit_call(committed))
    await federation.play_until(states.Uploading)
    refusals = {
        Reason.NOT_COMMITTED: replace(mine, header=replace(mine.header, id=replace(mine.header.id, attempt=2))),
        Reason.WRONG_DIGEST: replace(mine, header=others.header, payload=others.payload),
        Reason.WRONG_LENGTH: replace(mine, payload=mine.payload + b"\0"),
    }
    for reason, submission in refusals.items():
        with refused_with(reason):
            await federation.call("client-1", submit_call(submission))
    with refused_with(Reason.BAD_CIPHERTEXT):
        await federation.call("client-3", submit_call(committed))
    for repeated in (False, True):
        assert (await federation.call("client-1", submit_call(mine))).repeated is repeated
    assert not (await federation.call("client-2", submit_call(others))).repeated
