"""The nodes, places and accounts that the settings name; a fault names the setting it stands in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from openledger_node.ledger.errors import UsageError
from openledger_node.net.address import Endpoint, PeerAddress, parse_node_id
from openledger_node.node.config import Config


@contextmanager
def setting(key: str) -> Iterator[None]:
    """Says of a wrong value where the user finds it."""
    try:
        yield
    except UsageError as error:
        raise UsageError(
            f"{key} in node.toml: {error.message}", hint=error.hint, code=error.code
        ) from None


def listening_place(config: Config) -> Endpoint:
    """Where to listen."""
    with setting("node.listen"):
        return Endpoint.parse(config.node_listen)


def named_peers(config: Config) -> list[PeerAddress]:
    """The nodes to keep links to."""
    with setting("node.peers"):
        return [PeerAddress.parse(text) for text in config.node_peers]


def announced_places(config: Config) -> list[Endpoint]:
    """Where others are told to dial this node."""
    with setting("node.announce"):
        return [Endpoint.parse(text) for text in config.node_announce]


def allowed_nodes(config: Config) -> frozenset[bytes]:
    """The only nodes to talk to; none named: any."""
    with setting("node.allow"):
        return frozenset(map(parse_node_id, config.node_allow))


def listed_accounts(config: Config) -> list[bytes]:
    """The accounts whose logs are stored when admission is `listed`."""
    with setting("sync.accounts"):
        return [_account_id(text) for text in config.sync_accounts]


def _account_id(text: str) -> bytes:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        raise UsageError(
            f"{text!r} is not an account id", hint="`oln account show` shows it: 64 hex digits"
        )
    return bytes.fromhex(text)
