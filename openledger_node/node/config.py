"""Settings of a home: `node.toml`, every key known, typed and bounded.

`configs/node.toml` in the project shows every key with its unit and default; a test holds the two
together. An unknown key is refused with the nearest name, so that a misspelt limit is never
silently the default.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.errors import UsageError
from openledger_node.node import files

MAX_CONFIG_BYTES: Final = 64 * 1024
GIB: Final = 2**30


MAX_LISTED: Final = 10_000
MAX_TEXT_CHARS: Final = 512


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its type, default and bounds (integers), its choices (words), and what it is.

    A tuple stands for a list of words.
    """

    default: int | bool | str | tuple[str, ...]
    lowest: int = 0
    highest: int = 0
    unit: str = ""
    choices: tuple[str, ...] = ()


SETTINGS: Final[dict[str, Setting]] = {
    "store.limit_bytes": Setting(60 * GIB, 2**20, 63 * GIB, "bytes"),
    "store.flush_events": Setting(256, 1, 4096, "events"),
    "epoch.auto_close": Setting(True),
    "money.grant_expiry_epochs": Setting(1_000, 1, 100_000, "epochs"),
    "limits.document_bytes": Setting(64 * 2**20, 1, GIB, "bytes"),
    "limits.output_bytes": Setting(4 * 2**20, 1, 64 * 2**20, "bytes"),
    "index.from_bytes": Setting(4 * 2**20, 0, 64 * GIB, "bytes"),
    "node.listen": Setting("0.0.0.0:4767"),
    "node.peers": Setting(()),
    "node.announce": Setting(()),
    "node.allow": Setting(()),
    "node.max_links": Setting(64, 1, 4096, "links"),
    "node.links_per_address": Setting(8, 1, 4096, "links"),
    "node.metrics": Setting(""),
    "node.lan": Setting(False),
    "sync.admission": Setting("open", choices=("open", "vouched", "listed")),
    "sync.accounts": Setting(()),
    "sync.payloads": Setting("shared", choices=("shared", "none")),
    "sync.payload_bytes": Setting(64 * 2**20, 1, 4 * GIB, "bytes"),
    "sync.unknown_bytes": Setting(64 * 2**20, 1, 64 * GIB, "bytes"),
    "log.level": Setting("info", choices=("debug", "info", "warning", "error")),
    "log.format": Setting("console", choices=("console", "json")),
    "log.file": Setting(""),
    "log.file_bytes": Setting(16 * 2**20, 2**16, GIB, "bytes"),
}
"""Keys of the sections `index`, `node`, `sync`, `log` are attributes section_name, others name."""

_TYPES: Final[dict[type, str]] = {int: "a whole number", bool: "true or false", str: "a text"}
_PREFIXED: Final = ("index", "node", "sync", "log")


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one home, as read."""

    limit_bytes: int
    flush_events: int
    auto_close: bool
    grant_expiry_epochs: int
    document_bytes: int
    output_bytes: int
    index_from_bytes: int
    node_listen: str
    node_peers: tuple[str, ...]
    node_announce: tuple[str, ...]
    node_allow: tuple[str, ...]
    node_max_links: int
    node_links_per_address: int
    node_metrics: str
    node_lan: bool
    sync_admission: str
    sync_accounts: tuple[str, ...]
    sync_payloads: str
    sync_payload_bytes: int
    sync_unknown_bytes: int
    log_level: str
    log_format: str
    log_file: str
    log_file_bytes: int


def load_config(path: Path) -> Config:
    """The settings in `path`.

    The defaults where it is silent or absent. UsageError names key and bound.
    """
    values: dict[str, Any] = {key: setting.default for key, setting in SETTINGS.items()}
    if path.exists():
        values.update(_read(path))
    return Config(**{attribute_of(key): value for key, value in values.items()})


def attribute_of(key: str) -> str:
    """The name under which `Config` has a key."""
    section, _, name = key.partition(".")
    return f"{section}_{name}" if section in _PREFIXED else name


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path} is not a file", hint="move it away", code="bad_file")
    try:
        data = files.read_bounded(path, MAX_CONFIG_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", code="bad_file") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise UsageError(f"{path} has more than {MAX_CONFIG_BYTES:,} bytes", code="bad_file")
    document = files.parsed_toml(path, data)
    found: dict[str, Any] = {}
    for section, entries in document.items():
        if not isinstance(entries, dict):
            raise _unknown(path, section)
        for name, value in entries.items():
            key = f"{section}.{name}"
            if key not in SETTINGS:
                raise _unknown(path, key)
            found[key] = _checked(path, key, value)
    return found


def _unknown(path: Path, key: str) -> UsageError:
    near = difflib.get_close_matches(key, SETTINGS, n=1, cutoff=0.3)
    return UsageError(
        f"{path} has an unknown setting {key!r}",
        hint=f"the nearest setting is {near[0]!r}" if near else "see configs/node.toml",
        code="unknown_setting",
    )


def _checked(path: Path, key: str, value: Any) -> Any:
    setting = SETTINGS[key]
    if isinstance(setting.default, tuple):
        return _words(path, key, value)
    if type(value) is not type(setting.default):
        raise UsageError(
            f"{path}: {key} must be {_TYPES[type(setting.default)]}, not {str(value)[:64]!r}",
            hint="configs/node.toml shows each setting as it is written",
        )
    if isinstance(setting.default, bool):
        return value
    if isinstance(value, str):
        if len(value) > MAX_TEXT_CHARS or not value.isprintable():
            raise UsageError(
                f"{path}: {key} is not one line of at most {MAX_TEXT_CHARS} characters"
            )
        if setting.choices and value not in setting.choices:
            choices = ", ".join(setting.choices)
            raise UsageError(f"{path}: {key} = {value!r} is not known", hint=f"one of {choices}")
        return value
    if isinstance(value, int) and not setting.lowest <= value <= setting.highest:
        raise UsageError(
            f"{path}: {key} = {value} is out of bounds",
            hint=f"from {setting.lowest} to {setting.highest} {setting.unit}",
        )
    return value


def _words(path: Path, key: str, value: Any) -> tuple[str, ...]:
    good = isinstance(value, list) and len(value) <= MAX_LISTED
    if not good or any(type(item) is not str or len(item) > MAX_TEXT_CHARS for item in value):
        raise UsageError(
            f"{path}: {key} must be a list of texts",
            hint=f'for example {key.partition(".")[2]} = ["..."], at most {MAX_LISTED:,} of them',
        )
    return tuple(value)
