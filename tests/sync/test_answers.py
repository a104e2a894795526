"""Answers (Y12, Y13) against a naive reading of the rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.sync.answers import Answer
from openledger_node.sync.faults import PeerFault
from openledger_node.sync.messages import FrameType, PayloadWant, Want
from openledger_node.sync.session_table import ANSWER, AnswerState
from tests.sync.links import LOG, head_of


def answer(**changes: object) -> Answer:
    fields = {"first": 0, "stop": None, "root": None, "spine": None, **changes}
    return Answer.to(Want(0, LOG, **fields))  # type: ignore[arg-type]


def begun(size: int, **changes: object) -> Answer:
    """An answer whose HEAD of this size has come."""
    found = answer(**changes)
    found.head(b"opening" if not found.want.first else b"", head_of(size))  # type: ignore[union-attr]
    return found


def payload_answer() -> Answer:
    return Answer.to(PayloadWant(0, b"e" * 32, b"c" * 32, 0, 0))


def code_of(error: pytest.ExceptionInfo[PeerFault]) -> str:
    return error.value.code


@pytest.mark.rule("Y12")
@given(
    size=st.integers(1, 2_000),
    first=st.integers(0, 2_000),
    stop=st.none() | st.integers(0, 2_000),
    spine=st.none() | st.integers(0, 8),
    step=st.integers(1, 700),
)
def test_an_answer_is_over_with_the_last_root_and_leaf_that_were_asked_for(
    size: int, first: int, stop: int | None, spine: int | None, step: int
) -> None:
    first = min(first, size)
    if stop is not None:
        stop = max(first, stop)
    roots = list(range(spine, -(-size // 256))) if spine is not None else []
    leaves = list(range(first, min(size, stop if stop is not None else size)))
    found = begun(size, first=first, stop=stop, spine=spine)
    while roots:
        assert not found.is_over
        part = roots[: step % 3 + 1]
        roots = roots[len(part) :]
        assert found.spine(part[0], len(part)) == (not roots)
    while leaves:
        assert not found.is_over
        part = leaves[:step]
        leaves = leaves[len(part) :]
        assert found.leaves(part[0], len(part)) == (not leaves)
    assert found.is_over


@pytest.mark.rule("Y12")
def test_with_a_root_the_answer_goes_to_its_head() -> None:
    found = begun(300, stop=100, root=b"r" * 32)
    assert not found.leaves(0, 256)
    assert found.leaves(256, 44)


@pytest.mark.rule("Y12")
def test_a_spine_alone_is_a_whole_answer() -> None:
    found = begun(300, stop=0, spine=0)
    assert found.spine(0, 2)
    assert found.is_over


@pytest.mark.rule("Y12")
def test_a_spine_from_past_the_last_segment_is_empty() -> None:
    assert not begun(300, spine=2).is_over
    assert begun(300, first=300, spine=2).is_over


@pytest.mark.rule("Y12")
@pytest.mark.parametrize(
    ("head_size", "opening", "log", "changes", "code"),
    [
        (300, b"", LOG, {}, "bad_head"),
        (300, b"opening", LOG, {"first": 1}, "bad_head"),
        (99, b"", LOG, {"first": 100}, "bad_head"),
        (99, b"opening", LOG, {"stop": 100, "root": b"r" * 32}, "bad_head"),
        (300, b"opening", b"h" * 32, {}, "other_log"),
    ],
    ids=[
        "no opening at leaf 0",
        "an opening past leaf 0",
        "smaller than the first leaf",
        "smaller than the branch's mark",
        "another log",
    ],
)
def test_a_head_that_does_not_fit_is_a_fault(
    head_size: int, opening: bytes, log: bytes, changes: dict[str, object], code: str
) -> None:
    with pytest.raises(PeerFault) as error:
        answer(**changes).head(opening, head_of(head_size, log))
    assert code_of(error) == code


@pytest.mark.rule("Y12")
def test_leaves_before_the_head_or_before_the_whole_spine_are_out_of_order() -> None:
    with pytest.raises(PeerFault) as error:
        answer().leaves(0, 1)
    assert code_of(error) == "order"
    found = begun(600, spine=0)
    found.spine(0, 2)
    with pytest.raises(PeerFault) as error:
        found.leaves(0, 1)
    assert code_of(error) == "order"


@pytest.mark.rule("Y12")
@pytest.mark.parametrize(
    ("first", "count", "code"),
    [(101, 1, "order"), (99, 1, "order"), (100, 201, "past_stop")],
    ids=["a gap", "a leaf again", "past the stop"],
)
def test_leaves_elsewhere_than_next_are_a_fault(first: int, count: int, code: str) -> None:
    found = begun(500, stop=300)
    found.leaves(0, 100)
    with pytest.raises(PeerFault) as error:
        found.leaves(first, count)
    assert code_of(error) == code


@pytest.mark.rule("Y12")
@pytest.mark.parametrize(
    ("first", "count", "code"),
    [(2, 1, "order"), (0, 1, "order"), (1, 2, "spine"), (1, 10**6, "spine")],
    ids=["a gap", "a root again", "one too many", "far too many"],
)
def test_roots_elsewhere_than_next_or_too_many_are_a_fault(
    first: int, count: int, code: str
) -> None:
    found = begun(300, spine=0)
    found.spine(0, 1)
    with pytest.raises(PeerFault) as error:
        found.spine(first, count)
    assert code_of(error) == code


@pytest.mark.rule("Y12")
def test_a_spine_that_was_not_asked_for_is_a_fault() -> None:
    with pytest.raises(PeerFault) as error:
        begun(300).spine(0, 1)
    assert code_of(error) == "spine"


@pytest.mark.rule("Y12")
def test_a_second_head_is_out_of_order() -> None:
    with pytest.raises(PeerFault) as error:
        begun(300).head(b"opening", head_of(300))
    assert code_of(error) == "order"


@pytest.mark.rule("Y13")
def test_a_payload_comes_as_its_trees_and_then_its_content() -> None:
    found = payload_answer()
    found.payload_head(0, is_last=False)
    found.payload_head(1, is_last=True)
    found.payload_content(FrameType.DOCUMENT)
    found.payload_content(FrameType.PIECE)
    found.payload_content(FrameType.DOCUMENT)
    assert not found.is_over


@pytest.mark.rule("Y13")
def test_a_payload_out_of_order_is_a_fault() -> None:
    trees = payload_answer()
    trees.payload_head(0, is_last=True)
    early = payload_answer()
    early.payload_head(0, is_last=False)
    for step in (
        lambda: payload_answer().payload_head(1, is_last=True),
        lambda: trees.payload_head(1, is_last=True),
        lambda: trees.payload_content(FrameType.PIECE),
        lambda: early.payload_content(FrameType.DOCUMENT),
        lambda: payload_answer().head(b"opening", head_of(300)),
        lambda: begun(300).payload_head(0, is_last=True),
    ):
        with pytest.raises(PeerFault) as error:
            step()
        assert code_of(error) == "order"


@pytest.mark.rule("Y12", "Y13")
@pytest.mark.parametrize("state", [s for s in AnswerState if s is not AnswerState.OVER])
def test_missing_ends_an_answer_at_any_point(state: AnswerState) -> None:
    assert ANSWER[state][FrameType.MISSING] is AnswerState.OVER
    found = answer()
    found.state = state
    found.missing()
    assert found.is_over
    with pytest.raises(PeerFault):
        found.missing()
