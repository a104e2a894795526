"""Owners who quote each other: who is credited for a speech made of their real passages.

Each owner is a contributor; owners register in the order of their first text. A speech is passages
of random texts, of QUOTED runs that stand in an earlier owner's text too, and of unrelated words
between them. A passage belongs to the first owner whose texts hold it, which a plain search
through all text tells (planted.py).

- right owner: tokens of passages credited to the owner they belong to
- words of nobody: tokens between passages that nobody is credited for
- total variation: half the sum of the differences of the owners' weights, the mean over speeches
- quotations: tokens of quoted passages credited to the earlier owner, not to whom they are from
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from openledger_node.attribution.matching import IndexedScope, attribute_indexed
from openledger_node.attribution.reference import GRAM
from openledger_node.attribution.segment import AFTER_DOCUMENT, tokens_as_text
from openledger_node.store.text_index import TextIndex
from scripts.benchmarks.figures import Figure, number
from scripts.benchmarks.indexing_run import document_id, scope_over
from scripts.benchmarks.laundering import Owned, Tokens, texts_of_folder, texts_of_machine
from scripts.benchmarks.machine import this_machine
from scripts.benchmarks.planted import NOBODY, PlainSearch, said, variation

SPEECHES: Final = 200
PASSAGES: Final = 8
QUOTED: Final = 2
"""Of the passages of a speech, so many are quotations where there are any."""
PASSAGE_TOKENS: Final = (20, 60)
GAP_TOKENS: Final = (5, 40)
SEED: Final = 29
WORK: Final = "quoting"


@dataclass(frozen=True, slots=True)
class Quotation:
    """Tokens [start, stop) of a text stand in a text of an earlier owner."""

    text: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Speech:
    """`owners` has the owner of each token, or NOBODY; `quoted` the places of quotations."""

    tokens: Tokens
    owners: list[int]
    quoted: tuple[tuple[int, int], ...]


def quotations(texts: Sequence[Owned], search: PlainSearch) -> list[Quotation]:
    """Runs of at most PASSAGE_TOKENS of one text that an earlier owner wrote as a whole."""
    first_owner: dict[bytes, int] = {}
    found = []
    for place, text in enumerate(texts):
        grams = [
            b"\x01".join(text.tokens[at : at + GRAM]) for at in range(len(text.tokens) - GRAM + 1)
        ]
        start = None
        for at, gram in enumerate([*grams, b""]):
            owner = first_owner.setdefault(gram, text.owner) if gram else text.owner
            if owner < text.owner:
                start = at if start is None else start
            elif start is not None:
                stop = min(at + GRAM - 1, start + PASSAGE_TOKENS[1])
                if texts[search.first_document(text.tokens[start:stop])].owner < text.owner:
                    found.append(Quotation(place, start, stop))
                start = None
    return found


def speech(
    texts: Sequence[Owned],
    quoted: Sequence[Quotation],
    search: PlainSearch,
    dice: random.Random,
) -> Speech:
    """Passages of random texts and quotations, in a random order, with words between them."""
    long = [place for place, text in enumerate(texts) if len(text.tokens) > PASSAGE_TOKENS[1]]
    chosen = dice.sample(quoted, min(QUOTED, len(quoted)))
    while len(chosen) < PASSAGES:
        place = dice.choice(long)
        length = dice.randint(*PASSAGE_TOKENS)
        start = dice.randrange(len(texts[place].tokens) - length + 1)
        chosen.append(Quotation(place, start, start + length))
    of_others = set(map(id, chosen[: min(QUOTED, len(quoted))]))
    dice.shuffle(chosen)
    tokens: Tokens = []
    owners: list[int] = []
    places = []
    for passage in chosen:
        words = range(dice.randint(*GAP_TOKENS))
        gap = [dice.choice(texts[dice.choice(long)].tokens) for _ in words]
        taken = texts[passage.text].tokens[passage.start : passage.stop]
        owner = texts[search.first_document(taken)].owner
        if id(passage) in of_others:
            places.append((len(tokens) + len(gap), len(tokens) + len(gap) + len(taken)))
        tokens += gap + taken
        owners += [NOBODY] * len(gap) + [owner] * len(taken)
    return Speech(tokens, owners, tuple(places))


def figures(texts: Sequence[Owned], scope: IndexedScope) -> list[Figure]:
    """Over SPEECHES speeches; text n is the n-th source of the scope."""
    dice = random.Random(SEED)
    search = PlainSearch([text.tokens for text in texts])
    quoted = quotations(texts, search)
    passages = right = between = kept = quoting = to_earlier = 0
    apart = 0.0
    for _ in range(SPEECHES):
        made = speech(texts, quoted, search, dice)
        found = [
            texts[text].owner if text != NOBODY else NOBODY
            for text in said(attribute_indexed(made.tokens, scope))
        ]
        pairs = list(zip(made.owners, found, strict=True))
        passages += sum(known != NOBODY for known, _ in pairs)
        right += sum(known == other for known, other in pairs if known != NOBODY)
        between += sum(known == NOBODY for known, _ in pairs)
        kept += sum(known == other for known, other in pairs if known == NOBODY)
        apart += variation(made.owners, found)
        for start, stop in made.quoted:
            quoting += stop - start
            to_earlier += sum(known == other for known, other in pairs[start:stop])
    return [
        Figure(WORK, "texts", len(texts), ""),
        Figure(WORK, "owners", len({text.owner for text in texts}), ""),
        Figure(WORK, "quotations in the texts", len(quoted), ""),
        Figure(WORK, "speeches", SPEECHES, ""),
        Figure(WORK, "passages: tokens to the right owner", right / max(1, passages), ""),
        Figure(WORK, "words of nobody credited to nobody", kept / max(1, between), ""),
        Figure(WORK, "owners' weights: total variation", apart / SPEECHES, ""),
        Figure(WORK, "quotations: tokens to the earlier owner", to_earlier / max(1, quoting), ""),
    ]


def quoting(folder: Path | None, json_file: Path | None) -> int:
    """Prints the figures; the exit status is 0 whatever they say."""
    texts = texts_of_folder(folder) if folder is not None else texts_of_machine()
    print(this_machine(Path.cwd()).text())
    with tempfile.TemporaryDirectory(prefix="oln-quoting-") as place:
        index = TextIndex(Path(place))
        index.change(
            (document_id(number), 0, tokens_as_text(text.tokens) + AFTER_DOCUMENT)
            for number, text in enumerate(texts)
        )
        found = figures(texts, scope_over(index.segments()))
    for figure in found:
        print(f"{figure.name:<42} {number(figure.value):>10}")
    if json_file is not None:
        json_file.write_text(
            json.dumps([asdict(figure) for figure in found], indent=1) + "\n", encoding="utf-8"
        )
    return 0
