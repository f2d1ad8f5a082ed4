"""Time what a party's process does under a few labels, from inside the process."""

from __future__ import annotations

import atexit
import functools
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

FOLDER = "GROKFED_BENCHMARK_CHECKS"
"""Environment variable: where each party's process leaves its times."""

PARTIES = {"client": "client", "server": "aggregator", "keyholder": "key holder"}
CHECKS = {
    "signatures, keys, policies": [
        f"core.checks:Verifier.{name}"
        for name in ("verify_round", "verify_key", "verify_encoding", "verify_privacy", "verify_lineage",
                     "verify_endorsements", "verify_commitment", "verify_commitments", "verify_list",
                     "verify_request", "signers")
    ],
    "signing": ["core.identity.signing:SigningKey.sign"],
    "every ciphertext is one": ["core.secagg.paillier:PaillierAdder.check"],
    "every range is proven": ["core.protected_update:prove", "core.protected_update:verify"],
    "each answer is right": ["core.secagg.share_proof:prove", "core.secagg.opening:check_answer"],
    "the opening is right": ["core.secagg.opening:verify_opened"],
    "on disk first": [
        *(f"server.store:Store.{name}" for name in ("open_attempt", "add_commitment", "announce_list", "add_payload",
                                                    "set_state", "keep_opened", "complete_attempt")),
        *(f"keyholder.ledger:Ledger.{name}" for name in ("record_list", "record_release", "record_model")),
        "keyholder.shares:Shares.destroy",
    ],
}  # fmt: skip
WORK = {
    "encrypting": [
        "core.secagg.paillier:PaillierEncryptor.encrypt",
        "core.secagg.paillier:PaillierEncryptor.encrypt_known",
    ],
    "adding up": ["core.secagg.paillier:PaillierAdder.add"],
    "a share of the opening": ["core.secagg.key_share:KeyShare._powers"],
    "combining shares": ["core.secagg.opening:combine"],
}
"""What would be done without any check too; but that key holders add up is one."""

Times = dict[str, float]
"""Wall seconds by label."""


class Stopwatch:
    """Adds up the time spent in functions under a label; what they call under the same label counts once."""

    def __init__(self) -> None:
        self.times: Times = defaultdict(float)
        self._lock = threading.Lock()
        self._inside = threading.local()

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            if getattr(self._inside, label, False):
                return function(*arguments, **named)
            setattr(self._inside, label, True)
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                setattr(self._inside, label, False)
                with self._lock:
                    self.times[label] += time.perf_counter() - started

        return call


def begin(folder: Path, party: str) -> None:
    """Time what this process will do, before it has imported it, and leave the times in the folder at its end.

    The registrar, which deals keys during the run, has no part in a round and is left out.
    """
    if party not in PARTIES:
        return
    watch = Stopwatch()
    for label, places in (CHECKS | WORK).items():
        for place in places:
            module, _, path = place.partition(":")
            if module.startswith(tuple(PARTIES)) and not module.startswith(party):
                continue
            *owner, name = path.split(".")
            holder = functools.reduce(getattr, owner, import_module(module))
            setattr(holder, name, watch.timed(label, getattr(holder, name)))
    atexit.register(
        lambda: (folder / f"{party}-{os.getpid()}.json").write_text(json.dumps(watch.times, allow_nan=False))
    )
