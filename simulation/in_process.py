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

import asyncio
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from client.participant import Load, Participant
from client.session import ClientSession
from core.clock import Clock, today
from core.errors import Refused
from core.federated import model_of
from core.identity.party import PartyIdentity
from core.policy import Policy
from core.protocol import RoundResult
from core.secagg.scheme import PLAIN
from core.tasks.task import Task
from core.wire.calls import Ask, Call, Conversation
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.session import HolderSession
from server import rounds, states
from server.settings import RunSettings
from simulation.direct import DirectAggregator, DirectStream, UnavailableError
from simulation.network import Network
from simulation.party import Party
