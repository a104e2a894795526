"""openledger-node: whose work an output drew on and what they are owed, in checkable figures.

A map of the package, in the order of its layers; each layer imports only those above it:

    ledger       bytes, keys, events, Merkle trees, logs, heads, proofs, forks, genesis      pure
    credit       the fold: state, phases, splits, statements, explanations                   pure
    agreement    epochs, cuts and votes, as a state machine                                  pure
    attribution  canonical text, spans, derivation, weights, span proofs                     pure
    sync         the protocol between two peers: bytes in, bytes and intents out             pure
    store        LMDB: logs, heads, payloads, folded state; check and repair                 disk
    net          links between machines                                                      sockets
    node         a home: wires store, agreement and fold together, and owns the clock        all
    exchange     bundles, and import and export                                              files
    api          the Python interface of a home: one method for each command                 all
    cli          the `oln` command: parse, call, print                                       all

The Python interface is `open_home(path)`; docs/ARCHITECTURE.md has the reading order.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openledger_node.api import open_home

__all__ = ["__version__", "open_home"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports the Python interface on first use, so that reading the version costs nothing."""
    if name == "open_home":
        from openledger_node.api import open_home

        return open_home
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
