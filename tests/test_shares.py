"""A holder's folder of shares: only its own shares of certified keys leave it, and a used one is gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from federations import SmallFederation, small_federation
from refusals import refused_with

from core.errors import Reason, StorageError
from core.identity.sealing import seal
from core.share_files import share_name, write_share
from core.wire import federation_pb2 as pb
from core.wire.messages import certificate_from_bytes
from keyholder.shares import Shares
from registrar.dealing import deal

federation = small_federation(clients=1)


def folder(federation: SmallFederation, number: int = 1) -> Path:
    return federation[f"keyholder-{number}"].folder / "shares"


def shares(federation: SmallFederation, number: int = 1) -> Shares:
    return Shares(federation[f"keyholder-{number}"])


def test_each_holder_opens_its_own_share_of_a_dealt_key(federation: SmallFederation) -> None:
    certificate = certificate_from_bytes(federation.deal()[0].body)
    for number in (1, 2, 3):
        share = shares(federation, number).open(certificate)
        assert (share.holder, share.threshold, share.holders) == (number, 2, 3)
        assert share.public_key == certificate.key


def test_new_files_are_noticed_and_listed_by_serial_number(federation: SmallFederation) -> None:
    seen = shares(federation)
    before = [key.certificate.serial for key in seen.dealt()]
    dealt = [certificate_from_bytes(key.body).serial for key in federation.deal(2)]
    assert [key.certificate.serial for key in seen.dealt()] == [*before, *dealt]


def test_files_are_for_their_owner_only(federation: SmallFederation) -> None:
    federation.deal()
    assert {path.stat().st_mode & 0o777 for path in folder(federation).iterdir()} == {0o600}


def test_a_share_of_another_key_of_the_same_number_is_not_this_keys(federation: SmallFederation) -> None:
    certificate = certificate_from_bytes(federation.deal()[0].body)
    seen = shares(federation)
    assert seen.has(certificate)
    for other in (
        replace(certificate, key=replace(certificate.key, modulus=certificate.key.modulus + 2)),
        replace(certificate, expires_day=certificate.expires_day + 1),
        replace(certificate, serial=999),
    ):
        assert not seen.has(other)
        with refused_with(Reason.UNKNOWN_KEY):
            seen.open(other)


def test_another_holders_share_does_not_open(federation: SmallFederation) -> None:
    certificate = certificate_from_bytes(federation.deal()[0].body)
    name = share_name(certificate.serial)
    (folder(federation) / name).write_bytes((folder(federation, 2) / name).read_bytes())
    with refused_with(Reason.UNKNOWN_KEY, "cannot be used: .*does not open with this key"):
        shares(federation).open(certificate)


def test_a_share_that_was_sealed_for_another_key_does_not_open(federation: SmallFederation) -> None:
    """The seal is bound to the certificate it came with."""
    first, second = federation.deal(2)
    paths = [folder(federation) / share_name(certificate_from_bytes(key.body).serial) for key in (first, second)]
    messages = [pb.DealtShare.FromString(path.read_bytes()) for path in paths]
    messages[0].sealed = messages[1].sealed
    paths[0].write_bytes(messages[0].SerializeToString())
    with refused_with(Reason.UNKNOWN_KEY):
        shares(federation).open(certificate_from_bytes(first.body))


def test_a_share_that_a_careless_dealer_mixed_up_is_refused(federation: SmallFederation) -> None:
    """Sealed to this holder under this certificate, but another holder's share, or of another key."""
    signed = federation.deal()[0]
    certificate = certificate_from_bytes(signed.body)
    sealing_key = federation.roster.holders[0].sealing_key
    other = deal("paillier", 256, 2, 3)
    for share in (shares(federation, 2).open(certificate), other.shares[0]):
        write_share(folder(federation), certificate.serial, signed, seal(sealing_key, share.to_bytes(), signed.body))
        with refused_with(Reason.UNKNOWN_KEY):
            shares(federation).open(certificate)


def test_a_destroyed_share_is_overwritten_gone_and_cannot_be_opened(federation: SmallFederation) -> None:
    certificate = certificate_from_bytes(federation.deal()[0].body)
    seen, path = shares(federation), folder(federation) / share_name(certificate.serial)
    (path.parent / "kept").unlink(missing_ok=True)
    (path.parent / "kept").hardlink_to(path)
    seen.destroy(certificate.serial)
    assert not path.exists()
    assert set((path.parent / "kept").read_bytes()) == {0}, "what is left on the disk says nothing"
    (path.parent / "kept").unlink()
    assert not seen.has(certificate)
    with refused_with(Reason.UNKNOWN_KEY):
        seen.open(certificate)
    seen.destroy(certificate.serial)  # after a crash in between, again


def test_a_share_that_cannot_be_destroyed_is_one_sentence(
    federation: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_from_bytes(federation.deal()[0].body)

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("keyholder.shares.os.fsync", fails)
    with pytest.raises(StorageError, match="the used share .* cannot be destroyed: Input/output error"):
        shares(federation).destroy(certificate.serial)


@pytest.mark.parametrize("content", [b"", b"not a share", b"\xff" * 100, bytes(1 << 17)])
def test_files_that_are_no_shares_are_left_alone(federation: SmallFederation, content: bytes) -> None:
    certificate = certificate_from_bytes(federation.deal()[0].body)
    stray = folder(federation) / "99999999.share"
    stray.write_bytes(content)
    (folder(federation) / "notes.txt").write_text("mine")
    seen = shares(federation)
    assert seen.has(certificate)
    assert 99999999 not in [key.certificate.serial for key in seen.dealt()]
    assert seen.open(certificate).holder == 1
    stray.unlink()


def test_a_damaged_file_never_gives_another_share(federation: SmallFederation) -> None:
    """The dealer's signature is not looked at here (core.checks does that); everything else is."""
    signed = federation.deal()[0]
    certificate = certificate_from_bytes(signed.body)
    path = folder(federation) / share_name(certificate.serial)
    raw, exponent = path.read_bytes(), shares(federation).open(certificate).exponent
    signature = range(raw.index(signed.signature), raw.index(signed.signature) + 64)
    for place in range(0, len(raw), 5):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        if place in signature:
            assert shares(federation).open(certificate).exponent == exponent
        else:
            with refused_with(Reason.UNKNOWN_KEY):
                shares(federation).open(certificate)
