"""A real client's process shows a dishonest aggregator nothing before key holders have signed the list."""

from __future__ import annotations

from pathlib import Path

from parties import Parties

from core.wire import federation_pb2 as pb
from experiments.cheating_server.conspirators import Conspirators
from experiments.cheating_server.crafted import ClosedList
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.rogue import Rogue
from experiments.cheating_server.stage import THRESHOLD, VICTIM, build
from keyholder.shares import Shares


def test_a_client_that_is_shown_an_unsigned_list_uploads_nothing_and_ends(parties: Parties, tmp_path: Path) -> None:
    stage = build(tmp_path / "stage", THRESHOLD, seed=0)
    stage.deal()
    (key,) = (share.signed for share in Shares(stage.identities["keyholder-1"]).dealt())
    rogue = Rogue(stage.identities["server"], "0123456789abcdef")
    try:
        attacker = Attacker(stage, rogue, Conspirators(stage, ()), min_cohort=2)
        victim = parties.start(
            "client", "--identity", tmp_path / "stage" / VICTIM, "--server", rogue.address, "--mail", "generated",
            "--insecure-demo-keys", "--insecure-unbounded", "--min-cohort", "2", "--max-colluders", "0", "--patience", "60",
        )  # fmt: skip
        rogue.hear("here", [VICTIM])
        made = attacker.describe(key)
        commitments = attacker.open_round(made, [VICTIM])
        closed = ClosedList(made, tuple(commitments.values()), ())
        rogue.push(VICTIM, pb.Notice(list_closed=closed.notice()))
        assert victim.hear(r"error:.*|uploaded")[0] == "error: the closed list is signed by 0 key holders; expected 2"
        assert victim.end()[0] == 1
    finally:
        rogue.close()
