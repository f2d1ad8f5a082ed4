"""How short a Paillier modulus can be before it is factored; why keys below 2,048 bits are refused."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from math import log, log2, log10, sqrt

import gmpy2
import numpy as np
from gmpy2 import mpz
from phe import PaillierPrivateKey, PaillierPublicKey

from book.chapters.leakage import SECRET
from book.decryption import PaillierDecryptor, generate_decryptor
from book.pictures.style import BLUE, GREEN, GREY, VERMILLION, new_figure, style
from book.run import Run
from core.errors import SettingsError
from core.federated import client_update, encoding_for, initial_model
from core.secagg.factory import encryptor_for
from core.secagg.scheme import PAILLIER, SAFE_KEY_BITS, SMALLEST_KEY_BITS, PublicKey
from core.tasks.spam import SPAM, prepare
from experiments.attacks.factoring import ecm, rho
from experiments.attacks.quadratic_sieve import quadratic_sieve
from experiments.studies._columns import cell, halves, means
from experiments.study import Row, Study

Draw = Callable[[int], int]

RHO, ECM, QUADRATIC = "Pollard's rho", "elliptic curves", "quadratic sieve"
SIEVE, TRIAL, STEPS = "number field sieve", "trial division", "log2 steps"
BOUNDS = {64: 150, 80: 300, 96: 600, 112: 1500, 128: 3000, 144: 8000}
"""Of stage 1 of the elliptic curves, by bits of the modulus: near the best for this program."""
SMALL_PRIMES = gmpy2.primorial(1 << 16)
"""The product of the primes that must not divide p - 1, but for 2."""
EXTRAPOLATED = (256, 1024, SAFE_KEY_BITS, 3072)
RECORD_BITS, RECORD_CORE_YEARS = 829, 2700
"""RSA-250, factored in 2020 by Boudot, Gaudry, Guillevic, Heninger, Thomé and Zimmermann; cores of 2.1 GHz."""


def study(run: Run) -> Iterator[Row]:
    rows: list[Row] = []
    for number, (method, sizes) in enumerate((
        (RHO, run.pick((64, 72, 80, 88, 96, 104), (64, 72))),
        (ECM, run.pick(tuple(BOUNDS), (64, 80, 96))),
        (QUADRATIC, run.pick((64, 96, 128, 160, 192), (64, 96, 128))),
    )):  # fmt: skip
        for bits in sizes:
            run.progress(f"{method}, {bits} bits")
            rows.append(measured(run, method, bits, number))
            yield rows[-1]
    for bits in EXTRAPOLATED:
        rows += extrapolated(rows, bits)
        yield from rows[-4:]
    yield opened_update(run)
    draw(run, rows)


def measured(run: Run, method: str, bits: int, number: int) -> Row:
    """Factor several moduli of one size; seconds are printed and not written, as they differ from run to run."""
    found, started = [], time.process_time()
    for repetition in range(run.pick(10 if bits < 100 else 5, 5)):
        rng = run.rng(number, bits, repetition)
        modulus, draw_number = seeded_modulus(bits, drawing(rng)), drawing(rng)
        factor, steps = factored(method, modulus, bits, draw_number)
        if not 1 < factor < modulus or modulus % factor:  # an attack that fails is a fault of ours
            raise ArithmeticError(f"what was found is no factor of the modulus of {bits} bits")
        found.append(log2(steps))
    seconds = (time.process_time() - started) / len(found)
    run.say(f"{method}, {bits} bits: {seconds:.2g} seconds of one core each")
    return {"method": method, "bits": bits, "kind": "measured", STEPS: cell(found, 1),
            TRIAL: round(trial_division(bits), 1)}  # fmt: skip


def factored(method: str, modulus: int, bits: int, draw_number: Draw) -> tuple[int, int]:
    """Return a factor and the steps it took: multiplications modulo n, or values sieved."""
    if method == QUADRATIC:
        sieved = quadratic_sieve(modulus, draw_number)
        return sieved.factor, sieved.values
    found = rho(modulus, draw_number) if method == RHO else ecm(modulus, BOUNDS[bits], draw_number)
    return found.factor, found.multiplications


def drawing(rng: np.random.Generator) -> Draw:
    """Return a function that draws numbers below a bound from the run's seed."""

    def draw_below(bound: int) -> int:
        return int.from_bytes(rng.bytes(bound.bit_length() // 8 + 8), "little") % bound

    return draw_below


def seeded_modulus(bits: int, draw_number: Draw) -> int:
    """Make a modulus as the project's key generation does, but from a seed, so that a table can be repeated.

    Raises SettingsError for an odd number of bits or fewer than 48.
    """
    if bits % 2 or bits < 48:
        raise SettingsError(f"a modulus of {bits} bits cannot be made of two primes; even numbers from 48 on can be")
    first = _prime(bits // 2, draw_number)
    while (second := _prime(bits // 2, draw_number)) == first:
        pass
    return first * second


def _prime(bits: int, draw_number: Draw) -> int:
    """Draw a prime under the conditions of registrar.key_generation: 3 modulo 4, large, and (p - 1) / 2 rough."""
    while True:
        candidate = mpz(draw_number(1 << bits) | 3 << (bits - 2) | 3)
        if gmpy2.gcd(candidate >> 1, SMALL_PRIMES) == 1 and gmpy2.is_prime(candidate, 40):
            return int(candidate)


def trial_division(bits: int) -> float:
    """Return log2 of the divisions it takes to try every prime up to the smaller factor."""
    return bits / 2 - log2(bits / 2 * log(2))


def extrapolated(rows: Sequence[Row], bits: int) -> list[Row]:
    """Extrapolate each method from the largest modulus measured and its known growth."""
    last = {method: [row for row in rows if row["method"] == method and row["kind"] == "measured"][-1]
            for method in (RHO, ECM, QUADRATIC)}  # fmt: skip
    made: list[Row] = []
    for method, work in ((RHO, _rho_growth), (ECM, _ecm_growth), (QUADRATIC, _quadratic_growth)):
        at, known = int(last[method]["bits"]), means([last[method]], STEPS)[0]
        made.append({"method": method, "bits": bits, "kind": "extrapolated",
                     STEPS: f"{known + work(bits) - work(at):.0f}",
                     TRIAL: round(trial_division(bits), 1)})  # fmt: skip
    years = log10(RECORD_CORE_YEARS) + (_sieve_growth(bits) - _sieve_growth(RECORD_BITS)) * log10(2)
    made.append({"method": SIEVE, "bits": bits, "kind": "extrapolated", TRIAL: round(trial_division(bits), 1),
                 "core-years": f"10^{years:.0f}"})  # fmt: skip
    return made


def _rho_growth(bits: int) -> float:
    """Return log2 of sqrt(p), p having half the modulus' bits."""
    return bits / 4


def _ecm_growth(bits: int) -> float:
    """Return log2 of exp(sqrt(2 ln p ln ln p)) (Lenstra 1987)."""
    size = bits / 2 * log(2)
    return sqrt(2 * size * log(size)) / log(2)


def _quadratic_growth(bits: int) -> float:
    """Return log2 of exp(sqrt(ln n ln ln n)) (Pomerance 1982)."""
    size = bits * log(2)
    return sqrt(size * log(size)) / log(2)


def _sieve_growth(bits: int) -> float:
    """Return log2 of exp((64/9 ln n)^(1/3) (ln ln n)^(2/3)) (Lenstra et al. 1990)."""
    size = bits * log(2)
    return float((64 / 9 * size) ** (1 / 3) * log(size) ** (2 / 3) / log(2))


def opened_update(run: Run) -> Row:
    """Break a real demo key from its public half, and open one client's real update with it."""
    public = generate_decryptor(PAILLIER, SMALLEST_KEY_BITS).public_key
    model = initial_model(SPAM, run.seed)
    encoding = encoding_for(SPAM, len(model), public.plaintext_bits, 2)
    update = client_update(SPAM, model, prepare([SECRET]), run.rng(5))
    encryptor = encryptor_for(public, encoding.plaintexts)
    payload = encryptor.encrypt(encoding.encode(update))
    encryptor.close()
    read = encoding.decode(break_key(public).decrypt(payload), 1).delta_sum
    right = int((read == encoding.quantise(update.delta) * 2.0**-encoding.fraction_bits).sum())
    return {
        "method": "a demo key broken",
        "bits": SMALLEST_KEY_BITS,
        "kind": "measured",
        "weights read": f"{right:,} of {len(read):,}",
    }


def break_key(public: PublicKey) -> PaillierDecryptor:
    """Return the private key of a public one, by factoring it."""
    factor = quadratic_sieve(public.modulus, secrets.randbelow).factor
    return PaillierDecryptor(PaillierPrivateKey(PaillierPublicKey(public.modulus), factor, public.modulus // factor))


@style()
def draw(run: Run, rows: Sequence[Row]) -> None:
    """Draw the steps against the modulus' length, measured and extrapolated."""
    figure = new_figure(7.2, 4.6, "What it takes to factor a modulus")
    axes = figure.subplots()
    for method, colour, marker in ((RHO, BLUE, "o"), (ECM, VERMILLION, "s"), (QUADRATIC, GREEN, "^")):
        own = [row for row in rows if row["method"] == method]
        found, further = ([row for row in own if row["kind"] == kind] for kind in ("measured", "extrapolated"))
        axes.errorbar(_bits(found), means(found, STEPS), halves(found, STEPS),
                      color=colour, linestyle="-", marker=marker, capsize=2, label=f"{method}, measured")  # fmt: skip
        rest = found[-1:] + further
        axes.plot(_bits(rest), means(rest, STEPS), color=colour, linestyle="--", marker=marker, fillstyle="none",
                  label=f"{method}, EXTRAPOLATED")  # fmt: skip
    long = [row for row in rows if row["method"] == SIEVE and int(row["bits"]) >= 1024]
    for row in long:
        years = f"NFS: $10^{{{str(row['core-years']).removeprefix('10^')}}}$ core-years "
        axes.text(float(row["bits"]), 0.03, years, transform=axes.get_xaxis_transform(),
                  rotation=90, ha="right", va="bottom", fontsize=8, color=GREY)  # fmt: skip
    axes.axvline(SAFE_KEY_BITS, color=GREY, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    at = [64, 96, 128, 192, *EXTRAPOLATED]
    axes.set_xticks(at, [str(bits) for bits in at], fontsize=8)
    heights = [16, 32, 64, 128, 256, 512]
    axes.set_yticks(heights, [f"$2^{{{height}}}$" for height in heights])
    axes.minorticks_off()
    axes.set(xlabel="bits of the modulus (dotted: the least that parties accept)", ylabel="steps")
    axes.legend(loc="upper left")
    run.save("cost", figure)


def _bits(rows: Sequence[Row]) -> list[int]:
    return [int(row["bits"]) for row in rows]


def conclude(rows: Sequence[Row]) -> str:
    broken = next(row for row in rows if "weights read" in row)
    sieve = {int(row["bits"]): row["core-years"] for row in rows if row["method"] == SIEVE}
    said = ", ".join(_largest([row for row in rows if row["method"] == method]) for method in (RHO, ECM, QUADRATIC))
    return (
        f"Factored on one core, in Python: {said}. A demo key of {broken['bits']} bits, the shortest that the "
        f"insecure flag allows, was factored from its public half, and {broken['weights read']} weights of one "
        f"client's encrypted update were read with it. EXTRAPOLATED from a record of {RECORD_BITS} bits in "
        f"{RECORD_CORE_YEARS:,} core-years, the number field sieve takes {sieve[1024]} core-years for 1,024 bits and "
        f"{sieve[SAFE_KEY_BITS]} for {SAFE_KEY_BITS:,}: every party refuses keys below {SAFE_KEY_BITS:,} bits unless "
        f"allowed to accept them."
    )


def _largest(rows: Sequence[Row]) -> str:
    row = [row for row in rows if row["kind"] == "measured"][-1]
    return f"{row['method']}: {row['bits']} bits in 2^{means([row], STEPS)[0]:.0f} steps"


STUDY = Study(
    name="weak-key",
    title="Short keys: factored in seconds",
    question="How long must a Paillier key be so that the ciphertexts cannot be read with it?",
    adversary="Anyone with the public key and the ciphertexts of one update: everyone in the federation, and anyone "
    "who copied the traffic.",
    method="Moduli are made under the conditions of the project's key generation, but from the run's seed, and "
    "factored with Pollard's rho (1975, as Brent made it in 1980), with elliptic curves (Lenstra 1987, on Montgomery's "
    "curves, two stages) and with the quadratic sieve (Pomerance 1982, with polynomials that initialise themselves and "
    "one large prime), in Python with GMP and NumPy. What is counted is steps: multiplications modulo n, or values of "
    "polynomials that were sieved; seconds are only printed, for they differ. For comparison: what trying all primes "
    "would take, as log2 of divisions. EXTRAPOLATED rows follow from the largest measured one and each method's known "
    "growth, or for the number field sieve (NFS) from RSA-250 (Boudot et al., 2020), with exp((64/9 ln n)^(1/3) "
    "(ln ln n)^(2/3)). In the end a key as a demo run has it is broken, and one client's real update decrypted. ± is "
    "half of a 95 % interval over moduli.",
    limits="Extrapolations are no measurements: they leave out memory, better programs and better methods to come, and "
    "quantum computers altogether. A step of one method is not a step of another: sieving a value takes less time "
    "than a multiplication. The key that is broken in the end comes from the operating system's randomness, so its "
    "cost differs from run to run.",
    run=study,
    conclude=conclude,
)
