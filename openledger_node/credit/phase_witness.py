"""Phase 8: changes of the witness set, and of the rules with it (A10).

A `witness.set` counts by each current seat's identical body. It takes effect at the beginning of
the next epoch once q current seats have filed it and each of its seats' devices has filed
`witness.ready` with its number.
"""

from __future__ import annotations

from typing import Final

import msgspec

from openledger_node.credit.books import Books
from openledger_node.credit.parking import Item
from openledger_node.credit.phase_registrations import HandlerTable, handlers
from openledger_node.credit.state_records import ProposedSet, Ready, Rules
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.genesis import params_fault, quorum
from openledger_node.ledger.keys import PublicKey
from openledger_node.ledger.votes import WitnessReady, WitnessSet, seat_set_digest

_set_decoder = msgspec.msgpack.Decoder(WitnessSet)


def propose_set(books: Books, item: Item, body: WitnessSet) -> None:
    """A current seat asks for a new set."""
    if (item.account, item.device) not in books.rules.seats:
        return books.void(item, "A10", "not_a_seat")
    if body.number != books.rules.number + 1:
        return books.void(item, "A10", "number")
    if not _usable(body):
        return books.void(item, "A10", "not_usable")
    digest = seat_set_digest(body.number, body.seats, body.rules_version, body.params, body.issuers)
    proposed = books.tables.proposed_sets.get(digest) or ProposedSet(encode(body), ())
    if item.device in proposed.seats:
        return books.void(item, "A10", "voted_before")
    proposed.seats = (*proposed.seats, item.device)
    return books.tables.proposed_sets.put(digest, proposed)


def _usable(body: WitnessSet) -> bool:
    """Whether a set could govern: its params, its keys, and nobody twice."""
    accounts = {account for account, _ in body.seats}
    devices = {device for _, device in body.seats}
    issuers = {account for account, _ in body.issuers}
    if not len(accounts) == len(devices) == len(body.seats) or len(issuers) != len(body.issuers):
        return False
    try:
        for _, device in body.seats:
            PublicKey.parse(device)
    except BadInput:
        return False
    return not params_fault(body.params)


def ready(books: Books, item: Item, body: WitnessReady) -> None:
    """A device says that it can take its seat in the set of this number."""
    if body.number != books.rules.number + 1:
        return books.void(item, "A10", "number")
    return books.tables.ready.put(item.account + item.device, Ready(body.number))


def run_change(books: Books) -> None:
    """After the epoch's own events: a complete set becomes the rules of the next epoch."""
    rules, tables = books.rules, books.tables
    devices = {device for _, device in rules.seats}
    proposals = list(tables.proposed_sets.items())
    for _, proposed in proposals:
        if sum(device in devices for device in proposed.seats) < quorum(len(devices)):
            continue
        body = _set_decoder.decode(proposed.body)
        if not all(_is_ready(books, *seat, body.number) for seat in body.seats):
            continue
        past = {*rules.past_issuers, *(account for account, _ in rules.issuers)}
        tables.set_rules(
            Rules(
                body.number,
                body.rules_version,
                body.params,
                body.seats,
                body.issuers,
                tuple(sorted(past)),
            )
        )
        for digest, _ in proposals:
            tables.proposed_sets.remove(digest)
        return


def _is_ready(books: Books, account: bytes, device: bytes, number: int) -> bool:
    said = books.tables.ready.get(account + device)
    return said is not None and said.number == number


HANDLERS: Final[HandlerTable] = handlers(("witness.set", propose_set), ("witness.ready", ready))
