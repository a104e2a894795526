"""From what people type to ids; and what the home shows of its events."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.credit.statement import parse_statement
from openledger_node.ledger.errors import UsageError
from openledger_node.node.lookup import find_account, find_id
from openledger_node.node.results import as_json
from tests.kit.homes import CREDIT, WITNESS, Coop, Ready, ready, words


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """A settled ledger with one use; tests here only read it."""
    made = ready(tmp_path_factory.mktemp("lookup"))
    with made.coop:
        made.use(words("harbour", 20), CREDIT)
        made.coop.settle()
        yield made


def found(stage: Ready, text: str, *kinds: str) -> str:
    with stage.coop["bert"].core.store.read() as snapshot:
        return find_id(snapshot, text, *kinds).hex()


def account(stage: Ready, text: str) -> str:
    with stage.coop["bert"].core.store.read() as snapshot:
        return find_account(snapshot, text).hex()


def refused(stage: Ready, text: str, *kinds: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        found(stage, text, *kinds)
    return caught.value


# Ids.


def test_an_id_may_be_shortened_to_eight_digits_or_more(shared: Ready) -> None:
    for digits in (8, 9, 15, 16, 17, 33, 63, 64):
        text = shared.harbour[:digits]
        assert found(shared, text, "data.contribute") == shared.harbour
        assert found(shared, f" {text.upper()} ") == shared.harbour


@pytest.mark.parametrize(
    "text", ["", " ", "abcdefg", "1234567", "xyz", "0x12345678", "ab" * 33, "é"]
)
def test_what_is_no_id_says_what_an_id_is(shared: Ready, text: str) -> None:
    error = refused(shared, text)
    assert (error.code, error.exit_status) == ("bad_id", 2)


def test_an_unknown_id_is_told_apart_from_one_of_another_kind(shared: Ready) -> None:
    assert refused(shared, "00" * 32).code == "unknown_id"
    assert refused(shared, "00000000", "model.register").code == "unknown_id"
    error = refused(shared, shared.harbour, "model.register")
    assert error.code == "wrong_kind"
    assert "is not a model: it is a contribution" in error.message
    assert refused(shared, shared.model[:10], "money.grant", "use.receipt").code == "wrong_kind"
    assert "is not an agent: it" in refused(shared, shared.model, "agent.register").message


def test_an_account_in_place_of_an_event_is_pointed_to_its_own_command(shared: Ready) -> None:
    error = refused(shared, shared.coop.ids["alice"], "data.contribute")
    assert "it is an account" in error.message
    assert error.hint.startswith("see `oln account show ")


def test_an_ambiguous_prefix_lists_what_it_could_be(
    shared: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openledger_node.node import lookup

    both = [bytes.fromhex(shared.harbour), bytes.fromhex(shared.bakers)]
    monkeypatch.setattr(lookup, "_ids_with", lambda snapshot, digits: both)
    error = refused(shared, "12345678", "data.contribute")
    assert error.code == "ambiguous_id"
    assert shared.harbour[:16] in error.hint
    # Of two, the kind tells: only one of them is a model.
    both[1] = bytes.fromhex(shared.model)
    assert found(shared, "12345678", "model.register") == shared.model


def test_pending_ids_are_found_as_final_ones_are(stage: Ready) -> None:
    made = stage.coop["bert"].datanet_create("pending").datanet_id
    assert found(stage, made[:12], "datanet.create") == made
    assert refused(stage, made, "data.contribute").code == "wrong_kind"


# Accounts.


def test_an_account_is_named_by_petname_short_form_id_or_prefix(shared: Ready) -> None:
    alice = shared.coop.ids["alice"]
    short = shared.coop["alice"].status().account
    shown = (alice, alice[:8], alice.upper(), short, short.upper())
    assert {account(shared, text) for text in shown} == {alice}
    assert account(shared, "bert") == shared.coop.ids["bert"]


def test_a_mistyped_short_form_is_noticed(shared: Ready) -> None:
    short = shared.coop["alice"].status().account
    for index in range(5, len(short)):
        if short[index] == "-":
            continue
        wrong = short[:index] + ("0" if short[index] != "0" else "1") + short[index + 1 :]
        with pytest.raises(UsageError) as caught:
            account(shared, wrong)
        assert caught.value.code == "bad_id"


def test_a_mistyped_petname_gets_a_suggestion(shared: Ready) -> None:
    with pytest.raises(UsageError) as caught:
        account(shared, "brt")
    assert (caught.value.code, caught.value.hint) == ("unknown_id", "did you mean 'bert'?")
    with pytest.raises(UsageError) as caught:
        account(shared, "00000000")
    assert caught.value.code == "unknown_id"


# Events.


def test_the_log_shows_events_by_account_kind_and_number(shared: Ready) -> None:
    home = shared.coop["bert"]
    everything = home.log(limit=None).events
    assert len(everything) == home.status().events
    own = home.log("bert", limit=None).events
    assert {event.account_id for event in own} == {shared.coop.ids["bert"]}
    assert [event.seq for event in own] == list(range(len(own)))
    assert {event.kind for event in home.log(kind="data.contribute").events} == {"data.contribute"}
    assert home.log(limit=3).events == everything[-3:]
    assert home.log(limit=0).events == ()
    assert home.log(kind="no.such").events == ()


def test_an_event_is_shown_with_names_and_status(shared: Ready) -> None:
    event = shared.coop["alice"].show(shared.harbour[:10])
    assert (event.kind, event.account, event.status, event.epoch) == (
        "data.contribute",
        "alice",
        "final",
        1,
    )
    assert (event.payload, event.body["license"]) == ("held", "CC-BY-4.0")
    assert json.loads(json.dumps(as_json(event)))["event_id"] == shared.harbour


def test_void_events_show_their_rule(stage: Ready) -> None:
    from openledger_node.ledger.kinds import MoneyTransfer

    coop = stage.coop
    body = MoneyTransfer(bytes.fromhex(coop.ids["bert"]), 10**12, "")
    done = coop["alice"].core.append_one("money.transfer", body)
    coop.settle()
    event = coop["bert"].show(done.event_id)
    assert (event.status, event.rule) == ("void", "C1")
    assert "could spend" in (event.reason or "")
    shown = coop["bert"].explain(done.event_id)
    assert shown.what == "void event"
    assert shown.tree.rule == "C1"


def test_malformed_and_unknown_events_are_shown_as_they_are(coop: Coop) -> None:
    from openledger_node.store.writer import Draft

    home = coop[WITNESS]
    home.core.append([Draft("no.such", ("x", b"\1"), 1), Draft("money.issue", ("x",), 1)])
    unknown, malformed = home.log(limit=2).events
    assert unknown.body == {"items": ["x", "01"]}
    assert malformed.body["items"] == ["x"]
    home.epoch_close()
    assert home.show(malformed.event_id).rule == "L2"
    assert home.show(unknown.event_id).status == "final"


def test_following_gives_what_comes_and_nothing_before(stage: Ready) -> None:
    home = stage.coop["alice"]
    made = []

    def wait() -> None:
        made.append(home.datanet_create(f"net {len(made)}").datanet_id)

    following = home.follow(wait=wait)
    assert [next(following).event_id for _ in range(3)] == made[:3]

    def agents() -> None:
        home.datanet_create("not this one")
        home.agent_register("this one")

    one_kind = home.follow("alice", kind="agent.register", wait=agents)
    assert next(one_kind).body["name"] == "this one"


def test_status_says_who_where_and_how_much(shared: Ready) -> None:
    shown = {name: shared.coop[name].status() for name in shared.coop}
    assert {item.ledger_id for item in shown.values()} == {shown["bert"].ledger_id}
    assert (shown[WITNESS].role, shown["bert"].role) == ("solo", "participant")
    assert (shown["bert"].name, shown["bert"].logs, shown["bert"].epoch) == ("bert", 5, 3)
    # The votes on the last epoch are in no cut yet.
    assert (shown["bert"].pending_events, shown["bert"].parked_events) == (5, 0)
    assert shown["bert"].disk_bytes > 0
    assert (shown["bert"].identity, shown["bert"].alarms) == ("original", ())
    assert len({item.state_digest for item in shown.values()}) == 1


# Statements.


def test_the_statement_is_exported_as_bytes_and_as_a_table(shared: Ready, tmp_path: Path) -> None:
    home = shared.coop["bert"]
    shown = home.statement(3)
    raw, table = tmp_path / "s.oln", tmp_path / "s.CSV"
    home.statement_export(3, raw)
    home.statement_export(3, table)
    assert parse_statement(raw.read_bytes()).root.hex() == shown.statement_root
    with table.open(newline="") as file:
        rows = {row["account_id"]: row for row in csv.DictReader(file)}
    assert [row.account_id for row in shown.rows] == sorted(rows)
    for row in shown.rows:
        assert rows[row.account_id]["balance_micro"] == str(row.balance_micro)
        assert rows[row.account_id]["earned_data_micro"] == str(row.data_micro)
    with pytest.raises(UsageError, match="exists already"):
        home.statement_export(3, raw)
    with pytest.raises(UsageError, match="cannot write"):
        home.statement_export(3, tmp_path / "no" / "s.oln")


def test_statements_of_epochs_that_are_not_there_are_refused(shared: Ready) -> None:
    for epoch in (4, 99, -1):
        with pytest.raises(UsageError, match="no epoch"):
            shared.coop["bert"].statement(epoch)
    assert shared.coop["bert"].statement(0).rows == ()


def test_epochs_are_listed_newest_last(shared: Ready) -> None:
    home = shared.coop["bert"]
    assert [item.epoch for item in home.epoch_list().epochs] == [0, 1, 2, 3]
    assert [item.epoch for item in home.epoch_list(2).epochs] == [2, 3]
    assert [item.final for item in home.epoch_list(3).epochs] == [True, True, True]


def test_explaining_an_account_without_credits_says_so(shared: Ready) -> None:
    from openledger_node.ledger.errors import Refused

    with pytest.raises(Refused) as caught:
        shared.coop["bert"].explain("bert")
    assert caught.value.code == "nothing_to_explain"
    with pytest.raises(UsageError):
        shared.coop["bert"].explain("ff" * 32)


@pytest.mark.rule("C9")
def test_explaining_a_model_shows_its_licences(shared: Ready) -> None:
    shown = shared.coop["bert"].explain(shared.model)
    assert "model.register: final, epoch 2" in shown.tree.title
    assert any("CC-BY-4.0" in child.title for child in shown.tree.children)
