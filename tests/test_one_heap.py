"""Threads of a party share one heap, so that not each of them keeps memory of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping

import pytest

from simulation import processes

THREADS = """
import ctypes, threading

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(6)

def use():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=use) for _ in range(6)]
for each in threads:
    each.start()
for each in threads:
    each.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def heaps(environment: Mapping[str, str]) -> int:
    """Count the heaps of a process with six threads that starts with this environment."""
    done = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps are glibc's")
def test_the_threads_of_a_party_share_one_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in processes.ONE_HEAP:
        monkeypatch.delenv(name, raising=False)
    assert heaps(os.environ) > 1, "else there is nothing to share"
    assert heaps(processes._environment()) == 1
