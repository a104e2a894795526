"""The vectors on disk are what the code makes today: other implementations rely on them."""

from __future__ import annotations

import pytest

from tests.vectors import make


@pytest.mark.parametrize("name", make.MAKERS)
def test_the_vectors_on_disk_are_what_the_code_makes(name: str) -> None:
    assert (make.FOLDER / f"{name}.json").read_text("ascii") == make.text_of(name)
