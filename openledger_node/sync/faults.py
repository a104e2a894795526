"""Faults of a peer: what it did wrong, in a stable word, and what that costs it.

- Y17 A link ends at the first fault. Its code is a word of `FAULTS`, which goes into BYE, the log
  and the counters; the table alone says what a fault costs.

A peer is banned for what cannot happen by accident: bytes that do not hash to what was promised,
signatures and proofs that do not hold. Broken promises, floods and malformed frames lower its
score, since another version or a bug may be behind them. What merely does not fit costs nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from openledger_node.ledger.errors import NetworkError

MAX_TEXT_CHARACTERS: Final = 200
"""Of a fault's text, as BYE carries it."""


class Cost(Enum):
    """What a fault costs the peer."""

    BAN = "ban"
    LOWER = "lower"
    NONE = "none"


# fmt: off
FAULTS: Final[dict[str, tuple[Cost, str]]] = {
    # Frames.
    "frame_size":     (Cost.LOWER, "a frame that is empty or larger than allowed"),
    "malformed":      (Cost.LOWER, "a frame whose fields are not those of its type"),
    "slow_frame":     (Cost.LOWER, "a frame that does not come to its end"),
    "not_canonical":  (Cost.LOWER, "a frame that has a shorter encoding"),
    "unknown_frame":  (Cost.LOWER, "an unknown frame of a type that may not be skipped"),
    # HELLO.
    "no_hello":       (Cost.LOWER, "something else before HELLO"),
    "second_hello":   (Cost.LOWER, "HELLO twice"),
    "slow_hello":     (Cost.LOWER, "no HELLO in time"),
    "version":        (Cost.NONE,  "no protocol version in common"),
    "ledger":         (Cost.NONE,  "another ledger"),
    "self":           (Cost.NONE,  "a link of a node with itself"),
    "node_id":        (Cost.BAN,   "a node id that is not the link's"),
    "bad_key":        (Cost.BAN,   "a device key that is not acceptable (K1)"),
    "bad_signature":  (Cost.BAN,   "a signature in HELLO that does not hold"),
    "not_allowed":    (Cost.NONE,  "a node that is not on the list of those allowed"),
    # Answers to what was asked, and what was not asked.
    "unasked":        (Cost.LOWER, "an answer to nothing that is asked"),
    "order":          (Cost.LOWER, "an answer out of its order, or with a gap"),
    "past_stop":      (Cost.LOWER, "more than what was asked for"),
    "lengths":        (Cost.LOWER, "leaf lengths that do not fit the leaves"),
    "bad_head":       (Cost.LOWER, "a head that does not fit what it answers"),
    "spine":          (Cost.LOWER, "a spine that does not fit its log"),
    "other_log":      (Cost.LOWER, "an answer about another log"),
    # Limits.
    "credit":         (Cost.LOWER, "more data than was granted"),
    "grant":          (Cost.LOWER, "a grant of nothing, or past the largest credit"),
    "too_many_wants": (Cost.LOWER, "too many questions at once"),
    "want_id":        (Cost.LOWER, "a question whose id does not grow"),
    "frontier":       (Cost.LOWER, "a frontier that is out of order or does not decode"),
    "too_many_logs":  (Cost.LOWER, "a frontier of too many logs or bytes"),
    "too_many_forks": (Cost.LOWER, "too many fork proofs on one link"),
    "too_large":      (Cost.LOWER, "a payload past a limit"),
    "no_answer":      (Cost.LOWER, "questions left without an answer, or CANCELs"),
    "unread":         (Cost.LOWER, "too many replies left unread"),
    "flood":          (Cost.LOWER, "control frames faster than allowed"),
    "silent":         (Cost.NONE,  "nothing heard for too long"),
    # What was sent does not verify.
    "bad_log":        (Cost.BAN,   "a first event that does not open the log it was sent for"),
    "bad_data":       (Cost.BAN,   "events that do not hash to their head, or a false head"),
    "bad_proof":      (Cost.BAN,   "a fork proof that does not hold"),
    "bad_record":     (Cost.BAN,   "a peer record that does not verify"),
    "bad_payload":    (Cost.BAN,   "payload bytes that do not hash to their commitment"),
    # Partings.
    "bye":            (Cost.NONE,  "the node stops, or has no use for the link"),
}
# fmt: on


class InternalError(AssertionError):
    """This node was about to break the protocol itself: a bug here, never the peer's fault."""


class PeerFault(NetworkError):
    """The peer did what the protocol does not allow; the link ends."""

    default_code = "peer_fault"

    def __init__(self, code: str, text: str, cost: Cost) -> None:
        super().__init__(text, code=code)
        self.cost = cost

    @property
    def text(self) -> str:
        """What happened, for people and for BYE."""
        return self.message


def fault(code: str, text: str) -> PeerFault:
    """The fault `code` of `FAULTS`. InternalError when the table has no such code."""
    if code not in FAULTS:
        raise InternalError(f"no fault has the code {code!r}")
    return PeerFault(code, text[:MAX_TEXT_CHARACTERS], FAULTS[code][0])
