"""The files that a ledger is founded by: its params, and its genesis with what it goes on from.

A genesis file is JSON: the id and the name for people, the canonical bytes for programs. What a
file states of them is held to the bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, UsageError
from openledger_node.ledger.genesis import (
    Genesis,
    Params,
    Succession,
    params_fault,
    parse_genesis,
)
from openledger_node.node import files, keyfiles
from openledger_node.store.snapshot import Snapshot

MAX_LEDGER_NAME_CHARS: Final = 128
MAX_PARAMS_FILE_BYTES: Final = 64 * 1024
MAX_GENESIS_FILE_BYTES: Final = 256 * 1024
SUCCEEDS_FACT: Final = "succeeds"
"""Local fact: what the ledger's genesis goes on from, as its file said (A11)."""

_succession_decoder = msgspec.msgpack.Decoder(Succession)


def checked_ledger_name(name: str) -> str:
    """A name that everybody will see, on one line, for as long as the ledger lives."""
    title = name.strip()
    if not title or len(title) > MAX_LEDGER_NAME_CHARS or not title.isprintable():
        raise UsageError(
            f"a ledger's name has 1 to {MAX_LEDGER_NAME_CHARS} printable characters",
            hint="give another; it cannot be changed later",
        )
    return title


def params_from(path: Path, defaults: Params, own: bytes | None) -> Params:
    """Params of a TOML file over `defaults`.

    `own` in commons_accounts stands for the new account, where there is one.
    """
    document = _read_toml(path)
    names = [field.name for field in msgspec.structs.fields(Params)]
    unknown = sorted(set(document) - set(names))
    if unknown:
        raise UsageError(
            f"{path} has an unknown param {unknown[0]!r}", hint="params: " + ", ".join(names)
        )
    values: dict[str, Any] = {name: getattr(defaults, name) for name in names}
    try:
        if "commons_accounts" in document:
            accounts = document["commons_accounts"]
            document["commons_accounts"] = [
                own if item == "own" and own else bytes.fromhex(item) for item in accounts
            ]
        params = msgspec.convert(list((values | document).values()), Params)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: {error}") from None
    fault = params_fault(params)
    if fault:
        raise UsageError(f"{path}: {fault}")
    return params


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        data = files.read_bounded(path, MAX_PARAMS_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", code="bad_file") from None
    if len(data) > MAX_PARAMS_FILE_BYTES:
        raise UsageError(f"{path} has more than {MAX_PARAMS_FILE_BYTES:,} bytes", code="bad_file")
    return files.parsed_toml(path, data)


def write_public(file: Path, text: str) -> None:
    """A new file that others are to read; one that is there is never replaced."""
    files.write_new(file, text.encode())


def succession_document(succession: Succession) -> dict[str, Any]:
    """For people, with the nonce by which the genesis's salt is checked."""
    return {
        "ledger_id": succession.ledger_id.hex(),
        "epoch": succession.epoch,
        "statement_root": succession.statement_root.hex(),
        "nonce": succession.nonce.hex(),
    }


def read_succession(document: Any, salt: bytes) -> Succession | None:
    """What a file says that its ledger goes on from. BadInput when the salt is not that."""
    if document is None:
        return None
    try:
        values = [bytes.fromhex(document["nonce"]), bytes.fromhex(document["ledger_id"])]
        values += [document["epoch"], bytes.fromhex(document["statement_root"])]
        succession = msgspec.convert(values, Succession)
    except (KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError):
        raise BadInput("what the ledger goes on from is not readable") from None
    if succession.salt != salt:
        raise BadInput("the ledger's salt is not bound to the statement that it should go on from")
    return succession


def known_succession(snapshot: Snapshot) -> Succession | None:
    """What this home's ledger goes on from."""
    stored = snapshot.fact(SUCCEEDS_FACT, b"")
    return None if stored is None else _succession_decoder.decode(stored)


def genesis_document(genesis: Genesis, succession: Succession | None = None) -> str:
    """The text of a genesis file.

    JSON with the id for people and the canonical bytes for programs.
    """
    document: dict[str, Any] = {
        "openledger": "genesis",
        "version": 1,
        "name": genesis.name,
        "ledger_id": genesis.ledger_id.hex(),
        "genesis": encode(genesis).hex(),
    }
    if succession is not None:
        document["succeeds"] = succession_document(succession)
    return json.dumps(document, indent=1) + "\n"


def read_genesis_file(path: Path) -> Genesis:
    """The genesis in a file; its stated ledger id is held to its bytes."""
    return read_founding_file(path)[0]


def read_founding_file(path: Path) -> tuple[Genesis, Succession | None]:
    """The genesis in a file, and the ledger's end that it goes on from."""
    document = keyfiles.read_json(path, "the genesis file", MAX_GENESIS_FILE_BYTES)
    try:
        if document["openledger"] != "genesis" or document["version"] != 1:
            raise BadInput(f"{path} is not a genesis file of version 1")
        genesis = parse_genesis(bytes.fromhex(document["genesis"]))
        stated = bytes.fromhex(document["ledger_id"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"{path} is not a genesis file") from None
    if genesis.ledger_id != stated:
        raise BadInput(f"{path} states another ledger id than its genesis has")
    return genesis, read_succession(document.get("succeeds"), genesis.salt)
