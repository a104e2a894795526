"""How much of a bundle is looked at."""

from __future__ import annotations

import pytest

from openledger_node.exchange import bundle
from openledger_node.store.frames import FrameWriter, read_frames
from tests.kit.homes import WITNESS, Coop


def test_a_bundle_of_more_logs_than_there_may_be_is_read_to_the_limit(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accounts cost nothing: whoever made a bundle of throw-away ones gets so many looked at."""
    coop.join("alice", "bert", "cleo")
    for name in ("alice", "bert", "cleo"):
        coop.carry(name, WITNESS)
    path = coop.file()
    coop[WITNESS].bundle_export(path)
    coop.join("newcomer")
    monkeypatch.setattr(bundle, "MAX_LOGS", 2)
    moved = coop["newcomer"].bundle_import(path)
    assert moved.logs == 2
    assert [refusal.reason for refusal in moved.refused] == ["the bundle holds more than 2 logs"]


def test_logs_that_are_refused_count_too(coop: Coop, monkeypatch: pytest.MonkeyPatch) -> None:
    coop.join("alice")
    whole = coop.file()
    coop["alice"].bundle_export(whole)
    ledger, log, *rest = read_frames(whole, bundle.MAGIC, "a bundle")
    path = coop.file()
    with FrameWriter(path, bundle.MAGIC) as out:
        out.write(*ledger)
        for _ in range(5):
            out.write(*log)  # without its leaves
        for frame in (log, *rest):
            out.write(*frame)
    monkeypatch.setattr(bundle, "MAX_LOGS", 3)
    coop.join("newcomer")
    with pytest.raises(Exception, match="more than 3 logs"):
        coop["newcomer"].bundle_import(path)
