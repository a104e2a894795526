"""docs/spec/sync.md shows the tables that the code runs on."""

from __future__ import annotations

from pathlib import Path

from openledger_node.sync import messages as m
from openledger_node.sync.faults import FAULTS
from openledger_node.sync.session_table import ANSWER, LINK, AnswerState, LinkState, diagram
from tests.sync.links import SAMPLES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "spec" / "sync.md").read_text("utf-8")


def test_the_page_shows_the_state_tables() -> None:
    assert diagram(LINK) in PAGE
    assert diagram(ANSWER) in PAGE


def test_a_diagram_has_a_row_for_each_state_and_where_it_goes() -> None:
    assert diagram(LINK).splitlines()[2] == "| waiting for HELLO | HELLO | open |"
    assert diagram(LINK).splitlines()[-1] == "| open | BYE | ended |"


def test_the_tables_have_every_state_and_each_can_be_reached() -> None:
    for table, states, starts in (
        (LINK, LinkState, {LinkState.WAITING}),
        (ANSWER, AnswerState, {AnswerState.ASKED, AnswerState.PAYLOAD_ASKED}),
    ):
        assert set(table) == set(states)
        reached = {target for moves in table.values() for target in moves.values()}
        assert reached | starts == set(states)


def test_the_page_lists_every_fault_and_what_it_costs() -> None:
    rows = "".join(
        f"| `{code}` | {cost.value} | {what} |\n" for code, (cost, what) in FAULTS.items()
    )
    assert rows in PAGE


def test_the_page_lists_every_frame_with_its_fields_in_order() -> None:
    rows = "".join(
        f"| {int(kind)} | {kind.name} | {', '.join(SAMPLES[kind].__struct_fields__)} |\n"
        for kind in m.FrameType
    )
    assert rows in PAGE
