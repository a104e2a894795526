"""Settings of a home: `node.toml`, every key known, typed and bounded.

`configs/node.toml` in the project shows every key with its unit and default; a test holds the two
together. An unknown key is refused with the nearest name, so that a misspelt limit is never
silently the default.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.errors import UsageError

MAX_CONFIG_BYTES: Final = 64 * 1024
GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its type, default and bounds (integers), and what it is."""

    default: int | bool | str
    lowest: int = 0
    highest: int = 0
    unit: str = ""


SETTINGS: Final[dict[str, Setting]] = {
    "store.limit_bytes": Setting(60 * GIB, 2**20, 63 * GIB, "bytes"),
    "store.flush_events": Setting(256, 1, 4096, "events"),
    "epoch.auto_close": Setting(True),
    "money.grant_expiry_epochs": Setting(1_000, 1, 100_000, "epochs"),
    "limits.document_bytes": Setting(64 * 2**20, 1, GIB, "bytes"),
    "limits.output_bytes": Setting(4 * 2**20, 1, 64 * 2**20, "bytes"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one home, as read."""

    limit_bytes: int
    flush_events: int
    auto_close: bool
    grant_expiry_epochs: int
    document_bytes: int
    output_bytes: int


def load_config(path: Path) -> Config:
    """The settings in `path`.

    The defaults where it is silent or absent. UsageError names key and bound.
    """
    values: dict[str, Any] = {key: setting.default for key, setting in SETTINGS.items()}
    if path.exists():
        values.update(_read(path))
    return Config(**{key.split(".")[1]: value for key, value in values.items()})


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()[: MAX_CONFIG_BYTES + 1]
        if len(data) > MAX_CONFIG_BYTES:
            raise UsageError(f"{path} has more than {MAX_CONFIG_BYTES:,} bytes")
        document = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # numbers too long, arrays too deep, too
        raise UsageError(f"{path} is not TOML: {error}") from None
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
    if type(value) is not type(setting.default):
        raise UsageError(f"{path}: {key} must be {type(setting.default).__name__}, not {value!r}")
    if isinstance(setting.default, bool):
        return value
    if isinstance(value, int) and not setting.lowest <= value <= setting.highest:
        raise UsageError(
            f"{path}: {key} = {value} is out of bounds",
            hint=f"from {setting.lowest} to {setting.highest} {setting.unit}",
        )
    return value
