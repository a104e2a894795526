"""How often an address may try, and how often it is written about.

- N17 IPv6 addresses count by their first 64 bits, which is what one machine is given; IPv4
  addresses count each, also where they are mapped into IPv6. Networks are what one customer is
  given: the first 48 bits of IPv6, the first 24 of IPv4.

Both tables below are bounded: whoever has more addresses than fit is limited by what all addresses
share, the handshakes in flight.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Any, Final, Protocol

MAX_TRACKED: Final = 4096
"""Addresses remembered by one table; the one heard of longest ago goes first."""
IPV6_PREFIX_BITS: Final = 64
IPV6_NETWORK_BITS: Final = 48
IPV4_NETWORK_BITS: Final = 24


class Log(Protocol):
    """A structured logger, as structlog makes them."""

    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...


def address_key(host: str) -> str:
    """What limits count a remote host by (N17)."""
    address = _ip_of(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address, IPV6_PREFIX_BITS), strict=False))
    return str(address)


def network_key(host: str) -> str:
    """What limits count the network of a remote host by (N17)."""
    address = _ip_of(host)
    if isinstance(address, str):
        return address
    bits = IPV4_NETWORK_BITS if address.version == 4 else IPV6_NETWORK_BITS
    return str(ipaddress.ip_network((address, bits), strict=False))


def _ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | str:
    """The address, as IPv4 where it is mapped into IPv6; a name in lower case."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower().removesuffix(".")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Rates:
    """A bucket of tokens for each key: `burst` at first, `per_second` coming back."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now_s: float) -> bool:
        """Takes a token; False when there is none."""
        left, at_s = self._left.pop(key, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_second)
        may = left >= 1
        self._left[key] = (left - 1 if may else left, now_s)
        if len(self._left) > MAX_TRACKED:
            self._left.popitem(last=False)
        return may


class OncePer:
    """Lets one line in `interval_s` through for each key, and counts what it held back."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._told: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def due(self, key: tuple[str, ...], now_s: float) -> int | None:
        """How many lines were held back since the last one; None when this one is held back."""
        told = self._told.pop(key, None)
        if told is not None and now_s - told[0] < self._interval_s:
            self._told[key] = (told[0], told[1] + 1)
            return None
        self._told[key] = (now_s, 0)
        if len(self._told) > MAX_TRACKED:
            self._told.popitem(last=False)
        return told[1] if told is not None else 0
