"""Layers: small objects that hold parameters and turn tensors into tensors.

    >>> import numpy as np
    >>> from core.nn import Linear, ReLU, Sequential
    >>> rng = np.random.default_rng(1)
    >>> model = Sequential(Linear(3, 4, rng=rng), ReLU(), Linear(4, 1, rng=rng))
    >>> [name for name, parameter in model.named_parameters()]
    ['layers.0.weight', 'layers.0.bias', 'layers.2.weight', 'layers.2.bias']
    >>> model(np.ones((5, 3))).shape
    (5, 1)

A module's parameters are the `Parameter`s found by walking its attributes; nothing is registered. Layers that start
at random take the generator to draw from, and the dtype to work in.
"""

from core.nn.activations import Hardtanh, LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from core.nn.convolution import AvgPool2d, Conv2d, KernelPool, MaxPool2d, SumPool2d
from core.nn.dense import Dropout, Flatten, Linear, Sequential
from core.nn.embedding import Embedding, EmbeddingBag, nearest_rows
from core.nn.ensemble import Ensemble
from core.nn.module import Input, Module, Parameter
from core.nn.recurrent import LinearRecurrentCell, LSTMCell, RNNCell
from core.nn.sequence import LSTM, RNN

__all__ = [
    "LSTM",
    "RNN",
    "AvgPool2d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "EmbeddingBag",
    "Ensemble",
    "Flatten",
    "Hardtanh",
    "Input",
    "KernelPool",
    "LSTMCell",
    "LeakyReLU",
    "Linear",
    "LinearRecurrentCell",
    "MaxPool2d",
    "Module",
    "Parameter",
    "RNNCell",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SumPool2d",
    "Tanh",
    "nearest_rows",
]
