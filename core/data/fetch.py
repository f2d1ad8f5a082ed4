"""Fetch public data sets from where their authors, or those who teach with them, publish them.

python -m core.data.fetch mnist --to data
python -m core.data.fetch all --to data
"""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pooch  # type: ignore[import-untyped]
import typer
from rich.progress import Progress

from core.console import sentences
from core.errors import DataError, SettingsError, StorageError

PIECE = 1 << 16
SECONDS = 30.0


@dataclass(frozen=True)
class PublicFile:
    """A file, where it is published, and its checksum, as `sha256:...`."""

    name: str
    url: str
    checksum: str


MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
BOOK = "https://raw.githubusercontent.com/iamtrask/Grokking-Deep-Learning/master/"
KARPATHY = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
WORD2VEC = "https://raw.githubusercontent.com/tmikolov/word2vec/master/"

FILES: dict[str, tuple[PublicFile, ...]] = {
    "mnist": tuple(
        PublicFile(name, MNIST + name, checksum)
        for name, checksum in (
            # The published checksum of this one is an MD5.
            ("train-images-idx3-ubyte.gz", "md5:f68b3c2dcbeaaa9fbdd348bbdeb87873"),
            (
                "train-labels-idx1-ubyte.gz",
                "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            (
                "t10k-images-idx3-ubyte.gz",
                "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            (
                "t10k-labels-idx1-ubyte.gz",
                "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        )
    ),
    "reviews": (
        PublicFile(
            "reviews.txt",
            BOOK + "reviews.txt",
            "sha256:d7c2f21e5c8f5240859910ba5331b9baa88310aa978dbd8747ebd4ff6ebbefa6",
        ),
        PublicFile(
            "labels.txt",
            BOOK + "labels.txt",
            "sha256:301d18424e95957a000293f5d8393239451d7f54622a8f21613172aebe64ca06",
        ),
    ),
    "characters": (
        PublicFile(
            "shakespear.txt",
            BOOK + "shakespear.txt",
            "sha256:c879e55c5e318b9d978064e246306e01d60be15a50f64d9438daeaeacbc119e8",
        ),
    ),
    "shakespeare": (
        PublicFile(
            "tinyshakespeare.txt",
            KARPATHY + "input.txt",
            "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
    "analogies": (
        PublicFile(
            "questions-words.txt",
            WORD2VEC + "questions-words.txt",
            "sha256:8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36",
        ),
    ),
}


def choose(name: str) -> tuple[PublicFile, ...]:
    """Return the files of a data set, or of all; raise SettingsError if there is none of that name."""
    if name == "all":
        return tuple(file for files in FILES.values() for file in files)
    if name not in FILES:
        raise SettingsError(f"there is no data set {name!r}; known are all, {', '.join(FILES)}")
    return FILES[name]


def fetch(file: PublicFile, folder: Path, progress: Progress | None = None) -> Path:
    """Bring a file into a folder, unless it is there already; go on with one that was cut off.

    Raises:
        DataError: it cannot be reached, or has another checksum than the one known here.
        StorageError: the folder cannot be written.
    """
    pooch.get_logger().setLevel("WARNING")
    partial = folder / f"{file.name}.partial"

    def download(url: str, output: str, _pooch: object) -> None:
        _download(url, partial, progress, file.name)
        shutil.move(partial, output)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = pooch.retrieve(file.url, file.checksum, fname=file.name, path=folder, downloader=download)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{file.url} cannot be fetched: {reason}; is there a network? What came is kept, try again later"
        ) from error
    except ValueError as error:  # pooch's word for it
        raise DataError(f"{file.url} has another checksum than {file.checksum}: it was changed or damaged") from error
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error
    return Path(found)


def _download(url: str, partial: Path, progress: Progress | None, name: str) -> None:
    """Append to `partial` what it lacks."""
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310  ours
    try:
        answer = urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # nothing is lacking; the checksum decides whether that is so
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        expected = int(answer.headers.get("Content-Length") or 0)
        bar = progress.add_task(name, total=expected or None) if progress else None
        received = 0
        with partial.open("ab" if resumed else "wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
                received += len(piece)
                if progress is not None and bar is not None:
                    progress.update(bar, advance=len(piece))
    if received < expected:
        raise http.client.IncompleteRead(b"", expected - received)


def main(
    name: Annotated[str, typer.Argument(help=f"all, or one of {', '.join(FILES)}.")],
    to: Annotated[Path, typer.Option(help="The folder to put the files in.")] = Path("data"),
) -> None:
    """Fetch public data sets, with checksums; files that are there already stay."""
    with sentences(), Progress() as progress:
        for file in choose(name):
            progress.console.print(f"{fetch(file, to, progress)} is there")


if __name__ == "__main__":
    typer.run(main)
