"""`simulate`: attacks on a made-up co-operative, played against the real rules."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import OlnCommand
from openledger_node.cli.options import Whole

if TYPE_CHECKING:
    from openledger_node.cli.simulate.attacks import Outcome

NAMES: Final = ("sybil", "wash", "copy", "collude", "stall", "squat")
MAX_SEEDS: Final = 1_000


@click.command(cls=OlnCommand)
@click.argument("attack", type=click.Choice(NAMES))
@click.option("--seeds", type=Whole(1, MAX_SEEDS), default=3, help="How many worlds.")
@pass_app
def simulate(app: App, attack: str, seeds: int) -> None:
    """Play an attack on a made-up co-operative, and what honest behaviour would have given.

    Homes in a folder of their own write, attribute and fold as all homes do; nothing of yours is
    touched. A gain of at most 1, but for remainders of a millionth, means that the attack does not
    pay. Status 1 when one does; squat, which no rule can see before the author comes, is told as it
    is.

    \b
    Examples:
      oln simulate sybil
      oln simulate copy --seeds 5
    """
    from openledger_node.cli.simulate.attacks import play

    outcomes = []
    with tempfile.TemporaryDirectory(prefix="oln-simulate-") as folder:
        for seed in range(1, seeds + 1):
            app.progress(seed - 1, seeds, "worlds played")
            outcomes.extend(play(attack, app.interface, Path(folder), seed))
    pays = attack != "squat" and any(one.pays for one in outcomes)
    document = {"attack": attack, "pays": pays, "worlds": [_world(one) for one in outcomes]}
    app.emit(document, lambda _: _show(attack, outcomes))
    if pays:
        app.answer_no()


def _world(outcome: Outcome) -> dict[str, Any]:
    return {
        "seed": outcome.seed,
        "way": outcome.way,
        "honest_micro": outcome.honest_micro,
        "attack_micro": outcome.attack_micro,
        "gain_ppm": outcome.gain_ppm,
    }


def _show(attack: str, outcomes: list[Outcome]) -> None:
    rows = []
    for one in outcomes:
        gain = "over nothing" if one.gain_ppm is None else f"{one.gain_ppm / 1_000_000:.6f}"
        honest, attacked = text.credits_text(one.honest_micro), text.credits_text(one.attack_micro)
        rows.append((str(one.seed), one.way, honest, attacked, gain))
    text.table((">seed", "way", ">honest", f">{attack}", ">gain"), rows)
