"""Several witnesses decide epochs: real homes, whose logs travel in bundles."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from openledger_node.agreement.certificates import sign_vote
from openledger_node.api import Home, open_home, restore
from openledger_node.ledger.errors import Refused
from openledger_node.ledger.votes import WitnessPropose, WitnessState, proposal_id, state_parts
from openledger_node.node.core import NodeCore
from openledger_node.node.setup import initialise
from openledger_node.node.voting import Voter
from tests.kit.ledgerkit import digest
from tests.kit.seats import START_MS, begin_together, seat_keys

NAMES = ["ana", "bo", "cy", "di"]


class Clock:
    """Milliseconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


class Council:
    """The open homes of a ledger's witnesses."""

    def __init__(self, place: Path, stack: ExitStack, clock: Clock, **params: int) -> None:
        self.place = place
        self.clock = clock
        begin_together(place, NAMES, **params)
        self.homes = {name: self._open(stack, name) for name in NAMES}
        self._stack = stack
        self._bundles = 0

    def _open(self, stack: ExitStack, name: str) -> Home:
        home = stack.enter_context(open_home(self.place / name, clock_ms=self.clock))
        return home

    def __getitem__(self, name: str) -> Home:
        return self.homes[name]

    def join(self, name: str) -> Home:
        initialise(
            self.place / name,
            name=name,
            genesis_file=self.place / "genesis.json",
            clock_ms=self.clock,
        )
        self.homes[name] = self._open(self._stack, name)
        return self.homes[name]

    def carry(self, source: str, target: str) -> None:
        self._bundles += 1
        bundle = self.place / f"{self._bundles}.bundle"
        self[source].bundle_export(bundle)
        self[target].bundle_import(bundle)
        bundle.unlink()

    def voter(self, name: str) -> Voter:
        return Voter(self[name].core, now_ms=self.clock)

    def rounds(self, count: int, present: list[str], order: random.Random) -> None:
        """So many times everybody hears everybody and says what is to be said."""
        for _ in range(count):
            for name in order.sample(present, len(present)):
                for other in order.sample(present, len(present)):
                    if other != name:
                        self.carry(other, name)
                self[name].epoch_close()

    def statement(self, name: str) -> bytes:
        file = self.place / f"{name}.statement"
        file.unlink(missing_ok=True)
        self[name].statement_export(None, file)
        return file.read_bytes()


@pytest.fixture
def council(tmp_path: Path) -> Iterator[Council]:
    with ExitStack() as stack:
        yield Council(tmp_path, stack, Clock())


def test_four_witnesses_close_an_epoch_by_commands_and_reach_the_same_statement(
    council: Council,
) -> None:
    council["ana"].issue(5_000_000, "ana")
    council.rounds(5, NAMES, random.Random(1))
    assert {council[name].status().epoch for name in NAMES} == {1}
    assert len({council.statement(name) for name in NAMES}) == 1
    shown = council["cy"].statement(1)
    assert len(shown.signatures) >= 3


def test_three_of_four_are_enough_and_two_are_not(council: Council) -> None:
    council["ana"].issue(5_000_000, "ana")
    council.rounds(4, NAMES[:2], random.Random(2))
    assert {council[name].status().epoch for name in NAMES[:2]} == {0}
    council.rounds(4, NAMES[:3], random.Random(2))
    assert {council[name].status().epoch for name in NAMES[:3]} == {1}


def test_one_who_has_no_seat_is_told_who_decides(council: Council) -> None:
    council.join("eve")
    with pytest.raises(Refused) as caught:
        council["eve"].epoch_close()
    assert caught.value.code == "no_seat"


def test_nothing_is_said_when_nothing_is_due(council: Council) -> None:
    council.rounds(5, NAMES, random.Random(3))
    epoch = council["ana"].status().epoch
    events = council["ana"].status().events
    closed = council["ana"].epoch_close()
    assert (closed.closed, closed.note) == (False, "nothing is due")
    assert council["ana"].status().events == events
    assert council["ana"].status().epoch == epoch


def test_an_epoch_waits_for_its_time_by_the_seat_s_own_clock(tmp_path: Path) -> None:
    with ExitStack() as stack:
        council = Council(tmp_path, stack, Clock(), epoch_ms=60_000)
        council.rounds(4, NAMES, random.Random(4))
        assert council["ana"].status().epoch == 1
        council["ana"].issue(5_000_000, "ana")
        voter = council.voter("ana")
        before = council["ana"].status().events
        assert voter.step() == 60_000
        council.clock.now_ms += 59_000
        assert voter.step() == 1_000
        assert council["ana"].status().events == before
        council.clock.now_ms += 1_000
        voter.step()
        assert council["ana"].status().events == before + 1


def test_a_view_whose_leader_is_silent_is_skipped_when_its_timer_expires(
    council: Council,
) -> None:
    present = ["ana", "cy", "di"]  # the leader of epoch 1, view 0 is the second seat: bo
    voters = {name: council.voter(name) for name in present}

    def everybody() -> None:
        for name in present:
            for other in present:
                if other != name:
                    council.carry(other, name)
            voters[name].step(closing=True)

    for _ in range(3):
        everybody()
    assert council["ana"].status().epoch == 0
    council.clock.now_ms += 1_000
    for _ in range(5):
        everybody()
    assert {council[name].status().epoch for name in present} == {1}
    kinds = [event.kind for event in council["ana"].log(limit=None).events]
    assert kinds.count("witness.skip") == 3


def restored(council: Council, name: str, copy: Path) -> Path:
    """The home as its backup of now has it, with its keys."""
    file = copy.with_suffix(".backup")
    council[name].backup(file)
    restore(file, copy)
    shutil.copytree(council.place / name / "keys", copy / "keys", dirs_exist_ok=True)
    return copy


def test_a_restored_seat_votes_again_when_it_agreed_with_every_other(
    council: Council, tmp_path: Path
) -> None:
    council["ana"].issue(1_000_000, "ana")
    copy = restored(council, "ana", tmp_path / "copy")
    others = [(council[name].core.account_id, council[name].core.device) for name in NAMES[1:]]
    seen: list[tuple[bytes, bytes]] = []
    with open_home(copy, clock_ms=council.clock) as home:
        voter = Voter(home.core, now_ms=council.clock, agreeing=lambda: seen)
        assert voter.is_seated()
        assert not voter.may_vote()
        assert voter.step(closing=True) is None
        assert "witness" not in " ".join(e.kind for e in home.log(limit=None).events)
        with pytest.raises(Refused) as caught:
            home.epoch_close()
        assert caught.value.code == "must_resume"
        for other in others:
            assert not voter.may_vote()
            seen[:] = [other]
        assert voter.may_vote(), "each was agreed with, one after another"
        voter.step(closing=True)
        assert "witness.frontier" in [e.kind for e in home.log(limit=None).events]


@pytest.mark.rule("A4")
def test_a_restored_seat_votes_again_when_a_cut_holds_the_log_it_opened_since(
    council: Council, tmp_path: Path
) -> None:
    copy = restored(council, "ana", tmp_path / "copy")
    rest = NAMES[1:]
    with open_home(copy, clock_ms=council.clock) as home:
        voter = Voter(home.core, now_ms=council.clock)
        home.issue(2_000_000, "ana")
        assert not voter.may_vote()
        council.homes["copy"] = home
        for name in rest:
            council.carry("copy", name)
        council.rounds(2, rest, random.Random(5))
        assert not voter.may_vote()
        council.clock.now_ms += 1_000
        council.rounds(3, rest, random.Random(6))
        assert council["bo"].status().epoch == 1
        council.carry("bo", "copy")
        assert home.status().epoch == 1
        assert voter.may_vote()
        assert not home.core.is_copy()
        council.homes.pop("copy")


@pytest.mark.rule("A5", "A8")
def test_another_final_certificate_for_an_epoch_that_is_final_raises_the_alarm(
    council: Council,
) -> None:
    council["ana"].issue(5_000_000, "ana")
    council.rounds(5, NAMES, random.Random(7))
    assert council["ana"].status().epoch == 1
    core = council["cy"].core
    with core.store.read() as snapshot:
        assert snapshot.alarms() == []
    # Three seats sign another cut of epoch 1, in the view that the third seat leads.
    other = WitnessPropose(1, 1, None, None, (), (), (bytes(32),), (), digest("another cut"))
    named = proposal_id(core.ledger_id, 1, 1, None, other.frontiers, other.cut_id)
    keys = [seat_keys(name).device for name in NAMES[:3]]
    votes = [sign_vote(key, "final", core.ledger_id, 1, 1, named) for key in keys]
    unsigned = WitnessState(
        1,
        other.cut_id,
        bytes(32),
        bytes(32),
        1,
        bytes(32),
        None,
        bytes(64),
        1,
        named,
        tuple(enumerate(votes)),
    )
    signature = keys[2].sign_parts("state", *state_parts(core.ledger_id, unsigned))
    state = msgspec.structs.replace(unsigned, signature=signature)
    core.append([core.draft("witness.propose", other), core.draft("witness.state", state)])
    council.carry("cy", "ana")
    council["ana"].status()
    with council["ana"].core.store.read() as snapshot:
        assert ["decided another cut" in text for text in snapshot.alarms()] == [True]
    assert council["ana"].status().epoch == 1


def other_state(core: NodeCore, seat: str, root: bytes) -> WitnessState:
    """Seat `seat` signs this statement root for the last epoch, all else as it is held here."""
    with core.store.read() as snapshot:
        epoch = snapshot.last_epoch()
        held = snapshot.states(epoch)[NAMES.index(seat)]
    changed = msgspec.structs.replace(held, statement_root=root)
    key = seat_keys(seat).device
    signature = key.sign_parts("state", *state_parts(core.ledger_id, changed))
    return msgspec.structs.replace(changed, signature=signature)


@pytest.mark.rule("A8")
def test_payouts_halt_when_more_than_a_third_of_the_seats_signed_another_statement(
    council: Council,
) -> None:
    ana = council["ana"]
    ana.issue(5_000_000, "ana")
    council.rounds(5, NAMES, random.Random(11))
    ana.redeem(2_000_000)
    council.rounds(6, NAMES, random.Random(12))
    assert ana.status().epoch == 2

    council["bo"].core.append(
        [
            council["bo"].core.draft(
                "witness.state", other_state(council["bo"].core, "bo", bytes(32))
            )
        ]
    )
    council.carry("bo", "ana")
    assert ana.status().alarms == ()
    assert ana.payout(None, out=council.place / "one.csv").total_micro == 2_000_000

    ana.redeem(1_000_000)
    council.rounds(6, NAMES, random.Random(13))
    for seat in ("bo", "cy"):
        core = council[seat].core
        core.append([core.draft("witness.state", other_state(core, seat, digest("other")))])
        council.carry(seat, "ana")
    with pytest.raises(Refused) as refused:
        ana.payout(None, out=council.place / "two.csv")
    assert refused.value.code == "payouts_halted"
    assert "2 witnesses signed another statement" in refused.value.message
    assert not (council.place / "two.csv").exists()
    assert ["signed another statement" in text for text in ana.status().alarms] == [True]
