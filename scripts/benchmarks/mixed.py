"""A home with the mixed events of a working ledger: what the fold's figures are measured on.

Two accounts: the ledger's one seat, which contributes, registers, and records uses; and a payer in
a home of its own, whose grant reaches the seat's home in a bundle, as between two people. Of the
seat's events 40 % are contributions, 10 % registrations, 15 % money, 35 % receipts, each with a fee
and four contributions of earlier epochs. The first epoch has contributions and registrations alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from openledger_node import open_home
from openledger_node.ledger import kinds
from openledger_node.node.core import NodeCore, open_core, system_clock_ms
from openledger_node.node.setup import initialise
from openledger_node.store.writer import Draft
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.homes import append_all, new_home
from scripts.benchmarks.works import MIXED_HOME, READY, Scale

PAYER_HOME: Final = "payer-home"
FEE_MICRO: Final = 10_000
GRANT_MICRO: Final = 10**12
PARTS: Final = 100
REGISTRATIONS, MONEY, RECEIPTS = 10, 15, 35
"""Of a hundred events; the others are contributions."""
MAX_EPOCH_EVENTS: Final = 10_000
LEAST_EPOCHS: Final = 10
DRAWN_ON: Final = 4
"""Contributions that a receipt names."""
UNATTRIBUTED_PPM: Final = 100_000


@dataclass(slots=True)
class Parties:
    """What the events refer to: all of it final, but for an epoch that is being filled."""

    payer: bytes
    grant: bytes
    contributions: list[bytes]
    models: list[bytes]
    snapshot: int = 0


def begin(place: Path) -> tuple[Path, bytes, bytes]:
    """Two homes on one ledger, with a grant from the payer: (the seat's home, payer, grant)."""
    seat, payer = place / MIXED_HOME, place / PAYER_HOME
    new_home(seat)
    genesis, bundle = place / "genesis.json", place / "exchange.bundle"
    with open_home(seat) as home:
        home.ledger_export(genesis)
        issued = home.status().account_id
    joined = initialise(payer, name="payer", genesis_file=genesis, clock_ms=system_clock_ms)
    _carry(payer, seat, bundle)
    with open_home(seat) as home:
        home.epoch_close()
        home.issue(2 * GRANT_MICRO, joined.account_id)
        home.issue(GRANT_MICRO, issued)
        home.epoch_close()
    _carry(seat, payer, bundle)
    with open_home(payer) as home:
        granted = home.grant(issued, GRANT_MICRO, None)
    _carry(payer, seat, bundle)
    with open_home(seat) as home:
        home.epoch_close()
    assert granted.grant_id is not None
    return seat, bytes.fromhex(joined.account_id), bytes.fromhex(granted.grant_id)


def _carry(source: Path, target: Path, bundle: Path) -> None:
    """What one home has, in a bundle to the other."""
    with open_home(source) as home:
        home.bundle_export(bundle)
    with open_home(target) as home:
        home.bundle_import(bundle)
    bundle.unlink()


def fill(seat: Path, events: int, payer: bytes, grant: bytes) -> Parties:
    """Appends mixed events, an epoch at a time, and closes every epoch."""
    parties = Parties(payer, grant, [], [])
    size = max(1, min(MAX_EPOCH_EVENTS, events // LEAST_EPOCHS))
    done = 0
    while done < events:
        core = open_core(seat)
        try:
            count = min(size, events - done)
            _append_epoch(core, parties, count)
        finally:
            core.close()
        parties.snapshot = _close(seat)
        done += count
    return parties


def _append_epoch(core: NodeCore, parties: Parties, count: int) -> None:
    """The events of one epoch; the first has registrations alone, for receipts to refer to."""
    time_ms = core.clock_ms()
    first = not parties.contributions
    receipts = 0 if first else count * RECEIPTS // PARTS
    transfers = 0 if first else count * MONEY // PARTS
    models = max(1, count * REGISTRATIONS // PARTS)
    contributions = count - receipts - transfers - models
    append_all(core, [_transfer(parties.payer, time_ms)] * transfers)
    append_all(core, list(receipts_on(parties, receipts, time_ms)))
    start = len(parties.contributions)
    parties.contributions += append_all(core, list(_contributions(start, contributions, time_ms)))
    parties.models += append_all(core, list(_models(parties.contributions, models, time_ms)))


def _close(seat: Path) -> int:
    with open_home(seat) as home:
        return home.epoch_close().epoch


def _contributions(start: int, count: int, time_ms: int) -> Iterator[Draft]:
    for index in range(start, start + count):
        body = kinds.DataContribute(
            None, f"Collected notes {index}", "CC-BY-4.0", "text/plain", 1, 1, 6_000, 1_000, (), ()
        )
        yield Draft("data.contribute", body, time_ms, bytes(28) + index.to_bytes(4, "big"), 6_000)


def _models(contributions: list[bytes], count: int, time_ms: int) -> Iterator[Draft]:
    for index in range(count):
        trained_on = ((contributions[index % len(contributions)], 1),)
        body = kinds.ModelRegister(f"model {index}", (), (), trained_on, (), "Apache-2.0")
        yield Draft("model.register", body, time_ms)


def _transfer(payer: bytes, time_ms: int) -> Draft:
    return Draft("money.transfer", kinds.MoneyTransfer(payer, 1, "for a coffee"), time_ms)


def receipts_on(parties: Parties, count: int, time_ms: int) -> Iterator[Draft]:
    """Receipts of one use each that draw on four contributions and cost the payer a fee."""
    known, models = parties.contributions, parties.models
    share = (kinds.PPM - UNATTRIBUTED_PPM) // DRAWN_ON
    step = max(1, len(known) // DRAWN_ON)
    for index in range(count):
        drawn = [known[(index + part * step) % len(known)] for part in range(DRAWN_ON)]
        weights = tuple((contribution, share) for contribution in sorted(drawn))
        rest = kinds.PPM - share * DRAWN_ON
        body = kinds.UseReceipt(
            parties.grant,
            models[index % len(models)],
            None,
            parties.snapshot,
            1,
            index.to_bytes(32, "big"),
            FEE_MICRO,
            weights,
            rest,
            "spans",
        )
        yield Draft("use.receipt", body, time_ms)


def make_mixed_home(scale: Scale) -> list[Figure]:
    """The seat's home, filled and closed; what its events refer to is kept beside it."""
    seat, payer, grant = begin(scale.place)
    parties = fill(seat, scale.events, payer, grant)
    (seat / READY).write_text(json.dumps(asdict(parties), default=bytes.hex), encoding="utf-8")
    return []


def parties_of(home: Path) -> Parties:
    """What the events of a finished home refer to."""
    given = json.loads((home / READY).read_text(encoding="utf-8"))
    return Parties(
        bytes.fromhex(given["payer"]),
        bytes.fromhex(given["grant"]),
        [bytes.fromhex(item) for item in given["contributions"]],
        [bytes.fromhex(item) for item in given["models"]],
        given["snapshot"],
    )
