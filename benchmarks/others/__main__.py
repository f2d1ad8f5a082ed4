"""Run one other simulator: `python -m benchmarks.others NAME --clients 100 --rounds 3` prints a line of JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import time

import numpy as np


def main() -> None:
    """Run one simulator and print what came of it."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.others")
    parser.add_argument("simulator", choices=("plain", "pfl_", "ray_", "flower"))
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    module = importlib.import_module(f"benchmarks.others.{options.simulator}")
    ends, model = module.simulate(options.clients, options.rounds)
    seconds, norm = np.diff(ends).tolist(), float(np.linalg.norm(model))
    print(json.dumps({"start": ends[0] - started, "seconds": seconds, "norm": norm}, allow_nan=False), flush=True)


if __name__ == "__main__":
    main()
