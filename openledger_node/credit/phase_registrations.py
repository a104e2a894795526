"""Phase 2: datanets, contributions, models, agents, and what their owners say about them later.

- C8 An artefact's floors are the union of its own and its bases' floors, the largest per distinct
  ancestor; void if they exceed 9000 bp or 64 ancestors.
- C10 Creators take declared shares; `creators` () is the registering account alone, which needs no
  acceptance. A named creator accepts by `account.accept`; until then its part accrues in escrow.
- What an owner says (share, withdraw, erase) counts from the owner's account only (OWN), common
  texts only from the accounts that the params name (R1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from openledger_node.credit import state_records as records
from openledger_node.credit.books import Books
from openledger_node.credit.overlay import Table
from openledger_node.credit.parking import Item
from openledger_node.credit.state_records import Shares
from openledger_node.ledger import kinds
from openledger_node.ledger.kinds import MAX_FLOORS, MAX_FLOORS_BP

Handler = Callable[[Books, Item, Any], None]
HandlerTable = dict[str, tuple[Callable[[msgspec.Raw | bytes], Any], Handler]]


def handlers(*pairs: tuple[str, Handler]) -> HandlerTable:
    """Kind -> (decoder of its body, handler)."""
    return {
        kind: (msgspec.msgpack.Decoder(kinds.BODY_TYPES[kind]).decode, handler)
        for kind, handler in pairs
    }


def effective_floors(books: Books, item: Item, direct: Shares, table: Table[Any]) -> Shares | None:
    """C8's floors for an artefact with these bases, ascending by id; None: parked or void."""
    if len({base for base, _ in direct}) != len(direct):
        books.void(item, "C8", "duplicate")
        return None
    bases = []
    for base_id, _ in direct:
        base = books.resolve(item, table, base_id, "C8")
        if base is None:
            return None
        bases.append(base)
    floors: dict[bytes, int] = {}
    for (base_id, floor_bp), base in zip(direct, bases, strict=True):
        for ancestor, bp in ((base_id, floor_bp), *base.floors):
            floors[ancestor] = max(floors.get(ancestor, 0), bp)
    if len(floors) > MAX_FLOORS:
        books.void(item, "C8", "too_many")
        return None
    if sum(floors.values()) > MAX_FLOORS_BP:
        books.void(item, "C8", "too_much")
        return None
    return tuple(sorted(floors.items()))


def first_accepts(books: Books, item: Item, creators: Shares) -> tuple[int | None, ...] | None:
    """Who has accepted from the start: the registering account. None: void, a creator stands there
    twice.
    """
    if not creators:
        return ()
    if len({account for account, _ in creators}) != len(creators):
        books.void(item, "C10", "duplicate")
        return None
    return tuple(books.epoch if account == item.account else None for account, _ in creators)


def contribute(books: Books, item: Item, body: kinds.DataContribute) -> None:
    """A body of data is registered."""
    accepted = first_accepts(books, item, body.creators) if body.creators else ()
    if accepted is None:
        return
    tables = books.tables
    if body.datanet is not None and not books.resolve(item, tables.datanets, body.datanet, "C7"):
        return
    bases = body.derived_from
    floors = effective_floors(books, item, bases, tables.contributions) if bases else ()
    if floors is None:
        return
    totals = books.totals
    record = records.Contribution(
        item.account,
        books.epoch,
        totals.serial,
        None,
        body.creators,
        accepted,
        floors,
        body.datanet,
        body.tokens,
        0,
        0,
        None,
    )
    totals.serial += 1
    event_id = item.event_id
    tables.contributions.file(event_id, record)
    if body.datanet is not None:
        tables.members.put(body.datanet + event_id, records.Member(books.epoch, body.tokens))
    if event_id in books.waiting:
        books.now_known(event_id)


def register_model(books: Books, item: Item, body: kinds.ModelRegister) -> None:
    """A model is registered with its bases (C8), creators (C10) and what it says it was trained on
    (C7).
    """
    if len({named for named, _ in body.trained_on}) != len(body.trained_on):
        return books.void(item, "C7", "duplicate")
    accepted = first_accepts(books, item, body.creators)
    if accepted is None:
        return None
    tables = books.tables
    floors = effective_floors(books, item, body.bases, tables.models)
    if floors is None:
        return None
    unknown = _unknown_ids(books, body.trained_on)
    awaits = next(unknown, None)
    if awaits is not None:
        return books.parking.park(item, awaits, unknown)
    for named, _ in body.trained_on:
        if tables.contributions.get(named) is None and tables.datanets.get(named) is None:
            return books.unresolved(item, named, "C7")
    record = records.Model(
        item.account, books.epoch, body.creators, accepted, floors, len(body.trained_on)
    )
    tables.models.put(item.event_id, record)
    if body.trained_on:
        tables.trained_on.put(item.event_id, records.TrainedOn(body.trained_on))
    return books.now_known(item.event_id)


def _unknown_ids(books: Books, trained_on: Shares) -> Iterator[bytes]:
    """The ids named that nobody has seen, each while all before it stand; asked again when the one
    before became known. Ends at an id that can never stand.
    """
    contributions, datanets = books.tables.contributions, books.tables.datanets
    for named, _ in trained_on:
        while contributions.get(named) is None and datanets.get(named) is None:
            if books.kind_of(named) is not None:
                return
            yield named


def register_agent(books: Books, item: Item, body: kinds.AgentRegister) -> None:
    """An agent is registered; its part goes to its operator."""
    tables = books.tables
    if tables.purses.get(body.operator) is None:
        return books.parking.park(item, body.operator)
    for model in body.models:
        if books.resolve(item, tables.models, model, "C6") is None:
            return None
    record = records.Agent(item.account, books.epoch, body.operator, body.models)
    tables.agents.put(item.event_id, record)
    return books.now_known(item.event_id)


def create_datanet(books: Books, item: Item, body: kinds.DatanetCreate) -> None:
    books.tables.datanets.put(item.event_id, records.Datanet(item.account, books.epoch))
    books.now_known(item.event_id)


def accept(books: Books, item: Item, body: kinds.AccountAccept) -> None:
    """A named creator takes its share from now on, or an owner accepts a derivation."""
    tables, target = books.tables, body.target
    if (derivation := tables.derivations.get(target)) is not None:
        return _accept_derivation(books, item, target, derivation)
    contribution = tables.contributions.get(target)
    artefact = contribution or tables.models.get(target)
    if artefact is None:
        return books.unresolved(item, target, "C10")
    names = [account for account, _ in artefact.creators]
    if item.account not in names:
        return books.void(item, "C10", "not_a_creator")
    index = names.index(item.account)
    if artefact.accepted[index] is not None:
        return books.void(item, "C10", "accepted_before")
    accepted = list(artefact.accepted)
    accepted[index] = books.epoch
    artefact.accepted = tuple(accepted)
    (tables.contributions if contribution else tables.models).touch(target)
    books.accepts.append((target, item.account, contribution is not None))
    return None


def _accept_derivation(
    books: Books, item: Item, target: bytes, derivation: records.Derivation
) -> None:
    contribution = books.tables.contributions.get(derivation.contribution)
    if contribution is None or contribution.account != item.account:
        return books.void(item, "OWN", "not_the_owner")
    if derivation.status != records.DERIVATION_PENDING:
        return books.void(item, "OWN", "accepted_before")
    derivation.status = records.DERIVATION_COUNTS
    books.tables.derivations.touch(target)
    return None


def declare_derivation(books: Books, item: Item, body: kinds.DataDerivation) -> None:
    """What a contribution was derived from: counts at once when its own account declares it."""
    contribution = books.resolve(item, books.tables.contributions, body.contribution, "OWN")
    if contribution is None:
        return
    own = contribution.account == item.account
    status = records.DERIVATION_COUNTS if own else records.DERIVATION_PENDING
    books.tables.derivations.put(
        item.event_id,
        records.Derivation(item.account, books.epoch, body.contribution, status, 0),
    )
    books.now_known(item.event_id)


def _own_contribution(books: Books, item: Item, target: bytes) -> records.Contribution | None:
    """The contribution that `item` names, if it is its author's; else None, and `item` parked or
    void.
    """
    contribution = books.resolve(item, books.tables.contributions, target, "OWN")
    if contribution is not None and contribution.account != item.account:
        books.void(item, "OWN", "not_the_owner")
        return None
    return contribution


def share(books: Books, item: Item, body: kinds.DataShare) -> None:
    contribution = _own_contribution(books, item, body.contribution)
    if contribution is not None:
        contribution.share = body.policy
        books.tables.contributions.touch(body.contribution)


def withdraw(books: Books, item: Item, body: kinds.DataWithdraw) -> None:
    """Out of scope from the next snapshot on; the first withdrawal stands."""
    contribution = _own_contribution(books, item, body.target)
    if contribution is not None and contribution.withdrawn_epoch is None:
        contribution.withdrawn_epoch = books.epoch
        books.tables.contributions.touch(body.target)


_AUTHOR_FIELD: Final = {"receipt": "provider", "grant": "payer", "payout": "issuer"}
"""Which field of a record names the author of its event, where it is not `account`."""


def erase(books: Books, item: Item, body: kinds.DataErase) -> None:
    """An author has the payload of its own event erased; of a contribution that ends its use as
    well.
    """
    word = books.kind_of(body.target)
    if word is None or word == "void":
        return books.unresolved(item, body.target, "OWN")
    table = next(table for name, table in books.tables.by_kind if name == word)
    record = table.get(body.target)
    if getattr(record, _AUTHOR_FIELD.get(word, "account")) != item.account:
        return books.void(item, "OWN", "not_the_owner")
    contribution = books.tables.contributions.get(body.target)
    if contribution is not None:
        contribution.erased = 1
        if contribution.withdrawn_epoch is None:
            contribution.withdrawn_epoch = books.epoch
        books.tables.contributions.touch(body.target)
    return None


def commons(books: Books, item: Item, body: kinds.DataCommons) -> None:
    """Text that nobody is credited for: licences, boilerplate (attribution R1)."""
    contribution = books.resolve(item, books.tables.contributions, body.contribution, "R1")
    if contribution is None:
        return
    if item.account not in books.params.commons_accounts:
        books.void(item, "R1", "not_named")
        return
    contribution.commons = 1
    books.tables.contributions.touch(body.contribution)


HANDLERS: Final = handlers(
    ("account.accept", accept),
    ("datanet.create", create_datanet),
    ("data.contribute", contribute),
    ("data.share", share),
    ("data.derivation", declare_derivation),
    ("data.commons", commons),
    ("data.withdraw", withdraw),
    ("data.erase", erase),
    ("model.register", register_model),
    ("agent.register", register_agent),
)
