"""The table of faults (Y17)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from openledger_node.ledger.errors import NetworkError
from openledger_node.sync.faults import (
    FAULTS,
    MAX_TEXT_CHARACTERS,
    Cost,
    InternalError,
    PeerFault,
    fault,
)

ROOT = Path(__file__).resolve().parents[2]


def raised_codes() -> set[str]:
    """Every literal code that a call of `fault` in the package names."""
    found = set()
    for path in (ROOT / "openledger_node").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="fault"), args=[ast.Constant(value=code), _]):
                    found.add(str(code))
    return found


@pytest.mark.rule("Y17")
@pytest.mark.parametrize("code", sorted(FAULTS))
def test_a_fault_costs_what_the_table_says(code: str) -> None:
    found = fault(code, "what happened")
    assert isinstance(found, PeerFault) and isinstance(found, NetworkError)
    assert (found.code, found.text, found.cost) == (code, "what happened", FAULTS[code][0])


@pytest.mark.rule("Y17")
def test_only_what_does_not_verify_bans() -> None:
    banned = {code for code, (cost, _) in FAULTS.items() if cost is Cost.BAN}
    assert banned == {
        "node_id",
        "bad_key",
        "bad_signature",
        "bad_log",
        "bad_data",
        "bad_proof",
        "bad_record",
        "bad_payload",
    }


@pytest.mark.rule("Y17")
def test_every_code_that_the_package_raises_is_in_the_table() -> None:
    codes = raised_codes()
    assert len(codes) > 20
    assert codes - set(FAULTS) == set()


def test_a_code_without_a_place_in_the_table_is_a_bug_here() -> None:
    with pytest.raises(InternalError):
        fault("no_such_code", "text")


def test_a_text_is_cut_to_what_bye_carries() -> None:
    assert len(fault("flood", "x" * 1_000).text) == MAX_TEXT_CHARACTERS
