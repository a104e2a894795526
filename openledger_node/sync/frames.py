"""Length framing: bytes as they come off a link, cut into frame bodies.

- Y1 A frame is a u32 big-endian length and a body of that many bytes, 1 to MAX_FRAME_BYTES. The
  body of the first frame has at most MAX_HELLO_BYTES. A length past the limit is refused when its
  four bytes have come: nothing is kept for it.

A reader keeps at most one incomplete frame and copies each byte a fixed number of times, whatever
the sizes of the pieces it arrives in.
"""

from __future__ import annotations

from typing import Final

from openledger_node.sync.faults import fault

LENGTH_BYTES: Final = 4
MAX_FRAME_BYTES: Final = 2**20
"""Twice the largest event (512 KiB), so that any leaf fits beside its frame's other fields."""
MAX_HELLO_BYTES: Final = 512
"""What a stranger may have this node keep; a HELLO of version 1 has 275."""


def frame(body: bytes) -> bytes:
    """A whole frame around `body`, which has 1 to MAX_FRAME_BYTES bytes."""
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class FrameReader:
    """Bytes in by `feed`, frame bodies out by `next_body` (Y1)."""

    def __init__(self, max_body_bytes: int = MAX_FRAME_BYTES) -> None:
        self.max_body_bytes = max_body_bytes
        self._held = bytearray()
        self._data: bytes | bytearray = b""
        self._position = 0

    @property
    def held_bytes(self) -> int:
        """What has come of frames not yet given out."""
        return len(self._held) if self._data is self._held else len(self._data) - self._position

    def feed(self, data: bytes) -> None:
        """Takes what a link received. Give out all bodies before feeding again."""
        if self._held:
            self._held += data
            self._data = self._held
        else:
            self._data = data
        self._position = 0

    def next_body(self) -> bytes | None:
        """The next frame's body, or None until more is fed. PeerFault `frame_size`."""
        start = self._position + LENGTH_BYTES
        length = int.from_bytes(self._data[self._position : start], "big")
        if start <= len(self._data):
            self._check(length)
            if start + length <= len(self._data):
                self._position = start + length
                return bytes(memoryview(self._data)[start : self._position])
        self._keep_rest()
        return None

    def _check(self, length: int) -> None:
        if not 1 <= length <= self.max_body_bytes:
            raise fault(
                "frame_size", f"a frame of {length:,} bytes; 1 to {self.max_body_bytes:,} may be"
            )

    def _keep_rest(self) -> None:
        if self._data is self._held:
            del self._held[: self._position]
        else:
            self._held += self._data[self._position :]
            self._data = self._held
        self._position = 0
