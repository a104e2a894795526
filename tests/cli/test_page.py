"""The page of an attributed text: nothing that a stranger wrote becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.cli.page import COLOURS, attribution_page
from openledger_node.cli.text import printable
from openledger_node.node.results import Attributed, Span

A, B = "a" * 64, "b" * 64
EVIL = """</mark><script>alert(1)</script><img src=x onerror="alert('2')"> & "quoted" 'single'"""
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "p", "div", "mark", "sup", "table",
    "tr", "th", "td", "bdi",
}  # fmt: skip


class Read(HTMLParser):
    """The tags with their attributes, and the text within the output."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.output = ""
        self.text = ""
        self._within: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._within.pop() == tag, "tags are nested"

    def handle_data(self, data: str) -> None:
        self.text += data
        if "div" in self._within and "sup" not in self._within:
            self.output += data


def span(start: int, end: int, contribution: str) -> Span:
    return Span(0, 0, start, end, contribution, 0, 0, "")


def attributed(output: bytes, *found: Span, title: str = "poems", owner: str = "ana") -> Attributed:
    ppm = {A: 600_000, B: 300_000}
    return Attributed(
        ppm, 100_000, 9, found, "spans", None, 3, {A: title, B: "notes"}, (), {A: owner, B: "bert"}
    )


def page_of(output: bytes, *found: Span, title: str = "poems", owner: str = "ana") -> Read:
    return Read(attribution_page(attributed(output, *found, title=title, owner=owner), output))


def test_the_page_shows_the_whole_output_with_its_spans_marked() -> None:
    output = "one two three\nfour \u4e2d\u6587".encode()
    read = page_of(output, span(4, 7, A), span(8, 18, B))
    assert read.output == output.decode()
    marks = [attributes for tag, attributes in read.tags if tag == "mark" and "title" in attributes]
    assert [(mark["class"], mark["title"]) for mark in marks] == [
        ("o0", "A: poems, ana"),
        ("o1", "B: notes, bert"),
    ]


def test_the_legend_has_the_ppm_of_every_contribution_and_of_nobody() -> None:
    read = page_of(b"one two", span(0, 3, A))
    for words in ("600,000", "60 %", "300,000", "30 %", "100,000", "10 %", "unattributed", "bert"):
        assert words in read.text


def test_it_reads_without_colours() -> None:
    """Every span has its letter, every owner a frame of its own kind."""
    page = attribution_page(attributed(b"one two", span(0, 3, A), span(4, 7, B)), b"one two")
    assert "one<sup>A</sup></mark>" in page
    assert "two<sup>B</sup></mark>" in page
    assert "3px solid" in page
    assert "3px dashed" in page


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = attribution_page(attributed(b"one", span(0, 3, A)), b"one")
    assert "default-src 'none'" in page
    for word in ("<script", "<link", "<img", "<iframe", "http://", "https://", "@import", "url("):
        assert word not in page
    assert {tag for tag, _ in Read(page).tags} == TAGS


@pytest.mark.parametrize(
    "evil", [EVIL, "<!--", "]]>", "</style>", "&lt;b&gt;", "\u2028<b>", "'\"><a>"]
)
def test_words_of_strangers_stay_words(evil: str) -> None:
    output = f"before {evil} after".encode()
    read = page_of(output, span(7, len(output) - 6, A), title=evil, owner=evil)
    assert {tag for tag, _ in read.tags} == TAGS
    assert read.output == printable(output.decode())
    allowed = {"class", "title", "dir", "lang", "charset", "content", "http-equiv", "name"}
    assert {name for _, attributes in read.tags for name in attributes} <= allowed
    assert printable(evil) in read.text


def test_characters_that_turn_text_around_are_replaced() -> None:
    output = "a\u202eb\u2066c\x00d\x1be\u200bf".encode()
    page = attribution_page(attributed(output, span(0, len(output), A)), output)
    assert not any(character in page for character in "\u202e\u2066\x00\x1b\u200b")


def test_more_owners_than_colours_begin_again() -> None:
    names = [f"{number:064x}" for number in range(len(COLOURS) + 1)]
    found = tuple(span(number, number + 1, name) for number, name in enumerate(names))
    result = Attributed(dict.fromkeys(names, 1), 0, 9, found, "spans", None, 1, {}, (), {})
    page = attribution_page(result, b"x" * len(names))
    assert page.count(f"background: #{COLOURS[0]}") == 2
    assert len(Read(page).output) == len(names)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=20), st.data())
def test_any_text_comes_out_as_it_went_in(words: str, title: str, data: st.DataObject) -> None:
    output = words.encode("utf-8", "replace")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(output)), min_size=2, max_size=2)))
    read = page_of(output, span(cuts[0], cuts[1], A), title=title)
    assert {tag for tag, _ in read.tags} <= TAGS
    if all(byte < 0x80 for byte in output):
        assert read.output == printable(output.decode())
