"""What people type, made into integers: amounts, shares, basis points, weights. One place for all.

An amount is credits with up to 6 decimals, in ASCII digits: `12.5`. It becomes micro-credits, an
integer from 0 to 2^53 - 1, without passing through a float. A pair names something and a number:
`ACCOUNT:SHARE`, `ID:BP`, `ID[:WEIGHT]`. What cannot be read is refused with the reason.
"""

from __future__ import annotations

import re
from typing import Final

from openledger_node.cli.text import DECIMALS, MICRO, credits_text
from openledger_node.ledger.errors import UsageError

MAX_AMOUNT_MICRO: Final = 2**53 - 1
MAX_AMOUNT_CHARS: Final = 64
MAX_SHARE: Final = 2**16
MAX_BP: Final = 10_000
MAX_WEIGHT: Final = 2**32

_AMOUNT: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,16}", re.ASCII)


def parse_amount(text: str, *, zero: bool = False) -> int:
    """Micro-credits of an amount in credits. UsageError names what is wrong with it."""
    match = _AMOUNT.fullmatch(text) if len(text) <= MAX_AMOUNT_CHARS else None
    if match is None:
        raise _bad_amount(text, _fault_of(text))
    whole, decimals = match[1], match[2] or ""
    if len(decimals) > DECIMALS:
        raise _bad_amount(text, f"it has {len(decimals)} decimals, and a credit has {DECIMALS}")
    amount_micro = int(whole) * MICRO + int(decimals.ljust(DECIMALS, "0"))
    if amount_micro > MAX_AMOUNT_MICRO:
        raise _bad_amount(text, f"it is more than {credits_text(MAX_AMOUNT_MICRO)} credits")
    if amount_micro == 0 and not zero:
        raise _bad_amount(text, "it is zero")
    return amount_micro


def _fault_of(text: str) -> str:
    """Why a text is not an amount, in the order in which a person would notice."""
    if not text.strip():
        return "it is empty"
    if len(text) > MAX_AMOUNT_CHARS:
        return f"it has more than {MAX_AMOUNT_CHARS} characters"
    if not text.isascii():
        return "its digits are not 0 to 9"
    if text.startswith("-"):
        return "it is negative"
    if text.startswith("+"):
        return "it has a sign"
    if "_" in text or "," in text:
        return "it has a separator; decimals follow a point"
    if re.fullmatch(r"[0-9.]+[eE][+-]?[0-9]+", text):
        return "it has an exponent"
    return "it is not a number"


def _bad_amount(text: str, fault: str) -> UsageError:
    shown = text if len(text) <= MAX_AMOUNT_CHARS else text[:MAX_AMOUNT_CHARS] + "..."
    return UsageError(
        f"{shown!r} is not an amount: {fault}",
        hint="write credits with up to 6 decimals, as in 12.5",
        code="bad_amount",
    )


def parse_number(text: str, what: str, highest: int) -> int:
    """A whole number from 1 to `highest`."""
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= number <= highest:
        raise UsageError(
            f"{text[:MAX_AMOUNT_CHARS]!r} is not a {what}",
            hint=f"a {what} is a whole number from 1 to {highest:,}",
            code="bad_number",
        )
    return number


def parse_pair(text: str, what: str, highest: int, default: int | None = None) -> tuple[str, int]:
    """(name, number) of `NAME:NUMBER`; the number may be left out where it has a default."""
    name, colon, number = text.rpartition(":")
    if not colon and default is not None:
        name, number = text, str(default)
    if not name:
        raise UsageError(
            f"{text[:MAX_AMOUNT_CHARS]!r} is not a name and a {what}",
            hint=f"write them with a colon between, as in NAME:{what.upper()}",
            code="bad_pair",
        )
    return name, parse_number(number, what, highest)


def parse_share_policy(text: str) -> str | list[str]:
    """`none`, `all`, or the accounts of a list with commas."""
    if text in ("none", "all"):
        return text
    accounts = [account.strip() for account in text.split(",")]
    if not all(accounts):
        raise UsageError(
            f"{text!r} does not say with whom to share",
            hint="write none, all, or accounts with commas between",
            code="bad_share",
        )
    return accounts


def amount_or_zero(text: str) -> int:
    return parse_amount(text, zero=True)


def creator(text: str) -> tuple[str, int]:
    """`ACCOUNT:SHARE`."""
    return parse_pair(text, "share", MAX_SHARE)


def floor(text: str) -> tuple[str, int]:
    """`ID:BP`."""
    return parse_pair(text, "bp", MAX_BP)


def weighted(text: str) -> tuple[str, int]:
    """`ID[:WEIGHT]`, the weight 1 where it is left out."""
    return parse_pair(text, "weight", MAX_WEIGHT, default=1)
