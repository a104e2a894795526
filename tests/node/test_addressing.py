"""A setting that names what is no node, place or account is refused by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openledger_node.ledger.errors import UsageError
from openledger_node.node import addressing
from openledger_node.node.config import Config, load_config
from openledger_node.node.daemon.logs import daemon_log
from openledger_node.node.daemon.main import Daemon
from openledger_node.node.replication.home import admission_of
from tests.kit.homes import WITNESS, Coop

HEX = "ab" * 32


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(tmp_path / "node.toml")


@pytest.mark.parametrize(
    ("attribute", "value", "key", "read"),
    [
        ("node_listen", "nonsense", "node.listen", addressing.listening_place),
        ("node_peers", ("zz",), "node.peers", addressing.named_peers),
        ("node_announce", ("zz",), "node.announce", addressing.announced_places),
        ("node_allow", ("zz",), "node.allow", addressing.allowed_nodes),
        ("sync_accounts", ("zz",), "sync.accounts", addressing.listed_accounts),
        ("sync_accounts", (HEX[:-1],), "sync.accounts", addressing.listed_accounts),
        ("sync_accounts", ("ａｂ" * 32,), "sync.accounts", addressing.listed_accounts),
    ],
)
def test_a_wrong_value_is_said_with_its_setting(
    config: Config, attribute: str, value: Any, key: str, read: Any
) -> None:
    with pytest.raises(UsageError) as caught:
        read(replace(config, **{attribute: value}))
    assert caught.value.message.startswith(f"{key} in node.toml: ")
    assert caught.value.hint


def test_what_is_right_is_read(config: Config) -> None:
    assert str(addressing.listening_place(config)) == "0.0.0.0:4767"
    assert addressing.listed_accounts(replace(config, sync_accounts=(HEX,))) == [b"\xab" * 32]
    places = addressing.announced_places(replace(config, node_announce=("a.org:1",)))
    assert [str(place) for place in places] == ["a.org:1"]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("node_announce", ("zz",)),
        ("node_announce", ("0.0.0.0:1",)),
        ("node_announce", ("a.org:0",)),
        ("node_announce", tuple(f"a.org:{port}" for port in range(1, 6))),
        ("node_allow", ("zz",)),
        ("node_peers", ("zz",)),
        ("sync_accounts", ("zz",)),
    ],
)
def test_a_daemon_with_a_wrong_setting_does_not_begin(
    coop: Coop, attribute: str, value: Any
) -> None:
    core = coop[WITNESS].core
    core.config = replace(core.config, **{attribute: value})
    with pytest.raises(UsageError, match=attribute.replace("_", ".", 1)):
        Daemon(core, daemon_log(core.config, core.home), listen=["127.0.0.1:0"])


def test_a_round_of_sync_refuses_accounts_that_are_none(coop: Coop) -> None:
    core = coop[WITNESS].core
    core.config = replace(core.config, sync_accounts=("zz",))
    with pytest.raises(UsageError, match=r"sync\.accounts"):
        admission_of(core)
