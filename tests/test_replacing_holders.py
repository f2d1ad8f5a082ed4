"""A key holder that is gone for good is replaced; a run goes on with the others, and picks the new one up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from federations import SmallFederation
from in_process import BITS, RULES, SpamFederation, Start
from refusals import refused_with
from templates import Shape, copy_federation

from core.clock import today
from core.errors import Reason, SettingsError
from core.identity.members import Member, Role, Roster
from core.identity.party import load_identity
from core.share_files import share_paths
from keyholder.session import HolderSession
from registrar.dealer import Dealer
from registrar.federation import revoke
from registrar.folder import load_registrar, reserve_serials
from registrar.replacing import replace_holder
from server import states
from simulation.party import Party

FOUR = replace(RULES, holders=4, threshold=3, rounds=3)
NOW = datetime.now(UTC)


def deal(folder: Path, count: int, scheme: str = "plain") -> list[int]:
    registrar = load_registrar(folder)
    dealer = Dealer(registrar.roster, registrar.signing, folder.joinpath, today())
    return list(dealer.deal(reserve_serials(registrar, count), count, scheme, BITS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy_federation(Shape(3, 3, 2, "plain", BITS, 4), tmp_path / "federation")
    return tmp_path / "federation"


def test_the_new_holder_has_the_number_of_the_old_one_which_is_revoked(folder: Path) -> None:
    changed, name = replace_holder(folder, "keyholder-3", now=NOW)
    assert name == "keyholder-3-2"
    roster = changed.roster
    assert [holder.name for holder in roster.holders] == ["keyholder-1", "keyholder-2", "keyholder-3-2"]
    assert [holder.name for holder in roster.former_holders] == ["keyholder-3"]
    assert roster.member("keyholder-3").revoked
    assert (roster.threshold, roster.retired_keys) == (2, 4)
    identity = load_identity(folder / name)
    assert (identity.role, identity.number) == (Role.KEYHOLDER, 3)
    again, third = replace_holder(folder, name, "ada", now=NOW)
    assert [holder.name for holder in again.roster.holders] == ["keyholder-1", "keyholder-2", "ada"]
    assert third == "ada"


def test_who_cannot_be_replaced_is_said(folder: Path) -> None:
    with pytest.raises(SettingsError, match="client-1 is no key holder that can be replaced; those are keyholder-1, "):
        replace_holder(folder, "client-1", now=NOW)
    with pytest.raises(SettingsError, match="client-2 is or was a member already"):
        replace_holder(folder, "keyholder-1", "client-2", now=NOW)
    replace_holder(folder, "keyholder-1", now=NOW)
    with pytest.raises(SettingsError, match="keyholder-1 is no key holder that can be replaced"):
        replace_holder(folder, "keyholder-1", now=NOW)
    with refused_with(Reason.NOT_IN_ROSTER):
        replace_holder(folder, "keyholder-9", now=NOW)


def test_keys_are_dealt_to_all_who_are_left_after_a_revocation_and_to_the_new_one_after_a_replacement(
    folder: Path,
) -> None:
    def shares(name: str) -> int:
        return len(share_paths(folder / name / "shares"))

    revoke(folder, "keyholder-3")
    deal(folder, 1)
    assert [shares(f"keyholder-{number}") for number in (1, 2, 3)] == [5, 5, 4]
    _, new = replace_holder(folder, "keyholder-3", now=NOW)
    deal(folder, 1)
    assert [shares(name) for name in ("keyholder-1", "keyholder-2", "keyholder-3", new)] == [6, 6, 4, 1]
    revoke(folder, "keyholder-1")
    revoke(folder, "keyholder-2")
    with pytest.raises(SettingsError, match="1 key holders are not revoked, and 2 are needed"):
        deal(folder, 1)


def test_a_roster_in_which_a_replaced_holder_is_not_revoked_contradicts_itself() -> None:
    def member(name: str, number: int, role: Role = Role.KEYHOLDER, *, revoked: bool = False) -> Member:
        return Member(name, role, number, bytes(32), bytes(32) if role is Role.KEYHOLDER else b"", revoked=revoked)

    server = member("server", 1, Role.SERVER)
    for revoked in (True, False):
        members = (server, member("old", 1, revoked=revoked), member("new", 1))
        if revoked:
            assert [holder.name for holder in Roster("0" * 16, 1, 1, members).holders] == ["new"]
        else:
            with pytest.raises(SettingsError, match="old was replaced as key holder 1, and is not revoked"):
                Roster("0" * 16, 1, 1, members)


def test_retired_keys_are_neither_offered_nor_begun_with(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", holders=3, threshold=2, clients=2)
    federation.deal(2)
    holder = federation.key_holder(1, tmp_path / "h")
    (first, *_) = offered = holder.unused_keys("paillier", 256)
    assert len(offered) == 2
    replace_holder(tmp_path / "federation", "keyholder-3", now=NOW)
    assert holder.unused_keys("paillier", 256) == []
    certificate = holder.verifier.verify_key(first, today())
    with refused_with(Reason.KEY_EXPIRED, "was retired when a key holder was replaced"):
        holder.verifier.verify_key_in_use(certificate)
    holder.destroy_old_shares()
    assert holder.shares.dealt() == []
    federation.close()


# ------------------------------------------------------------------------------------------------ in a run


async def replaced(federation: SpamFederation, name: str) -> str:
    """Replace a holder that is gone, deal new keys, and start the new one."""
    _, new = replace_holder(federation.members, name, now=NOW)
    deal(federation.members, 4)
    identity = load_identity(federation.members / new)
    federation.identities = {**federation.identities, new: identity}
    federation.holders[new] = Party[HolderSession](federation, identity, partial(federation.new_holder, identity))
    return new


@pytest.mark.parametrize("phase", [states.Committing, states.Closing, states.Uploading, states.Releasing])
async def test_a_run_goes_on_while_a_holder_is_replaced_and_the_new_one_takes_part(
    start: Start, phase: type[states.Attempted]
) -> None:
    federation = await start(FOUR)
    await federation.play(lambda: len(federation.run.results) == 1 and isinstance(federation.phase, phase))
    await federation.holders["keyholder-2"].stop()
    new = await replaced(federation, "keyholder-2")
    await federation.finish()
    kinds = [kind for _, kind, _ in federation.holders[new].session.holder.ledger.entries()]
    assert {"start", "list"} <= set(kinds)
    assert [result.contributors for result in federation.run.results] == [3, 3, 3]


async def test_holders_that_cannot_start_because_one_is_gone_start_when_it_is_replaced(start: Start) -> None:
    """At 3 of 4 all three others must vouch: with one gone for good, one that is killed waits for its replacement."""
    federation = await start(FOUR)
    await federation.play(lambda: len(federation.run.results) == 1 and isinstance(federation.phase, states.Committing))
    await federation.holders["keyholder-2"].stop()
    await federation.holders["keyholder-3"].restart()
    await federation.settle()
    assert "keyholder-3 waits for others to vouch for its ledger" in federation.run.waiting_for or isinstance(
        federation.phase, states.Closing | states.Uploading
    )
    await replaced(federation, "keyholder-2")
    await federation.finish()
