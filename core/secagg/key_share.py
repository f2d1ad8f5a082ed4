"""One holder's share of a round's private key, and what it allows: a part of opening a sum.

A ciphertext is c = (1 + n)^m r^(n^s) mod n^(s+1), and modulo n nothing is left of it but r^(n^s). With the secret
D = 1 / n^s modulo lambda(n), c^D mod n is r, and with r any party can open c (core.secagg.roots). Holder i has f(i), a
share of f(0) = Delta D (registrar/dealing.py), and answers

    c^(Delta f(i)) mod n,

a power with an exponent not much longer than n, modulo n only. (The textbook's exponent is 2 |n| bits long, modulo n²:
Damgård and Jurik, PKC 2001, section 4.1. That the noise itself can be taken out is Catalano, Gennaro and
Howgrave-Graham's, EUROCRYPT 2001; Paillier, EUROCRYPT 1999, section 5, builds a trapdoor permutation on it.)

Why a second Delta in the exponent (Shoup, EUROCRYPT 2000, section 3): Delta f(i) is a sum of whole multiples of f(0)
and of any t - 1 shares. So with t - 1 shares and r one can compute the other holders' answers, and learns nothing by
hearing them.

Only a key holder (and code that plays all parties) may import this module.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gmpy2 import mpz

from core.errors import Reason, Refused, SettingsError
from core.secagg.powers import secret_powers
from core.secagg.scheme import PLAIN, SCHEMES, PublicKey, check_key_bits, join_payload
from core.secagg.share_proof import Statement, base, exponent_bits, modulo_n, prove
from core.secagg.sharing import check_holders, delta, share_bits

VERSION = 1
_HEAD = struct.Struct(">BBBBBH")  # version, scheme, holder, threshold, holders, bits


@dataclass(frozen=True, repr=False)
class KeyShare:
    """What one holder has of a key. Used for one sum, and then destroyed.

    Attributes:
        holder: its number, 1 to `holders`.
        threshold: number of holders that together open a sum.
        exponent: f(holder), the secret; 0 with the scheme that encrypts nothing.

    Raises SettingsError when made with numbers that contradict each other.
    """

    holder: int
    threshold: int
    holders: int
    public_key: PublicKey
    exponent: int

    def __post_init__(self) -> None:
        key = self.public_key
        check_holders(self.threshold, self.holders)
        check_key_bits(key.scheme, key.bits, insecure_demo_keys=True)
        if not 1 <= self.holder <= self.holders:
            raise SettingsError(f"the share is holder {self.holder}'s; expected 1 to {self.holders}")
        if key.scheme == PLAIN:
            honest = key.modulus == self.exponent == 0
        else:
            limit = 1 << share_bits(key.bits, self.threshold, self.holders)
            honest = key.modulus.bit_length() == key.bits and key.modulus % 2 == 1 and 0 < self.exponent < limit
        if not honest:
            raise SettingsError(f"the share does not fit a {key.scheme} key of {key.bits} bits")

    def __repr__(self) -> str:
        return f"KeyShare(holder {self.holder}, {self.threshold} of {self.holders}, {self.public_key.bits} bits)"

    def partial(self, payload: bytes) -> bytes:
        """Return this holder's part of opening a sum: for each ciphertext a number below n of bits / 8 bytes.

        The caller has added the sum up itself, of checked updates: a part of opening anything else gives it away.

        Raises Refused(WRONG_LENGTH).
        """
        key = self.public_key
        if key.scheme == PLAIN:
            return payload
        return join_payload(self._powers(modulo_n(key, payload)), key.bits // 8)

    def answer(self, statement: Statement) -> bytes:
        """Return this holder's part of opening the sum of a statement, and then the proof that it is right.

        Raises Refused: WRONG_LENGTH, or UNKNOWN_KEY if this share is not the one that the key's certificate names.
        """
        key = self.public_key
        if key.scheme == PLAIN:
            return statement.total
        *numbers, value = self._powers([*modulo_n(key, statement.total), base(key)])
        if value != statement.value:
            message = "this share does not fit the certificate of its key, so no answer with it would be taken"
            raise Refused(Reason.UNKNOWN_KEY, message)
        partial = join_payload(numbers, key.bits // 8)
        return partial + prove(statement, partial, delta(self.holders) * self.exponent)

    def _powers(self, numbers: list[mpz]) -> list[mpz]:
        """Return the powers with the exponent Delta f(i)."""
        bits = exponent_bits(self.public_key, self.threshold, self.holders)
        return secret_powers(numbers, delta(self.holders) * self.exponent, bits, mpz(self.public_key.modulus))

    def to_bytes(self) -> bytes:
        """Return the share as bytes, of a length that says nothing of the secret."""
        key = self.public_key
        head = _HEAD.pack(
            VERSION, SCHEMES.index(key.scheme), self.holder, self.threshold, self.holders, key.bits
        )  # fmt: skip
        modulus, exponent = _lengths(key.scheme, key.bits, self.threshold, self.holders)
        return head + key.modulus.to_bytes(modulus, "big") + self.exponent.to_bytes(exponent, "big")

    @classmethod
    def from_bytes(cls, raw: bytes) -> KeyShare:
        """Read a share. Raises Refused(MALFORMED) unless every byte is as `to_bytes` could have written it."""
        if len(raw) < _HEAD.size:
            raise _malformed(f"it has {len(raw)} bytes; expected at least {_HEAD.size}")
        version, scheme, holder, threshold, holders, bits = _HEAD.unpack_from(raw)
        if version != VERSION or scheme >= len(SCHEMES):
            raise _malformed(f"it is of version {version}, scheme {scheme}; expected version {VERSION}")
        try:
            check_holders(threshold, holders)
            check_key_bits(SCHEMES[scheme], bits, insecure_demo_keys=True)
            modulus, exponent = _lengths(SCHEMES[scheme], bits, threshold, holders)
            if len(raw) != _HEAD.size + modulus + exponent:
                raise _malformed(f"it has {len(raw)} bytes; expected {_HEAD.size + modulus + exponent}")
            key = PublicKey(SCHEMES[scheme], bits, int.from_bytes(raw[_HEAD.size : _HEAD.size + modulus], "big"))
            return cls(holder, threshold, holders, key, int.from_bytes(raw[_HEAD.size + modulus :], "big"))
        except SettingsError as error:
            raise _malformed(str(error)) from None


def _lengths(scheme: str, bits: int, threshold: int, holders: int) -> tuple[int, int]:
    """Return bytes of the modulus and of the exponent."""
    return (0, 0) if scheme == PLAIN else (bits // 8, -(-share_bits(bits, threshold, holders) // 8))


def _malformed(problem: str) -> Refused:
    return Refused(Reason.MALFORMED, f"this is no share of a key: {problem}")
