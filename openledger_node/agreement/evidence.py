"""What a seat said that no honest seat says, as pairs of events. Evidence never expires.

A round notices, as events come, two frontiers, two proposals of one view, two votes of one word in
one view, skip beside final in one view, two states, and a proposal out of turn. A seat may also
have voted for a proposal that can be no valid one. That is told here, from what the id of a
proposal binds alone: its frontiers, its parent and its cut. Certificates are not part of the id; of
those a voter may have seen better ones.
"""

from __future__ import annotations

from typing import Final

from openledger_node.agreement.certificates import Word
from openledger_node.agreement.rounds import Evidence, Round
from openledger_node.ledger.votes import WitnessPropose

_WORDS: Final[tuple[Word, ...]] = ("notar", "final")


def evidence_of(round_: Round) -> list[Evidence]:
    """Everything that the events of a round prove against seats, in no set order."""
    return [*round_.evidence, *unjustified_votes(round_)]


def unjustified_votes(round_: Round) -> list[Evidence]:
    """Votes for proposals that no certificate could make valid: (proposal id, the vote's event)."""
    found = []
    for named, variants in round_.proposals.items():
        if not is_hopeless(round_, variants[0]):
            continue
        for word in _WORDS:
            for seat in round_.votes.get((word, variants[0].view, named), ()):
                event_id = round_.voting_event(word, variants[0].view, seat)
                if event_id is not None and round_.cast[word, variants[0].view, seat] == named:
                    what = f"{word} for an unjustified proposal"
                    found.append(Evidence(seat, what, named, event_id))
    return found


def is_hopeless(round_: Round, body: WitnessPropose) -> bool:
    """Whether no proposal with this id is valid, whatever certificates it carries."""
    if list(body.frontiers) != sorted(set(body.frontiers)):
        return True
    if len(body.frontiers) < round_.seats.quorum:
        return True
    seats = [round_.reports[named][0] for named in body.frontiers if named in round_.reports]
    if len(set(seats)) != len(seats):
        return True
    parents = round_.proposals.get(body.parent_id or b"", ())
    return any((one.frontiers, one.cut_id) != (body.frontiers, body.cut_id) for one in parents)
