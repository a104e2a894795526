"""Makes the vectors of the fold: `python -m tests.vectors.make_credit`.

`apportion.json` divides totals, `statement.json` encodes rows and proves each under the root,
`state_digest.json` is a small ledger from its genesis to its last digest, leaf by leaf: another
implementation can fold it and compare every delta; `trained_on.json` is one under that policy.
Bytes are lower-case hex.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from openledger_node.credit.apportion import apportion
from openledger_node.credit.statement import Row, Statement
from openledger_node.ledger import kinds
from openledger_node.ledger.encoding import encode
from tests.kit.ledgerkit import CREDIT, Ledger, contribution, digest, model
from tests.kit.stage import Stage

FOLDER: Final = Path(__file__).resolve().parent
FIGURES: Final = (0, 1, 127, 128, 65_535, 2**32, 2**53 - 1)


def apportion_cases() -> dict[str, Any]:
    """Totals with and without remainders, ties, zero weights, no weight at all."""
    cases = []
    for total, weights in (
        (0, (1, 2, 3)),
        (10, (1, 1, 1)),
        (9, (4_000, 6_000)),
        (100, (0, 0)),
        (7, (0, 5, 0, 5)),
        (1, (1,) * 9),
        (3_800_000, (600_000, 300_000, 100_000)),
        (2**53 - 1, (65_536, 1, 65_535)),
        (5, ()),
    ):
        salt = digest("salt", total, *weights)
        keyed = [(digest("key", i), weight) for i, weight in enumerate(weights)]
        cases.append(
            {
                "total": total,
                "salt": salt.hex(),
                "weights": [[key.hex(), weight] for key, weight in keyed],
                "parts": apportion(total, keyed, salt),
            }
        )
    return {"what": "apportion(total, weights, salt): the largest remainders", "cases": cases}


def statement_cases() -> dict[str, Any]:
    """Statements of 0 to 5 rows, with every row's proof."""
    cases = []
    for count in (0, 1, 2, 3, 5):
        rows = sorted(
            (
                Row(digest("account", i), *(FIGURES[(i + j) % len(FIGURES)] for j in range(8)))
                for i in range(count)
            ),
            key=lambda row: row.account,
        )
        statement = Statement(count, digest("cut", count), tuple(rows))
        proofs = [statement.row_proof(row.account) for row in rows]
        cases.append(
            {
                "epoch": statement.epoch,
                "cut_id": statement.cut_id.hex(),
                "rows": [encode(row).hex() for row in rows],
                "root": statement.root.hex(),
                "statement": statement.encode().hex(),
                "proofs": [encode(proof).hex() for proof in proofs],
            }
        )
    return {"what": "statements: rows, root, encoding, row proofs", "cases": cases}


def small_ledger() -> Ledger:
    """A few epochs with a bit of everything: a use, a dispute, a redeem, escrow, void events."""
    stage = Stage(maturity_epochs=1, dispute_epochs=1)
    stage.confirm(stage.use(10 * CREDIT, agent=stage.agent))
    stage.dispute(stage.use(CREDIT))
    stage.transfer(stage.user, stage.ada.id, 1_000 * CREDIT)
    redeem = stage.redeem(5 * CREDIT)
    stage.use(uses=3)
    stage.close()
    stage.payout((redeem, 2 * CREDIT))
    stage.confirm(digest("unknown"))
    stage.close(2)
    return stage.ledger


def declaring_ledger() -> Ledger:
    """Unattributed parts under `trained_on`: two models of different epochs, a datanet with members
    of three, one without any; parts that leave remainders.
    """
    stage = Stage(maturity_epochs=0, unattributed="trained_on")
    net = stage.eve.add("datanet.create", kinds.DatanetCreate("Net", "", "CC"))
    empty = stage.eve.add("datanet.create", kinds.DatanetCreate("Empty", "", "CC"))
    models = []
    for author, tokens in ((stage.ada, 301), (stage.bob, 102), (stage.eve, 77)):
        author.add("data.contribute", contribution(f"{tokens} tokens", tokens=tokens, datanet=net))
        author.add("data.contribute", contribution("Seven", tokens=7, datanet=net))
        stage.close()
        named = [(net, 5), (stage.a, 3), (empty, 1)]
        models.append(stage.maker.add("model.register", model(f"{tokens}", trained_on=named)))
    stage.close()
    for fee in (CREDIT + 1, 999_983, 7):
        for model_id in (*models, stage.m):
            stage.use(fee, [(stage.b, 333_333)], model_id=model_id)
    stage.close()
    return stage.ledger


def folded_cases(ledger: Ledger) -> dict[str, Any]:
    """A ledger: genesis, logs, cuts, and what each epoch comes to."""
    epochs = []
    for closed in ledger.epochs:
        folded = closed.folded
        epochs.append(
            {
                "epoch": folded.epoch,
                "cut_id": folded.cut_id.hex(),
                "changed": [[mark.log_id.hex(), mark.size] for mark in closed.cut.changed],
                "delta": [[k.hex(), None if v is None else v.hex()] for k, v in folded.delta],
                "state_digest": folded.state_digest.hex(),
                "statement": folded.statement.encode().hex(),
                "statement_root": folded.statement.root.hex(),
            }
        )
    return {
        "what": "a ledger folded from its genesis: deltas, state digests and statements",
        "genesis": encode(ledger.genesis).hex(),
        "ledger_id": ledger.id.hex(),
        "logs": [
            {"log_id": log_id.hex(), "leaves": [leaf.hex() for leaf in log.leaves]}
            for log_id, log in sorted(ledger.logs.by_id.items())
        ],
        "epochs": epochs,
    }


MAKERS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "apportion": apportion_cases,
    "statement": statement_cases,
    "state_digest": lambda: folded_cases(small_ledger()),
    "trained_on": lambda: folded_cases(declaring_ledger()),
}


def text_of(name: str) -> str:
    """The text of a vector file as the code makes it today."""
    return json.dumps(MAKERS[name](), indent=1) + "\n"


def main() -> None:
    for name in MAKERS:
        (FOLDER / f"{name}.json").write_text(text_of(name), "ascii")


if __name__ == "__main__":
    main()
