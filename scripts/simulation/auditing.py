"""The second program, `scripts/audit-ledger`, on what simulated nodes hold in the end.

Its signatures are verified by the node's library here: plain Python takes milliseconds for each,
and a run has thousands. Its own verification has tests of its own.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.encoding import decode, encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.genesis import Genesis
from openledger_node.ledger.keys import PublicKey

SCRIPT: Final = Path(__file__).resolve().parent.parent / "audit-ledger"


def second_program() -> Any:
    """The script as a module of its own."""
    loader = importlib.machinery.SourceFileLoader("audit_ledger", str(SCRIPT))
    spec = importlib.util.spec_from_loader("audit_ledger", loader)
    assert spec is not None
    module: Any = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = written
    return module


@cache
def fast_program() -> Any:
    """The script, with the node's library for signatures."""
    module = second_program()
    module.verify = _verifies
    return module


def _verifies(raw: bytes, message: bytes, signature: bytes) -> bool:
    try:
        return PublicKey.parse(raw).verifies(signature, message)
    except BadInput:
        return False


def problems_of(
    genesis: Genesis,
    logs: Mapping[bytes, Sequence[bytes]],
    made: Mapping[int, tuple[bytes, bytes]],
) -> list[str]:
    """Where the program does not come to the (cut_id, statement root) that nodes made of epochs."""
    program = fast_program()
    held = {log_id: list(leaves) for log_id, leaves in logs.items()}
    found, epoch = [], 0
    try:
        for epoch, state, _, _, root in program.audited(decode(encode(genesis)), held):
            if (state[1], state[2]) != made[epoch] or root != state[2]:
                found.append(f"the second program makes something else of epoch {epoch}")
    except program.Fault as fault:
        found.append(f"the second program refuses its logs: {fault}")
    if epoch != max(made, default=0):
        found.append(f"the second program follows it to epoch {epoch}")
    return found
