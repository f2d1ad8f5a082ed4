"""More rounds than a client's data may cost in privacy, and a client that has lost its record of them.

Each round is private, and of each the attacker learns a little more about the victim: what it gets is an epsilon above
the one that the honest parties allow.
"""

from __future__ import annotations

from functools import partial

from core.errors import Reason
from core.privacy.composition import epsilon_of_cost
from core.privacy.mechanism import Privacy
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.attacks.models import honest_round
from experiments.cheating_server.honest import Setting
from experiments.cheating_server.loot import Loot, Overspent
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import HONEST

PRIVACY = Privacy(clip_norm=4.0, noise_multiplier=1.0, delta=1e-5, max_colluders=1)
ALLOWED = 6.0
"""One round costs an epsilon of 5.53 (two of three add noise), two cost 8.5."""
LIMITED = Setting(max_epsilon=ALLOWED)
HOLDERS_LIMIT = Setting(holders_max_epsilon=ALLOWED)


def one_round_more(attacker: Attacker, *, lose_budgets: bool = False) -> Loot:
    """Run a private round by the rules, and then another one; the clients may have lost their budgets in between."""
    attacker.privacy = PRIVACY
    closed, opened, _, after = honest_round(attacker)
    attacker.rogue.served.opened = opened
    attacker.endorse(closed, HONEST, after)
    if lose_budgets:
        attacker.rogue.end_for(HONEST)
        attacker.restart_clients(HONEST, forget=True, lose_budgets=True)
        attacker.rogue.hear("here", HONEST)
    second = attacker.describe(attacker.ask_key(), number=2, model=after)
    attacker.read_sum(attacker.full_list(second, HONEST), HONEST)
    cost = sum(each.description.cost(PRIVACY.max_colluders) for each in (closed.round, second))
    return Overspent.of_epsilon(epsilon_of_cost(cost, PRIVACY.delta), ALLOWED)


ATTACKS = (
    Attack(
        "33a", "more rounds than a client's budget allows", one_round_more, Party.CLIENT, Reason.BUDGET_SPENT,
        setting=LIMITED, keys=3,
    ),
    Attack(
        "33b", "more rounds than key holders allow a client", one_round_more, Party.HOLDER, Reason.BUDGET_SPENT,
        setting=HOLDERS_LIMIT, keys=3,
    ),
    Attack(
        "34", "more rounds, when clients have lost their budgets", partial(one_round_more, lose_budgets=True),
        Party.HOLDER, Reason.STALE_MEMORY, setting=LIMITED, also=(Reason.BUDGET_SPENT,),
        assumed="clients' folders are restored from old copies", keys=3,
    ),
)  # fmt: skip
