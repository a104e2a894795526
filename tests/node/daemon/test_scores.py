"""What a peer's fault costs it: its score, or an hour outside; and one line in the log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from openledger_node.ledger.keys import SigningKey
from openledger_node.net.address import Endpoint
from openledger_node.net.book import PeerBook
from openledger_node.net.peer import BAN_MS, BEST_SCORE, FAULT_POINTS, REFUSED_BELOW
from openledger_node.net.records import sign_record
from openledger_node.node.core import no_progress
from openledger_node.node.daemon.main import Daemon
from openledger_node.node.daemon.round import Round
from openledger_node.node.peers import StoredBook
from openledger_node.sync.faults import FAULTS, Cost, fault
from tests.kit.homes import WITNESS, Coop
from tests.kit.ledgerkit import digest

NOW_MS = 1_000_000
PEER = digest("evil peer")


class Around:
    """What a daemon's hooks use: the book, the clock and the log; and one link."""

    def __init__(self) -> None:
        self._book = PeerBook()
        self._core = SimpleNamespace(clock_ms=lambda: NOW_MS, ledger_id=digest("ledger"))
        self._log = self
        self.links = SimpleNamespace(own_id=digest("own"))
        self.lines: list[tuple[str, str]] = []
        self.link = SimpleNamespace(peer_id=PEER)
        self.ended: list[str] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields["code"]))

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields["code"]))

    def end(self, why: Any) -> None:
        self.ended.append(why.code)

    def ends(self, code: str) -> None:
        Daemon.link_ended(cast("Any", self), cast("Any", self), fault(code, "text"))


@pytest.mark.rule("Y17", "N13")
@pytest.mark.parametrize("code", list(FAULTS))
def test_a_fault_costs_what_the_table_says_and_is_logged_once(code: str) -> None:
    around = Around()
    around.ends(code)
    peer = around._book.get(PEER)
    cost = FAULTS[code][0]
    assert [line[1] for line in around.lines] == [code]
    assert (peer is None) == (cost is Cost.NONE)
    if peer is not None:
        lowered = peer.score_now(NOW_MS)
        assert lowered == (BEST_SCORE - FAULT_POINTS if cost is Cost.LOWER else BEST_SCORE)
        assert peer.is_banned(NOW_MS) == (cost is Cost.BAN)
        assert not peer.is_banned(NOW_MS + BAN_MS)


@pytest.mark.rule("N13")
def test_a_peer_that_goes_on_flooding_is_kept_out() -> None:
    around = Around()
    for times in range(1, 6):
        around.ends("flood")
        score = BEST_SCORE - times * FAULT_POINTS
        assert (around._book.refusal(PEER, NOW_MS) is not None) == (score < REFUSED_BELOW)
    assert around._book.refusal(PEER, NOW_MS) is not None


@pytest.mark.rule("N14")
@pytest.mark.parametrize("is_local", [True, False])
def test_addresses_of_this_machine_are_taken_from_this_machine_alone(is_local: bool) -> None:
    around = Around()
    around.link.is_local = is_local
    node = SigningKey(digest("node"))
    places = [Endpoint("127.0.0.1", 22)]
    told = sign_record(node, around._core.ledger_id, places, NOW_MS).encoded
    Daemon.peers_came(cast("Any", around), cast("Any", around), [told])
    assert (around._book.get(node.public.raw) is not None) == is_local


@pytest.mark.rule("N12")
@pytest.mark.parametrize("records", [[b"junk"], [b"\x90"], [bytes(1_024)] * 16])
def test_a_record_that_does_not_verify_ends_the_link_and_is_not_kept(records: list[bytes]) -> None:
    around = Around()
    Daemon.peers_came(cast("Any", around), cast("Any", around), records)
    assert around.ended == ["bad_record"]
    assert len(around._book) == 0


@pytest.mark.rule("Y17", "N13")
@pytest.mark.parametrize("code", ["bad_data", "flood", "self"])
def test_a_single_round_charges_a_peer_as_the_daemon_does_and_remembers_it(
    code: str, coop: Coop
) -> None:
    core = coop[WITNESS].core
    round_ = Round(core, no_progress)
    runner = SimpleNamespace(link=SimpleNamespace(peer_id=PEER))
    round_.link_ended(cast("Any", runner), fault(code, "text"))
    round_._stored.save()
    found = StoredBook(core).book.get(PEER)
    cost = FAULTS[code][0]
    assert (found is None) == (cost is Cost.NONE)
    if found is not None:
        now_ms = core.clock_ms()
        assert found.is_banned(now_ms) == (cost is Cost.BAN)
        assert (found.score_now(now_ms) < BEST_SCORE) == (cost is Cost.LOWER)
