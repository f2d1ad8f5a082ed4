"""The benchmarks of small clients compare only what computes the same, and run."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import updates, virtual


@pytest.mark.parametrize("optimiser", updates.OPTIMISERS)
def test_plain_numpy_and_the_library_make_the_same_update(optimiser: str) -> None:
    (change, loss), (other, other_loss) = (work() for work in updates.ways(optimiser).values())
    np.testing.assert_allclose(change, other, rtol=1e-9, atol=1e-12)
    assert loss == pytest.approx(other_loss)
    assert np.abs(change).max() > 1e-4


def test_each_optimiser_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    updates.main(["--repeats", "1"])
    out = capsys.readouterr().out
    assert all(optimiser in out for optimiser in updates.OPTIMISERS)


@pytest.mark.slow
def test_rounds_of_virtual_clients_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    virtual.main(["--clients", "4", "--workers", "1", "2", "--rounds", "1", "--only-updates"])
    assert "2 at once" in capsys.readouterr().out
