"""The payloads in a view of the store: held in it, in a file beside it, or erased."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from openledger_node.ledger.errors import BadInput, StoreDamaged
from openledger_node.ledger.payload import CONTAINER_HEAD_BYTES, container_account
from openledger_node.store.view import View


class PayloadRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where a payload lies: in the store, in a file, or nowhere any more."""

    size_bytes: int
    sha256: bytes
    place: int


IN_STORE: Final = 0
IN_FILE: Final = 1
ERASED: Final = 2
_payload_decoder = msgspec.msgpack.Decoder(PayloadRecord)


class PayloadsView(View):
    """Every payload that is or was held here."""

    def _payload_record(self, commit: bytes) -> PayloadRecord | None:
        stored = self._txn.get("payloads", commit)
        return None if stored is None else _payload_decoder.decode(stored)

    def has_payload(self, commit: bytes) -> bool:
        record = self._payload_record(commit)
        return record is not None and record.place != ERASED

    def is_erased(self, commit: bytes) -> bool:
        record = self._payload_record(commit)
        return record is not None and record.place == ERASED

    def payload(self, commit: bytes) -> bytes | None:
        """The payload's bytes, checked; None when it is not held."""
        record = self._payload_record(commit)
        if record is None or record.place == ERASED:
            return None
        if record.place == IN_STORE:
            data = self._txn.get("blobs", commit)
        else:
            data = _read_file(payload_path(self._home, commit))
        if data is None or hashlib.sha256(data).digest() != record.sha256:
            raise StoreDamaged(
                f"payload {commit.hex()[:16]} is damaged",
                hint="`oln check` names all damage; a peer or a backup can supply it",
            )
        return data

    def payload_account(self, commit: bytes) -> bytes | None:
        """The account that a held payload is bound to, by its first bytes, which nothing checks.

        None when it is not held, or damaged there, as `payload` says.
        """
        record = self._payload_record(commit)
        if record is None or record.place == ERASED:
            return None
        try:
            if record.place == IN_STORE:
                head = self._txn.unchecked("blobs", commit)
            else:
                head = _read_file(payload_path(self._home, commit), CONTAINER_HEAD_BYTES)
            return None if head is None else container_account(head)
        except (BadInput, StoreDamaged):
            return None

    def payloads(self) -> Iterator[tuple[bytes, PayloadRecord]]:
        for commit, stored in self._txn.scan("payloads"):
            yield commit, _payload_decoder.decode(stored)


def payload_path(home: Path, commit: bytes) -> Path:
    """Where a large payload lies."""
    name = commit.hex()
    return home / "payloads" / name[:2] / name


def _read_file(path: Path, limit_bytes: int = -1) -> bytes | None:
    """The file from its beginning, whole when no limit is given; None when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(limit_bytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreDamaged(f"cannot read payload file {path}: {error.strerror}") from None
