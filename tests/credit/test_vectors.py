"""The fold's vectors on disk are what the code makes, and can be folded from their leaves alone."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from openledger_node.credit.fold import fold, initial_state
from openledger_node.credit.inputs import Cut
from openledger_node.ledger.genesis import parse_genesis
from openledger_node.ledger.heads import Mark
from tests.kit.ledgerkit import MemoryState
from tests.vectors import make_credit


@pytest.mark.parametrize("name", make_credit.MAKERS)
def test_the_vectors_on_disk_are_what_the_code_makes(name: str) -> None:
    path = make_credit.FOLDER / f"{name}.json"
    assert path.read_text("ascii") == make_credit.text_of(name)


class _Leaves:
    """Logs of a vector file."""

    def __init__(self, logs: list[dict[str, object]]) -> None:
        self.by_id = {
            bytes.fromhex(str(log["log_id"])): [bytes.fromhex(leaf) for leaf in log["leaves"]]  # type: ignore[attr-defined]
            for log in logs
        }

    def leaves(self, log_id: bytes, start: int, stop: int) -> Sequence[bytes]:
        return self.by_id[log_id][start:stop]


@pytest.mark.parametrize("name", ["state_digest", "trained_on"])
def test_the_ledger_of_the_vectors_folds_to_their_digests(name: str) -> None:
    vector = json.loads((make_credit.FOLDER / f"{name}.json").read_text("ascii"))
    genesis = parse_genesis(bytes.fromhex(vector["genesis"]))
    logs, state = _Leaves(vector["logs"]), MemoryState()
    for epoch in vector["epochs"]:
        marks = [Mark(bytes.fromhex(log), size, bytes(32)) for log, size in epoch["changed"]]
        cut = Cut(epoch["epoch"], bytes.fromhex(epoch["cut_id"]), tuple(marks))
        folded = fold(state, cut, logs, genesis) if cut.epoch else initial_state(genesis)
        state.apply(folded.delta)
        assert folded.state_digest.hex() == epoch["state_digest"]
        assert folded.statement.root.hex() == epoch["statement_root"]
    assert len(vector["epochs"]) > 5
