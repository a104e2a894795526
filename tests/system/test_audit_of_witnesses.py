"""The second program on what four daemons decided together: certificates and states of a quorum."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.kit.daemons import Town
from tests.kit.seats import begin_together

WITNESSES = ["ana", "bo", "cy", "di"]
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "audit-ledger"


def issued_and_equal(town: Town) -> bool:
    """Whether the program finds the issue in the last statement signed; that it never differs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "everything.bundle"
        with town.home("ana") as home:
            home.bundle_export(file)
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(file), str(town.genesis)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    if done.returncode:
        assert "no epoch that enough seats signed" in done.stderr, done
        return False
    assert any(f"signed by {number}" in done.stdout for number in (3, 4))
    return "1000000" in done.stdout


@pytest.mark.rule("A8")
def test_what_four_witnesses_signed_is_what_the_second_program_comes_to(tmp_path: Path) -> None:
    begin_together(tmp_path, WITNESSES, epoch_ms=200, t0_ms=400)
    with Town(tmp_path) as town:
        for index, name in enumerate(WITNESSES):
            town.start(name, *WITNESSES[:index])
        with town.home("ana") as home:
            home.issue(1_000_000, "ana")
        town.until(lambda: issued_and_equal(town), "a signed statement with what was issued")
