"""The cases of image-inversion: how a client trains, how many there are, and what is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from book.chapters.chapter_10 import KERNELS, SIZE, last_layer, with_channel
from book.run import Run
from core.data.mnist import DIGITS, SIDE
from core.errors import SettingsError
from core.nn import Conv2d, Flatten, Linear, Module, ReLU, Sequential, Tanh
from core.optim import SGD, Adam
from core.tasks.mnist import MNIST_MLP
from core.tasks.task import LocalTraining, Task

KERNEL_NETWORK = 0  # the width that stands for chapter 10's network
CLIP_NORM = 0.5
OPTIMISERS = {"SGD": (SGD, 0.1), "Adam": (Adam, 0.001)}


@dataclass(frozen=True)
class Case:
    """One way to train and to send. Raises SettingsError where nothing could be measured.

    Attributes:
        width: units of the dense layer, or KERNEL_NETWORK for 16 kernels, tanh and one dense layer.
        pictures: how many one client has.
        batch: how many of them one step looks at.
        clients: of whose updates the attacker sees the sum.
        passes: of local training.
        noise: on every weight of the sum, in multiples of each client's clip norm; 0 does not clip either.
        bits: of the encoding's values; 0 sends floats.
    """

    width: int = 100
    pictures: int = 1
    batch: int = 32
    clients: int = 1
    passes: int = 1
    optimiser: str = "SGD"
    noise: float = 0.0
    bits: int = 0

    def __post_init__(self) -> None:
        if self.width == KERNEL_NETWORK and self.clients > 1:
            raise SettingsError(
                f"the sum of {self.clients} clients behind kernels is that of a batch of as many; ask for that"
            )

    @property
    def seen(self) -> int:
        """Pictures behind what the attacker sees."""
        return self.pictures * self.clients

    @property
    def network(self) -> str:
        return "16 kernels, tanh, dense" if self.width == KERNEL_NETWORK else f"784-{self.width}-10"

    @property
    def training(self) -> str:
        steps = -(-self.pictures // self.batch) * self.passes
        return f"{self.optimiser}, {steps} step{'s' if steps > 1 else ''} of {min(self.batch, self.pictures)}"

    @property
    def defence(self) -> str:
        noise = f"norm clip {CLIP_NORM:g}, noise {self.noise:g} times that" if self.noise else ""
        return noise or (f"rounded to {self.bits} bits" if self.bits else "none")


def cases(run: Run) -> list[Case]:
    dense = [Case(width, pictures) for width in (32, 100, 300) for pictures in (1, 2, 4, 8, 16, 32)]
    steps = [Case(pictures=8, batch=1), Case(pictures=32, batch=1), Case(passes=10), Case(pictures=8, passes=10)]
    sums = [Case(clients=clients) for clients in (2, 8, 32, 100)]
    noise = [Case(noise=noise) for noise in (1e-5, 1e-4, 1e-3, 1e-2)]
    bits = [Case(bits=bits) for bits in (24, 16, 12, 8)]
    product = [Case(32, optimiser="Adam", bits=16), Case(32, 32, optimiser="Adam", bits=16)]
    kernels = [Case(KERNEL_NETWORK, pictures) for pictures in (1, 2, 4, 8, 16, 32)]
    guarded = [
        Case(KERNEL_NETWORK, bits=16),
        Case(KERNEL_NETWORK, noise=1e-3),
        Case(KERNEL_NETWORK, noise=1e-2),
        Case(KERNEL_NETWORK, optimiser="Adam", bits=16),
    ]
    few = [Case(), Case(pictures=8), Case(pictures=32), Case(clients=8), Case(noise=1e-3), Case(bits=16)]
    kernels_few = [Case(KERNEL_NETWORK), Case(KERNEL_NETWORK, 8), Case(KERNEL_NETWORK, bits=16)]
    return run.pick(dense + steps + sums + noise + bits + product + kernels + guarded, few + product + kernels_few)


def task_of(case: Case) -> Task:
    """Return the product's task for digits, with another network and optimiser."""

    def dense(rng: np.random.Generator) -> Module:
        first = Linear(SIDE * SIDE, case.width, rng=rng, dtype=np.float32)
        return Sequential(Flatten(), first, ReLU(), Linear(case.width, DIGITS, rng=rng, dtype=np.float32))

    def kernels(rng: np.random.Generator) -> Module:
        layer = Conv2d(1, KERNELS, SIZE, rng=rng, dtype=np.float32)
        return Sequential(with_channel, layer, Tanh(), Flatten(), last_layer(KERNELS * (SIDE - SIZE + 1) ** 2, rng))

    optimiser, rate = OPTIMISERS[case.optimiser]
    local = LocalTraining(rate, case.passes, case.batch, optimiser)
    return replace(MNIST_MLP, build=kernels if case.width == KERNEL_NETWORK else dense, local=local)
