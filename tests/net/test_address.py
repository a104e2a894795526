"""Node ids and addresses: what is written is read back, and what is wrong is told why."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openledger_node.ledger.errors import UsageError
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.names import did_key
from openledger_node.net import address as module
from openledger_node.net.address import (
    MAX_ADDRESS_CHARACTERS,
    Endpoint,
    PeerAddress,
    host_fault,
    node_id_text,
    parse_node_id,
    spread_fault,
)

ID = SigningKey(b"\x07" * 32).public.raw
HEX = ID.hex()

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda n: not n[-1].isdigit())
hosts = st.one_of(
    names,
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)


@pytest.mark.rule("N1")
def test_a_node_id_is_written_in_hex_and_read_back() -> None:
    assert parse_node_id(node_id_text(ID)) == ID
    assert node_id_text(ID) == HEX


@pytest.mark.rule("N1")
def test_a_did_key_is_read_as_a_node_id() -> None:
    assert parse_node_id(did_key(ID)) == ID


@pytest.mark.rule("N1")
@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX[:-2],
        HEX + "00",
        "zz" * 32,
        "did:key:zNonsense",
        pytest.param("01" + "00" * 31, id="small-order key"),
        pytest.param("ff" * 31 + "7f", id="non-canonical key"),
        pytest.param("é" * 64, id="not ASCII"),
    ],
)
def test_what_is_no_acceptable_key_is_no_node_id(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_node_id(text)
    assert caught.value.hint


@pytest.mark.rule("N2")
@given(host=hosts, port=st.integers(1, 65_535))
@settings(max_examples=200)
def test_an_address_reads_back_as_it_is_written(host: str, port: int) -> None:
    address = PeerAddress(ID, host, port)
    assert PeerAddress.parse(str(address)) == address
    assert Endpoint.parse(str(address.endpoint())) == address.endpoint()


@pytest.mark.rule("N2")
def test_an_ipv6_host_stands_in_brackets() -> None:
    address = PeerAddress.parse(f"{HEX}@[2001:db8::1]:4767")
    assert (address.host, address.port) == ("2001:db8::1", 4767)
    assert str(address) == f"{HEX}@[2001:db8::1]:4767"
    assert Endpoint.parse("[fe80::1%eth0]:1").host == "fe80::1%eth0"


@pytest.mark.rule("N2")
@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("host", "no port"),
        ("", "no port"),
        ("host:", "not a port"),
        ("host:0", "not a port"),
        ("host:65536", "not a port"),
        ("host:+80", "not a port"),
        ("host:８０", "not a port"),  # digits of another script
        ("host:123456", "not a port"),
        (":80", "1 to 253 characters"),
        ("2001:db8::1:80", "brackets"),
        ("[2001:db8::1:80", "brackets"),
        ("[host]:80", "only an IPv6 host"),
        ("[::1%]x]:80", "brackets"),
        ("[::1%a%b]:80", "not an IPv6 address"),
        ("[::zz]:80", "not an IPv6 address"),
        ("1.2.3:80", "not an IPv4 address"),
        ("1.2.3.256:80", "not an IPv4 address"),
        ("0x7f.1:80", "neither a name"),
        ("127.0x1:80", "neither a name"),
        ("node.0177:80", "neither a name"),
        ("-a.org:80", "neither a name"),
        ("a..org:80", "neither a name"),
        ("a b:80", "neither a name"),
        ("a/b:80", "neither a name"),
        ("a\n:80", "neither a name"),
        ("x@y:80", "neither a name"),
        ("a" * 64 + ".org:80", "neither a name"),
        ("a." * 126 + "aa:80", "253"),
    ],
)
def test_a_wrong_address_is_refused_and_told_the_form(where: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        PeerAddress.parse(f"{HEX}@{where}")
    assert says in caught.value.message
    assert "id@host:port" in caught.value.hint


def test_a_wrong_place_to_listen_at_is_told_its_own_form() -> None:
    with pytest.raises(UsageError) as caught:
        Endpoint.parse("nonsense")
    assert "host:port" in caught.value.hint
    assert "id@" not in caught.value.hint


@pytest.mark.rule("N2")
def test_an_address_without_an_id_or_beyond_the_limit_is_refused() -> None:
    with pytest.raises(UsageError, match="names no node"):
        PeerAddress.parse("node.example.org:4767")
    with pytest.raises(UsageError, match="at most 384 characters"):
        PeerAddress.parse("a" * (MAX_ADDRESS_CHARACTERS + 1))
    with pytest.raises(UsageError, match="too long"):
        Endpoint.parse("a" * (MAX_ADDRESS_CHARACTERS + 1))


@pytest.mark.rule("N2")
def test_a_node_may_listen_at_any_free_port_but_not_be_dialled_there() -> None:
    assert Endpoint.parse("0.0.0.0:0") == Endpoint("0.0.0.0", 0)
    with pytest.raises(UsageError):
        PeerAddress.parse(f"{HEX}@0.0.0.0:0")


@pytest.mark.rule("N2")
@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:0.0.0.0",
        "::ffff:169.254.169.254",
        "",
    ],
)
def test_a_host_that_leads_nowhere_from_elsewhere_is_not_spread(host: str) -> None:
    assert spread_fault(host)


@pytest.mark.rule("N2")
@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "::1", "node.example.org", "a_b.local."])
def test_a_host_that_may_lead_somewhere_is_spread(host: str) -> None:
    assert spread_fault(host) == ""


@given(st.text(max_size=80))
@settings(max_examples=300)
def test_reading_any_text_gives_an_address_or_a_usage_error(text: str) -> None:
    for parse in (PeerAddress.parse, Endpoint.parse, parse_node_id):
        try:
            parse(text)
        except UsageError as error:
            assert error.message


@given(st.text(alphabet="0123456789.", max_size=20))
def test_a_host_of_digits_and_dots_is_exactly_an_ipv4_address(host: str) -> None:
    try:
        expected = bool(ipaddress.IPv4Address(host))
    except ValueError:
        expected = False
    assert (host_fault(host) == "") == expected


def test_the_hint_shows_the_port_that_nodes_listen_at() -> None:
    with pytest.raises(UsageError) as caught:
        Endpoint.parse("nothing")
    assert str(module.DEFAULT_PORT) in caught.value.hint
