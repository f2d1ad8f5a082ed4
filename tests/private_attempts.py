"""Attempts at private rounds, and what they cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from federations import ID, RUN, SPAM, VALUES, HonestAttempt, SmallFederation

from core.federated import VALUE_BITS, encoding_for
from core.privacy.mechanism import Privacy, mechanism_for
from core.protocol import ModelOrigin
from core.wire.messages import certificate_from_bytes

OTHER = "f" * 16
PRIVACY = Privacy(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5)
"""One round costs mu^2 = 1, an epsilon of 4.38; two cost 6.57, three 8.38."""


def private_round(
    federation: SmallFederation, run: str = RUN, noise: float = 1.0, number: int = 1, attempt: int = 1
) -> HonestAttempt:
    """A private round, or one without noise. Each run, and each round, starts from a model of its own."""
    (key,) = federation.deal()
    bits = certificate_from_bytes(key.body).key.plaintext_bits
    privacy = replace(PRIVACY, noise_multiplier=noise) if noise else None
    made = None if privacy is None else mechanism_for(privacy, 2, VALUE_BITS)
    model = np.full(VALUES, float(number + int(run, 16) % 97))
    start = ModelOrigin(RUN, 9) if number == 1 else None
    return HonestAttempt(
        federation, key, model=model, id=replace(ID, run=run, round=number, attempt=attempt), start=start,
        privacy=privacy, encoding=encoding_for(SPAM, VALUES, bits, 8, 0, made),
    )  # fmt: skip
