"""Ledgers of several witnesses for tests: homes made from one genesis, each with its seat."""

from __future__ import annotations

from pathlib import Path

from openledger_node.ledger.encoding import H
from openledger_node.ledger.genesis import (
    MAX_AMOUNT_MICRO,
    Genesis,
    Params,
    genesis_fault,
)
from openledger_node.ledger.keys import SigningKey
from openledger_node.node import founding, setup
from openledger_node.node.keyfiles import write_private

START_MS = 1_700_000_000_000


def seat_keys(name: str) -> setup.NewKeys:
    """The same keys for a name in every run."""
    return setup.NewKeys(
        *(SigningKey(H("seat", name, role)) for role in ("root", "next", "device", "transport"))
    )


def begin_together(
    place: Path, names: list[str], *, epoch_ms: int = 0, t0_ms: int = 1_000, **params: int
) -> Genesis:
    """A home for each name in `place`, all seats of one new ledger; the first one issues."""
    keys = {name: seat_keys(name) for name in names}
    inceptions = {name: setup.inception_of(keys[name], H("salt", name)[:16]) for name in names}
    accounts = {name: inceptions[name].account_id for name in names}
    figures = {"maturity_epochs": 0, "dispute_epochs": 4, "park_epochs": 8, **params}
    genesis = Genesis(
        version=1,
        name="together",
        salt=bytes(16),
        rules_version=1,
        params=Params(
            epoch_ms,
            t0_ms,
            500,
            (4_000, 3_500, 2_500),
            "refund",
            commons_accounts=(accounts[names[0]],),
            **figures,
        ),
        seats=tuple((inceptions[name], keys[name].device.public.raw) for name in names),
        issuers=((accounts[names[0]], MAX_AMOUNT_MICRO),),
    )
    assert not genesis_fault(genesis)
    for name in names:
        setup._build(place / name, genesis, inceptions[name], keys[name], name, None, START_MS)
    write_private(place / "genesis.json", founding.genesis_document(genesis))
    return genesis
