"""How nodes and the places they listen at are written, and read back.

- N1 A node id is its transport public key, written as 64 hex digits; `did:key:` is read too.
- N2 An address is `id@host:port`. The host is a name, an IPv4 address, or an IPv6 address in
  brackets; the port is 1 to 65,535. Where a node listens, port 0 asks for any free one.

Spread addresses (signed records, mDNS) are held to more: no unspecified, multicast or link-local
host, since none of these leads anywhere from another machine.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from openledger_node.ledger.errors import BadInput, UsageError
from openledger_node.ledger.keys import KEY_BYTES, PublicKey
from openledger_node.ledger.names import parse_did_key

DEFAULT_PORT: Final = 4767
MAX_PORT: Final = 65_535
MAX_HOST_CHARACTERS: Final = 253
"""The longest name that DNS can carry (RFC 1035, 2.3.4)."""
MAX_ADDRESS_CHARACTERS: Final = 384
"""A did:key of 57 characters, the longest host, a port, and room to spare."""
MAX_ZONE_CHARACTERS: Final = 15
"""An interface name in a link-local address (`fe80::1%eth0`)."""

_NUMBER: Final = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")
"""Where the last label is one, resolvers read the whole as an IPv4 address in old spellings."""
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_ADDRESS_HINT: Final = (
    f"an address is id@host:port, for example {'ab' * 4}...@node.example.org:{DEFAULT_PORT}; "
    "an IPv6 host goes in brackets"
)
_PLACE_HINT: Final = (
    f"a place is host:port, for example 127.0.0.1:{DEFAULT_PORT}; an IPv6 host goes in brackets"
)


def node_id_text(node_id: bytes) -> str:
    """The 64 hex digits of a node id."""
    return node_id.hex()


def parse_node_id(text: str) -> bytes:
    """The node id that `text` writes (N1).

    UsageError when it is no key, or one that K1 refuses.
    """
    try:
        if text.startswith("did:"):
            return PublicKey.parse(parse_did_key(text)).raw
        if len(text) != 2 * KEY_BYTES:
            raise BadInput(f"it has {len(text)} characters, not {2 * KEY_BYTES}")
        return PublicKey.parse(bytes.fromhex(text)).raw
    except (BadInput, ValueError) as error:
        raise UsageError(
            f"{text[:MAX_ADDRESS_CHARACTERS]!r} is not a node id: {error}",
            hint="`oln status` at the other node shows its id: 64 hex digits",
        ) from None


def host_fault(host: str) -> str:
    """Why `host` cannot be dialled, or an empty text."""
    if not host or len(host) > MAX_HOST_CHARACTERS:
        return f"a host has 1 to {MAX_HOST_CHARACTERS} characters, this one has {len(host)}"
    if ":" in host:
        address, _, zone = host.partition("%")
        if not _is_ip(address) or len(zone) > MAX_ZONE_CHARACTERS or "%" in zone:
            return "it is not an IPv6 address"
        return ""
    if re.fullmatch(r"[0-9.]+", host):
        return "" if _is_ip(host) else "it is not an IPv4 address"
    labels = host.removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or _NUMBER.fullmatch(labels[-1]):
        return "it is neither a name nor an IP address"
    return ""


def spread_fault(host: str) -> str:
    """Why an address with this host is not passed on to others, or an empty text."""
    fault = host_fault(host)
    if fault:
        return fault
    if "%" in host:
        return "a link-local address means nothing elsewhere"
    if not _is_ip(host):
        return ""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return "it is an unspecified, multicast or link-local address"
    return ""


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, wherever it is named."""
    name = host.lower().removesuffix(".")
    if not _is_ip(host):
        return name == "localhost" or name.endswith(".localhost")
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A host and a port."""

    host: str
    port: int

    @staticmethod
    def parse(text: str) -> Endpoint:
        """Reads `host:port`; port 0 is allowed, since a node may listen at any free one."""
        return _read_endpoint(text, least_port=0, hint=_PLACE_HINT)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A node and a place where it can be dialled (N2)."""

    node_id: bytes
    host: str
    port: int

    @staticmethod
    def parse(text: str) -> PeerAddress:
        """Reads `id@host:port`. UsageError, with the form as its hint."""
        if len(text) > MAX_ADDRESS_CHARACTERS:
            raise UsageError(
                f"an address has at most {MAX_ADDRESS_CHARACTERS} characters, "
                f"this one has {len(text)}",
                hint=_ADDRESS_HINT,
            )
        node, at, where = text.partition("@")
        if not at:
            raise UsageError(f"{text!r} names no node: it has no '@'", hint=_ADDRESS_HINT)
        endpoint = _read_endpoint(where, least_port=1, hint=_ADDRESS_HINT)
        return PeerAddress(parse_node_id(node), endpoint.host, endpoint.port)

    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(self.host, self.port)

    def __str__(self) -> str:
        return f"{node_id_text(self.node_id)}@{self.endpoint()}"


def _read_endpoint(text: str, *, least_port: int, hint: str) -> Endpoint:
    if len(text) > MAX_ADDRESS_CHARACTERS:
        raise UsageError(f"{text[:40]!r}... is too long for host:port", hint=hint)
    bracketed = re.fullmatch(r"\[([^\[\]]*)\]:(.*)", text)
    host, colon, digits = (bracketed[1], ":", bracketed[2]) if bracketed else text.rpartition(":")
    if not colon:
        raise UsageError(f"{text!r} has no port", hint=hint)
    if not bracketed and (":" in host or "[" in host or "]" in host):
        raise UsageError(f"{text!r} has an IPv6 host without brackets", hint=hint)
    if bracketed and ":" not in host:
        raise UsageError(f"{text!r}: only an IPv6 host goes in brackets", hint=hint)
    fault = host_fault(host)
    if fault:
        raise UsageError(f"{text!r} cannot be dialled: {fault}", hint=hint)
    if not re.fullmatch(r"[0-9]{1,5}", digits) or not least_port <= int(digits) <= MAX_PORT:
        raise UsageError(f"{digits!r} is not a port, {least_port} to {MAX_PORT}", hint=hint)
    return Endpoint(host, int(digits))
