"""Random programs of all operations, layers, losses and optimisers agree with PyTorch: see torch_programs.py.

make test-torch                                     2,000 programs
make fuzz-torch ARGS="--programs 200000"            the long form
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed; it is needed for this comparison only")

from torch_layers import LAYERS, LOSSES
from torch_operations import TENSOR_OPERATIONS
from torch_programs import difference
from torch_shapes import SHAPES_AND_INDICES

OPERATIONS = [*TENSOR_OPERATIONS, *SHAPES_AND_INDICES, *LAYERS, *LOSSES]
PROGRAMS, PARTS = 2_000, 20


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.filterwarnings("ignore")
def test_random_programs_agree_with_pytorch(part: int) -> None:
    each = PROGRAMS // PARTS
    for number in range(part * each, (part + 1) * each):
        found = difference(0, number, OPERATIONS)
        assert found is None, found


def main() -> int:
    """Run many programs; print each difference, and how many there were of how many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    started, differences = time.perf_counter(), 0
    for number in range(options.first, options.first + options.programs):
        found = difference(options.seed, number, OPERATIONS)
        if found is not None:
            differences += 1
            print(found, "\n", flush=True)
    seconds = time.perf_counter() - started
    print(f"{differences} differences in {options.programs} programs of seed {options.seed}, {seconds:.0f} s")
    return bool(differences)


if __name__ == "__main__":
    sys.exit(main())
