"""Ledgers in memory through the second program, `scripts/audit-ledger`, beside the node's fold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from openledger_node.credit import views
from openledger_node.ledger.encoding import decode, encode
from tests.kit.ledgerkit import Ledger

NAMING = {"names_void", "wrong_type"}
"""Why the node voids an event for what it names; the program says `names`."""


def followed(program: Any, ledger: Ledger) -> Any:
    """The program's fold after every epoch of a ledger; its rows are the node's."""
    leaves = {log_id: log.leaves for log_id, log in ledger.logs.by_id.items()}
    fold = program.Fold(decode(encode(ledger.genesis)), leaves)
    sizes: dict[bytes, int] = {}
    for closed in ledger.epochs[1:]:
        sizes = {**sizes, **{mark.log_id: mark.size for mark in closed.cut.changed}}
        rows = fold.close(closed.cut.cut_id, sizes)
        expected: Any = decode(encode(closed.folded.statement.rows))
        assert rows == expected, closed.cut.epoch
        assert program.tree([encode(row) for row in rows]) == closed.folded.statement.root
    return fold


def compare(program: Any, ledger: Ledger) -> Counter[str]:
    """The same rows in every epoch, in the end the same void events; why, counted."""
    fold = followed(program, ledger)
    found = {name: one.rule for name, one in fold.known.items() if one.type == "void"}
    seen = Counter(found.values())
    for log in ledger.logs.by_id.values():
        for leaf, event_id in zip(log.leaves, log.ids, strict=True):
            why = views.void_reason(ledger.state, event_id)
            rule = found.pop(event_id, None)
            same = rule is None if why is None else rule in expected_rules(fold, leaf, *why)
            assert same, (leaf[:40], rule, why)
    assert found == {}
    return seen


def expected_rules(fold: Any, leaf: bytes, rule: str, code: str) -> set[str | None]:
    """What the program may say of an event that the node voids.

    It leaves open what changes no credit: what comes of a derivation, a set that is filed twice,
    which of two that lapse together is void for naming the other, and whether a registration with a
    base that stands twice waits for another base first.
    """
    _, _, kind, _, body, *_ = decode(leaf)  # type: ignore[misc]
    if code in NAMING:
        return {"names", "PARK"}
    named = body[0] if isinstance(body, list) and body else None
    target = fold.known.get(named) if isinstance(named, bytes) else None
    quiet = target is not None and target.type == "derivation"
    if quiet or (kind, code) == ("witness.set", "voted_before"):
        return {rule, None}
    if (rule, code) == ("C8", "duplicate"):
        return {rule, "names", "PARK", None}
    other = {"unknown_account": "C1"}.get(code, "C4" if rule == "C15" else rule)
    return {rule, other}
