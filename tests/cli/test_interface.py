"""The calls that the commands make are calls that the Python interface takes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from openledger_node import api
from tests.cli.test_commands import CALLS, REFUSING


@pytest.mark.parametrize(("line", "name", "args", "kwargs"), [*CALLS, *REFUSING], ids=str)
def test_the_python_interface_takes_every_call(
    line: str, name: str, args: Any, kwargs: Any
) -> None:
    function = getattr(api, name, None) or getattr(api.Home, name)
    own = () if hasattr(api, name) else (None,)
    inspect.signature(function).bind(*own, *args, **kwargs)
