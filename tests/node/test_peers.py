"""Peers as a home knows them: what commands write and a daemon takes over."""

from __future__ import annotations

import pytest

from openledger_node.ledger.errors import UsageError
from openledger_node.node import peers
from openledger_node.node.daemon.report import sole_daemon, write_report
from openledger_node.node.peers import StoredBook
from tests.kit.homes import WITNESS, Coop
from tests.kit.ledgerkit import key

A, B = key("node", "a").public.raw.hex(), key("node", "b").public.raw.hex()


def test_a_peer_that_was_added_is_listed_with_its_address(coop: Coop) -> None:
    home = coop[WITNESS]
    added = home.peer_add(f"{A}@node.example.org:4767")
    assert (added.node_id, added.source, added.linked) == (A, "added", False)
    assert added.addresses == (f"{A}@node.example.org:4767",)
    listed = home.peer_list()
    assert [peer.node_id for peer in listed.peers] == [A]
    assert (listed.daemon, listed.listening, listed.node_id) == (False, (), home.node_id)


def test_a_second_address_of_a_peer_is_kept_beside_the_first(coop: Coop) -> None:
    home = coop[WITNESS]
    home.peer_add(f"{A}@one.example.org:1")
    assert len(home.peer_add(f"{A}@[2001:db8::1]:2").addresses) == 2


def test_a_removed_peer_is_forgotten_also_by_a_daemon_that_runs(coop: Coop) -> None:
    home = coop[WITNESS]
    home.peer_add(f"{A}@one.example.org:1")
    running = StoredBook(home.core)
    assert home.peer_remove(A[:8]).node_id == A
    assert [i.hex() for i in running.take_changes()] == [A]
    assert len(running.book) == 0
    assert home.peer_list().peers == ()


def test_what_a_command_changed_reaches_a_daemon_and_the_reverse(coop: Coop) -> None:
    home = coop[WITNESS]
    running = StoredBook(home.core)
    assert running.take_changes() == []
    home.peer_add(f"{A}@one.example.org:1")
    assert [i.hex() for i in running.take_changes()] == [A]
    assert running.take_changes() == []
    running.book.lower(bytes.fromhex(A), home.core.clock_ms())
    running.save()
    assert running.take_changes() == [], "its own writing is no news to it"
    assert home.peer_list().peers[0].score == 80


def test_a_ban_keeps_out_and_nought_hours_let_in(coop: Coop) -> None:
    home = coop[WITNESS]
    banned = home.peer_ban(B, hours=2)
    assert banned.banned_until_ms is not None
    book = StoredBook(home.core).book
    assert "banned" in (book.refusal(bytes.fromhex(B), home.core.clock_ms()) or "")
    assert home.peer_ban(B[:10], hours=0).banned_until_ms is None


@pytest.mark.parametrize("hours", [-1, 8_761])
def test_a_ban_has_a_longest_time(coop: Coop, hours: int) -> None:
    with pytest.raises(UsageError, match="a ban lasts"):
        coop[WITNESS].peer_ban(B, hours=hours)


@pytest.mark.parametrize(
    "address",
    ["", "node.example.org:1", f"{A}@", f"{A}@host", f"{A}@host:0", f"{A}@host:99999",
     f"{A[:10]}@host:1", f"{'00' * 32}@host:1", f"{A}@ho st:1", "é@host:1", f"{A}@{'x' * 400}:1"],
)  # fmt: skip
def test_an_address_that_is_none_is_wrong_usage(coop: Coop, address: str) -> None:
    with pytest.raises(UsageError):
        coop[WITNESS].peer_add(address)
    assert coop[WITNESS].peer_list().peers == ()


def test_this_node_itself_is_no_peer(coop: Coop) -> None:
    home = coop[WITNESS]
    with pytest.raises(UsageError, match="this node itself"):
        home.peer_add(f"{home.node_id}@127.0.0.1:1")


def test_a_peer_is_named_by_eight_digits_or_more(coop: Coop) -> None:
    home = coop[WITNESS]
    home.peer_add(f"{A}@host:1")
    for unknown in (A[:7], "ffffffff", "", "é" * 9):
        with pytest.raises(UsageError, match="no peer"):
            home.peer_remove(unknown)


def test_links_of_a_running_daemon_are_shown(coop: Coop) -> None:
    home = coop[WITNESS]
    home.peer_add(f"{A}@host:1")
    link = {"node_id": B, "address": "192.0.2.7:5", "outbound": False, "account": "ab" * 32}
    report = '{{"links": [{}], "listening": ["127.0.0.1:7"], "failure": "", "pid": 1}}'.format(
        str(link).replace("'", '"').replace("False", "false")
    )
    with sole_daemon(home.core.home):
        write_report(home.core.home, report)
        listed = home.peer_list()
        status = home.status()
    assert [(peer.node_id, peer.linked, peer.source) for peer in listed.peers] == [
        (B, True, "came by itself"),
        (A, False, "added"),
    ]
    assert (status.daemon, status.peers, status.listening) == (True, (B,), ("127.0.0.1:7",))
    assert home.status().daemon is False


def test_an_entry_that_cannot_be_read_is_left_out(coop: Coop) -> None:
    home = coop[WITNESS]
    home.core.store.set_facts(peers.FACT, [(bytes.fromhex(A), b"junk"), (b"short", b"x")])
    assert home.peer_list().peers == ()


def test_a_sync_without_any_peer_says_what_to_do(coop: Coop) -> None:
    with pytest.raises(UsageError, match="no peer is known") as caught:
        coop[WITNESS].sync()
    assert "oln peer add" in caught.value.hint


def test_a_home_that_stores_listed_accounts_alone_says_what_it_cannot_do(coop: Coop) -> None:
    home = coop[WITNESS]
    assert home.status().alarms == ()
    (home.core.home / "node.toml").write_text('[sync]\nadmission = "listed"\n')
    coop.shut(WITNESS)
    (alarm,) = coop[WITNESS].status().alarms
    assert "cannot be folded" in alarm


def test_a_forgotten_peer_leaves_nothing_in_the_store(coop: Coop) -> None:
    home = coop[WITNESS]
    home.peer_add(f"{A}@one.example.org:1")
    home.peer_remove(A)
    with home.core.store.read() as snapshot:
        assert dict(snapshot.facts(peers.FACT)) == {}


def test_what_an_earlier_version_left_of_forgotten_peers_goes(coop: Coop) -> None:
    home = coop[WITNESS]
    home.core.store.set_facts(peers.FACT, [(bytes.fromhex(i), peers.FORGOTTEN) for i in (A, B)])
    running = StoredBook(home.core)
    assert len(running.book) == 0
    home.peer_add(f"{A}@one.example.org:1")
    assert [i.hex() for i in sorted(running.take_changes())] == sorted([A, B])
    with home.core.store.read() as snapshot:
        assert [i.hex() for i in dict(snapshot.facts(peers.FACT))] == [A]
