"""WHO-GETS-WHAT.txt, for the person who runs the registrar."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

from core.commands import command_of
from core.identity.members import Member, Roster
from core.who_reads import WhoReads


def who_gets_what(roster: Roster, here: Collection[str], min_cohort: int) -> str:
    """WHO-GETS-WHAT.txt of a federation's folder; `here` are the parties whose folders are in it."""
    reads = WhoReads(roster.threshold, len(roster.holders), min_cohort)
    holders, clients = _count(len(roster.holders), "key holder"), _count(len(roster.clients), "client")
    return f"""\
Federation {roster.federation}: a server, {holders}, {clients}. Roster version {roster.version}.
To open a sum, {roster.threshold} of {len(roster.holders)} must agree.

{_hand_over([member for member in roster.members if member.name in here])}\
{_own_keys([member.name for member in roster.members if member.name not in here])}\
KEEP registrar/ and passphrases/registrar, apart from each other and on no machine with a network, except while parties
enrol over it. Anyone with both can invent members and deal key shares.

WHO TOGETHER READS WHAT
{textwrap.fill(reads.sentence, 112)}

ONE HAND SHOULD NOT HAVE
  the server and {_count(roster.threshold, "key holder")}: it could open every client's own update;
{_second_sum(roster)}\
  {_count(roster.threshold, "key holder")} without the server: the same, of all updates they are shown;
  the registrar and the server: it could invent clients around a victim, or deal the key shares to itself.
Everything on one machine shows how it works, and protects no one from the owner of that machine.
{_shared(roster)}
WHEN THE ROSTER CHANGES give registrar/roster.json, which is no secret, to the server: it takes the place of the
roster.json in its folder, and the server hands it on to all parties that are connected. After a revocation send it to
every party yourself: a dishonest server could keep it back. Until a party has the new one, it still trusts revoked
members.
"""


def _hand_over(members: Sequence[Member]) -> str:
    if not members:
        return ""
    lines = [f"  {'folder':<24} {'passphrase':<36} operator", *map(_row, members)]
    table = "\n".join(lines)
    return f"""\
HAND OVER, a folder and its passphrase by two different ways:

{table}

THEN DELETE here, in copies and backups too, every folder and passphrase that was handed over: anyone with both is
that party. The keys in these folders were made on this machine, so their parties trust the person who runs it to have
kept none.

"""


def _own_keys(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"""\
MADE ELSEWHERE are the keys of {", ".join(names)}.
No one but these parties has them, and nothing has to be handed over but the answers to their requests.

"""


def who_is_invited(federation: str, threshold: int, guests: Sequence[tuple[str, str]]) -> str:
    """WHO-GETS-WHAT.txt of a federation that waits for its parties; `guests` are names and operators."""
    rows = [
        f"  {'invitation':<36} operator",
        *(f"  {f'invitations/{name}.invitation':<36} {who}" for name, who in guests),
    ]
    table = "\n".join(row.rstrip() for row in rows)
    registrar = command_of("registrar")
    return f"""\
Federation {federation} waits for its parties. Each makes its own keys, on its own machine. To open a sum,
{threshold} key holders will have to agree.

HAND OVER each invitation to the person who runs that party, in private: anyone with it can enrol in that person's
place, once. If that happens, the right person is refused, and says so to you.

{table}

It is used with `enroll`: over the network while `{registrar} serve` runs, or with files, which
`{registrar} admit FILE` answers. The first roster is signed when the server and all key holders have come.

ASK each person who runs a key holder whether it was admitted, and compare the registrar's key that `enroll` shows.

KEEP registrar/ and passphrases/registrar, apart from each other and on no machine with a network, except while parties
enrol over it. Anyone with both can invent members and deal key shares.
"""


def _row(member: Member) -> str:
    state = " (revoked)" * member.revoked
    return f"  {member.name + '/':<24} {'passphrases/' + member.name:<36} {member.operator}{state}".rstrip()


def _shared(roster: Roster) -> str:
    several = {who: names for who, names in roster.operators().items() if len(names) > 1}
    if not several:
        return "According to the roster, no operator runs two of them.\n"
    return "".join(f"According to the roster, {runs(who, names)}.\n" for who, names in several.items())


def runs(operator: str, names: Sequence[str]) -> str:
    """Return who runs several parties, as far as the registrar was told."""
    return f"{operator} runs {', '.join(names)}" if operator else f"no operator is stated for {', '.join(names)}"


def _second_sum(roster: Roster) -> str:
    enough = roster.opened_once_against + 1
    if enough >= roster.threshold:
        return ""
    few = _count(enough, "key holder")
    return f"  the server, a client and {few}: it could have a second sum of one round opened, and read an update;\n"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"
