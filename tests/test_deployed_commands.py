"""The very commands of the Kubernetes manifests run a federation on loopback."""

from __future__ import annotations

import pytest
from deployed import Deployed, ended
from parties import Parties

ROLES = {
    "server": "aggregator",
    **{f"keyholder-{number}": "keyholder" for number in range(1, 5)},
    **{f"client-{number}": "client" for number in range(1, 6)},
}


@pytest.mark.slow
def test_parties_enrol_are_healthy_and_complete_a_round_by_the_commands_of_the_manifests(parties: Parties) -> None:
    deployed = Deployed(parties, ROLES)
    deployed.enrol_everyone(deployed.make_federation("--clients=5"))
    server = deployed.start("server", "--rounds=1", "--key-bits=256")
    deployed.address = server.hear(r"listening on (\S+)").group(1)
    started = {name: deployed.start(name) for name in ROLES if name.startswith("keyholder")}
    for _ in started:
        server.hear("key holder connected")
    deployed.ask("server")
    deployed.ask("keyholder-1")
    started |= {name: deployed.start(name) for name in ROLES if name.startswith("client")}
    for party in started.values():
        ended(party)
    server.hear("the model stays available")  # --keep-serving
    assert (deployed.volume("server") / "results" / "model.npz").is_file()
    assert (deployed.volume("server") / "state" / "aggregator.sqlite").is_file()
    assert sorted(each.name for each in deployed.volume("keyholder-1").iterdir()) == ["identity", "state"]
