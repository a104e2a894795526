"""The package as a whole: one version, a cheap import, and what it offers by name."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

import openledger_node

ROOT: Final = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS: Final = 60


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "openledger_node/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", openledger_node.__version__)


def test_importing_the_package_loads_none_of_its_parts_or_needs() -> None:
    program = (
        "import sys; before = set(sys.modules); import openledger_node\n"
        "new = set(sys.modules) - before\n"
        "print({name for name in new if name.partition('.')[0] not in sys.stdlib_module_names})"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    assert result.stdout == "{'openledger_node'}\n"


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = openledger_node.no_such_name


def test_the_map_of_the_package_names_every_layer() -> None:
    assert openledger_node.__doc__ is not None
    for folder in sorted((ROOT / "openledger_node").iterdir()):
        if (folder / "__init__.py").exists():
            assert f"    {folder.name} " in openledger_node.__doc__
