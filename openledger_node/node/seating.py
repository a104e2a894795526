"""The part of the Python interface that is about witnesses.

`api.Home` is made of it. What it needs is loaded on first use: most commands never do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from openledger_node.node import keyfiles
from openledger_node.node import results as r
from openledger_node.node import results_witness as w
from openledger_node.node.core import NodeCore, system_clock_ms


def witness_invite(
    file: Path, name: str, params_file: Path | None = None, *, succeeds: Seating | None = None
) -> w.Invited:
    """Writes an invitation to found a ledger together.

    `succeeds` is an open home of a ledger whose end the new one goes on from (A11).
    """
    from openledger_node.node import ceremony

    end = None if succeeds is None else ceremony.last_statement(succeeds.core)
    return ceremony.invite(file, name, params_file, end)


def witness_offer(
    home: Path, file: Path, out: Path, name: str, *, passphrase: bytes | None = None
) -> w.SeatOffered:
    """Answers an invitation: a home that waits, and the seat file to hand out."""
    from openledger_node.node import ceremony

    chosen = passphrase or keyfiles.passphrase_from_environment()
    return ceremony.offer_seat(home, file, out, name=name, passphrase=chosen)


def witness_found(invitation: Path, seats: Sequence[Path], out: Path) -> w.Founded:
    """Puts seat files together into a genesis."""
    from openledger_node.node import ceremony

    return ceremony.found(invitation, seats, out)


def witness_begin(
    home: Path,
    genesis: Path,
    *,
    passphrase: bytes | None = None,
    clock_ms: Callable[[], int] = system_clock_ms,
) -> r.Initialised:
    """A home in waiting becomes a seat of the ledger that a genesis begins."""
    from openledger_node.node import ceremony

    chosen = passphrase or keyfiles.passphrase_from_environment()
    return ceremony.begin_seat(home, genesis, passphrase=chosen, clock_ms=clock_ms)


def witness_kind(file: Path) -> str:
    """What a file of the ceremony says that it is: `witness-invitation`, `genesis`, ..."""
    from openledger_node.node import ceremony

    return ceremony.kind_of_file(file)


class Seating:
    """One function for each command about witnesses."""

    core: NodeCore

    def witness_status(self) -> w.Witnesses:
        from openledger_node.node import witnessing

        return witnessing.status(self.core)

    def witness_propose(
        self,
        *,
        add: Sequence[str] = (),
        drop: Sequence[str] = (),
        params_file: Path | None = None,
        rules_version: int | None = None,
        issuers: Sequence[tuple[str, int]] | None = None,
    ) -> w.Proposal:
        """Files a new set; nothing but what is named changes."""
        from openledger_node.node import witnessing

        return witnessing.propose(
            self.core,
            add=add,
            drop=drop,
            params_file=params_file,
            rules_version=rules_version,
            issuers=issuers,
        )

    def witness_approve(self, digest: str) -> w.Proposal:
        from openledger_node.node import witnessing

        return witnessing.approve(self.core, digest)

    def witness_ready(self) -> r.Recorded:
        """Says that this device can take its seat in the next set."""
        from openledger_node.node import witnessing

        return witnessing.ready(self.core)
