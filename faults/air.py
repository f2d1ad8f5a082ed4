"""A network between network namespaces of this machine, with delay and loss, for kernels without netem.

Every machine has one interface (TUN). This process takes each packet from the sender's and gives it to the receiver's,
later or not at all, so the kernels' own TCP sees a slow and lossy network. Needs root, `ip` and /dev/net/tun.
"""

from __future__ import annotations

import fcntl
import os
import random
import selectors
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

TUN = Path("/dev/net/tun")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
LARGEST_PACKET = 65536
IDLE_SECONDS = 0.5
URGENT = -15
"""Priority of the thread that carries packets: they should be late by the delay, and not by what the machine does."""


def why_not() -> str:
    """Return why there can be no such network here; empty if there can."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    if shutil.which("ip") is None:
        return "the program `ip` (iproute2) is not on this machine"
    if not TUN.exists():
        return f"{TUN} is not on this machine"
    try:
        with Air(("a", "b")):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces can be made here: {error}"


def _name(number: int) -> str:
    return f"gf{os.getpid()}x{number}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: S607  wherever the system has it


class Air(threading.Thread):
    """A network of machines by name, each in its own namespace, with an address of its own in 10.77.0.0/24.

    Args:
        delay: seconds from the sender to the receiver.
        loss: the share of packets that never arrive.
    """

    def __init__(self, names: Sequence[str], delay: float = 0.0, loss: float = 0.0, seed: int = 0) -> None:
        super().__init__(name="air", daemon=True)
        self.packets = self.lost = 0
        self._delay, self._loss = delay, loss
        self._rng = random.Random(seed)  # noqa: S311  which packets are lost
        self._numbers = {name: number for number, name in enumerate(names, start=1)}
        self._unplugged: set[int] = set()
        self._under_way: deque[tuple[float, int, bytes]] = deque()
        self._open = True
        self._devices: dict[int, int] = {}
        self._by_address: dict[bytes, int] = {}

    def __enter__(self) -> Air:
        try:
            for number in self._numbers.values():
                self._add(number)
        except BaseException:
            self._remove()
            raise
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self.join(10)
        self._remove()

    def namespace(self, name: str) -> str:
        """Return the name that `ip netns` knows a machine by."""
        return _name(self._numbers[name])

    def address(self, name: str) -> str:
        """Return a machine's address."""
        return f"10.77.0.{self._numbers[name]}"

    def command(self, name: str, *words: str) -> list[str]:
        """Return the command that runs a command on a machine."""
        return ["ip", "netns", "exec", self.namespace(name), *words]

    def unplug(self, name: str) -> None:
        """Let no packet from or to a machine through, without a word to either side, as when a laptop is shut."""
        self._unplugged.add(self._numbers[name])

    def plug_in(self, name: str) -> None:
        """Let a machine's packets through again."""
        self._unplugged.discard(self._numbers[name])

    def _add(self, number: int) -> None:
        name = _name(number)
        device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        self._devices[number] = device
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
        _ip("netns", "add", name)
        _ip("link", "set", name, "netns", name)
        _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", name)
        for link in ("lo", name):
            _ip("-n", name, "link", "set", link, "up")
        self._by_address[socket.inet_aton(f"10.77.0.{number}")] = number

    def _remove(self) -> None:
        for number, device in self._devices.items():
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", _name(number))
            os.close(device)
        self._devices.clear()

    # -------------------------------------------------------------------------------- in its own thread

    def run(self) -> None:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), URGENT)
        with selectors.DefaultSelector() as selector:
            for number, device in self._devices.items():
                selector.register(device, selectors.EVENT_READ, number)
            while self._open:
                due = self._under_way[0][0] - time.monotonic() if self._under_way else IDLE_SECONDS
                for key, _ in selector.select(max(0.0, min(due, IDLE_SECONDS))):
                    self._take(key.fd, key.data)
                self._deliver()

    def _take(self, device: int, sender: int) -> None:
        """Take all packets that a machine has sent."""
        with suppress(BlockingIOError):
            while True:
                packet = os.read(device, LARGEST_PACKET)
                receiver = self._by_address.get(packet[16:20]) if packet[0] >> 4 == 4 else None
                if receiver is None or not self._unplugged.isdisjoint((sender, receiver)):
                    continue
                self.packets += 1
                if self._rng.random() < self._loss:
                    self.lost += 1
                else:
                    self._under_way.append((time.monotonic() + self._delay, receiver, packet))

    def _deliver(self) -> None:
        """Give what is due to its receivers."""
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, receiver, packet = self._under_way.popleft()
            with suppress(OSError):  # the receiver's queue is full, or its interface is down: one more that is lost
                os.write(self._devices[receiver], packet)
