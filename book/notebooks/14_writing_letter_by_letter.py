# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 14: writing letter by letter
#
# A network that reads step by step passes a state through the same weights again and again, and the blame passes back
# through them as often. Ten steps can leave nothing of it, or far too much. The LSTM is a cell built to keep it alive.

# %%
import numpy as np

from book.generation import generate, greedy, sampler
from book.pictures import curves, gradient_norms, input_gradient_norms
from core.data.characters import CharacterVocabulary, bptt_chunks
from core.data.made_up_text import generated_speeches
from core.losses import cross_entropy
from core.metrics import perplexity
from core.nn import LSTM, RNN, Embedding, Linear, Module
from core.optim import Adam, clip_grad_norm_
from core.tensor import Tensor, no_grad

# %% [markdown]
# ## Gradients that vanish and explode
#
# Send a state of two numbers ten times through the matrix [[1, 4], [4, 1]] and an activation. How much does the end
# change with the state at each earlier step? The sigmoid is nearly flat here and takes most of it away each time.
# Relu, where it is open, takes nothing away, and the matrix makes it five times larger with each step back.


# %%
def gradients_by_step(activation):
    states = [Tensor([1.0, 0.01], requires_grad=True).sigmoid()]
    for _ in range(10):
        states[-1].retain_grad()
        states.append(getattr(states[-1] @ np.array([[1.0, 4.0], [4.0, 1.0]]), activation)())
    states[-1].backward(np.ones(2))
    return [state.grad[0] for state in states[:-1]]


through_time = {name: gradients_by_step(name) for name in ("sigmoid", "relu")}
print({name: [f"{gradient:.2g}" for gradient in gradients] for name, gradients in through_time.items()})
gradient_norms(through_time, ylabel="gradient")

# %% [markdown]
# Read from right to left, the way the blame goes. With sigmoid the beginning may be decisive, the weights hear nothing
# of it. With relu they hear so much that one step of learning throws them far off; against that `clip_grad_norm_`
# helps: it shortens a gradient that is too long and keeps its direction.
#
# ## A cell that can keep
#
# The plain cell makes a new state at every step: tanh of the input times weights plus the old state times weights. The
# LSTM has a second state, which it only changes by gates: *forget* says what share of it stays, *input* how much of
# the new is added, *output* how much is shown. Where the forget gate is near 1, what was stored stays, and blame
# passes back nearly unharmed. Three untrained cells with small weights from state to state; in the last the forget
# gates are pushed open.

# %%
rng = np.random.default_rng(1)
layers = {"RNN": RNN, "LSTM": LSTM, "LSTM, forget gates open": LSTM}
cells = {name: layer(16, 48, rng=rng).cell for name, layer in layers.items()}
cells["LSTM, forget gates open"].input_map.bias.data[48:96] = 4  # the second quarter are the forget gates
for cell in cells.values():
    cell.hidden_map.weight.data *= 0.5
noise = rng.standard_normal((30, 8, 16))
gradient_norms({name: input_gradient_norms(cell, noise) for name, cell in cells.items()})

# %% [markdown]
# What the end feels of the first of 30 inputs is lost in the first two, and clearly there in the third. Training
# decides which gates open, and when.
#
# ## A text, cut into pieces
#
# A play made up by the project. (A public one: `python -m book.data.fetch shakespeare --to data`, then
# `read_characters("data/tinyshakespeare.txt")` from `core.data.characters`.) Every character gets a number; the end is
# kept to judge by.

# %%
text = "\n".join(speech.text for speech in generated_speeches(60, seed=1))
vocabulary = CharacterVocabulary(text[:9000])
numbers = vocabulary.encode(text)
training, held_out = numbers[:9000], numbers[9000:]
print(len(text), "characters,", vocabulary.size, "different ones:", text[:155])

# %% [markdown]
# One graph over thousands of steps would be slow and need much memory, so the text is cut into 16 streams that are
# read side by side, and each stream into chunks of 20 steps. From chunk to chunk the state's *value* is carried on,
# its gradient is cut with `detach()`: the network remembers further back than it is taught. RNN and LSTM then get the
# same to read, the same layers before and after, and Adam with clipped gradients.

# %%
inputs, targets = bptt_chunks(training, streams=16, steps=20)
print("chunks, streams, steps:", inputs.shape)
print("read", repr(vocabulary.decode(inputs[0, 0])), "foretell", repr(vocabulary.decode(targets[0, 0])))


# %%
class NextCharacter(Module):
    def __init__(self, layer, rng):
        self.embedding = Embedding(vocabulary.size, 16, rng=rng, dtype=np.float32)
        self.recurrent = layer(16, 48, rng=rng, dtype=np.float32)
        self.output = Linear(48, vocabulary.size, rng=rng, dtype=np.float32)

    def forward(self, numbers, state=None):
        states, last = self.recurrent.read_rows(self.embedding.weight, numbers, state)
        return self.output(states), last


def measure(model):
    with no_grad():
        return perplexity(cross_entropy(model(held_out[:-1, None])[0], held_out[1:, None]).item())


models = {"RNN": NextCharacter(RNN, np.random.default_rng(1)), "LSTM": NextCharacter(LSTM, np.random.default_rng(1))}
courses = {}
for name, model in models.items():
    optimiser = Adam(model.parameters(), lr=0.01)
    courses[name] = []
    for _ in range(8):
        state = None
        for read, following in zip(inputs, targets, strict=True):
            logits, last = model(read.T, state)
            state = last.detach() if name == "RNN" else (last[0].detach(), last[1].detach())
            optimiser.zero_grad()
            cross_entropy(logits, following.T).backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        courses[name].append(measure(model))
    print(name, "perplexity on the part kept:", [round(value, 2) for value in courses[name]])
curves(courses, "pass", "perplexity on the part kept")

# %% [markdown]
# In so regular a play both cells become sure of nearly every letter, and need no long memory for it; real choices are
# left where a new word begins. What an LSTM is worth shows on longer and richer texts.
#
# ## Writing
#
# Give the network a beginning, let it foretell the next character, and feed it what was chosen. Always the likeliest
# is safe and dull; drawing by the chances is livelier. A temperature below 1 sharpens them first, one above 1 evens
# them out.


# %%
def step(number, state):
    with no_grad():
        logits, last = models["LSTM"]([[number]], state)
    return logits.data[0, 0], last


beginning = vocabulary.encode("Good my lord, i ").tolist()
ways = {"likeliest": greedy} | {f"temperature {t}": sampler(np.random.default_rng(1), t) for t in (0.5, 1.0, 2.0)}
for name, choose in ways.items():
    print(f"{name:15}", repr(vocabulary.decode(generate(step, beginning, 90, choose))))

# %% [markdown]
# *Try:* another beginning, or one the play never has. Train with the state set to `None` for every chunk: what becomes
# of the perplexity? Leave the clipping out, and then set the rate to 0.1.
