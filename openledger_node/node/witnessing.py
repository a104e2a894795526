"""The witnesses of a ledger that has begun: who they are, and how they change (A10).

A change is a whole new set: seats, rules version, params and issuers. One current seat proposes it,
others approve by filing the same; it takes effect the epoch after q of them are final, and only
when every seat in it has said `witness.ready`. So nobody is seated who cannot vote, and nobody is
dropped by the program.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from openledger_node.credit import views
from openledger_node.ledger.errors import Refused, UsageError
from openledger_node.ledger.genesis import (
    MAX_SEATS,
    RULES_VERSION,
    Params,
    network_params,
    quorum,
)
from openledger_node.ledger.names import account_short, did_key, parse_did_key
from openledger_node.ledger.votes import WitnessReady, WitnessSet, seat_set_digest
from openledger_node.node.core import NodeCore
from openledger_node.node.finality import judged_append, make_final
from openledger_node.node.founding import params_from
from openledger_node.node.lookup import find_account
from openledger_node.node.results import Recorded
from openledger_node.node.results_witness import Proposal, Witness, Witnesses
from openledger_node.node.witness_logs import load_round, seat_set
from openledger_node.store.snapshot import Snapshot

MIN_DIGEST_DIGITS: Final = 8
LOOK_BACK_EPOCHS: Final = 16
"""How far back `status` looks for the last statement that a seat signed."""

Seat = tuple[bytes, bytes]


def status(core: NodeCore) -> Witnesses:
    """The set in force, when each seat last spoke, and what is proposed."""
    with core.store.read() as snapshot:
        rules = views.rules(snapshot.state)
        last = snapshot.last_epoch()
        round_ = load_round(core, snapshot, last + 1)
        forked = {proof.genesis.device for proof in snapshot.forks()}
        names = snapshot.petnames()
        signed = _last_signed(snapshot, last)
        witnesses = tuple(
            Witness(
                seat=index,
                account_id=account.hex(),
                account=account_short(account),
                name=names.get(account),
                device=did_key(device),
                own=(account, device) == (core.account_id, core.device),
                signed_epoch=signed.get(index),
                voted=index in round_.frontiers,
                forked=device in forked,
            )
            for index, (account, device) in enumerate(rules.seats)
        )
        proposals = tuple(
            _shown(snapshot, rules, item) for item in views.proposed_sets(snapshot.state)
        )
        return Witnesses(
            number=rules.number,
            quorum=quorum(len(rules.seats)),
            epoch=last,
            final_epoch=last,
            witnesses=witnesses,
            proposals=proposals,
            alarms=tuple(snapshot.alarms()),
        )


def _last_signed(snapshot: Snapshot, last: int) -> dict[int, int]:
    """The last epoch whose statement each seat signed, as far back as is looked."""
    found: dict[int, int] = {}
    for epoch in range(max(1, last - LOOK_BACK_EPOCHS), last + 1):
        for seat in snapshot.states(epoch):
            found[seat] = epoch
    return found


def _shown(snapshot: Snapshot, rules: views.RulesView, item: views.ProposedSetView) -> Proposal:
    names = snapshot.petnames()

    def label(account: bytes) -> str:
        return names.get(account) or account_short(account)

    by_device = {device: account for account, device in rules.seats}
    approved = tuple(label(by_device[d]) for d in item.devices if d in by_device)
    state = snapshot.state
    are_ready = [
        (account, views.ready_for(state, account, device) == item.body.number)
        for account, device in item.body.seats
    ]
    return Proposal(
        digest=item.digest.hex(),
        number=item.body.number,
        approved=approved,
        needed=quorum(len(rules.seats)),
        ready=tuple(label(account) for account, said in are_ready if said),
        waiting=tuple(label(account) for account, said in are_ready if not said),
        changes=tuple(_changes(rules, item.body, label)),
    )


def _changes(rules: views.RulesView, body: WitnessSet, label: object) -> Iterable[str]:
    """What a proposed set changes, for people."""
    assert callable(label)
    old, new = dict(rules.seats), dict(body.seats)
    yield from (f"adds {label(account)}" for account in new if account not in old)
    yield from (f"drops {label(account)}" for account in old if account not in new)
    for account, device in new.items():
        if account in old and old[account] != device:
            yield f"moves the seat of {label(account)} to another device"
    if body.rules_version != rules.version:
        yield f"rules version {rules.version} -> {body.rules_version}"
    for field in msgspec.structs.fields(Params):
        before, after = getattr(rules.params, field.name), getattr(body.params, field.name)
        if before != after:
            yield f"{field.name}: {_value(before)} -> {_value(after)}"
    if body.issuers != rules.issuers:
        yield f"issuers: {len(rules.issuers)} -> {len(body.issuers)}"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return value.hex()[:12] if isinstance(value, bytes) else str(value)


def propose(
    core: NodeCore,
    *,
    add: Sequence[str] = (),
    drop: Sequence[str] = (),
    params_file: Path | None = None,
    rules_version: int | None = None,
    issuers: Sequence[tuple[str, int]] | None = None,
) -> Proposal:
    """Files a new set, and that this seat is ready for it. Nothing but what is named changes.

    A ledger of one that gets its first other witnesses takes a network's waiting times with them,
    unless `params_file` says otherwise: fees that mature at once leave nothing to challenge.
    """
    make_final(core)
    with core.store.read() as snapshot:
        rules = views.rules(snapshot.state)
        _must_be_seat(core, snapshot)
        seats = _seats_after(snapshot, rules, add, drop)
        params = rules.params
        if len(rules.seats) == 1 and len(seats) > 1:
            params = _network_times(params)
        if params_file is not None:
            params = params_from(params_file, params, core.account_id)
        named = rules.issuers
        if issuers is not None:
            named = tuple((find_account(snapshot, who), cap_micro) for who, cap_micro in issuers)
        body = WitnessSet(
            rules.number + 1,
            seats,
            rules.version if rules_version is None else rules_version,
            params,
            tuple(sorted(named)),
        )
        same = (rules.seats, rules.version, rules.params, rules.issuers)
        if (body.seats, body.rules_version, body.params, body.issuers) == same:
            raise UsageError(
                "that is the set which is in force", hint="name what is to change: --add ACCOUNT"
            )
    return _file(core, body)


def _network_times(params: Params) -> Params:
    """The params of a ledger of one with the waiting times of a network's."""
    network = network_params(params.commons_accounts)
    times = ("epoch_ms", "t0_ms", "maturity_epochs", "dispute_epochs", "park_epochs")
    return msgspec.structs.replace(params, **{name: getattr(network, name) for name in times})


def _seats_after(
    snapshot: Snapshot, rules: views.RulesView, add: Sequence[str], drop: Sequence[str]
) -> tuple[Seat, ...]:
    """The seats once some are dropped and some added, ascending by account."""
    seats = dict(rules.seats)
    for text in drop:
        account = find_account(snapshot, text)
        if account not in seats:
            raise UsageError(f"{text} has no seat", hint="see `oln witness status`")
        del seats[account]
    for text in add:
        name, _, device = text.partition("/")
        account = find_account(snapshot, name)
        seats[account] = _device_of(snapshot, account, name, device)
    if not 1 <= len(seats) <= MAX_SEATS:
        raise UsageError(f"a ledger has 1 to {MAX_SEATS} seats, these would be {len(seats)}")
    return tuple(sorted(seats.items()))


def _device_of(snapshot: Snapshot, account: bytes, name: str, device: str) -> bytes:
    """The device that takes an account's seat: the one named, or its only one."""
    chain = views.chain(snapshot.state, account)
    if chain is None:
        raise Refused(
            f"{name} is not on this ledger yet", hint="its log must be final first", code="unknown"
        )
    devices = [raw for raw, closed in chain.devices.items() if closed is None]
    if device:
        chosen = parse_did_key(device)
        if chosen not in devices:
            raise UsageError(f"{device} is no device of {name}", hint="see `oln account show`")
        return chosen
    if len(devices) != 1:
        raise UsageError(
            f"{name} has {len(devices)} devices: say which",
            hint="ACCOUNT/DEVICE, as `oln account show` lists it",
        )
    return devices[0]


def _must_be_seat(core: NodeCore, snapshot: Snapshot) -> None:
    if seat_set(snapshot).index_of(core.account_id, core.device) is None:
        raise Refused(
            "this home has no seat: the witnesses propose and approve changes",
            hint="`oln witness status` names them",
            code="no_seat",
        )


def _file(core: NodeCore, body: WitnessSet) -> Proposal:
    """The set, and that this device is ready for it when it has a seat there.

    Never one under rules that this program does not know: a seat's word for a set says that it can
    fold what follows.
    """
    _must_know(body.rules_version)
    judged_append(core, "witness.set", body)
    if (core.account_id, core.device) in body.seats:
        judged_append(core, "witness.ready", WitnessReady(body.number))
    digest = seat_set_digest(body.number, body.seats, body.rules_version, body.params, body.issuers)
    with core.store.read() as snapshot:
        rules = views.rules(snapshot.state)
        devices = next(
            (i.devices for i in views.proposed_sets(snapshot.state) if i.digest == digest), ()
        )
        if core.device not in devices:
            devices = (*devices, core.device)
        return _shown(snapshot, rules, views.ProposedSetView(digest, body, devices))


def _must_know(rules_version: int) -> None:
    if rules_version != RULES_VERSION:
        raise Refused(
            f"this program follows rules version {RULES_VERSION} and does not know {rules_version}",
            hint="every witness upgrades first, then proposes or approves the new rules",
            code="rules_version_unknown",
        )


def approve(core: NodeCore, digest: str) -> Proposal:
    """Files the same set as another seat did."""
    wanted = digest.lower()
    with core.store.read() as snapshot:
        _must_be_seat(core, snapshot)
        found = [
            item
            for item in views.proposed_sets(snapshot.state)
            if len(wanted) >= MIN_DIGEST_DIGITS and item.digest.hex().startswith(wanted)
        ]
    if len(found) != 1:
        raise UsageError(
            f"no final proposal begins with {digest!r}"
            if not found
            else f"{digest!r} is ambiguous",
            hint="`oln witness status` lists them; one counts from the epoch after it was filed",
            code="unknown_id",
        )
    return _file(core, found[0].body)


def ready(core: NodeCore) -> Recorded:
    """Says that this device can take its seat in the next set.

    Refused while one of the sets proposed has rules that this program does not know.
    """
    with core.store.read() as snapshot:
        number = views.rules(snapshot.state).number + 1
        for item in views.proposed_sets(snapshot.state):
            _must_know(item.body.rules_version)
    return judged_append(core, "witness.ready", WitnessReady(number))
