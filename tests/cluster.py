"""Pods in network namespaces, with the rules of Kubernetes' network policies as the kernel's firewall.

A policy is what its text says: the pods it selects may only do what some policy allows, in the directions it names; answers
to what was allowed pass. The firewall says so to who is refused, so that nobody waits.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from faults.air import Air, why_not

COMPONENT = "app.kubernetes.io/component"
NAMESPACE = "kubernetes.io/metadata.name"
OURS = "grokfed"
Direction = Literal["Ingress", "Egress"]
_CHAIN = {"Ingress": ("INPUT", "--source"), "Egress": ("OUTPUT", "--destination")}
_PEERS = {"Ingress": "from", "Egress": "to"}
_REFUSED = ("-j", "REJECT", "--reject-with", "icmp-admin-prohibited")


@dataclass(frozen=True)
class Pod:
    """What policies know of a pod: its labels, and the namespace of the cluster that it is in."""

    labels: Mapping[str, str]
    namespace: str = OURS

    @property
    def namespace_labels(self) -> Mapping[str, str]:
        return {NAMESPACE: self.namespace}


def pod(component: str) -> Pod:
    """A pod of ours."""
    return Pod({COMPONENT: component})


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Return whether a selector chooses what has these labels; the empty one chooses all. ValueError for other kinds."""
    said = selector or {}
    if set(said) - {"matchLabels", "matchExpressions"}:
        raise ValueError(f"unknown in a selector: {sorted(said)}")
    for each in said.get("matchExpressions", ()):
        if each["operator"] != "In":
            raise ValueError(f"unknown operator {each['operator']}")
        if labels.get(each["key"]) not in each["values"]:
            return False
    return all(labels.get(key) == value for key, value in said.get("matchLabels", {}).items())


def _addresses(peer: Mapping[str, Any], pods: Mapping[str, Pod], air: Air) -> Iterator[str]:
    """Give the addresses that one entry of `from` or `to` means."""
    if set(peer) - {"ipBlock", "podSelector", "namespaceSelector"}:
        raise ValueError(f"unknown in a peer: {sorted(peer)}")
    if "ipBlock" in peer:
        (block,) = peer["ipBlock"].values()
        yield block
        return
    for name, other in pods.items():
        if "namespaceSelector" in peer:
            inside = selects(peer["namespaceSelector"], other.namespace_labels)
        else:
            inside = other.namespace == OURS
        if inside and selects(peer.get("podSelector"), other.labels):
            yield f"{air.address(name)}/32"


def firewall(
    of: Pod, policies: Sequence[Mapping[str, Any]], pods: Mapping[str, Pod], air: Air
) -> Iterator[tuple[str, ...]]:
    """Give the arguments of iptables that hold a pod to the policies of our namespace."""
    for direction, (chain, end) in _CHAIN.items():
        chosen = [
            each for each in policies if direction in each["policyTypes"] and selects(each["podSelector"], of.labels)
        ]
        if not chosen or of.namespace != OURS:
            continue
        yield ("-A", chain, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
        yield ("-A", chain, *(("-i", "lo") if chain == "INPUT" else ("-o", "lo")), "-j", "ACCEPT")
        for rule in (rule for each in chosen for rule in each.get(direction.lower(), ())):
            for peer in rule[_PEERS[direction]]:
                for address in _addresses(peer, pods, air):
                    for port in rule["ports"]:
                        protocol = ("-p", port["protocol"].lower(), "--dport", port["port"])
                        yield ("-A", chain, end, address, *protocol, "-j", "ACCEPT")
        yield ("-A", chain, *_REFUSED)


def why_no_cluster() -> str:
    """Return why there can be no such cluster here; empty if there can."""
    if shutil.which("iptables") is None:
        return "iptables is not on this machine"
    if why := why_not():
        return why
    with Air(["a"]) as air:
        tried = subprocess.run(
            air.command("a", "iptables", "-A", "OUTPUT", *_REFUSED), capture_output=True, text=True, check=False
        )
    return tried.stderr.strip()


class Cluster:
    """Pods by name, each in a network namespace, held to policies. Names lead to pods where a service has them.

    Args:
        services: which pod a name leads to, for all pods.
    """

    def __init__(self, pods: Mapping[str, Pod], services: Mapping[str, str]) -> None:
        self._pods = pods
        self.air = Air(list(pods))
        self._services = services
        self._hosts: list[Path] = []

    def __enter__(self) -> Cluster:
        self.air.__enter__()
        hosts = "127.0.0.1 localhost\n" + "".join(
            f"{self.air.address(pod)} {name}\n" for name, pod in self._services.items()
        )
        for name in self._pods:  # `ip netns exec` shows a machine the files of this folder in place of /etc's
            folder = Path("/etc/netns") / self.air.namespace(name)
            folder.mkdir(parents=True)
            self._hosts.append(folder)
            (folder / "hosts").write_text(hosts)
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._hosts:
            shutil.rmtree(folder)
        with suppress(OSError):
            Path("/etc/netns").rmdir()
        self.air.__exit__()

    def enforce(self, policies: Sequence[Mapping[str, Any]]) -> None:
        """Hold all pods to these policies, and to no others."""
        for name, of in self._pods.items():
            self._iptables(name, "-F")
            for arguments in firewall(of, policies, self._pods, self.air):
                self._iptables(name, *arguments)

    def reaches(self, one: str, other: str, port: int) -> bool:
        """Return whether a connection from one pod to a port of another is let through, whoever listens there."""
        found = int(self._run(one, _CONNECT, self.air.address(other), str(port)))
        if found in (0, errno.ECONNREFUSED):
            return True
        assert found in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM), errno.errorcode[found]
        return False

    def _run(self, name: str, code: str, *arguments: str) -> str:
        command = self.air.command(name, sys.executable, "-S", "-c", code, *arguments)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def _iptables(self, name: str, *arguments: str) -> None:
        subprocess.run(self.air.command(name, "iptables", "-w", *arguments), check=True, capture_output=True)


_CONNECT = (
    "import socket, sys; s = socket.socket(); s.settimeout(5); print(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
)
