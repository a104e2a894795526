"""Typed reading of the folded state, for whoever shows it: never raw keys outside `credit/`.

Amounts are micro-credits and end in `_micro`, shares are ppm or basis points, epochs count
decisions. A view is a copy: it does not follow later epochs. Functions of one id answer None where
the state has no such thing; functions in the plural go through all of them in ascending order of
ids, which costs a scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgspec

from openledger_node.credit import state_records as records
from openledger_node.credit.inputs import StateReader
from openledger_node.credit.phase_accounts import key_chain
from openledger_node.credit.state_records import Record, epoch_key
from openledger_node.credit.view_types import (
    AccountView,
    AgentView,
    ContributionView,
    DatanetView,
    DerivationView,
    EscrowView,
    GrantView,
    LogView,
    MemberView,
    ModelView,
    ParkedView,
    PayoutView,
    ProposedSetView,
    ReceiptView,
    RedeemView,
    RulesView,
    StandingView,
    TotalsView,
)
from openledger_node.ledger.accounts import KeyChain
from openledger_node.ledger.votes import WitnessSet

__all__ = [
    "AccountView",
    "AgentView",
    "ContributionView",
    "DatanetView",
    "DerivationView",
    "EscrowView",
    "GrantView",
    "LogView",
    "MemberView",
    "ModelView",
    "ParkedView",
    "PayoutView",
    "ProposedSetView",
    "ReceiptView",
    "RedeemView",
    "RulesView",
    "StandingView",
    "TotalsView",
]

R = TypeVar("R", bound=Record)
V = TypeVar("V")

MAX_FOUND_IDS: Final = 64
"""Ids that `find_ids` returns at most: past it a prefix is ambiguous anyway."""


def _account(account_id: bytes, r: records.Purse) -> AccountView:
    return AccountView(
        account_id,
        r.balance,
        r.locked,
        r.earned_data,
        r.earned_model,
        r.earned_agent,
        r.refunds,
        r.units_paid,
        r.units_unpaid,
    )


def _contribution(contribution_id: bytes, r: records.Contribution) -> ContributionView:
    return ContributionView(
        contribution_id,
        r.account,
        r.epoch,
        r.serial,
        r.datanet,
        r.tokens,
        r.creators,
        r.accepted,
        r.floors,
        r.withdrawn_epoch,
        bool(r.erased),
        bool(r.commons),
        r.share,
    )


def _receipt(receipt_id: bytes, r: records.Receipt) -> ReceiptView:
    return ReceiptView(
        receipt_id,
        r.payer,
        r.provider,
        r.grant,
        r.model,
        r.agent,
        r.epoch,
        r.matures,
        r.uses,
        r.weights,
        r.unattributed,
        r.fee,
        r.network,
        r.data,
        r.model_part,
        r.agent_part,
        r.held,
        records.RECEIPT_STATES[r.status],
        bool(r.confirmed),
        r.disputed_until,
        r.held_until,
        bool(r.challenged),
    )


def _derivation(derivation_id: bytes, r: records.Derivation) -> DerivationView:
    status = records.DERIVATION_STATES[r.status]
    return DerivationView(
        derivation_id, r.account, r.epoch, r.contribution, status, bool(r.challenged)
    )


def _one(
    state: StateReader, prefix: bytes, shape: type[R], key: bytes, show: Callable[[bytes, R], V]
) -> V | None:
    raw = state.get(prefix + key)
    return None if raw is None else show(key, msgspec.msgpack.decode(raw, type=shape))


def _all(
    state: StateReader,
    prefix: bytes,
    shape: type[R],
    show: Callable[[bytes, R], V],
    start: bytes = b"",
) -> Iterator[V]:
    decode = msgspec.msgpack.Decoder(shape).decode
    for key, raw in state.scan(prefix + start):
        yield show(key[1:], decode(raw))


def account(state: StateReader, account_id: bytes) -> AccountView | None:
    """An account that the ledger knows: its `account.create` is final."""
    return _one(state, records.PURSE, records.Purse, account_id, _account)


def accounts(state: StateReader) -> Iterator[AccountView]:
    return _all(state, records.PURSE, records.Purse, _account)


def spendable_micro(state: StateReader, account_id: bytes) -> int:
    """What the account may spend in the next epoch: its balance at the end of the last one (C1)."""
    view = account(state, account_id)
    return view.balance_micro if view else 0


def chain(state: StateReader, account_id: bytes) -> KeyChain | None:
    """The account's key chain: its root keys, and its devices with what their retirement closed."""
    return _one(state, records.CHAIN, records.Chain, account_id, key_chain)


def contribution(state: StateReader, contribution_id: bytes) -> ContributionView | None:
    return _one(state, records.CONTRIBUTION, records.Contribution, contribution_id, _contribution)


def contributions(state: StateReader) -> Iterator[ContributionView]:
    return _all(state, records.CONTRIBUTION, records.Contribution, _contribution)


def _model(state: StateReader) -> Callable[[bytes, records.Model], ModelView]:
    def show(model_id: bytes, r: records.Model) -> ModelView:
        items = (
            _one(state, records.TRAINED_ON, records.TrainedOn, model_id, lambda _, t: t.items)
            if r.trained_on
            else ()
        )
        return ModelView(
            model_id, r.account, r.epoch, r.creators, r.accepted, r.floors, items or ()
        )

    return show


def model(state: StateReader, model_id: bytes) -> ModelView | None:
    return _one(state, records.MODEL, records.Model, model_id, _model(state))


def models(state: StateReader) -> Iterator[ModelView]:
    return _all(state, records.MODEL, records.Model, _model(state))


def _agent(agent_id: bytes, r: records.Agent) -> AgentView:
    return AgentView(agent_id, r.account, r.epoch, r.operator, r.models)


def agent(state: StateReader, agent_id: bytes) -> AgentView | None:
    return _one(state, records.AGENT, records.Agent, agent_id, _agent)


def agents(state: StateReader) -> Iterator[AgentView]:
    return _all(state, records.AGENT, records.Agent, _agent)


def _datanet(datanet_id: bytes, r: records.Datanet) -> DatanetView:
    return DatanetView(datanet_id, r.account, r.epoch)


def datanet(state: StateReader, datanet_id: bytes) -> DatanetView | None:
    return _one(state, records.DATANET, records.Datanet, datanet_id, _datanet)


def datanets(state: StateReader) -> Iterator[DatanetView]:
    return _all(state, records.DATANET, records.Datanet, _datanet)


def members(state: StateReader, datanet_id: bytes) -> Iterator[MemberView]:
    """The contributions of a datanet."""
    return _all(
        state,
        records.MEMBER,
        records.Member,
        lambda key, r: MemberView(key[32:], r.epoch, r.tokens),
        datanet_id,
    )


def derivation(state: StateReader, derivation_id: bytes) -> DerivationView | None:
    return _one(state, records.DERIVATION, records.Derivation, derivation_id, _derivation)


def derivations(state: StateReader) -> Iterator[DerivationView]:
    return _all(state, records.DERIVATION, records.Derivation, _derivation)


def _grant(grant_id: bytes, r: records.Grant) -> GrantView:
    return GrantView(grant_id, r.payer, r.provider, r.epoch, r.expiry_epoch, r.amount, r.remaining)


def grant(state: StateReader, grant_id: bytes) -> GrantView | None:
    return _one(state, records.GRANT, records.Grant, grant_id, _grant)


def grants(state: StateReader) -> Iterator[GrantView]:
    return _all(state, records.GRANT, records.Grant, _grant)


def receipt(state: StateReader, receipt_id: bytes) -> ReceiptView | None:
    return _one(state, records.RECEIPT, records.Receipt, receipt_id, _receipt)


def receipts(state: StateReader) -> Iterator[ReceiptView]:
    return _all(state, records.RECEIPT, records.Receipt, _receipt)


def open_challenges(state: StateReader) -> Iterator[ReceiptView]:
    """The receipts that a challenge holds, by the epoch in which the hold ends."""
    for _, raw in state.scan(records.AGENDA):
        for receipt_id in msgspec.msgpack.decode(raw, type=records.Agenda).holds:
            found = receipt(state, receipt_id)
            if found is not None and found.held_until_epoch is not None:
                yield found


def votes(state: StateReader, target: bytes) -> dict[bytes, bool]:
    """{device of a seat: whether it upholds} on a challenged receipt or a derivation."""
    raw = state.get(records.VERDICTS + target)
    if raw is None:
        return {}
    found = msgspec.msgpack.decode(raw, type=records.Verdicts)
    return {device: bool(upheld) for device, upheld in found.votes}


def _redeem(redeem_id: bytes, r: records.Redeem) -> RedeemView:
    return RedeemView(redeem_id, r.account, r.issuer, r.open, bool(r.standing))


def redeem(state: StateReader, redeem_id: bytes) -> RedeemView | None:
    return _one(state, records.REDEEM, records.Redeem, redeem_id, _redeem)


def redeems(state: StateReader) -> Iterator[RedeemView]:
    return _all(state, records.REDEEM, records.Redeem, _redeem)


def standing_orders(state: StateReader) -> Iterator[StandingView]:
    return _all(
        state,
        records.STANDING,
        records.Standing,
        lambda key, r: StandingView(key[:32], key[32:], r.redeem, r.minimum),
    )


def _payout(payout_id: bytes, r: records.Payout) -> PayoutView:
    return PayoutView(payout_id, r.issuer, r.epoch, r.items, r.reverses, bool(r.reversed))


def payout(state: StateReader, payout_id: bytes) -> PayoutView | None:
    return _one(state, records.PAYOUT, records.Payout, payout_id, _payout)


def payouts(state: StateReader) -> Iterator[PayoutView]:
    return _all(state, records.PAYOUT, records.Payout, _payout)


def escrows(state: StateReader, artefact_id: bytes = b"") -> Iterator[EscrowView]:
    """What waits in escrow, of one artefact or of all."""
    return _all(
        state,
        records.ESCROW,
        records.Amount,
        lambda key, r: EscrowView(key[:32], key[32:], r.amount),
        artefact_id,
    )


def log_record(state: StateReader, log_id: bytes) -> LogView | None:
    return _one(
        state,
        records.LOG,
        records.Log,
        log_id,
        lambda key, r: LogView(
            key, r.account, r.device, r.mark, r.read_to, bool(r.authorised), r.closed_at
        ),
    )


def rules(state: StateReader) -> RulesView:
    """The rules in force. KeyError when the state was never begun."""
    found = _one(
        state,
        records.RULES,
        records.Rules,
        b"",
        lambda _, r: RulesView(r.number, r.version, r.params, r.seats, r.issuers, r.past_issuers),
    )
    return _begun(found)


def proposed_sets(state: StateReader) -> Iterator[ProposedSetView]:
    """The witness sets that current seats asked for and that are not in force."""
    decode = msgspec.msgpack.Decoder(WitnessSet).decode
    return _all(
        state,
        records.PROPOSED_SET,
        records.ProposedSet,
        lambda key, r: ProposedSetView(key, decode(r.body), r.seats),
    )


def ready_for(state: StateReader, account_id: bytes, device: bytes) -> int | None:
    """The number of the set that a device last said it can take its seat in."""
    key = account_id + device
    return _one(state, records.READY, records.Ready, key, lambda _, r: r.number)


def totals(state: StateReader) -> TotalsView:
    """Sums over the whole ledger. KeyError when the state was never begun."""
    found = _one(
        state,
        records.TOTALS,
        records.Totals,
        b"",
        lambda _, r: TotalsView(r.issued, r.burned, r.pool, r.escrow, r.serial),
    )
    return _begun(found)


def last_epoch(state: StateReader) -> tuple[int, bytes]:
    """(epoch, cut_id) of the last folded epoch. KeyError when the state was never begun."""
    found = _one(state, records.EPOCH, records.EpochMark, b"", lambda _, r: (r.epoch, r.cut_id))
    return _begun(found)


def state_digest(state: StateReader) -> bytes:
    """The digest after the last folded epoch. KeyError when the state was never begun."""
    return msgspec.msgpack.decode(_begun(state.get(records.DIGEST)), type=bytes)


def _begun(found: V | None) -> V:
    if found is None:
        raise KeyError("the state was never begun")
    return found


def void_reason(state: StateReader, event_id: bytes) -> tuple[str, str] | None:
    """(rule, reason code) of a void event; `rules.reason_sentence` has the sentence."""
    return _one(state, records.VOID, records.Void, event_id, lambda _, r: (r.rule, r.code))


def voids(state: StateReader) -> Iterator[tuple[bytes, str, str]]:
    """(event id, rule, reason code) of every void event."""
    return _all(state, records.VOID, records.Void, lambda key, r: (key, r.rule, r.code))


def _parked(event_id: bytes, r: records.Parked) -> ParkedView:
    return ParkedView(event_id, r.kind, r.account, r.log_id, r.seq, r.epoch, r.awaits)


def parked(state: StateReader, event_id: bytes) -> ParkedView | None:
    return _one(state, records.PARKED, records.Parked, event_id, _parked)


def all_parked(state: StateReader) -> Iterator[ParkedView]:
    return _all(state, records.PARKED, records.Parked, _parked)


_KINDS: Final = (
    (records.CONTRIBUTION, "data.contribute"),
    (records.MODEL, "model.register"),
    (records.AGENT, "agent.register"),
    (records.DATANET, "datanet.create"),
    (records.DERIVATION, "data.derivation"),
    (records.RECEIPT, "use.receipt"),
    (records.GRANT, "money.grant"),
    (records.REDEEM, "money.redeem"),
    (records.PAYOUT, "money.payout"),
    (records.PURSE, "account"),
)


def what_is(state: StateReader, some_id: bytes) -> str | None:
    """What an id names: the kind of the event that made it, `account`, or None."""
    for prefix, kind in _KINDS:
        if state.get(prefix + some_id) is not None:
            return kind
    return None


def find_ids(state: StateReader, prefix: bytes) -> list[tuple[str, bytes]]:
    """[(kind or `account`, id)] of what has an id that begins so, at most MAX_FOUND_IDS."""
    found: list[tuple[str, bytes]] = []
    for key_prefix, kind in _KINDS:
        for key, _ in state.scan(key_prefix + prefix):
            if len(found) == MAX_FOUND_IDS:
                return found
            found.append((kind, key[1:]))
    return found


def due_in(state: StateReader, epoch: int) -> bool:
    """Whether something matures, expires, lapses or is decided at the end of `epoch` or before it.

    Epochs count decisions: an epoch is due when this holds for the next one, even without new
    events.
    """
    for key, raw in state.scan(records.AGENDA):
        if key[1:] > epoch_key(epoch):
            break
        if _agenda_is_live(state, msgspec.msgpack.decode(raw, type=records.Agenda)):
            return True
    park_epochs = rules(state).params.park_epochs
    return any(
        event.awaits is None or event.epoch + park_epochs <= epoch for event in all_parked(state)
    )


def _agenda_is_live(state: StateReader, agenda: records.Agenda) -> bool:
    receipts_due = (*agenda.maturing, *agenda.disputes, *agenda.holds)
    if any(
        (found := receipt(state, receipt_id)) is not None and found.status == "held"
        for receipt_id in receipts_due
    ):
        return True
    return any(
        (left := grant(state, grant_id)) is not None and left.remaining_micro
        for grant_id in agenda.grants
    )
