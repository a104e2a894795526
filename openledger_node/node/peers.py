"""Peers as a home knows them: the book between the daemon and the command line.

The book lies in the store, an entry a peer. The daemon works on a book in memory and writes what
changed; what a command changed meanwhile it sees by the entries that are not as it wrote them.
"""

from __future__ import annotations

from typing import Any, Final

from openledger_node.ledger.errors import UsageError
from openledger_node.net.address import PeerAddress, node_id_text, parse_node_id
from openledger_node.net.book import PeerBook
from openledger_node.net.identity import NodeIdentity
from openledger_node.net.peer import BAN_MS, Peer, Source
from openledger_node.node.addressing import named_peers
from openledger_node.node.core import NodeCore
from openledger_node.node.daemon.report import read_report
from openledger_node.node.results_network import Peer as ShownPeer
from openledger_node.node.results_network import Peers
from openledger_node.sync.faults import Cost, PeerFault

FACT: Final = "peer"
FORGOTTEN: Final = b""
"""How earlier versions wrote that a node is forgotten; it goes with the next that is written."""
MIN_PREFIX_CHARS: Final = 8
MAX_BAN_HOURS: Final = 24 * 365
_SOURCES: Final = {Source.PERSON: "added", Source.LAN: "local network", Source.RECORD: "peers"}


def identity(core: NodeCore) -> NodeIdentity:
    """This node on links: its transport key, which is no log key."""
    return NodeIdentity(core.key("transport"))


class StoredBook:
    """The book in memory and what of it is stored."""

    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._written: dict[bytes, bytes] = {}
        self.book = PeerBook()
        self.take_changes()
        self.book.changes()

    def take_changes(self) -> list[bytes]:
        """Takes over entries that another process changed; their node ids."""
        with self._core.store.read() as snapshot:
            stored = dict(snapshot.facts(FACT))
        changed = [
            node_id for node_id, data in stored.items() if self._written.get(node_id) != data
        ]
        changed += [node_id for node_id in self._written if node_id not in stored]
        for node_id in changed:
            data = stored.get(node_id, FORGOTTEN)
            if data == FORGOTTEN:
                self.book.remove(node_id)
            else:
                self.book.load([(node_id, data)])
        self._written = stored
        return changed

    def save(self) -> None:
        """Writes what changed in memory."""
        changes = self.book.changes()
        if not changes:
            return
        old = [(node_id, None) for node_id, data in self._written.items() if data == FORGOTTEN]
        changes = [*old, *changes]
        self._core.store.set_facts(FACT, changes)
        for node_id, data in changes:
            if data is None:
                self._written.pop(node_id, None)
            else:
                self._written[node_id] = data


def charge(book: PeerBook, node_id: bytes, why: PeerFault | None, now_ms: int) -> bool:
    """What the end of a link costs the peer (Y17, N13): an hour outside, or points; whether any."""
    if why is None or why.cost is Cost.NONE:
        return False
    if why.cost is Cost.BAN:
        book.ban(node_id, why.code, now_ms)
    else:
        book.lower(node_id, now_ms)
    return True


def peer_add(core: NodeCore, text: str) -> ShownPeer:
    """Knows a node at an address, and keeps a link to it."""
    address = PeerAddress.parse(text)
    if address.node_id == identity(core).node_id:
        raise UsageError("that is this node itself", hint="`oln status` shows this node's id")
    stored = StoredBook(core)
    stored.book.add(address)
    stored.book.pardon(address.node_id)
    stored.save()
    return _shown(core, stored.book, address.node_id)


def peer_remove(core: NodeCore, text: str) -> ShownPeer:
    """Forgets a node."""
    stored = StoredBook(core)
    node_id = _find(stored.book, text)
    shown = _shown(core, stored.book, node_id)
    stored.book.remove(node_id)
    stored.save()
    return shown


def peer_ban(core: NodeCore, text: str, hours: int) -> ShownPeer:
    """Keeps a node out, or with 0 hours lets it in again."""
    if not 0 <= hours <= MAX_BAN_HOURS:
        raise UsageError(f"a ban lasts 0 to {MAX_BAN_HOURS:,} hours")
    stored = StoredBook(core)
    try:
        node_id = _find(stored.book, text)
    except UsageError:
        node_id = parse_node_id(text)
    if hours:
        stored.book.ban(node_id, "by hand", core.clock_ms(), hours * BAN_MS)
    else:
        stored.book.pardon(node_id)
    stored.save()
    return _shown(core, stored.book, node_id)


def peer_list(core: NodeCore) -> Peers:
    """All peers, those with a link first."""
    report = read_report(core.home)
    book = StoredBook(core).book
    known = {peer.node_id for peer in book}
    for link in report["links"] if report else ():
        known.add(bytes.fromhex(link["node_id"]))
    shown = [_shown(core, book, node_id, report) for node_id in known]
    shown.sort(key=lambda peer: (not peer.linked, peer.source != "added", peer.node_id))
    return Peers(
        peers=tuple(shown),
        node_id=node_id_text(identity(core).node_id),
        daemon=report is not None,
        listening=tuple(report["listening"]) if report else (),
    )


def _find(book: PeerBook, text: str) -> bytes:
    """The node in the book that an id, a prefix of one, or an address names."""
    wanted = text.partition("@")[0]
    found = [peer.node_id for peer in book if node_id_text(peer.node_id).startswith(wanted)]
    if len(wanted) < MIN_PREFIX_CHARS or not found:
        raise UsageError(
            f"no peer {text!r} is known",
            hint="`oln peer list` shows them; name one by 8 or more digits of its id",
            code="unknown_id",
        )
    if len(found) > 1:
        raise UsageError(f"{text!r} fits several peers", hint="give more digits", code="ambiguous")
    return found[0]


def _shown(
    core: NodeCore, book: PeerBook, node_id: bytes, report: dict[str, Any] | None = None
) -> ShownPeer:
    peer = book.get(node_id) or Peer(node_id)
    links = [link for link in report["links"] if link["node_id"] == node_id.hex()] if report else []
    sources = sorted(place.source for place in peer.places.values())
    now_ms = core.clock_ms()
    return ShownPeer(
        node_id=node_id_text(node_id),
        addresses=tuple(str(address) for address in peer.addresses()),
        source="added" if peer.is_kept else _SOURCES[sources[0]] if sources else "came by itself",
        linked=bool(links),
        account=links[0]["account"] if links else "",
        score=peer.score_now(now_ms),
        last_seen_ms=peer.last_seen_ms or None,
        banned_until_ms=peer.banned_until_ms if peer.is_banned(now_ms) else None,
    )


def addresses_of(core: NodeCore, text: str) -> list[PeerAddress]:
    """Where to dial what a command names: an address, or a known node by its id."""
    if "@" in text:
        return [PeerAddress.parse(text)]
    book = StoredBook(core).book
    peer = book.get(_find(book, text))
    found = list(peer.addresses()) if peer else []
    if not found:
        raise UsageError(f"no address of {text!r} is known", hint="give one: id@host:port")
    return found


def all_addresses(core: NodeCore) -> list[list[PeerAddress]]:
    """The addresses of every node that people named, by node."""
    book = StoredBook(core).book
    for address in named_peers(core.config):
        book.add(address)
    return [list(peer.addresses()) for peer in book.kept(core.clock_ms())]
