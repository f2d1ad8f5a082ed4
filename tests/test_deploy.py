"""The files under deploy/: commands that the programs know, and the limits that docs/deploy.md promises."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from plain_yaml import documents
from prometheus_client import generate_latest

from core.identity.key_file import MOUNTED_SECRET
from server.metrics import PRESENT, REFUSALS, ROUNDS

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
METRICS = DEPLOY / "metrics"
OVERLAYS = DEPLOY / "kubernetes" / "overlays"
ROLES = ("aggregator", "client", "dashboard", "keyholder", "registrar")
USER = re.search(r"useradd --uid (\d+)", (ROOT / "Dockerfile").read_text())[1]  # type: ignore[index]


def read(path: Path) -> list[Any]:
    return documents(path.read_text())


def manifests(folder: Path) -> list[dict[str, Any]]:
    return [each for path in sorted(folder.glob("*.yaml")) if path.name != "kustomization.yaml" for each in read(path)]


def pod_of(role: str) -> dict[str, Any]:
    kinds = ("StatefulSet", "Job", "Deployment", "Pod")
    (workload,) = [each for each in manifests(OVERLAYS / role) if each["kind"] in kinds]
    return workload["spec"]["template"]["spec"] if "template" in workload["spec"] else workload["spec"]  # type: ignore[no-any-return]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


# ------------------------------------------------------------------------------------------ commands


def commands() -> Iterator[tuple[str, list[str]]]:
    """Give the place and the words of every command of the project that the files name."""
    for role in ROLES:
        for service in read(DEPLOY / "compose" / f"{role}.yaml")[0]["services"].values():
            yield f"compose {role}", service["command"]
            if "healthcheck" in service:
                yield f"compose {role}", service["healthcheck"]["test"][3:]
        for container in containers(pod_of(role)):
            if "args" in container:
                yield f"kubernetes {role}", container["args"]
            for probe in (value for name, value in container.items() if name.endswith("Probe")):
                if probe["exec"]["command"][1] == "-m":
                    yield f"kubernetes {role}", probe["exec"]["command"][2:]
        unit = (DEPLOY / "systemd" / f"grokfed-{role}.service").read_text().replace("\\\n", " ")
        program, *words = re.search(r"^ExecStart=/opt/grokfed/bin/grokfed-(.*)$", unit, re.MULTILINE)[1].split()  # type: ignore[index]
        yield f"systemd {role}", [program, *words]


def unknown(words: list[str]) -> list[str]:
    """Return the words of a command that its program does not know."""
    command: Any = typer.main.get_command(importlib.import_module(f"{words[0]}.__main__").app)
    rest = words[1:]
    if rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return [rest[0]]
        command, rest = command.commands[rest[0]], rest[1:]
    flags = {name: each.is_flag for each in command.params if each.opts[0].startswith("--") for name in each.opts}
    return [
        word for word in rest if (option := word.partition("="))[0] not in flags or flags[option[0]] == bool(option[1])
    ]


@pytest.mark.parametrize(
    ("place", "words"), list(commands()), ids=lambda each: each if isinstance(each, str) else each[0]
)
def test_every_command_has_only_options_that_its_program_has(place: str, words: list[str]) -> None:
    assert unknown(words) == []


def test_a_command_or_an_option_that_no_program_has_is_noticed() -> None:
    assert unknown(["server", "--keep-serving", "--port=1", "--rounds=5"]) == ["--port=1"]
    assert unknown(["keyholder", "health"]) == ["health"]
    assert unknown(["server", "--rounds", "--keep-serving=yes"]) == ["--rounds", "--keep-serving=yes"]


def test_every_role_enrols_trains_and_is_asked_whether_it_is_healthy_in_each_way_of_running() -> None:
    said = {(place, " ".join(words[:2])) for place, words in commands()}
    for way in ("compose", "kubernetes"):
        for program in ("client", "keyholder"):
            assert (f"{way} {program}", f"{program} enroll") in said
        assert {(f"{way} aggregator", "server healthy"), (f"{way} keyholder", "keyholder healthy")} <= said
    assert len({place for place, _ in said}) == 3 * len(ROLES)


def test_nothing_insecure_is_switched_on() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    assert not [path for path in files if re.search(r"insecure|allow.plain", path.read_text(), re.IGNORECASE)]


# ------------------------------------------------------------------------------------------ Kubernetes


def test_every_kustomization_lists_the_files_that_are_there_and_no_others() -> None:
    for path in DEPLOY.rglob("kustomization.yaml"):
        (said,) = read(path)
        assert all((path.parent / each).exists() for each in said["resources"]), path
        listed = {each for each in said["resources"] if each.endswith(".yaml")}
        assert listed == {each.name for each in path.parent.glob("*.yaml")} - {"kustomization.yaml"}, path
        assert said["namespace"] == "grokfed"
    assert {path.name for path in OVERLAYS.iterdir()} == {*ROLES, "enrolling", "maintenance"}


@pytest.mark.parametrize("role", [*ROLES, "maintenance"])
def test_no_pod_has_more_rights_than_it_needs(role: str) -> None:
    pod = pod_of(role)
    assert pod["automountServiceAccountToken"] == "false"
    assert pod["securityContext"] == {
        "runAsNonRoot": "true", "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": "false", "readOnlyRootFilesystem": "true", "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("role", ROLES)
def test_the_passphrase_is_a_mounted_file_where_the_programs_look_and_is_in_no_environment(role: str) -> None:
    pod = pod_of(role)
    assert all("env" not in each and "envFrom" not in each for each in containers(pod))
    (volume,) = [each for each in pod["volumes"] if each["name"] == "passphrase"]
    assert volume["secret"] == {"secretName": f"{role}-passphrase", "defaultMode": "0440"}
    mounts = [
        each for container in pod["containers"] for each in container["volumeMounts"] if each["name"] == "passphrase"
    ]
    assert mounts == [
        {"name": "passphrase", "mountPath": str(MOUNTED_SECRET), "subPath": "passphrase", "readOnly": "true"}
    ]


def test_aggregator_and_key_holders_keep_their_volume_and_have_one_writer() -> None:
    for role in ("aggregator", "keyholder"):
        (workload,) = [each for each in manifests(OVERLAYS / role) if each["kind"] == "StatefulSet"]
        assert workload["spec"]["replicas"] == "1"
        (claim,) = workload["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
        written = [word for word in pod_of(role)["containers"][0]["args"] if word.startswith(("--identity", "--state"))]
        assert written == ["--identity=/data/identity", "--state=/data/state"]
    assert "--keep-serving" in pod_of("aggregator")["containers"][0]["args"]


def policies() -> dict[str, dict[str, Any]]:
    folders = [DEPLOY / "kubernetes" / "base", *OVERLAYS.iterdir()]
    found = [each for folder in folders for each in manifests(folder) if each["kind"] == "NetworkPolicy"]
    return {each["metadata"]["name"]: each["spec"] for each in found}


def test_everything_is_forbidden_that_no_policy_allows() -> None:
    assert policies()["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    allowed = {"deny-all", "names", "to-aggregator", "to-registrar", "while-enrolling"}
    assert set(policies()) == allowed | {f"{role}-to-aggregator" for role in ("client", "dashboard", "keyholder")}


@pytest.mark.parametrize("role", ["client", "dashboard", "keyholder"])
def test_clients_and_holders_reach_the_aggregator_and_nothing_else(role: str) -> None:
    policy = policies()[f"{role}-to-aggregator"]
    assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/component": role}}
    assert policy["policyTypes"] == ["Egress"]
    (rule,) = policy["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "50551"}]
    inside, outside = rule["to"]
    assert inside["podSelector"] == {"matchLabels": {"app.kubernetes.io/component": "aggregator"}}
    assert inside["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "grokfed"}}
    assert outside == {"ipBlock": {"cidr": "192.0.2.10/32"}}


def test_aggregator_and_registrar_only_answer_and_only_at_their_port() -> None:
    for role, port in (("aggregator", "50551"), ("registrar", "50552")):
        policy = policies()[f"to-{role}"]
        assert policy["policyTypes"] == ["Ingress"]
        assert [rule["ports"] for rule in policy["ingress"]] == [[{"protocol": "TCP", "port": port}]]
        assert f"--listen=0.0.0.0:{port}" in pod_of(role)["containers"][0]["args"]


def test_tls_ends_at_the_aggregator_because_bytes_pass_as_they_are() -> None:
    kinds = [each["kind"] for folder in OVERLAYS.iterdir() for each in manifests(folder)]
    assert not {kind for kind in kinds if "Ingress" in kind or "Route" in kind or "Gateway" in kind}
    (service,) = [each for each in manifests(OVERLAYS / "aggregator") if each["kind"] == "Service"]
    assert service["spec"]["ports"] == [{"name": "grpc", "port": "50551", "targetPort": "50551", "protocol": "TCP"}]
    assert "annotations" not in service["metadata"]


def test_the_namespace_asks_for_the_restricted_standard_and_accounts_have_no_token() -> None:
    base = {each["kind"]: each for each in manifests(DEPLOY / "kubernetes" / "base")}
    assert base["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert base["ServiceAccount"]["automountServiceAccountToken"] == "false"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
@pytest.mark.parametrize("role", ROLES)
def test_kustomize_renders_each_overlay_with_its_base(role: str) -> None:
    rendered = subprocess.run(
        ["kubectl", "kustomize", str(OVERLAYS / role)], capture_output=True, text=True, check=True
    ).stdout
    written = documents(rendered)
    assert {each["metadata"].get("namespace", "grokfed") for each in written} == {"grokfed"}
    assert {"Namespace", "ServiceAccount", "NetworkPolicy"} <= {each["kind"] for each in written}
    (pod,) = [each["spec"]["template"]["spec"] for each in written if "template" in each.get("spec", {})]
    assert pod["containers"][0].get("args") == pod_of(role)["containers"][0].get("args")


VALIDATE = os.environ.get("GROKFED_KUBERNETES_VALIDATE")


def invalid(manifests: str, tmp_path: Path) -> str:
    """Return what kubernetes-validate finds wrong; empty if nothing."""
    assert VALIDATE
    (tmp_path / "all.yaml").write_text(manifests)
    answer = subprocess.run(
        [VALIDATE, "--strict", "--quiet", str(tmp_path / "all.yaml")], capture_output=True, text=True, check=False
    )
    return "" if answer.returncode == 0 else answer.stdout + answer.stderr


@pytest.mark.skipif(not VALIDATE, reason="kubernetes-validate is installed apart: make deploy-check")
def test_kubernetes_knows_every_word_of_the_manifests(tmp_path: Path) -> None:
    overlays = sorted(OVERLAYS.iterdir())
    if shutil.which("kubectl"):
        shown = [
            subprocess.run(["kubectl", "kustomize", str(each)], capture_output=True, text=True, check=True).stdout
            for each in overlays
        ]
    else:
        files = [
            path for folder in (DEPLOY / "kubernetes" / "base", *overlays) for path in sorted(folder.glob("*.yaml"))
        ]
        shown = [path.read_text() for path in files if path.name != "kustomization.yaml"]
    manifests = "\n---\n".join(shown)
    assert invalid(manifests, tmp_path) == ""
    assert "backofLimit" in invalid(manifests.replace("backoffLimit:", "backofLimit:"), tmp_path)


# ------------------------------------------------------------------------------------------ compose and systemd


def has_compose() -> bool:
    """Tell whether there is Docker and its plugin for compose: some have the one without the other."""
    command = ["docker", "compose", "version"]
    return (
        shutil.which("docker") is not None and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@pytest.mark.parametrize("role", ROLES)
def test_no_container_has_more_rights_than_it_needs(role: str) -> None:
    for service in read(DEPLOY / "compose" / f"{role}.yaml")[0]["services"].values():
        assert service["read_only"] == "true"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "environment" not in service
        assert ("ports" in service) == (
            service["command"][0] in ("server", "dashboard", "registrar") and service["command"][1] != "enroll"
        )


@pytest.mark.skipif(not has_compose(), reason="docker compose is not on this machine")
@pytest.mark.parametrize("role", ROLES)
def test_compose_accepts_each_file(role: str) -> None:
    command = ["docker", "compose", "-f", str(DEPLOY / "compose" / f"{role}.yaml"), "config", "--quiet"]
    accepted = subprocess.run(
        command, env={**os.environ, "SERVER": "aggregator.example:50551"}, capture_output=True, text=True, check=False
    )
    assert (accepted.returncode, accepted.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_accepts_the_units_and_finds_them_hardened(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "systemd", tmp_path, dirs_exist_ok=True)
    units = sorted(tmp_path.glob("*.service"))
    assert [unit.stem.removeprefix("grokfed-") for unit in units] == list(ROLES)
    for unit in units:  # the program need not be installed here
        unit.write_text(re.sub(r"/opt/grokfed/bin/grokfed-\w+", "/bin/true", unit.read_text()))
    names = [f"./{unit.name}" for unit in units]
    for asked in (["verify"], ["security", "--offline=true", "--no-pager", "--threshold=20"]):
        answer = subprocess.run(
            ["systemd-analyze", *asked, *names], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "Unknown" not in answer.stderr


# ------------------------------------------------------------------------------------------ metrics


def names_that_prometheus_reads() -> set[str]:
    """Return the names of the aggregator's numbers, as its /metrics gives them."""
    REFUSALS.labels("a reason")
    ROUNDS.labels("completed")
    PRESENT.labels("client")
    return set(re.findall(r"^(grokfed_\w+)", generate_latest().decode(), re.MULTILINE))


def test_the_board_asks_for_numbers_that_the_aggregator_has_and_shows_each_of_them() -> None:
    board = json.loads((METRICS / "grafana" / "boards" / "federation.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"grokfed_\w+", target["expr"])
    }
    known = names_that_prometheus_reads()
    assert asked <= known
    assert asked == {name for name in known if not name.endswith(("_created", "_bucket"))}
    (source,) = read(METRICS / "grafana" / "provisioning" / "datasources" / "prometheus.yaml")[0]["datasources"]
    assert {panel["datasource"]["uid"] for panel in board["panels"]} == {source["uid"]}


def test_the_aggregators_numbers_are_on_its_loopback_and_are_read_there() -> None:
    (scrape,) = read(METRICS / "scrape.yaml")
    (target,) = scrape["scrape_configs"][0]["static_configs"][0]["targets"]
    compose = (ROOT / "compose.yaml").read_text()
    assert target == "127.0.0.1:9464"
    assert f"--metrics={target}" in compose
    assert "network_mode: service:server" in compose


@pytest.mark.skipif(not has_compose(), reason="docker compose is not on this machine")
def test_metrics_are_a_profile_that_compose_starts_only_when_asked() -> None:
    def services(*options: str) -> set[str]:
        command = ["docker", "compose", *options, "config", "--services"]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return set(shown.stdout.split())

    assert services("--profile", "metrics") - services() == {"scrape", "prometheus", "grafana"}
