"""Twenty real clients, of which one is killed, one comes late and one returns; all key holders are started again."""

from __future__ import annotations

import pytest
from parties import Parties
from recomputation import check_every_model

from core.difference import too_similar
from server.store import Store

pytestmark = pytest.mark.slow

ROUNDS = 6
OF_FIVE = ("--min-cohort", "5", "--patience", "120")


def test_no_client_that_drops_out_ends_a_run_in_which_holders_enforce_the_difference_rule(parties: Parties) -> None:
    parties.found(clients=20, holders=4, threshold=3, keys=ROUNDS + 6)
    server, address = parties.server(
        "--clients", "19", "--rounds", str(ROUNDS), "--round-seconds", "30", "--upload-seconds", "10", *OF_FIVE
    )  # fmt: skip
    enforce = (*OF_FIVE, "--difference-rule", "enforce")
    holders = parties.keyholders(address, *enforce)
    clients = {number: parties.client(address, number, *OF_FIVE) for number in range(1, 20)}
    server.hear("completed .*round=1")
    clients.pop(7).kill()
    server.hear("completed .*round=2")
    late = parties.client(address, 20, *OF_FIVE)
    for holder in holders:
        holder.kill()
    holders = parties.keyholders(address, *enforce)
    server.hear("completed .*round=3")
    returning = parties.client(address, 7, *OF_FIVE)
    code, said = server.end()
    assert code == 0, said
    assert "left out" in said
    for party in (*clients.values(), late, returning, *holders):
        assert party.end()[0] == 0
    contributors = check_every_model(parties.database)
    assert len(contributors) == ROUNDS
    store = Store(parties.folder / "server")
    cohorts = store.latest_cohorts(ROUNDS)
    store.close()
    assert sorted(map(len, cohorts)) == sorted(map(len, contributors))
    assert not any(too_similar(one, other, 5) for one in cohorts for other in cohorts)
