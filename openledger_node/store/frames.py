"""The framing of files that carry many things and must be checked to their last byte.

    file   = magic line, frame*, end frame
    frame  = u32 big-endian length, canonical msgpack array of at most 8 MiB; item 0 is its word
    end    = ["end", number of frames before it, SHA-256 over every byte before its own length]

A file cut short, altered or continued is noticed before its end is believed.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from openledger_node.ledger.encoding import decode_array, encode
from openledger_node.ledger.errors import BadInput, StoreUnavailable, UsageError

MAX_FRAME_BYTES: Final = 8 * 2**20
_LENGTH: Final = struct.Struct(">I")


class FrameWriter:
    """Writes a framed file beside its place and renames it there when it is whole and durable."""

    def __init__(self, path: Path, magic: bytes, *, mode: int = 0o666) -> None:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists already", hint="name a new file")
        self.path = path
        self._partial = path.with_name(path.name + ".partial")
        self._digest = hashlib.sha256()
        self._frames = 0
        self.size_bytes = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._file: BinaryIO = os.fdopen(os.open(self._partial, flags, mode), "wb")
        except FileExistsError:
            raise UsageError(
                f"{self._partial} is left from a run that was cut off", hint="delete it"
            ) from None
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None
        self._put(magic)

    def _put(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._unwritable(error) from None
        self._digest.update(data)
        self.size_bytes += len(data)

    def _unwritable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"cannot write {self.path}: {error.strerror}",
            hint="free some space or name another place",
        )

    def write(self, *items: Any) -> None:
        """One frame; its first item is its word."""
        data = encode(items)
        if len(data) > MAX_FRAME_BYTES:
            raise BadInput(f"a frame of {len(data):,} bytes exceeds {MAX_FRAME_BYTES:,}")
        self._frames += 1
        self._put(_LENGTH.pack(len(data)) + data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as fault:
            raise self._unwritable(fault) from None
        finally:
            with suppress(OSError):  # what could not be flushed is given up with the file
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        """The end frame; the file is durable before it has its name."""
        self.write("end", self._frames, self._digest.digest())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.rename(self.path)


def read_frames(
    path: Path, magic: bytes, what: str, seen: Callable[[int, int], None] | None = None
) -> Iterator[list[Any]]:
    """The frames of a file up to its end frame. BadInput when it is cut short, altered or goes on.

    What comes before the fault was yielded already: callers verify each thing by itself.
    """
    try:
        total = path.stat().st_size
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    with file:
        if file.read(len(magic)) != magic:
            raise BadInput(f"{path} is not {what}", hint="check that it is the right file")
        digest = hashlib.sha256(magic)
        frames = 0
        while True:
            head = _exactly(file, _LENGTH.size, path)
            size_bytes: int = _LENGTH.unpack(head)[0]
            if size_bytes > MAX_FRAME_BYTES:
                raise BadInput(f"{path} is damaged: a frame states {size_bytes:,} bytes")
            data = _exactly(file, size_bytes, path)
            frame = decode_array(data)
            if frame and frame[0] == "end":
                if frame[1:] != [frames, digest.digest()] or file.read(1):
                    raise BadInput(f"{path} is damaged: its end does not fit what came before")
                return
            digest.update(head)
            digest.update(data)
            frames += 1
            if seen is not None:
                seen(file.tell(), total)
            yield frame


def _exactly(file: BinaryIO, size_bytes: int, path: Path) -> bytes:
    data = file.read(size_bytes)
    if len(data) != size_bytes:
        raise BadInput(f"{path} is cut short", hint="copy it again")
    return data
