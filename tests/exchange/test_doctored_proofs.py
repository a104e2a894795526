"""Proof files made to say more than the ledger: by their makers, and by who passes them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from openledger_node.api import verify_file
from openledger_node.exchange.proofs import ProofFile, _decoders
from openledger_node.ledger.accounts import AccountRetireDevice, root_signatures
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import OlnError, Refused
from openledger_node.ledger.forks import prove_fork
from openledger_node.ledger.kinds import DatanetCreate
from openledger_node.ledger.merkle import leaf_hashes
from openledger_node.node.accounts import _chain, _root_signers
from openledger_node.node.forking import file_fork
from tests.kit.homes import WITNESS, Coop, Ready
from tests.kit.ledgerkit import MemoryLog


def valid(path: Path) -> bool:
    try:
        return verify_file(path).valid
    except OlnError:
        return False


def parts_of(path: Path) -> Any:
    whole = msgspec.msgpack.decode(path.read_bytes(), type=ProofFile)
    return whole, _decoders[whole.what].decode(whole.parts)


def rewritten(coop: Coop, whole: ProofFile, parts: Any) -> Path:
    path = coop.file("oln")
    path.write_bytes(encode(msgspec.structs.replace(whole, parts=encode(parts))))
    return path


@pytest.mark.rule("E2")
def test_a_key_event_in_another_spelling_is_refused(stage: Ready) -> None:
    coop = stage.coop
    path = coop.file("oln")
    coop["alice"].prove(stage.harbour, path)
    whole, parts = parts_of(path)
    assert valid(rewritten(coop, whole, parts))
    ((kind, raw),) = parts.key_events
    assert raw[35:36] == b"\x00"  # n, after the array's header and the account id
    wide = raw[:35] + b"\xcc\x00" + raw[36:]
    spelled = msgspec.structs.replace(parts, key_events=((kind, wide),))
    assert not valid(rewritten(coop, whole, spelled))


@pytest.mark.rule("L7")
def test_what_lies_past_a_log_s_closure_is_not_proved_to_be_final(stage: Ready) -> None:
    """A fork that becomes final closes a log in the epoch whose cut still takes all of it."""
    coop = stage.coop
    coop["alice"].datanet_create("before the fork")
    lost = coop["alice"].datanet_create("after the fork")
    coop.carry("alice", WITNESS)
    witness, alice = coop[WITNESS].core, coop["alice"].core
    with alice.store.read() as snapshot:
        held = snapshot.log(snapshot.current_log or b"")
        assert held is not None and held.head is not None
        log = MemoryLog(held.genesis, alice.key("device"))
        log.leaves = list(snapshot.leaves(held.log_id, 0, held.head.size))
    twin = MemoryLog(held.genesis, log.key)
    twin.leaves = [*log.leaves[:-1], b"\x90"]
    proof = prove_fork(log.head(), leaf_hashes(log.leaves), twin.head(), leaf_hashes(twin.leaves))
    assert proof is not None
    file_fork(witness, proof, here=True)
    coop[WITNESS].epoch_close()
    assert coop[WITNESS].show(lost.datanet_id).status == "unread"
    path = coop.file("oln")
    coop[WITNESS].prove(lost.datanet_id, path)
    shown = verify_file(path, coop.genesis)
    assert (shown.valid, shown.facts["final"]) == (True, False)


@pytest.mark.rule("K4")
def test_what_a_device_wrote_before_its_retirement_is_proved_whatever_that_lists(
    coop: Coop,
) -> None:
    """A log that a retirement does not list closes at its previous mark, and not at nothing."""
    coop.join("alice")
    coop.settle()
    made = coop["alice"].datanet_create("before it was retired")
    coop.settle()
    core = coop["alice"].core
    chain = _chain(core, core.account_id)
    so_far = [chain.account_id, chain.n, chain.digest, core.device, ()]
    signatures = root_signatures(core.ledger_id, so_far, _root_signers(core, chain))
    core.append_one("account.retire_device", AccountRetireDevice(*so_far, signatures))
    coop.settle()
    assert coop[WITNESS].show(made.datanet_id).status == "final"
    path = coop.file("oln")
    coop[WITNESS].prove(made.datanet_id, path)
    shown = verify_file(path, coop.genesis)
    assert (shown.valid, shown.reasons, shown.facts["final"]) == (True, (), True)
    late = core.append_one("datanet.create", DatanetCreate("after it was retired", "", ""))
    with pytest.raises(Refused, match="retired before this event") as caught:
        coop["alice"].prove(late.event_id, coop.file("oln"))
    assert caught.value.code == "not_provable"
