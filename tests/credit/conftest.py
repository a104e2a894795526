"""Every ledger that a test of the fold plays is folded by the second program, too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openledger_node.ledger.genesis import Genesis
from scripts.simulation.auditing import fast_program
from tests.kit.audits import compare
from tests.kit.ledgerkit import Ledger


@pytest.fixture(autouse=True)
def _folded_twice(request: pytest.FixtureRequest) -> Iterator[None]:
    """Random ledgers are left out: `tests/scripts/test_audit_ledger.py` plays some of its own."""
    made: list[Ledger] = []
    begin = Ledger.__init__

    def remember(self: Ledger, genesis: Genesis) -> None:
        begin(self, genesis)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "__init__", remember)
        yield
    if not hasattr(request.module, "Play"):
        for ledger in made:
            compare(fast_program(), ledger)
