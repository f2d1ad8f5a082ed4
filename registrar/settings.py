"""What the registrar's programs are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from core.identity import certificates
from core.secagg.scheme import DEFAULT_KEY_BITS, PAILLIER
from core.settings.common import HOLDERS, THRESHOLD, InsecureDemoKeys, KeyBits, SchemeName
from core.settings.setting import Bounds, Setting, Settings
from registrar.federation import DEFAULT_ADDRESS, MOST_CLIENTS

PassphraseFile = Annotated[Path | None, Setting("File with the registrar's passphrase.", "file")]
Years = Annotated[int, Setting("How long certificates are good.", "years")]


@dataclass(frozen=True, kw_only=True)
class InitSettings(Settings):
    """A new federation."""

    clients: Annotated[int, Setting("How many clients.", "clients", Bounds(at_least=1, at_most=MOST_CLIENTS))]
    holders: Annotated[int, HOLDERS] = 3
    threshold: Annotated[int, THRESHOLD] = 2
    address: Annotated[str, Setting("Where the server will be.", "HOST:PORT")] = DEFAULT_ADDRESS
    operator: Annotated[list[str] | None, Setting("Who runs a party; may be repeated.", "NAME=WHO")] = None
    client_prefix: Annotated[str, Setting("Clients are named PREFIX-1, PREFIX-2, ...")] = "client"
    holder_prefix: Annotated[str, Setting("Key holders are named PREFIX-1, PREFIX-2, ...")] = "keyholder"
    years: Years = certificates.YEARS
    if_missing: Annotated[bool, Setting("Leave a federation that is there as it is; fill folders that are.")] = False


@dataclass(frozen=True, kw_only=True)
class DealSettings(Settings):
    """Round keys to deal."""

    keys: Annotated[
        int, Setting("How many round keys; each attempt takes one.", "keys", Bounds(at_least=1, at_most=100_000))
    ] = 20
    scheme: SchemeName = PAILLIER
    key_bits: KeyBits = DEFAULT_KEY_BITS
    top_up: Annotated[bool, Setting("Deal only as many as are missing until --keys of them are unused.")] = False
    insecure_demo_keys: InsecureDemoKeys = False
    passphrase_file: PassphraseFile = None
