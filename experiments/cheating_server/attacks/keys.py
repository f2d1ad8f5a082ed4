"""Keys that are not what they should be: the attacker's own, used before, expired, weak, or of another federation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

import gmpy2

from core.clock import today
from core.errors import Reason
from core.identity import signing
from core.identity.signing import SigningKey
from core.protocol import KeyCertificate, Signed
from core.secagg.scheme import PAILLIER, PLAIN, PublicKey
from core.wire.messages import certificate_to_bytes
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.attacks.copies import TIMES, read_victim
from experiments.cheating_server.ciphertexts import blend, decrypt
from experiments.cheating_server.crafted import Round
from experiments.cheating_server.factoring import factor, small_factors
from experiments.cheating_server.honest import Setting
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, KEY_BITS, OTHERS, VICTIM
from keyholder.shares import Shares
from registrar.dealer import DAYS
from registrar.key_generation import generate_private_key

UNUSED_SERIAL = 1_000_000
WEAK_BITS = 128
SMALL_PRIME = 1_048_573  # the largest below 2^20, and 1 modulo 4


def own_key(attacker: Attacker) -> Loot:
    """Hand out the aggregator's own key, certified with its own signing key."""
    key, primes = _own_pair()
    crafted = attacker.describe(_certified(attacker, key, attacker.identity.signing))
    return _read_single(attacker, crafted, primes)


def foreign_federation(attacker: Attacker) -> Loot:
    """Describe a round of another federation, of which the attacker is the registrar and the only holder."""
    key, primes = _own_pair()
    federation = "f" * 16
    certified = _certified(attacker, key, SigningKey.generate(), federation=federation)
    return _read_single(attacker, attacker.describe(certified, federation=federation), primes)


def expired_key(attacker: Attacker) -> Loot:
    """Hand out a key that ran out yesterday, whose shares have been stolen from enough holders since."""
    [serial] = attacker.stage.deal(day=today() - DAYS - 1)
    crafted = attacker.describe(_dealt(attacker, serial))
    stolen = {}
    for name in attacker.stage.holders[: attacker.stage.profile.threshold]:
        share = Shares(attacker.stage.identities[name]).open(crafted.description.certificate)
        stolen[share.holder] = share
    _commit_and_upload(attacker, crafted)
    victims = attacker.updates[VICTIM]
    partials = {holder: share.partial(victims) for holder, share in stolen.items()}
    return attacker.loot(crafted, attacker.opened(crafted, victims, partials), 1)


def short_key(attacker: Attacker) -> Loot:
    """Hand out a key so short that it can be factored, though the registrar dealt it."""
    [serial] = attacker.stage.deal(bits=WEAK_BITS)
    crafted = attacker.describe(_dealt(attacker, serial))
    _commit_and_upload(attacker, crafted)  # first: factoring takes seconds, and a refusal saves them
    return attacker.loot(crafted, decrypt(crafted.key, factor(crafted.key.modulus), attacker.updates[VICTIM]), 1)


def divisible_key(attacker: Attacker) -> Loot:
    """Hand out a key with a small factor, which a broken program made and the registrar signed."""
    key = PublicKey(PAILLIER, KEY_BITS, _divisible_modulus())
    crafted = attacker.describe(_certified(attacker, key, attacker.stage.registrar.signing))
    _commit_and_upload(attacker, crafted)
    return attacker.loot(crafted, decrypt(key, small_factors(key.modulus), attacker.updates[VICTIM]), 1)


def nothing_encrypted(attacker: Attacker) -> Loot:
    """Describe a round in which nothing is encrypted."""
    crafted = attacker.describe(_certified(attacker, PublicKey(PLAIN, KEY_BITS), attacker.identity.signing))
    _commit_and_upload(attacker, crafted)
    size = crafted.key.bits // 8
    raw = attacker.updates[VICTIM]
    return attacker.loot(crafted, [int.from_bytes(raw[at : at + size], "big") for at in range(0, len(raw), size)], 1)


def key_used_twice(attacker: Attacker) -> Loot:
    """Abandon an attempt when the updates are there, open the next with its key, and add the old ones, scaled.

    Clients in both attempts train the same, so a conspirator's update that takes the others' old ones out leaves
    the victim's alone, and the victim is not even in the second attempt.
    """
    key = attacker.ask_key()
    crafted = attacker.describe(key)
    _commit_and_upload(attacker, crafted)
    old = dict(attacker.updates)
    again = attacker.describe(key, attempt=2)
    found = attacker.open_round(again, OTHERS)
    powers = [(old[VICTIM], 1), *((old[name], -1) for name in OTHERS)]
    replayed = attacker.commit_as(CONSPIRATORS[0], again, blend(crafted.key, crafted.encoding, powers, neutrals=2))
    closed = attacker.close_list(again, [*found.values(), replayed])
    attacker.demand_updates(closed, OTHERS)
    return read_victim(attacker, closed, [*OTHERS, CONSPIRATORS[0]])


def key_used_by_others(attacker: Attacker) -> Loot:
    """Do the same with a new client in the second attempt, which cannot know that the key was used.

    Its own update is not known, but the victim's is there five times, and stands out.
    """
    key = attacker.ask_key()
    crafted = attacker.describe(key)
    attacker.full_list(crafted, (VICTIM, OTHERS[0], CONSPIRATORS[0]))
    again = attacker.describe(key, attempt=2)
    found = attacker.open_round(again, OTHERS[1:])
    scaled = blend(crafted.key, crafted.encoding, [(attacker.updates[VICTIM], TIMES)], neutrals=1 - TIMES)
    late = [attacker.commit_as(CONSPIRATORS[0], again, scaled)]
    late.append(attacker.commit_as(CONSPIRATORS[1], again, blend(crafted.key, crafted.encoding)))
    closed = attacker.close_list(again, [*found.values(), *late])
    attacker.demand_updates(closed, OTHERS[1:])
    plaintexts = attacker.read_sum(closed, [OTHERS[1], *CONSPIRATORS[:2]])
    crafted.encoding.decode(plaintexts, len(HONEST))  # nothing shows
    return attacker.amplified_loot(crafted, plaintexts, len(HONEST), TIMES)


def old_commitments(attacker: Attacker) -> Loot:
    """Carry all commitments and updates of the first attempt over into the second."""
    key = attacker.ask_key()
    crafted = attacker.describe(key)
    found = _commit_and_upload(attacker, crafted)
    again = attacker.describe(key, attempt=2)
    powers = [(attacker.updates[name], -1) for name in OTHERS]
    late = attacker.commit_as(CONSPIRATORS[0], again, blend(crafted.key, crafted.encoding, powers, neutrals=3))
    closed = attacker.close_list(again, [*found.values(), late])
    return read_victim(attacker, closed, [*HONEST, CONSPIRATORS[0]])


@contextmanager
def unchecked_arithmetic() -> Iterator[None]:
    """Switch off the check in the encryption itself, which no setting of a party does."""
    with mock.patch("core.secagg.factory.check_public_key"), mock.patch("core.secagg.paillier.check_public_key"):
        yield


def _own_pair() -> tuple[PublicKey, tuple[int, int]]:
    private = generate_private_key(KEY_BITS)
    return PublicKey(PAILLIER, KEY_BITS, int(private.public_key.n)), (int(private.p), int(private.q))


def _read_single(attacker: Attacker, crafted: Round, primes: Sequence[int]) -> Loot:
    _commit_and_upload(attacker, crafted)
    return attacker.loot(crafted, decrypt(crafted.key, primes, attacker.updates[VICTIM]), 1)


def _commit_and_upload(attacker: Attacker, crafted: Round) -> dict[str, Signed]:
    found = attacker.open_round(crafted)
    closed = attacker.close_list(crafted, found.values())
    attacker.demand_updates(closed)
    return found


def _certified(attacker: Attacker, key: PublicKey, signer: SigningKey, federation: str | None = None) -> Signed:
    """Make a certificate as the registrar would, signed with some key."""
    profile = attacker.stage.profile
    certificate = KeyCertificate(
        federation=federation or attacker.identity.federation,
        serial=UNUSED_SERIAL,
        key=key,
        threshold=profile.threshold,
        holders=profile.holders,
        expires_day=today() + DAYS,
        values=() if key.scheme == PLAIN else tuple(range(2, 2 + profile.holders)),  # any units: nobody can tell
    )
    body = certificate_to_bytes(certificate)
    return Signed(body, signer.sign(signing.KEY, body))


def _dealt(attacker: Attacker, serial: int) -> Signed:
    """Return the certificate of a key that was dealt."""
    keys = Shares(attacker.stage.identities[attacker.stage.holders[0]]).dealt()
    return next(key.signed for key in keys if key.certificate.serial == serial)


def _divisible_modulus() -> int:
    """Return a number of exactly KEY_BITS bits that is 1 modulo 4: a small prime times a large one."""
    large = (3 << (KEY_BITS - 2)) // SMALL_PRIME
    while large % 4 != 1 or not gmpy2.is_prime(large):
        large += 1
    return SMALL_PRIME * large


ATTACKS = (
    Attack(
        "3", "the attacker's own public key", own_key, Party.CLIENT, Reason.KEY_CERTIFICATE,
        also=(Reason.UNKNOWN_KEY,),
    ),
    Attack(
        "7a", "a key for two attempts, answered twice", key_used_twice, Party.CLIENT, Reason.KEY_USED,
        conspirators="1 client",
    ),
    Attack(
        "7b", "a key for two attempts, updates carried over", old_commitments, Party.HOLDER, Reason.WRONG_DESCRIPTION,
        also=(Reason.KEY_USED,), conspirators="1 client",
    ),
    Attack(
        "7c", "a key for two attempts, other clients", key_used_by_others, Party.HOLDER, Reason.KEY_USED,
        conspirators="2 clients",
    ),
    Attack(
        "20", "another federation's description", foreign_federation, Party.CLIENT, Reason.WRONG_FEDERATION,
        also=(Reason.KEY_CERTIFICATE, Reason.UNKNOWN_KEY),
    ),
    Attack(
        "22", "an expired key, its shares stolen", expired_key, Party.CLIENT, Reason.KEY_EXPIRED,
        assumed="enough holders lost their shares of it",
    ),
    Attack(
        "23a", "a weak key: 128 bits", short_key, Party.CLIENT, Reason.BAD_KEY,
        setting=Setting(insecure_demo_keys=False),
    ),
    Attack(
        "23b", "a weak key: a factor below 2^20", divisible_key, Party.CLIENT, Reason.BAD_KEY,
        also=(Reason.UNKNOWN_KEY,), around=unchecked_arithmetic,
        assumed="the registrar signed it", control_note="and no check in the encryption itself",
    ),
    Attack(
        "23c", "no key: nothing is encrypted", nothing_encrypted, Party.CLIENT, Reason.BAD_KEY,
        also=(Reason.KEY_CERTIFICATE, Reason.UNKNOWN_KEY),
    ),
)  # fmt: skip
