"""The part of the Python interface that registers: contributions, collections, models, agents.

`api.Home` is made of it. What it needs is loaded on first use: most commands never do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openledger_node.node import results as r
from openledger_node.node.core import NodeCore, Progress, no_progress


class Registering:
    """One function for each command about what was made."""

    core: NodeCore

    def datanet_create(
        self, name: str, description: str = "", license_policy: str = ""
    ) -> r.Datanet:
        from openledger_node.node import registry

        return registry.datanet_create(self.core, name, description, license_policy)

    def datanet_list(self) -> r.Datanets:
        from openledger_node.node import registry

        return registry.datanet_list(self.core)

    def datanet_show(self, id: str) -> r.Datanet:
        from openledger_node.node import registry

        return registry.datanet_show(self.core, id)

    def data_add(self, paths: Sequence[Path], *, title: str, **options: Any) -> r.Added:
        """Options: license, datanet, creators, derived_from, share, dry_run, progress."""
        from openledger_node.node import data

        return data.data_add(self.core, paths, title=title, **options)

    def data_list(self, account: str | None = None) -> r.Contributions:
        from openledger_node.node import data

        return data.data_list(self.core, account)

    def data_show(self, id: str) -> r.Contribution:
        from openledger_node.node import data

        return data.data_show(self.core, id)

    def data_get(self, id: str, out_dir: Path) -> r.FileWritten:
        from openledger_node.node import data

        return data.data_get(self.core, id, out_dir)

    def data_share(self, id: str, share: str | Sequence[str]) -> r.Recorded:
        from openledger_node.node import data

        return data.data_share(self.core, id, share)

    def data_derive(
        self, id: str, *, dry_run: bool = False, progress: Progress = no_progress
    ) -> r.Derived:
        from openledger_node.node import derivations

        return derivations.data_derive(self.core, id, dry_run=dry_run, progress=progress)

    def data_commons(self, id: str) -> r.Recorded:
        from openledger_node.node import data

        return data.data_commons(self.core, id)

    def data_withdraw(self, id: str, reason: str = "") -> r.Recorded:
        from openledger_node.node import data

        return data.data_withdraw(self.core, id, reason)

    def data_erase(self, id: str, reason: str = "") -> r.Recorded:
        from openledger_node.node import erasing

        return erasing.erase(self.core, id, reason)

    def model_register(self, name: str, **options: Any) -> r.Model:
        """Options: trained_on, bases, weights_files, creators, license, progress."""
        from openledger_node.node import registry

        return registry.model_register(self.core, name, **options)

    def model_list(self) -> r.Models:
        from openledger_node.node import registry

        return registry.model_list(self.core)

    def model_show(self, id: str) -> r.Model:
        from openledger_node.node import registry

        return registry.model_show(self.core, id)

    def agent_register(self, name: str, **options: Any) -> r.Agent:
        """Options: card, models, operator, capabilities."""
        from openledger_node.node import registry

        return registry.agent_register(self.core, name, **options)

    def agent_list(self) -> r.Agents:
        from openledger_node.node import registry

        return registry.agent_list(self.core)

    def agent_show(self, id: str) -> r.Agent:
        from openledger_node.node import registry

        return registry.agent_show(self.core, id)

    def index_status(self) -> r.IndexShown:
        from openledger_node.node import indexing

        return indexing.status(self.core)

    def index_rebuild(self, progress: Progress = no_progress) -> r.IndexShown:
        """Makes the index of held text again."""
        from openledger_node.node import indexing

        return indexing.rebuild(self.core, progress)

    def index_verify(self, progress: Progress = no_progress) -> r.IndexShown:
        """Holds the index to its digests and to the payloads."""
        from openledger_node.node import indexing

        return indexing.verify(self.core, progress)
