"""A seat's next event: the vote rules as one function from what is known to what is said next.

`next_event(round, seat)` looks at the round as it stands, own events included, and gives the one
event that the rules ask of this seat now, or None. The caller appends it durably to its own log,
adds it to the round, and asks again. All that a seat has said is read back from its own log, so
after a crash it goes on from the last one and never says two things.

- A1 frontier, once an epoch, when the epoch is due here or f+1 other seats published theirs.
- A2 view 0 starts at q frontiers; view v+1 on a NOTAR or SKIP certificate of v; leader = seats[(e +
  v) mod n].
- A3 the leader proposes: on the newest notarised parent with SKIP certificates between, its
  frontiers and cut inherited; or on frontiers alone with SKIP certificates for all earlier views.
- A4 notar, one a view, for a valid proposal whose cut this seat computed itself.
- A5 final, on a NOTAR certificate, which it carries, without an own skip of that view.  A6 skip,
  when the view's timer expired, or on a SKIP certificate, without an own final of that view.

So every view ends for everybody by what honest seats say alone, whatever others showed to some of
them: either all of the honest said skip, or one said final and its event carries the certificate.

With n = 1 a good epoch is frontier, propose, notar, final, and after the fold, state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openledger_node.agreement.certificates import Ballot, SeatSet, sign_vote, verify_certificate
from openledger_node.agreement.cut import Histories, compute_cut, cut_id_of, makes_cut, merged
from openledger_node.agreement.evidence import evidence_of
from openledger_node.agreement.rounds import Decided, Round
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import VerificationFailed
from openledger_node.ledger.events import MAX_LEAF_BYTES
from openledger_node.ledger.heads import Mark, SignedHead
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.votes import (
    MAX_FRONTIER_HEADS,
    SkipCertificate,
    WitnessFinal,
    WitnessFrontier,
    WitnessNotar,
    WitnessPropose,
    WitnessSkip,
    WitnessState,
    proposal_id,
    state_parts,
)

MAX_PROPOSAL_BYTES: Final = MAX_LEAF_BYTES - 1_024
"""An event less its envelope: a cut of 5,000 logs leaves room for a hundred SKIP certificates of 31
seats, and for seven hundred of four.
"""


@dataclass(frozen=True)
class Held:
    """What this seat holds: the previous cut, closures of logs, histories, and the heads to report.

    `changed_heads` gives the signed heads that grew since the previous cut, those first that are to
    be named where there are too many.
    """

    previous: Mapping[bytes, Mark]
    previous_cut_id: bytes
    closures: Mapping[bytes, int]
    histories: Histories
    changed_heads: Callable[[], Sequence[SignedHead]]
    holds: Callable[[Mark], bool]
    signed: Callable[[SignedHead], bool | None]
    """Whether a head is its device's word; None while its log is not known here."""
    doubtful: frozenset[int] = frozenset()
    """Seats with a log that is known to be forked: a leader does without their frontiers."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One's own seat: its index and its device key."""

    index: int
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Said:
    """An event that the rules ask for."""

    kind: str
    body: Any


def next_event(
    round_: Round,
    seat: Seat,
    held: Held,
    *,
    due: bool,
    waited: bool = False,
    expired: bool = False,
) -> Said | None:
    """The event this seat is to append now, or None.

    `waited`: T0 has passed in the current view, `expired`: its timer has run out. Both are the
    caller's to know: this layer has no clock.
    """
    own_frontier = round_.frontiers.get(seat.index)
    if own_frontier is None:
        others = len(round_.frontiers)
        if due or others > round_.seats.faults:
            heads = tuple(held.changed_heads())[:MAX_FRONTIER_HEADS]
            return Said("witness.frontier", WitnessFrontier(round_.epoch, heads))
        return None
    if len(round_.frontiers) < round_.seats.quorum:
        return None
    view = current_view(round_)
    for at in range(view + 1):
        said = _finalise(round_, seat, at)
        if said is None and _is_skipped(round_, at):
            said = _skip(round_, seat, at)
        if said is not None:
            return said
    return (
        _propose(round_, seat, held, view, waited)
        or _notarise(round_, seat, held, view)
        or (_skip(round_, seat, view) if expired else None)
    )


def current_view(round_: Round) -> int:
    """A2: the first view that has neither a NOTAR nor a SKIP certificate."""
    view = 0
    while round_.notarised(view) or round_.certificate("skip", view, None):
        view += 1
    return view


def _finalise(round_: Round, seat: Seat, view: int) -> Said | None:
    named = round_.notarised(view)
    if named is None or ("final", view, seat.index) in round_.cast:
        return None
    if ("skip", view, seat.index) in round_.cast:
        return None
    signature = sign_vote(seat.key, "final", round_.ledger_id, round_.epoch, view, named)
    certificate = round_.certificate("notar", view, named) or ()
    return Said("witness.final", WitnessFinal(round_.epoch, view, named, signature, certificate))


def _propose(round_: Round, seat: Seat, held: Held, view: int, waited: bool) -> Said | None:
    if round_.seats.leader(round_.epoch, view) != seat.index:
        return None
    if (seat.index, view) in round_.proposed:
        return None
    parent_view, parent_id = _newest_parent(round_, view)
    if parent_view is not None and parent_view == view - 1 and not waited:
        return None  # its FINAL is on the way in a good epoch
    skips = []
    for at in range(0 if parent_view is None else parent_view + 1, view):
        certificate = round_.certificate("skip", at, None)
        if certificate is None:
            return None
        skips.append(SkipCertificate(at, certificate))
    if parent_id is not None and parent_view is not None:
        parent = _whole(round_, held, parent_id)
        if parent is None:
            return None  # none of those who voted for it could be asked for it yet
        parent_certificate = round_.certificate("notar", parent_view, parent_id) or ()
        frontiers, delta, cut_id = parent.frontiers, parent.cut_delta, parent.cut_id
    else:
        parent_certificate = ()
        frontiers = _chosen_frontiers(round_, held)
        delta = own_cut(round_, held, frontiers) or ()
        if len(frontiers) < round_.seats.quorum or not all(map(held.holds, delta)):
            return None
        cut_id = cut_id_of(merged(held.previous, delta).values())
    body = WitnessPropose(
        round_.epoch,
        view,
        parent_view,
        parent_id,
        parent_certificate,
        tuple(skips),
        frontiers,
        delta,
        cut_id,
    )
    # What no event can hold is left to a leader that can prove its view with less.
    return Said("witness.propose", body) if len(encode(body)) <= MAX_PROPOSAL_BYTES else None


def _chosen_frontiers(round_: Round, held: Held) -> tuple[bytes, ...]:
    """The frontiers that a leader names (A3): of seats that give no cause for doubt.

    Others may not hold what a seat that forked its log showed here, and nobody what a frontier
    names that its seat alone has. The q honest seats' frontiers are free of both, in time.
    """
    doubtful = held.doubtful | {found.seat for found in evidence_of(round_)}
    return tuple(
        sorted(
            event_id
            for seat, (event_id, body) in round_.frontiers.items()
            if seat not in doubtful and _counted(body.heads, held) is not None
        )
    )


def _counted(heads: Sequence[SignedHead], held: Held) -> list[SignedHead] | None:
    """The heads of a frontier that count: those that their devices signed.

    None while one of them is of a log, or of a history, that is not held here: it cannot be judged.
    """
    counted = []
    for head in heads:
        signed = held.signed(head)
        if signed is None or (signed and not held.holds(head.mark)):
            return None
        if signed:
            counted.append(head)
    return counted


def _whole(round_: Round, held: Held, named: bytes) -> WitnessPropose | None:
    """The variant of a proposal whose marks make the cut that its id binds."""
    for body in round_.proposals.get(named, ()):
        if makes_cut(held.previous, body.cut_delta, body.cut_id):
            return body
    return None


def _newest_parent(round_: Round, view: int) -> tuple[int | None, bytes | None]:
    for at in range(view - 1, -1, -1):
        named = round_.notarised(at)
        if named is not None and (named in round_.proposals or not _is_skipped(round_, at)):
            return at, named
    return None, None


def _is_skipped(round_: Round, view: int) -> bool:
    return round_.certificate("skip", view, None) is not None


def own_cut(round_: Round, held: Held, frontiers: Sequence[bytes]) -> tuple[Mark, ...] | None:
    """The cut that named frontiers make, or None while they or their data are not all held."""
    counted = []
    for named in frontiers:
        report = round_.reports.get(named)
        heads = None if report is None else _counted(report[1].heads, held)
        if heads is None:
            return None
        counted.append(heads)
    return compute_cut(held.previous, held.previous_cut_id, counted, held.closures, held.histories)


def _notarise(round_: Round, seat: Seat, held: Held, view: int) -> Said | None:
    if ("notar", view, seat.index) in round_.cast:
        return None
    leader = round_.seats.leader(round_.epoch, view)
    named = round_.proposed.get((leader, view))
    if named is None:
        return None
    if all(proposal_fault(round_, held, body) for body in round_.proposals[named]):
        return None
    signature = sign_vote(seat.key, "notar", round_.ledger_id, round_.epoch, view, named)
    return Said("witness.notar", WitnessNotar(round_.epoch, view, named, signature))


def proposal_fault(round_: Round, held: Held, body: WitnessPropose) -> str:
    """Why a proposal is not valid, or an empty text.

    It depends on its bytes and the data it names.
    """
    try:
        fault = _chain_fault(round_, body)
    except VerificationFailed as error:
        return error.message
    if fault:
        return fault
    if list(body.frontiers) != sorted(set(body.frontiers)):
        return "its frontiers are not sorted and distinct"
    if len(body.frontiers) < round_.seats.quorum:
        return f"it has {len(body.frontiers)} frontiers and needs {round_.seats.quorum}"
    if body.parent_id is None:
        seats = [round_.reports[named][0] for named in body.frontiers if named in round_.reports]
        if len(set(seats)) != len(seats):
            return "it names two frontiers of one seat"
        expected = own_cut(round_, held, body.frontiers)
        if expected is None:
            return "it names a frontier that is not held, or whose data is not"
        if body.cut_delta != expected:
            return "its cut is not the one its frontiers make"
    if not all(held.holds(mark) for mark in body.cut_delta):
        return "the data that its marks name is not held"
    if not makes_cut(held.previous, body.cut_delta, body.cut_id):
        return "its cut id is not its cut's"
    return ""


def _chain_fault(round_: Round, body: WitnessPropose) -> str:
    """A3's parent and skip certificates."""
    first = 0
    if body.parent_view is not None and body.parent_id is not None:
        if body.parent_view >= body.view:
            return "its parent is not of an earlier view"
        ballot = Ballot("notar", round_.ledger_id, round_.epoch, body.parent_view, body.parent_id)
        verify_certificate(ballot, body.parent_certificate, round_.seats)
        if not _inherits(round_, body):
            return "it changes what its parent proposed, or that is not held"
        first = body.parent_view + 1
    elif (body.parent_view, body.parent_id, body.parent_certificate) != (None, None, ()):
        return "it names half a parent"
    if [item.view for item in body.skips] != list(range(first, body.view)):
        return "it does not prove that every view between was skipped"
    for item in body.skips:
        ballot = Ballot("skip", round_.ledger_id, round_.epoch, item.view, None)
        verify_certificate(ballot, item.certificate, round_.seats)
    return ""


def _inherits(round_: Round, body: WitnessPropose) -> bool:
    """Whether the parent proposed the same frontiers and cut, as its id says.

    The id is enough: the parent itself may lie in a history that its leader showed to others.
    """
    assert body.parent_view is not None
    of_parent = body.parent_view, body.frontiers, body.cut_id
    known = round_.proposals.get(body.parent_id or b"")
    if known:
        return of_parent == (known[0].view, known[0].frontiers, known[0].cut_id)
    return any(
        body.parent_id
        == proposal_id(
            round_.ledger_id,
            round_.epoch,
            body.parent_view,
            grandparent,
            body.frontiers,
            body.cut_id,
        )
        for grandparent in (None, *round_.proposals)
    )


def _skip(round_: Round, seat: Seat, view: int) -> Said | None:
    slot = ("skip", view, seat.index)
    if slot in round_.cast or ("final", view, seat.index) in round_.cast:
        return None
    signature = sign_vote(seat.key, "skip", round_.ledger_id, round_.epoch, view, None)
    return Said("witness.skip", WitnessSkip(round_.epoch, view, None, signature))


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What a seat's fold made of a decided epoch."""

    statement_root: bytes
    state_digest: bytes
    rules_version: int
    next_set_digest: bytes


def state_event(ledger_id: bytes, decided: Decided, folded: FoldResult, key: SigningKey) -> Said:
    """A8: the seat's signed state, with the certificate that decided its epoch."""
    unsigned = WitnessState(
        decided.epoch,
        decided.cut_id,
        folded.statement_root,
        folded.state_digest,
        folded.rules_version,
        folded.next_set_digest,
        None,
        bytes(64),
        decided.view,
        decided.proposal_id,
        decided.certificate,
    )
    signature = key.sign_parts("state", *state_parts(ledger_id, unsigned))
    fields = {name: getattr(unsigned, name) for name in unsigned.__struct_fields__}
    return Said("witness.state", WitnessState(**(fields | {"signature": signature})))


def seat_of(seats: SeatSet, account: bytes, device: bytes, key: SigningKey) -> Seat | None:
    """This device's seat, if it has one."""
    index = seats.index_of(account, device)
    return None if index is None else Seat(index, key)


__all__ = [
    "FoldResult",
    "Held",
    "Said",
    "Seat",
    "current_view",
    "next_event",
    "proposal_fault",
    "proposal_id",
    "seat_of",
    "state_event",
]
