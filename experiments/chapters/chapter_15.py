"""Chapter 15: learn spam from mail that stays where it is; what one update tells; and adding up in secret."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from core.data.generated import generate_mailbox
from core.data.message import Mail
from core.data.partition import split_held_out
from core.data.text import Bags
from core.errors import DataError
from core.federated import FloatArray, client_update, encoding_for, evaluate_model, initial_model, next_model
from core.metrics import confusion
from core.secagg.decryption import generate_decryptor
from core.secagg.encoding import CohortSum, Encoding, Update
from core.secagg.roles import adder_for, encryptor_for
from core.secagg.scheme import Decryptor
from core.tasks.spam import SPAM, prepare, read
from core.tasks.task import local_training
from core.training import evaluate
from experiments.chapters.leakage import leakage, randomised_response
from experiments.finding import Finding, at_most, exact, shown
from experiments.run import Chapter, Run

ENRON = ("enron1.tsv.gz", "enron2.tsv.gz", "enron4.tsv.gz", "enron5.tsv.gz")
ROUNDS = 3


def run(run: Run) -> Iterator[Finding]:
    key = generate_decryptor("paillier", run.pick(2048, 512))
    yield toy(key)
    mails, test = split_held_out(read_mails(run))
    yield from in_one_place(run, mails, prepare(test))
    yield from federated(run, deal(run, mails), prepare(test), key)
    yield from leakage(run)
    yield randomised_response(run)


def toy(key: Decryptor) -> Finding:
    """Can sums be formed of numbers nobody can read?"""
    encryptor, adder = encryptor_for(key.public_key, 1), adder_for(key.public_key, count=1)
    for number in (5, 3):
        adder.add(encryptor.encrypt([number]))
    return exact("encrypt 5, encrypt 3, add without opening, open the sum", key.decrypt(adder.payload())[0], 8, "d")


def read_mails(run: Run) -> list[Mail]:
    """Read the four Enron mailboxes, or make mail up; shuffled."""
    if run.data is None:
        run.say("mail is made up by the project")
        mails = [mail for owner in range(1, 4) for mail in generate_mailbox(run.seed, owner, run.pick(2000, 400))]
    else:
        run.say("mail is Enron-Spam, which is not the book's selection: its figures are no goals here")
        found = [run.data / name for name in ENRON if (run.data / name).exists()]
        if not found:
            raise DataError(f"{run.data} holds none of {', '.join(ENRON)}")
        mails = [mail for path in found for mail in read(path).examples]
    order = run.rng(0).permutation(len(mails))[: run.pick(len(mails), 1500)]
    return [mails[row] for row in order]


def in_one_place(run: Run, mails: Sequence[Mail], test: Bags) -> Iterator[Finding]:
    """How good is the filter if all mail lies in one place?"""
    data, model = prepare(mails), SPAM.build(run.rng(1))
    for number, book in enumerate(("98.65%", "99.15%", "99.45%"), start=1):
        local_training(SPAM, model, data, run.rng(2, number))
        sums = evaluate(model, test, SPAM.loss, SPAM.correct)
        yield shown(f"all mail in one place: test accuracy after pass {number}", sums.accuracy, ".2%", book)
    inputs, labels = test.batch(np.arange(len(test)))
    found = confusion(model(inputs).data, labels)
    yield shown("of what it calls spam, so much is (precision)", found.precision, ".2%")
    yield shown("of all spam, so much is found (recall)", found.recall, ".2%")


def deal(run: Run, mails: Sequence[Mail]) -> list[Bags]:
    """Deal mail as the book does: 1,000 to the first client, 1,000 to the second, the rest to the third."""
    some = run.pick(1000, 300)
    return [prepare(part) for part in (mails[:some], mails[some : 2 * some], mails[2 * some :])]


def federated(run: Run, clients: Sequence[Bags], test: Bags, key: Decryptor) -> Iterator[Finding]:
    """Does the model get as good if no mail leaves its owner, and does encryption change it?"""
    start = initial_model(SPAM, run.seed)
    encoding = encoding_for(SPAM, len(start), key.public_key.plaintext_bits, len(clients))
    opened = secret = start
    rounding = 0.0
    for number, book in enumerate(("84.05%", "92.25%", "98.80%"), start=1):
        run.progress(f"round {number} of {ROUNDS}: encrypting {len(clients)} updates")
        updates = [client_update(SPAM, opened, data, run.rng(3, number, i)) for i, data in enumerate(clients)]
        rounding = max(rounding, rounding_error(encoding, updates))
        opened = next_model(opened, add_in_the_open(encoding, updates))
        updates = [client_update(SPAM, secret, data, run.rng(3, number, i)) for i, data in enumerate(clients)]
        secret = next_model(secret, add_in_secret(encoding, updates, key))
        accuracy = evaluate_model(SPAM, secret, test).accuracy
        yield shown(f"three clients, encrypted: test accuracy after round {number}", accuracy, ".2%", book)
    gap = float(np.abs(secret - opened).max())
    yield at_most("largest gap between a weight of the encrypted and of the open run", gap, 0.0, ".3g", anywhere=True)
    quantum = 2.0**-encoding.fraction_bits
    yield at_most(
        "largest rounding of a client's weight, in units of the encoding", rounding / quantum, 0.5, ".3g", anywhere=True
    )


def add_in_the_open(encoding: Encoding, updates: Sequence[Update]) -> CohortSum:
    """Add quantised updates as integers: what secure aggregation must come to."""
    total = sum(encoding.quantise(update.delta) for update in updates)
    delta_sum: FloatArray = np.asarray(total) * 2.0**-encoding.fraction_bits
    return CohortSum(len(updates), delta_sum, examples=0, mean_loss=0.0, correct=0)


def add_in_secret(encoding: Encoding, updates: Sequence[Update], key: Decryptor) -> CohortSum:
    """Add encrypted updates, each of which only the owner of the key could open, and open the sum alone."""
    key_and_count = (key.public_key, encoding.plaintexts)
    adder, encryptor = adder_for(*key_and_count), encryptor_for(*key_and_count)
    for update in updates:
        adder.add(encryptor.encrypt(encoding.encode(update)))
    return encoding.decode(key.decrypt(adder.payload()), len(updates))


def rounding_error(encoding: Encoding, updates: Sequence[Update]) -> float:
    """Return how far the encoding moves a weight at most."""
    scale = 2.0**-encoding.fraction_bits
    return max(float(np.abs(encoding.quantise(update.delta) * scale - update.delta).max()) for update in updates)


CHAPTER = Chapter(15, "learning from mail that stays where it is", run)
