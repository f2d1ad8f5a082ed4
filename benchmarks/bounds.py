"""Time the proofs of ranges, and count their bytes: `python -m benchmarks.bounds`.

python -m benchmarks.bounds                       8,193 weights with a key of 2048 bits, and 600
python -m benchmarks.bounds --values 100000
python -m benchmarks.bounds --honest 10000        so many small honest proofs; all must pass
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import time
from contextlib import closing
from dataclasses import dataclass
from statistics import median

import numpy as np
from gmpy2 import mpz
from rich.console import Console

from benchmarks.measure import numbers_table
from core.bounds.parameters import Parameters, parameters_for
from core.bounds.proof import Witness, prove
from core.bounds.transcript import Statement
from core.bounds.verification import verify
from core.protocol import digest
from core.secagg import kernel
from core.secagg.encoding import LARGEST_CHANGE, Encoding, IntArray
from core.secagg.noise import noise_for
from core.secagg.paillier import PaillierEncryptor, ciphertext_bytes, split_ciphertexts
from core.secagg.scheme import PAILLIER, PublicKey
from registrar.key_generation import generate_private_key

LARGEST_COHORT = 64
BARS = {8193: (0.3, 0.045, 50_000), 600: (0.1, 0.045, 50_000), 100_000: (1.5, 0.4, 154_000)}
"""By weights: seconds of a client and of a holder, and bytes."""


@dataclass(frozen=True)
class Case:
    """Numbers of an update, their encryption, and what is to be proven of them."""

    parameters: Parameters
    statement: Statement
    witness: Witness


def make_case(key: PublicKey, values: int, rng: np.random.Generator) -> Case:
    """Encrypt a random update of the clip's size."""
    encoding = Encoding(values, key.plaintext_bits, LARGEST_COHORT)
    changes = np.clip(np.rint(rng.normal(0, 3000, values)), -LARGEST_CHANGE, LARGEST_CHANGE).astype(np.int64)
    slots: IntArray = np.concatenate([[4000, 40, 3, 2, 55], changes + encoding.offset])
    with closing(PaillierEncryptor(key, noise_for(key, encoding.plaintexts))) as encryptor:
        encrypted = encryptor.encrypt_known(encoding.pack(slots))
    numbers = split_ciphertexts(encrypted.payload, encoding.plaintexts, ciphertext_bytes(key))
    statement = Statement(mpz(key.modulus), b"benchmark", digest(encrypted.payload), numbers)
    return Case(parameters_for(encoding), statement, Witness(slots, encrypted.power_of_roots))


def measure(case: Case, repeats: int) -> tuple[float, float, int]:
    """Return the median seconds of making a proof and of checking it, and its bytes."""
    making, checking, proof = [], [], b""
    for _ in range(repeats):
        started = time.process_time()
        proof = prove(case.parameters, case.statement, case.witness)
        making.append(time.process_time() - started)
        started = time.process_time()
        verify(case.parameters, case.statement, proof)
        checking.append(time.process_time() - started)
    return median(making), median(checking), len(proof)


def honest(count: int) -> None:
    """Make and check so many honest proofs; raises Refused at the first that does not pass."""
    rng = np.random.default_rng()
    key = PublicKey(PAILLIER, 256, int(generate_private_key(256).public_key.n))
    for _ in range(count):
        case = make_case(key, 600, rng)
        verify(case.parameters, case.statement, prove(case.parameters, case.statement, case.witness))


def main() -> None:
    """Print the table, or make honest proofs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, nargs="*", default=[600, 8193], help="weights of an update")
    parser.add_argument("--key-bits", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--honest", type=int, default=0, help="make and check so many proofs instead")
    options = parser.parse_args()
    if options.honest:
        honest(options.honest)
        print(f"{options.honest} honest proofs of 600 weights: all passed")
        return
    key = PublicKey(PAILLIER, options.key_bits, int(generate_private_key(options.key_bits).public_key.n))
    rows = []
    for values in options.values:
        case = make_case(key, values, np.random.default_rng(values))
        client, holder, size = measure(case, options.repeats)
        ciphertexts = case.parameters.plaintexts * ciphertext_bytes(key)
        bars = BARS.get(values)
        bar = "" if bars is None else f"{bars[0]:g} s, {bars[1]:g} s, {bars[2]:,} B"
        rows.append([f"{values:,}", f"{client:.3f}", f"{holder:.3f}", f"{size:,}", f"{size / ciphertexts:.2f}", bar])
    kernels = "with" if kernel.available(2 * options.key_bits) else "without"
    title = f"proofs of ranges, keys of {options.key_bits} bits, {kernels} the kernel, processor time"
    table = numbers_table(("weights",), ("client s", "holder s", "bytes", "of ciphertexts", "bar"), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
