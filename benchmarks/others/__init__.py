"""Other simulators of federated learning, with the same clients: run by benchmarks.simulators in their own environment.

Each module has a function `simulate(clients, rounds)`, and may import its library, which nothing else here does.
"""

from __future__ import annotations

AT_ONCE = 2
"""Clients, with the simulators that train several."""
