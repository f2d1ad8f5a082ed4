"""SCAFFOLD: what its clients do, as pure functions (Karimireddy et al., ICML 2020, Algorithm 1 with option II).

    a client     y = x;  K times:  y = y - lr (g(y) - c_i + c)
                 c_i' = c_i - c + (x - y) / (K lr)
                 sends y - x and c_i' - c_i in one update, and keeps c_i' for its next round
    the server   x = x + eta mean(y - x);  c = c + |S| / N mean(c_i' - c_i)              (core/server_rules.py)

c_i is what the client's own gradients are on average, and c what those of all clients are: the difference is taken off
every step, so that clients with unlike data do not drift apart. Both vectors of an update are clipped and rounded on
the task's one scale. So a client keeps what it *sent*: c_i plus the rounded change. Then c is the mean of all c_i at
every time, and what was rounded or clipped away in one round is sent in the next.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from core.errors import SettingsError
from core.federated import LocalTrainer
from core.local_settings import LocalSettings
from core.optim import SGD
from core.privacy.mechanism import Privacy
from core.proven_bounds import shortened
from core.randomness import Rng
from core.secagg.encoding import Encoding
from core.server_rules import ServerModel, ServerRule
from core.tasks.task import LocalTraining, Task
from core.training import Dataset
from core.update import Update

FloatArray = npt.NDArray[np.float64]


def scaffold_update(
    trainer: LocalTrainer, start: ServerModel, own: FloatArray, data: Dataset, rng: Rng, local: LocalTraining
) -> Update:
    """Train from a model and its c with a client's own c_i, shape (values,).

    Returns:
        Both changes in one vector, shape (2 * values,): of the weights, and of c_i. The second is 0 for a client
        without examples, which takes no step.
    """
    update = trainer.update(start.model, data, rng, replace(local, correction=start.state - own))
    steps = local.batches(trainer.examples(data))
    change = -update.delta / (steps * local.learning_rate) - start.state if steps else np.zeros_like(own)
    return replace(update, delta=np.concatenate([update.delta, change]))


def control_after(encoding: Encoding, own: FloatArray, update: Update, largest_norm: float | None = None) -> FloatArray:
    """Return a client's c_i, shape (values,), once an update is in the sum: with its change as it was sent.

    Args:
        largest_norm: what the run shortens updates to, both changes together; None for nothing.
    """
    update = update if largest_norm is None else shortened(update, encoding, largest_norm)
    sent = encoding.quantise(update.delta)[len(own) :]
    return own + np.ldexp(sent.astype(np.float64), -encoding.fraction_bits)


def check_rule(
    rule: ServerRule, task: Task, asked: LocalSettings | None, *, privacy: Privacy | None = None, count_cap: int = 0
) -> None:
    """Raise SettingsError if clients cannot train as the server's rule needs it."""
    if rule.adapts_clip != (privacy is not None and privacy.count_noise is not None):
        raise SettingsError(
            "a clip that adapts takes --clip-quantile, --clip-norm, which is where it begins, and --noise-multiplier"
        )
    if not rule.corrects_clients:
        return
    if not rule.population:
        raise SettingsError(f"--rule {rule.name} counts the federation's clients; add --population, how many there are")
    local = task.local_in(asked, 1)
    wrong = {
        f"the task {task.name} trains by its own code, whose steps cannot be corrected": not task.trains_by_steps,
        "the run has privacy, whose noise is made for updates of one vector": privacy is not None,
        f"--count-cap is {count_cap}: c is the mean of clients that count alike": count_cap > 0,
        f"--prox-mu is {local.prox_mu:g}, another correction of the same steps": local.prox_mu > 0,
    }
    for sentence, holds in wrong.items():
        if holds:
            raise SettingsError(f"--rule {rule.name} cannot be used here: {sentence}; choose another --rule")
    if local.optimiser is not SGD:
        raise SettingsError(
            f"--rule {rule.name} corrects steps of plain gradient descent, and clients of the task {task.name} take "
            "others; add --optimiser sgd, with a --learning-rate that suits it"
        )
