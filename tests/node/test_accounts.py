"""Accounts and devices: petnames, rotation, second devices, recovery; what thieves cannot do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from openledger_node.api import device_join, initialise, open_home
from openledger_node.ledger.errors import BadInput, OlnError, Refused, UsageError
from openledger_node.node import keyfiles
from tests.kit.homes import GRANTED_MICRO, WITNESS, Coop, ready, words


@pytest.fixture
def alice(coop: Coop) -> Coop:
    """alice has a home whose account is final."""
    coop.join("alice")
    coop.settle()
    return coop


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def root_key(coop: Coop, name: str) -> str:
    return str(json.loads((coop.place / name / "keys" / "root.key").read_text())["public"])


def test_an_account_shows_the_grants_that_it_made_or_may_draw_on(tmp_path: Path) -> None:
    made = ready(tmp_path)
    with made.coop as coop:
        for name, called in (("user", "user"), ("maker", "maker")):
            (grant,) = coop[name].account_show().grants
            assert (grant.grant_id, grant.expiry_epoch) == (made.grant, 10)
            assert (grant.remaining_micro, grant.amount_micro) == (GRANTED_MICRO, GRANTED_MICRO)
            assert called in (grant.payer, grant.provider)
        assert coop["alice"].account_show().grants == ()
        made.use(words("harbour", 20), GRANTED_MICRO)
        coop.settle()
        assert coop["maker"].account_show().grants == (), "nothing is left of it"


# Beginning.


def test_a_new_home_has_its_keys_and_recovery_file_closed_to_others(coop: Coop) -> None:
    place = coop.place / WITNESS
    assert mode(place) == 0o700
    for name in ("device", "root", "transport"):
        assert mode(place / "keys" / f"{name}.key") == 0o600
    assert mode(coop.recovery[WITNESS]) == 0o600
    assert coop.recovery[WITNESS].parent == place
    secrets = {
        json.loads((place / "keys" / f"{name}.key").read_text())["secret"]
        for name in ("device", "root", "transport")
    } | {json.loads(coop.recovery[WITNESS].read_text())["next_root"]["secret"]}
    assert len(secrets) == 4


def test_a_home_is_never_begun_over_anything(coop: Coop) -> None:
    full = coop.place / "full"
    full.mkdir()
    (full / "file").write_text("mine")
    dangling = coop.place / "dangling"
    dangling.symlink_to(coop.place / "nowhere")
    for place, code in (
        (coop.place / WITNESS, "home_exists"),
        (full, "home_not_empty"),
        (full / "file", "usage"),
        (dangling, "usage"),
    ):
        with pytest.raises(OlnError) as caught:
            initialise(place, name="x")
        assert caught.value.code == code
    assert (full / "file").read_text() == "mine"
    assert not list(coop.place.glob("*.init-*"))


def test_a_home_that_cannot_be_finished_leaves_nothing(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openledger_node.node import setup

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "move_into_place", fail)
    with pytest.raises(KeyboardInterrupt):
        initialise(coop.place / "unborn")
    assert not list(coop.place.glob("unborn*"))


def test_opening_what_is_no_home_makes_no_state(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_home(tmp_path / "nothing")
    assert caught.value.code == "no_home"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense = 1\n", "unknown param 'nonsense'"),
        ("network_fee_bp = 10001\n", "."),
        ("network_fee_bp = '5'\n", "."),
        ("role_bp = [1, 2, 3]\n", "."),
        ("maturity_epochs = -1\n", "."),
        ("maturity_epochs = nan\n", "."),
        ("commons_accounts = ['xyz']\n", "."),
        ("commons_accounts = [7]\n", "."),
        ("not toml", "not TOML"),
        ("x = " + "[" * 20_000, "not TOML"),
        ("x = " + "1" * 5_000, "not TOML"),
        ("x = '" + "y" * 70_000 + "'", "more than"),
    ],
)
def test_params_that_do_not_fit_are_wrong_usage(tmp_path: Path, text: str, reason: str) -> None:
    params = tmp_path / "params.toml"
    params.write_text(text)
    with pytest.raises(UsageError, match=reason):
        initialise(tmp_path / "home", params_file=params)
    assert not (tmp_path / "home").exists()


def test_params_of_the_file_are_in_the_rules(tmp_path: Path) -> None:
    params = "network_fee_bp = 250\nmaturity_epochs = 3\nunattributed = 'trained_on'\n"
    with Coop(tmp_path, params=params + "commons_accounts = ['own']\n") as coop:
        rules = coop[WITNESS].ledger_show().rules
        assert (rules["network_fee_bp"], rules["maturity_epochs"]) == (250, 3)
        assert rules["unattributed"] == "trained_on"
        assert rules["commons_accounts"] == [coop.ids[WITNESS]]


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 129, "two\nlines", "\x1b[31mred", "\u202e", "\udcff"]
)
def test_a_ledger_is_not_begun_under_a_name_that_would_have_to_be_cut_or_mended(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="printable"):
        initialise(tmp_path / "home", ledger_name=name)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_joined_has_its_name(coop: Coop, tmp_path: Path) -> None:
    coop[WITNESS].ledger_export(tmp_path / "its.json")
    with pytest.raises(UsageError, match="in its genesis"):
        initialise(tmp_path / "home", genesis_file=tmp_path / "its.json", ledger_name="mine")


@pytest.mark.parametrize("name", ["x" * 65, "two\nlines", "acct-abcd", " "])
def test_a_home_is_not_begun_under_a_name_that_is_no_petname(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="petname"):
        initialise(tmp_path / "home", name=name)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "7", "null", '{"openledger": "genesis", "version": 2}', "\xff", "[" * 5000],
)
def test_a_file_that_is_no_genesis_is_refused(tmp_path: Path, content: str) -> None:
    genesis = tmp_path / "genesis.json"
    genesis.write_text(content, encoding="latin-1")
    with pytest.raises(BadInput):
        initialise(tmp_path / "home", genesis_file=genesis)
    with pytest.raises(UsageError):
        initialise(tmp_path / "home", genesis_file=tmp_path / "missing")
    assert not (tmp_path / "home").exists()


def test_a_genesis_that_states_another_ledger_id_is_refused(coop: Coop) -> None:
    document = json.loads(coop.genesis.read_text())
    document["ledger_id"] = "00" * 32
    forged = coop.write("forged.json", json.dumps(document))
    with pytest.raises(BadInput, match="another ledger id"):
        initialise(coop.place / "home", genesis_file=forged)


# Names.


def test_a_petname_stands_for_its_account_everywhere(alice: Coop) -> None:
    home = alice[WITNESS]
    shown = home.account_name(alice.ids["alice"], "Alice & co")
    assert shown.name == "Alice & co"
    home.issue(5, "Alice & co")
    assert home.credits("Alice & co").accounts[0].balance_micro == 5
    assert [account.name for account in home.account_list().accounts] == ["coop", "Alice & co"]
    assert alice["alice"].account_show(alice.ids["alice"]).name == "alice"


@pytest.mark.parametrize("petname", ["", "  ", "x" * 65, "a\tb", "a\x1b[31m", "ACCT-x"])
def test_a_petname_that_could_mislead_is_refused(alice: Coop, petname: str) -> None:
    with pytest.raises(UsageError, match="petname"):
        alice[WITNESS].account_name(alice.ids["alice"], petname)


def test_a_petname_names_one_account(alice: Coop) -> None:
    with pytest.raises(UsageError, match="already names"):
        alice[WITNESS].account_name(alice.ids["alice"], "coop")


# Rotation.


@pytest.mark.rule("K4")
def test_rotating_uses_the_recovery_file_and_writes_the_next_one(alice: Coop) -> None:
    before = root_key(alice, "alice")
    fresh = alice.place / "fresh.json"
    alice["alice"].account_rotate(alice.recovery["alice"], fresh)
    assert root_key(alice, "alice") != before
    assert mode(fresh) == 0o600
    alice.settle()
    assert alice[WITNESS].account_show(alice.ids["alice"]).key_events == 2
    again = alice.place / "again.json"
    alice["alice"].account_rotate(fresh, again)
    alice.settle()
    assert alice[WITNESS].account_show(alice.ids["alice"]).key_events == 3
    # The account works as before: the new root key enrols a device.
    alice["alice"].device_invite(alice.place / "invitation")
    alice.settle()
    assert len(alice[WITNESS].account_show(alice.ids["alice"]).devices) == 2


@pytest.mark.rule("K3")
def test_a_stolen_root_key_cannot_rotate(alice: Coop) -> None:
    home = alice["alice"]
    stolen = home.core.key("root")
    document = json.loads(alice.recovery["alice"].read_text())
    document["next_root"] = keyfiles.key_document("next_root", stolen, None)
    forged = alice.write("forged.json", json.dumps(document))
    before = home.status().events
    with pytest.raises(Refused, match="rotation would be void") as caught:
        home.account_rotate(forged, alice.place / "out.json")
    assert caught.value.code == "K4"
    assert home.status().events == before
    assert not (alice.place / "out.json").exists()


@pytest.mark.rule("K3")
def test_a_used_recovery_file_does_not_rotate_again(alice: Coop) -> None:
    alice["alice"].account_rotate(alice.recovery["alice"], alice.place / "one.json")
    with pytest.raises(Refused, match="rotation would be void"):
        alice["alice"].account_rotate(alice.recovery["alice"], alice.place / "two.json")
    assert not (alice.place / "two.json").exists()


def test_a_recovery_file_of_another_account_is_refused(alice: Coop) -> None:
    with pytest.raises(Refused, match="belongs to account"):
        alice["alice"].account_rotate(alice.recovery[WITNESS], alice.place / "out.json")


def test_a_new_recovery_file_is_never_written_over_another(alice: Coop) -> None:
    before = alice.recovery["alice"].read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        alice["alice"].account_rotate(alice.recovery["alice"], alice.recovery["alice"])
    assert alice.recovery["alice"].read_bytes() == before
    alice["alice"].account_rotate(alice.recovery["alice"], alice.place / "out.json")


@pytest.mark.parametrize(
    "change",
    [
        {"openledger": "key"},
        {"version": 2},
        {"account_id": "zz"},
        {"account_id": None},
        {"inception": "00"},
        {"next_root": None},
        {"next_root": {}},
        {"next_root": []},
    ],
)
def test_a_malformed_recovery_file_is_bad_input(alice: Coop, change: dict[str, object]) -> None:
    document = json.loads(alice.recovery["alice"].read_text()) | change
    path = alice.write("recovery.json", json.dumps(document))
    with pytest.raises(BadInput):
        alice["alice"].account_rotate(path, alice.place / "out.json")
    assert not (alice.place / "out.json").exists()


def test_the_seat_goes_on_after_its_account_rotated(coop: Coop) -> None:
    coop[WITNESS].account_rotate(coop.recovery[WITNESS], coop.place / "new.json")
    assert coop[WITNESS].epoch_close().closed
    coop[WITNESS].datanet_create("after")
    assert coop[WITNESS].epoch_close().closed


# Second devices.


def test_a_second_device_writes_for_the_account(alice: Coop) -> None:
    invitation = alice.place / "invitation.json"
    alice["alice"].device_invite(invitation)
    assert mode(invitation) == 0o600
    alice.settle()
    joined = device_join(alice.place / "laptop", invitation, clock_ms=alice.clock)
    alice.ids["laptop"] = joined.account_id
    assert joined.account_id == alice.ids["alice"]
    alice.carry(WITNESS, "laptop")
    made = alice["laptop"].datanet_create("from the laptop")
    alice.settle()
    assert alice[WITNESS].datanet_show(made.datanet_id).status == "final"
    assert alice[WITNESS].datanet_show(made.datanet_id).account_id == alice.ids["alice"]
    devices = alice["laptop"].device_list().devices
    assert [(item.own, item.retired) for item in devices] == [(True, False), (False, False)]
    assert all(item.did.startswith("did:key:z") for item in devices)


def test_what_a_device_wrote_before_its_enrolment_is_final_counts_afterwards(
    alice: Coop,
) -> None:
    invitation = alice.place / "invitation.json"
    alice["alice"].device_invite(invitation)
    device_join(alice.place / "laptop", invitation, clock_ms=alice.clock)
    alice.ids["laptop"] = alice.ids["alice"]
    made = alice["laptop"].core.append_one("datanet.create", _datanet("early"))
    alice.carry("laptop", WITNESS)
    alice[WITNESS].epoch_close()
    assert alice[WITNESS].show(made.event_id).status == "unread"
    alice.settle()
    assert alice[WITNESS].show(made.event_id).status == "final"


def test_an_invitation_is_joined_into_an_empty_place_only(alice: Coop) -> None:
    invitation = alice.place / "invitation.json"
    alice["alice"].device_invite(invitation)
    with pytest.raises(Refused) as caught:
        device_join(alice.place / "alice", invitation)
    assert caught.value.code == "home_exists"
    with pytest.raises(UsageError, match="exists already"):
        alice["alice"].device_invite(invitation)


def test_a_device_without_the_root_key_enrols_nobody(alice: Coop) -> None:
    invitation = alice.place / "invitation.json"
    alice["alice"].device_invite(invitation)
    device_join(alice.place / "laptop", invitation, clock_ms=alice.clock)
    alice.ids["laptop"] = alice.ids["alice"]
    alice.carry("alice", "laptop")
    with pytest.raises(OlnError, match="root"):
        alice["laptop"].device_invite(alice.place / "another.json")
    assert not (alice.place / "another.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"openledger": "recovery"},
        {"version": "1"},
        {"genesis": "00"},
        {"genesis": 7},
        {"account_id": []},
        {"account_id": "aa"},
        {"device": {}},
        {"device": "x"},
    ],
)
def test_a_malformed_invitation_makes_no_home(alice: Coop, change: dict[str, object]) -> None:
    invitation = alice.place / "invitation.json"
    alice["alice"].device_invite(invitation)
    document = json.loads(invitation.read_text()) | change
    invitation.write_text(json.dumps(document))
    with pytest.raises(BadInput):
        device_join(alice.place / "laptop", invitation)
    assert not (alice.place / "laptop").exists()


@pytest.mark.rule("K4")
def test_a_retired_device_writes_no_more(alice: Coop) -> None:
    invitation = alice.place / "invitation.json"
    alice["alice"].device_invite(invitation)
    device_join(alice.place / "laptop", invitation, clock_ms=alice.clock)
    alice.ids["laptop"] = alice.ids["alice"]
    alice.carry("alice", "laptop")
    kept = alice["laptop"].datanet_create("before it was lost")
    alice.settle()
    device = alice["laptop"].core.device.hex()
    alice["alice"].device_retire(device[:12])
    alice.settle()
    lost = alice["laptop"].core.append_one("datanet.create", _datanet("after it was lost"))
    alice.settle()
    assert alice[WITNESS].show(kept.datanet_id).status == "final"
    # The cut stops at the retirement: what came later never becomes part of it.
    assert alice[WITNESS].show(lost.event_id).status == "pending"
    assert [item.retired for item in alice["alice"].device_list().devices] == [False, True]
    with pytest.raises(Refused):
        alice["alice"].device_retire(device)


def test_a_device_cannot_retire_itself_nor_one_it_does_not_know(alice: Coop) -> None:
    home = alice["alice"]
    (own,) = home.device_list().devices
    for text in (own.device, own.did):
        with pytest.raises(Refused, match="cannot retire itself"):
            home.device_retire(text)
    with pytest.raises(UsageError, match="no device of this account begins"):
        home.device_retire("ff" * 32)
    for text in ("", own.device[:7]):
        with pytest.raises(UsageError) as caught:
            home.device_retire(text)
        assert caught.value.code == "bad_id"
    with pytest.raises(BadInput):
        home.device_retire("did:key:zzz")


# Recovery.


def test_a_lost_machine_is_recovered_on_a_fresh_home(alice: Coop) -> None:
    named = alice.add_text("alice", "poems", words("poem", 30))
    alice[WITNESS].issue(7, alice.ids["alice"])
    alice.settle()
    kept = alice.place / "kept.json"
    shutil.copy(alice.recovery["alice"], kept)
    alice.shut("alice")
    shutil.rmtree(alice.place / "alice")
    lost = alice.ids.pop("alice")
    alice.join("fresh")
    alice.carry(WITNESS, "fresh")
    alice["fresh"].account_recover(kept, alice.place / "next.json")
    assert alice["fresh"].status().account_id == lost
    alice.ids["fresh"] = lost
    alice.settle()
    alice["fresh"].data_withdraw(named)
    alice["fresh"].transfer(7, alice.ids[WITNESS])
    alice.settle()
    assert alice[WITNESS].data_show(named).status == "withdrawn"
    assert alice[WITNESS].credits(alice.ids[WITNESS]).accounts[0].balance_micro == 7
    shown = alice["fresh"].account_show()
    assert (shown.own, shown.key_events, len(shown.devices)) == (True, 3, 2)
    # The lost machine can be retired now.
    (old,) = [item for item in alice["fresh"].device_list().devices if not item.own]
    alice["fresh"].device_retire(old.device)
    alice.settle()
    assert len(alice[WITNESS].account_show(lost).devices) == 1


def test_recovery_needs_the_accounts_logs(alice: Coop) -> None:
    alice.join("fresh")
    with pytest.raises(Refused, match="not created in any log held here"):
        alice["fresh"].account_recover(alice.recovery["alice"], alice.place / "next.json")
    assert not (alice.place / "next.json").exists()


def test_recovery_with_an_outdated_file_is_refused(alice: Coop) -> None:
    alice["alice"].account_rotate(alice.recovery["alice"], alice.place / "newer.json")
    alice.settle()
    alice.join("fresh")
    alice.carry(WITNESS, "fresh")
    with pytest.raises(Refused, match="recovery would be void"):
        alice["fresh"].account_recover(alice.recovery["alice"], alice.place / "next.json")
    assert alice["fresh"].status().account_id == alice.ids["fresh"]
    alice["fresh"].account_recover(alice.place / "newer.json", alice.place / "next.json")


# Passphrases.


def test_a_home_with_a_passphrase_keeps_no_secret_in_the_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyfiles, "ARGON2_MEMORY_KIB", 64)
    monkeypatch.setattr(keyfiles, "ARGON2_PASSES", 1)
    place = tmp_path / "home"
    initialise(place, name="sealed", passphrase=b"correct horse")
    for path in place.rglob("*"):
        if path.is_file():
            assert b'"secret"' not in path.read_bytes()
    with open_home(place, passphrase=b"correct horse") as home:
        home.datanet_create("written")
    with open_home(place, passphrase=b"wrong") as home:
        assert home.status().events == 3  # reading needs no key
        with pytest.raises(UsageError) as caught:
            home.datanet_create("not written")
        assert caught.value.code == "passphrase_wrong"
    with open_home(place) as home:
        with pytest.raises(UsageError) as caught:
            home.datanet_create("not written")
        assert caught.value.code == "passphrase_needed"
        assert home.status().events == 3


def _datanet(name: str) -> object:
    from openledger_node.ledger.kinds import DatanetCreate

    return DatanetCreate(name, "", "")
