"""A commitment stands in the open: who copies it into an event gains nothing by it.

`copied` is the theft at its easiest: the copier's event is final and names the commitment of a text
that the copier never had. Where order might matter, the copy stands on either side of the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from openledger_node.credit import views
from openledger_node.exchange.proofs import event_proof
from openledger_node.exchange.span_proofs import check_span, span_parts
from openledger_node.ledger.errors import Refused, VerificationFailed
from openledger_node.ledger.kinds import DataContribute, DataErase, DataShare, UseReceipt
from openledger_node.ledger.payload import decode_payload, encode_payload, payload_commitment
from openledger_node.node.claims import backing, own_payload
from openledger_node.node.reading import Located, body_of, find_event
from openledger_node.node.replication.payloads import PayloadSeeker, Sought
from openledger_node.node.sharing import WishList, payload_for
from openledger_node.sync import events as e
from openledger_node.sync.payloads import plan
from tests.kit.homes import Coop, Ready, words


@dataclass
class Copied:
    """alice's text, the copier's event with its commitment, and the co-operative they are in."""

    coop: Coop
    text: str
    copy: str
    commit: bytes

    def located(self, home: str, event: str) -> Located:
        return event_of(self.coop, home, event)

    def holds(self, home: str) -> bool:
        with self.coop[home].core.store.read() as snapshot:
            return snapshot.has_payload(self.commit)


def event_of(coop: Coop, home: str, event: str) -> Located:
    with coop[home].core.store.read() as snapshot:
        found = find_event(snapshot, bytes.fromhex(event))
    assert found is not None
    return found


def copy_of(coop: Coop, source: str, text: str, thief: str) -> str:
    """An event of `thief` that repeats a contribution, commitment and all."""
    found = event_of(coop, source, text)
    body = body_of(found)
    assert isinstance(body, DataContribute)
    event = found.event
    done = coop[thief].core.append_one(
        "data.contribute", body, event.payload_commit, event.payload_len
    )
    return done.event_id


def commit_of(coop: Coop, home: str, text: str) -> bytes:
    commit = event_of(coop, home, text).event.payload_commit
    assert commit is not None
    return commit


@pytest.fixture
def copied(coop: Coop) -> Copied:
    """alice's text is held by the witness too; the copy is a later epoch's."""
    coop.join("alice", "thief")
    text = coop.add_text("alice", "diary", words("secret", 60), share="all")
    coop.settle()
    copy = copy_of(coop, "alice", text, "thief")
    return Copied(coop, text, copy, commit_of(coop, "alice", text))


# Attribution.


def test_a_copied_commitment_in_the_same_epoch_takes_no_share_whatever_the_order(
    coop: Coop,
) -> None:
    """Each copies the other's commitment, so whichever log comes first, one copy is ahead."""
    coop.join("alice", "bert", "maker")
    first = coop.add_text("alice", "first", words("first", 60))
    second = coop.add_text("bert", "second", words("second", 60))
    copies = [
        copy_of(coop, "alice", first, "bert"),
        copy_of(coop, "bert", second, "alice"),
    ]
    coop.gather()
    output = words("first", 20, start=30) + " " + words("second", 20, start=10)
    halves = {first: 500_000, second: 500_000}
    pending = coop["coop"].attribute(output.encode())
    assert (pending.ppm, pending.missing) == (halves, ())

    coop.settle()
    with coop["coop"].core.store.read() as snapshot:
        named = (first, second, *copies)
        found = [views.contribution(snapshot.state, bytes.fromhex(text)) for text in named]
    serials = [view.serial for view in found if view is not None and view.epoch == 1]
    assert len(serials) == 4
    assert sorted([serials[0] > serials[2], serials[1] > serials[3]]) == [False, True]
    assert coop["coop"].attribute(output.encode()).ppm == halves

    for home in ("coop", "maker"):
        coop[home].model_register(home, trained_on=[(text, 1) for text in named])
        coop.settle()
        model = next(m.model_id for m in coop[home].model_list().models if m.name == home)
        used = coop[home].use(model, output.encode())
        assert (used.ppm, used.unattributed_ppm, used.missing) == (halves, 0, ())


def test_a_retrieved_copy_is_no_source(copied: Copied) -> None:
    copied.coop.settle()
    output = words("secret", 30).encode()
    shown = copied.coop["coop"].attribute(output, retrieved=[copied.copy])
    assert (shown.ppm, shown.unattributed_ppm, shown.missing) == ({}, 1_000_000, ())
    both = copied.coop["coop"].attribute(output, retrieved=[copied.copy, copied.text])
    assert both.ppm == {copied.text: 1_000_000}


# Proofs.


def test_a_span_is_not_proved_in_a_copy_of_its_contribution(stage: Ready) -> None:
    coop = stage.coop
    copy = copy_of(coop, "alice", stage.harbour, "bert")
    receipt = stage.use(words("harbour", 20, start=60), 1_000_000).receipt_id
    coop.settle()
    maker = coop["maker"].core
    with maker.store.read() as snapshot:
        parts = span_parts(maker, snapshot, event_of(coop, "maker", receipt), 0)
        other = event_proof(maker, snapshot, event_of(coop, "maker", copy))
    assert check_span(maker.genesis, parts)["contribution_id"] == stage.harbour
    parts = type(parts)(other, parts.receipt, parts.output, parts.span)
    with pytest.raises(VerificationFailed, match="does not stand in the contribution"):
        check_span(maker.genesis, parts)


def test_an_output_is_not_shown_under_a_copy_of_its_receipt(stage: Ready) -> None:
    """bert repeats maker's receipt, outputs and evidence, as one of bert's own."""
    coop = stage.coop
    receipt = stage.use(words("harbour", 20, start=60)).receipt_id
    found = event_of(coop, "maker", receipt)
    body = body_of(found)
    assert isinstance(body, UseReceipt)
    event = found.event
    copy = (
        coop["bert"]
        .core.append_one("use.receipt", body, event.payload_commit, event.payload_len)
        .event_id
    )
    coop.settle()
    maker = coop["maker"].core
    with maker.store.read() as snapshot:
        parts = span_parts(maker, snapshot, event_of(coop, "maker", receipt), 0)
        of_copy = event_of(coop, "maker", copy)
        with pytest.raises(Refused, match="not held here"):
            span_parts(maker, snapshot, of_copy, 0)
        other = event_proof(maker, snapshot, of_copy)
    with pytest.raises(VerificationFailed, match="not the one that the receipt names"):
        check_span(maker.genesis, type(parts)(parts.contribution, other, parts.output, parts.span))
    assert coop["maker"].show(receipt).payload == "held"
    assert coop["maker"].show(copy).payload == "unbacked"
    shown = coop["maker"].explain(copy).tree
    assert any("not held here" in child.title for child in shown.children)


# Erasing and sharing.


def test_who_copies_a_commitment_has_nothing_erased(copied: Copied) -> None:
    coop = copied.coop
    coop["thief"].core.append_one("data.erase", DataErase(bytes.fromhex(copied.copy), "mine"))
    coop.carry("thief", "alice")
    coop.carry("thief", "coop")
    assert copied.holds("alice")
    assert copied.holds("coop")


def test_who_copies_a_commitment_erases_nothing_in_the_own_home(copied: Copied) -> None:
    assert copied.holds("thief")
    copied.coop["thief"].data_erase(copied.copy)
    assert copied.holds("thief")
    copied.coop["alice"].data_erase(copied.text)
    copied.coop.carry("alice", "thief")
    assert not copied.holds("thief")


def test_who_copies_a_commitment_shares_nothing(copied: Copied) -> None:
    coop = copied.coop
    coop["alice"].data_share(copied.text, "none")
    coop["thief"].core.append_one("data.share", DataShare(bytes.fromhex(copied.copy), "all"))
    coop.settle()
    coop.join("stranger")
    for source in ("alice", "coop"):
        assert copied.holds(source)
        coop.carry(source, "stranger")
    assert not copied.holds("stranger")


def test_who_copies_a_commitment_has_nothing_served_over_a_link(copied: Copied) -> None:
    coop = copied.coop
    coop["alice"].data_share(copied.text, [coop.ids["coop"]])
    coop["thief"].core.append_one("data.share", DataShare(bytes.fromhex(copied.copy), "all"))
    coop.settle()
    thief, witness = (
        (coop[name].core.account_id, coop[name].core.device) for name in ("thief", "coop")
    )
    text, copy = bytes.fromhex(copied.text), bytes.fromhex(copied.copy)
    with coop["alice"].core.store.read() as snapshot:
        assert payload_for(snapshot, *witness, text, copied.commit)
        assert payload_for(snapshot, *thief, text, copied.commit) is None
        for peer in (thief, witness):
            assert payload_for(snapshot, *peer, copy, copied.commit) is None


def test_the_author_still_has_the_payload_erased_after_a_copy(copied: Copied) -> None:
    copied.coop.settle()
    copied.coop["alice"].data_erase(copied.text)
    copied.coop.carry("alice", "coop")
    assert not copied.holds("coop")


def test_an_account_that_registers_its_payload_twice_has_it_under_both_events(coop: Coop) -> None:
    coop.join("alice")
    text = coop.add_text("alice", "diary", words("secret", 60), share="none")
    again = copy_of(coop, "alice", text, "alice")
    alice = coop["alice"]
    assert [alice.data_show(item).payload for item in (text, again)] == ["held", "held"]
    alice.data_share(again, "all")
    assert coop.carry("alice", "coop").payloads == 1
    coop.settle()
    shown = coop["coop"].attribute(words("secret", 30).encode())
    assert shown.ppm == {text: 1_000_000}
    alice.data_erase(again)
    coop.carry("alice", "coop")
    assert [alice.data_show(item).payload for item in (text, again)] == ["erased", "erased"]
    assert coop["coop"].attribute(words("secret", 30).encode()).ppm == {}


# What a home says.


def test_a_copy_is_shown_as_unbacked_and_gives_no_documents(copied: Copied) -> None:
    coop = copied.coop
    coop.settle()
    for home in ("alice", "coop", "thief"):
        shown = {
            item.contribution_id: item.payload for item in coop[home].data_list().contributions
        }
        assert shown == {copied.text: "held", copied.copy: "unbacked"}
        assert coop[home].show(copied.copy).payload == "unbacked"
        with pytest.raises(Refused, match="another account's") as caught:
            coop[home].data_get(copied.copy, coop.place / f"got-{home}")
        assert caught.value.code == "no_payload"
    coop["thief"].data_get(copied.text, coop.place / "got")


def test_backing_is_read_from_the_head_of_a_payload(coop: Coop) -> None:
    """Small payloads lie in the store, large ones in files; damage is no claim of another's."""
    coop.join("alice")
    alice, thief = bytes.fromhex(coop.ids["alice"]), bytes(32)
    core = coop["alice"].core
    for title, count in (("small", 60), ("large", 40_000)):
        commit = commit_of(coop, "alice", coop.add_text("alice", title, words(title, count)))
        with core.store.read() as snapshot:
            assert snapshot.payload_account(commit) == alice
            assert backing(snapshot, alice, commit) == "held"
            assert backing(snapshot, thief, commit) == "unbacked"
            assert own_payload(snapshot, alice, commit)
            assert own_payload(snapshot, thief, commit) is None
            assert backing(snapshot, alice, commit[::-1]) == "absent"
            assert own_payload(snapshot, alice, None) is None
    (file,) = [path for path in (coop.place / "alice" / "payloads").rglob("*") if path.is_file()]
    file.write_bytes(b"damaged" * 9)
    with core.store.read() as snapshot:
        assert snapshot.payload_account(commit) is None
        assert backing(snapshot, alice, commit) == "held"
    file.unlink()
    with core.store.read() as snapshot:
        assert snapshot.payload_account(commit) is None
    core.store.erase_payload(commit)
    with core.store.read() as snapshot:
        assert snapshot.payload_account(commit) is None
        assert backing(snapshot, alice, commit) == backing(snapshot, thief, commit) == "erased"


# Files and links.


def test_a_container_with_a_swapped_account_does_not_match(copied: Copied) -> None:
    """A bundle whose payload was bound to the copier has other bytes than its commitment."""
    with copied.coop["alice"].core.store.read() as snapshot:
        data = snapshot.payload(copied.commit)
    assert data is not None
    payload = decode_payload(data)
    thief = bytes.fromhex(copied.coop.ids["thief"])
    swapped = encode_payload(thief, payload.canon_version, payload.documents)
    assert len(swapped) == len(data)
    assert payload_commitment(data) == copied.commit
    assert payload_commitment(swapped) != copied.commit
    core = copied.coop["alice"].core
    core.store.erase_payload(copied.commit)
    core.store.put_payload(copied.commit, swapped)
    found = copied.coop["alice"].check()
    assert any("is not what it is named" in str(problem) for problem in found.problems)


class Link:
    """A link to a peer that answers what a test gives it; notes what was asked."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.session = self
        self.asked: list[tuple[bytes, bytes]] = []

    def send_payload_want(self, event: bytes, commit: bytes, document: int, leaf: int) -> int:
        self.asked.append((event, commit))
        return len(self.asked)

    def consumed(self, frame_bytes: int) -> None:
        pass

    def payload_done(self, want_id: int) -> None:
        pass


class Hub:
    """What a seeker hands a whole payload to."""

    def __init__(self) -> None:
        self.kept: list[tuple[bytes, bytes]] = []

    def start(self, _: Any, hub: Hub, commit: bytes, container: bytes) -> None:
        self.kept.append((commit, container))


@pytest.mark.parametrize("copy_first", [True, False])
def test_a_copy_does_not_keep_a_node_from_getting_the_original(
    copied: Copied, copy_first: bool
) -> None:
    coop = copied.coop
    coop["thief"].core.append_one("data.share", DataShare(bytes.fromhex(copied.copy), "all"))
    coop.settle()
    coop.join("reader")
    bundle = coop.file()
    coop["coop"].bundle_export(bundle, payloads=False)
    coop["reader"].bundle_import(bundle)
    sought = WishList(coop["reader"].core).look()
    text, copy = bytes.fromhex(copied.text), bytes.fromhex(copied.copy)
    assert {item.event_id for item in sought} == {text, copy}
    sought.sort(key=lambda item: (item.event_id == copy) != copy_first)

    with coop["alice"].core.store.read() as snapshot:
        data = snapshot.payload(copied.commit)
    assert data is not None
    kept = answered(sought, {text: data})
    assert kept == [(copied.commit, data)]


def answered(sought: list[Sought], served: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """What a seeker keeps when a peer serves these events' payloads, and MISSING for others."""
    seeker, link, hub = PayloadSeeker(), Link(1), Hub()
    runner = cast("Any", link)
    seeker.seek(sought)
    while seeker.ask(runner, 0):
        want_id = len(link.asked)
        event, _ = link.asked[-1]
        if event not in served:
            assert seeker.missing(1, want_id, 0)
            continue
        for frame in plan(want_id, decode_payload(served[event])):
            fields = [getattr(frame, name) for name in frame.__struct_fields__]
            kind: Any = getattr(e, type(frame).__name__ + "Came")
            seeker.came(runner, cast("Any", hub), kind(*fields, 0))
    assert seeker.is_idle(1)
    return hub.kept
