"""Events that stand in logs and that no fold reads: in logs that name somebody else's account, with
any key, and in logs of a stolen device past its retirement. They mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openledger_node.api import device_join
from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.forks import prove_fork
from openledger_node.ledger.heads import sign_head
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.kinds import AccountAccept, DataCommons, DataErase
from openledger_node.ledger.merkle import leaf_hashes, root
from openledger_node.node import derivations
from openledger_node.node.audit_scopes import _common_since
from openledger_node.node.core import NodeCore
from openledger_node.node.derivation_maps import maps_in_force
from openledger_node.node.forking import file_fork, filed_of
from openledger_node.store.ingest import ingest
from tests.kit.homes import WITNESS, Coop, words
from tests.kit.ledgerkit import MemoryLog, digest, key

TEXT = words("ann", 400)


@pytest.fixture
def coop(tmp_path: Path) -> Iterator[Coop]:
    with Coop(tmp_path) as made:
        made.join("ann", "ben", "thief")
        made.add_text("ann", "original", TEXT, share="none")
        made.settle()
        yield made


def false_log(coop: Coop, account: str, kind: str, body: Any, name: str = "false") -> MemoryLog:
    """A log that says it is of an account, under a key that it never enrolled; on the witness."""
    device: SigningKey = key("nobody's", name)
    core = coop[WITNESS].core
    opened = LogGenesis(
        1, core.ledger_id, bytes.fromhex(coop.ids[account]), device.public.raw,
        digest("nonce", name)[:16], None,
    )  # fmt: skip
    log = MemoryLog(opened, device)
    log.append(kind, body)
    ingest(core.store, log.genesis, log.head().signed, [log.leaves])
    return log


def epoch_over(coop: Coop, name: str) -> int:
    coop["thief"].datanet_create(name)
    return coop.settle().epoch


def claimed_copy(coop: Coop) -> tuple[bytes, bytes]:
    """(copy, ann's claim on it), both final."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derivations, "derived_in", lambda *given: ((), ()))
        copy = coop.add_text("ben", "copy", TEXT)
    coop.settle()
    claim = coop["ann"].data_derive(copy).derivation_id
    coop.settle()
    assert claim is not None
    return bytes.fromhex(copy), bytes.fromhex(claim)


def in_force(coop: Coop, copy: bytes, epochs: range) -> list[bool]:
    with coop[WITNESS].core.store.read() as snapshot:
        return [bool(maps_in_force(snapshot, [copy], epoch=e).redirect) for e in epochs]


@pytest.mark.rule("R3", "V4")
def test_an_acceptance_that_anybody_wrote_in_the_owner_s_name_dates_nothing_back(
    coop: Coop,
) -> None:
    """Else receipts from before the acceptance would be found to ignore the derivation."""
    copy, claim = claimed_copy(coop)
    false_log(coop, "ben", "account.accept", AccountAccept(claim))
    first = epoch_over(coop, "one")
    invitation = coop.place / "invitation.json"
    coop["ben"].device_invite(invitation)
    device_join(coop.place / "laptop", invitation, clock_ms=coop.clock)
    coop.ids["laptop"] = coop.ids["ben"]
    coop.settle()
    coop["laptop"].account_accept(claim.hex())
    accepted = coop.settle().epoch
    epoch_over(coop, "three")
    expected = [epoch >= accepted for epoch in range(first, accepted + 1)]
    assert in_force(coop, copy, range(first, accepted + 1)) == expected


@pytest.mark.rule("R3", "V4")
def test_an_acceptance_counts_from_the_epoch_in_which_its_device_was_enrolled(coop: Coop) -> None:
    """It lay in a cut before, unread: the owner chooses when it comes to be."""
    copy, claim = claimed_copy(coop)
    invitation = coop.place / "invitation.json"
    coop["ben"].device_invite(invitation)
    device_join(coop.place / "laptop", invitation, clock_ms=coop.clock)
    ben = coop.ids.pop("ben")
    coop.ids["laptop"] = ben
    coop.carry(WITNESS, "laptop")
    coop["laptop"].core.append_one("account.accept", AccountAccept(claim))
    first = epoch_over(coop, "one")
    epoch_over(coop, "two")
    coop.ids["ben"] = ben
    enrolled = coop.settle().epoch
    epoch_over(coop, "three")
    expected = [epoch >= enrolled for epoch in range(first, enrolled + 1)]
    assert in_force(coop, copy, range(first, enrolled + 1)) == expected


@pytest.mark.rule("R1", "V3")
def test_a_listing_as_common_that_anybody_wrote_dates_nothing_back(coop: Coop) -> None:
    text = bytes.fromhex(coop.add_text("ben", "licence", words("licence", 40)))
    coop.settle()
    false_log(coop, WITNESS, "data.commons", DataCommons(text))
    epoch_over(coop, "one")
    coop[WITNESS].data_commons(text.hex())
    listed = coop.settle().epoch
    with coop[WITNESS].core.store.read() as snapshot:
        assert _common_since(snapshot) == {text: listed}


@pytest.mark.rule("K4", "P6")
def test_a_thief_has_nothing_erased_after_its_device_was_retired(coop: Coop) -> None:
    text = coop.add_text("ann", "diary", words("diary", 40))
    invitation = coop.place / "invitation.json"
    coop["ann"].device_invite(invitation)
    device_join(coop.place / "laptop", invitation, clock_ms=coop.clock)
    coop.ids["laptop"] = coop.ids["ann"]
    coop.settle()
    coop["ann"].device_retire(coop["laptop"].core.device.hex())
    coop.settle()
    erasure = DataErase(bytes.fromhex(text), "by the thief")
    coop["laptop"].core.append_one("data.erase", erasure)
    commit = bytes.fromhex(coop["ann"].show(text).payload_commit or "")
    for home in ("ann", WITNESS, "ben"):
        coop.carry("laptop", home)
        with coop[home].core.store.read() as snapshot:
            assert snapshot.has_payload(commit) and not snapshot.is_erased(commit), home
    coop["ann"].data_erase(text)
    coop.carry("ann", WITNESS)
    with coop[WITNESS].core.store.read() as snapshot:
        assert snapshot.is_erased(commit)


@pytest.mark.rule("L7")
@pytest.mark.parametrize("how", ["false evidence", "unread log"])
def test_who_forked_a_log_cannot_keep_others_from_closing_it(coop: Coop, how: str) -> None:
    """It files a `log.fork` first that closes nothing."""
    core, thief = coop[WITNESS].core, coop["thief"].core
    with thief.store.read() as snapshot:
        held = snapshot.log(snapshot.current_log or b"")
        assert held is not None and held.head is not None
        log = MemoryLog(held.genesis, thief.key("device"))
        log.leaves = list(snapshot.leaves(held.log_id, 0, held.head.size))
    other = [*log.leaves[:-1], b"\x90"]
    twin = sign_head(log.key, log.genesis, len(other), root(other))
    proof = prove_fork(log.head(), leaf_hashes(log.leaves), twin, leaf_hashes(other))
    assert proof is not None
    if how == "unread log":
        false_log(coop, "ben", "log.fork", proof)
    else:
        body = [*proof_items(proof)]
        body[7] = digest("another leaf")
        coop["ben"].core.append_one("log.fork", body)
        coop.carry("ben", WITNESS)
    assert not is_filed(core, log.log_id)
    assert file_fork(core, proof, here=True)
    assert is_filed(core, log.log_id)
    coop.settle()
    assert is_filed(core, log.log_id)
    assert not file_fork(core, proof, here=True)


def is_filed(core: NodeCore, log_id: bytes) -> bool:
    with core.store.read() as snapshot:
        return filed_of(snapshot, [log_id]) == {log_id}


def proof_items(proof: Any) -> list[Any]:
    return [getattr(proof, name) for name in proof.__struct_fields__]
