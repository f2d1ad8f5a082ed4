"""Numbers that are not finite never leave their owner, in any mode, and a message tells the owner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parties import ANY_COHORT, SMALL_KEYS, Parties

from core.federated import encode_update, encoding_for
from core.optim import DivergedError
from core.privacy.mechanism import Privacy, mechanism_for
from core.secagg.encoding import Encoding, Update
from core.tasks import get_task
from simulation.program import ENVIRONMENT

pytestmark = pytest.mark.slow

VALUES = 8193
CLIENT = """
import sys
import core.tasks.task as task
honest = task.local_training
def broken(own, module, data, rng, local):
    sums = honest(own, module, data, rng, local)
    next(iter(module.parameters())).data.reshape(-1)[7] = {value}
    return sums
task.local_training = broken
from client.__main__ import app
app()
"""


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("mode", ["alike", "counted", "private"])
def test_an_update_that_is_not_finite_is_not_encoded(value: float, mode: str) -> None:
    mechanism = mechanism_for(Privacy(1.0, 1.0, 1e-5), 2, 16) if mode == "private" else None
    encoding = encoding_for(get_task("spam"), VALUES, 2047, 8, 1000 * (mode == "counted"), mechanism)
    delta = np.zeros(VALUES)
    delta[7] = value
    with pytest.raises(DivergedError, match=r"1 of the 8193 changes .* not finite; nothing was sent"):
        encode_update(encoding, Update(delta, 10, 1.0, 5), mechanism)
    with pytest.raises(DivergedError, match="the loss is nan, which is not finite; nothing was sent"):
        encode_update(encoding, Update(np.zeros(VALUES), 10, np.nan, 5), mechanism)


@pytest.mark.parametrize("examples", [0, 1, 1000])
def test_no_count_makes_a_number_of_an_infinite_one(examples: int) -> None:
    with pytest.raises(ValueError, match="not finite"):
        Encoding(1, 2047, 8, count_cap=1000).encode(Update(np.array([np.inf]), examples, 0.0, 0))


@pytest.mark.parametrize("flags", [(), ("--count-cap", "1000")])
def test_a_message_tells_the_owner_and_the_others_continue(
    parties: Parties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    parties.found(clients=3, holders=1, threshold=1)
    server, address = parties.server("--clients", "3", "--rounds", "1", "--round-seconds", "5", *flags)
    parties.keyholders(address)
    others = [parties.client(address, number) for number in (1, 2)]
    (tmp_path / "diverging.py").write_text(CLIENT.format(value="float('inf')"))
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path))
    identity = ("--identity", parties.federation / "client-3", "--server", address, *SMALL_KEYS, *ANY_COHORT)
    broken = parties.start("diverging", *identity, "--mail", "generated")
    code, said = broken.end()
    assert code == 1
    assert "error: the training diverged: 1 of the 8193 changes in this update are not finite; nothing was sent" in said
    assert [client.end()[0] for client in others] == [0, 0]
    assert server.end()[0] == 0
    assert np.isfinite(np.load(parties.folder / "out" / "model.npz")["words.weight"]).all()
