# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 15: learning from mail without seeing it
#
# A spam filter gets better with more mail, and people do not want to hand over theirs. In *federated learning* the mail
# stays where it is: each owner trains a copy of the model and sends only what training changed; the changes are
# averaged. Here all owners live in one process, so that you can look at everything. `make simulate` runs the same with
# real processes.

# %%
from functools import partial

import numpy as np

from book.decryption import generate_decryptor
from book.pictures import curves, update_heatmap
from core.data.generated import generate_mailbox, generate_test_mails
from core.data.message import Mail
from core.data.text import distinct_words
from core.federated import (
    add_updates,
    client_rng,
    client_update,
    encoding_for,
    evaluate_model,
    fed_avg,
    initial_model,
    next_model,
)
from core.secagg.factory import adder_for, encryptor_for
from core.tasks.spam import SPAM, VOCABULARY, prepare
from simulation.in_process import play

# %% [markdown]
# ## Three mailboxes
#
# Made up by the project, and not alike: other topics, other people, other spam, and more of it or less.
# (`read_mailbox` in `core.data.mail` reads your own: mbox, Maildir and other formats.)

# %%
mailboxes = [generate_mailbox(seed=1, owner=owner, mails=150) for owner in (1, 2, 3)]
test = prepare(generate_test_mails(seed=1, owners=3, mails=600))
for mails in mailboxes:
    print(len(mails), "mails,", sum(mail.spam for mail in mails), "spam;", mails[0].text.splitlines()[0])

# %% [markdown]
# ## Federated averaging
#
# The model has one weight for each of 8,192 words, and one for spam as such. Each round every owner starts from the
# common model, trains one pass on its own mail, and sends the change; the model moves by the mean of the changes.
# For comparison, each owner also learns alone.

# %%
clients = [prepare(mails) for mails in mailboxes]
start = initial_model(SPAM, seed=1)
model, alone = start, [start] * 3
together, best_alone = [], []
for number in range(1, 7):
    updates = [client_update(SPAM, model, data, client_rng(1, number, who)) for who, data in enumerate(clients)]
    model = model + np.mean([update.delta for update in updates], axis=0)
    together.append(evaluate_model(SPAM, model, test).accuracy)
    for who, data in enumerate(clients):
        alone[who] = alone[who] + client_update(SPAM, alone[who], data, client_rng(1, number, who)).delta
    best_alone.append(max(evaluate_model(SPAM, own, test).accuracy for own in alone))
curves({"together": together, "the best of the three alone": best_alone}, "round", "accuracy on mail of all three")

# %% [markdown]
# No owner saw the others' mail, and each now has a filter that knows the spam of all three.
#
# ## What one update tells
#
# But look at what was sent. Before training every weight is 0, and only words that were there move. Here is a client
# with a single mail. Anyone who sees the change tries every word of a dictionary:

# %%
secret = Mail("dear doctor the surgery is tuesday", spam=False)
dictionary = sorted({word for mails in mailboxes for mail in mails for word in distinct_words(mail.text)})
change = client_update(SPAM, start, prepare([secret]), np.random.default_rng(1)).delta
print(len(dictionary), "words tried; found:", [word for word in dictionary if change[VOCABULARY.index(word)] != 0])
print("spam" if change[VOCABULARY.index("surger")] > 0 else "no spam", "says the sign")

# %% [markdown]
# (Words are cut to six letters, and two words may share a number by chance.) The order is gone, the rest is legible.
# Of a whole mailbox it shows what its owner reads and writes about: light for words of spam, dark for those of honest
# mail, grey for 0, which mostly means a word never used. Some of the dark ones are names that only one owner knows.

# %%
updates = [client_update(SPAM, start, data, client_rng(1, 1, who)) for who, data in enumerate(clients)]
columns = [VOCABULARY.index(word) for word in dictionary]
update_heatmap(np.array([update.delta[columns] for update in updates]), dictionary, top=20)

# %% [markdown]
# ## Adding what one cannot read
#
# Paillier's encryption has a curious gift: multiply two ciphertexts, and the product opens to the *sum*. So one party
# can add without being able to read, and another open without ever seeing the parts. Keys of 512 bits can be broken
# with effort; they are for looking on. The project uses 2,048 or more.

# %%
key = generate_decryptor("paillier", 512)
encryptor, adder = encryptor_for(key.public_key, count=1), adder_for(key.public_key, count=1)
for number in (5, 3):
    ciphertext = encryptor.encrypt([number])
    print(number, "becomes", ciphertext.hex()[:40], "...")
    adder.add(ciphertext)
print("opened:", key.decrypt(adder.payload()))

# %% [markdown]
# Encryption takes whole numbers, and weights are fractions. So each is clipped and rounded to a fixed fraction. Many
# are put side by side into one large number, with room so that sums do not run over. Then: encrypt at the owner, add at
# the aggregator, open the sum, and only the sum, at the key holder.

# %%
encoding = encoding_for(SPAM, len(start), key.public_key.plaintext_bits, max_cohort=3)
adder = adder_for(key.public_key, encoding.plaintexts)
encryptor = encryptor_for(key.public_key, encoding.plaintexts)
for update in updates:
    adder.add(encryptor.encrypt(encoding.encode(update)))
cohort = encoding.decode(key.decrypt(adder.payload()), contributors=3)
print(encoding.values, "weights in", encoding.plaintexts, "ciphertexts; examples of all:", cohort.examples)

plain = add_updates(encoding, updates)
print("equal to the sum in the open, bit for bit:", np.array_equal(cohort.delta_sum, plain.delta_sum))
exact = sum(update.delta for update in updates)
# Each of the three changes is rounded to the nearest step, so the sum is off by three halves of one at most.
print("lost by rounding, at most:", np.abs(cohort.delta_sum - exact).max(), "one step is", 2**-encoding.fraction_bits)
print("accuracy after this round", evaluate_model(SPAM, next_model(start, cohort), test).accuracy)

# %% [markdown]
# ## A whole federation, message by message
#
# So far one program played all the parties. Here are three clients, an aggregator and three key holders, of which two
# open a sum together: the same objects that run as separate processes elsewhere, with all their checks, in this
# process. Every message between them can be printed.

# %%
federation = play(SPAM, clients=3, rounds=1, key_bits=512)
for message in federation.messages:
    print(message)
print("accuracy after this round", federation.results[-1].accuracy)

# %% [markdown]
# Read it as the protocol: holders offer keys, clients fetch the model, *commit* to an update and upload it only when a
# list of all commitments is closed and signed; two holders fetch the updates, add them up and release their shares;
# then they endorse the next model. In all of it there is no message that shows one client's update.
#
# The same round again without keys and messages, as the paper writes it: every client updates the model, and the mean
# of the updates makes the next one. It is the same model, to the last bit.

# %%
made_up = {number: prepare(SPAM.generate(0, number)) for number in (1, 2, 3)}
(averaged,) = fed_avg(SPAM, initial_model(SPAM, 0), [made_up], partial(client_rng, 0), partial(add_updates, encoding))
print("the encrypted federation's model, bit for bit:", np.array_equal(averaged, federation.model))

# %% [markdown]
# ## What the sum still tells
#
# Encryption hides *who*, not *what*. Take the sum of more and more owners. Of the words it shows, fewer and fewer are
# the first owner's; but what that owner wrote is still among them.

# %%
owners = [generate_mailbox(seed=1, owner=owner, mails=5) for owner in range(1, 31)]
changes = [client_update(SPAM, start, prepare(mails), np.random.default_rng(1)).delta for mails in owners]
words = sorted({word for mails in owners for mail in mails for word in distinct_words(mail.text)})
first = {word for mail in owners[0] for word in distinct_words(mail.text)}
for count in (1, 3, 10, 30):
    seen = {word for word in words if np.sum(changes[:count], axis=0)[VOCABULARY.index(word)] != 0}
    print(f"{count:2} owners: {len(seen):4} words seen, {len(seen & first) / len(seen):4.0%} of them the first owner's")

# %% [markdown]
# A word that only one of them uses, a name perhaps, is there for all to see in the sum. Against that help larger
# cohorts, and noise.
#
# *Try:* let one owner send 100 times the change: what stops it? Leave one of three updates out of the sum and decode
# it with `contributors=3`: what does the library say?
