"""Co-operatives of homes for the tests here: fresh ones, and one that tests only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.homes import Coop, Ready, no_waiting_for_the_disk, ready


@pytest.fixture(autouse=True, scope="session")
def quick_disk() -> Iterator[None]:
    with no_waiting_for_the_disk():
        yield


@pytest.fixture
def coop(tmp_path: Path) -> Iterator[Coop]:
    """A ledger with its witness alone."""
    with Coop(tmp_path) as made:
        yield made


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Ready]:
    """A ledger with contributors, a model and a grant, all final."""
    made = ready(tmp_path)
    with made.coop:
        yield made
