"""`scripts/audit-ledger` and the node on ledgers under siege: the same rows in every epoch."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.credit.sieges import Siege, crowded
from tests.credit.test_sieges import heir_of_a_seat
from tests.scripts.test_audit_ledger import compare, program

__all__ = ["program"]


@pytest.mark.rule("C1", "C2", "C3", "C4", "C7", "C8", "C10", "C15", "C16", "A10")
def test_the_program_and_the_node_agree_on_ledgers_under_siege(program: Any) -> None:
    for seed in range(30):
        make = crowded if seed % 9 == 0 else Siege
        compare(program, make(Random(seed)).run(epochs=8, count=30))


@pytest.mark.rule("C4", "A10")
@pytest.mark.parametrize("again", [False, True])
def test_the_program_counts_a_device_once_whichever_account_has_its_seat(
    program: Any, again: bool
) -> None:
    compare(program, heir_of_a_seat(again=again)[0])
