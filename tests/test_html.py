"""HTML as text: what a browser shows of it, however broken it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.mail.html import html_to_text


@pytest.mark.parametrize(
    ("html", "seen"),
    [
        ("a < b &lt; c", "a < b < c"),
        ("<p title='a > b'>one</p>", "one"),
        ("<p title=it's>one</p>", "one"),
        ("<p title='never closed>one</p> two", "one two"),
        ("<!-- a --> b <!-- never closed", "b"),
        ("<!--> a", "a"),
        ("<!--[if mso]>hidden<![endif]-->shown", "shown"),
        ("<![CDATA[x]]>y", "y"),
        ("<style>p{}</STYLE >a<SCRIPT>b</script>c", "ac"),
        ("a<style>never closed", "a"),
        ("one<p>two<div>three<li>four<td>five", "one two three four five"),
        ("fr<span style='x'></span>ee", "free"),
        ("&#102;ree &#x66;ree &nosuch; &#99999999999;", "free free &nosuch; &#99999999999;"),
        ("&amp;lt;", "&lt;"),
        ("<?xml version='1.0'?>one", "one"),
        ("one</>two", "onetwo"),
        ("one<a", "one"),
        ("one<", "one<"),
        ("5 <6> 7", "5 <6> 7"),
    ],
)
def test_html_reads_as_a_browser_shows_it(html: str, seen: str) -> None:
    assert html_to_text(html).split() == seen.split()


@given(st.text(alphabet="<>!-/ab'\"=& #x;[]?\n", max_size=60))
def test_no_html_is_an_error_and_text_without_tags_stays(source: str) -> None:
    html_to_text(source)
    assert html_to_text(source.replace("<", "").replace("&", "")) == source.replace("<", "").replace("&", "")
