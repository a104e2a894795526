"""Recording uses: what is checked before a receipt is written, idempotency keys, batches."""

from __future__ import annotations

import threading

import pytest

from openledger_node.ledger.errors import BadInput, Refused, UsageError
from openledger_node.node import batches
from openledger_node.node.uses import MAX_KEY_BYTES
from tests.kit.homes import CREDIT, GRANTED_MICRO, WITNESS, Coop, Ready, words

OUTPUT = words("harbour", 20, start=40)
OTHER = words("baker", 20, start=9)


def receipts(stage: Ready, home: str = "maker") -> int:
    return len(stage.coop[home].log(kind="use.receipt", limit=None).events)


def raised(stage: Ready, fee_micro: int, output: str = OUTPUT, **options: object) -> Refused:
    before = receipts(stage)
    with pytest.raises(Refused) as caught:
        stage.use(output, fee_micro, **options)
    assert receipts(stage) == before
    return caught.value


# Keys.


def test_a_repeated_key_answers_with_the_first_receipt_and_records_nothing(stage: Ready) -> None:
    first = stage.use(OUTPUT, CREDIT, key="order 7")
    again = stage.use("quite another text", 2 * CREDIT, key="order 7")
    assert (first.repeated, again.repeated) == (False, True)
    assert (again.receipt_id, again.ppm, again.fee_micro) == (first.receipt_id, first.ppm, CREDIT)
    assert receipts(stage) == 1


def test_a_key_is_remembered_across_reopening_the_home(stage: Ready) -> None:
    first = stage.use(OUTPUT, CREDIT, key="order 7")
    stage.coop.reopen("maker")
    assert stage.use(OUTPUT, CREDIT, key="order 7").receipt_id == first.receipt_id
    assert receipts(stage) == 1


def test_uses_without_a_key_are_never_merged(stage: Ready) -> None:
    assert stage.use(OUTPUT, 1).receipt_id != stage.use(OUTPUT, 1).receipt_id


@pytest.mark.parametrize(
    "key", ["", "k" * (MAX_KEY_BYTES + 1), "\u00fc" * (MAX_KEY_BYTES // 2 + 1)]
)
def test_a_key_past_its_bounds_is_refused_before_anything_is_written(
    stage: Ready, key: str
) -> None:
    with pytest.raises(UsageError, match="idempotency key"):
        stage.use(OUTPUT, 1, key=key)
    with pytest.raises(UsageError, match="idempotency key"):
        stage.use_batch([{"output": OUTPUT, "key": key}])
    assert receipts(stage) == 0


def test_threads_that_share_a_key_record_one_receipt(stage: Ready) -> None:
    answers: list[str] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        barrier.wait()
        answers.append(stage.use(OUTPUT, 10, key="same").receipt_id)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert len(set(answers)) == receipts(stage) == 1


# Batches.


@pytest.mark.rule("R4")
def test_a_batch_merges_its_uses_into_one_receipt_with_counts_and_fees_summed(
    stage: Ready,
) -> None:
    # 20 tokens of harbour + (5 of baker and 5 of nobody) + nothing: 20, 5 and 5 of 30 tokens,
    # of which the five of baker are too few for a span (8 tokens), so 20 and 10 of 30.
    uses = [
        {"output": OUTPUT, "grant": stage.grant, "fee_micro": 5},
        {"output": words("baker", 5) + " " + words("nobody", 5), "grant": stage.grant},
        {"output": "...", "grant": stage.grant, "fee_micro": 7},
    ]
    done = stage.use_batch(uses)
    (receipt,) = done.receipts
    assert (receipt.uses, receipt.fee_micro, done.uses, done.fee_micro) == (3, 12, 3, 12)
    assert receipt.ppm == {stage.harbour: 666_667}
    assert receipt.unattributed_ppm == 333_333
    assert receipts(stage) == 1


def test_each_use_of_a_batch_keeps_its_document_under_the_output_root(stage: Ready) -> None:
    stage.use_batch([{"output": OUTPUT}, {"output": OTHER}])
    (event,) = stage.coop["maker"].log(kind="use.receipt").events
    with stage.coop["maker"].core.store.read() as snapshot:
        from openledger_node.ledger.payload import decode_payload

        data = snapshot.payload(bytes.fromhex(event.body["output_root"]))
        assert data is not None
        assert [item.data.decode() for item in decode_payload(data).documents] == [OUTPUT, OTHER]


def test_a_batch_has_a_receipt_for_each_grant_and_method(stage: Ready) -> None:
    done = stage.use_batch(
        [
            {"output": OUTPUT},
            {"output": OUTPUT, "grant": stage.grant, "fee_micro": 3},
            {"output": OTHER},
            {"output": OUTPUT, "retrieved": [stage.bakers]},
        ]
    )
    assert [(item.grant_id, item.uses, item.fee_micro) for item in done.receipts] == [
        (None, 2, 0),
        (stage.grant, 1, 3),
        (None, 1, 0),
    ]
    assert done.uses == 4


def test_a_batch_begins_another_receipt_when_one_is_full(
    stage: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_USES", 2)
    done = stage.use_batch([{"output": OUTPUT}] * 5)
    assert [item.uses for item in done.receipts] == [2, 2, 1]
    monkeypatch.setattr(batches, "MAX_RECEIPT_BYTES", len(OUTPUT) + 1)
    assert [item.uses for item in stage.use_batch([{"output": OUTPUT}] * 2).receipts] == [1, 1]


def test_progress_of_a_batch_goes_up_within_a_receipt_too(
    stage: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "PROGRESS_USES", 2)
    told: list[tuple[int, int | None, str]] = []
    stage.coop["maker"].use_batch(
        stage.model, [{"output": OUTPUT}] * 5, progress=lambda *word: told.append(word)
    )
    assert [done for done, _, what in told if what == "uses read"] == [2, 4]
    attributed = [(done, total) for done, total, what in told if what == "uses attributed"]
    assert attributed == [(2, 5), (4, 5), (5, 5)]


def test_a_batch_leaves_out_what_was_recorded_before_across_reopening(stage: Ready) -> None:
    single = stage.use(OUTPUT, 1, key="a")
    first = stage.use_batch(
        [
            {"output": OUTPUT, "key": "b", "grant": stage.grant, "fee_micro": 2},
            {"output": OTHER, "key": "c"},
        ]
    )
    stage.coop.reopen("maker")
    again = stage.use_batch(
        [{"output": OUTPUT, "key": key} for key in ("a", "b", "c", "d")],
    )
    known = {item.receipt_id for item in first.receipts} | {single.receipt_id}
    assert {item.receipt_id for item in again.receipts if item.repeated} == known
    (fresh,) = [item for item in again.receipts if not item.repeated]
    assert fresh.uses == 1
    assert receipts(stage) == 4


def test_each_key_of_a_batch_finds_its_own_receipt(stage: Ready) -> None:
    done = stage.use_batch(
        [{"output": OUTPUT, "key": "free"}, {"output": OUTPUT, "key": "paid", "grant": stage.grant}]
    )
    by_grant = {item.grant_id: item.receipt_id for item in done.receipts}
    assert stage.use(OUTPUT, 0, key="free").receipt_id == by_grant[None]
    assert stage.use(OUTPUT, 0, key="paid").receipt_id == by_grant[stage.grant]


def test_a_key_twice_in_one_batch_counts_once(stage: Ready) -> None:
    done = stage.use_batch(
        [{"output": OUTPUT, "key": "k", "grant": stage.grant, "fee_micro": 5}] * 3
    )
    assert (done.uses, done.fee_micro) == (1, 5)


def test_a_batch_repeated_whole_answers_each_receipt_once(stage: Ready) -> None:
    uses = [{"output": OUTPUT, "key": str(number)} for number in range(4)]
    first = stage.use_batch(uses)
    again = stage.use_batch(uses)
    assert [item.receipt_id for item in again.receipts] == [first.receipts[0].receipt_id]
    assert (again.uses, receipts(stage)) == (4, 1)


def test_a_batch_is_recorded_whole_or_not_at_all(stage: Ready) -> None:
    uses = [
        {"output": OUTPUT},
        {"output": OUTPUT, "grant": stage.grant, "fee_micro": GRANTED_MICRO + 1},
    ]
    with pytest.raises(Refused) as caught:
        stage.use_batch(uses)
    assert caught.value.code == "C3"
    assert receipts(stage) == 0


@pytest.mark.rule("C3")
def test_receipts_of_one_batch_on_one_grant_must_fit_into_it_together(stage: Ready) -> None:
    half = GRANTED_MICRO // 2 + 1
    uses = [
        {"output": OUTPUT, "grant": stage.grant, "fee_micro": half},
        {
            "output": OUTPUT,
            "grant": stage.grant,
            "fee_micro": half,
            "retrieved": [stage.harbour],
        },
    ]
    with pytest.raises(Refused, match="C3"):
        stage.use_batch(uses)
    assert receipts(stage) == 0


def test_an_empty_batch_records_nothing(stage: Ready) -> None:
    assert stage.use_batch([]).receipts == ()
    assert receipts(stage) == 0


@pytest.mark.parametrize(
    ("use", "reason"),
    [
        ({}, "no output text"),
        ({"output": None}, "no output text"),
        ({"output": 7}, "no output text"),
        ({"output": "a", "fee_micro": -1}, "fee_micro"),
        ({"output": "a", "fee_micro": 1.5}, "fee_micro"),
        ({"output": "a", "fee_micro": True}, "fee_micro"),
        ({"output": "a", "fee_micro": 2**53}, "fee_micro"),
        ({"output": "a", "grant": 7}, "grant"),
        ({"output": "a", "agent": ["x"]}, "agent"),
        ({"output": "a", "key": 7}, "key"),
        ({"output": "a", "retrieved": "0123456789"}, "retrieved"),
        ({"output": "a", "retrieved": [7]}, "retrieved"),
        ({"output": b"\xff\xfe"}, "not UTF-8"),
        ({"output": "\ud800"}, "not UTF-8"),
        ("just a text", "not an object"),
        (["output"], "not an object"),
    ],
)
def test_a_malformed_use_of_a_batch_is_named_by_its_number(
    stage: Ready, use: object, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        stage.use_batch([{"output": OUTPUT}, use])  # type: ignore[list-item]
    assert "use 2 of the batch" in caught.value.message
    assert receipts(stage) == 0


def test_a_batch_past_its_limit_is_refused(stage: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_BATCH_USES", 3)
    with pytest.raises(UsageError, match="at most 3"):
        stage.use_batch([{"output": OUTPUT}] * 4)
    assert receipts(stage) == 0


# Grants (C3).


@pytest.mark.rule("C3")
def test_fees_of_pending_receipts_are_reserved(stage: Ready) -> None:
    stage.use(OUTPUT, GRANTED_MICRO - 5)
    error = raised(stage, 6)
    assert error.code == "C3"
    assert "6 micro-credits do not fit into the 5 left of the grant" in error.message
    stage.use(OUTPUT, 5)
    assert "into the 0 left" in raised(stage, 1).message


@pytest.mark.rule("C3")
def test_reserved_fees_survive_reopening_and_end_with_the_epoch(stage: Ready) -> None:
    stage.use(OUTPUT, 30 * CREDIT)
    stage.coop.reopen("maker")
    raised(stage, 21 * CREDIT)
    stage.coop.settle()
    stage.use(OUTPUT, 20 * CREDIT)
    raised(stage, 1)
    stage.coop.settle()
    assert stage.coop.balances()["user"].locked_micro == 0
    assert stage.coop.conserved()


@pytest.mark.rule("C3")
def test_a_grant_for_another_provider_is_refused(stage: Ready) -> None:
    coop = stage.coop
    with pytest.raises(Refused, match="for another provider"):
        coop["alice"].use(stage.model, OUTPUT.encode(), grant=stage.grant, fee_micro=1)


@pytest.mark.rule("C3")
def test_a_grant_to_oneself_is_refused_before_it_is_written(stage: Ready) -> None:
    coop = stage.coop
    with pytest.raises(Refused, match="payer and provider are the same account") as caught:
        coop["user"].grant(coop.ids["user"], 5)
    assert caught.value.code == "C3"
    assert coop["user"].log(kind="money.grant").events[-1].event_id == stage.grant


@pytest.mark.rule("C3")
def test_an_expired_grant_is_refused_with_its_epoch(stage: Ready) -> None:
    coop = stage.coop
    while coop[WITNESS].status().epoch < 10:
        coop[WITNESS].datanet_create("another one")
        coop[WITNESS].epoch_close()
    coop.spread()
    assert "expired with epoch 10" in raised(stage, 1).message
    assert raised(stage, 0, grant=stage.grant).code == "C3"


@pytest.mark.rule("C3")
def test_a_fee_without_a_grant_is_refused(stage: Ready) -> None:
    error = raised(stage, 1, grant=None)
    assert "a fee is drawn on a grant" in error.message


@pytest.mark.rule("C3")
def test_a_grant_that_is_not_final_is_refused_where_the_home_cannot_close(stage: Ready) -> None:
    coop = stage.coop
    fresh = coop["user"].grant(coop.ids["maker"], 5)
    coop.carry("user", "maker")
    assert "not final yet" in raised(stage, 1, grant=fresh.grant_id).message


def test_a_negative_fee_is_refused(stage: Ready) -> None:
    with pytest.raises(UsageError, match="fee"):
        stage.use(OUTPUT, -1)
    with pytest.raises(UsageError, match="fee"):
        stage.use(OUTPUT, 2**53)
    assert receipts(stage) == 0


# What a use earns.


@pytest.mark.rule("C15")
def test_a_ledger_of_one_account_says_that_its_uses_earn_nothing(coop: Coop) -> None:
    named = coop.add_text(WITNESS, "poems", words("poem", 50))
    model = coop[WITNESS].model_register("m", trained_on=[(named, 1)])
    used = coop[WITNESS].use(model.model_id, words("poem", 20).encode())
    assert (used.earns, used.fee_micro) == ("nothing", 0)
    assert "one account" in used.note
    assert used.ppm == {named: 1_000_000}


@pytest.mark.rule("C15")
def test_a_use_without_a_fee_earns_units_when_another_account_confirms(stage: Ready) -> None:
    used = stage.use(OUTPUT)
    assert used.earns == "units"
    stage.coop.settle()
    assert stage.coop.balances()["alice"].units == 0
    stage.coop["user"].confirm(used.receipt_id)
    stage.coop.settle()
    alice = stage.coop.balances()["alice"]
    assert (alice.units, alice.units_paid, alice.balance_micro) == (1_000_000, 0, 0)
    assert stage.use(OUTPUT, 1).earns == "credits"


@pytest.mark.rule("C15")
def test_a_provider_cannot_confirm_its_own_use(stage: Ready) -> None:
    used = stage.use(OUTPUT)
    stage.coop.settle()
    with pytest.raises(Refused) as caught:
        stage.coop["maker"].confirm(used.receipt_id)
    assert caught.value.code == "C15"


# Outputs.


def test_outputs_past_the_limits_and_other_content_are_refused(stage: Ready) -> None:
    maker = stage.coop["maker"]
    for output, code in (
        (b"x" * (maker.core.config.output_bytes + 1), "output_too_long"),
        (b"\xff\xfe", "not_text"),
        (b"\xed\xa0\x80", "not_text"),
    ):
        for call in (maker.attribute, lambda o: maker.use(stage.model, o)):
            with pytest.raises(UsageError) as caught:
                call(output)
            assert caught.value.code == code
    assert receipts(stage) == 0


@pytest.mark.rule("R4")
def test_an_output_without_tokens_is_all_unattributed(stage: Ready) -> None:
    used = stage.use("... --- ...", 100)
    assert (used.ppm, used.unattributed_ppm) == ({}, 1_000_000)


def test_record_use_takes_text_or_bytes(stage: Ready) -> None:
    maker = stage.coop["maker"]
    as_text = maker.record_use(stage.model, OUTPUT, idempotency_key="t")
    as_bytes = maker.record_use(stage.model, OUTPUT.encode(), (), None, 0, "b")
    assert as_text.ppm == as_bytes.ppm == {stage.harbour: 1_000_000}


def test_what_was_retrieved_joins_the_scope(stage: Ready) -> None:
    coop = stage.coop
    extra = coop.add_text("user", "letters", words("letter", 60))
    coop.settle()
    text = words("letter", 30)
    assert coop["maker"].attribute(text.encode(), model=stage.model).ppm == {}
    used = coop["maker"].use(stage.model, text.encode(), retrieved=[extra])
    assert used.ppm == {extra: 1_000_000}
    (event,) = coop["maker"].log(kind="use.receipt").events
    assert event.body["method"] == "retrieved"
    found = coop["maker"].attribute(text.encode(), retrieved=[extra])
    assert (found.ppm, found.method, found.model_id) == ({extra: 1_000_000}, "retrieved", None)


def test_attributing_without_a_model_looks_at_all_text_held_and_records_nothing(
    stage: Ready,
) -> None:
    coop = stage.coop
    pending = coop.add_text("maker", "own", words("own", 30))
    before = coop["maker"].status().events
    found = coop["maker"].attribute((OUTPUT + " " + words("own", 20)).encode())
    assert found.ppm == {stage.harbour: 500_000, pending: 500_000}
    assert coop["maker"].status().events == before


def test_a_model_that_is_not_final_is_refused_where_the_home_cannot_close(stage: Ready) -> None:
    fresh = stage.coop["maker"].model_register("younger")
    for call in (stage.coop["maker"].attribute, stage.coop["maker"].use):
        arguments = {"model": fresh.model_id, "output": OUTPUT.encode()}
        with pytest.raises(Refused) as caught:
            call(**arguments)
        assert caught.value.code == "not_final"


def test_a_use_after_an_erasure_does_without_the_erased_text(stage: Ready) -> None:
    coop = stage.coop
    text = words("maker", 40)
    own = coop.add_text("maker", "own", text)
    coop.settle()
    model = coop["maker"].model_register("two", trained_on=[(own, 1), (stage.harbour, 1)])
    coop.settle()
    output = text + " " + words("harbour", 40)
    assert coop["maker"].use(model.model_id, output.encode()).ppm == {
        own: 500_000,
        stage.harbour: 500_000,
    }
    coop["maker"].data_erase(own)
    after = coop["maker"].use(model.model_id, output.encode())
    assert (after.ppm, after.unattributed_ppm) == ({stage.harbour: 500_000}, 500_000)


def test_a_use_refuses_text_that_was_erased_beside_it_and_then_goes_on(stage: Ready) -> None:
    coop = stage.coop
    own = coop.add_text("maker", "own", words("maker", 40))
    coop.settle()
    model = coop["maker"].model_register("two", trained_on=[(own, 1)])
    coop.settle()
    output = words("maker", 20).encode()
    coop["maker"].use(model.model_id, output)
    commit = coop["maker"].show(own).payload_commit
    assert commit is not None
    coop["maker"].core.store.erase_payload(bytes.fromhex(commit))  # as another process would
    with pytest.raises(Refused) as caught:
        coop["maker"].use(model.model_id, output)
    assert caught.value.code == "no_payload"
    assert coop["maker"].use(model.model_id, output).unattributed_ppm == 1_000_000


@pytest.mark.rule("R1")
def test_common_text_is_credited_to_nobody(stage: Ready) -> None:
    coop = stage.coop
    licence = coop.add_text(WITNESS, "licence", words("harbour", 20, start=40))
    coop.settle()
    coop[WITNESS].data_commons(licence)
    coop.settle()
    used = stage.use(OUTPUT + " " + words("harbour", 20, start=100), 10)
    assert (used.ppm, used.unattributed_ppm) == ({stage.harbour: 500_000}, 500_000)


@pytest.mark.rule("R1")
def test_only_the_named_accounts_list_common_text(stage: Ready) -> None:
    with pytest.raises(Refused) as caught:
        stage.coop["alice"].data_commons(stage.harbour)
    assert caught.value.code == "R1"


def test_a_surrogate_in_an_output_is_not_text(stage: Ready) -> None:
    with pytest.raises((UsageError, BadInput)):
        stage.coop["maker"].record_use(stage.model, "\ud800")
