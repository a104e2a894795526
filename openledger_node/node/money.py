"""Money in and around: issue, transfer, grant, redeem, payout.

Each is judged by the rules before it is written (`judged_append`): an event that the fold would
void is refused here, with its rule, and nothing is appended. Amounts are micro-credits.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from openledger_node.credit import views
from openledger_node.ledger.errors import Refused, UsageError
from openledger_node.ledger.kinds import (
    MoneyGrant,
    MoneyIssue,
    MoneyPayout,
    MoneyRedeem,
    MoneyTransfer,
)
from openledger_node.ledger.names import account_short
from openledger_node.node.core import NodeCore
from openledger_node.node.epochs import catch_up
from openledger_node.node.files import write_new
from openledger_node.node.finality import judged_append, make_final
from openledger_node.node.lookup import called, find_account, find_id
from openledger_node.node.pending import pending_view
from openledger_node.node.results import MoneyMoved, Payout, Payouts
from openledger_node.store.snapshot import Snapshot

ITEMS_A_PAYOUT: Final = 256
"""Items that `payout` puts into one event: 44 bytes each at most, and 16 KiB a body."""
MAX_PAYOUT_EVENTS: Final = 1_000
"""Events that one `payout --all` may write; the rest is named for a second run."""


def issue(core: NodeCore, amount_micro: int, to: str, note: str = "") -> MoneyMoved:
    with core.store.read() as snapshot:
        account = find_account(snapshot, to)
        name = called(snapshot, account)
    body = MoneyIssue(account, amount_micro, note)
    done = judged_append(core, "money.issue", body)
    return MoneyMoved(done.event_id, amount_micro, account.hex(), name)


def transfer(core: NodeCore, amount_micro: int, to: str, note: str = "") -> MoneyMoved:
    with core.store.read() as snapshot:
        account = find_account(snapshot, to)
        name = called(snapshot, account)
    body = MoneyTransfer(account, amount_micro, note)
    done = judged_append(core, "money.transfer", body)
    return MoneyMoved(done.event_id, amount_micro, account.hex(), name)


def grant(
    core: NodeCore,
    provider: str,
    amount_micro: int,
    expires: int | Literal["default"] | None = "default",
) -> MoneyMoved:
    """Locks an amount for one provider. `expires` is an epoch, None for never."""
    with core.store.read() as snapshot:
        account = find_account(snapshot, provider)
        name = called(snapshot, account)
        if expires == "default":
            expires = snapshot.last_epoch() + core.config.grant_expiry_epochs
    body = MoneyGrant(account, amount_micro, expires)
    done = judged_append(core, "money.grant", body)
    return MoneyMoved(done.event_id, amount_micro, account.hex(), name, grant_id=done.event_id)


def redeem(
    core: NodeCore, amount_micro: int | None, issuer: str | None = None, minimum_micro: int = 0
) -> MoneyMoved:
    """Locks credits for an issuer; None is a standing order, 0 ends it."""
    with core.store.read() as snapshot:
        account = find_account(snapshot, issuer) if issuer else _only_issuer(snapshot)
        name = called(snapshot, account)
    body = MoneyRedeem(account, amount_micro, minimum_micro)
    done = judged_append(core, "money.redeem", body)
    return MoneyMoved(done.event_id, amount_micro, account.hex(), name, redeem_id=done.event_id)


def _only_issuer(snapshot: Snapshot) -> bytes:
    issuers = [account for account, _ in views.rules(snapshot.state).issuers]
    if len(issuers) == 1:
        return issuers[0]
    raise UsageError(
        f"this ledger has {len(issuers)} issuers",
        hint="name one with --issuer; `oln ledger show` lists them",
    )


def payout(
    core: NodeCore, redeems: Sequence[str] | None, out: Path, reference: str = ""
) -> Payouts:
    """Burns the open amounts of redeems (None: of all that are open) and lists them in a CSV file.

    Idempotent: what an earlier payout burned, final or pending, is open no more.
    """
    if out.exists():
        raise UsageError(f"{out} exists already", hint="name a new file with --out")
    catch_up(core)
    make_final(core)
    with core.store.read() as snapshot:
        _refuse_while_alarmed(snapshot)
        items = _open_redeems(core, snapshot, redeems)
        petnames = snapshot.petnames()
    if len(items) > MAX_PAYOUT_EVENTS * ITEMS_A_PAYOUT:
        items = items[: MAX_PAYOUT_EVENTS * ITEMS_A_PAYOUT]
    bodies = [
        MoneyPayout(
            tuple((item.redeem_id, item.open_micro) for item in items[i : i + ITEMS_A_PAYOUT]),
            reference,
            None,
        )
        for i in range(0, len(items), ITEMS_A_PAYOUT)
    ]
    shown = tuple(
        Payout(
            item.redeem_id.hex(),
            item.account.hex(),
            petnames.get(item.account, account_short(item.account)),
            item.open_micro,
        )
        for item in items
    )
    _write_csv(out, shown, reference)
    done: list[str] = []
    try:
        for body in bodies:
            done.append(judged_append(core, "money.payout", body).event_id)
    except BaseException:
        # The list must not outlive payouts that were not recorded: somebody would pay by it.
        out.unlink()
        if done:
            _write_csv(out, shown[: len(done) * ITEMS_A_PAYOUT], reference)
        raise
    return Payouts(tuple(done), shown, sum(item.amount_micro for item in shown), str(out))


def _refuse_while_alarmed(snapshot: Snapshot) -> None:
    """A8: money does not leave by a statement that a third of the witnesses contradict."""
    alarms = snapshot.statement_alarms()
    if alarms:
        raise Refused(
            f"payouts are halted: {alarms[0]}",
            hint="run `oln check`, and compare `oln epoch list` with other witnesses; the guide "
            "on care says how to go on",
            code="payouts_halted",
        )


def _open_redeems(
    core: NodeCore, snapshot: Snapshot, redeems: Sequence[str] | None
) -> list[views.RedeemView]:
    """The redeems payable by this account now; a named one that is not payable is refused."""
    later = pending_view(core, snapshot).state
    payable = {
        item.redeem_id: item
        for item in views.redeems(snapshot.state)
        if item.issuer == core.account_id
        and item.open_micro > 0
        and (after := views.redeem(later, item.redeem_id)) is not None
        and after.open_micro >= item.open_micro
    }
    if redeems is None:
        return [payable[redeem_id] for redeem_id in sorted(payable)]
    chosen = []
    for text in dict.fromkeys(redeems):
        redeem_id = find_id(snapshot, text, "money.redeem")
        if redeem_id not in payable:
            raise Refused(
                f"redeem {text} has nothing open that this account may pay out",
                hint="`oln explain` shows what became of it",
                code="C16",
            )
        chosen.append(payable[redeem_id])
    return chosen


def _write_csv(out: Path, rows: Sequence[Payout], reference: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["redeem_id", "account_id", "account", "amount_micro", "reference"])
    for row in rows:
        cells = [row.redeem_id, row.account_id, row.account, str(row.amount_micro), reference]
        writer.writerow([harmless(cell) for cell in cells])
    write_new(out, text.getvalue().encode())


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula.

    Petnames and references are typed by people.
    """
    return "'" + cell if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def payout_reverse(core: NodeCore, payout_id: str) -> Payouts:
    """Gives the amounts of an earlier payout back to their redeems: the money did not arrive."""
    make_final(core)
    with core.store.read() as snapshot:
        named = find_id(snapshot, payout_id, "money.payout")
    done = judged_append(core, "money.payout", MoneyPayout((), "", named))
    return Payouts((done.event_id,), (), 0, None)
