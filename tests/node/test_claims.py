"""A commitment stands in the open: who copies it into an event gains no say over the payload."""

from __future__ import annotations

import pytest

from openledger_node.ledger.kinds import DataContribute, DataErase, DataShare
from openledger_node.node.claims import speaking
from openledger_node.node.reading import body_of, find_event
from tests.kit.homes import Coop, words


@pytest.fixture
def copied(coop: Coop) -> tuple[Coop, bytes, bytes]:
    """alice's private text, held by the witness too, and the commitment that thief copied."""
    coop.join("alice")
    coop.join("thief")
    text = coop.add_text("alice", "diary", words("secret", 60), share="all")
    coop.settle()
    with coop["alice"].core.store.read() as snapshot:
        found = find_event(snapshot, bytes.fromhex(text))
        assert found is not None and found.event.payload_commit is not None
        body = body_of(found)
        commit = found.event.payload_commit
    assert isinstance(body, DataContribute)
    thief = coop["thief"].core
    done = thief.append_one("data.contribute", body, commit, found.event.payload_len)
    return coop, bytes.fromhex(done.event_id), commit


def holds(coop: Coop, name: str, commit: bytes) -> bool:
    with coop[name].core.store.read() as snapshot:
        return snapshot.has_payload(commit)


def test_who_copies_a_commitment_has_nothing_erased(copied: tuple[Coop, bytes, bytes]) -> None:
    coop, copy, commit = copied
    coop["thief"].core.append_one("data.erase", DataErase(copy, "mine"))
    coop.carry("thief", "alice")
    coop.carry("thief", "coop")
    assert holds(coop, "alice", commit)
    assert holds(coop, "coop", commit)


def test_who_copies_a_commitment_shares_nothing(copied: tuple[Coop, bytes, bytes]) -> None:
    coop, copy, commit = copied
    (named,) = [c for c in coop["alice"].data_list().contributions if c.title == "diary"]
    coop["alice"].data_share(named.contribution_id, "none")
    coop["thief"].core.append_one("data.share", DataShare(copy, "all"))
    coop.settle()
    coop.join("stranger")
    for source in ("alice", "coop"):
        assert holds(coop, source, commit)
        coop.carry(source, "stranger")
    assert not holds(coop, "stranger", commit)


def test_the_first_to_name_a_payload_speaks_for_it_and_has_it_erased(
    copied: tuple[Coop, bytes, bytes],
) -> None:
    coop, _, commit = copied
    coop.settle()
    (named,) = [
        c
        for c in coop["alice"].data_list().contributions
        if c.title == "diary" and c.account_id == coop.ids["alice"]
    ]
    coop["alice"].data_erase(named.contribution_id)
    coop.carry("alice", "coop")
    assert not holds(coop, "coop", commit)


def test_of_two_claims_of_one_epoch_neither_speaks(coop: Coop) -> None:
    coop.join("alice")
    coop.join("thief")
    text = coop.add_text("alice", "diary", words("secret", 60))
    with coop["alice"].core.store.read() as snapshot:
        found = find_event(snapshot, bytes.fromhex(text))
        assert found is not None
        commit = found.event.payload_commit
        body = body_of(found)
    copy = coop["thief"].core.append_one("data.contribute", body, commit, 1)
    coop.settle()
    for home, account in (("coop", coop.ids["coop"]), ("alice", coop.ids["alice"])):
        with coop[home].core.store.read() as snapshot:
            both = [find_event(snapshot, bytes.fromhex(e)) for e in (text, copy.event_id)]
            events = [event for event in both if event is not None]
            spoken = speaking(snapshot, bytes.fromhex(account), events)
        who = [event.event_id.hex() for event, _ in spoken]
        assert who == ([text] if home == "alice" else [])
