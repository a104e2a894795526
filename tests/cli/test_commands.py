"""Each command makes the call that its words mean, and prints the answer both ways."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

import pytest

from openledger_node.cli.main import COMMANDS
from tests.cli.fakes import ANSWERS, HEX, Terminal

ID: Final = "5f2c81d0"
P: Final = Path

CALLS: Final[list[tuple[str, str, tuple[Any, ...], dict[str, Any]]]] = [
    ("status", "status", (), {}),
    (
        "init --name ana",
        "initialise",
        (P("the-default-home"),),
        {"name": "ana", "genesis_file": None, "params_file": None, "ledger_name": None},
    ),
    (
        "--home h init --ledger g.json",
        "initialise",
        (P("h"),),
        {"name": None, "genesis_file": P("g.json"), "params_file": None, "ledger_name": None},
    ),
    ("peer list", "peer_list", (), {}),
    (f"peer add {HEX}@node.example.org:4767", "peer_add", (f"{HEX}@node.example.org:4767",), {}),
    (f"peer remove {ID}", "peer_remove", (ID,), {}),
    (f"peer ban {ID} --hours 3", "peer_ban", (ID,), {"hours": 3}),
    (f"sync {ID}", "sync", (ID,), {}),
    ("sync", "sync", (None,), {}),
    ("ledger show", "ledger_show", (), {}),
    ("ledger export g.json", "ledger_export", (P("g.json"),), {}),
    ("account show", "account_show", (None,), {}),
    ("account show ana", "account_show", ("ana",), {}),
    ("account list", "account_list", (), {}),
    (f"account name {ID} ben", "account_name", (ID, "ben"), {}),
    (f"account accept {ID}", "account_accept", (ID,), {}),
    ("account rotate r.json", "account_rotate", (P("r.json"), P("r.json.new")), {}),
    ("account recover r.json --out s", "account_recover", (P("r.json"), P("s")), {}),
    ("device list", "device_list", (), {}),
    ("device invite i", "device_invite", (P("i"),), {}),
    ("witness invite f --name River", "witness_invite", (P("f"), "River", None), {}),
    (
        "witness invite f --seat a --seat b --out g",
        "witness_found",
        (P("f"), (P("a"), P("b")), P("g")),
        {},
    ),
    (
        "witness join f --name ana --out s",
        "witness_offer",
        (P("the-default-home"), P("f"), P("s"), "ana"),
        {},
    ),
    ("witness join", "witness_ready", (), {}),
    ("witness status", "witness_status", (), {}),
    (
        "witness propose --add bo --add cy --drop di --params p.toml --rules 1",
        "witness_propose",
        (),
        {"add": ("bo", "cy"), "drop": ("di",), "params_file": P("p.toml"), "rules_version": 1},
    ),
    ("witness approve 0123abcd", "witness_approve", ("0123abcd",), {}),
    ("device join i", "device_join", (P("the-default-home"), P("i")), {}),
    (f"device retire {ID}", "device_retire", (ID,), {}),
    ("datanet create poems --description d", "datanet_create", ("poems", "d", ""), {}),
    ("datanet list", "datanet_list", (), {}),
    (f"datanet show {ID}", "datanet_show", (ID,), {}),
    (
        f"data add a b --title T --license MIT --datanet {ID} --creator ana:2 --creator x:y:1"
        f" --derived-from {ID}:1500 --share ana,ben --dry-run",
        "data_add",
        ((P("a"), P("b")),),
        {
            "title": "T",
            "license": "MIT",
            "datanet": ID,
            "creators": (("ana", 2), ("x:y", 1)),
            "derived_from": ((ID, 1500),),
            "share": ["ana", "ben"],
            "dry_run": True,
        },
    ),
    ("data list", "data_list", (None,), {}),
    (f"data show {ID}", "data_show", (ID,), {}),
    (f"data get {ID} out", "data_get", (ID, P("out")), {}),
    (f"data share {ID} --with all", "data_share", (ID, "all"), {}),
    (f"data derive {ID} --dry-run", "data_derive", (ID,), {"dry_run": True}),
    (f"data withdraw {ID} --reason old", "data_withdraw", (ID, "old"), {}),
    (f"data erase {ID}", "data_erase", (ID, ""), {}),
    (f"data commons {ID}", "data_commons", (ID,), {}),
    (
        f"model register m --trained-on {ID} --trained-on {ID}:3 --base {ID}:100 --weights w",
        "model_register",
        ("m",),
        {
            "trained_on": ((ID, 1), (ID, 3)),
            "bases": ((ID, 100),),
            "weights_files": (P("w"),),
            "creators": (),
            "license": "",
        },
    ),
    ("index status", "index_status", (), {}),
    ("index rebuild", "index_rebuild", (), {}),
    ("model list", "model_list", (), {}),
    (f"model show {ID}", "model_show", (ID,), {}),
    (
        f"agent register a --card c --model {ID} --capability sums",
        "agent_register",
        ("a",),
        {"card": P("c"), "models": (ID,), "operator": None, "capabilities": ("sums",)},
    ),
    ("agent list", "agent_list", (), {}),
    (f"agent show {ID}", "agent_show", (ID,), {}),
    ("issue 100 --to ana --note n", "issue", (100_000_000, "ana", "n"), {}),
    ("transfer 0.000001 --to ana", "transfer", (1, "ana", ""), {}),
    ("grant ben 12.5", "grant", ("ben", 12_500_000, "default"), {}),
    ("grant ben 12.5 --expires 7", "grant", ("ben", 12_500_000, 7), {}),
    ("grant ben 12.5 --expires never", "grant", ("ben", 12_500_000, None), {}),
    ("redeem 20", "redeem", (20_000_000,), {"issuer": None, "minimum_micro": 0}),
    ("redeem 0", "redeem", (0,), {"issuer": None, "minimum_micro": 0}),
    (
        "redeem --standing --min 5 --issuer ana",
        "redeem",
        (None,),
        {"issuer": "ana", "minimum_micro": 5_000_000},
    ),
    (
        "payout --all --out p.csv --reference r",
        "payout",
        (None,),
        {"out": P("p.csv"), "reference": "r"},
    ),
    (f"payout {ID} --out p.csv", "payout", ((ID,),), {"out": P("p.csv"), "reference": ""}),
    (f"payout --reverse {ID}", "payout_reverse", (ID,), {}),
    (
        f"attribute out.txt --model {ID} --retrieved {ID} --explain",
        "attribute",
        (b"some words\n",),
        {"model": ID, "retrieved": (ID,)},
    ),
    (
        "attribute out.txt --html page.html",
        "attribute",
        (b"some words\n",),
        {"model": None, "retrieved": ()},
    ),
    (
        f"use {ID} --output out.txt --grant {ID} --fee 0.5 --key k",
        "use",
        (ID, b"some words\n"),
        {"grant": ID, "fee_micro": 500_000, "agent": None, "retrieved": (), "key": "k"},
    ),
    (f"confirm {ID}", "confirm", (ID,), {}),
    (f"cancel {ID}", "cancel", (ID,), {}),
    (f"dispute {ID}", "dispute", (ID,), {}),
    (f"challenge {ID}", "challenge", (ID, None), {"outputs": None}),
    (f"challenge {ID} --ground arithmetic", "challenge", (ID, "arithmetic"), {"outputs": None}),
    (
        f"challenge {ID} --output out.txt --output out.txt",
        "challenge",
        (ID, None),
        {"outputs": [b"some words\n", b"some words\n"]},
    ),
    ("epoch close", "epoch_close", (), {"resume": False}),
    ("epoch close --resume", "epoch_close", (), {"resume": True}),
    ("epoch list --limit 5", "epoch_list", (5,), {}),
    ("credits", "credits", (None,), {"pending": False}),
    ("credits ana --pending", "credits", ("ana",), {"pending": True}),
    ("statement", "statement", (None,), {}),
    ("statement 3", "statement", (3,), {}),
    ("statement 3 --export s.csv", "statement_export", (3, P("s.csv")), {}),
    ("explain ana", "explain", ("ana",), {}),
    ("log", "log", (None,), {"kind": None, "limit": 50}),
    ("log ana --kind use.receipt --limit 2", "log", ("ana",), {"kind": "use.receipt", "limit": 2}),
    (f"show {ID}", "show", (ID,), {}),
    ("prove ana -o p", "prove", ("ana", P("p")), {"epoch": None, "span": None, "entry": None}),
    (
        "prove ana -o p --epoch 3",
        "prove",
        ("ana", P("p")),
        {"epoch": 3, "span": None, "entry": None},
    ),
    ("verify p", "verify_file", (P("p"), None), {}),
    ("verify p --ledger g", "verify_file", (P("p"), P("g")), {}),
    ("check", "check", (), {"repair": False}),
    ("check --repair", "check", (), {"repair": True}),
    ("compact", "compact", (), {}),
    ("backup b", "backup", (P("b"),), {}),
    ("restore b", "restore", (P("b"), P("the-default-home")), {}),
    ("bundle export b", "bundle_export", (P("b"),), {"payloads": True, "evidence": ()}),
    (
        f"bundle export b --no-payloads --evidence {ID}",
        "bundle_export",
        (P("b"),),
        {"payloads": False, "evidence": (ID,)},
    ),
    ("export e", "export_events", (P("e"), "jsonl"), {}),
    ("export e.csv", "export_events", (P("e.csv"), "csv"), {}),
    ("export e.csv --format jsonl", "export_events", (P("e.csv"), "jsonl"), {}),
]
REFUSING: Final = [
    ("bundle import b", "bundle_import", (P("b"),), {}),
    ("import e", "import_events", (P("e"),), {}),
]
"""These answer with refusals here, so they end with status 1."""


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.txt").write_text("some words\n")
    return Terminal()


@pytest.mark.parametrize(("line", "name", "args", "kwargs"), CALLS, ids=str)
def test_a_command_makes_the_call_that_its_words_mean(
    terminal: Terminal, line: str, name: str, args: Any, kwargs: Any
) -> None:
    assert terminal.run(*line.split()) == 0
    assert terminal.called == (name, args, kwargs)


@pytest.mark.parametrize(("line", "name", "args", "kwargs"), REFUSING)
def test_a_part_that_was_refused_is_shown_and_ends_with_status_1(
    terminal: Terminal,
    line: str,
    name: str,
    args: Any,
    kwargs: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert terminal.run(*line.split()) == 1
    assert terminal.called == (name, args, kwargs)
    assert "refused a what: a reason" in capsys.readouterr().out


@pytest.mark.parametrize("line", [call[0] for call in [*CALLS, *REFUSING]])
def test_json_is_one_document_and_nothing_else(
    terminal: Terminal, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = terminal.run("--json", *line.split())
    captured = capsys.readouterr()
    assert captured.err == ""
    document = json.loads(captured.out)
    assert status in (0, 1)
    assert isinstance(document, dict)
    assert "error" not in document


@pytest.mark.parametrize("line", [call[0] for call in [*CALLS, *REFUSING]])
def test_plain_output_says_something_within_100_columns(
    terminal: Terminal,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    terminal.run(*line.split())
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.strip()
    assert max(map(len, captured.out.splitlines())) <= 100
    assert "\x1b" not in captured.out


def test_an_index_that_does_not_verify_is_told_and_ends_with_status_1(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert terminal.run("index", "verify") == 1
    assert terminal.called[0] == "index_verify"
    assert "wrong: " in capsys.readouterr().out


def test_the_table_of_calls_covers_every_function_that_has_an_answer() -> None:
    called = {name for _, name, _, _ in [*CALLS, *REFUSING]} | {"use_batch", "index_verify"}
    assert set(ANSWERS) <= called


def test_the_table_of_calls_covers_every_command() -> None:
    names = {name for part in COMMANDS.values() for name in part}
    words = {word for line, *_ in [*CALLS, *REFUSING] for word in line.split()}
    assert names - words - {"demo", "node", "simulate"} == {"help", "completion"}


@pytest.mark.parametrize("place", ["before", "after"])
def test_json_and_home_are_taken_before_and_after_the_command(
    terminal: Terminal, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--json", "--home", "mine"]
    words = [*common, "data", "list"] if place == "before" else ["data", "list", *common]
    assert terminal.run(*words) == 0
    assert terminal.interface.opened == [Path("mine")]
    assert "contributions" in json.loads(capsys.readouterr().out)


def test_a_batch_is_read_line_by_line_with_its_amounts(terminal: Terminal) -> None:
    lines = [
        {"output": "one", "grant": ID, "fee": "0.25", "retrieved": [ID], "key": "k1"},
        {"output": "two", "fee_micro": 7},
    ]
    Path("uses.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert terminal.run("use", ID, "--batch", "uses.jsonl") == 0
    name, (model, uses), _ = terminal.called
    assert (name, model) == ("use_batch", ID)
    nothing = {"grant": None, "agent": None, "retrieved": [], "key": None}
    first = {"output": "one", "grant": ID, "fee_micro": 250_000, "retrieved": [ID], "key": "k1"}
    assert uses == [nothing | first, nothing | {"output": "two", "fee_micro": 7}]


def test_following_prints_events_as_they_come_and_waits_between(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    event = terminal.home.show(ID)
    terminal.home.events = [event, event, event]
    assert terminal.run("log", "ana", "--follow", "--kind", "use.receipt") == 0
    assert terminal.called == ("follow", ("ana",), {"kind": "use.receipt"})
    assert terminal.waited == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(HEX[:12])


def test_following_with_json_prints_one_document_a_line(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.home.events = [terminal.home.show(ID)] * 2
    terminal.run("--json", "log", "--follow")
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [document["event_id"] for document in documents] == [HEX, HEX]


def test_the_home_is_closed_after_every_command(terminal: Terminal) -> None:
    terminal.run("status")
    assert [call[0] for call in terminal.home.calls] == ["status", "close"]


def test_an_index_says_its_size_under_the_name_that_data_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Terminal().run("--json", "index", "status") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bytes"] == document["file_bytes"]
    assert "segments" in document


def test_an_index_that_verifies_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    good = dataclasses.replace(terminal.home.index_verify(), wrong=())
    terminal.home.answers["index_verify"] = good
    assert terminal.run("index", "verify") == 0
    assert "the index is in order" in capsys.readouterr().out


def test_ending_a_standing_order_is_not_called_a_redeem(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal()
    moved = dataclasses.replace(terminal.home.redeem(0), amount_micro=0, account="bank")
    terminal.home.answers["redeem"] = moved
    assert terminal.run("redeem", "0") == 0
    assert "ended the standing order with bank" in capsys.readouterr().out


def test_the_body_of_a_proved_event_is_shown_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    facts = {"body": {"name": "\x1b[31m", "amount": None}, "tokens": [3, 9]}
    good = dataclasses.replace(terminal.home.verify_file(), valid=True, facts=facts)
    terminal.home.answers["verify_file"] = good
    assert terminal.run("verify", "p") == 0
    shown = capsys.readouterr().out
    assert '"amount": null' in shown
    assert "[3, 9]" in shown
    assert "\x1b" not in shown
