"""Simulated nodes that close epochs: the real vote rules and the real fold over a disk in memory.

A `Citizen` is a simulated node with an account. It follows what the seats decide and folds it; with
a seat it says what `agreement.machine` asks of it. What a crash leaves is its logs: state, cuts and
rounds are made from them again. A disk that was restored may have forgotten votes: then its seat
waits as a real one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import trio

from openledger_node.agreement.certificates import SeatSet, genesis_seats
from openledger_node.agreement.cut import merged
from openledger_node.agreement.evidence import evidence_of
from openledger_node.agreement.machine import (
    FoldResult,
    Held,
    Said,
    Seat,
    current_view,
    next_event,
    state_event,
)
from openledger_node.agreement.rounds import Decided, Evidence, Round, Witnessed
from openledger_node.credit import views
from openledger_node.credit.fold import fold, initial_state
from openledger_node.credit.inputs import Cut
from openledger_node.ledger.accounts import (
    AccountCreate,
    AccountRotate,
    Inception,
    device_signature,
    next_commitment,
    root_signatures,
)
from openledger_node.ledger.events import encode_event, event_id, parse_event
from openledger_node.ledger.genesis import MAX_AMOUNT_MICRO, Genesis, network_params
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.kinds import MoneyIssue, MoneyTransfer, parse_body
from openledger_node.ledger.merkle import EMPTY_ROOT
from openledger_node.ledger.votes import WitnessFrontier, WitnessReady, WitnessSet
from openledger_node.node.frontiers import is_proposal
from scripts.simulation.histories import Histories, State
from scripts.simulation.holder import MemoryHolder
from scripts.simulation.nodes import Node, digest

SEATS: Final = 4
EPOCH_S: Final = 2.0
T0_S: Final = 1.0
MAX_SAID_A_STEP: Final = 64
DECODED_VOTES: Final = 2**12
"""Votes whose content is remembered: more than one run has."""

_WITNESS: Final = b"witness."
_CHANGES: Final = (b"witness.set", b"witness.ready")
_KIND_WINDOW_BYTES: Final = 32


def inception_of(name: str) -> tuple[Inception, SigningKey]:
    """An account's inception and its root key; both follow from its name."""
    root, after = SigningKey(digest("root", name)), SigningKey(digest("next", name))
    commitment = next_commitment([after.public.raw], 1)
    return Inception(1, (root.public.raw,), 1, commitment, digest("salt", name)[:16]), root


def found(names: Sequence[str]) -> Genesis:
    """A ledger whose seats are these nodes; the first issues."""
    inceptions = [inception_of(name)[0] for name in names]
    devices = [SigningKey(digest("device", name)).public.raw for name in names]
    first = inceptions[0].account_id
    return Genesis(
        1,
        "simulated",
        digest("genesis")[:16],
        1,
        network_params((first,)),
        tuple(zip(inceptions, devices, strict=True)),
        ((first, MAX_AMOUNT_MICRO),),
    )


@dataclass(frozen=True, slots=True)
class Closed:
    """What a node made of an epoch; all must make the same of it."""

    cut_id: bytes
    statement_root: bytes
    state_digest: bytes


class Citizen(Node):
    """A node with an account. `heard(node, epoch, closed, round)` hears of every epoch it folds."""

    def __init__(
        self,
        name: str,
        draw: Callable[[int], int],
        genesis: Genesis,
        skew: float,
        heard: Callable[[Citizen, int, Closed, Round], None],
        *,
        copied: bool = False,
    ) -> None:
        inception, root = inception_of(name)
        account = inception.account_id
        super().__init__(name, draw, ledger_id=genesis.ledger_id, account=account, copied=copied)
        self.ledger = genesis
        self._skew = skew
        self.silent = False
        self._heard = heard
        self._create(inception, root)
        self.begin_again(False)

    def _create(self, inception: Inception, root: SigningKey) -> None:
        device = self.device.public.raw
        consent = device_signature(self.device, self.ledger_id, self.account)
        so_far: list[Any] = [self.account, 0, None, inception, device, consent]
        signed = root_signatures(self.ledger_id, so_far, [(0, root)])
        body = AccountCreate(self.account, 0, None, inception, device, consent, signed)
        self._write([encode_event(1, "account.create", 0, body)])

    # Life.

    def begin_again(self, restored: bool) -> None:
        """Reads everything from the disk once more. A restored one goes on in a new log."""
        self.histories = Histories()
        self.histories.holder = self.holder
        self.state = State()
        self.state.apply(initial_state(self.ledger))
        self._take_seat(genesis_seats(self.ledger))
        self.cut: dict[bytes, Mark] = {}
        self.cut_id = EMPTY_ROOT
        self._decided = b""
        self.epoch = 0
        self.waits = restored
        self.agreed: set[tuple[bytes, bytes]] = set()
        self._closed_s = trio.current_time() if restored else -EPOCH_S
        self._spoken_of: dict[int, set[Mark]] = {}
        self._unsigned: list[tuple[Decided, FoldResult]] = []
        self._next_round()

    def restart(self, disk: MemoryHolder | None = None) -> None:
        super().restart(disk)
        restored = disk is not None or self.waits
        self.begin_again(restored)
        if disk is not None:
            self.open_log(self.log_id)

    def _take_seat(self, seats: SeatSet) -> None:
        self.seats = seats
        self.index = seats.index_of(self.account, self.device.public.raw)
        self._seat_of: dict[bytes, int | None] = {}

    def _next_round(self) -> None:
        self.round = Round(self.ledger_id, self.epoch + 1, self.seats)
        self._read: dict[int, tuple[list[bytes], int]] = {}
        self._view: int | None = None
        self._view_since_s = 0.0

    # One's own events.

    def say(self, kind: str, body: Any) -> None:
        size = len(self.holder.logs[self.log_id].leaves)
        time_ms = int(trio.current_time() * 1000)
        head = self._write([encode_event(size, kind, time_ms, body)])
        self.hub.grown([head.mark], self.log_id)

    def file_set(self, body: WitnessSet) -> None:
        """Asks for a set as a seat of now, and says to be ready as one of then (A10)."""
        if self.index is not None:
            self.say("witness.set", body)
        if (self.account, self.device.public.raw) in body.seats:
            self.say("witness.ready", WitnessReady(body.number))

    def rotate(self) -> bool:
        """Replaces the root key by the one committed to; False while the account is not final."""
        chain = views.chain(self.state, self.account)
        if chain is None:
            return False
        root, after = (SigningKey(digest(word, self.name)) for word in ("next", "third"))
        keys, commitment = (root.public.raw,), next_commitment([after.public.raw], 1)
        so_far: list[Any] = [self.account, chain.n, chain.digest, keys, 1, commitment]
        signed = root_signatures(self.ledger_id, so_far, [(0, root)])
        body = AccountRotate(self.account, chain.n, chain.digest, keys, 1, commitment, signed)
        self.say("account.rotate", body)
        return True

    def spend(self, to: bytes, amount_micro: int) -> None:
        """Issues credit, where this account may, or transfers what it may not even have."""
        note = f"from {self.name}"
        if self.index == 0:
            self.say("money.issue", MoneyIssue(to, amount_micro, note))
        else:
            self.say("money.transfer", MoneyTransfer(to, amount_micro, note))

    # Following and voting.

    def step(self) -> None:
        """Folds what is decided and says what the rules ask; nothing while the disk is full."""
        if self.holder.is_full:
            return
        for _ in range(MAX_SAID_A_STEP):
            self._listen()
            if self._follow():
                continue
            self._ask()
            self._sign()
            said = self._next()
            if said is None:
                return
            self.say(said.kind, said.body)

    def _listen(self) -> None:
        """Takes in the votes that came since, from every history of the seats' logs."""
        for log_id, shown in list(self.holder.logs.items()):
            if log_id not in self._seat_of:
                owner = shown.genesis.account_id, shown.genesis.device
                self._seat_of[log_id] = self.seats.index_of(*owner)
            seat = self._seat_of[log_id]
            if seat is None:
                continue
            _, read = self._read.get(id(shown.leaves), (None, 0))
            if read == len(shown.leaves) and log_id not in self.holder.branches:
                continue
            mark = self.cut.get(log_id)
            for log in self.histories.of(log_id):
                _, start = self._read.get(id(log.leaves), (log.leaves, mark.size if mark else 0))
                for seq in range(start, len(log.leaves)):
                    self._take(seat, log_id, seq, log.leaves[seq])
                self._read[id(log.leaves)] = (log.leaves, len(log.leaves))

    def _take(self, seat: int, log_id: bytes, seq: int, leaf: bytes) -> None:
        if _WITNESS not in leaf[:_KIND_WINDOW_BYTES]:
            return
        kind, body, named = _decoded(log_id, seq, leaf)
        if isinstance(body, WitnessFrontier) and body.epoch > self.epoch:
            self._spoken_of.setdefault(body.epoch, set()).update(head.mark for head in body.heads)
        if getattr(body, "epoch", None) == self.epoch + 1:
            self.round.add(Witnessed(seat, named, kind, body))

    def _follow(self) -> bool:
        decided = self.round.decision(self.cut)
        if decided is None:
            return False
        missing = [mark for mark in decided.changed if self.histories.having(mark) is None]
        if missing:
            self.hub.need([mark for mark in missing if mark.log_id in self.holder.logs])
            return False
        self._fold(decided)
        return True

    def _fold(self, decided: Decided) -> None:
        cut = Cut(decided.epoch, decided.cut_id, decided.changed)
        self.cut = merged(self.cut, decided.changed)
        self.cut_id = decided.cut_id
        folded = fold(self.state, cut, self, self.ledger)
        self.state.apply(folded)
        closed = Closed(decided.cut_id, folded.statement.root, folded.state_digest)
        self.epoch, self._decided = decided.epoch, decided.proposal_id
        self._closed_s = trio.current_time()
        index = None if self.silent else self.index
        signs = index is not None and index not in self.round.states
        past, rules = self.round, views.rules(self.state)
        if rules.number != self.seats.number:
            self._take_seat(SeatSet(rules.number, rules.seats))
        self._next_round()
        self._heard(self, decided.epoch, closed, past)
        if signs:
            result = FoldResult(
                folded.statement.root,
                folded.state_digest,
                folded.rules_version,
                folded.next_set_digest,
            )
            self._unsigned.append((decided, result))
            self._sign()

    def _sign(self) -> None:
        """A8: the states that this seat owes, also of epochs that it folded before it could say."""
        if not self._unsigned or not self.may_vote():
            return
        unsigned, self._unsigned = self._unsigned, []
        for decided, result in unsigned:
            said = state_event(self.ledger_id, decided, result, self.device)
            self.say(said.kind, said.body)

    def leaves(self, log_id: bytes, start: int, stop: int) -> list[bytes]:
        """What the fold reads: the history that the cut names."""
        log = self.histories.having(self.cut[log_id])
        assert log is not None
        return log.leaves[start:stop]

    def final_histories(self) -> dict[bytes, list[bytes]]:
        """The leaves of every log: of its histories the one that the last cut names.

        Histories set aside are there under names that no log has: a leader may have shown the
        proposal that was decided on one of them.
        """
        found: dict[bytes, list[bytes]] = {}
        for log_id, shown in self.holder.logs.items():
            mark = self.cut.get(log_id)
            named = shown if mark is None else self.histories.having(mark)
            assert named is not None
            found[log_id] = named.leaves
            for number, log in enumerate(self.histories.of(log_id)):
                if log is not named:
                    found[log_id + bytes([number])] = log.leaves
        return found

    def _ask(self) -> None:
        """For histories of forked logs that frontiers name (A4)."""
        wanted = []
        for epoch in sorted(self._spoken_of):
            if epoch <= self.epoch:
                del self._spoken_of[epoch]
                continue
            for mark in sorted(self._spoken_of[epoch]):
                forked = mark.log_id in self.hub.replica.forks and mark.log_id != self.holder.own
                if forked and self.histories.having(mark) is None:
                    wanted.append(mark)
        self.hub.need(wanted)

    def may_vote(self) -> bool:
        """Whether nothing that a restored seat may have said before is unknown here."""
        if not self.waits:
            return True
        self.agreed |= {
            (runner.peer.peer.account, runner.peer.peer.device)
            for runner in self.hub.links.values()
            if runner.peer is not None and runner.agrees
        }
        others = set(self.seats.seats) - {(self.account, self.device.public.raw)}
        self.waits = not (others <= self.agreed or self.log_id in self.cut)
        return not self.waits

    def held(self) -> Held:
        def changed() -> list[SignedHead]:
            grown = [
                log.head
                for log_id, log in self.holder.logs.items()
                if log.head is not None and log.head.size > self._final_size(log_id)
            ]
            return [*self._decided_aside(), *grown]

        doubtful = {
            self.seats.index_of(log.genesis.account_id, log.genesis.device)
            for log_id, log in self.holder.logs.items()
            if log_id in self.hub.replica.forks
        }
        return Held(
            self.cut,
            self.cut_id,
            {},
            self.histories,
            changed,
            lambda mark: self.histories.having(mark) is not None,
            self.histories.signed,
            frozenset(seat for seat in doubtful if seat is not None),
        )

    def _decided_aside(self) -> list[SignedHead]:
        """The head of a history set aside that holds the last decided proposal."""
        for log_id in self.hub.replica.forks:
            for place, log in enumerate(self.histories.of(log_id)):
                if any(is_proposal(leaf, self.ledger_id, self._decided) for leaf in log.leaves):
                    return [log.head] if place and log.head is not None else []
        return []

    def _final_size(self, log_id: bytes) -> int:
        return self.cut[log_id].size if log_id in self.cut else 0

    def is_due(self) -> bool:
        if (trio.current_time() - self._closed_s) * self._skew < EPOCH_S:
            return False
        for log_id, log in self.holder.logs.items():
            proof = self.hub.replica.forks.get(log_id)
            end = len(log.leaves) if proof is None else min(len(log.leaves), proof.common)
            if any(not _is_vote(leaf) for leaf in log.leaves[self._final_size(log_id) : end]):
                return True
        return False

    def _next(self) -> Said | None:
        if self.index is None or self.silent or not self.may_vote():
            return None
        view = None
        if len(self.round.frontiers) >= self.seats.quorum:
            view = current_view(self.round)
        if view != self._view:
            self._view, self._view_since_s = view, trio.current_time()
        elapsed_s = (trio.current_time() - self._view_since_s) * self._skew
        return next_event(
            self.round,
            Seat(self.index, self.device),
            self.held(),
            due=self.is_due(),
            waited=view is not None and elapsed_s >= T0_S,
            expired=view is not None and elapsed_s >= T0_S * 2 ** min(view, 6),
        )

    def evidence(self) -> list[Evidence]:
        return evidence_of(self.round)


@lru_cache(maxsize=DECODED_VOTES)
def _decoded(log_id: bytes, seq: int, leaf: bytes) -> tuple[str, Any, bytes]:
    """A leaf's kind, body and id: all nodes read the same votes, and after a crash once more."""
    event = parse_event(leaf)
    return event.kind, parse_body(event), event_id(log_id, seq, leaf)


def _is_vote(leaf: bytes) -> bool:
    """Whether a leaf makes no epoch due (A1): a vote, and no change of the set."""
    window = leaf[:_KIND_WINDOW_BYTES]
    return _WITNESS in window and not any(kind in window for kind in _CHANGES)
