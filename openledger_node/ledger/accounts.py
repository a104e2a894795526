"""Accounts: inception, pre-rotated root keys, and the chain of key events.

- K3 Inception = `[1, [root keys], threshold, H("next", next root keys, next threshold), salt]`;
  `account_id = H("account", inception)`. It names no ledger; the signatures of the key events do.
- K4 Key events form one chain an account: `[account, n, digest of the previous key event | nil,
  ..., signatures]`, with `digest = H("key-event", body)` and signatures `[[root key index,
  sign("key", ledger_id, body so far)], ...]`, indexes ascending, `threshold` or more of them valid.
  `...` is for
  `account.create` (n = 0): inception, device key, device signature;
  `account.add_device`: device key, device signature;
  `account.rotate`: new root keys, new threshold, new next commitment; signed by the *new* keys,
  which match the commitment made before;
  `account.retire_device`: device key, `[[log_id, size], ...]`.
  The device's signature is `sign("device", ledger_id, account_id, device key)`: nobody enrols a key
  that is not theirs.
- K5 Of two key events with equal n, the one already final wins, then a rotation, then the lower
  event id (the fold chooses; `KeyChain.fault` says why one does not fit).

The thief of the current root key cannot rotate: the next keys are known by their commitment alone
until they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openledger_node.ledger.encoding import H, decode_as, encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import MAX_SEQ, Id, Key
from openledger_node.ledger.heads import Signature
from openledger_node.ledger.keys import PublicKey, SigningKey

MAX_ROOT_KEYS: Final = 16
MAX_KEY_EVENTS: Final = 2**20
MAX_RETIRED_LOGS: Final = 256

Salt = Annotated[bytes, Meta(min_length=16, max_length=32)]
RootKeys = Annotated[tuple[Key, ...], Meta(min_length=1, max_length=MAX_ROOT_KEYS)]
Threshold = Annotated[int, Meta(ge=1, le=MAX_ROOT_KEYS)]
RootSignature = tuple[Annotated[int, Meta(ge=0, lt=MAX_ROOT_KEYS)], Signature]
RootSignatures = Annotated[tuple[RootSignature, ...], Meta(min_length=1, max_length=MAX_ROOT_KEYS)]
Position = Annotated[int, Meta(ge=0, le=MAX_KEY_EVENTS)]


class _Body(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    pass


class Inception(_Body, frozen=True):
    """How an account begins (K3)."""

    version: Annotated[int, Meta(ge=1, le=1)]
    root_keys: RootKeys
    threshold: Threshold
    next_commitment: Id
    salt: Salt

    @property
    def account_id(self) -> bytes:
        return H("account", self)


class AccountCreate(_Body, frozen=True):
    account_id: Id
    n: Annotated[int, Meta(ge=0, le=0)]
    previous: None
    inception: Inception
    device: Key
    device_signature: Signature
    signatures: RootSignatures


class AccountAddDevice(_Body, frozen=True):
    account_id: Id
    n: Position
    previous: Id
    device: Key
    device_signature: Signature
    signatures: RootSignatures


class AccountRotate(_Body, frozen=True):
    account_id: Id
    n: Position
    previous: Id
    root_keys: RootKeys
    threshold: Threshold
    next_commitment: Id
    signatures: RootSignatures


class AccountRetireDevice(_Body, frozen=True):
    account_id: Id
    n: Position
    previous: Id
    device: Key
    logs: Annotated[
        tuple[tuple[Id, Annotated[int, Meta(ge=1, le=MAX_SEQ)]], ...],
        Meta(max_length=MAX_RETIRED_LOGS),
    ]
    signatures: RootSignatures


KeyEvent = AccountCreate | AccountAddDevice | AccountRotate | AccountRetireDevice

KEY_EVENT_KINDS: Final[dict[str, type[KeyEvent]]] = {
    "account.create": AccountCreate,
    "account.add_device": AccountAddDevice,
    "account.rotate": AccountRotate,
    "account.retire_device": AccountRetireDevice,
}
_inception_decoder = msgspec.msgpack.Decoder(Inception)


def parse_inception(data: bytes) -> Inception:
    return decode_as(_inception_decoder, data, "the account's inception")


def next_commitment(root_keys: Sequence[bytes], threshold: int) -> bytes:
    """What is published of the next root keys before they are used."""
    return H("next", list(root_keys), threshold)


def key_event_digest(event: KeyEvent) -> bytes:
    """What the next key event of the chain names as its previous."""
    return H("key-event", event)


def device_signature(device: SigningKey, ledger_id: bytes, account_id: bytes) -> bytes:
    """The device's consent to be enrolled (K4)."""
    return device.sign_parts("device", ledger_id, account_id, device.public.raw)


def _unsigned(event: KeyEvent) -> list[Any]:
    """The body so far: everything before the signatures."""
    body: list[Any] = msgspec.msgpack.decode(encode(event))
    return body[:-1]


def root_signatures(
    ledger_id: bytes, body_so_far: Sequence[Any], keys: Sequence[tuple[int, SigningKey]]
) -> tuple[tuple[int, bytes], ...]:
    """Signatures by root keys over a body so far; `keys` is (index, key), ascending."""
    return tuple((i, key.sign_parts("key", ledger_id, list(body_so_far))) for i, key in keys)


@dataclass(frozen=True, slots=True)
class KeyChain:
    """The state of one account's chain after its first `n` key events.

    `devices` maps an enrolled device key to None, or to the mapping log_id -> size at which its
    retirement closed it.
    """

    account_id: bytes
    n: int
    digest: bytes
    root_keys: tuple[bytes, ...]
    threshold: int
    next_commitment: bytes
    devices: dict[bytes, dict[bytes, int] | None]

    def fault(self, event: KeyEvent, ledger_id: bytes) -> str:
        """Why `event` may not follow this chain, or an empty text."""
        if isinstance(event, AccountCreate):
            return "the account exists already"
        if event.account_id != self.account_id:
            return "it belongs to another account"
        if event.n != self.n or event.previous != self.digest:
            return f"it does not follow key event {self.n - 1} of its account"
        if isinstance(event, AccountRotate):
            return self._rotation_fault(event, ledger_id)
        if isinstance(event, AccountAddDevice):
            if event.device in self.devices:
                return "the device key was enrolled before"
            fault = _device_fault(event.device, event.device_signature, ledger_id, event.account_id)
            if fault:
                return fault
        elif self.devices.get(event.device, {}) is not None:
            return "the device key is not an enrolled one"
        elif len({log_id for log_id, _ in event.logs}) != len(event.logs):
            return "a log is listed twice"
        return _signature_fault(event, ledger_id, self.root_keys, self.threshold)

    def _rotation_fault(self, event: AccountRotate, ledger_id: bytes) -> str:
        if next_commitment(event.root_keys, event.threshold) != self.next_commitment:
            return "the new root keys are not the ones committed to before"
        fault = _root_key_fault(event.root_keys, event.threshold)
        return fault or _signature_fault(event, ledger_id, event.root_keys, event.threshold)

    def then(self, event: KeyEvent) -> KeyChain:
        """The chain after `event`, for which `fault` was empty."""
        return replace(self, devices=dict(self.devices)).go_on(event)

    def go_on(self, event: KeyEvent) -> KeyChain:
        """As `then`, in time that does not grow with the devices: they are passed on as they are,
        so this chain is not to be used any more.
        """
        if isinstance(event, AccountCreate):
            raise BadInput("an account is created once")
        after = replace(self, n=self.n + 1, digest=key_event_digest(event))
        if isinstance(event, AccountRotate):
            return replace(
                after,
                root_keys=event.root_keys,
                threshold=event.threshold,
                next_commitment=event.next_commitment,
            )
        retired = dict(event.logs) if isinstance(event, AccountRetireDevice) else None
        self.devices[event.device] = retired
        return after


def create_fault(event: AccountCreate, ledger_id: bytes) -> str:
    """Why `event` cannot create its account, or an empty text (K3, K4)."""
    inception = event.inception
    if inception.account_id != event.account_id:
        return "the account id is not its inception's hash"
    return (
        _root_key_fault(inception.root_keys, inception.threshold)
        or _device_fault(event.device, event.device_signature, ledger_id, event.account_id)
        or _signature_fault(event, ledger_id, inception.root_keys, inception.threshold)
    )


def created_chain(event: AccountCreate) -> KeyChain:
    """The chain of length one that `event` begins; `create_fault` was empty."""
    inception = event.inception
    return KeyChain(
        account_id=event.account_id,
        n=1,
        digest=key_event_digest(event),
        root_keys=inception.root_keys,
        threshold=inception.threshold,
        next_commitment=inception.next_commitment,
        devices={event.device: None},
    )


def _parse_fault(raw: bytes) -> str:
    try:
        PublicKey.parse(raw)
    except BadInput as error:
        return error.message
    return ""


def _root_key_fault(keys: Sequence[bytes], threshold: int) -> str:
    if len(set(keys)) != len(keys):
        return "a root key is listed twice"
    if threshold > len(keys):
        return "the threshold exceeds the number of root keys"
    return next((fault for fault in map(_parse_fault, keys) if fault), "")


def _device_fault(device: bytes, signature: bytes, ledger_id: bytes, account_id: bytes) -> str:
    fault = _parse_fault(device)
    if fault:
        return fault
    key = PublicKey.parse(device)
    if not key.verifies_parts(signature, "device", ledger_id, account_id, device):
        return "the device's own signature is wrong"
    return ""


def _signature_fault(
    event: KeyEvent, ledger_id: bytes, keys: Sequence[bytes], threshold: int
) -> str:
    indexes = [index for index, _ in event.signatures]
    if indexes != sorted(set(indexes)) or indexes[-1] >= len(keys):
        return "its root signatures are not in ascending order of known keys"
    if len(indexes) < threshold:
        return f"it has {len(indexes)} root signatures and needs {threshold}"
    body = _unsigned(event)
    for index, signature in event.signatures:
        if not PublicKey.parse(keys[index]).verifies_parts(signature, "key", ledger_id, body):
            return f"the signature of root key {index} is wrong"
    return ""
