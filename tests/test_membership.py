"""A newer roster reaches everyone through the aggregator, from any party; an older or forged one is not taken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from federations import SmallFederation
from in_process import RULES, SpamFederation, Start
from refusals import refused_with
from structlog.testing import capture_logs

from client.session import ClientSession
from core.errors import DataError, Reason, StorageError
from core.identity import roster as roster_module
from core.identity.party import load_identity
from core.identity.roster import LARGEST_ROSTER, Roster, RosterFile, sign_roster
from core.identity.signing import SigningKey
from core.protocol import digest
from core.wire import federation_pb2 as pb
from core.wire.calls import Conversation, Download, Upload
from core.wire.membership import RosterExchange, offer
from registrar.federation import add_member, revoke
from registrar.folder import load_registrar
from server import states
from simulation.party import Party

NOW = datetime.now(UTC)


def take_away_the_folders(federation: SpamFederation) -> None:
    """Let the registrar find no party's folder any more, as where each is on a machine of its own."""
    for name in federation.identities:
        (federation.members / name / "party.json").unlink()


def join_late(federation: SpamFederation, name: str) -> Party[ClientSession]:
    """Enrol one more client; no other party learns of it."""
    add_member(federation.members, name, now=NOW)
    identity = federation.identities[name] = load_identity(federation.members / name)
    party = Party[ClientSession](federation, identity, partial(federation.new_client, identity))
    federation.clients[name] = party
    return party


def versions(federation: SpamFederation) -> set[int]:
    """The versions of the roster that parties have in their files."""
    registrar = federation.identities["server"].registrar
    folders = [identity.folder for identity in federation.identities.values()]
    return {RosterFile(folder / "roster.json", registrar).current().version for folder in folders}


async def test_a_late_joiner_takes_part_from_the_next_round(start: Start) -> None:
    federation = await start(replace(RULES, rounds=2), scheme="paillier")
    take_away_the_folders(federation)
    await federation.play_until(states.Uploading)
    join_late(federation, "zoe")
    assert federation.roster.version == 1
    await federation.finish()
    assert [result.contributors for result in federation.run.results] == [3, 4]
    assert versions(federation) == {2}
    assert federation.refusals == []


async def test_a_roster_that_only_the_servers_file_has_reaches_everyone(start: Start) -> None:
    federation = await start(absent=["client-3"], gather=False)
    take_away_the_folders(federation)
    await federation.gather("keyholder-1", "client-1")
    new = revoke(federation.members, "client-3").roster
    raw = (federation.members / "registrar" / "roster.json").read_bytes()
    (federation.members / "server" / "roster.json").write_bytes(raw)
    federation.run.announce_roster()
    await federation.gather("keyholder-2", "keyholder-3", "client-2")
    await federation.settle()
    for name in ("client-1", "client-2", "keyholder-1", "keyholder-2", "keyholder-3"):
        assert federation.identities[name].roster.current() == new, name


async def test_a_party_with_a_newer_roster_than_the_aggregators_hands_it_on(start: Start) -> None:
    federation = await start(gather=False)
    take_away_the_folders(federation)
    new = revoke(federation.members, "client-3").roster
    raw = (federation.members / "registrar" / "roster.json").read_bytes()
    (federation.members / "keyholder-1" / "roster.json").write_bytes(raw)
    await federation.gather("client-1", "keyholder-1")
    await federation.settle("client-1", "keyholder-1")
    assert federation.roster == new
    assert federation.identities["client-1"].roster.current() == new


# ------------------------------------------------------------------------------------------------ what is not taken


async def offered(federation: SpamFederation, caller: str, raw: bytes, version: int) -> Any:
    header = pb.RosterHeader(version=version, length=len(raw), sha256=digest(raw))
    return await federation.call(caller, Upload("OfferRoster", pb.RosterOffer(header=header), raw))


async def test_the_aggregator_takes_only_what_the_registrar_signed_and_nothing_older(start: Start) -> None:
    federation = await start(gather=False)
    take_away_the_folders(federation)
    registrar, first = load_registrar(federation.members), federation.roster
    second = replace(first, version=2)
    good = sign_roster(second, registrar.signing)
    for raw, sentence in (
        (sign_roster(second, SigningKey.generate()), "not signed by this federation's registrar"),
        (sign_roster(replace(first, version=1, threshold=3), registrar.signing), "same version 1"),
        (sign_roster(replace(second, federation="f" * 16), registrar.signing), "of federation f{16}"),
        (b"{}", "does not fit"),
    ):
        with refused_with(Reason.BAD_SIGNATURE, sentence):
            await offered(federation, "client-1", raw, version=2)
    with refused_with(Reason.WRONG_LENGTH, f"at most {LARGEST_ROSTER}"):
        header = pb.RosterHeader(version=2, length=LARGEST_ROSTER + 1, sha256=bytes(32))
        await federation.call("client-1", Upload("OfferRoster", pb.RosterOffer(header=header), b""))
    assert federation.roster == first
    await offered(federation, "client-1", b"not even read", version=1)
    await offered(federation, "client-1", good, version=2)
    assert federation.roster == second
    await offered(federation, "client-1", good, version=2)
    assert versions(federation) >= {2}


async def test_who_offers_a_roster_must_be_a_member_by_it(start: Start) -> None:
    federation = await start(gather=False)
    take_away_the_folders(federation)
    join_late(federation, "zoe")
    revoke(federation.members, "zoe")
    raw = (federation.members / "registrar" / "roster.json").read_bytes()
    with refused_with(Reason.REVOKED):
        await offered(federation, "zoe", raw, version=3)
    without = load_registrar(federation.members)
    stranger = sign_roster(replace(federation.roster, version=4), without.signing)
    with refused_with(Reason.NOT_IN_ROSTER):
        await offered(federation, "zoe", stranger, version=4)
    assert federation.roster.version == 1


async def test_a_member_that_was_revoked_offers_nothing(start: Start) -> None:
    federation = await start(gather=False)
    raw = sign_roster(replace(federation.roster, version=9), load_registrar(federation.members).signing)
    federation.revoke("client-3")
    with refused_with(Reason.REVOKED):
        await offered(federation, "client-3", raw, version=9)


@pytest.fixture
def known(federation: SmallFederation, tmp_path: Path) -> tuple[RosterFile, Roster, SigningKey]:
    """A party's roster file, of version 2."""
    registrar = federation.registrar
    second = replace(registrar.roster, version=2)
    path = tmp_path / "roster.json"
    path.write_bytes(sign_roster(second, registrar.signing))
    return RosterFile(path, registrar.signing.public), second, registrar.signing


def handed(roster: RosterFile, raw: bytes, version: int) -> list[dict[str, Any]]:
    """What a party logs when an aggregator says that it has this version, and then hands over these bytes."""
    with capture_logs() as logs:
        conversation = Conversation(RosterExchange(roster).answer(version))
        assert isinstance(conversation.asking, Download)
        assert conversation.asking.limit == LARGEST_ROSTER
        conversation.reply((pb.PayloadHeader(), raw))
    assert conversation.asking is None
    return logs  # type: ignore[return-value]


async def test_a_party_goes_back_to_no_older_roster_and_takes_no_forged_one(
    known: tuple[RosterFile, Roster, SigningKey],
) -> None:
    roster, second, key = known
    for raw, why in (
        (sign_roster(replace(second, version=1), key), "has version 1; version 2 was seen before"),
        (sign_roster(replace(second, threshold=3), key), "same version 2"),
        (sign_roster(replace(second, version=3), SigningKey.generate()), "not signed"),
    ):
        [entry] = handed(roster, raw, version=3)
        assert (entry["log_level"], why in entry["why"]) == ("warning", True)
        assert roster.current() == second
    handed(roster, sign_roster(replace(second, version=3), key), version=3)
    assert roster.current().version == 3


async def test_a_party_says_nothing_where_both_have_the_same_roster(
    known: tuple[RosterFile, Roster, SigningKey],
) -> None:
    assert Conversation(RosterExchange(known[0]).answer(2)).asking is None
    exchange = RosterExchange(known[0])
    assert isinstance(Conversation(exchange.answer(1)).asking, Upload)
    assert Conversation(exchange.answer(1)).asking is None, "it is offered once"


async def test_a_roster_that_cannot_be_kept_is_in_force_until_the_end_of_the_process(
    known: tuple[RosterFile, Roster, SigningKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    roster, second, key = known

    def read_only(path: Path, *_: object) -> None:
        raise StorageError(f"{path} cannot be written: Read-only file system")

    monkeypatch.setattr(roster_module, "write_file", read_only)
    with capture_logs() as logs:
        assert roster.accept(sign_roster(replace(second, version=3), key))
    assert "Read-only file system" in logs[0]["why"]
    assert roster.current().version == 3
    assert offer(roster).header.header.version == 3
    with pytest.raises(DataError, match="version 3 was seen before"):
        roster.accept(sign_roster(second, key))


async def test_the_roster_that_the_aggregator_gives_is_the_one_in_force(start: Start) -> None:
    federation = await start(gather=False)
    federation.revoke("client-3")
    _, raw = await federation.call("client-1", Download("FetchRoster", pb.RosterRequest(), LARGEST_ROSTER))
    assert raw == (federation.members / "registrar" / "roster.json").read_bytes()
    with refused_with(Reason.REVOKED):
        await federation.call("client-3", Download("FetchRoster", pb.RosterRequest(), LARGEST_ROSTER))
