"""Other libraries at the same sums: phe as in the book, pypaillier, TenSEAL's CKKS. All but phe are optional."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import phe

from benchmarks.secure_aggregation import Job, Problem, Step, Way, largest_error
from core.secagg.encoding import FloatArray

PHE, PYPAILLIER, TENSEAL = "phe", "pypaillier", "TenSEAL"
PHE_WEIGHTS = 24
PYPAILLIER_WEIGHTS = 128
"""The numbers encrypted; the rest is extrapolated."""
VECTOR = 4096
"""Numbers in one CKKS ciphertext: half the degree of its polynomials."""


def build_peers(problem: Problem) -> tuple[list[Way], list[str]]:
    """Return the ways that work here, and a message about each of the others."""
    builders: dict[str, tuple[str, Callable[[Any, Problem], Way]]] = {
        PYPAILLIER: ("paillier", _build_pypaillier),
        TENSEAL: ("tenseal", _build_tenseal),
    }
    ways, missing = [_build_phe(problem)], []
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # pypaillier's threads, read at its first call
    for name, (module, build) in builders.items():
        if importlib.util.find_spec(module) is None:
            missing.append(f"{name} is not installed here: its column stays empty.")
        elif name == PYPAILLIER and problem.bits < 2048:
            missing.append(f"{name} refuses keys below 2048 bits: its column stays empty.")
        else:
            ways.append(build(importlib.import_module(module), problem))
    return ways, missing


def _build_phe(problem: Problem) -> Way:
    """Return one number a ciphertext, as in chapter 15. It has nothing to check an update with."""
    count, size = min(PHE_WEIGHTS, problem.weights), problem.bits // 4
    public, private = phe.generate_paillier_keypair(n_length=problem.bits)
    few = problem.changes[:, :count].tolist()
    updates = [[public.encrypt(value) for value in values] for values in few]

    def encrypt(_: object) -> list[bytes]:
        return [public.encrypt(value).ciphertext().to_bytes(size, "big") for value in few[0]]

    def add(_: object = None) -> list[Any]:
        total = updates[0]
        for update in updates[1:]:
            total = [old + new for old, new in zip(total, update, strict=True)]
        return total

    total = add()

    def open_sum(_: object = None) -> list[float]:
        return [private.decrypt(number) for number in total]

    additions = Job(add, count, max(1, problem.clients - 1))
    jobs = {
        Step.CLIENT: Job(encrypt, count),
        Step.ADD: additions,
        Step.BOTH: additions,
        Step.OPEN: Job(open_sum, count),
    }
    error = largest_error(PHE, np.array(open_sum()), problem)
    return Way(PHE, jobs, float(size * problem.weights), error)


def _build_pypaillier(module: Any, problem: Problem) -> Way:
    """Return one number a ciphertext; whole numbers, as they need no scale. The whole cohort is added in one call."""
    count = min(PYPAILLIER_WEIGHTS, problem.weights)
    public, private = module.generate_keypair(problem.bits)
    few = problem.integers[:, :count].tolist()
    updates = [[bytes(blob) for blob in module.encrypt_integers(public, values)] for values in few]
    blobs = [blob for update in updates for blob in update]
    places = [list(range(place, len(blobs), count)) for place in range(count)]

    def encrypt(_: object) -> list[bytes]:
        return [bytes(blob) for blob in module.encrypt_integers(public, few[0])]

    def check(_: object) -> None:
        module.check_blobs(public, blobs, 0)

    def add(_: object = None) -> list[bytes]:
        return [bytes(blob) for blob in module.add_blocks(public, blobs, places)]

    def both(_: object) -> None:
        check(None)
        add()

    total = add()

    def open_sum(_: object = None) -> list[int]:
        return [int(text) for text in module.decrypt_many(private, total)]

    jobs = {
        Step.CLIENT: Job(encrypt, count),
        Step.CHECK: Job(check, count, problem.clients),
        Step.ADD: Job(add, count, problem.clients),
        Step.BOTH: Job(both, count, problem.clients),
        Step.OPEN: Job(open_sum, count),
    }
    opened = np.ldexp(np.array(open_sum(), dtype=np.float64), -13)
    upload = sum(map(len, updates[0])) / count * problem.weights
    return Way(PYPAILLIER, jobs, upload, largest_error(PYPAILLIER, opened, problem))


def _build_tenseal(module: Any, problem: Problem) -> Way:
    """Return TenSEAL's CKKS: approximate numbers, 4096 a ciphertext, with NVIDIA FLARE's parameters.

    There the clients share the secret key, which is faster to encrypt with; here they also do it with the public one.
    """
    ckks, weights, first = _Ckks(module), problem.weights, problem.changes[0]
    uploads = [ckks.encrypt(changes) for changes in problem.changes]
    summed = _sum_vectors([ckks.read(update) for update in uploads])
    total = [vector.serialize() for vector in summed]

    def check(_: object) -> None:
        """Read the updates: the only check that there is."""
        for update in uploads:
            ckks.read(update)

    def begun() -> list[Any]:
        return ckks.read(uploads[0])

    def both(total: list[Any]) -> None:
        for update in uploads:
            _sum_vectors([total, ckks.read(update)])

    jobs = {
        Step.CLIENT: Job(lambda _: ckks.encrypt(first), weights),
        Step.SHARED: Job(lambda _: ckks.encrypt(first, ckks.shared), weights),
        Step.CHECK: Job(check, weights, problem.clients),
        Step.ADD: Job(_sum_vectors, weights, problem.clients, lambda: [begun(), *map(ckks.read, uploads)]),
        Step.BOTH: Job(both, weights, problem.clients, begun),
        Step.SUM: Job(lambda _: [vector.serialize() for vector in summed], weights),
        Step.OPEN: Job(lambda _: ckks.open(total), weights),
    }
    error = largest_error(TENSEAL, np.array(ckks.open(total)), problem)
    return Way(TENSEAL, jobs, float(sum(map(len, uploads[0]))), error)


class _Ckks:
    """The keys of one cohort: the holder's, the public one, and a secret one that all clients share."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.holder, self.shared = (self._context(kind) for kind in ("ASYMMETRIC", "SYMMETRIC"))
        self.public = module.context_from(self.holder.serialize(save_secret_key=False), n_threads=1)

    def _context(self, kind: str) -> Any:
        context = self.module.context(
            self.module.SCHEME_TYPE.CKKS,
            2 * VECTOR,
            coeff_mod_bit_sizes=[60, 40, 40],
            encryption_type=getattr(self.module.ENCRYPTION_TYPE, kind),
            n_threads=1,
        )
        context.global_scale = 2**40
        return context

    def encrypt(self, changes: FloatArray, context: Any = None) -> list[bytes]:
        """Return an update's ciphertexts, under the public key if no other is given."""
        key = self.public if context is None else context
        vectors = [changes[start : start + VECTOR].tolist() for start in range(0, len(changes), VECTOR)]
        return [vector.serialize() for vector in [self.module.ckks_vector(key, vector) for vector in vectors]]

    def read(self, update: list[bytes]) -> list[Any]:
        return [self.module.ckks_vector_from(self.public, data) for data in update]

    def open(self, total: list[bytes]) -> list[float]:
        return [x for data in total for x in self.module.ckks_vector_from(self.holder, data).decrypt()]


def _sum_vectors(updates: list[list[Any]]) -> list[Any]:
    """Add all updates to the first one, in place."""
    total = updates[0]
    for update in updates[1:]:
        for old, new in zip(total, update, strict=True):
            old += new
    return total
