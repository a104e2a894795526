"""Founding a ledger together: files that go around, honest ones and others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openledger_node import api
from openledger_node.ledger.errors import BadInput, OlnError, Refused, UsageError
from openledger_node.ledger.genesis import Genesis
from openledger_node.node import ceremony, founding, setup
from openledger_node.node.ceremony import MAX_CEREMONY_FILE_BYTES

NAMES = ["ana", "bo", "cy", "di"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an invitation."""
    api.witness_invite(tmp_path / "river.invite", "River co-op")
    return tmp_path


def offer(place: Path, name: str, invitation: str = "river.invite") -> Path:
    seat = place / f"{name}.seat"
    api.witness_offer(place / name, place / invitation, seat, name)
    return seat


def genesis_of(place: Path, seats: list[Path], name: str = "genesis.json") -> Genesis:
    api.witness_found(place / "river.invite", seats, place / name)
    return founding.read_genesis_file(place / name)


def rewritten(file: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    document = json.loads(file.read_text())
    change(document)
    other = file.with_name(f"other-{file.name}")
    other.write_text(json.dumps(document))
    return other


@pytest.mark.rule("B1", "B2")
def test_four_found_a_ledger_and_hold_the_same_genesis(place: Path) -> None:
    seats = [offer(place, name) for name in NAMES]
    founded = api.witness_found(place / "river.invite", seats, place / "genesis.json")
    assert sorted(name for name, _ in founded.seats) == NAMES
    begun = [api.witness_begin(place / name, place / "genesis.json") for name in NAMES]
    assert {home.ledger_id for home in begun} == {founded.ledger_id}
    for name in NAMES:
        with api.open_home(place / name) as home:
            shown = home.witness_status()
            assert (len(shown.witnesses), shown.quorum) == (4, 3)
            assert [seat.own for seat in shown.witnesses].count(True) == 1
            assert home.status().name == name


@pytest.mark.rule("B2")
def test_the_same_seat_files_make_the_same_genesis_in_any_order(place: Path) -> None:
    seats = [offer(place, name) for name in NAMES]
    one = genesis_of(place, seats)
    assert genesis_of(place, seats[::-1], "again.json") == one
    assert one.ledger_id == genesis_of(place, seats[2:] + seats[:2], "third.json").ledger_id


def test_a_home_that_waits_says_what_it_waits_for(place: Path) -> None:
    offer(place, "ana")
    with pytest.raises(UsageError) as caught:
        api.open_home(place / "ana")
    assert caught.value.code == "waits" and "witness join" in caught.value.hint
    assert not (place / "ana" / "ledger").exists()
    assert oct((place / "ana" / "keys" / "device.key").stat().st_mode)[-3:] == "600"


def test_no_secret_is_in_a_seat_file(place: Path) -> None:
    text = offer(place, "ana").read_text()
    for role in ("device", "root", "transport"):
        secret = json.loads((place / "ana" / "keys" / f"{role}.key").read_text())
        values = [value for value in secret.values() if isinstance(value, str) and len(value) > 40]
        public = {value for value in values if value in text}
        assert len(public) <= 1, f"{role}: at most its public half"


@pytest.mark.parametrize("what", ["name", "params", "digest"])
def test_an_invitation_that_shows_people_other_figures_is_refused(place: Path, what: str) -> None:
    def lie(document: dict[str, Any]) -> None:
        if what == "params":
            document["params"]["network_fee_bp"] = 1
        else:
            document[what] = "another"

    other = rewritten(place / "river.invite", lie)
    with pytest.raises(BadInput, match="other figures"):
        ceremony.read_invitation(other)


@pytest.mark.parametrize(
    "what", ["device", "inception", "device_signature", "root_signature", "account", "invitation"]
)
def test_a_seat_file_with_something_of_another_s_is_refused(place: Path, what: str) -> None:
    mine, theirs = offer(place, "ana"), offer(place, "bo")
    foreign = json.loads(theirs.read_text())[what] if what != "invitation" else "00" * 32
    forged = rewritten(mine, lambda document: document.update({what: foreign}))
    with pytest.raises(OlnError):
        genesis_of(place, [forged, theirs])
    assert not (place / "genesis.json").exists()


@pytest.mark.parametrize(
    "evil",
    [b"", b"{}", b"[]", b"\xff\xfe", b'{"openledger": "witness-seat", "version": 2}', b"[" * 9_000],
)
def test_files_that_are_something_else_are_refused(place: Path, evil: bytes) -> None:
    file = place / "evil"
    file.write_bytes(evil)
    for read in (
        lambda: ceremony.read_invitation(file),
        lambda: api.witness_found(place / "river.invite", [file], place / "g.json"),
        lambda: api.witness_begin(place / "nobody", file),
    ):
        with pytest.raises(OlnError):
            read()


def test_a_file_past_its_limit_is_refused(place: Path) -> None:
    file = place / "long"
    file.write_bytes(b'{"openledger": "' + b"x" * MAX_CEREMONY_FILE_BYTES + b'"}')
    with pytest.raises(OlnError):
        ceremony.read_invitation(file)


def test_one_seat_twice_and_no_seat_and_too_many_are_refused(place: Path) -> None:
    seat = offer(place, "ana")
    with pytest.raises(BadInput, match="of one account"):
        genesis_of(place, [seat, seat])
    with pytest.raises(UsageError, match="1 to 31"):
        genesis_of(place, [])
    with pytest.raises(UsageError, match="1 to 31"):
        genesis_of(place, [seat] * 32)


def test_a_genesis_without_one_s_seat_or_with_other_params_is_not_begun(place: Path) -> None:
    seats = [offer(place, name) for name in NAMES]
    genesis_of(place, seats[1:], "without.json")
    with pytest.raises(Refused) as caught:
        api.witness_begin(place / "ana", place / "without.json")
    assert caught.value.code == "not_a_seat"
    genesis = genesis_of(place, seats)
    import msgspec

    for change in (
        {"name": "Another"},
        {"salt": bytes(16)},
        {"issuers": genesis.issuers[:1]},
        {"seats": genesis.seats[::-1]},
        {"params": msgspec.structs.replace(genesis.params, network_fee_bp=9_999)},
    ):
        other = msgspec.structs.replace(genesis, **change)
        (place / "x.json").write_text(founding.genesis_document(other))
        with pytest.raises(Refused) as caught:
            api.witness_begin(place / "ana", place / "x.json")
        assert caught.value.code == "other_invitation"
    api.witness_begin(place / "ana", place / "genesis.json")
    with pytest.raises(Refused) as caught:
        api.witness_begin(place / "ana", place / "genesis.json")
    assert caught.value.code == "home_exists"


def test_a_beginning_that_fails_leaves_the_home_waiting(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis_of(place, [offer(place, "ana")])

    def broken(*_: Any) -> bytes:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(setup, "begin_ledger", broken)
        with pytest.raises(OSError):
            api.witness_begin(place / "ana", place / "genesis.json")
    assert sorted(item.name for item in place.iterdir() if "begin" in item.name) == []
    assert api.witness_begin(place / "ana", place / "genesis.json").solo


def test_params_come_from_the_invitation(tmp_path: Path) -> None:
    params = tmp_path / "params.toml"
    params.write_text("network_fee_bp = 250\nmaturity_epochs = 2\n")
    api.witness_invite(tmp_path / "river.invite", "River", params)
    genesis = genesis_of(tmp_path, [offer(tmp_path, "ana")])
    assert (genesis.params.network_fee_bp, genesis.params.maturity_epochs) == (250, 2)
    assert genesis.name == "River"
    with pytest.raises(UsageError, match="exists"):
        api.witness_invite(tmp_path / "river.invite", "River", params)
    with pytest.raises(UsageError, match="printable"):
        api.witness_invite(tmp_path / "x.invite", "\n")


def old_ledger(place: Path) -> tuple[str, str]:
    """A ledger of one with a final epoch: its id and the root of its last statement."""
    api.initialise(place / "old", name="old")
    with api.open_home(place / "old") as home:
        home.issue(1_000_000, "old")
        closed = home.epoch_close()
        api.witness_invite(place / "new.invite", "New co-op", succeeds=home)
        return home.status().ledger_id, closed.statement_root


@pytest.mark.rule("A11")
def test_a_new_ledger_is_bound_to_the_last_statement_of_an_old_one(tmp_path: Path) -> None:
    ledger_id, root = old_ledger(tmp_path)
    seats = [offer(tmp_path, name, "new.invite") for name in NAMES]
    api.witness_found(tmp_path / "new.invite", seats, tmp_path / "genesis.json")
    api.witness_begin(tmp_path / "ana", tmp_path / "genesis.json")
    api.initialise(tmp_path / "eve", name="eve", genesis_file=tmp_path / "genesis.json")
    for name in ("ana", "eve"):
        with api.open_home(tmp_path / name) as home:
            said = home.ledger_show().rules["succeeds"]
            assert (said["ledger_id"], said["epoch"], said["statement_root"]) == (
                ledger_id,
                1,
                root,
            )
            home.ledger_export(tmp_path / f"{name}.json")
        assert (tmp_path / f"{name}.json").read_text() == (tmp_path / "genesis.json").read_text()


@pytest.mark.rule("A11")
@pytest.mark.parametrize("what", ["ledger_id", "epoch", "statement_root", "nonce"])
@pytest.mark.parametrize("file", ["new.invite", "genesis.json"])
def test_another_end_than_the_one_that_the_salt_is_bound_to_is_refused(
    tmp_path: Path, what: str, file: str
) -> None:
    old_ledger(tmp_path)
    seats = [offer(tmp_path, name, "new.invite") for name in NAMES]
    api.witness_found(tmp_path / "new.invite", seats, tmp_path / "genesis.json")

    def lie(document: dict[str, Any]) -> None:
        true = document["succeeds"][what]
        document["succeeds"][what] = 2 if what == "epoch" else "00" * (len(true) // 2)

    forged = rewritten(tmp_path / file, lie)
    with pytest.raises(BadInput, match="salt"):
        if file == "genesis.json":
            founding.read_genesis_file(forged)
        else:
            ceremony.read_invitation(forged)


def test_a_ledger_without_a_final_epoch_has_no_end_to_go_on_from(tmp_path: Path) -> None:
    api.initialise(tmp_path / "old", name="old")
    with api.open_home(tmp_path / "old") as home, pytest.raises(Refused, match="no epoch"):
        api.witness_invite(tmp_path / "new.invite", "New", succeeds=home)
