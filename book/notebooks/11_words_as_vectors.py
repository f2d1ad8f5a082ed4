# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 11: words as vectors
#
# A network takes numbers, and a word is none. Give each word a row in a table; what stands in the row is learned. Then
# words that do the same work for the network get similar rows, although it was never given the meaning of any word.

# %%
import numpy as np

from book.analogies import solve
from book.data.vocabulary import FrequentWords, bag_of_words
from book.pictures import vector_strips, word_map
from core.data.made_up_text import BLAME, PRAISE, SUBJECTS, generated_reviews
from core.data.text import Bags, stem
from core.losses import binary_cross_entropy_with_logits
from core.metrics import correct_answers
from core.nn import nearest_rows
from core.optim import Adam
from core.tasks import analogies
from core.tasks.reviews import ReviewModel, examples_of
from core.training import evaluate, train_epoch

# %% [markdown]
# ## A bag of words, and a sum of rows
#
# Let the words be *cat, the, dog, sat*. Mark those that occur in "the cat sat" with 1. Multiplying these marks with a
# table of weights does nothing but add the marked rows. So there is no need to multiply by all the zeros: look up the
# rows and add them. Of 50,000 words a review has a few hundred; all the other products would be zeros.

# %%
words, table = ["cat", "the", "dog", "sat"], np.array([[1.0, 2], [0, 1], [4, 4], [3, 0]])
sentence = ["the", "cat", "sat"]
rows = [words.index(word) for word in sentence]
marks = bag_of_words(rows, len(words))
print("marks", marks, "times table", marks @ table, "sum of rows", table[rows].sum(axis=0))

# %% [markdown]
# ## Which words make a review good?
#
# Reviews made up by the project: 500 to learn from, 300 to judge by. Their sentences praise or blame, some of them
# contradict the verdict, many say nothing either way, and a few labels are wrong; no model could get all of them right.
# (For real ones put reviews.txt and labels.txt into a folder and take `read_reviews("data")` from
# `core.data.reviews`.) The words are counted in the training part only.

# %%
reviews, unseen = generated_reviews(500, seed=1), generated_reviews(300, seed=2)
print(reviews.texts[0], "| positive" if reviews.positive[0] else "| negative")
vocabulary = FrequentWords(reviews.words())


def bags(part):
    numbers = [np.unique(vocabulary.encode(text)) for text in part.words()]
    sizes = np.array([len(row) for row in numbers])
    return Bags(np.concatenate(numbers), np.cumsum(sizes) - sizes, part.positive.astype(int))


# %% [markdown]
# The network: the mean of the rows of a review's distinct words, 8 numbers each, and one linear layer that makes
# "positive" or "negative" of it. The task *reviews* federates the same network.

# %%
rng = np.random.default_rng(1)
model = ReviewModel(vocabulary.size, 8, rng=rng)
optimiser = Adam(model.parameters(), lr=0.01)
print("untrained: accuracy", evaluate(model, bags(unseen), binary_cross_entropy_with_logits, correct_answers).accuracy)
for number in range(1, 6):
    train_epoch(model, bags(reviews), binary_cross_entropy_with_logits, optimiser, batch_size=20, rng=rng)
    print(
        f"pass {number}: accuracy",
        evaluate(model, bags(unseen), binary_cross_entropy_with_logits, correct_answers).accuracy,
    )

# %% [markdown]
# ## What the rows have become
#
# No label says that *wonderful* and *superb* are alike: they got similar rows by pushing the answer the same way.
# Near means a small angle here: the cosine is 1 for the same direction, 0 for a right angle, -1 for opposite ones.

# %%
table = model.words.weight.data
for word in ("wonderful", "terrible"):
    number = vocabulary.index(word)
    rows, cosines = nearest_rows(table, table[number], count=5, without=[number, *vocabulary.no_words])
    print(word, "is near", dict(zip(vocabulary.decode(rows), cosines.round(2).tolist(), strict=True)))

# %%
shown = PRAISE[:6] + BLAME[:6] + SUBJECTS[:6]
groups = ["praise"] * 6 + ["blame"] * 6 + ["subject"] * 6
word_map(shown, table[vocabulary.encode(shown)], groups)

# %% [markdown]
# Along the first axis lies what the reviews were labelled with, and next to nothing else was learned: see how small a
# share of the differences the second axis has. Subjects such as *film* stand between, because they help neither side.
# The same as strips of colour, one for each word:

# %%
few = ["wonderful", "superb", "film", "plot", "terrible", "boring"]
vector_strips(few, table[vocabulary.encode(few)])

# %% [markdown]
# ## Another question, other neighbours
#
# Now forget the labels. Take a word out of a text and let the network fill the blank: of the true word and five others
# drawn at random it should choose the true one, by the two words before and the two after. A word is then known by the
# company it keeps. The library has this ready; words have a fixed number there (a checksum of their first letters), so
# that no list of them is needed.

# %%
blanks = analogies.prepare(examples_of(reviews))
filler = analogies.build(np.random.default_rng(1))
optimiser = Adam(filler.parameters(), lr=0.02)
for number in range(1, 4):
    print(f"pass {number}: loss {train_epoch(filler, blanks, analogies.loss, optimiser, 128, rng):.3f}")

table = filler.words.weight.data[[analogies.VOCABULARY.index(stem(word)) for word in shown]]
word_map(shown, table, groups)

# %% [markdown]
# Now the widest gap is not between praise and blame but between them and the subjects: "the plot is ..." goes on with
# *superb* as well as with *terrible*. (Praise and blame are still separated somewhat, because they come in pairs:
# "moving and witty".) What counts as alike is decided by the question that was asked in training.
#
# ## Reckoning with words
#
# If the step from man to woman is the same as the step from king to queen, then king - man + woman should end near
# queen. Here with four vectors of two numbers, chosen by hand:

# %%
words = ["king", "man", "woman", "queen"]
vectors = np.array([[0.6, 0.1], [0.5, 0.0], [0.0, 0.8], [0.1, 1.0]])
answers, cosines = solve(vectors, words.index("man"), words.index("king"), words.index("woman"))
print("king - man + woman =", vectors[0] - vectors[1] + vectors[2], "is near", words[answers[0]], cosines.round(4))

# %%
word_map(words, vectors)

# %% [markdown]
# The made-up reviews have no such pairs. On much real text they appear by themselves; `book.analogies.score` puts the
# public list of such questions to any table of vectors.
#
# *Try:* give each word 2 numbers instead of 8: is the classifier worse? Ask `nearest_rows` about a word from the
# asides, such as *sister*.
