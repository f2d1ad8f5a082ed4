"""The network policies under deploy/, as the kernel's firewall around pods in network namespaces."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import Cluster, Pod, pod, why_no_cluster
from deployed import Deployed, ended
from parties import ANY_COHORT, Parties
from plain_yaml import documents
from test_deploy import DEPLOY, OVERLAYS, manifests

pytestmark = pytest.mark.slow

HOLDERS, CLIENTS = 3, 2
ROLES = {
    "server": "aggregator",
    **{f"keyholder-{number}": "keyholder" for number in range(1, HOLDERS + 1)},
    **{f"client-{number}": "client" for number in range(1, CLIENTS + 1)},
}
PODS = {
    **{name: pod(role) for name, role in ROLES.items()},
    "registrar": pod("registrar"),
    "dashboard": pod("dashboard"),
    "maintenance": pod("maintenance"),
    "names": Pod({"k8s-app": "kube-dns"}, "kube-system"),
    "stranger": Pod({}, "default"),
}
SERVICES = {"aggregator": "server", "registrar": "registrar"}
GRPC, ENROLMENT, PAGE, NAMES = 50551, 50552, 8080, 53
ENROLLING = [name for name, role in ROLES.items()] + ["dashboard"]


def policies(*overlays: str) -> list[dict[str, Any]]:
    """Return the policies of the base and of these overlays, as kustomize renders them where it is present."""
    if shutil.which("kubectl") is None:
        written = [
            each
            for folder in (DEPLOY / "kubernetes" / "base", *map(OVERLAYS.joinpath, overlays))
            for each in manifests(folder)
        ]
    else:
        commands = [["kubectl", "kustomize", str(OVERLAYS / overlay)] for overlay in overlays]
        shown = [subprocess.run(each, capture_output=True, text=True, check=True).stdout for each in commands]
        written = [each for text in shown for each in documents(text)]
    return [each["spec"] for each in written if each["kind"] == "NetworkPolicy"]


ALWAYS = ("aggregator", "keyholder", "client", "dashboard", "registrar", "maintenance")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if why := why_no_cluster():
        pytest.skip(why)
    with Cluster(PODS, SERVICES) as cluster:
        yield cluster


def allowed(one: str, other: str, port: int, *, enrolling: bool) -> bool:
    """Who may reach whom, as docs/deploy.md says it."""
    if PODS[one].namespace != "grokfed":
        return (other, port) in (("server", GRPC), ("registrar", ENROLMENT)) or PODS[other].namespace != "grokfed"
    if (other, port) == ("names", NAMES):
        return True
    if (other, port) == ("server", GRPC):
        return ROLES.get(one) in ("client", "keyholder") or one == "dashboard"
    return enrolling and (other, port) == ("registrar", ENROLMENT) and one in ENROLLING


PAIRS = [
    (one, other, port)
    for one in ("server", "keyholder-1", "client-1", "dashboard", "registrar", "maintenance", "stranger")
    for other in ("server", "keyholder-2", "client-2", "dashboard", "registrar", "names")
    for port in {
        "server": (GRPC, 22), "registrar": (ENROLMENT,), "names": (NAMES, 80), "dashboard": (PAGE,),
    }.get(other, (GRPC,))
    if one != other
]  # fmt: skip


@pytest.mark.parametrize("enrolling", [False, True])
def test_every_pod_reaches_whom_the_policies_name_and_nobody_else(cluster: Cluster, enrolling: bool) -> None:
    cluster.enforce(policies(*ALWAYS, *(["enrolling"] if enrolling else [])))
    reached = {pair: cluster.reaches(*pair) for pair in PAIRS}
    assert reached == {pair: allowed(*pair, enrolling=enrolling) for pair in PAIRS}
    assert reached["client-1", "server", GRPC]
    assert reached["keyholder-1", "server", GRPC]
    assert not any(reached[one, other, GRPC] for one, other in (
        ("client-1", "keyholder-2"), ("keyholder-1", "client-2"), ("keyholder-1", "keyholder-2"),
        ("client-1", "client-2"), ("server", "client-2"), ("server", "keyholder-2"), ("stranger", "keyholder-2"),
    ))  # fmt: skip


def test_without_a_policy_all_can_be_reached(cluster: Cluster) -> None:
    cluster.enforce([])
    assert cluster.reaches("client-1", "keyholder-2", GRPC)
    cluster.enforce([each for each in policies(*ALWAYS) if each.get("egress") or each.get("ingress")])
    assert not cluster.reaches("client-1", "keyholder-2", GRPC), "each role's own policy forbids the rest"
    assert cluster.reaches("stranger", "keyholder-2", GRPC), "only deny-all keeps others out"


def test_a_federation_enrols_and_completes_a_round_through_the_policies(cluster: Cluster, parties: Parties) -> None:
    deployed = Deployed(parties, ROLES, cluster)
    cluster.enforce(policies(*ALWAYS, "enrolling"))
    holders = ("--holders", str(HOLDERS), "--threshold=2", "--min-cohort=2")
    addresses = ("--address=aggregator:50551", "--registration=registrar:50552")
    deployed.enrol_everyone(deployed.make_federation(f"--clients={CLIENTS}", *holders, *addresses))
    cluster.enforce(policies(*ALWAYS))
    small = ("--rounds=1", "--key-bits=256", f"--clients={CLIENTS}", "--min-cohort=2")
    server = deployed.start("server", *small)
    server.hear("listening on 0.0.0.0:50551")
    started = [deployed.start(name, *ANY_COHORT) for name, role in ROLES.items() if role != "aggregator"]
    for party in started:
        ended(party)
    server.hear("the model stays available")
    deployed.ask("server")
    assert (deployed.volume("server") / "results" / "model.npz").is_file()
