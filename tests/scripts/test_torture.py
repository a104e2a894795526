"""The torture program, a small run: two daemons, killed and cut off for a moment, then healed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.simulation import torture

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="it kills with POSIX signals")
def test_a_small_run_heals_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.simulation.torture"]
    options = ["--nodes", "2", "--seconds", "2", "--seed", "1", "--keep", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PROBLEM" not in done.stdout
    assert "healed in" in done.stdout
    assert (tmp_path / "run" / "n0.log").exists(), "with --keep the homes and logs stay"


def test_the_ports_of_a_run_are_all_different() -> None:
    ports = torture.free_ports(20)
    assert len(set(ports)) == 20
