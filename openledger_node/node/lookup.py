"""From what a person types to an id: hex, prefixes, petnames, short forms; with errors that help.

An id may be shortened to an unambiguous prefix of 8 or more hex digits. Ids live in the state once
they are final, and in their logs before that; both are searched. Accounts may also be named by
petname or by their checksummed short form.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from openledger_node.credit import views
from openledger_node.ledger import names
from openledger_node.ledger.errors import BadInput, Refused, UsageError
from openledger_node.node.reading import well_formed
from openledger_node.store.snapshot import Snapshot

MAX_CANDIDATES_SHOWN: Final = 5

WORDS: Final = {
    "data.contribute": "contribution",
    "datanet.create": "datanet",
    "model.register": "model",
    "agent.register": "agent",
    "money.grant": "grant",
    "use.receipt": "receipt",
    "money.redeem": "redeem",
    "money.payout": "payout",
    "data.derivation": "derivation",
    "account": "account",
}
"""What a kind makes, in the user's words."""


def hex_prefix(text: str, what: str = "id") -> bytes | str:
    """The bytes of a full id, or the lower-case hex digits of a prefix.

    UsageError says what is wrong.
    """
    digits = text.strip().lower()
    if not digits or any(digit not in "0123456789abcdef" for digit in digits):
        raise UsageError(
            f"{text!r} is not {_article(what)}: an id has hex digits 0-9 and a-f",
            hint="copy it from `oln log` or the list command; 8 digits or more are enough",
            code="bad_id",
        )
    if len(digits) < names.MIN_PREFIX_DIGITS:
        raise UsageError(
            f"{text!r} is too short for {_article(what)}",
            hint=f"give {names.MIN_PREFIX_DIGITS} hex digits or more",
            code="bad_id",
        )
    if len(digits) > 2 * names.ID_BYTES:
        raise UsageError(
            f"{text[:16]!r}... is too long for {_article(what)}",
            hint="a whole id has 64 hex digits",
            code="bad_id",
        )
    return bytes.fromhex(digits) if len(digits) == 2 * names.ID_BYTES else digits


def _article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def find_account(snapshot: Snapshot, text: str) -> bytes:
    """The account that `text` names: petname, short form, id or prefix."""
    known = snapshot.petnames()
    matches = [account for account, name in known.items() if name == text]
    if len(matches) == 1:
        return matches[0]
    if text.lower().startswith("acct-"):
        head = _short_head(text)
        return _only(_accounts_with(snapshot, head.hex()), text, "account", known)
    if not _looks_hex(text):
        near = difflib.get_close_matches(text, known.values(), n=1)
        raise UsageError(
            f"no account is named {text!r} here",
            hint=f"did you mean {near[0]!r}?" if near else "see `oln account list`",
            code="unknown_id",
        )
    digits = hex_prefix(text, "account id")
    if isinstance(digits, bytes):
        return digits
    return _only(_accounts_with(snapshot, digits), text, "account", known)


def called(snapshot: Snapshot, account: bytes) -> str:
    """What people here call an account: its petname, or its short form."""
    return snapshot.petnames().get(account) or names.account_short(account)


def called_by_id(snapshot: Snapshot, accounts: Iterable[bytes]) -> dict[str, str]:
    """What people here call each of some accounts, by id."""
    petnames = snapshot.petnames()
    return {
        account.hex(): petnames.get(account) or names.account_short(account) for account in accounts
    }


def known_account(snapshot: Snapshot, text: str) -> bytes | None:
    """The account that `text` names, where the ledger or a log held here knows it."""
    try:
        account = find_account(snapshot, text)
    except UsageError:
        return None
    known = views.account(snapshot.state, account) is not None
    return account if known or account in _accounts_with(snapshot, account.hex()) else None


def must_be_final(snapshot: Snapshot, account: bytes) -> None:
    """Refuses an account that no final event has created yet."""
    if views.account(snapshot.state, account) is None:
        raise Refused(
            f"account {names.account_short(account)} is not final on this ledger yet",
            hint="an epoch must close over its log first",
            code="not_final",
        )


def _short_head(text: str) -> bytes:
    try:
        return names.parse_account_short(text)
    except BadInput as error:
        raise UsageError(error.message, hint="copy it again", code="bad_id") from None


def _looks_hex(text: str) -> bool:
    return len(text) >= names.MIN_PREFIX_DIGITS and all(c in "0123456789abcdefABCDEF" for c in text)


def _accounts_with(snapshot: Snapshot, digits: str) -> list[bytes]:
    found = {log.genesis.account_id for log in snapshot.logs()}
    found |= set(snapshot.petnames())
    found |= {view.account_id for view in views.accounts(snapshot.state)}
    return sorted(account for account in found if account.hex().startswith(digits))


def _only(found: list[bytes], text: str, what: str, petnames: dict[bytes, str]) -> bytes:
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"no {what} here begins with {text!r}",
            hint=f"see the list command for each {what}, or import the log that holds it",
            code="unknown_id",
        )
    shown = [petnames.get(item, item.hex()[:16]) for item in found[:MAX_CANDIDATES_SHOWN]]
    raise UsageError(
        f"{text!r} is ambiguous: {len(found)} ids begin so",
        hint="give more digits: " + ", ".join(shown),
        code="ambiguous_id",
    )


def kind_of(snapshot: Snapshot, event_id: bytes) -> str | None:
    """The kind of event behind an id, final or pending; None when this home does not hold it."""
    final = views.what_is(snapshot.state, event_id)
    if final is not None:
        return final
    for log_id, seq, found in snapshot.find_event(event_id):
        if found == event_id:
            event = well_formed(snapshot.leaves(log_id, seq, seq + 1)[0])
            return event.kind if event is not None else None
    return None


def find_id(snapshot: Snapshot, text: str, *kinds: str) -> bytes:
    """The id that `text` names, of one of `kinds` (none given: of any kind)."""
    digits = hex_prefix(text)
    wanted = " or ".join(WORDS.get(kind, kind) for kind in kinds) or "event"
    candidates = [digits] if isinstance(digits, bytes) else _ids_with(snapshot, digits)
    kept = [(item, kind_of(snapshot, item)) for item in candidates]
    fitting = [item for item, kind in kept if kind is not None and (not kinds or kind in kinds)]
    if len(fitting) != 1:
        foreign = [kind for _, kind in kept if kind is not None]
        if not fitting and foreign:
            word = WORDS.get(foreign[0], foreign[0])
            shows = "account show" if foreign[0] == "account" else "show"
            raise UsageError(
                f"{text!r} is not {_article(wanted)}: it is {_article(word)}",
                code="wrong_kind",
                hint=f"see `oln {shows} {text}`",
            )
        if isinstance(digits, bytes) and not fitting:
            raise UsageError(
                f"no {wanted} {text[:16]} is known here",
                hint="import or sync the log that holds it",
                code="unknown_id",
            )
    return _only(fitting, text, wanted, {})


def _ids_with(snapshot: Snapshot, digits: str) -> list[bytes]:
    even = digits[: len(digits) // 2 * 2]
    prefix = bytes.fromhex(even)
    found = {item for _, item in views.find_ids(snapshot.state, prefix)}
    found |= {item for _, _, item in snapshot.find_event(prefix)}
    return sorted(item for item in found if item.hex().startswith(digits))
