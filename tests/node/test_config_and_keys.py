"""Settings and secret keys at rest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from openledger_node.ledger.errors import (
    BadInput,
    OlnError,
    StoreDamaged,
    StoreUnavailable,
    UsageError,
)
from openledger_node.ledger.keys import SigningKey
from openledger_node.node import keyfiles
from openledger_node.node.config import SETTINGS, attribute_of, load_config

KEY = SigningKey(bytes(range(32)))


# Settings.


def loaded(place: Path, text: str) -> Any:
    path = place / "node.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(path)


def test_without_a_file_every_setting_has_its_default(tmp_path: Path) -> None:
    config = load_config(tmp_path / "node.toml")
    for key, setting in SETTINGS.items():
        assert getattr(config, attribute_of(key)) == setting.default


def test_settings_of_the_file_win(tmp_path: Path) -> None:
    config = loaded(tmp_path, "[store]\nflush_events = 1\n[epoch]\nauto_close = false\n")
    assert (config.flush_events, config.auto_close, config.output_bytes) == (1, False, 4 * 2**20)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[store]\nflush_event = 1\n", "store.flush_events"),
        ("[epoch]\nautoclose = true\n", "epoch.auto_close"),
        ("auto_close = true\n", "epoch.auto_close"),
        ("[limit]\noutput_bytes = 1\n", "limits.output_bytes"),
        ("[money]\ngrant_expiry = 1\n", "money.grant_expiry_epochs"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(
    tmp_path: Path, text: str, nearest: str
) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, text)
    assert caught.value.code == "unknown_setting"
    assert repr(nearest) in caught.value.hint


@pytest.mark.parametrize("key", [k for k, s in SETTINGS.items() if type(s.default) is int])
def test_each_number_has_its_bounds(tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    setting = SETTINGS[key]
    for value in (setting.lowest, setting.highest):
        config = loaded(tmp_path, f"[{section}]\n{name} = {value}\n")
        assert getattr(config, attribute_of(key)) == value
    for value in (setting.lowest - 1, setting.highest + 1):
        with pytest.raises(UsageError, match="out of bounds") as caught:
            loaded(tmp_path, f"[{section}]\n{name} = {value}\n")
        assert setting.unit in caught.value.hint


@pytest.mark.parametrize("value", ["'5'", "5.0", "true", "nan", "[5]", "{}", "2024-01-01"])
def test_a_number_takes_nothing_but_a_whole_number(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="must be a whole number"):
        loaded(tmp_path, f"[store]\nflush_events = {value}\n")


@pytest.mark.parametrize("key", [k for k, s in SETTINGS.items() if s.choices])
def test_a_choice_is_one_of_its_words(tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    for choice in SETTINGS[key].choices:
        config = loaded(tmp_path, f"[{section}]\n{name} = {choice!r}\n")
        assert getattr(config, attribute_of(key)) == choice
    with pytest.raises(UsageError, match="is not known") as caught:
        loaded(tmp_path, f"[{section}]\n{name} = 'perhaps'\n")
    assert SETTINGS[key].choices[0] in caught.value.hint


@pytest.mark.parametrize("key", [k for k, s in SETTINGS.items() if type(s.default) is tuple])
def test_a_list_holds_texts_of_bounded_length_and_number(tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    config = loaded(tmp_path, f"[{section}]\n{name} = ['a', 'b']\n")
    assert getattr(config, attribute_of(key)) == ("a", "b")
    for value in ("'a'", "[1]", "['" + "x" * 513 + "']", "[" + "'a'," * 10_001 + "]"):
        with pytest.raises(UsageError, match=r"must be a list of texts|more than"):
            loaded(tmp_path, f"[{section}]\n{name} = {value}\n")


def test_a_text_is_one_line_of_bounded_length(tmp_path: Path) -> None:
    for value in ("'" + "x" * 513 + "'", '"a\\nb"'):
        with pytest.raises(UsageError, match="one line"):
            loaded(tmp_path, f"[node]\nlisten = {value}\n")


@pytest.mark.parametrize("value", ["1", "'true'", "0"])
def test_a_switch_takes_nothing_but_true_and_false(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match="must be true or false"):
        loaded(tmp_path, f"[epoch]\nauto_close = {value}\n")


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    for text in ("[store", "= 1", "\0", "a = " + "[" * 20_000, "a = " + "1" * 5_000):
        with pytest.raises(UsageError, match="not TOML"):
            loaded(tmp_path, text)
    (tmp_path / "node.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not TOML"):
        load_config(tmp_path / "node.toml")
    (tmp_path / "node.toml").write_bytes(b"#" * 70_000)
    with pytest.raises(UsageError, match="more than"):
        load_config(tmp_path / "node.toml")
    (tmp_path / "node.toml").unlink()
    (tmp_path / "node.toml").mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        load_config(tmp_path / "node.toml")
    (tmp_path / "node.toml").rmdir()
    os.mkfifo(tmp_path / "node.toml")
    with pytest.raises(UsageError, match="is not a file"):
        load_config(tmp_path / "node.toml")


# Keys.


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id with little memory: its strength is not what is tested here."""
    monkeypatch.setattr(keyfiles, "ARGON2_MEMORY_KIB", 64)
    monkeypatch.setattr(keyfiles, "ARGON2_PASSES", 1)


def test_the_cost_of_opening_a_sealed_key_is_that_of_the_page() -> None:
    assert (keyfiles.ARGON2_MEMORY_KIB, keyfiles.ARGON2_PASSES) == (64 * 1024, 3)


def test_a_key_file_is_read_back_and_closed_to_others(tmp_path: Path) -> None:
    path = keyfiles.save_key(tmp_path / "keys", "device", KEY, None)
    assert keyfiles.load_key(tmp_path / "keys", "device", None).seed == KEY.seed
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    with pytest.raises(UsageError, match="exists already"):
        keyfiles.save_key(tmp_path / "keys", "device", KEY, None)


@pytest.mark.usefixtures("cheap")
def test_a_sealed_key_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    path = keyfiles.save_key(tmp_path, "device", KEY, b"correct horse")
    assert KEY.seed.hex() not in path.read_text()
    assert keyfiles.load_key(tmp_path, "device", b"correct horse").seed == KEY.seed
    for passphrase, code in ((b"wrong", "passphrase_wrong"), (None, "passphrase_needed")):
        with pytest.raises(UsageError) as caught:
            keyfiles.load_key(tmp_path, "device", passphrase)
        assert caught.value.code == code


@pytest.mark.usefixtures("cheap")
def test_two_seals_of_one_key_have_nothing_in_common() -> None:
    sealed = [keyfiles.key_document("root", KEY, b"x")["sealed"] for _ in range(2)]
    assert all(sealed[0][name] != sealed[1][name] for name in ("salt", "nonce", "box"))


@pytest.mark.usefixtures("cheap")
def test_a_sealed_key_altered_anywhere_does_not_open(tmp_path: Path) -> None:
    document = keyfiles.key_document("device", KEY, b"x")
    for name in ("salt", "nonce", "box"):
        raw = bytearray.fromhex(document["sealed"][name])
        raw[0] ^= 1
        for value in (raw.hex(), raw[:-1].hex(), "", "zz", 7, None):
            evil = document | {"sealed": document["sealed"] | {name: value}}
            with pytest.raises(OlnError):
                keyfiles.key_from_document(evil, "device", b"x")
    other = SigningKey(bytes(32)).public.raw.hex()
    with pytest.raises(UsageError):
        keyfiles.key_from_document(document | {"public": other}, "device", b"x")


@pytest.mark.parametrize(
    "change",
    [
        {"openledger": "recovery"},
        {"version": 2},
        {"role": "root"},
        {"public": "00" * 32},
        {"public": "zz"},
        {"public": None},
        {"secret": "00" * 32},
        {"secret": "00" * 31},
        {"secret": "00" * 33},
        {"secret": ""},
        {"secret": 7},
        {"secret": None},
    ],
)
def test_a_key_file_that_does_not_hold_its_key_is_bad_input(change: dict[str, Any]) -> None:
    document = keyfiles.key_document("device", KEY, None) | change
    with pytest.raises(BadInput, match="key"):
        keyfiles.key_from_document(document, "device", None)


@pytest.mark.parametrize("document", [None, [], 7, "text", {}])
def test_other_json_is_no_key(document: Any) -> None:
    with pytest.raises(BadInput):
        keyfiles.key_from_document(document, "device", None)


def test_a_missing_key_of_the_home_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        keyfiles.load_key(tmp_path, "device", None)
    assert caught.value.code == "key_missing"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 3_000, b" " * 5_000])
def test_a_key_file_of_the_home_that_is_no_json_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "device.key").write_bytes(content)
    for read in (
        lambda: keyfiles.load_key(tmp_path, "device", None),
        lambda: keyfiles.public_key(tmp_path, "device"),
    ):
        with pytest.raises(StoreDamaged) as caught:
            read()
        assert "backup" in caught.value.hint


def test_replacing_a_key_file_leaves_a_whole_one(tmp_path: Path) -> None:
    path = keyfiles.save_key(tmp_path, "root", KEY, None)
    fresh = SigningKey(bytes(32))
    (tmp_path / "root.key.new").write_text("left from a crash")
    keyfiles.replace_private(path, json.dumps(keyfiles.key_document("root", fresh, None)))
    assert keyfiles.load_key(tmp_path, "root", None).seed == fresh.seed
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["root.key"]


# The passphrase.


def test_the_passphrase_comes_from_the_named_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert keyfiles.passphrase_from_environment() is None
    named = tmp_path / "passphrase"
    monkeypatch.setenv("OLN_PASSPHRASE_FILE", str(named))
    with pytest.raises(UsageError, match="cannot read"):
        keyfiles.passphrase_from_environment()
    named.write_bytes(b"correct horse\r\n")
    assert keyfiles.passphrase_from_environment() == b"correct horse"
    for content in (b"", b"\n", b"x" * 1_025):
        named.write_bytes(content)
        with pytest.raises(UsageError, match="empty or over"):
            keyfiles.passphrase_from_environment()


def test_a_credential_of_the_service_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert keyfiles.passphrase_from_environment() is None
    (tmp_path / "oln-passphrase").write_text("secret\n")
    assert keyfiles.passphrase_from_environment() == b"secret"
