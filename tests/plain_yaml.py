"""The part of YAML that the files under deploy/ are written in, read without a library that the project would need only here.

Block mappings and lists, lists and mappings on one line, quoted and plain words, anchors with `*name` and `<<`, comments.
Every scalar is text: `replicas: 1` gives "1". Anything else is an error, never a guess.
"""

from __future__ import annotations

import re
from typing import Any

TOKEN = re.compile(
    r"""\s*([\[\]{},]|:(?=\s)|"[^"]*"|'[^']*'|(?:[^\s\[\]{},:"'#]|:(?=\S)|\s(?=[^\s\[\]{},:#])|\$\{[^}]*\})+)"""
)


def documents(text: str) -> list[Any]:
    """Return what each document of a file says. Raise ValueError at what this reader does not know."""
    return [_Reader(part).whole() for part in re.split(r"^---$", text, flags=re.MULTILINE) if part.strip()]


class _Reader:
    def __init__(self, text: str) -> None:
        lines = [_without_comment(line) for line in text.splitlines()]
        self._lines = [(len(line) - len(line.lstrip()), line.strip()) for line in lines if line.strip()]
        self._anchors: dict[str, Any] = {}

    def whole(self) -> Any:
        value = self._block(0)
        if self._lines:
            raise ValueError(f"cannot read {self._lines[0][1]!r}")
        return value

    def _block(self, indent: int) -> Any:
        if not self._lines or self._lines[0][0] < indent:
            return None
        return self._list() if _is_item(self._lines[0][1]) else self._mapping()

    def _list(self) -> list[Any]:
        indent, items = self._lines[0][0], []
        while self._lines and self._lines[0][0] == indent and _is_item(self._lines[0][1]):
            rest = self._lines[0][1][1:].strip()
            if re.match(r"[\w./-]+:(\s|$)", rest):
                self._lines[0] = (indent + 2, rest)
                items.append(self._mapping())
            else:
                self._lines.pop(0)
                items.append(self._value(rest, indent + 1))
        return items

    def _mapping(self) -> dict[str, Any]:
        indent, entries, merged = self._lines[0][0], {}, {}
        while self._lines and self._lines[0][0] == indent and not _is_item(self._lines[0][1]):
            matched = re.match(r"([^\s:]+):(?:\s+(.*))?$", self._lines.pop(0)[1])
            if not matched:
                raise ValueError("a line of a mapping has no key")
            value = self._value(matched[2] or "", indent)
            if matched[1] == "<<":
                merged = value
            else:
                entries[matched[1]] = value
        return merged | entries

    def _value(self, text: str, indent: int) -> Any:
        if anchor := re.match(r"&([\w-]+)\s*", text):
            self._anchors[anchor[1]] = value = self._value(text[anchor.end() :], indent)
            return value
        if text.startswith("*"):
            return self._anchors[text[1:]]
        if text:
            tokens = TOKEN.findall(text) if text[0] in "[{" else [text]
            value, rest = _flow(tokens)
            if rest:
                raise ValueError(f"cannot read {text!r}")
            return value
        deeper = bool(self._lines) and (
            self._lines[0][0] > indent or (self._lines[0][0] == indent and _is_item(self._lines[0][1]))
        )
        return self._block(indent) if deeper else None


def _flow(tokens: list[str]) -> tuple[Any, list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first == "[":
        items = []
        while rest[0] != "]":
            item, rest = _flow(rest)
            items.append(item)
            rest = rest[1:] if rest[0] == "," else rest
        return items, rest[1:]
    if first == "{":
        entries = {}
        while rest[0] != "}":
            key, rest = _flow(rest)
            entries[key], rest = _flow(rest[1:])
            rest = rest[1:] if rest[0] == "," else rest
        return entries, rest[1:]
    if first[0] in "|>&*!%@`":
        raise ValueError(f"cannot read {first!r}")
    return (first[1:-1] if first[0] in "\"'" else first), rest


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", line).rstrip()
