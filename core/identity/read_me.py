"""READ-ME.txt, for the person who has a party's folder."""

from __future__ import annotations

from core.identity.members import Role
from core.identity.party import Card

README, POLICY_FILE = "READ-ME.txt", "policy.toml"
_TASKS = {
    Role.SERVER: "the server: it leads the rounds and adds updates that it cannot read",
    Role.KEYHOLDER: "a key holder: it lends its share of a round's key to open the sum of a whole cohort",
    Role.CLIENT: "a client: it trains on data of its own",
    Role.OBSERVER: "an observer: it may watch how a run goes on, and do nothing else",
}


def read_me(card: Card) -> str:
    """READ-ME.txt of a party's folder."""
    policy = (
        f"{POLICY_FILE} may be added, to say what {card.name} agrees to whatever the server says, for instance\n"
        "    min-cohort = 10\n    min-key-bits = 3072\n    min-noise = 1.0\n"
    ) * (card.role in (Role.KEYHOLDER, Role.CLIENT))
    shares = "shares/ is for this holder's shares of round keys.\n" * (card.role is Role.KEYHOLDER)
    return (
        f"Anyone with this folder and its passphrase can act as {card.name} of federation {card.federation}:\n"
        f"{_TASKS[card.role]}.\n\n"
        "keys.enc holds the private keys, under the passphrase. Give neither away; ask the registrar to revoke\n"
        f"{card.name} if another person may have had both.\n"
        f"{shares}{policy}"
        "roster.json is the list of members. The server hands on a newer one that the registrar has signed. If the\n"
        "registrar sends you one, put it in the place of the old one; nothing needs to be started again. Do not put\n"
        "an older one back.\n"
        "party.json has the server's address, which may be changed; only the right certificate is believed there.\n"
    )
