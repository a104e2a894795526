"""What `scripts/audit-ledger` checks, check by check: each is asked for by a test that fails
without it. The whole of it is compared with the node in `test_audit_ledger.py` and `tests/credit`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from openledger_node.ledger import kinds, merkle
from openledger_node.ledger.accounts import (
    AccountAddDevice,
    AccountCreate,
    AccountRetireDevice,
    AccountRotate,
    device_signature,
    next_commitment,
    root_signatures,
)
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.forks import prove_fork
from openledger_node.ledger.heads import sign_head
from scripts.simulation.auditing import fast_program
from tests.kit.audits import compare
from tests.kit.ledgerkit import Ledger, TestAccount, digest, inception, key
from tests.kit.stage import Stage
from tests.ledger import naive_msgpack as naive
from tests.ledger import test_kinds, test_votes

PROGRAM: Final = fast_program()
SMALL_ORDER: Final = bytes.fromhex(
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
)


# --- values and forms -----------------------------------------------------------------------------


@pytest.mark.rule("E1", "E2")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xcc\x05",
        b"\xd9\x01a",
        b"\xdc\x00\x00",
        b"\x80",
        b"\xc3",
        b"\xca\x00\x00\x00\x00",
        b"\xd4\x01\x00",
        b"\xa1\xff",
        b"\x05\x05",
        b"\x91" * 16 + b"\x90",
        b"\x92\x05",
    ],
    ids=[
        *("nothing", "a long integer", "a long text", "a long array", "a map", "a boolean"),
        *("a float", "an extension", "no UTF-8", "left over", "too deep", "broken off"),
    ],
)
def test_bytes_that_are_not_canonical_are_refused(raw: bytes) -> None:
    with pytest.raises(PROGRAM.Fault):
        PROGRAM.decode(raw)


def test_values_of_every_type_sixteen_deep_are_read() -> None:
    for value in (None, 2**64 - 1, -(2**63), "é", b"\0", [[]]):
        assert PROGRAM.decode(naive.encode(value)) == value
    PROGRAM.decode(b"\x91" * 15 + b"\x90")


FORMS: Final = {kind: form for kind, (_, form) in PROGRAM.FORMS.items()} | {
    "log.open": PROGRAM.LOG_GENESIS,
    "witness.state": PROGRAM.STATE,
    "witness.propose": PROGRAM.PROPOSAL,
}
BODIES: Final = test_kinds.MINIMAL | test_votes.BODIES
LIMITS: Final = [limit for limit in (*test_kinds.LIMITS, *test_votes.LIMITS) if limit[0] in FORMS]


@pytest.mark.rule("L2")
def test_every_form_takes_a_value_at_its_limit_and_none_past_it() -> None:
    assert {"witness.frontier", "witness.notar", "witness.final", "witness.skip"} == {
        kind for kind in BODIES if kind not in FORMS
    }
    for kind, at, good, bad in LIMITS:
        body = list(BODIES[kind])
        assert PROGRAM.fits(FORMS[kind], [*body[:at], good, *body[at + 1 :]]), (kind, at)
        assert not PROGRAM.fits(FORMS[kind], [*body[:at], bad, *body[at + 1 :]]), (kind, at)


@pytest.mark.rule("L2")
@pytest.mark.parametrize("kind", FORMS)
def test_a_body_of_other_items_or_another_number_of_them_does_not_fit(kind: str) -> None:
    body, form = BODIES[kind], FORMS[kind]
    assert PROGRAM.fits(form, body)
    for bad in ([*body, None], body[:-1], None, 5, "text", b"bytes", []):
        assert not PROGRAM.fits(form, bad)
    for at in range(len(body)):
        assert not PROGRAM.fits(form, [*body[:at], [[None]], *body[at + 1 :]]), at


@pytest.mark.rule("L1")
def test_an_event_takes_items_at_their_limits_and_none_past_them() -> None:
    event = [1, 3, "kind", 0, None, None, 0]
    items: list[tuple[int, list[Any], list[Any]]] = [
        (0, [1], [0, 2, True, None]),
        (1, [0, 2**40], [-1, 2**40 + 1]),
        (2, ["", "x" * 64], ["x" * 65, b"kind", None]),
        (3, [2**53 - 1], [-1, 2**53]),
        (4, [[], 5, "text"], []),
        (5, [bytes(32)], [bytes(31), bytes(33), "x" * 32]),
        (6, [2**40], [-1, 2**40 + 1, None]),
    ]
    for at, good, bad in items:
        for value in good:
            assert PROGRAM.fits(PROGRAM.EVENT, [*event[:at], value, *event[at + 1 :]]), (at, value)
        for value in bad:
            assert not PROGRAM.fits(PROGRAM.EVENT, [*event[:at], value, *event[at + 1 :]]), at


# --- signatures and key chains --------------------------------------------------------------------


@pytest.mark.rule("K4", "A5")
def test_signatures_are_enough_ascending_and_each_by_the_key_it_names() -> None:
    signers = [key("signer", number) for number in range(3)]
    keys = [signer.public.raw for signer in signers]
    signed = [[at, signer.sign(b"said")] for at, signer in enumerate(signers)]
    assert PROGRAM.all_sign(keys, 2, b"said", signed[1:])
    assert PROGRAM.all_sign(keys, 3, b"said", signed)
    for bad in (
        signed[:1],
        signed[1::-1],
        [signed[0], signed[0]],
        [signed[0], [1, signed[2][1]]],
        [*signed[:2], [2, signed[0][1]]],
        [*signed, [3, signed[0][1]]],
        [],
    ):
        assert not PROGRAM.all_sign(keys, 2, b"said", bad)


class Chain:
    """An account of two root keys of which two sign, and events of its chain with one fault."""

    def __init__(self) -> None:
        self.ledger = Ledger.solo("co-op")
        self.ada = self.ledger.account("ada", root_keys=2, threshold=2)
        self.ledger.close_epoch()

    def signed(self, event_type: type[Any], so_far: list[Any], generation: int = 0) -> Any:
        return self.ada._signed(event_type, so_far, generation)

    def next(self) -> list[Any]:
        return self.ada._follow()

    def add(self, device: Any, consent: bytes | None = None, **changed: Any) -> Any:
        raw = device if isinstance(device, bytes) else device.public.raw
        if consent is None:
            consent = device_signature(device, self.ledger.id, self.ada.id)
        so_far = [*self.next(), raw, consent]
        for at, value in changed.items():
            so_far[int(at[1:])] = value
        return self.signed(AccountAddDevice, so_far)

    def rotate(self, threshold: int, **changed: Any) -> Any:
        """To the keys that were committed to, with a threshold of 2."""
        keys = tuple(root.public.raw for root in self.ada.root_keys(1))
        so_far = [*self.next(), keys, threshold, bytes(32)]
        for at, value in changed.items():
            so_far[int(at[1:])] = value
        return self.signed(AccountRotate, so_far, 1)

    def retire(self, device: bytes, logs: Any = ()) -> Any:
        return self.signed(AccountRetireDevice, [*self.next(), device, tuple(logs)])


@pytest.mark.rule("K4")
def test_a_key_event_with_one_fault_is_void_whatever_else_it_has() -> None:
    """One fault at a time: in number, digest, device, its consent, or the root keys' signatures."""
    chain = Chain()
    ada, ledger, new = chain.ada, chain.ledger, key("new")
    other = device_signature(key("other"), ledger.id, ada.id)
    elsewhere = device_signature(new, digest("elsewhere"), ada.id)
    good = chain.add(new)
    first, second = good.signatures
    faults = [
        chain.add(new, _1=2),
        chain.add(new, _2=bytes(32)),
        chain.add(new, _0=digest("nobody")),
        chain.add(ada.device),
        chain.add(new, other),
        chain.add(new, elsewhere),
        chain.add(SMALL_ORDER, bytes(64)),
        chain.retire(new.public.raw),
        chain.retire(ada.device.public.raw, [(bytes(32), 1), (bytes(32), 2)]),
    ]
    for signatures in ((first,), (second, first), (first, first), (first, (1, first[1]))):
        so_far = [good.account_id, good.n, good.previous, good.device, good.device_signature]
        faults.append(AccountAddDevice(*so_far, signatures))
    retired = [ada.id, 1, bytes(32), ada.device.public.raw, ()]
    consent = device_signature(new, ledger.id, ada.id)
    again = [ada.id, 0, None, ada.inception, new.public.raw, consent]
    faults += [chain.signed(AccountRetireDevice, retired), chain.signed(AccountCreate, again)]
    faults += [chain.rotate(1), chain.rotate(2, _2=bytes(32)), chain.rotate(2, _1=2)]
    for fault in faults:
        kind = next(kind for kind, of in kinds.KEY_EVENT_KINDS.items() if type(fault) is of)
        ada.add(kind, fault)
        ledger.close_epoch()
    assert compare(PROGRAM, ledger) == {"K4": len(faults)}


@pytest.mark.rule("K4")
def test_a_device_is_enrolled_once_and_retired_once() -> None:
    chain, phone = Chain(), key("phone")
    raw = phone.public.raw
    for retires, counts in ((0, True), (0, False), (1, True), (1, False), (0, False)):
        event = chain.retire(raw) if retires else chain.add(phone)
        kind = "account.retire_device" if retires else "account.add_device"
        chain.ada.add(kind, event)
        chain.ledger.close_epoch()
        if counts:
            chain.ada.chain.append(event)
    assert compare(PROGRAM, chain.ledger) == {"K4": 3}


def rotated(keys: list[bytes], threshold: int, signers: list[Any], names: str) -> Ledger:
    """An account that committed to these next keys and goes over to them."""
    ledger = Ledger.solo("co-op")
    made = TestAccount(ledger, names)
    first, device = key(names, "root"), made.device
    commitment = next_commitment(keys, threshold)
    begun = type(made.inception)(1, (first.public.raw,), 1, commitment, digest(names)[:16])
    log = ledger.open_log(begun.account_id, device, names, "own")
    consent = device_signature(device, ledger.id, begun.account_id)
    so_far: list[Any] = [begun.account_id, 0, None, begun, device.public.raw, consent]
    raw = [*so_far[:3], begun, *so_far[4:]]
    create = AccountCreate(*so_far, root_signatures(ledger.id, raw, [(0, first)]))
    log.append("account.create", create)
    ledger.close_epoch()
    so_far = [begun.account_id, 1, PROGRAM.H("key-event", naive.decode(encode(create)))]
    so_far += [tuple(keys), threshold, bytes(32)]
    raw = [list(part) if isinstance(part, tuple) else part for part in so_far]
    signatures = root_signatures(ledger.id, raw, list(enumerate(signers)))
    log.append("account.rotate", AccountRotate(*so_far, signatures))
    ledger.close_epoch()
    return ledger


@pytest.mark.rule("K4")
def test_keys_that_were_committed_to_are_still_distinct_usable_and_enough() -> None:
    one, other = key("one"), key("other")
    raws = [one.public.raw, other.public.raw]
    assert compare(PROGRAM, rotated(raws, 2, [one, other], "good")) == {}
    for keys, threshold, signers in (
        ([raws[0], raws[0]], 1, [one]),
        (raws, 3, [one, other]),
        ([raws[0], SMALL_ORDER], 1, [one]),
    ):
        ledger = rotated(keys, threshold, signers, f"bad {threshold} {len(set(keys))}")
        assert compare(PROGRAM, ledger) == {"K4": 1}


@pytest.mark.rule("K3", "K4")
def test_an_account_is_created_by_the_inception_that_it_is_named_after() -> None:
    ledger = Ledger.solo("co-op")
    impostor = TestAccount(ledger, "impostor")
    other = inception("another")
    consent = device_signature(impostor.device, ledger.id, impostor.id)
    so_far: list[Any] = [impostor.id, 0, None, other, impostor.device.public.raw, consent]
    signatures = root_signatures(ledger.id, so_far, [(0, key("another", "root", 0, 0))])
    impostor.add("account.create", AccountCreate(*so_far, signatures))
    ledger.close_epoch()
    assert compare(PROGRAM, ledger) == {"K4": 1}


# --- forks ----------------------------------------------------------------------------------------


def altered(value: Any) -> Iterator[Any]:
    """Every copy of nested arrays in which one hash or figure is changed, or a path's length."""
    if isinstance(value, int):
        yield from (value - 1, value + 1)
    elif isinstance(value, bytes):
        yield bytes([value[0] ^ 1, *value[1:]])
    elif isinstance(value, list):
        for at, item in enumerate(value):
            for other in altered(item):
                yield [*value[:at], other, *value[at + 1 :]]
        if value and all(isinstance(item, bytes) and len(item) == 32 for item in value):
            yield from (value[1:], value[:-1], [*value, bytes(32)], [bytes(32), *value])


class Forked:
    """A log with two histories, and evidence of any two heads."""

    def __init__(self) -> None:
        self.ledger = Ledger.solo("co-op")
        self.ada, self.eve = self.ledger.account("ada"), self.ledger.account("eve")
        for number in range(11):
            self.eve.add("account.accept", [digest(number)])
        self.ledger.close_epoch()
        self.leaves = self.eve.log.leaves

    def head(self, leaves: list[bytes]) -> Any:
        log = self.eve.log
        return sign_head(log.key, log.genesis, len(leaves), merkle.root(leaves))

    def evidence(self, common: int, left: int, right: int) -> Any:
        other = [*self.leaves[:common], *(encode([seq]) for seq in range(right - common))]
        proof = prove_fork(
            self.head(self.leaves[:left]),
            merkle.leaf_hashes(self.leaves[:left]),
            self.head(other),
            merkle.leaf_hashes(other),
        )
        assert proof is not None
        return naive.decode(encode(proof))


@pytest.mark.rule("L7", "M2")
@pytest.mark.parametrize(
    ("common", "left", "right"), [(3, 6, 9), (4, 5, 8), (1, 12, 12), (8, 9, 9)]
)
def test_evidence_in_which_anything_is_changed_closes_no_log(
    common: int, left: int, right: int
) -> None:
    forked = Forked()
    evidence = forked.evidence(common, left, right)
    bad = list(altered(evidence))
    for body in bad:
        forked.ada.add("log.fork", body)
    forked.ledger.close_epoch()
    forked.ada.add("log.fork", evidence)
    forked.ledger.close_epoch()
    void = compare(PROGRAM, forked.ledger)
    assert void["L7"] + void["L2"] == len(bad) > 40


@pytest.mark.rule("L7")
def test_two_heads_of_one_history_and_heads_in_the_wrong_order_are_no_fork() -> None:
    forked = Forked()
    genesis, a, b, i, root, to_a, to_b, *leaves = forked.evidence(3, 6, 9)
    swapped = [genesis, b, a, i, root, to_b, to_a, *leaves[2:], *leaves[:2]]
    longer = naive.decode(encode(forked.head(forked.leaves[:9]).signed))
    hashes = merkle.source_of_hashes(merkle.leaf_hashes(forked.leaves[:9]))
    same = [
        *(genesis, a, longer, i, root, to_a, merkle.consistency_path(hashes, 3, 9), leaves[0]),
        *(leaves[1], leaves[0], merkle.inclusion_path(hashes, 3, 9)),
    ]
    for body in (swapped, same):
        forked.ada.add("log.fork", naive.decode(naive.encode(body)))
    forked.ledger.close_epoch()
    assert compare(PROGRAM, forked.ledger) == {"L7": 2}


# --- credit ---------------------------------------------------------------------------------------


@pytest.mark.rule("R4", "C3")
def test_a_receipt_without_a_fee_is_judged_by_its_grant_and_its_weights_too() -> None:
    stage = Stage()
    short = stage.grant(stage.user, stage.maker, 10, expiry=stage.next_epoch + 1)
    stage.close(2)
    stage.use(grant=stage.g)
    stage.use(weights=[(stage.a, 500_000), (stage.a, 500_000)])
    stage.use(weights=[(stage.a, 1), (stage.a, 600_000)], unattributed=400_000)
    stage.use(grant=short)
    stage.close()
    assert compare(PROGRAM, stage.ledger) == {"R4": 2, "C3": 1}


@pytest.mark.rule("C4")
def test_a_receipt_that_is_no_longer_held_is_not_challenged() -> None:
    stage = Stage()
    used = stage.use(fee=1_000)
    stage.close(2)
    stage.ada.add("audit.challenge", kinds.AuditChallenge(used, "arithmetic"))
    stage.close()
    assert compare(PROGRAM, stage.ledger) == {"CH": 1}


def test_credit_that_is_lost_on_its_way_is_noticed_in_the_same_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    move = PROGRAM.Fold.move

    def leaky(fold: Any, amount: int, source: Any, to: Any, column: Any = None) -> None:
        move(fold, amount, source, to, column)
        fold.purse[to] -= 1

    monkeypatch.setattr(PROGRAM.Fold, "move", leaky)
    with pytest.raises(PROGRAM.Fault, match="not conserved"):
        compare(PROGRAM, Stage().ledger)


# --- bundles --------------------------------------------------------------------------------------

Frames = list[list[Any]]


def written(path: Path, frames: Frames, magic: bytes = b"oln-bundle/1\n", end: Any = None) -> Path:
    """A bundle of these frames, with an end frame that is right unless another is given."""
    whole = magic
    for frame in frames:
        body = naive.encode(frame)
        whole += len(body).to_bytes(4, "big") + body
    body = naive.encode(end or ["end", len(frames), hashlib.sha256(whole).digest()])
    path.write_bytes(whole + len(body).to_bytes(4, "big") + body)
    return path


class Carried:
    """The frames of a ledger in memory, as a bundle has them."""

    def __init__(self) -> None:
        self.ledger = Ledger.solo("co-op")
        self.ada = self.ledger.account("ada")
        for number in range(4):
            self.ada.add("account.accept", [digest(number)])
        self.genesis = naive.decode(encode(self.ledger.genesis))

    def frames(self) -> Frames:
        found: Frames = [["ledger", encode(self.ledger.genesis)]]
        for log in self.ledger.logs.by_id.values():
            found += [["log", naive.decode(encode(log.head().signed))]]
            found += [["leaves", 0, log.leaves[:2]], ["leaves", 2, log.leaves[2:]]]
        return [frame for frame in found if frame[0] != "leaves" or frame[2]]

    def read(self, path: Path) -> Any:
        return PROGRAM.read_bundle(path, self.genesis)


def with_leaf(carried: Carried, leaf: bytes, at: int | None = None) -> Frames:
    """The frames when ada's log has this leaf, under a head that is signed over it."""
    log = carried.ada.log
    if at is None:
        log.append_leaf(leaf)
    else:
        log.leaves[at] = leaf
    return carried.frames()


def foreign(carried: Carried) -> Frames:
    return [["ledger", encode([1])], *carried.frames()[1:]]


def with_head(change: Callable[[list[Any]], list[Any]]) -> Callable[[Carried], Frames]:
    """The frames with the last log's head changed."""

    def frames(carried: Carried) -> Frames:
        found = carried.frames()
        at = max(at for at, frame in enumerate(found) if frame[0] == "log")
        found[at] = ["log", change(found[at][1])]
        return found

    return frames


def opened_by(carried: Carried, genesis: list[Any]) -> Frames:
    """A log whose id, head and device are those of this genesis."""
    leaf = naive.encode([1, 0, "log.open", 0, genesis, None, 0])
    log_id, root = PROGRAM.H("log", genesis), PROGRAM.tree([leaf])
    text = f"oln/{log_id.hex()}\n1\n{base64.b64encode(root).decode()}\n"
    head = [log_id, 1, root, carried.ada.device.sign(text.encode())]
    return [["log", head], ["leaves", 0, [leaf]]]


BAD_BUNDLES: Final[dict[str, Callable[[Carried], Frames]]] = {
    "of another ledger": foreign,
    "a head of three items": with_head(lambda head: head[:3]),
    "a head of no size": with_head(lambda head: [head[0], 0, *head[2:]]),
    "a head of one leaf more": with_head(lambda head: [head[0], head[1] + 1, *head[2:]]),
    "a head of another root": with_head(lambda head: [*head[:2], bytes(32), head[3]]),
    "a head of another signature": with_head(lambda head: [*head[:3], bytes(64)]),
    "a head of another log": with_head(lambda head: [bytes(32), *head[1:]]),
    "a log twice": lambda carried: carried.frames() + carried.frames()[1:],
    "leaves before any log": lambda carried: [carried.frames()[2], *carried.frames()],
    "leaves out of order": lambda carried: [
        ["leaves", 3, frame[2]] if frame[:2] == ["leaves", 2] else frame
        for frame in carried.frames()
    ],
    "a log without its last leaf": lambda carried: [
        [*frame[:2], frame[2][:-1]] if frame[:2] == ["leaves", 2] else frame
        for frame in carried.frames()
    ],
    "a log with another leaf": lambda carried: [
        ["leaves", 0, [*frame[2][:-1], naive.encode([1, 1, "k", 0, [], None, 0])]]
        if frame[:2] == ["leaves", 0]
        else frame
        for frame in carried.frames()
    ],
    "a frame too large": lambda carried: [*carried.frames(), ["part", bytes(8 * 2**20)]],
    "a leaf that is not canonical": lambda carried: with_leaf(
        carried, b"\x97\xcc\x01" + naive.encode([1, 6, "k", 0, [], None, 0])[2:]
    ),
    "a leaf of another index": lambda carried: with_leaf(
        carried, naive.encode([1, 9, "k", 0, [], None, 0])
    ),
    "a leaf of six items": lambda carried: with_leaf(
        carried, naive.encode([1, len(carried.ada.log.leaves), "k", 0, [], None])
    ),
    "a leaf of no array": lambda carried: with_leaf(carried, naive.encode("leaf")),
    "a leaf too large": lambda carried: with_leaf(
        carried,
        naive.encode([1, len(carried.ada.log.leaves), "k", 0, [bytes(524_288)], None, 0]),
    ),
    "a log that is not opened": lambda carried: with_leaf(
        carried, naive.encode([1, 0, "log.shut", 0, [], None, 0]), 0
    ),
    "a log opened by another kind": lambda carried: with_leaf(
        carried,
        naive.encode([1, 0, "log.shut", 0, naive.decode(encode(carried.ada.log.genesis)), None, 0]),
        0,
    ),
    "a log with a short nonce": lambda carried: opened_by(
        carried, [1, carried.ledger.id, carried.ada.id, carried.ada.device.public.raw, b"n", None]
    ),
    "a log opened by no genesis": lambda carried: with_leaf(
        carried, naive.encode([1, 0, "log.open", 0, [1], None, 0]), 0
    ),
    "a log opened by another log's genesis": lambda carried: with_leaf(
        carried, carried.ledger.accounts["co-op"].log.leaves[0], 0
    ),
}


@pytest.mark.rule("L2", "L3", "L5")
@pytest.mark.parametrize("name", BAD_BUNDLES)
def test_a_bundle_whose_sums_are_right_is_refused_for(name: str, tmp_path: Path) -> None:
    carried = Carried()
    frames = BAD_BUNDLES[name](carried)
    with pytest.raises(PROGRAM.Fault):
        carried.read(written(tmp_path / "bad.bundle", frames))


def test_a_bundle_is_read_log_by_log_and_other_frames_are_passed_over(tmp_path: Path) -> None:
    carried = Carried()
    frames = [*carried.frames(), ["payload", bytes(32), 1], ["part", b"x"]]
    held = carried.read(written(tmp_path / "good.bundle", frames))
    assert held == {log_id: log.leaves for log_id, log in carried.ledger.logs.by_id.items()}


def test_a_file_that_is_framed_otherwise_is_refused(tmp_path: Path) -> None:
    carried, frames = Carried(), Carried().frames()
    good = written(tmp_path / "good.bundle", frames).read_bytes()
    digest_of_all = hashlib.sha256(good[: -len(naive.encode(["end", 1, bytes(32)])) - 4]).digest()
    bad = {
        "magic": written(tmp_path / "m", frames, b"oln-backup/1\n").read_bytes(),
        "count": written(tmp_path / "c", frames, end=["end", 99, digest_of_all]).read_bytes(),
        "digest": written(tmp_path / "d", frames, end=["end", len(frames), bytes(32)]).read_bytes(),
        "more": good + b"x",
        "less": good[:-1],
        "none": b"",
        "large": good[:13] + (8 * 2**20 + 1).to_bytes(4, "big") + bytes(8 * 2**20 + 1),
    }
    for name, whole in bad.items():
        path = tmp_path / name
        path.write_bytes(whole)
        with pytest.raises(PROGRAM.Fault):
            carried.read(path)


# --- what the seats decided -----------------------------------------------------------------------

SEATS: Final = ("ann", "ben", "cat", "dan")


class Council:
    """Four seats that decide epochs of a ledger in memory; each step can be done otherwise."""

    def __init__(self) -> None:
        self.ledger = Ledger.network(SEATS, ["ann"])
        self.seats = [self.ledger.accounts[name] for name in SEATS]
        self.mallory, *_ = (self.ledger.account(name) for name in ("mallory", "oscar", "eve"))
        self.ledger.close_epoch()

    def decide(self, **otherwise: Any) -> None:
        """The events in which the seats decide and sign the last closed epoch."""
        closed, epoch = self.ledger.epochs[-1], self.ledger.epoch
        marks = [[mark.log_id, mark.size, mark.root] for mark in closed.cut.changed]
        marks = otherwise.get("marks", lambda whole: whole)(marks)
        cut_id = otherwise.get("cut_id", closed.cut.cut_id)
        frontiers = [digest("frontier", epoch)]
        proposal = PROGRAM.H("proposal", self.ledger.id, epoch, 0, None, frontiers, cut_id)
        body = [epoch, 0, None, None, [], [], frontiers, marks, cut_id]
        self.seats[0].add("witness.propose", body)
        final = PROGRAM.words("final", self.ledger.id, epoch, 0, proposal)
        certificate = [[at, seat.device.sign(final)] for at, seat in enumerate(self.seats)]
        certificate = otherwise.get("certificate", lambda whole: whole)(certificate)
        folded = closed.folded
        said = [epoch, closed.cut.cut_id, folded.statement.root, folded.state_digest]
        said += [otherwise.get("version", 1), folded.next_set_digest, None]
        for seat in otherwise.get("signers", self.seats):
            words = PROGRAM.words("state", self.ledger.id, *said)
            signature = otherwise.get("by", seat).device.sign(words)
            seat.add("witness.state", [*said, signature, 0, proposal, certificate])

    def audited(self, **logs: Any) -> list[tuple[int, int]]:
        """(epoch, number of signatures) as the program finds them, all with the signed root."""
        leaves = {log_id: log.leaves for log_id, log in self.ledger.logs.by_id.items()}
        genesis = naive.decode(encode(self.ledger.genesis))
        found = []
        for epoch, body, signatures, _, root in PROGRAM.audited(genesis, leaves | logs):
            assert root == body[2]
            found.append((epoch, signatures))
        return found


@pytest.mark.rule("A8")
def test_epochs_that_seats_decided_and_signed_are_found_one_after_the_other() -> None:
    council = Council()
    for _ in range(3):
        council.decide()
        council.ledger.close_epoch()
    assert council.audited() == [(1, 4), (2, 4), (3, 4)]


@pytest.mark.rule("A8")
def test_three_of_four_signatures_prove_a_statement_and_two_do_not() -> None:
    for number, found in ((3, [(1, 3)]), (2, [])):
        council = Council()
        council.decide(signers=council.seats[:number])
        assert council.audited() == found


@pytest.mark.rule("A8")
def test_a_signature_counts_by_a_seat_of_its_own_and_with_a_certificate_of_a_quorum() -> None:
    def swapped(whole: list[Any]) -> list[Any]:
        return [whole[1], whole[0], *whole[2:]]

    def wrong(whole: list[Any]) -> list[Any]:
        return [*whole[:3], [3, whole[0][1]]]

    for otherwise in (
        {"by": "mallory"},
        {"signers": ["mallory", "oscar", "eve"]},
        {"signers": ["ann"] * 3},
        {"certificate": lambda whole: whole[:2]},
        {"certificate": swapped},
        {"certificate": wrong},
    ):
        council = Council()
        named: dict[str, Any] = dict(otherwise)
        if "by" in named:
            named["by"] = council.mallory
        if "signers" in named:
            named["signers"] = [council.ledger.accounts[name] for name in named["signers"]]
        council.decide(**named)
        assert council.audited() == [], otherwise


@pytest.mark.rule("A7")
def test_a_cut_is_the_one_whose_marks_make_its_id_and_whose_logs_are_held() -> None:
    council = Council()
    council.decide(marks=lambda marks: marks[:-1])
    with pytest.raises(PROGRAM.Fault, match="no proposal in the bundle"):
        council.audited()
    council = Council()
    council.decide(cut_id=digest("another cut"))
    with pytest.raises(PROGRAM.Fault, match="no proposal in the bundle"):
        council.audited()


@pytest.mark.rule("A7")
@pytest.mark.parametrize("how", ["shorter", "other"])
def test_a_log_that_is_not_held_as_the_cut_names_it_is_told(how: str) -> None:
    council = Council()
    council.decide()
    genesis = naive.decode(encode(council.ledger.genesis))
    leaves = {log_id: list(log.leaves) for log_id, log in council.ledger.logs.by_id.items()}
    held = leaves[council.mallory.log.log_id]
    if how == "shorter":
        held.pop()
    else:
        held[1] = encode([1, 1, "k", 0, [], None, 0])
    with pytest.raises(PROGRAM.Fault, match="is not the one in the cut"):
        list(PROGRAM.audited(genesis, leaves))


@pytest.mark.rule("A7")
def test_a_cut_in_which_a_log_grows_backwards_is_refused() -> None:
    """Its marks make its id, and its seats signed it: no honest quorum would."""
    council = Council()
    council.decide()
    closed = council.ledger.epochs[-1].cut
    log = council.mallory.log
    council.ledger.close_epoch()
    grown = council.ledger.epochs[-1].cut
    whole = {mark.log_id: mark for mark in (*closed.changed, *grown.changed)}
    whole[log.log_id] = log.mark(1)
    cut_id = merkle.root([encode(whole[log_id]) for log_id in sorted(whole)])
    back = naive.decode(encode(log.mark(1)))
    object.__setattr__(council.ledger.epochs[-1], "cut", type(grown)(2, cut_id, grown.changed))
    council.decide(marks=lambda marks: [*marks, back])
    with pytest.raises(PROGRAM.Fault, match="is not the one in the cut"):
        council.audited()


@pytest.mark.rule("A10")
def test_an_epoch_of_other_rules_is_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    councils = Council(), Council()
    councils[0].decide()
    councils[1].decide(version=2)
    assert councils[0].audited() == [(1, 4)]
    with pytest.raises(PROGRAM.Fault, match="rules version 1"):
        councils[1].audited()
    rules_of = PROGRAM.rules_of
    monkeypatch.setattr(
        PROGRAM, "rules_of", lambda number, seats, _, *rest: rules_of(number, seats, 2, *rest)
    )
    for council in councils:
        with pytest.raises(PROGRAM.Fault, match="rules version 1"):
            council.audited()
