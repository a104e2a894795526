"""A flipped bit in a key, in a leaf or a branch of LMDB's trees, makes nothing silently absent."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from openledger_node.ledger.errors import StoreDamaged
from openledger_node.store.environment import DATABASES, HELD_TO_ABSENCE, Txn
from openledger_node.store.store import Store
from tests.store.place import Place

COUNT = 600
"""Keys enough for a tree with branches."""
SEED = 20_240_229
FLIPS = 150
KEYS = [b"@account-%05d@" % (2 * number) for number in range(COUNT)]
ABSENT = [b"@account-%05d@" % (2 * number + 1) for number in range(-1, COUNT)]


@pytest.fixture
def wide(place: Place) -> Place:
    with place.raw() as txn:
        txn.put_many("state", [(key, key * 4) for key in KEYS])
    return place


def wrong_answers(txn: Txn) -> Iterator[object]:
    """What is answered and is not so. A refusal (StoreDamaged) is no answer."""
    for key in KEYS:
        try:
            if txn.get("state", key) != key * 4:
                yield key
        except StoreDamaged:
            continue
    for first in range(0, COUNT, 50):
        prefix = KEYS[first][:-2]
        right = [(key, key * 4) for key in KEYS if key.startswith(prefix)]
        try:
            if list(txn.scan("state", prefix)) != right:
                yield prefix
        except StoreDamaged:
            continue
    try:
        if [key for key, _ in txn.scan("state", b"@", KEYS[300])] != KEYS[300:]:
            yield "from a key on"
    except StoreDamaged:
        pass


def test_a_flipped_key_makes_an_error_and_never_an_absence(wide: Place) -> None:
    wide.close()
    file = wide.home / "ledger" / "data.mdb"
    whole = file.read_bytes()
    choose = random.Random(SEED)
    places = [found.start() for found in re.finditer(rb"@account-\d{5}@(?!@)", whole)]
    assert len(places) > COUNT  # branches hold copies of keys
    for at in choose.sample(places, FLIPS):
        altered = bytearray(whole)
        altered[at + choose.randrange(9, 15)] ^= 1 << choose.randrange(8)
        file.write_bytes(altered)
        with Store.open(wide.home) as store, store.environment.reading() as txn:
            assert list(wrong_answers(txn)) == [], at
    file.write_bytes(whole)
    wide.store = Store.open(wide.home)


def test_a_key_that_was_never_there_is_absent_and_no_error(wide: Place) -> None:
    with wide.store.environment.reading() as txn:
        assert [key for key in ABSENT if txn.get("state", key) is not None] == []
        assert [prefix for prefix in ABSENT if list(txn.scan("state", prefix))] == []
        for name in DATABASES:
            assert txn.get(name, b"\0") is None
            assert txn.get(name, b"\xff" * 40) is None
        assert list(txn.scan("state", b"\xff")) == []
        assert list(txn.scan("names", b"")) == []


def test_scans_give_the_same_with_and_without_a_neighbour_before(wide: Place) -> None:
    with wide.store.environment.reading() as txn:
        assert [key for key, _ in txn.scan("state")] == KEYS
        assert [key for key, _ in txn.scan("state", b"@account-0000")] == KEYS[:5]
        assert [key for key, _ in txn.scan("state", b"@account-01")] == KEYS[500:]
        assert [key for key, _ in txn.scan("state", b"@", b"@account-01190@")] == KEYS[-5:]


@pytest.mark.rule("S1")
@pytest.mark.parametrize("side", ["before", "after"])
def test_an_absence_beside_a_damaged_value_is_not_believed(wide: Place, side: str) -> None:
    absent = ABSENT[300]
    neighbour = KEYS[299] if side == "before" else KEYS[300]
    wide.put_raw("state", neighbour, b"no seal at all")
    with wide.store.environment.reading() as txn:
        with pytest.raises(StoreDamaged, match="the folded state is damaged"):
            txn.get("state", absent)
        assert txn.get("state", ABSENT[100]) is None


def test_what_an_absence_means_nothing_in_is_left_alone(wide: Place) -> None:
    """Segments and payload bytes are asked for only where a record says that they are."""
    assert set(DATABASES) > HELD_TO_ABSENCE
    wide.put_raw("segments", b"\0" * 8, b"no seal at all")
    with wide.store.environment.reading() as txn:
        assert txn.get("segments", b"\0" * 7) is None


def test_a_key_that_differs_in_every_copy_is_noticed(wide: Place) -> None:
    wide.close()
    file = wide.home / "ledger" / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(re.sub(rb"@account-00400@(?!@)", b"@account-0040x@", whole))
    with Store.open(wide.home) as store, pytest.raises(StoreDamaged), store.read() as snapshot:
        snapshot.state.get(KEYS[200])
    file.write_bytes(whole)
    wide.store = Store.open(wide.home)
