"""The part of the Python interface that answers a receipt: its payer, its provider, anybody.

`api.Home` is made of it. What it needs is loaded on first use: most commands never do.
"""

from __future__ import annotations

from collections.abc import Sequence

from openledger_node.node import results as r
from openledger_node.node.core import NodeCore, Progress, no_progress


class Answering:
    """One function for each command that answers a receipt."""

    core: NodeCore

    def confirm(self, id: str) -> r.Recorded:
        from openledger_node.node import answers

        return answers.confirm(self.core, id)

    def cancel(self, id: str) -> r.Recorded:
        from openledger_node.node import answers

        return answers.cancel(self.core, id)

    def dispute(self, id: str) -> r.Recorded:
        from openledger_node.node import answers

        return answers.dispute(self.core, id)

    def challenge(
        self,
        id: str,
        ground: str | None = None,
        *,
        outputs: Sequence[bytes] | None = None,
        progress: Progress = no_progress,
    ) -> r.Challenged:
        """Computes a receipt again, and challenges it when that finds something wrong."""
        from openledger_node.node import challenging

        return challenging.challenge(self.core, id, ground, outputs, progress)
