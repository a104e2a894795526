"""What the tests of the store share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A store with one own log of one event."""
    made = Place(tmp_path / "home")
    yield made
    made.close()
