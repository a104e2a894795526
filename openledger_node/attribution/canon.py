"""Canonical text, version 1: which tokens a document has, and where in its bytes they lie.

- T1 A document is text when its bytes are strict UTF-8. There are no Unicode tables and no
  normalisation, since those differ between releases; a code point belongs to a class by its number
  alone.
- T2 Word characters: 0-9, A-Z (lowered), a-z, _ and U+00C0 upwards, save for the next two classes.
  Single-token characters, of scripts written without spaces: U+0E00-0EFF, 1000-109F, 1780-17FF,
  3040-9FFF, F900-FAFF, 10000 upwards. Everything else separates, with U+0080-00BF, 2000-303F,
  FE00-FE0F, FEFF, FF00-FF0F.
- T3 A token is a single-token character, or a maximal run of word characters; a longer run than 64
  bytes is cut, again and again, at the last code point that fits 64 bytes. Its weight is 2 for a
  word and 1 for a single-token character.

Positions are byte offsets in the original document: lowering changes no length. Work goes in
blocks, so memory follows the block and not the document; a run that crosses two is joined again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # numpy takes a tenth of a second to load: only where text is read
    import numpy as np
    from numpy.typing import NDArray

CANON_VERSION: Final = 1
MAX_TOKEN_BYTES: Final = 64
WORD_WEIGHT: Final = 2
SINGLE_WEIGHT: Final = 1
BLOCK_BYTES: Final = 2**20

SEPARATOR, WORD, SINGLE = 0, 1, 2

# (class, first, last) in the order in which they are laid over each other; beyond the last code
# point of this table, U+FFFF, everything is SINGLE.
CLASSES: Final = (
    (WORD, 0x30, 0x39),
    (WORD, 0x41, 0x5A),
    (WORD, 0x5F, 0x5F),
    (WORD, 0x61, 0x7A),
    (WORD, 0x00C0, 0xFFFF),
    (SINGLE, 0x0E00, 0x0EFF),
    (SINGLE, 0x1000, 0x109F),
    (SINGLE, 0x1780, 0x17FF),
    (SINGLE, 0x3040, 0x9FFF),
    (SINGLE, 0xF900, 0xFAFF),
    (SEPARATOR, 0x2000, 0x303F),
    (SEPARATOR, 0xFE00, 0xFE0F),
    (SEPARATOR, 0xFEFF, 0xFEFF),
    (SEPARATOR, 0xFF00, 0xFF0F),
)


@dataclass(frozen=True, slots=True, eq=False)
class CanonText:
    """The tokens of a text: token i is lowered[starts[i]:ends[i]], of weight weights[i]."""

    lowered: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    weights: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.starts)

    def tokens(self) -> list[bytes]:
        """All tokens, in order."""
        lowered = self.lowered
        places = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [lowered[start:end] for start, end in places]


def canonical_text(data: bytes) -> CanonText | None:
    """The tokens of a document's bytes; None when it is not text (T1)."""
    import numpy as np

    starts, ends, singles = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, bool)]
    open_run = False  # the block before ended within a run of word characters
    base = 0
    while base < len(data):
        block = data[base : _block_end(data, base)]
        found = _runs(block)
        if found is None:
            return None
        first, last, single = found
        first += base
        last += base
        if open_run and len(first) and first[0] == base and not single[0]:
            ends[-1] = ends[-1][:-1]
            first, single = first[1:], single[1:]
        base += len(block)
        if len(last):
            open_run = bool(last[-1] == base) and not (len(single) and single[-1])
        elif block:
            open_run = False
        starts.append(first)
        ends.append(last)
        singles.append(single)
    return _text_of_runs(
        data, np.concatenate(starts), np.concatenate(ends), np.concatenate(singles)
    )


def _block_end(data: bytes, base: int) -> int:
    """Where the block that begins at `base` ends: at a code point's first byte, if data is UTF-8.

    More than three continuation bytes in a row are not UTF-8, and the block that begins with one
    is not either.
    """
    end = base + BLOCK_BYTES
    if end >= len(data):
        return len(data)
    for back in range(4):
        if data[end - back] & 0xC0 != 0x80:
            return end - back
    return end


def _runs(block: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]] | None:
    """Starts and ends of single-token characters and of maximal runs of word characters, in bytes.

    With them, which are single-token characters. None when the block is not UTF-8.
    """
    import numpy as np

    offsets = None
    if block.isascii():
        codes = np.frombuffer(block, np.uint8)
        classes = _class_table()[codes]
    else:
        try:
            wide = np.frombuffer(block.decode().encode("utf-32-le"), "<u4")
        except UnicodeDecodeError:
            return None
        classes = _class_table()[np.minimum(wide, 0x10000)]
        widths = 1 + (wide >= 0x80).view(np.int8) + (wide >= 0x800) + (wide >= 0x10000)
        offsets = np.zeros(len(wide) + 1, np.int64)
        np.cumsum(widths, out=offsets[1:])
    word, single = classes == WORD, classes == SINGLE
    begins, stops = single | word, single | word
    begins[1:] &= single[1:] | ~word[:-1]
    stops[:-1] &= single[:-1] | ~word[1:]
    first, last = np.flatnonzero(begins), np.flatnonzero(stops) + 1
    is_single = single[first]
    if offsets is not None:
        first, last = offsets[first], offsets[last]
    return first, last, is_single


def _text_of_runs(
    data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], singles: NDArray[np.bool_]
) -> CanonText:
    """The text whose runs are known: cuts those of more than 64 bytes (T3)."""
    import numpy as np

    weights = np.where(singles, SINGLE_WEIGHT, WORD_WEIGHT).astype(np.uint8)
    long = np.flatnonzero(ends - starts > MAX_TOKEN_BYTES)
    if len(long):
        cuts: list[int] = []
        counts = np.ones(len(starts), np.int64)
        for index in long.tolist():
            before = len(cuts)
            _cut_run(data, int(starts[index]), int(ends[index]), cuts)
            counts[index] += len(cuts) - before
        starts = np.sort(np.concatenate([starts, cuts]))
        ends = np.sort(np.concatenate([ends, cuts]))
        weights = np.repeat(weights, counts)
    return CanonText(data.lower(), starts.astype(np.int64), ends.astype(np.int64), weights)


def _cut_run(data: bytes, start: int, end: int, cuts: list[int]) -> None:
    """Appends where a run of word characters is cut (T3)."""
    while end - start > MAX_TOKEN_BYTES:
        start += MAX_TOKEN_BYTES
        while data[start] & 0xC0 == 0x80:
            start -= 1
        cuts.append(start)


@cache
def _class_table() -> NDArray[np.uint8]:
    """The class of each code point up to U+10000, which stands for all above it."""
    import numpy as np

    table = np.full(0x10001, SEPARATOR, np.uint8)
    for kind, first, last in CLASSES:
        table[first : last + 1] = kind
    table[0x10000] = SINGLE
    return table
