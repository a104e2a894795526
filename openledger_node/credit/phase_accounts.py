"""Phase 1: accounts, devices and forks.

- Key events form one chain an account (K4). Of those with equal n in one epoch a rotation goes
  first, then the lower event id (K5); the ones that lose, and the ones that fit nowhere, are void.
- An enrolled device's logs count from leaf 0, also those that lay in earlier cuts unread.
- Retiring a device closes its logs at the listed sizes, unlisted ones at their previous mark, none
  below it.
- A `log.fork` of an authorised log, if its evidence holds (L7), closes the forked log at
  max(previous mark, i). Of two closures the smaller stands. Nothing at or beyond a closure is read,
  in this very epoch too.
"""

from __future__ import annotations

import msgspec

from openledger_node.credit.books import Books
from openledger_node.credit.parking import Item
from openledger_node.credit.reading import FORK, KeyEventFound, Reading
from openledger_node.credit.state_records import Chain, Log
from openledger_node.ledger.accounts import (
    AccountAddDevice,
    AccountCreate,
    AccountRetireDevice,
    AccountRotate,
    KeyChain,
    create_fault,
    created_chain,
)
from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.forks import ForkEvidence, verify_fork

_UNREADABLE_RULES = {
    b"not_an_event": ("L1", "not_an_event"),
    b"too_long": ("L2", "too_long"),
    b"log_open": ("L3", "not_first"),
}
_fork_decoder = msgspec.msgpack.Decoder(ForkEvidence)


def key_chain(account: bytes, record: Chain) -> KeyChain:
    """The chain that a record stores."""
    return KeyChain(
        account,
        record.n,
        record.digest,
        record.root_keys,
        record.threshold,
        record.next_commitment,
        {key: None if logs is None else dict(logs) for key, logs in record.devices},
    )


def chain_record(chain: KeyChain) -> Chain:
    """The record that stores a chain."""
    devices = tuple(
        (key, None if logs is None else tuple(sorted(logs.items())))
        for key, logs in chain.devices.items()
    )
    return Chain(
        chain.n, chain.digest, chain.root_keys, chain.threshold, chain.next_commitment, devices
    )


def run_key_events(books: Books, reading: Reading) -> None:
    """Applies the key events found, account by account."""
    by_account: dict[bytes, dict[int, list[KeyEventFound]]] = {}
    for account, found in reading.key_events:
        by_account.setdefault(account, {}).setdefault(found.body.n, []).append(found)
    for account in sorted(by_account):
        _run_account(books, reading, account, by_account[account])


def _run_account(
    books: Books, reading: Reading, account: bytes, by_n: dict[int, list[KeyEventFound]]
) -> None:
    record = books.tables.chains.get(account)
    opening = chain = key_chain(account, record) if record else None
    while True:
        fits = [
            found
            for found in by_n.get(chain.n if chain else 0, ())
            if found.seq < reading.limit(found.log_id) and not _fault(books, chain, found)
        ]
        if not fits:
            break
        winner = min(fits, key=lambda found: (found.kind != "account.rotate", found.event_id))
        taken = {found.event_id for found in fits}
        by_n[winner.body.n] = [
            found for found in by_n[winner.body.n] if found.event_id not in taken
        ]
        for found in fits:
            if found is not winner:
                books.void_id(found.event_id, "K5", "lost")
        chain = _apply(books, reading, chain, winner)
    if chain is not None and chain is not opening:
        books.tables.chains.put(account, chain_record(chain))
    for n in sorted(by_n):
        for found in by_n[n]:
            if found.seq < reading.limit(found.log_id):
                books.void_id(found.event_id, "K4", _code(chain, found))


def _fault(books: Books, chain: KeyChain | None, found: KeyEventFound) -> str:
    if chain is not None:
        return chain.fault(found.body, books.ledger_id)
    if isinstance(found.body, AccountCreate):
        return create_fault(found.body, books.ledger_id)
    return "the account does not exist"


def _code(chain: KeyChain | None, found: KeyEventFound) -> str:
    if found.kind == "account.create":
        return "exists" if chain else "not_valid"
    if chain is None:
        return "no_account"
    return "not_valid" if found.body.n == chain.n else "not_next"


def _apply(
    books: Books, reading: Reading, chain: KeyChain | None, found: KeyEventFound
) -> KeyChain:
    body = found.body
    account = body.account_id
    if chain is None or isinstance(body, AccountCreate):
        books.tables.purses.open_account(account)
        books.now_known(account)
        after = created_chain(body)
    else:
        after = chain.go_on(body)
    if isinstance(body, AccountCreate | AccountAddDevice):
        _authorise(books, reading, account, body.device)
    elif isinstance(body, AccountRetireDevice):
        _retire(books, reading, body)
    else:
        assert isinstance(body, AccountRotate)
    return after


def _authorise(books: Books, reading: Reading, account: bytes, device: bytes) -> None:
    for key, _ in books.tables.device_logs.items(account + device):
        log_id = key[64:]
        record = books.tables.logs.get(log_id)
        if record is not None and not record.authorised:
            record.authorised = 1
            books.tables.logs.touch(log_id)
            reading.newly_authorised.append(log_id)


def _retire(books: Books, reading: Reading, body: AccountRetireDevice) -> None:
    listed = dict(body.logs)
    for key, _ in books.tables.device_logs.items(body.account_id + body.device):
        log_id = key[64:]
        close(books, reading, log_id, listed.get(log_id, 0))


def close(books: Books, reading: Reading, log_id: bytes, at: int) -> None:
    """Closes a log at `at` leaves, or at its previous mark if that is more."""
    record = books.tables.logs.get(log_id)
    if record is None:
        return
    at = max(at, reading.previous_mark(log_id))
    record.closed_at = at if record.closed_at is None else min(record.closed_at, at)
    books.tables.logs.touch(log_id)
    reading.closed = True


def run_forks(books: Books, reading: Reading) -> None:
    """Judges this epoch's `log.fork` events in ledger order."""
    for item in reading.inbox[1]:
        if item.kind == FORK and item.seq < reading.limit(item.log_id):
            _fork(books, reading, item)


def _fork(books: Books, reading: Reading, item: Item) -> None:
    try:
        evidence = _fork_decoder.decode(item.body)
    except msgspec.DecodeError:
        books.void(item, "L2", "malformed")
        return
    if evidence.genesis.ledger_id != books.ledger_id:
        books.void(item, "L7", "other_ledger")
        return
    try:
        fork = verify_fork(evidence)
    except (VerificationFailed, BadInput):
        books.void(item, "L7", "not_a_fork")
        return
    record: Log | None = books.tables.logs.get(fork.log_id)
    if record is None:
        reading.new_log(evidence.genesis)
    close(books, reading, fork.log_id, fork.common)


def void_unreadable(books: Books, reading: Reading) -> None:
    """Records why events that no phase can read are void."""
    for item in reading.inbox[1]:
        if item.kind != FORK:
            rule, code = _UNREADABLE_RULES[bytes(item.body)]
            books.void(item, rule, code)
