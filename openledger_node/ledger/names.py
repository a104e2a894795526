"""How ids and keys are written for people, and read back.

- An id (account, log, event, ledger) is 64 hex digits; a prefix of 8 or more may stand for it where
  it is unambiguous.
- An account's short form is `acct-xxxx-xxxx-xxxx-xxxx-cccc`: the first 80 bits of its id in
  Crockford's base 32 (lower case), then 20 bits of SHA-256 over them as a checksum, so that a
  mistyped character is noticed before money moves.
- A key is a `did:key:` (base58btc over the multicodec prefix 0xed01 and the key).
"""

from __future__ import annotations

import hashlib
from typing import Final

from openledger_node.ledger.errors import BadInput

ID_BYTES: Final = 32
MIN_PREFIX_DIGITS: Final = 8
SHORT_BYTES: Final = 10
_BASE32: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ED25519_CODEC: Final = b"\xed\x01"
_DID_PREFIX: Final = "did:key:z"
_GROUPS: Final = 5


def _checksum(head: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"oln/account-short/1" + head).digest()[:4], "big") >> 12


def _base32(value: int, digits: int) -> str:
    return "".join(_BASE32[value >> (5 * i) & 31] for i in reversed(range(digits)))


def account_short(account_id: bytes) -> str:
    """The checksummed short form of an account id."""
    head = account_id[:SHORT_BYTES]
    text = _base32(int.from_bytes(head, "big"), 16) + _base32(_checksum(head), 4)
    return "acct-" + "-".join(text[i : i + 4] for i in range(0, 20, 4))


def parse_account_short(text: str) -> bytes:
    """The first 10 bytes of the account id that `text` names.

    BadInput when the checksum does not fit.
    """
    digits = text.lower().removeprefix("acct-").replace("-", "").replace("o", "0")
    digits = digits.replace("i", "1").replace("l", "1")
    if len(digits) != 4 * _GROUPS or any(digit not in _BASE32 for digit in digits):
        raise BadInput(f"{text!r} is not an account's short form (acct- and five groups of four)")
    value = 0
    for digit in digits:
        value = value << 5 | _BASE32.index(digit)
    head = (value >> 20).to_bytes(SHORT_BYTES, "big")
    if value & 0xFFFFF != _checksum(head):
        raise BadInput(f"{text!r} has a typing mistake: its checksum does not fit")
    return head


def did_key(raw: bytes) -> str:
    """`did:key:` of an Ed25519 public key."""
    number = int.from_bytes(_ED25519_CODEC + raw, "big")
    digits = ""
    while number:
        number, rest = divmod(number, 58)
        digits = _BASE58[rest] + digits
    return _DID_PREFIX + digits


def parse_did_key(text: str) -> bytes:
    """The 32 key bytes of a `did:key:`. BadInput for any other text."""
    digits = text.removeprefix(_DID_PREFIX)
    if digits == text or len(digits) > 64 or any(digit not in _BASE58 for digit in digits):
        raise BadInput(f"{text!r} is not a did:key of an Ed25519 key")
    number = 0
    for digit in digits:
        number = number * 58 + _BASE58.index(digit)
    size = len(_ED25519_CODEC) + ID_BYTES
    raw = number.to_bytes(max(size, (number.bit_length() + 7) // 8), "big")
    if len(raw) != size or raw[:2] != _ED25519_CODEC:
        raise BadInput(f"{text!r} is not a did:key of an Ed25519 key")
    return raw[2:]
