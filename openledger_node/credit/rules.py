"""The rules in one sentence each, and why events are void, for people.

A void event is stored as (rule, reason code); the codes are part of the state, the sentences are
not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

RULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "C1": "An account spends, in ledger order, what it held at the end of the previous epoch; "
        "an issuer issues up to its cap for the epoch, and never more than 2^53 - 1 "
        "micro-credits in all.",
        "C2": "A grant locks an amount for one provider until its expiry epoch; what is unused "
        "returns by itself.",
        "C3": "A receipt draws its fee only on a grant of an earlier epoch, before its expiry, "
        "between two different accounts, and its snapshot epoch is 1 to 4 epochs old.",
        "C4": "A fee is held until it matures; the payer's confirm releases the model and agent "
        "parts at once, and dispute and cancel are possible before maturity and before "
        "confirm.",
        "C5": "The network fee of a receipt goes to the network pool.",
        "C6": "The rest of a fee is divided between data, model and agent by the ledger's role_bp.",
        "C7": "The data part is divided over the receipt's contributions by ppm; the unattributed "
        "part is refunded, or divided by what the model declares it was trained on.",
        "C8": "Of what an artefact receives in an epoch each ancestor takes its floor; floors are "
        "at most 9000 bp over at most 64 ancestors.",
        "C9": "The effective licence over the lineage is shown, and changes no credit.",
        "C10": "The rest of an artefact's due is divided among its creators by their shares; a "
        "creator who has not accepted accrues in escrow.",
        "C11": "Copies are credited to their origin: receipts name origins, and floors pay what is "
        "derived from.",
        "C12": "The network pool is conserved; rules version 1 pays nobody from it.",
        "C13": "Every split hands out its whole total.",
        "C14": "Amounts stay below 2^53 micro-credits, and all limits are judged by the fold.",
        "C15": "ppm x uses of a receipt count as units of its contributions' accounts once the "
        "payer "
        "confirms, or another account if there is no grant.",
        "C16": "Redeemed credits are locked for an issuer, and only that issuer's payouts burn "
        "them, "
        "from the next epoch on.",
        "CH": "Anybody may challenge a receipt once before it matures; the witnesses' verdict "
        "decides, or its time runs out.",
        "OWN": "Only the account that made a thing may share, withdraw or erase it, or accept what "
        "is derived from it.",
        "PARK": "An event that names an unknown id waits for it for park_epochs, and is void after "
        "that.",
        "A10": "A new witness set takes effect once a quorum of the current seats and all new "
        "seats "
        "agree.",
        "R1": "Common text is named by the accounts that the ledger's params list.",
        "R4": "A receipt's shares, with the unattributed one, sum to exactly 1,000,000 ppm over "
        "distinct contributions.",
        "K4": "Key events form one chain an account, each signed by the root keys in force.",
        "K5": "Of two key events in the same place a rotation wins, then the lower event id.",
        "L1": "An event is an array of version 1 with seven well-formed items.",
        "L2": "An event's body has the shape and the size of its kind.",
        "L3": "A log begins with log.open, and has it nowhere else.",
        "L7": "A fork is proved by two signed heads of one log that do not extend each other.",
    }
)
"""Rule id -> what it says."""

_ANY: Final = "*"
_REASONS: Final[dict[tuple[str, str], str]] = {
    (_ANY, "names_void"): "it names a void event",
    (_ANY, "wrong_type"): "it names something of another kind than it must",
    (_ANY, "duplicate"): "it names the same thing twice",
    (_ANY, "unknown_account"): "it names an account that the ledger does not know",
    (_ANY, "not_the_owner"): "its author does not own what it names",
    (_ANY, "not_a_seat"): "its author's device has no seat among the witnesses",
    (_ANY, "voted_before"): "its author has voted on this before",
    (_ANY, "settled"): "the receipt is settled already",
    (_ANY, "confirmed_before"): "the receipt was confirmed before",
    (_ANY, "challenged_before"): "it was challenged before, and only the first challenge counts",
    ("C1", "balance"): "it does not fit into what the account could spend in this epoch",
    ("C1", "not_an_issuer"): "its author is not an issuer of this epoch",
    ("C1", "cap"): "it exceeds what the issuer may issue in an epoch",
    ("C1", "supply"): "the ledger would hold more than 2^53 - 1 micro-credits",
    ("C2", "expired"): "its expiry epoch is not after the epoch it counts in",
    ("C3", "own_grant"): "payer and provider are the same account",
    ("C3", "snapshot"): "its snapshot epoch is not 1 to 4 epochs before its own",
    ("C3", "no_grant"): "it states a fee without a grant",
    ("C3", "unknown_grant"): "no grant of an earlier epoch has this id",
    ("C3", "other_provider"): "the grant is for another provider",
    ("C3", "grant_not_final"): "the grant was not final in an earlier epoch",
    ("C3", "grant_expired"): "the grant has expired",
    ("C3", "grant_spent"): "the fee exceeds what is left of the grant",
    ("C3", "not_final"): "a contribution it names was not final at its snapshot epoch",
    ("C3", "withdrawn"): "a contribution it names was withdrawn by its snapshot epoch",
    ("C4", "not_the_payer"): "only the payer may do this",
    ("C4", "not_the_provider"): "only the provider may do this",
    ("C4", "disputed_before"): "the receipt is disputed already",
    ("C8", "too_many"): "its lineage has more than 64 ancestors",
    ("C8", "too_much"): "the floors of its lineage exceed 9000 bp",
    ("C10", "not_a_creator"): "its author is not a named creator of it",
    ("C10", "accepted_before"): "its author has accepted it before",
    ("OWN", "accepted_before"): "the derivation counts already",
    ("C15", "own_receipt"): "a use is attested by another account than the one that recorded it",
    ("C16", "no_standing_order"): "there is no standing order to end",
    ("C16", "not_an_issuer"): "it names an account that never was an issuer",
    ("C16", "below_minimum"): "the amount is below the minimum it states",
    ("C16", "empty"): "it names neither redeems nor a payout to reverse",
    ("C16", "not_own_payout"): "it reverses what is not an earlier payout of its author",
    ("C16", "reversed_before"): "it reverses a reversal, or a payout reversed before",
    ("C16", "not_own_redeem"): "it names what is not a redeem for its author",
    ("C16", "not_open"): "it exceeds what was open of a redeem at the end of the previous epoch",
    ("CH", "no_challenge"): "no challenge of this receipt is open",
    ("PARK", "lapsed"): "what it names did not turn up in time",
    ("A10", "number"): "its number is not the next one",
    (
        "A10",
        "not_usable",
    ): "the set names someone twice, an unusable key, or params that do not add up",
    ("R1", "not_named"): "its author is not one of the accounts that name common text",
    ("R4", "sum"): "its shares do not sum to 1,000,000 ppm",
    ("K4", "exists"): "the account exists already",
    ("K4", "no_account"): "the account does not exist",
    ("K4", "not_next"): "it does not follow the last key event of its account",
    ("K4", "not_valid"): "its keys, commitment or signatures do not fit the account",
    ("K4", "other_account"): "it belongs to another account than its log",
    ("K5", "lost"): "another key event took its place",
    ("L1", "not_an_event"): "it is not a well-formed event of version 1",
    ("L2", "malformed"): "its body does not have the shape of its kind",
    ("L2", "too_long"): "its body is longer than its kind allows",
    ("L3", "not_first"): "log.open stands elsewhere than at the beginning of its log",
    ("L7", "not_a_fork"): "its evidence does not hold",
    ("L7", "other_ledger"): "its evidence is about a log of another ledger",
}
REASONS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(_REASONS)
"""(rule id or `*`, reason code) -> why an event is void."""


def reason_sentence(rule: str, code: str) -> str:
    """Why an event is void, in words. Unknown codes (of a newer version) are shown as they are."""
    return REASONS.get((rule, code)) or REASONS.get((_ANY, code)) or f"reason {code}"
