"""A small cast for tests of the fold: two contributors, a model builder, a payer, an issuer.

`Stage` opens a ledger in which everybody exists, ada and bob have registered a contribution each,
maker a model and an agent, and user holds 100 credits of which 40 are granted to maker. The next
epoch to close is epoch 4; snapshots may name epochs 2 and 3 (or 0 and 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openledger_node.credit import views
from openledger_node.credit.journal import Journal, parse_journal
from openledger_node.credit.statement import Row
from openledger_node.ledger import kinds
from tests.kit.ledgerkit import CREDIT, Ledger, TestAccount, contribution, model, receipt


class Stage:
    """The cast, with what each of them registered."""

    def __init__(self, **params: Any) -> None:
        self.ledger = Ledger.solo("co-op", **params)
        account = self.ledger.account
        self.coop = account("co-op")
        self.ada, self.bob, self.maker = account("ada"), account("bob"), account("maker")
        self.user, self.eve = account("user"), account("eve")
        self.ledger.close_epoch()
        self.a = self.ada.add("data.contribute", contribution("Ada's texts"))
        self.b = self.bob.add("data.contribute", contribution("Bob's texts"))
        self.m = self.maker.add("model.register", model())
        body = kinds.AgentRegister("Helper", self.eve.id, None, (), ())
        self.agent = self.eve.add("agent.register", body)
        self.issue(self.user, 100 * CREDIT)
        self.close()
        self.g = self.grant(self.user, self.maker, 40 * CREDIT)
        self.close()

    def close(self, count: int = 1) -> None:
        """Closes epochs; each must conserve credits over the whole state."""
        for _ in range(count):
            self.ledger.close_epoch()
            self.check_conservation()

    @property
    def next_epoch(self) -> int:
        return self.ledger.epoch + 1

    def issue(self, to: TestAccount, amount: int, by: TestAccount | None = None) -> bytes:
        return (by or self.coop).add("money.issue", kinds.MoneyIssue(to.id, amount, ""))

    def transfer(self, source: TestAccount, to: bytes, amount: int) -> bytes:
        return source.add("money.transfer", kinds.MoneyTransfer(to, amount, ""))

    def grant(
        self, payer: TestAccount, provider: TestAccount, amount: int, expiry: int | None = None
    ) -> bytes:
        return payer.add("money.grant", kinds.MoneyGrant(provider.id, amount, expiry))

    def use(
        self,
        fee: int = 0,
        weights: Sequence[tuple[bytes, int]] | None = None,
        by: TestAccount | None = None,
        **fields: Any,
    ) -> bytes:
        """A receipt by maker, on the user's grant if there is a fee: 60 % ada, 30 % bob."""
        shares = ((self.a, 600_000), (self.b, 300_000)) if weights is None else weights
        fields.setdefault("snapshot", self.ledger.epoch)
        if fee:
            fields.setdefault("grant", self.g)
        body = receipt(fields.pop("model_id", self.m), shares, fee=fee, **fields)
        return (by or self.maker).add("use.receipt", body)

    def confirm(self, receipt_id: bytes, by: TestAccount | None = None) -> bytes:
        return (by or self.user).add("use.confirm", kinds.UseConfirm(receipt_id))

    def cancel(self, receipt_id: bytes, by: TestAccount | None = None) -> bytes:
        return (by or self.maker).add("use.cancel", kinds.UseCancel(receipt_id))

    def dispute(self, receipt_id: bytes, by: TestAccount | None = None) -> bytes:
        return (by or self.user).add("use.dispute", kinds.UseDispute(receipt_id))

    def challenge(self, target: bytes, by: TestAccount | None = None) -> bytes:
        return (by or self.eve).add("audit.challenge", kinds.AuditChallenge(target, "inclusion"))

    def verdict(self, target: bytes, upheld: int, by: TestAccount | None = None) -> bytes:
        return (by or self.coop).add("audit.verdict", kinds.AuditVerdict(target, upheld))

    def accept(self, target: bytes, by: TestAccount) -> bytes:
        return by.add("account.accept", kinds.AccountAccept(target))

    def redeem(self, amount: int | None, minimum: int = 0, by: TestAccount | None = None) -> bytes:
        return (by or self.user).add(
            "money.redeem", kinds.MoneyRedeem(self.coop.id, amount, minimum)
        )

    def payout(
        self,
        *items: tuple[bytes, int],
        reverses: bytes | None = None,
        by: TestAccount | None = None,
    ) -> bytes:
        body = kinds.MoneyPayout(tuple(items), "transfer 7", reverses)
        return (by or self.coop).add("money.payout", body)

    def void(self, event_id: bytes) -> tuple[str, str] | None:
        return views.void_reason(self.ledger.state, event_id)

    def balance(self, account: TestAccount) -> int:
        return self.view(account).balance_micro

    def locked(self, account: TestAccount) -> int:
        return self.view(account).locked_micro

    def view(self, account: TestAccount) -> views.AccountView:
        view = views.account(self.ledger.state, account.id)
        assert view is not None
        return view

    def receipt(self, receipt_id: bytes) -> views.ReceiptView:
        view = views.receipt(self.ledger.state, receipt_id)
        assert view is not None
        return view

    @property
    def pool(self) -> int:
        return views.totals(self.ledger.state).pool_micro

    def row(self, account: TestAccount) -> Row | None:
        """The account's row in the last statement."""
        return self.ledger.epochs[-1].folded.statement.row(account.id)

    def journal(self, epoch: int = -1) -> Journal:
        return parse_journal(self.ledger.epochs[epoch].folded.journal)

    def purses(self) -> dict[bytes, tuple[int, int]]:
        """(balance, locked) of everybody."""
        return {
            view.account_id: (view.balance_micro, view.locked_micro)
            for view in views.accounts(self.ledger.state)
        }

    def check_conservation(self) -> None:
        """Invariant 2, over the whole state."""
        totals = views.totals(self.ledger.state)
        held = sum(balance + locked for balance, locked in self.purses().values())
        escrow = sum(view.amount_micro for view in views.escrows(self.ledger.state))
        assert escrow == totals.escrow_micro
        assert held + escrow + totals.pool_micro + totals.burned_micro == totals.issued_micro

    def assert_theft_fails(self, event_id: bytes, rule: str, code: str) -> None:
        """Closes the epoch: the event is void by this rule, and no purse has changed."""
        before = self.purses()
        self.close()
        assert self.void(event_id) == (rule, code)
        assert self.purses() == before
