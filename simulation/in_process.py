"""A whole federation in this process: real checks, real cryptography and a real store, one message at a time.

    with tempfile.TemporaryDirectory() as folder:
        federation = play(Path(folder), get_task("spam"), clients=3, key_bits=512)
    for message in federation.messages:
        print(message)

Clients and key holders are the product's own sessions, the aggregator is its own run and services; only the network and
the clock are replaced, and belong to the caller. Who moves next is drawn from a seed, so a run can be repeated (but for
keys and noise, which are always fresh).
"""

from __future__ import annotations
