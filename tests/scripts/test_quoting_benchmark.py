"""Speeches made of owners' passages: whose they are is known before anything is attributed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from scripts.benchmarks.__main__ import main
from scripts.benchmarks.laundering import Owned, Tokens
from scripts.benchmarks.planted import NOBODY, PlainSearch
from scripts.benchmarks.quoting import Quotation, quotations, speech


def own(owner: int, count: int = 300) -> Tokens:
    return [b"o%dw%d" % (owner, n) for n in range(count)]


QUOTED = own(0)[100:130]
TEXTS = [
    Owned(0, own(0)),
    Owned(1, [*own(1)[:50], *QUOTED, *own(1)[50:]]),
    Owned(1, [*own(1, 600)[300:], *own(1)[50:80]]),
    Owned(2, own(2)),
]
SEARCH = PlainSearch([text.tokens for text in TEXTS])


def test_a_quotation_is_what_an_earlier_owner_wrote_and_never_what_one_repeats_of_oneself() -> None:
    assert quotations(TEXTS, SEARCH) == [Quotation(1, 50, 80)]


def test_each_token_of_a_speech_belongs_to_who_wrote_it_first() -> None:
    quoted = quotations(TEXTS, SEARCH)
    for seed in range(20):
        made = speech(TEXTS, quoted, SEARCH, random.Random(seed))
        assert len(made.tokens) == len(made.owners)
        ((start, stop),) = made.quoted
        assert made.tokens[start:stop] == QUOTED
        assert made.owners[start:stop] == [0] * len(QUOTED)
        assert {0, NOBODY} < set(made.owners) <= {0, 1, 2, NOBODY}
        for token, owner in zip(made.tokens, made.owners, strict=True):
            # A passage may hold the quotation and words around it: as a whole it is the quoter's.
            assert owner == NOBODY or token.startswith(b"o%dw" % owner) or token in QUOTED


def test_texts_without_quotations_make_speeches_without_them() -> None:
    made = speech([TEXTS[0], TEXTS[3]], [], PlainSearch([own(0), own(2)]), random.Random(1))
    assert made.quoted == ()


def test_the_figures_of_a_folder_say_that_quotations_go_to_the_earlier_owner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, text in enumerate(TEXTS):
        name = f"18{place:02}_owner{text.owner}_x.txt"
        (tmp_path / name).write_text(b" ".join(text.tokens).decode())
    assert main(["quoting", "--texts", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    found = {item["name"]: item["value"] for item in json.loads((tmp_path / "f.json").read_text())}
    assert (found["texts"], found["owners"], found["quotations in the texts"]) == (4, 3, 1)
    assert found["quotations: tokens to the earlier owner"] == 1
    assert found["passages: tokens to the right owner"] == 1
    assert "quotations: tokens to the earlier owner" in capsys.readouterr().out
