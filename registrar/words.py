"""The texts for people: READ-ME.txt in a party's folder, WHO-GETS-WHAT.txt next to all of them."""

from __future__ import annotations

from core.identity.members import Member, Role, Roster
from core.identity.party import Card
from core.settings.policy_file import FILE as POLICY_FILE

_TASKS = {
    Role.SERVER: "the server: it leads the rounds and adds updates that it cannot read",
    Role.KEYHOLDER: "a key holder: it lends its share of a round's key to open the sum of a whole cohort",
    Role.CLIENT: "a client: it trains on data of its own",
}


def read_me(card: Card) -> str:
    """READ-ME.txt of a party's folder."""
    policy = (
        f"{POLICY_FILE} may be added, to say what {card.name} agrees to whatever the server says, for instance\n"
        "    min-cohort = 10\n    min-key-bits = 3072\n    min-noise = 1.0\n"
    ) * (card.role is not Role.SERVER)
    shares = "shares/ is for this holder's shares of round keys.\n" * (card.role is Role.KEYHOLDER)
    return (
        f"Anyone with this folder and its passphrase can act as {card.name} of federation {card.federation}:\n"
        f"{_TASKS[card.role]}.\n\n"
        "keys.enc holds the private keys, under the passphrase. Give neither away; ask the registrar to revoke\n"
        f"{card.name} if another person may have had both.\n"
        f"{shares}{policy}"
        "roster.json is the list of members. When the registrar sends a new one, put it in the place of the old one;\n"
        "nothing needs to be started again. Do not put an older one back.\n"
        "party.json has the server's address, which may be changed; only the right certificate is believed there.\n"
        "The keys were made by the registrar, who is trusted to have kept no copy.\n"
    )


def who_gets_what(roster: Roster) -> str:
    """WHO-GETS-WHAT.txt of a federation's folder."""
    lines = [f"  {'folder':<24} {'passphrase':<36} operator", *(_row(member) for member in roster.members)]
    table = "\n".join(lines)
    holders, clients = _count(len(roster.holders), "key holder"), _count(len(roster.clients), "client")
    return f"""\
Federation {roster.federation}: a server, {holders}, {clients}. Roster version {roster.version}.
To open a sum, {roster.threshold} of {len(roster.holders)} must agree.

HAND OVER, a folder and its passphrase by two different ways:

{table}

THEN DELETE here, in copies and backups too, every folder and passphrase that was handed over: anyone with both is
that party. All keys were made here, so the parties trust the person who ran this to have kept none.

KEEP registrar/ and passphrases/registrar, apart from each other and on no machine with a network. Whoever has both
can invent members and deal key shares.

ONE HAND SHOULD NOT HAVE
  the server and {_count(roster.threshold, "key holder")}: it could open every client's own update;
{_second_sum(roster)}\
  {_count(roster.threshold, "key holder")} without the server: the same, of all updates they are shown;
  the registrar and the server: it could invent clients around a victim, or deal the key shares to itself.
Everything on one machine shows how it works, and protects no one from the owner of that machine.
{_shared(roster)}
WHEN THE ROSTER CHANGES send registrar/roster.json, which is no secret, to every party: it takes the place of the
roster.json in its folder. Until a party has the new one, it still trusts revoked members.
"""


def _row(member: Member) -> str:
    state = " (revoked)" * member.revoked
    return f"  {member.name + '/':<24} {'passphrases/' + member.name:<36} {member.operator}{state}".rstrip()


def _shared(roster: Roster) -> str:
    several = {who: names for who, names in roster.operators().items() if len(names) > 1}
    if not several:
        return "According to the roster, no operator runs two of them.\n"
    return "".join(
        f"According to the roster, {who or 'an unnamed operator'} runs {', '.join(n)}.\n" for who, n in several.items()
    )


def _second_sum(roster: Roster) -> str:
    enough = roster.opened_once_against + 1
    if enough >= roster.threshold:
        return ""
    few = _count(enough, "key holder")
    return f"  the server, a client and {few}: it could have a second sum of one round opened, and read an update;\n"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
