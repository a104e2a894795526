"""Which frame may come when: the states of a link and of an answer, as tables.

docs/spec/sync.md shows `diagram(...)` of each table, and a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias

from openledger_node.sync.messages import FrameType


class LinkState(Enum):
    """What one side may receive on a link (Y7)."""

    WAITING = "waiting for HELLO"
    OPEN = "open"
    ENDED = "ended"


class AnswerState(Enum):
    """How far the answer to a WANT or PAYLOAD_WANT has come (Y12, Y13)."""

    ASKED = "asked"
    HEAD = "head"
    SPINE = "spine"
    LEAVES = "leaves"
    PAYLOAD_ASKED = "payload asked"
    TREES = "trees"
    CONTENT = "content"
    OVER = "over"


Table: TypeAlias = Mapping[Enum, Mapping[FrameType, Enum]]

_L, _A, _F = LinkState, AnswerState, FrameType
_ONCE: Final = (_F.HELLO, _F.BYE)

LINK: Final[dict[LinkState, dict[FrameType, LinkState]]] = {
    _L.WAITING: {_F.HELLO: _L.OPEN},
    _L.OPEN: {kind: _L.OPEN for kind in FrameType if kind not in _ONCE} | {_F.BYE: _L.ENDED},
    _L.ENDED: {},
}

_MISSING: Final = {_F.MISSING: _A.OVER}
ANSWER: Final[dict[AnswerState, dict[FrameType, AnswerState]]] = {
    _A.ASKED: {_F.HEAD: _A.HEAD, **_MISSING},
    _A.HEAD: {_F.SPINE: _A.SPINE, _F.LEAVES: _A.LEAVES, **_MISSING},
    _A.SPINE: {_F.SPINE: _A.SPINE, _F.LEAVES: _A.LEAVES, **_MISSING},
    _A.LEAVES: {_F.LEAVES: _A.LEAVES, **_MISSING},
    _A.PAYLOAD_ASKED: {_F.PAYLOAD_HEAD: _A.TREES, **_MISSING},
    _A.TREES: {
        _F.PAYLOAD_HEAD: _A.TREES,
        _F.DOCUMENT: _A.CONTENT,
        **_MISSING,
    },
    _A.CONTENT: {_F.DOCUMENT: _A.CONTENT, _F.PIECE: _A.CONTENT, **_MISSING},
    _A.OVER: {},
}


def diagram(table: Mapping[LinkState, Mapping[FrameType, LinkState]] | Table) -> str:
    """A Markdown table of a state table: in a state, on these frames, go to a state."""
    rows = ["| in state | on | go to |", "|---|---|---|"]
    for state, moves in table.items():
        targets: dict[Enum, list[str]] = {}
        for kind, target in moves.items():
            targets.setdefault(target, []).append(kind.name)
        rows += [
            f"| {state.value} | {', '.join(kinds)} | {target.value} |"
            for target, kinds in targets.items()
        ]
    return "\n".join(rows) + "\n"
