"""What the thief of a device's key can do, and what its account can do about it."""

from __future__ import annotations

import pytest

from openledger_node.api import device_join
from openledger_node.ledger.accounts import MAX_RETIRED_LOGS
from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.kinds import DatanetCreate
from openledger_node.store.ingest import ingest
from tests.kit.homes import WITNESS, Coop
from tests.kit.ledgerkit import MemoryLog


@pytest.mark.rule("K4")
def test_a_thief_with_more_logs_than_a_retirement_lists_is_retired_all_the_same(
    coop: Coop,
) -> None:
    """A stolen device key opens hundreds of logs. Those that are not listed close where they stood
    in the last cut, so nothing of them is lost that was final; and the device's own log is listed.
    """
    coop.join("alice")
    coop.settle()
    invitation = coop.place / "invitation.json"
    coop["alice"].device_invite(invitation)
    device_join(coop.place / "laptop", invitation, clock_ms=coop.clock)
    coop.ids["laptop"] = coop.ids["alice"]
    coop.carry("alice", "laptop")
    final = coop["laptop"].datanet_create("before it was stolen")
    coop.settle()
    pending = coop["laptop"].datanet_create("not final when it was retired")
    coop.carry("laptop", "alice")
    laptop, alice = coop["laptop"].core, coop["alice"].core
    owner = laptop.account_id, laptop.device
    for number in range(MAX_RETIRED_LOGS + 40):
        genesis = LogGenesis(1, laptop.ledger_id, *owner, number.to_bytes(16, "big"), None)
        log = MemoryLog(genesis, laptop.key("device"))
        log.append("datanet.create", DatanetCreate(f"by the thief {number}", "", ""))
        ingest(alice.store, log.genesis, log.head().signed, [log.leaves])
    coop["alice"].device_retire(laptop.device.hex())
    coop.settle()
    assert [item.retired for item in coop["alice"].device_list().devices] == [False, True]
    for made in (final, pending):
        assert coop[WITNESS].show(made.datanet_id).status == "final"
