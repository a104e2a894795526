"""What an attacker has in the end, against what honest behaviour would have given.

Each attack is played twice from one seed: honestly, and as the attack. The gain is the ratio; at
most 1 means that the attack does not pay. `squat` is told as it is: the author never registered.

| attack | the attacker | honest instead |
|---|---|---|
| sybil | cuts a text into pieces, each registered by an account of its own | registers one |
| wash | pays fees to a model, an author and a reader that are its own | keeps the money |
| copy | registers another's text, 5 % of its words changed; outputs quote that | the author |
| collude | as copy, and the provider trains on the copy alone | the author |
| | a friend and the provider, whose receipts give the friend all weight, unproved | both |
| stall | the payer never confirms | confirms |
| | the provider serves nobody the evidence of its receipts | serves it |
| squat | registers a text whose author is not on the ledger | nothing |

Where receipts are false or unproved the payer challenges them, as it would: it gets its fee back.
A false receipt that nobody looks at before it matures is paid.

Shares are whole millionths of a fee (R4). Cutting a text in pieces moves remainders of them, some
one way and some the other: up to one by piece and receipt is no gain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openledger_node.cli.simulate.world import (
    ANSWERS,
    FEE_MICRO,
    PROVIDER,
    READER,
    WAITING,
    World,
    world,
)

if TYPE_CHECKING:
    from openledger_node.cli.app import Interface

PIECES: Final = 5
EDITS_PERCENT: Final = 5
ROUNDING_MICRO: Final = PIECES * ANSWERS * FEE_MICRO // 1_000_000
"""Shares are whole millionths of a fee (R4): a remainder for each piece and receipt may move."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One seed's two plays, in micro-credits."""

    seed: int
    way: str
    honest_micro: int
    attack_micro: int

    @property
    def gain_ppm(self) -> int | None:
        """The attack's over the honest figure, in millionths; None over nothing."""
        if not self.honest_micro:
            return None
        return self.attack_micro * 1_000_000 // self.honest_micro

    @property
    def pays(self) -> bool:
        """Whether the attacker has more than remainders could have moved."""
        return self.attack_micro - self.honest_micro > ROUNDING_MICRO


Play = Callable[[World, bool], int]
"""play(world, attacks) -> the attacker's micro-credits."""


def sybil(place: World, attacks: bool) -> int:
    place.join("other", "attacker")
    text, others = place.words("mine"), place.words("other")
    named = [place.add("other", others)]
    mine = ["attacker"]
    if attacks:
        mine = [f"sybil{number}" for number in range(PIECES)]
        place.join(*mine)
        size = len(text) // PIECES
        for number, name in enumerate(mine):
            named.append(place.add(name, text[number * size : (number + 1) * size]))
    else:
        named.append(place.add("attacker", text))
    place.settle()
    place.fund(READER)
    receipts = place.paid_uses(READER, PROVIDER, named, place.answers([text, others]))
    place.confirm(READER, receipts)
    return place.worth(*mine)


def wash(place: World, attacks: bool) -> int:
    place.join("author", "payer")
    text = place.words("mine")
    named = place.add("author", text)
    place.settle()
    place.fund("payer")
    if attacks:
        receipts = place.paid_uses("payer", PROVIDER, [named], place.answers([text]))
        place.confirm("payer", receipts)
    return place.worth("author", "payer", PROVIDER)


def copy(place: World, attacks: bool) -> int:
    return _copied(place, attacks, both=True)


def collude(place: World, attacks: bool) -> int:
    return _copied(place, attacks, both=False)


def _copied(place: World, attacks: bool, *, both: bool) -> int:
    """Outputs drawn from a copy: the copier's share, or what the author gets for the original."""
    place.join("author", "copier")
    text = place.words("mine")
    named = [place.add("author", text)]
    place.settle()
    if attacks:
        text = place.edited(text, EDITS_PERCENT)
        copied = place.add("copier", text)
        named = [*named, copied] if both else [copied]
        place.settle()
    place.fund(READER)
    receipts = place.paid_uses(READER, PROVIDER, named, place.answers([text]))
    place.confirm(READER, receipts)
    return place.worth("copier") if attacks else place.worth("author")


def stall(place: World, attacks: bool) -> int:
    place.join("author")
    text = place.words("mine")
    named = place.add("author", text)
    place.settle()
    place.fund(READER)
    receipts = place.paid_uses(READER, PROVIDER, [named], place.answers([text]))
    if not attacks:
        place.confirm(READER, receipts)
    for _ in range(3):
        place.settle()
    return place.worth(READER)


def misreport(place: World, attacks: bool) -> int:
    """The friend's and the provider's credits, when receipts name the friend instead of the author
    whose text was quoted.
    """
    place.join("author", "friend")
    text = place.words("mine")
    named = [place.add("author", text), place.add("friend", place.words("friend"))]
    place.settle()
    place.fund(READER)
    if attacks:
        _challenged(place, place.false_uses(READER, PROVIDER, named, named[1]))
    else:
        place.paid_uses(READER, PROVIDER, named, place.answers([text]))
    place.mature()
    return place.worth("friend", PROVIDER)


def withhold(place: World, attacks: bool) -> int:
    """The provider's credits, when nobody gets to see the evidence of its receipts."""
    place.join("author")
    text = place.words("mine")
    named = place.add("author", text)
    place.settle()
    place.fund(READER)
    if attacks:
        _challenged(place, place.false_uses(READER, PROVIDER, [named], named))
    else:
        place.paid_uses(READER, PROVIDER, [named], place.answers([text]))
    place.mature()
    return place.worth(PROVIDER)


def _challenged(place: World, receipts: list[str]) -> None:
    for receipt in receipts:
        place[READER].challenge(receipt, ground="evidence_withheld")


def squat(place: World, attacks: bool) -> int:
    place.join("squatter")
    text = place.words("absent")
    if not attacks:
        return 0
    named = place.add("squatter", text)
    place.settle()
    place.fund(READER)
    receipts = place.paid_uses(READER, PROVIDER, [named], place.answers([text]))
    place.confirm(READER, receipts)
    return place.worth("squatter")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to attack: how it is played, and the params of the ledger it is played on."""

    name: str
    play: Play
    params: str = ""


ATTACKS: Final[dict[str, tuple[Way, ...]]] = {
    "sybil": (Way("pieces", sybil),),
    "wash": (Way("own fees", wash),),
    "copy": (Way("edited copy", copy),),
    "collude": (Way("copy alone", collude), Way("false weights", misreport, WAITING)),
    "stall": (Way("no confirming", stall), Way("no evidence", withhold, WAITING)),
    "squat": (Way("absent author", squat),),
}


def play(name: str, interface: Interface, folder: Path, seed: int) -> list[Outcome]:
    """Both plays of each way of an attack, from one seed."""
    return [_play(way, interface, folder / way.name, seed) for way in ATTACKS[name]]


def _play(way: Way, interface: Interface, folder: Path, seed: int) -> Outcome:
    figures = []
    for attacks in (False, True):
        place = folder / f"{seed}-{'attack' if attacks else 'honest'}"
        with world(interface, place, seed, params=way.params) as made:
            figures.append(way.play(made, attacks))
    return Outcome(seed, way.name, *figures)
