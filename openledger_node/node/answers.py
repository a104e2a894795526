"""Answers to a receipt by its payer and its provider: confirm, cancel, dispute."""

from __future__ import annotations

from typing import Any

from openledger_node.ledger.kinds import UseCancel, UseConfirm, UseDispute
from openledger_node.node.core import NodeCore
from openledger_node.node.finality import judged_append
from openledger_node.node.lookup import find_id
from openledger_node.node.results import Recorded


def _answer(core: NodeCore, text: str, kind: str, shape: type[Any]) -> Recorded:
    with core.store.read() as snapshot:
        receipt = find_id(snapshot, text, "use.receipt")
    return judged_append(core, kind, shape(receipt))


def confirm(core: NodeCore, text: str) -> Recorded:
    """The payer is content: model and agent parts are released, units counted, dispute is over."""
    return _answer(core, text, "use.confirm", UseConfirm)


def cancel(core: NodeCore, text: str) -> Recorded:
    """The provider takes its receipt back: everything held returns to the payer."""
    return _answer(core, text, "use.cancel", UseCancel)


def dispute(core: NodeCore, text: str) -> Recorded:
    """The payer is not content: the fee is held until one of the two gives way."""
    return _answer(core, text, "use.dispute", UseDispute)
