"""The three roles of secure aggregation, each an interface of one or two methods.

Toy example, with the twin that encrypts nothing:

    key = PublicKey("plain", bits=256)
    total = Adder(...)                       # the aggregator: no private key in reach
    total.add(encryptor.encrypt([1, 2]))     # a client
    total.add(encryptor.encrypt([10, 20]))   # another client
    decryptor.decrypt(total.payload())       # the key holder: [11, 22]

A payload is the ciphertexts of one update (or of a sum) one after the other, each a big-endian integer of fixed length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from core.errors import Reason, Refused, SettingsError

PAILLIER, DAMGARD_JURIK, PLAIN = "paillier", "damgard-jurik", "plain"
SCHEMES = (PAILLIER, DAMGARD_JURIK, PLAIN)
SAFE_KEY_BITS = 2048
"""As hard to break as a cipher of 112 bits (NIST SP 800-57, part 1, table 2)."""
DEFAULT_KEY_BITS = 3072
"""As hard as one of 128 bits (same table)."""
SMALLEST_KEY_BITS, LARGEST_KEY_BITS = 128, 8192
ZERO_TOP_BITS = 32
"""Top bits of a plaintext that stay zero, so that a sum of slots never reaches the modulus."""


@dataclass(frozen=True)
class PublicKey:
    """A public key as it travels: the scheme's name, its size, and the modulus (0 for the plain twin)."""

    scheme: str
    bits: int
    modulus: int = 0

    def __repr__(self) -> str:
        return f"PublicKey({self.scheme}, {self.bits} bits)"

    def is_of(self, scheme: str, bits: int) -> bool:
        """Return whether the key is of this scheme and size."""
        return (self.scheme, self.bits) == (scheme, bits)

    @property
    def degree(self) -> int:
        """How many times as long as the modulus a plaintext is: s of Damgård and Jurik (PKC 2001)."""
        return 2 if self.scheme == DAMGARD_JURIK else 1

    @property
    def plaintext_bytes(self) -> int:
        """Length of one plaintext."""
        return self.degree * self.bits // 8

    @property
    def plaintext_bits(self) -> int:
        """Bits of one plaintext that slots may use."""
        return self.degree * self.bits - ZERO_TOP_BITS


class Encryptor(Protocol):
    """A client's role."""

    def encrypt(self, plaintexts: Sequence[int]) -> bytes:
        """Encrypt each plaintext with fresh randomness and give the payload."""

    def close(self) -> None:
        """Stop what is being prepared in the background."""


class Checker(Protocol):
    """What can say whether a payload can stand in a sum."""

    def check(self, payload: bytes) -> None:
        """Raise Refused(WRONG_LENGTH or BAD_CIPHERTEXT) unless every ciphertext can stand in a sum."""


class Adder(Checker, Protocol):
    """The aggregator's role: check payloads and keep their sum, without being able to read either."""

    def add(self, payload: bytes) -> None:
        """Add one checked payload to the sum."""

    def payload(self) -> bytes:
        """Return the sum so far."""


class Decryptor(Protocol):
    """The key holder's role."""

    @property
    def public_key(self) -> PublicKey:
        """The key that payloads for this holder are encrypted with."""

    def decrypt(self, payload: bytes) -> list[int]:
        """Open every ciphertext of a checked payload."""


def check_key_bits(scheme: str, bits: int, *, insecure_demo_keys: bool) -> None:
    """Refuse key sizes that protect nothing unless the insecure flag is set. Raises SettingsError."""
    if scheme not in SCHEMES:
        raise SettingsError(f"scheme is {scheme!r}; known are {', '.join(SCHEMES)}")
    if bits % 16:
        raise SettingsError(f"the key size is {bits} bits; it must be a multiple of 16")
    if not SMALLEST_KEY_BITS <= bits <= LARGEST_KEY_BITS:
        raise SettingsError(f"the key size is {bits} bits; {SMALLEST_KEY_BITS} to {LARGEST_KEY_BITS} are supported")
    if scheme != PLAIN and bits < SAFE_KEY_BITS and not insecure_demo_keys:
        raise SettingsError(
            f"a Paillier key of {bits} bits can be broken; use at least {SAFE_KEY_BITS}, "
            "or --insecure-demo-keys where nothing is secret"
        )


def check_length(payload: bytes, count: int, size: int) -> None:
    """Raise Refused(WRONG_LENGTH) unless the payload is `count` numbers of `size` bytes."""
    if len(payload) != count * size:
        raise Refused(Reason.WRONG_LENGTH, f"the update has {len(payload)} bytes; expected {count} times {size} bytes")


def split_payload(payload: bytes, count: int, size: int) -> list[int]:
    """Cut a payload into `count` integers of `size` bytes. Raises Refused(WRONG_LENGTH)."""
    check_length(payload, count, size)
    return [int.from_bytes(payload[start : start + size], "big") for start in range(0, len(payload), size)]


def join_payload(numbers: Iterable[SupportsBytes], size: int) -> bytes:
    """Return the numbers as big-endian integers of `size` bytes, one after the other."""
    return b"".join(number.to_bytes(size, "big") for number in numbers)


class SupportsBytes(Protocol):
    """An integer of Python or of GMP."""

    def to_bytes(self, length: int, byteorder: Literal["big"], /) -> bytes:
        """Return the number in `length` bytes."""
