"""The rules of attribution once more, word for word and slow: what the fast code must agree with.

Nothing here shares code with the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

SINGLES: Final = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x10000, 0x10FFFF),
)
GAPS: Final = (
    (0x0080, 0x00BF),
    (0x2000, 0x303F),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFF00, 0xFF0F),
)
ASCII_WORD: Final = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")

Token = tuple[bytes, int, int, int]
"""(token, start, end, weight); start and end are byte offsets in the document."""


def class_of(char: str) -> str:
    """`single`, `word` or `gap`, by the number of the code point alone."""
    number = ord(char)
    if any(first <= number <= last for first, last in SINGLES):
        return "single"
    if any(first <= number <= last for first, last in GAPS):
        return "gap"
    return "word" if char in ASCII_WORD or number >= 0xC0 else "gap"


def lowered(char: str) -> bytes:
    """A code point's bytes; only A-Z are lowered."""
    return (chr(ord(char) + 32) if "A" <= char <= "Z" else char).encode()


def tokens_of(data: bytes) -> list[Token] | None:
    """The tokens of a document, one code point after the other; None when it is not text."""
    try:
        text = data.decode("utf-8", errors="strict")
    except UnicodeDecodeError:
        return None
    found: list[Token] = []
    run, run_start, at = b"", 0, 0
    for char in text:
        kind, raw = class_of(char), lowered(char)
        if run and (kind != "word" or len(run) + len(raw) > 64):
            found.append((run, run_start, at, 2))
            run = b""
        if kind == "word":
            run_start = run_start if run else at
            run += raw
        elif kind == "single":
            found.append((raw, at, at + len(raw), 1))
        at += len(raw)
    if run:
        found.append((run, run_start, at, 2))
    return found


def leaves_of(data: bytes) -> tuple[list[bytes], int]:
    """(leaves, tokens) of a document."""
    binary = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    tokens = tokens_of(data)
    if tokens is None:
        return binary, 0
    cuts = [start for index, (_, start, _, _) in enumerate(tokens) if index % 64 == 0][1:]
    edges = [0, *cuts, len(data)]
    leaves = [data[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]
    if any(len(leaf) > 512 * 1024 for leaf in leaves):
        return binary, 0
    return [leaf for leaf in leaves if leaf], len(tokens)


def cut_flags(output: Sequence[bytes], commons: Sequence[Sequence[bytes]]) -> list[bool]:
    """R1: which output tokens lie in an 8-gram that a common text has."""
    flags = [False] * len(output)
    for start in range(len(output) - 7):
        gram = list(output[start : start + 8])
        if any(list(text[j : j + 8]) == gram for text in commons for j in range(len(text) - 7)):
            flags[start : start + 8] = [True] * 8
    return flags


def owners(
    output: Sequence[bytes],
    weights: Sequence[int],
    sources: Sequence[Sequence[bytes]],
    commons: Sequence[Sequence[bytes]] = (),
) -> list[tuple[int, int] | None]:
    """R1 and R2: for every output token the (source, token) it belongs to, or None."""
    cut = cut_flags(output, commons)
    matches = []
    for i in range(len(output)):
        length, place = 0, (0, 0)
        for number, text in enumerate(sources):
            for j in range(len(text)):
                n = 0
                while (
                    i + n < len(output)
                    and j + n < len(text)
                    and not cut[i + n]
                    and output[i + n] == text[j + n]
                ):
                    n += 1
                if n > length:
                    length, place = n, (number, j)
        if sum(weights[i : i + length]) >= 16:
            matches.append((-length, place, i))
    found: list[tuple[int, int] | None] = []
    for t in range(len(output)):
        over = [match for match in matches if match[2] <= t < match[2] - match[0]]
        if not over:
            found.append(None)
            continue
        _, (number, j), i = min(over)
        found.append((number, j + t - i))
    return found


def largest_remainder(total: int, weights: Sequence[int]) -> tuple[list[int], Fraction]:
    """Every part rounded down, and the least remainder that may still be rounded up.

    A part is right when it is rounded down or up and all those rounded up have remainders of at
    least this much.
    """
    whole = sum(weights)
    exact = [Fraction(total * weight, whole) for weight in weights]
    downs = [int(part) for part in exact]
    rests = sorted((part - down for part, down in zip(exact, downs, strict=True)), reverse=True)
    left = total - sum(downs)
    return downs, rests[left - 1] if left else Fraction(2)
