"""Longer stories with several homes, as their users type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import in_process, must

POEM = "the river carries its boats past nine quiet towns before it finds the sea\n"


class Town:
    """A folder of homes on one ledger; `founder` has its seat."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.accounts: dict[str, str] = {}
        self._bundles = 0
        self.accounts["founder"] = self.oln("founder", "init", "--name", "founder")["account_id"]
        self.oln("founder", "ledger", "export", "genesis.json")

    def oln(self, home: str, *words: str) -> Any:
        return must("--home", home, *words, folder=self.folder, runner=in_process)

    def refused(self, home: str, *words: str) -> tuple[int, str]:
        answer = in_process("--json", "--home", home, *words, folder=self.folder)
        return answer.status, answer.error["message"]

    def join(self, name: str) -> dict[str, Any]:
        begun: dict[str, Any] = self.oln(name, "init", "--name", name, "--ledger", "genesis.json")
        self.accounts[name] = begun["account_id"]
        self.carry(name, "founder")
        return begun

    def carry(self, sender: str, receiver: str) -> None:
        self._bundles += 1
        file = f"{self._bundles}.bundle"
        self.oln(sender, "bundle", "export", file)
        assert self.oln(receiver, "bundle", "import", file)["refused"] == []

    def close(self, *homes: str) -> None:
        self.oln("founder", "epoch", "close")
        for home in homes:
            self.carry("founder", home)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    (tmp_path / "poem.txt").write_text(POEM)
    return Town(tmp_path)


def test_a_second_device_writes_for_the_same_account_until_it_is_retired(town: Town) -> None:
    town.oln("founder", "device", "invite", "laptop.invite")
    joined = town.oln("laptop", "device", "join", "laptop.invite")
    assert joined["account_id"] == town.accounts["founder"]
    town.carry("founder", "laptop")
    made = town.oln("laptop", "datanet", "create", "from-the-laptop")["datanet_id"]
    town.carry("laptop", "founder")
    town.close()
    shown = town.oln("founder", "show", made)
    assert (shown["status"], shown["account_id"]) == ("final", town.accounts["founder"])

    devices = town.oln("founder", "device", "list")["devices"]
    other = next(device["device"] for device in devices if not device["own"])
    town.oln("founder", "device", "retire", other[:12])
    town.close("laptop")
    late = in_process("--json", "--home", "laptop", "datanet", "create", "late", folder=town.folder)
    if late.status == 0:  # a device that does not know better may write; it does not count
        town.carry("laptop", "founder")
        town.close()
        assert town.oln("founder", "show", late.document["datanet_id"])["status"] != "final"
    else:
        assert late.status == 3


def test_a_lost_account_is_recovered_on_a_fresh_home(town: Town) -> None:
    lost = town.join("ana")
    town.oln("ana", "data", "add", "poem.txt", "--title", "River")
    town.carry("ana", "founder")
    town.close()
    town.oln("fresh", "init", "--ledger", "genesis.json")
    town.carry("founder", "fresh")
    recovery = Path(lost["recovery_file"])
    town.oln("fresh", "account", "recover", str(recovery), "--out", "next.json")
    assert town.oln("fresh", "status")["account_id"] == lost["account_id"]
    made = town.oln("fresh", "datanet", "create", "back-again")["datanet_id"]
    town.carry("fresh", "founder")
    town.close()
    shown = town.oln("founder", "show", made)
    assert (shown["status"], shown["account_id"]) == ("final", lost["account_id"])


def test_a_used_recovery_file_is_of_no_use_again(town: Town) -> None:
    begun = town.oln("founder", "account", "list")
    assert begun["accounts"][0]["own"]
    recovery = next((town.folder / "founder").glob("recovery-*.json"))
    town.oln("founder", "account", "rotate", str(recovery), "--out", "next.json")
    status, message = town.refused("founder", "account", "rotate", str(recovery), "--out", "x")
    assert status == 3
    assert "would be void" in message
    assert not (town.folder / "x").exists()
    town.oln("founder", "account", "rotate", "next.json", "--out", "after.json")


def paid_use(town: Town) -> dict[str, Any]:
    """`maker` recorded a use of 10 credits for `founder`, who has it in their home."""
    town.join("maker")
    added = town.oln("maker", "data", "add", "poem.txt", "--title", "River")
    model = town.oln("maker", "model", "register", "m", "--trained-on", added["contribution_id"])
    town.carry("maker", "founder")
    town.oln("founder", "issue", "100", "--to", "founder")
    town.close()
    grant = town.oln("founder", "grant", town.accounts["maker"], "50")["grant_id"]
    town.close("maker")
    used: dict[str, Any] = town.oln(
        "maker",
        *("use", model["model_id"], "--output", "poem.txt", "--grant", grant, "--fee", "10"),
    )
    assert used["fee_micro"] == 10_000_000
    town.carry("maker", "founder")
    return used


def balance(town: Town, name: str) -> int:
    shown = town.oln("founder", "credits", town.accounts[name])["accounts"]
    return int(shown[0]["balance_micro"]) if shown else 0


def test_a_disputed_fee_is_held_until_the_provider_cancels(town: Town) -> None:
    used = paid_use(town)
    town.oln("founder", "dispute", used["receipt_id"])
    town.close("maker")
    assert balance(town, "maker") == 0
    assert balance(town, "founder") == 50_000_000
    town.oln("maker", "cancel", used["receipt_id"])
    town.carry("maker", "founder")
    town.close()
    assert balance(town, "maker") == 0
    assert balance(town, "founder") == 60_000_000


def test_only_the_payer_may_confirm_and_only_the_provider_cancel(town: Town) -> None:
    used = paid_use(town)
    for home, word in (("maker", "confirm"), ("founder", "cancel"), ("maker", "dispute")):
        status, message = town.refused(home, word, used["receipt_id"])
        assert status == 3
        assert "rule C4" in message or "rule C15" in message


def test_a_repeated_key_records_once_and_a_batch_becomes_one_receipt(town: Town) -> None:
    added = town.oln("founder", "data", "add", "poem.txt", "--title", "River")
    model = town.oln("founder", "model", "register", "m", "--trained-on", added["contribution_id"])
    words = ("use", model["model_id"], "--output", "poem.txt", "--key", "k1")
    first, second = town.oln("founder", *words), town.oln("founder", *words)
    assert (first["repeated"], second["repeated"]) == (False, True)
    assert first["receipt_id"] == second["receipt_id"]
    lines = [{"output": POEM}, {"output": "nothing of the kind"}, {"output": POEM}]
    (town.folder / "uses.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = town.oln("founder", "use", model["model_id"], "--batch", "uses.jsonl")
    assert done["uses"] == 3
    assert len(done["receipts"]) == 1
    receipt = done["receipts"][0]
    assert sum(receipt["ppm"].values()) + receipt["unattributed_ppm"] == 1_000_000


def test_erased_text_is_gone_and_its_registration_stays(town: Town) -> None:
    added = town.oln("founder", "data", "add", "poem.txt", "--title", "River")["contribution_id"]
    town.oln("founder", "data", "get", added, "copy")
    assert [file.read_text() for file in (town.folder / "copy").iterdir()] == [POEM]
    town.oln("founder", "data", "erase", added, "--reason", "asked for")
    assert town.oln("founder", "data", "show", added)["payload"] == "erased"
    assert town.refused("founder", "data", "get", added, "again")[0] == 3
    assert town.oln("founder", "show", added)["kind"] == "data.contribute"


def test_shared_text_travels_and_text_that_is_not_shared_stays(town: Town) -> None:
    town.join("ana")
    (town.folder / "other.txt").write_text("a list of birds that were seen from the east window\n")
    shared = town.oln("ana", "data", "add", "poem.txt", "--title", "River", "--share", "all")
    kept = town.oln("ana", "data", "add", "other.txt", "--title", "Birds")
    town.carry("ana", "founder")
    found = {
        item["contribution_id"]: item["payload"]
        for item in town.oln("founder", "data", "list")["contributions"]
    }
    assert found == {shared["contribution_id"]: "held", kept["contribution_id"]: "absent"}


def test_a_bundle_of_another_ledger_is_refused(town: Town) -> None:
    town.oln("stranger", "init")
    town.oln("stranger", "bundle", "export", "strange.bundle")
    events = town.oln("founder", "status")["events"]
    status, message = town.refused("founder", "bundle", "import", "strange.bundle")
    assert status in (1, 3)
    assert "ledger" in message
    assert town.oln("founder", "status")["events"] == events
