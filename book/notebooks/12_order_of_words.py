# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 12: a matrix between the words
#
# A sum of word vectors does not know which word came first. Multiply the sum by a matrix before each further word is
# added, and it does. The matrix is learned like any other weights, and so a network can read sentences of any length.

# %%
from itertools import product

import numpy as np

from book.data.vocabulary import FrequentWords
from book.pictures import curves, word_map
from core.data.babi import words_of
from core.data.made_up_text import MOVES, PEOPLE, PLACES, generated_stories
from core.losses import cross_entropy
from core.metrics import correct_classes, perplexity
from core.nn import Embedding, Linear, LinearRecurrentCell, Module
from core.optim import Adam
from core.tasks.shakespeare import Sequences
from core.tensor import stack
from core.training import evaluate, train_epoch

# %% [markdown]
# ## What a sum loses
#
# Who defeated whom? Give each word a vector, add them up, and both reports are the same.

# %%
rng = np.random.default_rng(1)
vectors = {word: rng.integers(0, 10, 3) for word in ("yankees", "defeat", "red", "sox")}
for sentence in ("yankees defeat red sox", "red sox defeat yankees"):
    print(sentence, sum(vectors[word] for word in sentence.split()))

# %% [markdown]
# ## What a matrix keeps
#
# `LinearRecurrentCell` reads word after word: new state = old state times matrix, plus the word's vector. The matrix
# starts as the identity, which changes nothing, so reading is at first the plain sum.


# %%
def read(cell, inputs):
    state = cell.initial_state(1)
    for vector in inputs:
        state = cell(np.array([vector], float), state)
    return state.data[0]


cell = LinearRecurrentCell(3)
print("identity:", read(cell, [[2, 4, 6], [10, 10, 10], [1, 1, 1]]))
cell.transition.data[...] = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]  # moves every number one place to the right
for sentence in ("yankees defeat red sox", "red sox defeat yankees"):
    print(sentence, read(cell, [vectors[word] for word in sentence.split()]))

# %% [markdown]
# ## A language small enough to know by heart
#
# The stories made up by the project say who goes where. Of their sentences take those with five words: 4 people, 4
# ways to go, 6 places, each as likely as the others, so that just 4 * 4 * 6 = 96 sentences are possible. (The
# published stories, qa1_single-supporting-fact_train.txt of bAbI, are read by `read_stories` from `core.data.babi`.)

# %%
sentences = [words_of(statement.text) for story in generated_stories(60, seed=1) for statement in story.statements]
heard = [words for words in sentences if len(words) == 5]
possible = [words_of(f"{a} {goes} the {b}") for a, goes, b in product(PEOPLE, MOVES, PLACES) if goes != "went back to"]
vocabulary = FrequentWords(heard)
print(len(heard), "sentences heard,", len(possible), "possible;", vocabulary.size, "words with padding and unknown")

# %% [markdown]
# The task is to foretell every word from the words before it, the first one from nothing. *Perplexity* says as a
# number of choices how unsure a model is: 3 means as unsure as if one of three equally likely words were to come. Here
# the best possible guess is that each of the 96 sentences is equally likely. Five words with p choices each make p to
# the power 5 sentences, so that p, the fifth root of 96, is the floor: no model can go below it on all possible
# sentences.
#
# The model: word vectors of 10 numbers, the cell, and a linear layer that scores every word of the vocabulary from the
# state. The state before the first word is learned, too.


# %%
class NextWord(Module):
    def __init__(self, words, width, rng):
        self.embedding = Embedding(words, width, rng=rng)
        self.cell = LinearRecurrentCell(width)
        self.output = Linear(width, words, rng=rng)

    def forward(self, numbers):
        states = [self.cell.initial_state(len(numbers))]
        for column in numbers.T[:-1]:
            states.append(self.cell(self.embedding(column), states[-1]))
        return self.output(stack(states, axis=1))


def learn(model, sentences, judged, passes):
    optimiser = Adam(model.parameters(), lr=0.01)
    course = [perplexity(evaluate(model, judged, cross_entropy, correct_classes).mean_loss)]
    for _ in range(passes):
        train_epoch(model, sentences, cross_entropy, optimiser, batch_size=20, rng=rng)
        course.append(perplexity(evaluate(model, judged, cross_entropy, correct_classes).mean_loss))
    return course


def encoded(sentences):
    numbers = np.array([vocabulary.encode(words) for words in sentences])
    return Sequences(numbers, numbers)  # the same words to read and to foretell


model = NextWord(vocabulary.size, 10, rng)
course = learn(model, encoded(heard), encoded(possible), passes=20)
print("after training", round(course[-1], 3), "floor", round(96**0.2, 3))
curves({"all possible sentences": course, "floor": [96**0.2] * 21}, "pass", "perplexity", x=range(21))

# %% [markdown]
# The curve comes down close to the floor and stays above it. What does the model expect after a few words?

# %%
for beginning in ("", "mary", "mary went", "mary went to the"):
    numbers = vocabulary.encode([*beginning.split(), "mary"])[None]  # the last word is not read
    chances = model(numbers)[0, -1].softmax().data
    likeliest = np.argsort(-chances)[:6]
    said = [f"{vocabulary.words[number]} {chances[number]:.2f}" for number in likeliest if chances[number] > 0.02]
    print(f"{beginning or '(nothing)':17}", ", ".join(said))

# %% [markdown]
# Roughly even chances for four people, four ways to go and six places, and no doubt where there is no choice. Words
# that stand in the same place have become neighbours:

# %%
few = ["mary", "john", "daniel", "sandra", "went", "moved", "travelled", "journeyed"]
word_map(few, model.embedding.weight.data[vocabulary.encode(few)], ["person"] * 4 + ["way to go"] * 4)

# %% [markdown]
# ## Where order decides
#
# Now reports of four teams, each ending with the winner, who was named first: 12 reports of five words. A model that
# reads in order knows the last word; the floor is the fifth root of 12. One with the sum only cannot tell winner from
# loser and has an even chance at best: no sum can go below the fifth root of 24. Train the same model as it is, and
# with the matrix frozen, so that it stays the identity and the state a sum.

# %%
teams = ["reds", "blues", "greens", "greys"]
reports = [[a, "defeated", b, "winner", a] for a in teams for b in teams if a != b]
vocabulary = FrequentWords(reports)
ordered, summed = NextWord(vocabulary.size, 10, rng), NextWord(vocabulary.size, 10, rng)
summed.cell.transition.requires_grad = False
for name, model in (("with a matrix", ordered), ("as a sum", summed)):
    print(name, round(learn(model, encoded(reports), encoded(reports), passes=300)[-1], 3))
print("floors", round(12**0.2, 3), "and", round(24**0.2, 3))

# %% [markdown]
# *Try:* with which matrix would a state forget all words but the last? Train the first model with its matrix frozen:
# it hardly suffers. Why does order decide so little in that language?
