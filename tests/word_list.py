"""A vocabulary of a few words for tests: each word's place in the list is its number, all others share the last."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WordList:
    words: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.words) + 1

    def index(self, word: str) -> int:
        return self.words.index(word) if word in self.words else len(self.words)
