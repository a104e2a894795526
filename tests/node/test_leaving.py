"""A home whose own log grew elsewhere goes on in a new one, whoever notices it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openledger_node.ledger.events import encode_event
from openledger_node.ledger.heads import sign_head
from openledger_node.ledger.merkle import leaf_hashes, root_of_hashes
from openledger_node.node.core import NodeCore, open_core
from openledger_node.node.setup import initialise
from openledger_node.store.check import check
from openledger_node.store.ingest import Growth, grow_many

TIME_MS = 1_700_000_000_000


@pytest.fixture
def core(tmp_path: Path) -> Any:
    initialise(tmp_path / "home", name="a", clock_ms=lambda: TIME_MS)
    opened = open_core(tmp_path / "home", clock_ms=lambda: TIME_MS)
    yield opened
    opened.close()


def grow_elsewhere(core: NodeCore) -> bytes:
    """A copy of this home appends one event to the log, and this home takes it in."""
    with core.store.read() as snapshot:
        log_id = snapshot.current_log
        assert log_id is not None
        log = snapshot.log(log_id)
        assert log is not None
        leaves = snapshot.leaves(log_id, 0, log.size)
    leaf = encode_event(log.size, "test.note", TIME_MS, ["elsewhere"])
    root = root_of_hashes(leaf_hashes([*leaves, leaf]))
    head = sign_head(core.key("device"), log.genesis, log.size + 1, root)
    assert grow_many(core.store, [Growth(head, log.size, [leaf])])[0].added == 1
    return log_id


@pytest.mark.rule("S9")
@pytest.mark.parametrize("open_before", [True, False], ids=["writer open", "no writer yet"])
def test_the_next_append_goes_to_a_new_log_that_names_the_old_one(
    core: NodeCore, open_before: bool
) -> None:
    if open_before:
        core.append_one("money.redeem", [core.account_id, 1, 1])
    left = grow_elsewhere(core)
    with core.store.read() as snapshot:
        before = snapshot.log(left)
    done = core.append_one("money.redeem", [core.account_id, 1, 1])
    with core.store.read() as snapshot:
        assert snapshot.log(left) == before
        current = snapshot.current_log
        assert current is not None and current.hex() == done.log_id
        log = snapshot.log(current)
        assert log is not None and log.genesis.previous == left
    assert core.is_copy()
    assert check(core.store).problems == []
