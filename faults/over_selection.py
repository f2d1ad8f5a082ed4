"""Six to ten of a hundred clients drop out of every round; 130 % are chosen, so that nearly every round gets enough.

Only the rules (server/rounds/) and the store are tried here, with time as a number, so that a thousand rounds are
cheap. A client drops out before its commitment or before its update, as chance will have it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from core.protocol import (
    LIFE_BYTES,
    AttemptId,
    Commitment,
    Head,
    HolderSignature,
    LedgerState,
    Signed,
    SubmissionHeader,
    Timings,
    digest,
)
from faults.outcome import Options, Outcome, timed
from faults.parties import scratch
from server import rounds, states
from server.rules import RoundRules
from server.store import Store

RUN = "0123456789abcdef"
CLIENTS = 100
COHORTS = (50, 10)
"""Updates wanted in a round. With ten of them the last percent is a matter of luck: 13 chosen, 4 gone is too many."""
DROP_OUT = (0.06, 0.10)
ENOUGH = 0.999
HOLDERS = frozenset({"keyholder-1", "keyholder-2", "keyholder-3"})


def run(options: Options) -> Iterator[Outcome]:
    """1,000 rounds for each size of cohort; only for the larger one a share of them is promised."""
    count = options.count(long=1000, quick=100)
    for cohort in COHORTS:
        what = f"6-10 % of the chosen clients drop out; {cohort} updates wanted, 130 % chosen of {CLIENTS}"
        with timed("over-selection", what) as outcome, scratch() as folder:
            rng = random.Random(f"{options.seed}.{cohort}")  # noqa: S311
            reached = 0
            store = Store(folder)
            store.begin_run(RUN, {}, np.zeros(1))
            for number in range(1, count + 1):
                contributors = one_round(store, cohort, number, rng)
                reached += contributors >= cohort
                outcome.trials += 1
            store.close()
            outcome.measured = f"{reached} of {count} rounds had {cohort} updates"
            promised = cohort == COHORTS[0]
            outcome.require(reached >= ENOUGH * count or not promised, f"only {reached} of {count} rounds had enough")
        yield outcome


def one_round(store: Store, cohort: int, number: int, rng: random.Random) -> int:
    """Return how many contributors the sum of one round has, by the rules and the store alike."""
    rules = RoundRules(holders=3, threshold=2, rounds=1_000_000, min_cohort=2, max_cohort=CLIENTS, cohort=cohort)
    present = frozenset(f"client-{client}" for client in range(1, CLIENTS + 1))
    run = states.RunState(states.Waiting(number, 1, since=0.0), present, HOLDERS, begun=True)
    run, (opened,) = rounds.advance(run, states.KeyChosen(number, 1), 0.0, rules)
    assert isinstance(opened, states.OpenRound)
    id, chance = AttemptId(RUN, number, 1), rng.uniform(*DROP_OUT)
    store.open_attempt(id, number, Signed(b"description", b""), opened.expected)
    fates = {name: rng.choice(("commit", "submit")) for name in opened.expected if rng.random() < chance}
    run = _commit(store, run, id, [name for name in sorted(opened.expected) if fates.get(name) != "commit"], rules)
    store.set_state(id, "closing")
    for holder in sorted(HOLDERS)[: rules.threshold]:
        run, _ = rounds.advance(run, states.ListSigned(number, 1, holder), rules.round_seconds, rules)
    state = LedgerState(Head(1, bytes(32)), bytes(LIFE_BYTES))
    signers = sorted(HOLDERS)[: rules.threshold]
    store.announce_list(id, [HolderSignature(holder, bytes(64), state) for holder in signers])
    assert isinstance(run.phase, states.Uploading)
    run = _upload(store, run, id, [name for name in sorted(run.phase.listed) if name not in fates], rules)
    assert isinstance(run.phase, states.Releasing), run.phase
    stored = sum(part.uploaded for part in store.submissions(id))
    assert stored == run.phase.contributors, f"{stored} are stored, the rules count {run.phase.contributors}"
    return stored


def _commit(store: Store, run: states.RunState, id: AttemptId, names: list[str], rules: RoundRules) -> states.RunState:
    for name in names:
        commitment = Commitment(id, name, bytes(16), bytes(32), digest(name.encode()), Head(1, bytes(32)))
        store.add_commitment(commitment, Signed(name.encode(), b""), Timings(0.0, 0.0))
        run, _ = rounds.advance(run, states.CommitmentStored(id.round, id.attempt, name), 1.0, rules)
    run, _ = rounds.advance(run, states.Tick(), rules.round_seconds, rules)
    return run


def _upload(store: Store, run: states.RunState, id: AttemptId, names: list[str], rules: RoundRules) -> states.RunState:
    for name in names:
        if isinstance(run.phase, states.Releasing):
            break  # enough updates are here; the others are informed that the round is over
        store.add_payload(SubmissionHeader(id, 1, digest(name.encode())), name, b"x", 1)
        run, _ = rounds.advance(
            run, states.SubmissionStored(id.round, id.attempt, name), rules.round_seconds + 1, rules
        )
    later = rules.round_seconds + rules.upload_seconds
    run, _ = rounds.advance(run, states.Tick(), later, rules)
    store.set_state(id, "releasing")
    return run
