"""All studies of a run on one static page: no network, no scripts, readable on a telephone and on paper."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from book.run import Run
from core.commands import as_typed
from core.errors import StorageError
from experiments.study import Linked, Row, Study, columns_of, command, pictures, written

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem }
body { color: #111; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.3rem; margin-top: 3rem; border-top: 1px solid #ccc; padding-top: 1.5rem }
nav { columns: 18rem; font-size: .95rem } nav a { display: block }
img { max-width: 100%; height: auto; display: block; margin: 1rem auto }
pre { background: #f3f3f3; padding: .5rem; overflow-x: auto; font-size: .85rem }
.table { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .85rem } caption { text-align: left }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
@media print { h2 { break-before: page } .table { overflow: visible } }
"""


@dataclass(frozen=True)
class Answered:
    """A study that was run: its rows, and the run that has the pictures."""

    study: Study
    rows: Sequence[Row]
    run: Run


def write_page(path: Path, answered: Sequence[Answered], left_out: Sequence[tuple[str, str]]) -> None:
    """Write the page; `left_out` are names of studies that could not be run, each with the reason.

    Raises StorageError.
    """
    here = frozenset(each.study.name for each in answered)
    sections = [_section(each, here) for each in answered]
    parts = [_head(), _contents(answered), *sections, _left_out(left_out), "</body></html>\n"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(parts), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def _head() -> str:
    title = "What leaks, to whom, and what each defence buys"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
        "<p>Each experiment attacks the very functions and messages that clients and servers use. Clipping, rounding "
        "and secure aggregation are never called private here: what they hide, and what not, is what is measured.</p>"
    )


def _contents(answered: Sequence[Answered]) -> str:
    links = (f'<a href="#{each.study.name}">{escape(each.study.title)}</a>' for each in answered)
    return f"<nav>{''.join(links)}</nav>"


def _prose(text: str) -> str:
    """Return text with `code` in it as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _section(answered: Answered, here: Collection[str]) -> str:
    study, rows = answered.study, answered.rows
    said = (("Question", study.question), ("Adversary", study.adversary), ("Method", study.method))
    parts = [
        f'<section id="{study.name}"><h2>{escape(study.title)}</h2>',
        f"<pre>{escape(command(study, answered.run))}</pre>",
        *(f"<p><b>{heading}.</b> {_prose(text)}</p>" for heading, text in said),
        f"<p><b>Result.</b> {_prose(study.conclude(rows))}</p>",
        *map(_image, pictures(answered.run.out)),
        _table(rows, here),
        f"<p><b>Limits.</b> {_prose(study.limits)}</p></section>",
    ]
    return as_typed("\n".join(parts))


def _image(path: Path) -> str:
    """Embed a picture, so that the page is a single file."""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{content}">'


def _table(rows: Sequence[Row], here: Collection[str]) -> str:
    columns = columns_of(rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(_cell(row.get(name, ''), here) for name in columns)}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: str | int | float, here: Collection[str]) -> str:
    kind = "" if isinstance(value, str) else ' class="number"'
    text = escape(written(value))
    return f"<td{kind}>{_link(text, value.study, here) if isinstance(value, Linked) else text}</td>"


def _link(text: str, study: str, here: Collection[str]) -> str:
    """Link to a study of this page; of one that was not run, say the command that runs it."""
    name = escape(study)
    if study in here:
        return f'<a href="#{name}">{text}</a>'
    return f'<span title="python -m experiments {name}">{text}</span>'


def _left_out(left_out: Sequence[tuple[str, str]]) -> str:
    if not left_out:
        return ""
    lines = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in left_out)
    return f"<section><h2>Left out</h2><ul>{lines}</ul></section>"
