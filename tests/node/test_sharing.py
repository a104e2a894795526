"""Which payloads go over the network: by the final state's policies, to whom they name."""

from __future__ import annotations

import pytest

from openledger_node.node.sharing import STRANGER, WishList, is_enrolled, payload_for
from tests.kit.homes import WITNESS, Coop, words
from tests.kit.ledgerkit import key


@pytest.fixture
def pair(coop: Coop) -> Coop:
    for name in ("alice", "bob"):
        coop.join(name)
    coop.settle()
    return coop


def contributed(coop: Coop, share: object) -> tuple[bytes, bytes]:
    """(contribution, commitment) of a text of alice's."""
    file = coop.place / "text.txt"
    file.write_text(words("w", 80))
    added = coop["alice"].data_add([file], title="Text", share=share)  # type: ignore[arg-type]
    assert added.contribution_id is not None and added.payload_commit is not None
    return bytes.fromhex(added.contribution_id), bytes.fromhex(added.payload_commit)


def served(
    coop: Coop, to: str, event_id: bytes, commit: bytes, device: bytes | None = None
) -> bool:
    """Whether alice's node gives it to somebody's."""
    peer = coop[to].core
    with coop["alice"].core.store.read() as snapshot:
        found = payload_for(snapshot, peer.account_id, device or peer.device, event_id, commit)
    return found is not None


def test_nothing_is_served_before_its_epoch_is_final(pair: Coop) -> None:
    ids = contributed(pair, "all")
    assert not served(pair, "bob", *ids)
    pair.settle()
    assert served(pair, "bob", *ids)


@pytest.mark.parametrize(
    ("share", "to_bob", "to_witness"),
    [("none", False, False), ("all", True, True), (["bob"], True, False)],
)
def test_documents_go_where_the_policy_says(
    pair: Coop, share: object, to_bob: bool, to_witness: bool
) -> None:
    if share == ["bob"]:
        share = [pair.ids["bob"]]
    ids = contributed(pair, share)
    pair.settle()
    assert served(pair, "bob", *ids) is to_bob
    assert served(pair, WITNESS, *ids) is to_witness
    assert served(pair, "alice", *ids)


def test_who_names_an_account_without_its_device_is_a_stranger(pair: Coop) -> None:
    thief = key("thief").public.raw
    to_bob = contributed(pair, [pair.ids["bob"]])
    pair.settle()
    assert served(pair, "bob", *to_bob)
    assert not served(pair, "bob", *to_bob, device=thief)
    with pair["alice"].core.store.read() as snapshot:
        bob = pair["bob"].core
        assert is_enrolled(snapshot, bob.account_id, bob.device)
        assert not is_enrolled(snapshot, bob.account_id, thief)
        assert not is_enrolled(snapshot, STRANGER, bob.device)


def test_what_is_shared_with_all_is_given_to_strangers_too(pair: Coop) -> None:
    ids = contributed(pair, "all")
    pair.settle()
    assert served(pair, "bob", *ids, device=key("new device").public.raw)


def test_an_unknown_event_or_another_commitment_gives_nothing(pair: Coop) -> None:
    event_id, commit = contributed(pair, "all")
    pair.settle()
    assert not served(pair, "bob", bytes(32), commit)
    assert not served(pair, "bob", event_id, bytes(32))


def test_what_was_erased_is_not_served(pair: Coop) -> None:
    ids = contributed(pair, "all")
    pair.settle()
    pair["alice"].data_erase(ids[0].hex())
    assert not served(pair, "bob", *ids)


def test_a_node_wishes_for_what_it_may_have_and_lacks(pair: Coop) -> None:
    ids = contributed(pair, [pair.ids["bob"]])
    assert WishList(pair["bob"].core).look() == []
    pair.settle()
    wishes = WishList(pair["bob"].core)
    (item,) = wishes.look()
    assert (item.event_id, item.commit) == ids
    assert item.account.hex() == pair.ids["alice"]
    assert WishList(pair["alice"].core).look() == [], "its own are here"
    with pair["alice"].core.store.read() as snapshot:
        data = snapshot.payload(ids[1])
    assert data is not None
    pair["bob"].core.store.put_payload(ids[1], data)
    assert wishes.look() == []


def test_the_map_of_a_derivation_goes_to_everybody_once_it_is_final(pair: Coop) -> None:
    contributed(pair, "all")
    pair.settle()
    file = pair.write("copy.txt", words("w", 80))
    added = pair["bob"].data_add([file], title="Copy", share="none")
    assert added.derivation_id is not None
    shown = pair["bob"].show(added.derivation_id)
    assert shown.payload_commit is not None
    ids = bytes.fromhex(shown.event_id), bytes.fromhex(shown.payload_commit)
    alice = pair["alice"].core

    def served_to(device: bytes) -> bool:
        with pair["bob"].core.store.read() as snapshot:
            return payload_for(snapshot, alice.account_id, device, *ids) is not None

    assert not served_to(alice.device)
    pair.gather()
    assert WishList(alice).look() == []
    pair[WITNESS].epoch_close()
    bundle = pair.file()
    pair[WITNESS].bundle_export(bundle, payloads=False)
    for name in ("alice", "bob"):
        pair[name].bundle_import(bundle)
    assert served_to(alice.device)
    assert served_to(key("stranger").public.raw)
    (item,) = WishList(alice).look()
    assert (item.event_id, item.commit) == ids
