"""Accounts and their key chains (K3 to K5): pre-rotation, thresholds, what a thief cannot do."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.ledger import accounts as a
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.keys import SigningKey
from tests.ledger import naive_msgpack as naive
from tests.vectors import make

LEDGER = make.document().ledger_id
CREATE, ADD, ROTATE, RETIRE = make.chain(LEDGER)
CREATED = a.created_chain(CREATE)
replace = msgspec.structs.replace


def signed_by(event: Any, keys: list[tuple[int, SigningKey]], ledger: bytes = LEDGER) -> Any:
    """`event` signed anew."""
    so_far = naive.decode(encode(event))[:-1]
    return replace(event, signatures=a.root_signatures(ledger, so_far, keys))


def old_roots() -> list[tuple[int, SigningKey]]:
    return list(enumerate(make.roots(0)))


def new_roots() -> list[tuple[int, SigningKey]]:
    return list(enumerate(make.roots(1)))


@pytest.mark.rule("K3")
def test_an_account_is_the_hash_of_its_inception() -> None:
    raw = encode(make.inception())
    assert a.parse_inception(raw) == make.inception()
    whole = b"\x92" + naive.encode("oln/account/1") + raw
    assert make.inception().account_id == hashlib.sha256(whole).digest()


@pytest.mark.rule("K3")
@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"root_keys": ()},
        {"root_keys": (bytes(32),) * 17},
        {"root_keys": (bytes(31),)},
        {"threshold": 0},
        {"threshold": 17},
        {"next_commitment": bytes(31)},
        {"salt": bytes(15)},
        {"salt": bytes(33)},
    ],
)
def test_an_inception_past_a_limit_does_not_parse(changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="inception is malformed"):
        a.parse_inception(encode(replace(make.inception(), **changes)))


@pytest.mark.rule("K4")
def test_a_whole_chain_is_followed() -> None:
    assert a.create_fault(CREATE, LEDGER) == ""
    chain = CREATED
    for event in (ADD, ROTATE, RETIRE):
        assert chain.fault(event, LEDGER) == ""
        chain = chain.then(event)
    assert chain.n == 4
    assert chain.root_keys == make.raws(make.roots(1))
    first, second = make.key("device", 0).public.raw, make.key("device", 1).public.raw
    assert chain.devices == {first: None, second: {make.digest("log"): 7}}
    whole = b"\x92" + naive.encode("oln/key-event/1") + encode(RETIRE)
    assert chain.digest == hashlib.sha256(whole).digest()


@pytest.mark.rule("K4")
@pytest.mark.parametrize("event", [ADD, ROTATE, RETIRE], ids=lambda event: type(event).__name__)
def test_a_key_event_follows_only_the_one_that_it_names(event: Any) -> None:
    before = {ADD: CREATED, ROTATE: CREATED.then(ADD), RETIRE: CREATED.then(ADD).then(ROTATE)}[
        event
    ]
    assert before.fault(event, LEDGER) == ""
    assert "does not follow" in before.fault(replace(event, n=event.n + 1), LEDGER)
    assert "does not follow" in before.fault(replace(event, previous=bytes(32)), LEDGER)
    assert "does not follow" in before.then(event).fault(event, LEDGER)
    assert "another account" in before.fault(replace(event, account_id=bytes(32)), LEDGER)


@pytest.mark.rule("K4")
def test_an_account_is_created_once() -> None:
    assert "exists already" in CREATED.fault(CREATE, LEDGER)
    with pytest.raises(BadInput):
        CREATED.then(CREATE)


@pytest.mark.rule("K4")
@pytest.mark.parametrize("event", [ADD, RETIRE], ids=lambda event: type(event).__name__)
def test_a_key_event_needs_the_threshold_of_signatures_in_ascending_order(event: Any) -> None:
    before = {ADD: CREATED, RETIRE: CREATED.then(ADD).then(ROTATE)}[event]
    one, two = event.signatures
    assert "needs 2" in before.fault(replace(event, signatures=(one,)), LEDGER)
    for signatures in ((two, one), (one, one), (one, (2, two[1])), (one, two, (15, two[1]))):
        assert "ascending" in before.fault(replace(event, signatures=signatures), LEDGER)
    swapped = ((0, two[1]), (1, one[1]))
    assert "is wrong" in before.fault(replace(event, signatures=swapped), LEDGER)


@pytest.mark.rule("K4")
def test_a_signature_beyond_the_threshold_must_be_valid_too() -> None:
    loose = a.KeyChain(**{**{f: getattr(CREATED, f) for f in CREATED.__slots__}, "threshold": 1})
    bad = replace(ADD, signatures=(ADD.signatures[0], (1, bytes(64))))
    assert loose.fault(replace(ADD, signatures=ADD.signatures[:1]), LEDGER) == ""
    assert "root key 1 is wrong" in loose.fault(bad, LEDGER)


@pytest.mark.rule("K4")
def test_every_signature_is_bound_to_its_ledger() -> None:
    elsewhere = make.digest("another ledger")
    assert a.create_fault(CREATE, elsewhere)
    for before, event in ((CREATED, ADD), (CREATED.then(ADD), ROTATE)):
        assert before.fault(event, elsewhere)
    consent = a.device_signature(make.key("device", 1), elsewhere, ADD.account_id)
    foreign = signed_by(replace(ADD, device_signature=consent), old_roots())
    assert "device's own signature" in CREATED.fault(foreign, LEDGER)


@pytest.mark.rule("K4")
def test_nobody_enrols_a_device_key_that_is_not_theirs() -> None:
    stranger = make.key("stranger")
    copied = signed_by(replace(ADD, device=stranger.public.raw), old_roots())
    assert "device's own signature" in CREATED.fault(copied, LEDGER)
    replayed = a.device_signature(stranger, LEDGER, make.digest("other account"))
    event = replace(ADD, device=stranger.public.raw, device_signature=replayed)
    assert "device's own signature" in CREATED.fault(signed_by(event, old_roots()), LEDGER)


@pytest.mark.rule("K1", "K4")
def test_a_small_order_device_is_not_enrolled() -> None:
    event = replace(ADD, device=b"\1" + bytes(31), device_signature=b"\1" + bytes(63))
    assert "small-order" in CREATED.fault(signed_by(event, old_roots()), LEDGER)


@pytest.mark.rule("K4")
def test_a_device_is_enrolled_once_and_never_again_after_its_retirement() -> None:
    after = CREATED.then(ADD)
    again = signed_by(replace(ADD, n=2, previous=after.digest), old_roots())
    assert "enrolled before" in after.fault(again, LEDGER)
    retired = after.then(ROTATE).then(RETIRE)
    back = signed_by(replace(ADD, n=4, previous=retired.digest), new_roots())
    assert "enrolled before" in retired.fault(back, LEDGER)


@pytest.mark.rule("K4")
def test_only_an_enrolled_device_is_retired_and_each_log_is_listed_once() -> None:
    before = CREATED.then(ADD).then(ROTATE)
    unknown = signed_by(replace(RETIRE, device=make.key("stranger").public.raw), new_roots())
    assert "not an enrolled one" in before.fault(unknown, LEDGER)
    after = before.then(RETIRE)
    again = signed_by(replace(RETIRE, n=4, previous=after.digest), new_roots())
    assert "not an enrolled one" in after.fault(again, LEDGER)
    log = make.digest("log")
    twice = signed_by(replace(RETIRE, logs=((log, 7), (log, 8))), new_roots())
    assert "listed twice" in before.fault(twice, LEDGER)


@pytest.mark.rule("K4")
def test_the_thief_of_the_current_root_keys_cannot_rotate() -> None:
    thief = [make.key("thief", i) for i in range(2)]
    before = CREATED.then(ADD)
    theirs = replace(ROTATE, root_keys=make.raws(thief))
    for keys in (old_roots(), list(enumerate(thief))):
        assert "committed to" in before.fault(signed_by(theirs, keys), LEDGER)
    stolen_keys_sign = signed_by(ROTATE, old_roots())
    assert "signature of root key 0 is wrong" in before.fault(stolen_keys_sign, LEDGER)
    lower_threshold = replace(ROTATE, threshold=1)
    assert "committed to" in before.fault(signed_by(lower_threshold, new_roots()), LEDGER)


@pytest.mark.rule("K4")
def test_the_old_root_keys_sign_nothing_after_a_rotation() -> None:
    after = CREATED.then(ADD).then(ROTATE)
    assert "is wrong" in after.fault(signed_by(RETIRE, old_roots()), LEDGER)


@pytest.mark.rule("K1", "K4")
def test_unusable_root_keys_are_refused_at_creation_and_at_rotation() -> None:
    good = make.raws(make.roots(0))
    for keys, threshold, fault in (
        ((good[0], good[0]), 2, "twice"),
        (good, 3, "threshold exceeds"),
        ((good[0], bytes(32)), 1, "small-order"),
    ):
        bad = replace(make.inception(), root_keys=keys, threshold=threshold)
        event = replace(CREATE, account_id=bad.account_id, inception=bad)
        assert fault in a.create_fault(event, LEDGER)
        chain = a.KeyChain(
            **{
                **{f: getattr(CREATED, f) for f in CREATED.__slots__},
                "next_commitment": a.next_commitment(keys, threshold),
            }
        )
        rotation = replace(
            ROTATE, n=1, previous=CREATED.digest, root_keys=keys, threshold=threshold
        )
        assert fault in chain.fault(rotation, LEDGER)


@pytest.mark.rule("K3", "K4")
def test_an_account_cannot_be_created_under_another_s_id() -> None:
    assert "inception's hash" in a.create_fault(replace(CREATE, account_id=bytes(32)), LEDGER)


@pytest.mark.rule("K5")
def test_two_events_with_equal_n_each_follow_and_the_second_no_longer_does() -> None:
    before = CREATED.then(ADD)
    rival = signed_by(replace(RETIRE, n=2, previous=before.digest), old_roots())
    assert before.fault(ROTATE, LEDGER) == before.fault(rival, LEDGER) == ""
    assert "does not follow" in before.then(ROTATE).fault(rival, LEDGER)
    assert "does not follow" in before.then(rival).fault(ROTATE, LEDGER)


@pytest.mark.rule("K4")
@given(st.sampled_from([CREATE, ADD, ROTATE, RETIRE]), st.data())
def test_no_byte_of_a_key_event_can_be_changed(event: Any, data: st.DataObject) -> None:
    raw = bytearray(encode(event))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        changed = msgspec.msgpack.decode(bytes(raw), type=type(event))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if changed == event:
        return
    if event is CREATE:
        assert a.create_fault(changed, LEDGER)
    else:
        before = {ADD: CREATED, ROTATE: CREATED.then(ADD)}.get(event)
        before = before or CREATED.then(ADD).then(ROTATE)
        assert before.fault(changed, LEDGER)


@pytest.mark.rule("K4")
def test_the_chain_vectors_verify() -> None:
    vectors = make.load("key_chain")
    chain: a.KeyChain | None = None
    for case in vectors["events"]:
        shape = a.KEY_EVENT_KINDS[case["kind"]]
        event: Any = msgspec.msgpack.decode(bytes.fromhex(case["body"]), type=shape)
        ledger = bytes.fromhex(vectors["ledger_id"])
        assert (chain.fault(event, ledger) if chain else a.create_fault(event, ledger)) == ""
        chain = chain.then(event) if chain else a.created_chain(event)
        assert chain.digest.hex() == case["digest"]


@pytest.mark.rule("K4")
def test_going_on_makes_the_same_chain_and_passes_the_devices_on() -> None:
    expected = [CREATED.then(ADD), CREATED.then(ADD).then(ROTATE)]
    expected.append(expected[-1].then(RETIRE))
    chain = CREATED.then(ADD)
    devices = chain.devices
    for event, after in zip((ROTATE, RETIRE), expected[1:], strict=True):
        chain = chain.go_on(event)
        assert chain == after
        assert chain.devices is devices
    assert CREATED.devices.keys() < devices.keys(), "what `then` gives is another mapping"
