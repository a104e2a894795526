"""A cheating provider among daemons: evidence travels by itself, the witness's daemon upholds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openledger_node.attribution.canon import CanonText
from openledger_node.attribution.reference import Attribution
from openledger_node.credit import views
from openledger_node.node import uses
from openledger_node.node.scopes import Gathered
from openledger_node.node.uses import AttributedOutput
from tests.kit.daemons import Town

HOMES = ["ana", "maker", "user"]
POEM = " ".join(f"word{index}" for index in range(300))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """ana witnesses and writes, maker has a model, user pays; all three run daemons."""
    with Town(tmp_path) as made:
        made.begin("ana", "maturity_epochs = 8\ndispute_epochs = 6\n")
        made.join("maker")
        made.join("user")
        made.start("ana")
        made.start("maker", "ana")
        made.start("user", "ana", "maker")
        yield made


def oln(town: Town, name: str, *words: str) -> Any:
    answer = town.oln(name, "--json", *words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


def close(town: Town) -> None:
    """The witness closes an epoch over all that anybody wrote; everybody folds it."""
    town.until_same(HOMES)
    assert oln(town, "ana", "epoch", "close")["closed"]
    town.until_same(HOMES)
    last = town.status("ana").epoch
    town.until(lambda: all(town.status(name).epoch == last for name in HOMES), "the epoch")


def nothing_found(output: bytes, text: CanonText, gathered: Gathered) -> AttributedOutput:
    return AttributedOutput(output, text, Attribution(len(text), (), ()))


def paid_use(town: Town, monkeypatch: pytest.MonkeyPatch) -> str:
    """A receipt of 5 credits that says the output draws on nothing."""
    (town.place / "poem.txt").write_text(POEM)
    poem = oln(
        town, "ana", "data", "add", str(town.place / "poem.txt"), "--title", "P", "--share", "all"
    )["contribution_id"]
    oln(town, "ana", "issue", "100", "--to", town.status("user").account_id)
    close(town)
    model = oln(town, "maker", "model", "register", "m", "--trained-on", poem)["model_id"]
    grant = oln(town, "user", "grant", town.status("maker").account_id, "20")["grant_id"]
    close(town)
    town.until(lambda: holds(town, "maker", poem), "the poem")
    with monkeypatch.context() as patch, town.home("maker") as home:
        patch.setattr(uses, "attribute_one", nothing_found)
        used = home.use(model, POEM[:400].encode(), grant=grant, fee_micro=5_000_000)
    assert used.ppm == {}
    close(town)
    return used.receipt_id


def holds(town: Town, name: str, event_id: str) -> bool:
    with town.home(name) as home:
        return home.show(event_id).payload == "held"


def has_evidence(town: Town, name: str, receipt: str) -> bool:
    """Whether a home holds the evidence of a receipt and its outputs."""
    with town.home(name) as home, home.core.store.read() as snapshot:
        root = bytes.fromhex(home.show(receipt).body["output_root"])
        return home.show(receipt).payload == "held" and snapshot.has_payload(root)


def outcome(town: Town, name: str, receipt: str) -> str:
    with town.home(name) as home, home.core.store.read() as snapshot:
        view = views.receipt(snapshot.state, bytes.fromhex(receipt))
    assert view is not None
    return view.status


@pytest.mark.rule("J1")
def test_evidence_travels_by_itself_and_the_witness_s_daemon_upholds_the_challenge(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = paid_use(town, monkeypatch)
    town.until(lambda: has_evidence(town, "user", receipt), "the evidence at the payer's")
    assert not holds(town, "ana", receipt)
    said = town.oln("user", "challenge", receipt)
    assert said.returncode == 0
    assert "better_span" in said.stdout
    close(town)
    town.until(lambda: has_evidence(town, "ana", receipt), "the evidence at the witness's")
    oln(town, "ana", "datanet", "create", "something to close an epoch over")
    close(town)
    assert {outcome(town, name, receipt) for name in HOMES} == {"upheld"}
    (row,) = oln(town, "user", "credits", "user")["accounts"]
    assert (row["balance_micro"], row["refunds_micro"]) == (85_000_000, 5_000_000)
