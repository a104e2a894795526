"""What a home shows: status, rules, credits, statements, epochs, events.

Figures come from the final state, or from the pending view where the caller asks for it, and say
which.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from openledger_node.credit import views
from openledger_node.credit.inputs import StateReader
from openledger_node.credit.statement import Row, Statement, parse_statement
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import Refused, StoreDamaged, UsageError
from openledger_node.ledger.events import event_ids
from openledger_node.ledger.genesis import faults_tolerated, quorum
from openledger_node.ledger.names import account_short
from openledger_node.node import keyfiles, results
from openledger_node.node.core import NodeCore
from openledger_node.node.daemon.report import read_report
from openledger_node.node.epochs import knows_rules, settled
from openledger_node.node.files import write_new
from openledger_node.node.finality import make_final
from openledger_node.node.founding import genesis_document, known_succession, succession_document
from openledger_node.node.lookup import called, find_account, find_id
from openledger_node.node.pending import pending_marks, pending_view
from openledger_node.node.reading import Located, must_find, shown, well_formed
from openledger_node.node.registry import effective_licences
from openledger_node.store.snapshot import Snapshot

DEFAULT_LOG_EVENTS: Final = 50
MAX_LOG_EVENTS: Final = 100_000


def status(core: NodeCore) -> results.Status:
    """One screen: who, ledger, logs, events, epoch, pending, the daemon and its peers, disk."""
    daemon = read_report(core.home)
    with core.store.read() as snapshot:
        logs = list(snapshot.logs())
        _, pending_events = pending_marks(snapshot)
        state = snapshot.state
        account = views.account(state, core.account_id)
        solo = core.is_solo_seat(snapshot)
        seats = views.rules(state).seats
        seat = (core.account_id, core.device) in seats
        petnames = snapshot.petnames()
        disk = core.store.disk_usage()
        return results.Status(
            home=str(core.home),
            account_id=core.account_id.hex(),
            account=account_short(core.account_id),
            name=petnames.get(core.account_id, ""),
            ledger_id=core.ledger_id.hex(),
            ledger_name=core.genesis.name,
            role="solo" if solo else "witness" if seat else "participant",
            events=sum(log.head.size for log in logs if log.head),
            logs=len(logs),
            epoch=snapshot.last_epoch(),
            pending_events=pending_events,
            parked_events=sum(1 for _ in views.all_parked(state)),
            peers=tuple(sorted({link["node_id"] for link in daemon["links"]})) if daemon else (),
            node_id=_node_id(core),
            daemon=daemon is not None,
            listening=tuple(daemon["listening"]) if daemon else (),
            failure=daemon["failure"] if daemon else "",
            disk_bytes=disk.total_bytes,
            payload_bytes=disk.payload_bytes,
            balance_micro=account.balance_micro if account else 0,
            locked_micro=account.locked_micro if account else 0,
            state_digest=views.state_digest(state).hex(),
            identity="original" if core.store.is_original() else "copied",
            alarms=(*_partial(core), *_unknown_rules(snapshot), *snapshot.alarms()),
        )


def _partial(core: NodeCore) -> tuple[str, ...]:
    """What a home cannot do that stores only some accounts' logs."""
    if core.config.sync_admission != "listed":
        return ()
    return ("only listed accounts' logs are stored here: epochs of others cannot be folded",)


def _unknown_rules(snapshot: Snapshot) -> tuple[str, ...]:
    """That the ledger went over to rules which this program does not know."""
    if knows_rules(snapshot):
        return ()
    version = views.rules(snapshot.state).version
    return (
        f"after epoch {snapshot.last_epoch()} the ledger follows rules version {version}, which "
        "this program does not know: upgrade it; until then nothing later is folded here",
    )


def _node_id(core: NodeCore) -> str:
    """This node's id on links; empty in a home without its keys."""
    folder = core.home / "keys"
    if not (folder / "transport.key").exists():
        return ""
    return keyfiles.public_key(folder, "transport").hex()


def ledger_show(core: NodeCore) -> results.LedgerShown:
    """The rules in force."""
    with core.store.read() as snapshot:
        rules = views.rules(snapshot.state)
        succession = known_succession(snapshot)
        shown = {a: called(snapshot, a) for a, _ in (*rules.seats, *rules.issuers)}
    params: dict[str, Any] = {
        field.name: getattr(rules.params, field.name)
        for field in msgspec.structs.fields(rules.params)
    }
    params["role_bp"] = dict(zip(("data", "model", "agent"), rules.params.role_bp, strict=True))
    params["commons_accounts"] = [account.hex() for account in rules.params.commons_accounts]
    shown_rules = {
        "rules_version": rules.version,
        "witness_set": rules.number,
        "quorum": quorum(len(rules.seats)),
        "faults_tolerated": faults_tolerated(len(rules.seats)),
        **params,
    }
    if succession is not None:
        shown_rules["succeeds"] = succession_document(succession)
    return results.LedgerShown(
        ledger_id=core.ledger_id.hex(),
        name=core.genesis.name,
        rules=shown_rules,
        seats=tuple(
            {"account_id": a.hex(), "account": shown[a], "device": d.hex()} for a, d in rules.seats
        ),
        issuers=tuple(
            {"account_id": a.hex(), "account": shown[a], "cap_micro": cap}
            for a, cap in rules.issuers
        ),
        genesis_hex=encode(core.genesis).hex(),
    )


def ledger_export(core: NodeCore, file: Path) -> results.FileWritten:
    """The genesis file with which others join."""
    with core.store.read() as snapshot:
        text = genesis_document(core.genesis, known_succession(snapshot))
    write_new(file, text.encode())
    return results.FileWritten(str(file), len(text))


def credits(core: NodeCore, text: str | None = None, *, pending: bool = False) -> results.Credits:
    """Balances and what was earned by role; of one account or of all."""
    if not pending:
        make_final(core)
    with core.store.read() as snapshot:
        state: StateReader = snapshot.state
        if pending and not knows_rules(snapshot):
            raise Refused(
                "what is pending cannot be told: this program does not know the rules in force",
                hint="upgrade openledger-node",
                code="rules_version_unknown",
            )
        view = pending_view(core, snapshot)
        one = find_account(snapshot, text) if text else None
        escrow: dict[bytes, int] = {}
        chosen: StateReader = view.state if pending else state
        for item in views.escrows(chosen):
            escrow[item.account] = escrow.get(item.account, 0) + item.amount_micro
        later = {item.account_id: item.balance_micro for item in views.accounts(view.state)}
        final = {item.account_id: item.balance_micro for item in views.accounts(state)}
        moving = {key: later[key] - final.get(key, 0) for key in later}
        found = {item.account_id: item for item in views.accounts(chosen)}
        for account_id in escrow:
            found.setdefault(account_id, views.AccountView(account_id, 0, 0, 0, 0, 0, 0, 0, 0))
        if one is not None and one not in found:
            raise UsageError(
                f"account {account_short(one)} has no final event on this ledger yet",
                hint="its log must be imported and an epoch closed over it",
                code="unknown_id",
            )
        shown_ids = [one] if one is not None else sorted(found)
        totals = views.totals(chosen)
        petnames = snapshot.petnames()
        return results.Credits(
            epoch=snapshot.last_epoch(),
            pending=pending,
            accounts=tuple(
                _credit(found[account_id], petnames.get(account_id), escrow, moving)
                for account_id in shown_ids
            ),
            issued_micro=totals.issued_micro,
            pool_micro=totals.pool_micro,
            escrow_micro=totals.escrow_micro,
            burned_micro=totals.burned_micro,
        )


def _credit(
    view: views.AccountView, name: str | None, escrow: dict[bytes, int], moving: dict[bytes, int]
) -> results.Credit:
    return results.Credit(
        account_id=view.account_id.hex(),
        account=account_short(view.account_id),
        name=name,
        balance_micro=view.balance_micro,
        locked_micro=view.locked_micro,
        escrow_micro=escrow.get(view.account_id, 0),
        earned_micro=view.earned_data_micro + view.earned_model_micro + view.earned_agent_micro,
        earned_data_micro=view.earned_data_micro,
        earned_model_micro=view.earned_model_micro,
        earned_agent_micro=view.earned_agent_micro,
        refunds_micro=view.refunds_micro,
        pending_micro=moving.get(view.account_id, 0),
        units=view.units_paid + view.units_unpaid,
        units_paid=view.units_paid,
        units_unpaid=view.units_unpaid,
    )


def stored_statement(snapshot: Snapshot, epoch: int | None) -> tuple[int, Statement]:
    """An epoch's statement as stored, held to its recorded root; the last one for None."""
    number = snapshot.last_epoch() if epoch is None else epoch
    record = snapshot.epoch(number)
    if record is None:
        raise UsageError(
            f"no epoch {number} here", hint=f"epochs 0 to {snapshot.last_epoch()} are final"
        )
    statement = parse_statement(record.statement)
    if statement.root != record.statement_root:
        raise StoreDamaged(
            f"the stored statement of epoch {number} does not have its recorded root",
            hint="run `oln check`",
        )
    return number, statement


def statement(core: NodeCore, epoch: int | None = None) -> results.StatementShown:
    if epoch is None:
        make_final(core)
    with core.store.read() as snapshot:
        number, table = stored_statement(snapshot, epoch)
        record = snapshot.must_epoch(number)
        petnames = snapshot.petnames()
        rows = tuple(
            results.StatementRow(
                account_id=row.account.hex(),
                name=petnames.get(row.account),
                units_paid=row.units_paid,
                units_unpaid=row.units_unpaid,
                data_micro=row.earned_data_micro,
                model_micro=row.earned_model_micro,
                agent_micro=row.earned_agent_micro,
                refunds_micro=row.refunds_micro,
                balance_micro=row.balance_micro,
                locked_micro=row.locked_micro,
            )
            for row in table.rows
        )
        return results.StatementShown(
            epoch=number,
            cut_id=record.cut_id.hex(),
            statement_root=record.statement_root.hex(),
            state_digest=record.state_digest.hex(),
            rules_version=record.rules_version,
            final=settled(snapshot, core, number).final,
            rows=rows,
            signatures=tuple(
                {"seat": str(seat), "signature": signature.hex()}
                for seat, signature in _signatures(snapshot, number)
            ),
            licences=_model_licences(snapshot),
        )


def _signatures(snapshot: Snapshot, epoch: int) -> list[tuple[int, bytes]]:
    """The seats' signatures on an epoch's state."""
    return [(seat, state.signature) for seat, state in sorted(snapshot.states(epoch).items())]


def _model_licences(snapshot: Snapshot) -> tuple[str, ...]:
    """C9 in the statement's text form.

    A line for each registered model with its effective licences.
    """
    lines = []
    for model in views.models(snapshot.state):
        licences = effective_licences(snapshot, snapshot.state, model.model_id)
        lines.append(f"{model.model_id.hex()[:12]}: {', '.join(licences)}")
    return tuple(lines)


def statement_export(core: NodeCore, epoch: int | None, file: Path) -> results.FileWritten:
    """A statement as canonical bytes, or as CSV when the file's name says so."""
    with core.store.read() as snapshot:
        _, table = stored_statement(snapshot, epoch)
    data = _statement_csv(table) if file.suffix.lower() == ".csv" else table.encode()
    write_new(file, data)
    return results.FileWritten(str(file), len(data))


def _statement_csv(table: Statement) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = [field.name for field in msgspec.structs.fields(Row)][1:]
    writer.writerow(["account_id", *figures])
    for row in table.rows:
        writer.writerow([row.account.hex(), *[getattr(row, name) for name in figures]])
    return text.getvalue().encode()


def epoch_list(core: NodeCore, limit: int | None = None) -> results.Epochs:
    """The final epochs, newest last."""
    with core.store.read() as snapshot:
        last = snapshot.last_epoch()
        first = 0 if limit is None else max(0, last + 1 - limit)
        shown_epochs = []
        for number in range(first, last + 1):
            record = snapshot.must_epoch(number)
            shown_epochs.append(
                results.EpochShown(
                    epoch=number,
                    cut_id=record.cut_id.hex(),
                    statement_root=record.statement_root.hex(),
                    state_digest=record.state_digest.hex(),
                    logs_changed=len(record.changed),
                    rows=len(parse_statement(record.statement).rows),
                    signatures=len(snapshot.states(number)),
                    final=settled(snapshot, core, number).final,
                )
            )
    return results.Epochs(tuple(shown_epochs))


def show(core: NodeCore, text: str) -> results.EventShown:
    with core.store.read() as snapshot:
        found = must_find(snapshot, find_id(snapshot, text))
        return shown(snapshot, snapshot.state, found)


def log(
    core: NodeCore,
    text: str | None = None,
    *,
    kind: str | None = None,
    limit: int | None = DEFAULT_LOG_EVENTS,
) -> results.Events:
    """The last events of an account's logs (all accounts: None), oldest first within each log."""
    count = min(limit if limit is not None else MAX_LOG_EVENTS, MAX_LOG_EVENTS)
    with core.store.read() as snapshot:
        account = find_account(snapshot, text) if text else None
        newest: list[Located] = []
        for found in _backwards(snapshot, account, kind, count):
            newest.append(found)
        newest.sort(key=lambda item: (item.event.time_ms, item.log.log_id, item.seq))
        chosen = newest[-count:] if count else []
        return results.Events(tuple(shown(snapshot, snapshot.state, item) for item in chosen))


def _backwards(
    snapshot: Snapshot, account: bytes | None, kind: str | None, count: int
) -> Iterator[Located]:
    """At most `count` newest events of each log that fit."""
    for held in snapshot.logs():
        if account is not None and held.genesis.account_id != account:
            continue
        stop = held.head.size if held.head else 0
        left = count
        while stop > 0 and left > 0:
            start = max(0, stop - 256)
            leaves = snapshot.leaves(held.log_id, start, stop)
            ids = event_ids(held.log_id, start, leaves)
            for index in reversed(range(len(leaves))):
                event = well_formed(leaves[index])
                if event is not None and left and kind in (None, event.kind):
                    left -= 1
                    yield Located(held, start + index, ids[index], event)
            stop = start


def follow(
    core: NodeCore,
    text: str | None = None,
    *,
    kind: str | None = None,
    wait: Callable[[], None],
) -> Iterator[results.EventShown]:
    """New events as they come, for ever; `wait` is called between looks."""
    with core.store.read() as snapshot:
        account = find_account(snapshot, text) if text else None
        seen = {held.log_id: held.head.size if held.head else 0 for held in snapshot.logs()}
    change = -1
    while True:
        now = core.store.last_change()
        if now == change:
            wait()
            continue
        change = now
        fresh = []
        with core.store.read() as snapshot:
            for held in snapshot.logs():
                size = held.head.size if held.head else 0
                start = seen.get(held.log_id, 0)
                seen[held.log_id] = size
                if size <= start or account not in (None, held.genesis.account_id):
                    continue
                leaves = snapshot.leaves(held.log_id, start, size)
                ids = event_ids(held.log_id, start, leaves)
                for index, leaf in enumerate(leaves):
                    event = well_formed(leaf)
                    if event is not None and kind in (None, event.kind):
                        found = Located(held, start + index, ids[index], event)
                        fresh.append(shown(snapshot, snapshot.state, found))
        yield from fresh
