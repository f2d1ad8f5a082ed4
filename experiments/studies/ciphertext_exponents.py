"""Words read off unopened ciphertexts: the exponents of encrypted floats travel in clear (chapter 15)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from phe import PaillierPublicKey, generate_paillier_keypair

from book.decryption import generate_decryptor
from book.pictures.style import BLUE, GREY, VERMILLION, new_figure, style
from book.run import Run
from core.federated import client_update, encoding_for, initial_model
from core.optim import SGD
from core.secagg.encoding import Encoding, Update
from core.secagg.factory import encryptor_for
from core.secagg.scheme import PAILLIER, Encryptor, PublicKey
from core.tasks.spam import SPAM
from core.tasks.task import LocalTraining, Task
from experiments.arrays import FloatArray
from experiments.attacks.exponents import changed, entropy, exponent_of, mutual_information
from experiments.attacks.scores import precision_recall
from experiments.studies._columns import cells, halves, means
from experiments.studies._mailroom import STEP, Mailroom, open_mailroom
from experiments.study import Row, Study

BITS = 512
"""Of all keys here: what is read needs no key, so a short one shows the same and is fast."""
SAMPLE = 400
"""How many weights are encrypted one by one: drawn from those of words that public mail has."""
COHORT = 5
BOOK = replace(SPAM, local=LocalTraining(0.01, epochs=1, batch_size=500, optimiser=SGD))
"""The book's local training: plain gradient descent at 0.01, batches of 500."""
PLAIN_ADAM = replace(SPAM, local=LocalTraining(STEP))

Visible = Sequence[int]
"""What an onlooker sees of each sampled weight."""


@dataclass(frozen=True)
class Sent:
    """One way of sending, and who sends it.

    Attributes:
        way: how it is written.
        training: how the client trained.
        mails: of the client.
        trained: whether the model has been trained before.
        whole: whether new weights are sent, as the book does, instead of their changes.
    """

    way: str
    training: str
    mails: int = 10
    trained: bool = False
    whole: bool = False

    @property
    def task(self) -> Task:
        """The spam task with this local training."""
        return BOOK if self.training == "gradient descent" else PLAIN_ADAM

    @property
    def sends(self) -> str:
        """What the numbers are."""
        return f"{'weights' if self.whole else 'changes'}, {'trained' if self.trained else 'untrained'} model"


FLOATS, WHOLE, PACKED = "phe, floats", "phe, integers of one scale", "packed integers (this project)"
SENT = (
    *(Sent(FLOATS, "gradient descent", mails) for mails in (3, 10, 100)),
    *(Sent(FLOATS, "Adam", mails) for mails in (3, 10, 100)),
    Sent(FLOATS, "gradient descent", trained=True),
    Sent(FLOATS, "gradient descent", trained=True, whole=True),
    Sent(FLOATS, "Adam", trained=True),
    Sent(FLOATS, "Adam", trained=True, whole=True),
    Sent(WHOLE, "Adam"),
    *(Sent(PACKED, "Adam", mails) for mails in (3, 10, 100)),
)


class Onlooker:
    """An onlooker: encrypts as a client would, and keeps only what is in clear."""

    def __init__(self, values: int) -> None:
        self.phe_key: PaillierPublicKey = generate_paillier_keypair(n_length=BITS)[0]
        self.key: PublicKey = generate_decryptor(PAILLIER, BITS).public_key
        self.encoding: Encoding = encoding_for(SPAM, values, self.key.plaintext_bits, COHORT)
        self.encryptor: Encryptor = encryptor_for(self.key, self.encoding.plaintexts)

    def close(self) -> None:
        self.encryptor.close()

    def sees(self, sent: Sent, update: Update, model: FloatArray, sample: Sequence[int]) -> Visible:
        """Return what an onlooker sees of each sampled weight when this update is sent this way."""
        ways: dict[str, Callable[[], Visible]] = {
            FLOATS: lambda: self._exponents((model + update.delta if sent.whole else update.delta)[sample]),
            WHOLE: lambda: self._exponents(self.encoding.quantise(update.delta)[sample]),
            PACKED: lambda: self._packed(update, len(sample)),
        }
        return ways[sent.way]()

    def _exponents(self, values: np.ndarray) -> Visible:
        return [self.phe_key.encrypt(value).exponent for value in values.tolist()]

    def _packed(self, update: Update, sampled: int) -> Visible:
        """Return the message's length for each weight alike: there is nothing else to see."""
        return [len(self.encryptor.encrypt(self.encoding.encode(update)))] * sampled


def study(run: Run) -> Iterator[Row]:
    room = open_mailroom(run, *run.pick((40, 300), (12, 200)))
    start = initial_model(SPAM, run.seed)
    models = {False: start, True: start + client_update(SPAM, start, room.public_bags, run.rng(1)).delta}
    sample = draw_sample(run, room, SAMPLE)
    onlooker = Onlooker(len(start))
    rows = []
    for stream, sent in enumerate(SENT):
        run.progress(f"{sent.way}: {sent.sends}, {sent.mails} mails")
        rows.append(attack(run, room, onlooker, sent, models[sent.trained], sample, stream))
        yield rows[-1]
    onlooker.close()
    draw(run, rows)


def draw_sample(run: Run, room: Mailroom, count: int) -> list[int]:
    """Draw the numbers of weights that have a public word, ascending."""
    known = np.flatnonzero(room.words.frequency)
    return sorted(run.rng(4).choice(known, min(count, len(known)), replace=False).tolist())


def attack(
    run: Run, room: Mailroom, onlooker: Onlooker, sent: Sent, model: FloatArray, sample: Sequence[int], stream: int
) -> Row:
    """Attack several victims that send in one way."""
    clients = room.deal(min(run.pick(20, 5), room.most_clients(sent.mails)), sent.mails, run.rng(2, stream))
    found: list[dict[str, float]] = []
    used_by_all: list[bool] = []
    visible_of_all: list[int] = []
    for number, rows in enumerate(clients):
        update = client_update(sent.task, model, room.data_of(rows), run.rng(3, stream, number))
        visible = onlooker.sees(sent, update, model, sample)
        truth = room.numbers_of(rows)
        used_by_all += [number in truth for number in sample]
        visible_of_all += visible
        true = truth & set(sample)
        blind = guess_blindly(room, sample, len(true))
        seen = read(sent, visible, model, sample) if sent.way == FLOATS else blind
        if true:  # of a client that used none of the sampled words there is nothing to find
            found.append(judge(seen, blind, true))
    return {
        "sent as": sent.way,
        "what": sent.sends,
        "training": sent.training,
        "mails": sent.mails,
        **cells(found),
        "bits a weight": round(max(0.0, mutual_information(used_by_all, visible_of_all)), 4),
        "of": round(entropy(used_by_all), 4),
        "in clear": in_clear(sent, visible_of_all),
    }


def in_clear(sent: Sent, visible: Visible) -> str:
    """Say what there was to see, over all victims."""
    kinds = sorted(set(visible))
    if sent.way == PACKED:
        return f"{' or '.join(f'{length:,}' for length in kinds)} bytes"
    return f"exponents {kinds[0]} to {kinds[-1]}" if len(kinds) > 1 else f"exponent {kinds[0]}"


def read(sent: Sent, exponents: Visible, model: FloatArray, sample: Sequence[int]) -> set[int]:
    """Return the sampled weights whose exponents show that they changed."""
    old = model[list(sample)] if sent.whole else np.zeros(len(sample))
    return {sample[place] for place in changed(exponents, [exponent_of(value) for value in old.tolist()])}


def guess_blindly(room: Mailroom, sample: Sequence[int], count: int) -> set[int]:
    """Guess the weights of the most frequent public words, when there is nothing to read."""
    return set(sorted(sample, key=lambda number: (-room.words.frequency[number], number))[:count])


def judge(seen: set[int], blind: set[int], true: set[int]) -> dict[str, float]:
    """Return recall and precision of what was read, and the recall of guessing."""
    precision, recall = precision_recall(seen, true)
    return {"recall": recall, "precision": precision, "blind": precision_recall(blind, true)[1]}


@style()
def draw(run: Run, rows: Sequence[Row]) -> None:
    """Draw the recall of each way of sending next to that of guessing."""
    figure = new_figure(8.4, 5.2, "Words read off unopened ciphertexts")
    axes = figure.subplots()
    at = np.arange(len(rows))[::-1]
    bars = (
        (0.2, "recall", BLUE, "", "recall of the attack"),
        (-0.2, "blind", GREY, "///", "recall of guessing blindly"),
    )
    for shift, name, colour, hatch, label in bars:
        axes.barh(at + shift, means(rows, name), 0.38, xerr=halves(rows, name), color=colour, hatch=hatch,
                  edgecolor="white", label=label, error_kw={"elinewidth": 1, "capsize": 2})  # fmt: skip
    axes.plot(means(rows, "precision"), at, "D", color=VERMILLION, label="precision")
    names = [f"{row['sent as']}: {row['what']},\n{row['training']}, {row['mails']} mails" for row in rows]
    axes.set_yticks(at, names, fontsize=7)
    axes.set(xlabel="share of the sampled words (1 = all)", xlim=(0, 1.05))
    figure.legend(loc="outside lower center", ncols=3)
    run.save("recall", figure)


def conclude(rows: Sequence[Row]) -> str:
    floats = [row for row in rows if row["sent as"] == FLOATS]
    book = [row for row in floats if row["training"] == "gradient descent" and "changes" in str(row["what"])]
    integers = [row for row in rows if row["sent as"] != FLOATS]
    recall, precision = means(book, "recall"), means(book, "precision")
    told = [float(row["bits a weight"]) for row in integers]
    worst = min(floats, key=lambda row: means([row], "recall")[0])
    lengths = sorted({str(row["in clear"]) for row in rows if row["sent as"] == PACKED})
    return (
        f"From floats as phe encrypts them, trained by plain gradient descent as in the book, {min(recall):.2f} to "
        f"{max(recall):.2f} of the client's words are read with precision {min(precision):.2f} to {max(precision):.2f} "
        f"off their changes, without any key. The least is read of {worst['what']}, trained by {worst['training']} on "
        f"{worst['mails']} mails ({means([worst], 'recall')[0]:.2f}, where guessing finds "
        f"{means([worst], 'blind')[0]:.2f}): a change that has grown into the exponent of zero, or a weight that stays "
        f"within its old exponent, does not show. Integers of one scale tell {max(told):.4f} bits a weight: every "
        f"exponent is the same, and a packed update has {' or '.join(lengths)}, whichever of these mailboxes it "
        f"is of."
    )


STUDY = Study(
    name="ciphertext-exponents",
    title="Exponents of ciphertexts: words read without opening anything",
    question="What do ciphertexts show of a mailbox without being decrypted?",
    adversary="Anyone who sees the ciphertexts of one update and has no key: the aggregator, or an eavesdropper. It "
    "knows the model that the client started from, and how frequent words are in public mail.",
    method="The book encrypts each weight as a float with phe, which writes it as m * 16^e and sends e in clear. A "
    "weight whose word does not occur keeps the exponent of zero (or of its old value, where whole weights are sent; "
    "in the first round both are the same, for weights start at zero); where it differs, the word was used. Compared "
    "with integers of one scale with the same library, and with the project's packed integers, encoding and "
    "encryption. `bits a weight` is the mutual information of what is in clear and whether the word was "
    "used, out of `of` bits there are. Where nothing is to be read, the attacker guesses the most frequent words, as "
    "the blind one always does. ± is half of a 95 % interval over clients.",
    limits=f"Keys have {BITS} bits, and {SAMPLE} weights of words that public mail has are encrypted one by one: "
    "exponents and lengths are the same for any key. That the ciphertexts themselves tell nothing is not measured "
    "here; it rests on Paillier's assumption (docs/threat-model.md). Timing is not looked at.",
    run=study,
    conclude=conclude,
)
