"""What is published where: the datasets of the book, with the checksums of their files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.data.mnist import PUBLISHED
from core.errors import SettingsError


@dataclass(frozen=True)
class PublicFile:
    """A file, where it is published, and how it is known to be the right one.

    Attributes:
        checksum: of the file as it comes, as `sha256:...`; None if none is published.
        unpacked: of what the gzip file holds. It outweighs `checksum` for a file that is there already: the same
            content compressed at another time is another file, as gzip writes the time into it.
    """

    name: str
    url: str
    checksum: str | None
    unpacked: str | None = None


@dataclass(frozen=True)
class Member:
    """A file in an archive, the name it gets outside, and its checksum, as `sha256:...`."""

    path: str
    name: str
    checksum: str


@dataclass(frozen=True)
class PublicMembers:
    """Some files of an archive, each known by its own checksum, which the archive may lack."""

    archive: PublicFile
    members: tuple[Member, ...]


@dataclass(frozen=True)
class PublicFolder:
    """The files of an archive's folder `name`, with a checksum of the archive.

    Attributes:
        pattern: what their whole names look like. It must allow no way out of the folder.
    """

    archive: PublicFile
    name: str
    pattern: re.Pattern[str]
    files: int


Public = PublicFile | PublicMembers | PublicFolder

MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
BOOK = "https://raw.githubusercontent.com/iamtrask/Grokking-Deep-Learning/master/"
KARPATHY = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
UCI = "https://archive.ics.uci.edu/static/public/228/"
STANFORD = "https://ai.stanford.edu/~amaas/data/sentiment/"
BABI = "https://s3.amazonaws.com/text-datasets/"
WORD2VEC = "https://raw.githubusercontent.com/tmikolov/word2vec/master/"

UNPACKED = {f"{name}.gz": f"md5:{checksum}" for (name, _), checksum in PUBLISHED.items()}


def _mnist(name: str, checksum: str) -> PublicFile:
    return PublicFile(name, MNIST + name, checksum, UNPACKED[name])


def _at(base: str, name: str, sha256: str) -> PublicFile:
    return PublicFile(name, base + name, f"sha256:{sha256}")


def _babi(part: str, sha256: str) -> Member:
    name = f"qa1_single-supporting-fact_{part}.txt"
    return Member(f"tasks_1-20_v1-2/en/{name}", name, f"sha256:{sha256}")


FILES: dict[str, tuple[Public, ...]] = {
    "mnist": (
        _mnist("train-images-idx3-ubyte.gz", "md5:f68b3c2dcbeaaa9fbdd348bbdeb87873"),
        _mnist("train-labels-idx1-ubyte.gz", "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        _mnist("t10k-images-idx3-ubyte.gz", "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        _mnist("t10k-labels-idx1-ubyte.gz", "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    "reviews": (
        _at(BOOK, "reviews.txt", "d7c2f21e5c8f5240859910ba5331b9baa88310aa978dbd8747ebd4ff6ebbefa6"),
        _at(BOOK, "labels.txt", "301d18424e95957a000293f5d8393239451d7f54622a8f21613172aebe64ca06"),
    ),
    "characters": (_at(BOOK, "shakespear.txt", "c879e55c5e318b9d978064e246306e01d60be15a50f64d9438daeaeacbc119e8"),),
    "shakespeare": (
        PublicFile(
            "tinyshakespeare.txt",
            KARPATHY + "input.txt",
            "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
    "analogies": (
        _at(WORD2VEC, "questions-words.txt", "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"),
    ),
    "sms": (
        PublicMembers(
            _at(UCI, "sms+spam+collection.zip", "1587ea43e58e82b14ff1f5425c88e17f8496bfcdb67a583dbff9eefaf9963ce3"),
            (
                Member(
                    "SMSSpamCollection",
                    "SMSSpamCollection",
                    "sha256:7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
                ),
            ),
        ),
    ),
    "babi": (
        PublicMembers(
            PublicFile("babi_tasks_1-20_v1-2.tar.gz", BABI + "babi_tasks_1-20_v1-2.tar.gz", None),
            (
                _babi("train", "c64ba9b1a49bbb111ffc4cd2ae4f129d25c012399dd7ade9679eea464b9afb05"),
                _babi("test", "55acf66cef2f6d798e2aa1d056e1ec8f24e910ea9215b639450574321132959b"),
            ),
        ),
    ),
    "aclimdb": (
        PublicFolder(
            PublicFile("aclImdb_v1.tar.gz", STANFORD + "aclImdb_v1.tar.gz", "md5:7c2ac02c03563afcf9b574c7e56c153a"),
            "aclImdb",
            re.compile(r"aclImdb/(train|test)/(pos|neg)/[0-9]+_[0-9]+\.txt"),
            50_000,
        ),
    ),
}
ONLY_BY_NAME = frozenset({"aclimdb"})


def choose(name: str) -> tuple[Public, ...]:
    """Return the files of a dataset, or of all but the large ones; raise SettingsError for an unknown name."""
    if name == "all":
        return tuple(item for each, items in FILES.items() if each not in ONLY_BY_NAME for item in items)
    if name not in FILES:
        raise SettingsError(f"there is no dataset {name!r}; known are all, {', '.join(FILES)}")
    return FILES[name]
