"""Bulk in and out: JSON lines in, JSON lines and CSV out."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from openledger_node.api import Home
from openledger_node.exchange import jsonl
from openledger_node.ledger.errors import BadInput, StoreUnavailable, UsageError
from tests.kit.homes import WITNESS, Coop, Ready, words

GOOD: dict[str, Any] = {
    "kind": "datanet.create",
    "body": {"name": "verse", "description": "", "licence_policy": ""},
}


@pytest.fixture
def home(coop: Coop) -> Home:
    return coop[WITNESS]


def lines(coop: Coop, *items: object) -> Path:
    """A file with a line for each item: bytes as they are, anything else as JSON."""
    raw = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in items]
    path = coop.file("jsonl")
    path.write_bytes(b"\n".join(raw) + b"\n")
    return path


def net(**body: object) -> dict[str, Any]:
    return {"kind": "datanet.create", "body": GOOD["body"] | body}


def test_each_line_becomes_an_event_of_the_own_log(coop: Coop, home: Home) -> None:
    done = home.import_events(lines(coop, *(net(name=f"net {n}") for n in range(40))))
    assert (done.events, done.refused) == (40, ())
    home.epoch_close()
    shown = home.datanet_list().datanets
    assert [(item.name, item.status) for item in shown] == [
        (f"net {n}", "final") for n in range(40)
    ]


def test_a_batch_boundary_loses_nothing(
    coop: Coop, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "BATCH_EVENTS", 7)
    done = home.import_events(lines(coop, *(net(name=str(n)) for n in range(22))))
    assert done.events == 22
    assert [item.name for item in home.datanet_list().datanets] == [str(n) for n in range(22)]


def test_every_kind_that_people_write_can_be_imported(coop: Coop, home: Home) -> None:
    own = coop.ids[WITNESS]
    named = coop.add_text(WITNESS, "poems", words("poem", 30))
    model = home.model_register("m", trained_on=[(named, 1)]).model_id
    home.epoch_close()
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("money.issue", {"to": own, "amount_micro": 50, "note": ""}),
        ("data.share", {"contribution": named, "policy": "all"}),
        ("data.share", {"contribution": named, "policy": [own]}),
        ("data.withdraw", {"target": named, "reason": "why not"}),
        (
            "model.register",
            {
                "name": "m2",
                "digests": ["ab" * 32, "cd" * 64],
                "bases": [[model, 100]],
                "trained_on": [[named, 3]],
                "creators": [[own, 1]],
                "license": "MIT",
            },
        ),
        (
            "use.receipt",
            {
                "grant": None,
                "model": model,
                "agent": None,
                "snapshot_epoch": 1,
                "uses": 2,
                "output_root": "11" * 32,
                "fee_micro": 0,
                "weights": [[named, 600_000]],
                "unattributed_ppm": 400_000,
                "method": "spans",
            },
        ),
    ]
    done = home.import_events(lines(coop, *({"kind": k, "body": b} for k, b in bodies)))
    assert (done.events, done.refused) == (len(bodies), ())
    closed = home.epoch_close()
    assert closed.void == 0
    assert home.credits().accounts[0].balance_micro == 50


def test_texts_that_look_like_ids_stay_texts(coop: Coop, home: Home) -> None:
    looks = "ab" * 32
    longer = "0" * 128
    own = coop.ids[WITNESS]
    path = lines(
        coop,
        net(name=looks, description=longer, licence_policy=looks),
        {"kind": "money.issue", "body": {"to": own, "amount_micro": 1, "note": looks}},
        {
            "kind": "agent.register",
            "body": {
                "name": looks,
                "operator": own,
                "card_digest": looks,
                "capabilities": [looks, "plain"],
                "models": [],
            },
        },
    )
    assert home.import_events(path).refused == ()
    events = {event.kind: event.body for event in home.log(limit=None).events}
    assert (events["datanet.create"]["name"], events["datanet.create"]["description"]) == (
        looks,
        longer,
    )
    assert events["money.issue"]["note"] == looks
    assert events["agent.register"]["capabilities"] == [looks, "plain"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "no JSON object"),
        (b"\xff\xfe\x00", "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
        (b'{"kind": "datanet.create"', "no JSON object"),
        ([], "no JSON object"),
        ("text", "no JSON object"),
        (None, "no JSON object"),
        ({"kind": "datanet.create"}, "no JSON object"),
        ({"body": {}}, "no JSON object"),
        ({"kind": "no.such", "body": {}}, "not imported"),
        ({"kind": ["a"], "body": {}}, "not imported"),
        ({"kind": {}, "body": {}}, "not imported"),
        ({"kind": 7, "body": {}}, "not imported"),
        ({"kind": "witness.final", "body": {}}, "not imported"),
        ({"kind": "log.open", "body": {}}, "not imported"),
        ({"kind": "log.fork", "body": {}}, "not imported"),
        ({"kind": "datanet.create", "body": []}, "no JSON object"),
        ({"kind": "datanet.create", "body": {"name": "x"}}, "has no field"),
        (net(colour="red"), "knows no field 'colour'"),
        (net(name=7), "name"),
        (net(name=None), "name"),
        (net(name=""), "name"),
        (net(name="x" * 513), "name"),
        (net(name="\ud800"), ""),
        (
            {"kind": "money.issue", "body": {"to": "xyz", "amount_micro": 1, "note": ""}},
            "to",
        ),
        (
            {"kind": "money.issue", "body": {"to": "ab" * 31, "amount_micro": 1, "note": ""}},
            "to",
        ),
        (
            b'{"kind": "money.issue", "body": {"to": "'
            + b"ab" * 32
            + b'", "amount_micro": NaN, "note": ""}}',
            "amount_micro",
        ),
        (
            b'{"kind": "money.issue", "body": {"to": "'
            + b"ab" * 32
            + b'", "amount_micro": 1e400, "note": ""}}',
            "amount_micro",
        ),
        (
            b'{"kind": "money.issue", "body": {"to": "'
            + b"ab" * 32
            + b'", "amount_micro": '
            + b"9" * 5_000
            + b', "note": ""}}',
            "no JSON object",
        ),
        (
            {"kind": "money.issue", "body": {"to": "ab" * 32, "amount_micro": -1, "note": ""}},
            "amount_micro",
        ),
        (
            {"kind": "money.issue", "body": {"to": "ab" * 32, "amount_micro": 0.5, "note": ""}},
            "amount_micro",
        ),
        (
            {"kind": "money.issue", "body": {"to": "ab" * 32, "amount_micro": True, "note": ""}},
            "amount_micro",
        ),
        (
            b'{"kind": "money.payout", "body": {"items": '
            + b"[" * 800
            + b"]" * 800
            + b', "reference": "", "reverses": null}}',
            "",
        ),
    ],
)
def test_a_line_that_is_no_event_is_refused_by_number_and_the_rest_goes_on(
    coop: Coop, home: Home, line: object, reason: str
) -> None:
    done = home.import_events(lines(coop, GOOD, line, GOOD))
    assert done.events == 2
    (refusal,) = done.refused
    assert refusal.what == "line 2"
    assert reason in refusal.reason


def test_a_line_past_the_limit_is_refused_alone(
    coop: Coop, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 200)
    for size in (201, 400, 401, 402, 1_000):
        done = home.import_events(lines(coop, GOOD, b"x" * size, GOOD))
        assert (done.events, [item.what for item in done.refused]) == (2, ["line 2"])
        assert "more than 200 bytes" in done.refused[0].reason


def test_a_line_that_never_ends_is_given_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_SKIPPED_BYTES", 8 * 2**20)
    with pytest.raises(UsageError, match="a line of more than") as caught:
        home.import_events(Path("/dev/zero"))
    assert caught.value.code == "bad_file"


def test_empty_lines_and_a_missing_last_newline_are_nothing(coop: Coop, home: Home) -> None:
    path = coop.write("in.jsonl", b"\n  \n" + json.dumps(GOOD).encode())
    assert (home.import_events(path).events, home.import_events(path).refused) == (1, ())


def test_a_file_of_refused_lines_only_imports_nothing_and_says_why(coop: Coop, home: Home) -> None:
    before = home.status().events
    with pytest.raises(BadInput, match="line 1") as caught:
        home.import_events(lines(coop, {"kind": "no.such", "body": {}}))
    assert "each line" in caught.value.hint
    assert home.status().events == before


def test_missing_files_are_wrong_usage(coop: Coop, home: Home) -> None:
    for path in (coop.place / "missing", coop.place):
        with pytest.raises(UsageError) as caught:
            home.import_events(path)
        assert caught.value.code == "bad_file"


def test_the_refusals_listed_are_bounded(
    coop: Coop, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "MAX_REFUSALS_LISTED", 3)
    done = home.import_events(lines(coop, GOOD, *([b"bad"] * 10)))
    assert (done.events, len(done.refused)) == (1, 3)


# Out.


def test_every_event_is_exported_with_its_status(stage: Ready) -> None:
    out = stage.coop.file("jsonl")
    done = stage.coop["bert"].export_events(out)
    shown = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(shown) == done.events == stage.coop["bert"].status().events
    by_id = {item["event_id"]: item for item in shown}
    assert by_id[stage.harbour]["body"]["title"] == "harbour"
    assert (by_id[stage.harbour]["status"], by_id[stage.harbour]["epoch"]) == ("final", 1)


def test_what_was_exported_can_be_imported_elsewhere(coop: Coop, home: Home) -> None:
    for number in range(3):
        home.datanet_create(f"net {number} — ünïcode", "d", "MIT")
    out = coop.file("jsonl")
    home.export_events(out)
    kept = [line for line in out.read_bytes().splitlines() if b"datanet.create" in line]
    coop.join("alice")
    assert coop["alice"].import_events(lines(coop, *kept)).events == 3
    assert [item.name for item in coop["alice"].datanet_list().datanets] == [
        item.name for item in home.datanet_list().datanets
    ]


def test_the_table_has_a_row_for_each_event(stage: Ready) -> None:
    out = stage.coop.file("csv")
    done = stage.coop["bert"].export_events(out, "csv")
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == done.events
    (row,) = [row for row in rows if row["event_id"] == stage.harbour]
    assert json.loads(row["body"])["title"] == "harbour"


def test_a_kind_that_is_a_formula_is_text_in_the_table(coop: Coop, home: Home) -> None:
    from openledger_node.store.writer import Draft

    home.core.append([Draft("=1+1", ("x",), 1)])
    out = coop.file("csv")
    home.export_events(out, "csv")
    with out.open(newline="", encoding="utf-8") as file:
        assert [row["kind"] for row in csv.DictReader(file)][-1] == "'=1+1"


def test_an_export_is_never_written_over_a_file(coop: Coop, home: Home) -> None:
    path = coop.write("taken", "mine")
    with pytest.raises(UsageError, match="exists already"):
        home.export_events(path)
    assert path.read_text() == "mine"
    with pytest.raises(UsageError, match="no export format"):
        home.export_events(coop.place / "x", "xml")
    with pytest.raises(UsageError, match="cannot write"):
        home.export_events(coop.place / "no" / "folder")


def test_an_export_that_fails_leaves_no_half_of_a_file(
    coop: Coop, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jsonl, "shown", full)
    out = coop.file("jsonl")
    with pytest.raises(StoreUnavailable, match="No space left"):
        home.export_events(out)
    assert not out.exists()
