"""Ledgers in memory through the second program, `scripts/audit-ledger`, beside the node's fold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from openledger_node.credit import views
from openledger_node.ledger.encoding import decode, decode_array, encode
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
    """The same rows in every epoch, in the end the same void events; why, counted.

    The program leaves open what changes no credit: what comes of a derivation, a set that is filed
    twice, and a malformed key event that nobody reads: past a closure, which the node finds before
    what closes the log, or in the log of a device that is not enrolled. What names such an event
    may wait for it.
    """
    fold = followed(program, ledger)
    found = {name: one.rule for name, one in fold.known.items() if one.type == "void"}
    seen, left_open = Counter(found.values()), left_open_of(fold, ledger)
    for log in ledger.logs.by_id.values():
        for leaf, event_id in zip(log.leaves, log.ids, strict=True):
            rule = found.pop(event_id, None)
            if event_id in left_open and rule in (None, "PARK"):
                continue
            why = views.void_reason(ledger.state, event_id)
            expected = None if why is None else "names" if why[1] in NAMING else why[0]
            same = rule == expected or (why and why[1] == "unknown_account" and rule == "C1")
            assert same or (expected, rule) == ("C15", "C4"), (leaf[:40], rule, why)
    assert found == {}
    return seen


def left_open_of(fold: Any, ledger: Ledger) -> set[bytes]:
    """The events on which the program may differ, with all that name them, and so on."""
    found: set[bytes] = set()
    named: list[tuple[bytes, list[bytes]]] = []
    for log in ledger.logs.by_id.values():
        closed = fold.closed.get(log.log_id, len(log.leaves))
        enrolled = fold.owners.get(log.log_id) in fold.devices
        for seq, (leaf, event_id) in enumerate(zip(log.leaves, log.ids, strict=True)):
            named.append((event_id, names_in(decode(leaf))))
            why = views.void_reason(ledger.state, event_id)
            unread = (seq >= closed or not enrolled) and why == ("L2", "malformed")
            if why and (unread or is_left_open(fold, leaf, *why)):
                found.add(event_id)
    while more := {one for one, names in named if one not in found and not found.isdisjoint(names)}:
        found |= more
    return found


def is_left_open(fold: Any, leaf: bytes, rule: str, code: str) -> bool:
    if rule in ("L1", "L2"):
        return False
    _, _, kind, _, body, *_ = decode_array(leaf)
    named = body[0] if isinstance(body, list) and body else None
    target = fold.known.get(named) if isinstance(named, bytes) else None
    filed_twice = (kind, code) == ("witness.set", "voted_before")
    return filed_twice or (target is not None and target.type == "derivation")


def names_in(body: Any) -> list[bytes]:
    if isinstance(body, bytes):
        return [body]
    return [name for item in body for name in names_in(item)] if isinstance(body, list) else []
