"""The aggregator's metrics for Prometheus. Numbers only: no client's name, no payload, no key."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from core.errors import SettingsError

REFUSALS = Counter("grokfed_refusals", "Messages refused, by the name of the check.", ["reason"])
COMMITMENTS = Counter("grokfed_commitments", "Commitments stored.")
UPDATES = Counter("grokfed_updates", "Updates stored.")
ROUNDS = Counter("grokfed_rounds", "Attempts at rounds, by how they ended.", ["outcome"])
ROUND_SECONDS = Histogram(
    "grokfed_round_seconds",
    "Seconds from the opening of a round to its model.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
PRESENT = Gauge("grokfed_parties_present", "Parties with an open stream, by role.", ["role"])
ACCURACY = Gauge("grokfed_accuracy", "Accuracy of the newest model, 0 to 1.")


def serve(address: str) -> int:
    """Serve http://ADDRESS/metrics in a thread and return the port. Raise SettingsError if the address is in use."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise SettingsError(f"metrics are to be served at {address!r}; expected HOST:PORT, such as 127.0.0.1:9464")
    try:
        server, _ = start_http_server(int(port), addr=host or "127.0.0.1")
    except (OSError, ValueError) as error:
        raise SettingsError(f"metrics cannot be served at {address!r}: {error}") from error
    return int(server.server_port)
