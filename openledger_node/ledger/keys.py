"""Ed25519 keys and signatures (RFC 8032), held to one accepted set.

- K1 A public key is 32 bytes that encode, canonically, a curve point outside the small-order
  subgroup. `cryptography` takes the key `01 00 ... 00`, under which one signature verifies every
  message; this module is the only place that makes a `PublicKey`, and it refuses such keys.
- K2 A signature is 64 bytes, checked one at a time without batching: S below the group order, R
  compared as bytes (the cofactorless check). `tests/vectors/ed25519.json` pins the accepted set.

Secret keys come in as 32-byte seeds: this layer has no random source.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from openledger_node.ledger.encoding import Value, signing_bytes
from openledger_node.ledger.errors import BadInput

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
MAX_CACHED_KEYS: Final = 4096
"""Parsed keys kept; loading a key costs as much as a third of a signature check."""

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ORDER_8_Y: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER_Y: Final = frozenset((0, 1, _P - 1, _ORDER_8_Y, _P - _ORDER_8_Y))
_MAKE: Final = object()


def _fault(raw: bytes) -> str:
    """Why `raw` is not an acceptable public key, or an empty text."""
    if len(raw) != KEY_BYTES:
        return f"it has {len(raw)} bytes, not {KEY_BYTES}"
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    if y >= _P:
        return "its encoding is not canonical"
    if y in _SMALL_ORDER_Y:
        return "it is a small-order point"
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P not in (u, -u % _P):
        return "it is not a point of the curve"
    return ""


@final
class PublicKey:
    """A public key that passed K1. Made by `PublicKey.parse` alone."""

    __slots__ = ("_key", "raw")

    def __init__(self, raw: bytes, make: object) -> None:
        if make is not _MAKE:
            raise TypeError("a PublicKey is made by PublicKey.parse")
        self.raw = raw
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    @staticmethod
    def parse(raw: bytes) -> PublicKey:
        """The key encoded in `raw`. BadInput when K1 refuses it."""
        return _parse(bytes(raw))

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message` (K2)."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def verifies_parts(self, signature: bytes, what: str, *parts: Value) -> bool:
        """Whether `signature` is this key's over `signing_bytes(what, *parts)`."""
        return self.verifies(signature, signing_bytes(what, *parts))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.raw.hex()})"


@lru_cache(maxsize=MAX_CACHED_KEYS)
def _parse(raw: bytes) -> PublicKey:
    fault = _fault(raw)
    if fault:
        raise BadInput(f"not an acceptable Ed25519 public key: {fault}")
    return PublicKey(raw, _MAKE)


@final
class SigningKey:
    """An Ed25519 secret key, from its 32-byte seed."""

    __slots__ = ("_key", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != KEY_BYTES:
            raise BadInput(f"a secret key has {KEY_BYTES} bytes, this one has {len(seed)}")
        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey.parse(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """64 bytes over `message`."""
        return self._key.sign(message)

    def sign_parts(self, what: str, *parts: Value) -> bytes:
        """64 bytes over `signing_bytes(what, *parts)` (E3)."""
        return self._key.sign(signing_bytes(what, *parts))

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.raw.hex()})"
