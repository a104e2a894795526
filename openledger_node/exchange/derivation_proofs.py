"""The proof of one entry of a derivation map: whose some tokens of a contribution are.

`derivation`: `[derivation event, entry proof]`. The event is proved as in proofs.py and binds the
contribution, the map root and the tokens of each source; the entry proof (T10) shows one entry
under that root. It proves what was declared or claimed, by whom and when. Whether it counts is said
by the state of the ledger, and whether it is true by the two texts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from openledger_node.attribution.derivation_map import (
    MapEntryProof,
    decode_map_payload,
    prove_entry,
)
from openledger_node.exchange.proofs import EventProof, check_event, event_proof
from openledger_node.ledger.errors import Refused, UsageError, VerificationFailed
from openledger_node.ledger.events import parse_event
from openledger_node.ledger.genesis import Genesis
from openledger_node.ledger.kinds import DataDerivation, parse_body
from openledger_node.node.claims import own_payload
from openledger_node.node.core import NodeCore
from openledger_node.node.reading import Located, body_of
from openledger_node.store.snapshot import Snapshot


class DerivationParts(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the proof of an entry carries."""

    derivation: EventProof
    entry: MapEntryProof


def derivation_parts(
    core: NodeCore, snapshot: Snapshot, derivation: Located, number: int
) -> DerivationParts:
    """The proof of the `number`-th entry (from 0) of a derivation's map."""
    body = body_of(derivation)
    account = derivation.log.genesis.account_id
    data = own_payload(snapshot, account, derivation.event.payload_commit)
    if data is None:
        raise Refused(
            "the map of this derivation is not held here",
            hint="maps are given to everybody: sync, or import a bundle",
            code="no_payload",
        )
    entries = decode_map_payload(data, body.contribution, body.map_root, body.sources)
    if not 0 <= number < len(entries):
        raise UsageError(
            f"the map has {len(entries):,} entries: there is no entry {number}",
            hint="the first is 0",
        )
    return DerivationParts(event_proof(core, snapshot, derivation), prove_entry(entries, number))


def check_derivation(genesis: Genesis, parts: DerivationParts) -> dict[str, Any]:
    """Facts of the proof of an entry. VerificationFailed says what does not hold."""
    shown = check_event(genesis, parts.derivation)
    body = parse_body(parse_event(parts.derivation.leaf))
    if not isinstance(body, DataDerivation):
        raise VerificationFailed("the event is no derivation")
    entry = parts.entry.entry
    if not parts.entry.verify(body.map_root, body.contribution):
        raise VerificationFailed("the entry is not one of the map that the derivation names")
    if entry.length > dict(body.sources).get(entry.contribution, 0):
        raise VerificationFailed("the entry has more tokens than the derivation states")
    return {
        "derivation_id": shown["event_id"],
        "author": shown["account"],
        "contribution_id": body.contribution.hex(),
        "document": entry.document,
        "tokens": [entry.start, entry.end],
        "source_id": entry.contribution.hex(),
        "source_document": entry.source_document,
        "source_tokens": [entry.source_token, entry.source_token + entry.length],
        "entry": parts.entry.index,
        "entries": parts.entry.entries,
        "final": shown["final"],
    }
