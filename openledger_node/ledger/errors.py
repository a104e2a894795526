"""Errors, by whose fault they are; the text for people is made in one place.

An error says what happened (`message`), and what to do next (`hint`). `code` is a stable word for
programs, and `exit_status` is what `oln` ends with: 1 the answer is no, 2 wrong usage, 3 refused by
the ledger's rules, 4 network, 5 the store is damaged.

| class | fault of | exit status |
|---|---|---|
| `UsageError` | the user: a wrong argument, file or amount | 2 |
| `Refused` | the ledger's rules or the state of the ledger | 3 |
| `VerificationFailed` | whoever made the proof, bundle or file | 1 |
| `BadInput` | whoever sent the bytes | 1 |
| `NetworkError` | a peer or the link | 4 |
| `StoreDamaged` | the store: a checksum, hash or file is wrong | 5 |
| `StoreUnavailable` | the store's surroundings: full, newer version, no permission | 3 |
"""

from __future__ import annotations


class OlnError(Exception):
    """Base of every error a user may see."""

    exit_status = 1
    default_code = "error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class UsageError(OlnError):
    """The user named something that cannot be used as it is."""

    exit_status = 2
    default_code = "usage"


class Refused(OlnError):
    """The ledger's rules, or the state of this ledger, do not allow it."""

    exit_status = 3
    default_code = "refused"


class VerificationFailed(OlnError):
    """A signature, path, root or figure does not check out."""

    exit_status = 1
    default_code = "verification_failed"


class BadInput(OlnError):
    """Bytes from outside that are not what they should be."""

    exit_status = 1
    default_code = "bad_input"


class NetworkError(OlnError):
    """A peer or the link to it failed."""

    exit_status = 4
    default_code = "network"


class StoreDamaged(OlnError):
    """Stored bytes are not what was stored."""

    exit_status = 5
    default_code = "store_damaged"


class StoreUnavailable(OlnError):
    """The store cannot be used now; nothing in it was changed."""

    exit_status = 3
    default_code = "store_unavailable"
