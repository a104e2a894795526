"""Closing epochs and following them: order, paths and crashes change nothing that is decided."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openledger_node.ledger.errors import Refused
from openledger_node.node import epochs, finality
from openledger_node.node.core import NodeCore
from tests.kit.homes import CREDIT, WITNESS, Coop, Ready, words

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = words("harbour", 20) + " " + words("baker", 12) + " " + words("nobody", 8)
VOTES = ("frontier", "propose", "notar", "final", "state")


class Crash(BaseException):
    """The process ends here."""


def figures(coop: Coop, name: str) -> tuple[int, str, str, str]:
    shown = coop[name].statement()
    return shown.epoch, shown.cut_id, shown.statement_root, shown.state_digest


def statement_bytes(coop: Coop, name: str) -> bytes:
    path = coop.file("statement")
    coop[name].statement_export(None, path)
    return path.read_bytes()


def votes(coop: Coop) -> Counter[tuple[str, int]]:
    """{(vote, epoch): how many} in the witness's log."""
    events = coop[WITNESS].log(limit=None).events
    return Counter(
        (event.kind.removeprefix("witness."), event.body["epoch"])
        for event in events
        if event.kind.startswith("witness.")
    )


# One decision, whatever the order and path.


def test_every_home_folds_the_same_bytes(stage: Ready) -> None:
    stage.use(OUTPUT, 7 * CREDIT)
    stage.coop.settle()
    shown = {figures(stage.coop, name) for name in stage.coop}
    assert len(shown) == 1
    assert len({statement_bytes(stage.coop, name) for name in stage.coop}) == 1


@pytest.mark.parametrize("seed", range(4))
def test_bundles_in_any_order_and_by_any_path_give_the_same_state(stage: Ready, seed: int) -> None:
    coop, chance = stage.coop, random.Random(seed)
    stage.use(OUTPUT, 7 * CREDIT)
    coop.gather()
    coop[WITNESS].epoch_close()
    disputed = stage.use(OUTPUT, 3 * CREDIT).receipt_id
    for source, target in itertools.permutations(("user", "alice", "bert", "maker"), 2):
        if chance.random() < 0.5:
            coop.carry(source, target)
    coop.settle()
    coop["user"].confirm(disputed)
    coop.gather()
    coop[WITNESS].epoch_close()
    expected = figures(coop, WITNESS)
    coop.join("late")
    holders = [WITNESS]
    others = [name for name in coop if name != WITNESS]
    chance.shuffle(others)
    for name in others:  # each hears from somebody who knows, often not from the witness
        coop.carry(chance.choice(holders), name)
        holders.append(name)
    assert {figures(coop, name) for name in coop} == {expected}
    assert len({statement_bytes(coop, name) for name in coop}) == 1


@pytest.mark.parametrize("seed", range(3))
def test_logs_one_by_one_in_any_order_give_the_same_state(stage: Ready, seed: int) -> None:
    from openledger_node.exchange.bundle import MAGIC
    from openledger_node.store.frames import FrameWriter, read_frames

    coop = stage.coop
    stage.use(OUTPUT, 7 * CREDIT)
    coop.settle()
    whole = coop.file()
    coop[WITNESS].bundle_export(whole)
    frames = list(read_frames(whole, MAGIC, "a bundle"))
    logs: list[list[Any]] = []
    for frame in frames:
        if frame[0] == "log":
            logs.append([])
        if frame[0] in ("log", "leaves"):
            logs[-1].append(frame)
    coop.join("late")
    random.Random(seed).shuffle(logs)
    for log in logs:
        single = coop.file()
        with FrameWriter(single, MAGIC) as out:
            for frame in (frames[0], *log):
                out.write(*frame)
        assert not coop["late"].bundle_import(single).refused
    assert figures(coop, "late") == figures(coop, WITNESS)


SHOW_FIGURES = """
import sys
from pathlib import Path
from openledger_node.api import initialise, open_home
genesis, bundle, home, out = map(Path, sys.argv[1:])
initialise(home, genesis_file=genesis)
with open_home(home) as opened:
    opened.bundle_import(bundle)
    opened.statement_export(None, out)
    shown = opened.statement()
    print(shown.epoch, shown.cut_id, shown.statement_root, shown.state_digest)
"""


def test_every_hash_seed_gives_the_same_bytes(stage: Ready) -> None:
    coop = stage.coop
    stage.use(OUTPUT, 7 * CREDIT)
    coop.settle()
    bundle = coop.file()
    coop[WITNESS].bundle_export(bundle)
    expected = " ".join(map(str, figures(coop, WITNESS)))
    statement = statement_bytes(coop, WITNESS)
    for seed in ("0", "1", "4242"):
        out = coop.file("statement")
        home = coop.place / f"seed-{seed}"
        done = subprocess.run(
            [sys.executable, "-c", SHOW_FIGURES, coop.genesis, bundle, home, out],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
        assert out.read_bytes() == statement


# A crash at every step of closing.


def closing_steps(
    coop: Coop, monkeypatch: pytest.MonkeyPatch, crash_at: int, when: str
) -> list[str]:
    """Closes an epoch and crashes before or after its n-th step; the steps that were begun."""
    begun: list[str] = []

    def crashing(function: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            begun.append(name(*arguments))
            if len(begun) == crash_at + 1 and when == "before":
                raise Crash
            done = function(*arguments)
            if len(begun) == crash_at + 1 and when == "after":
                raise Crash
            return done

        return step

    with monkeypatch.context() as patch:
        patch.setattr(epochs, "say", crashing(epochs.say, lambda core, said: said.kind))
        patch.setattr(epochs, "_store_epoch", crashing(epochs._store_epoch, lambda *_: "fold"))
        try:
            coop[WITNESS].epoch_close()
        except Crash:
            pass
        else:
            raise AssertionError("nothing crashed")
    return begun


STEPS = ("frontier", "propose", "notar", "final", "fold", "state")


@pytest.mark.rule("A1", "A4", "A5", "A8")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("crash_at", range(len(STEPS)), ids=STEPS)
@pytest.mark.parametrize("more", [False, True], ids=["quiet", "more events meanwhile"])
def test_after_a_crash_at_any_step_the_epoch_closes_with_the_same_decision(
    coop: Coop, monkeypatch: pytest.MonkeyPatch, crash_at: int, when: str, more: bool
) -> None:
    coop[WITNESS].datanet_create("something")
    begun = closing_steps(coop, monkeypatch, crash_at, when)
    assert begun[-1].removeprefix("witness.") == STEPS[crash_at]
    proposed = [event.body["cut_id"] for event in coop[WITNESS].log(kind="witness.propose").events]
    coop.reopen(WITNESS)
    if more:
        coop[WITNESS].core.append_one("datanet.create", _datanet("meanwhile"))
    coop[WITNESS].epoch_close()
    coop.reopen(WITNESS)
    counted = votes(coop)
    assert all(count == 1 for count in counted.values()), counted
    first = coop[WITNESS].statement(1)
    assert first.final
    if proposed:
        assert proposed == [first.cut_id]
    assert {(name, 1) for name in VOTES} <= set(counted)
    coop[WITNESS].epoch_close()
    assert coop[WITNESS].epoch_close().note == "nothing is due"
    coop.join("late")
    coop.carry(WITNESS, "late")
    assert figures(coop, "late") == figures(coop, WITNESS)


def _datanet(name: str) -> Any:
    from openledger_node.ledger.kinds import DatanetCreate

    return DatanetCreate(name, "", "")


# Closing.


def test_closing_says_what_the_epoch_held(stage: Ready) -> None:
    stage.use(OUTPUT, CREDIT)
    stage.coop.gather()
    closed = stage.coop[WITNESS].epoch_close()
    # The receipt, and the five votes of the epoch before.
    assert (closed.closed, closed.epoch, closed.receipts, closed.void) == (True, 3, 1, 0)
    assert closed.events == 6
    assert closed.cut_id == stage.coop[WITNESS].statement(3).cut_id


def test_closing_with_nothing_due_does_nothing(coop: Coop) -> None:
    first = coop[WITNESS].epoch_close()
    assert first.closed
    before = coop[WITNESS].status().events
    again = coop[WITNESS].epoch_close()
    assert (again.closed, again.note, again.epoch) == (False, "nothing is due", first.epoch)
    assert coop[WITNESS].status().events == before


def test_what_falls_due_makes_an_epoch_due_and_looking_does_not(tmp_path: Path) -> None:
    from tests.kit.homes import ready

    made = ready(tmp_path, params="maturity_epochs = 2\n")
    with made.coop as coop:
        made.use(OUTPUT, 10 * CREDIT)
        assert coop.settle().epoch == 3
        held = coop.balances()
        assert held["alice"].balance_micro == 0
        # Nobody writes anything, and yet maturing is due when its epoch comes.
        coop[WITNESS].core.append_one("datanet.create", _datanet("tick"))
        assert coop[WITNESS].epoch_close().epoch == 4
        assert coop[WITNESS].epoch_close().epoch == 5
        # data 3,800,000 x 20/40
        assert coop.balances()["alice"].balance_micro == 1_900_000
        assert coop[WITNESS].epoch_close().note == "nothing is due"
        assert coop.conserved()


def test_a_home_without_a_seat_cannot_close(stage: Ready) -> None:
    with pytest.raises(Refused) as caught:
        stage.coop["alice"].epoch_close()
    assert caught.value.code == "no_seat"
    assert "bundle" in caught.value.hint


def test_a_copied_witness_neither_closes_nor_votes_until_it_is_told_to(coop: Coop) -> None:
    coop[WITNESS].datanet_create("before")
    coop.shut()
    shutil.copytree(coop.place / WITNESS, coop.place / "copy")
    coop.ids["copy"] = coop.ids[WITNESS]
    copy = coop["copy"]
    assert copy.status().identity == "copied"
    assert copy.credits().epoch == 0  # shows what is final, closes nothing
    copy.core.append_one("datanet.create", _datanet("in the copy"))
    assert copy.status().identity == "original"
    with pytest.raises(Refused) as caught:
        copy.epoch_close()
    assert caught.value.code == "must_resume"
    assert votes(coop) == {}
    assert copy.epoch_close(resume=True).closed
    assert copy.epoch_close().note == "nothing is due"


@pytest.mark.rule("L3")
def test_a_home_copied_and_both_used_makes_two_logs_and_no_fork(coop: Coop) -> None:
    coop.join("alice")
    coop["alice"].datanet_create("before")
    coop.shut("alice")
    shutil.copytree(coop.place / "alice", coop.place / "copy")
    coop.ids["copy"] = coop.ids["alice"]
    first = coop["alice"].core.append_one("datanet.create", _datanet("original"))
    second = coop["copy"].core.append_one("datanet.create", _datanet("copy"))
    assert first.log_id != second.log_id
    coop.carry("alice", WITNESS)
    coop.carry("copy", WITNESS)
    coop[WITNESS].epoch_close()
    assert coop[WITNESS].status().alarms == ()
    shown = coop[WITNESS].datanet_list().datanets
    assert {(item.name, item.status) for item in shown} == {
        ("before", "final"),
        ("original", "final"),
        ("copy", "final"),
    }


# What a home that joined sees.


def test_what_a_joiner_writes_is_pending_until_it_holds_the_decision(coop: Coop) -> None:
    alice = coop.join("alice")
    made = alice.datanet_create("verse")
    assert made.status == "pending"
    assert alice.status().role == "participant"
    coop.carry("alice", WITNESS)
    coop[WITNESS].epoch_close()
    assert alice.datanet_show(made.datanet_id).status == "pending"
    assert coop[WITNESS].datanet_show(made.datanet_id).status == "final"
    coop.carry(WITNESS, "alice")
    assert alice.datanet_show(made.datanet_id).status == "final"
    assert (alice.status().epoch, alice.show(made.datanet_id).epoch) == (1, 1)


def test_what_a_joiner_needs_final_is_refused_while_it_is_pending(coop: Coop) -> None:
    alice = coop.join("alice")
    model = alice.model_register("m")
    with pytest.raises(Refused) as caught:
        alice.use(model.model_id, b"some words")
    assert caught.value.code == "not_final"
    with pytest.raises(Refused) as caught:
        alice.prove(coop.ids["alice"], coop.file("oln"))
    assert caught.value.code == "not_final"


def test_a_joiner_that_missed_epochs_folds_them_one_by_one(stage: Ready) -> None:
    coop = stage.coop
    for number in range(3):
        coop[WITNESS].datanet_create(f"net {number}")
        coop[WITNESS].epoch_close()
    coop.join("late")
    moved = coop.carry(WITNESS, "late")
    assert moved.epochs == coop[WITNESS].status().epoch == 5
    listed = [coop[name].epoch_list().epochs for name in ("late", WITNESS)]
    assert listed[0] == listed[1]
    assert [item.epoch for item in listed[0]] == [0, 1, 2, 3, 4, 5]


def test_a_home_that_lacks_a_log_of_the_cut_waits_for_it(coop: Coop) -> None:
    from openledger_node.exchange.bundle import MAGIC
    from openledger_node.store.frames import FrameWriter, read_frames

    coop.join("alice", "late")
    coop.carry("alice", WITNESS)
    coop[WITNESS].epoch_close()
    whole = coop.file()
    coop[WITNESS].bundle_export(whole)
    frames = list(read_frames(whole, MAGIC, "a bundle"))
    with coop["alice"].core.store.read() as snapshot:
        missing = snapshot.current_log
    part = coop.file()
    with FrameWriter(part, MAGIC) as out:
        skipping = False
        for frame in frames:
            if frame[0] == "log":
                skipping = frame[1][0] == missing
            if not skipping or frame[0] == "ledger":
                out.write(*frame)
    assert coop["late"].bundle_import(part).epochs == 0
    assert coop["late"].status().epoch == 0
    assert coop["late"].bundle_import(whole).epochs == 1


# Closing by itself.


@pytest.fixture
def closings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every epoch that a command closes by itself."""
    found: list[int] = []
    closed = finality.close_epoch

    def counted(core: NodeCore, **options: Any) -> Any:
        done = closed(core, **options)
        found.append(done.epoch)
        return done

    monkeypatch.setattr(finality, "close_epoch", counted)
    return found


def test_plain_appends_and_looking_never_close(coop: Coop, closings: list[int]) -> None:
    home = coop[WITNESS]
    net = home.datanet_create("verse")
    named = coop.add_text(WITNESS, "poems", words("poem", 40), datanet=net.datanet_id)
    home.agent_register("helper")
    home.issue(10, coop.ids[WITNESS])
    home.data_withdraw(named)
    home.status()
    home.log()
    home.show(net.datanet_id)
    home.data_list()
    home.data_show(named)
    home.datanet_show(net.datanet_id)
    home.account_list()
    home.device_list()
    home.credits(pending=True)
    home.statement(0)
    home.epoch_list()
    home.attribute(words("poem", 20).encode())
    home.bundle_export(coop.file())
    assert closings == []
    assert home.status().epoch == 0


def test_a_balance_that_is_not_final_is_made_final_before_it_is_shown(
    coop: Coop, closings: list[int]
) -> None:
    home = coop[WITNESS]
    home.issue(10, coop.ids[WITNESS])
    (row,) = home.credits().accounts
    assert (row.balance_micro, closings) == (10, [1])
    home.credits()
    home.statement()
    home.explain(coop.ids[WITNESS])
    assert closings == [1]


def test_a_transfer_of_what_was_just_issued_closes_first(coop: Coop, closings: list[int]) -> None:
    coop.join("alice")
    coop.carry("alice", WITNESS)
    home = coop[WITNESS]
    home.issue(10, coop.ids[WITNESS])
    home.transfer(4, coop.ids["alice"])
    assert closings == [1]
    home.transfer(6, coop.ids["alice"])
    assert closings == [1]
    with pytest.raises(Refused) as caught:
        home.transfer(1, coop.ids["alice"])
    assert caught.value.code == "C1"


def test_a_use_closes_only_for_an_id_that_is_not_final(coop: Coop, closings: list[int]) -> None:
    home = coop[WITNESS]
    named = coop.add_text(WITNESS, "poems", words("poem", 40))
    model = home.model_register("m", trained_on=[(named, 1)]).model_id
    before = len(closings)
    text = words("poem", 20).encode()
    home.use(model, text)
    assert len(closings) == before + 1
    home.datanet_create("pending, and no concern of a use")
    home.use(model, text)
    home.use_batch(model, [{"output": text}])
    home.attribute(text, model=model)
    home.attribute(text, retrieved=[named])
    assert len(closings) == before + 1


def test_node_toml_switches_closing_by_itself_off(coop: Coop, closings: list[int]) -> None:
    coop.shut()
    coop.write(f"{WITNESS}/node.toml", "[epoch]\nauto_close = false\n")
    home = coop[WITNESS]
    home.issue(10, coop.ids[WITNESS])
    shown = home.credits(pending=True).accounts
    assert [row.balance_micro for row in shown] == [10]
    assert home.credits().accounts == ()
    assert closings == []
    home.epoch_close()
    assert [row.balance_micro for row in home.credits().accounts] == [10]


def test_pending_figures_are_labelled_and_leave_no_trace(coop: Coop) -> None:
    home = coop[WITNESS]
    home.epoch_close()
    home.issue(10, coop.ids[WITNESS])
    pending = home.credits(pending=True)
    assert pending.pending
    assert (pending.accounts[0].balance_micro, pending.accounts[0].pending_micro) == (10, 10)
    assert pending.issued_micro == 10
    assert home.statement(1).rows == ()
    assert home.status().epoch == 1
