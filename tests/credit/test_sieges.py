"""Ledgers under siege: both folds agree in them, and what they never agreed on is pinned."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.credit import phase_answers, views
from openledger_node.credit.books import Books
from openledger_node.ledger import kinds
from openledger_node.ledger.accounts import KeyChain
from openledger_node.ledger.kinds import PPM
from openledger_node.ledger.votes import WitnessReady, WitnessSet
from tests.credit.sieges import Siege, crowded
from tests.credit.test_naive_agrees import compare
from tests.kit.ledgerkit import Ledger, contribution, key, model, receipt

SITUATIONS = {
    *("A10/not_usable", "C2/unknown_account", "C3/withdrawn", "C4/disputed_before", "C8/too_many"),
    *("C10/accepted_before", "C15/settled", "C16/reversed_before", "CH/no_challenge", "CH/settled"),
    *("CH/voted_before", "K4/exists", "K4/not_valid", "OWN/accepted_before", "status upheld"),
}


@pytest.mark.rule("C1", "C2", "C3", "C4", "C7", "C8", "C10", "C15", "C16", "K4", "K5", "L7", "A10")
def test_both_folds_agree_on_ledgers_under_siege() -> None:
    seen: Counter[str] = Counter()
    for seed in range(80):
        seen += compare((crowded if seed % 9 == 0 else Siege)(Random(seed)).run(epochs=8, count=30))
    assert sorted(SITUATIONS - set(seen)) == []


@pytest.mark.rule("C1", "C3", "C4", "C7", "C8", "C10", "C15", "C16", "A10")
@settings(max_examples=25)
@given(st.randoms(use_true_random=False), st.integers(1, 6), st.integers(1, 25))
def test_both_folds_agree_on_drawn_sieges(rng: Random, epochs: int, count: int) -> None:
    compare(Siege(rng).run(epochs, count))


def heir_of_a_seat(*, again: bool) -> tuple[Ledger, bytes, bytes]:
    """(ledger, receipt, last event of the heir).

    A device votes 0 for its seat; then a set gives the seat to another account with the same
    device, which votes 0 `again`, and the other seat votes 0.
    """
    ledger = Ledger.network(["seat-0", "seat-1"], ["seat-0"], maturity_epochs=9, dispute_epochs=9)
    first, second = ledger.accounts["seat-0"], ledger.accounts["seat-1"]
    payer, maker, heir = (ledger.account(name) for name in ("payer", "maker", "heir"))
    heir.file(heir.add_device_event(first.device))
    heirs_log = ledger.open_log(heir.id, first.device, "heir")
    ledger.close_epoch()
    work = heir.add("data.contribute", contribution())
    used = maker.add("model.register", model())
    first.add("money.issue", kinds.MoneyIssue(payer.id, 1_000, ""))
    ledger.close_epoch()
    grant = payer.add("money.grant", kinds.MoneyGrant(maker.id, 1_000, None))
    ledger.close_epoch()
    use = maker.add("use.receipt", receipt(used, [(work, PPM)], grant=grant, fee=1_000, snapshot=2))
    payer.add("audit.challenge", (use, "arithmetic"))
    ledger.close_epoch()
    payer.add("use.confirm", (use,))
    first.add("audit.verdict", (use, 0))
    rules = ledger.genesis
    seats = ((heir.id, first.device.public.raw), (second.id, second.device.public.raw))
    body = WitnessSet(1, seats, 1, rules.params, rules.issuers)
    for seat in (first, second):
        seat.add("witness.set", body)
    for log in (heirs_log, second.log):
        log.append("witness.ready", WitnessReady(1))
    ledger.close_epoch()
    if again:
        heirs_log.append("audit.verdict", (use, 0))
    second.add("audit.verdict", (use, 0))
    ledger.close_epoch()
    return ledger, use, heirs_log.ids[-1]


@pytest.mark.rule("C4", "A10")
@pytest.mark.parametrize("again", [False, True])
def test_a_device_votes_once_on_a_challenge_whichever_account_has_its_seat(again: bool) -> None:
    ledger, use, last = heir_of_a_seat(again=again)
    assert views.void_reason(ledger.state, last) == (("CH", "voted_before") if again else None)
    held = views.receipt(ledger.state, use)
    assert held is not None and (held.held_until_epoch, held.held_micro) == (None, 430)
    compare(ledger)


@pytest.mark.rule("C4")
def test_many_providers_found_out_in_one_epoch_cost_one_look_at_what_is_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Accounts, uses without a grant and challenges cost nothing; each upheld challenge reaches all
    receipts of its provider.
    """
    looks: list[int] = []
    whole = phase_answers._unmatured

    def counted(books: Books) -> dict[bytes, list[bytes]]:
        looks.append(books.epoch)
        return whole(books)

    monkeypatch.setattr(phase_answers, "_unmatured", counted)
    ledger = Ledger.network(["seat"], ["seat"], maturity_epochs=5, dispute_epochs=5)
    seat, liars = ledger.accounts["seat"], [ledger.account(f"liar-{n}") for n in range(12)]
    used = seat.add("model.register", model())
    ledger.close_epoch()
    uses = {liar.id: [liar.add("use.receipt", receipt(used)) for _ in range(3)] for liar in liars}
    ledger.close_epoch()
    for liar in liars:
        seat.add("audit.challenge", (uses[liar.id][1], "evidence_withheld"))
    ledger.close_epoch()
    for liar in liars:
        seat.add("audit.verdict", (uses[liar.id][1], 1))
    ledger.close_epoch()
    assert looks == [4]
    ends = {views.receipt(ledger.state, use).status for ids in uses.values() for use in ids}  # type: ignore[union-attr]
    assert ends == {"upheld"}
    compare(ledger)


@pytest.mark.rule("K4")
def test_an_account_with_ever_more_devices_pays_the_same_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fold goes on from one link of a chain to the next and copies nothing: else the key events
    of one account would cost the square of their number.
    """
    ledger = Ledger.solo()
    ada = ledger.account("ada")
    for number in range(20):
        ada.file(ada.add_device_event(key("device", number)))
        if number % 5 == 0:
            ada.file(ada.rotate_event())
            ada.file(ada.retire_event(key("device", number)))
    with monkeypatch.context() as patch:
        patch.delattr(KeyChain, "then")
        ledger.close_epoch()
    found = views.chain(ledger.state, ada.id)
    assert found is not None and len(found.devices) == 21
    compare(ledger)
