"""Signed heads: a device's word for a whole prefix of its log.

- L5 A head is the C2SP checkpoint text `oln/<log id hex>`, size in decimal, root in base64, each
  ended by a newline, signed with the log's device key. Its text begins with `o`, so it cannot be a
  msgpack array: no head can stand for any other signed thing, nor the reverse. On the wire it is
  `[log_id, size, root, signature]`.

`VerifiedHead` is made by `verify_head` alone: holding one is the proof.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Final, final

import msgspec
from msgspec import Meta

from openledger_node.ledger.errors import BadInput, VerificationFailed
from openledger_node.ledger.events import MAX_SEQ, Id, LogGenesis
from openledger_node.ledger.keys import PublicKey, SigningKey

_MAKE: Final = object()
_NOTE_ED25519: Final = b"\x01"

Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]


class Mark(
    msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True, order=True
):
    """Names a whole prefix of a log."""

    log_id: Id
    size: Annotated[int, Meta(ge=1, le=MAX_SEQ)]
    root: Id


class SignedHead(
    msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True
):
    """A head as it travels: nothing about it is verified yet."""

    log_id: Id
    size: Annotated[int, Meta(ge=1, le=MAX_SEQ)]
    root: Id
    signature: Signature

    @property
    def mark(self) -> Mark:
        return Mark(self.log_id, self.size, self.root)


@final
class VerifiedHead:
    """A head whose signature by the log's device key was checked."""

    __slots__ = ("genesis", "signed")

    def __init__(self, signed: SignedHead, genesis: LogGenesis, make: object) -> None:
        if make is not _MAKE:
            raise TypeError("a VerifiedHead is made by verify_head or sign_head")
        self.signed = signed
        self.genesis = genesis

    @property
    def log_id(self) -> bytes:
        return self.signed.log_id

    @property
    def size(self) -> int:
        return self.signed.size

    @property
    def root(self) -> bytes:
        return self.signed.root


def checkpoint_text(log_id: bytes, size: int, root: bytes) -> bytes:
    """The bytes that a head's signature covers (L5)."""
    return f"oln/{log_id.hex()}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def sign_head(key: SigningKey, genesis: LogGenesis, size: int, root: bytes) -> VerifiedHead:
    """The device's head over (size, root). The caller has read the leaves back and hashed them."""
    if key.public.raw != genesis.device:
        raise BadInput("the log belongs to another device key")
    log_id = genesis.log_id
    signature = key.sign(checkpoint_text(log_id, size, root))
    return VerifiedHead(SignedHead(log_id, size, root, signature), genesis, _MAKE)


def verify_head(signed: SignedHead, genesis: LogGenesis) -> VerifiedHead:
    """`signed`, checked against the key in its log's genesis.

    VerificationFailed when it does not fit.
    """
    if genesis.log_id != signed.log_id:
        raise VerificationFailed("the head names another log than the genesis given with it")
    key = PublicKey.parse(genesis.device)
    if not key.verifies(signed.signature, checkpoint_text(signed.log_id, signed.size, signed.root)):
        raise VerificationFailed(
            f"the signature on the head of log {signed.log_id.hex()[:16]} "
            f"at size {signed.size} is wrong"
        )
    return VerifiedHead(signed, genesis, _MAKE)


def to_note(signed: SignedHead, device: bytes) -> str:
    """The head as a C2SP signed note, which tools for transparency logs read."""
    name = f"oln/{signed.log_id.hex()}"
    hint = hashlib.sha256(name.encode() + b"\n" + _NOTE_ED25519 + device).digest()[:4]
    text = checkpoint_text(signed.log_id, signed.size, signed.root).decode()
    return f"{text}\n\u2014 {name} {base64.b64encode(hint + signed.signature).decode()}\n"
