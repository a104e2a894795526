"""Audits of large scopes go by the index, and find the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openledger_node.node import audit_scopes
from tests.kit.homes import WITNESS, Ready, ready, words
from tests.node.test_auditing import OUTPUT, SLOW, caught, cheat, hand_over, spans_changed
from tests.node.test_erasing_evidence import erase


@pytest.fixture
def indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ready]:
    """Every home looks every scope up in its index; reading one whole fails the test."""
    made = ready(tmp_path, params=SLOW)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a scope was read whole")

    with made.coop:
        for name in made.coop:
            core = made.coop[name].core
            core.config = replace(core.config, index_from_bytes=0)
        monkeypatch.setattr(audit_scopes, "attribute_together", refuse)
        yield made


@pytest.mark.rule("V3", "J1")
def test_a_span_left_out_is_caught_by_the_index(
    indexed: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = cheat(indexed, monkeypatch, spans_changed(lambda spans: spans[:1]))
    caught(indexed, receipt, "better_span")


def test_an_honest_batch_has_nothing_wrong_by_the_index(indexed: Ready) -> None:
    indexed.use_batch([{"output": OUTPUT}, {"output": words("baker", 30)}, {"output": "..."}])
    (event,) = indexed.coop["maker"].log(kind="use.receipt").events
    indexed.coop.settle()
    done = indexed.coop["maker"].challenge(event.event_id)
    assert (done.faults, done.outputs) == ((), 3)


def test_what_was_erased_is_passed_over_by_the_index(
    indexed: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = cheat(indexed, monkeypatch)
    hand_over(indexed.coop, receipt, WITNESS)
    erase(indexed.coop, "alice", indexed.harbour)
    done = indexed.coop[WITNESS].challenge(receipt)
    assert (done.faults, done.missing) == ((), ())


def test_a_text_that_is_not_held_is_missing_by_the_index(
    indexed: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = cheat(indexed, monkeypatch)
    hand_over(indexed.coop, receipt, "user")
    shown = indexed.coop["user"].show(indexed.bakers)
    indexed.coop["user"].core.store.erase_payload(bytes.fromhex(shown.payload_commit or ""))
    done = indexed.coop["user"].challenge(receipt)
    assert (done.faults, done.missing) == ((), (indexed.bakers,))
