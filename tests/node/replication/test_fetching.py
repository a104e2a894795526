"""One link's questions, with stand-ins for everything around them: what an evil answer may cost."""

from __future__ import annotations

from typing import Any

import pytest

from openledger_node.ledger.events import MAX_SEQ, SEGMENT_LEAVES, LogGenesis, encode_event
from openledger_node.ledger.heads import SignedHead, sign_head
from openledger_node.ledger.merkle import leaf_hashes
from openledger_node.node.replication import fetching
from openledger_node.node.replication.admission import Admission
from openledger_node.node.replication.fetching import HASH_BYTES, KEPT_BYTES, Asked, Fetcher
from openledger_node.node.replication.holder import Arrival
from openledger_node.node.replication.lane import Stream
from openledger_node.sync.faults import PeerFault
from openledger_node.sync.peer_state import Fetch
from tests.kit.ledgerkit import digest, key

LEDGER = digest("ledger")
OWNER = key("owner")


def genesis(number: int = 0) -> LogGenesis:
    nonce = digest("nonce", number)[:16]
    return LogGenesis(1, LEDGER, digest("account"), OWNER.public.raw, nonce, None)


class Around:
    """The session, the table, the replica and the lane of a fetcher, as far as it uses them."""

    ledger_id = LEDGER

    def __init__(self) -> None:
        self.wants = 0
        self.consumed_bytes = 0
        self.cancelled: list[int] = []
        self.refusals: list[Fetch] = []
        self.arrivals: list[Arrival] = []
        self.streams: list[Stream] = []
        self.suspects: list[Asked] = []

    def send_want(self, *_: Any) -> int:
        self.wants += 1
        return self.wants

    def send_cancel(self, want_id: int) -> None:
        self.cancelled.append(want_id)

    def consumed(self, size_bytes: int) -> None:
        self.consumed_bytes += size_bytes

    def name(self, log_id: bytes) -> bytes:
        return log_id[:8]

    def opened(self, fetch: Fetch, log_id: bytes) -> bool:
        return True

    def refused(self, fetch: Fetch, *, for_good: bool = False) -> None:
        self.refusals.append(fetch)

    def cleared(self, fetch: Fetch) -> None:
        return

    def arrive(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)

    def feed(self, stream: Stream) -> None:
        self.streams.append(stream)


@pytest.fixture
def around() -> Around:
    return Around()


@pytest.fixture
def fetcher(around: Around) -> Fetcher:
    return made(around)


def made(around: Any) -> Fetcher:
    admission = Admission("open", listed=(), unknown_bytes=0, known=lambda owner: True, held=())
    return Fetcher(
        1, around, around, around, around, lambda log_id: None, admission, around.suspects.append
    )


def ask(fetcher: Fetcher, around: Around, size: int, number: int = 0, **fields: Any) -> int:
    """Asks for a log, and gets its head."""
    log = genesis(number)
    fetch = Fetch(
        **{
            "link": 1,
            "name": log.log_id[:8],
            "log_id": None,
            "first": 0,
            "offered": size,
            "purpose": "grow",
        }
        | fields
    )
    fetcher.ask(fetch)
    opening = encode_event(0, "log.open", 0, log)
    fetcher.head_came(around.wants, opening, sign_head(OWNER, log, size, bytes(32)).signed)
    return around.wants


def test_a_log_longer_than_any_store_holds_is_left_where_it_is(
    fetcher: Fetcher, around: Around
) -> None:
    want = ask(fetcher, around, MAX_SEQ)
    assert around.cancelled == [want]
    assert len(around.refusals) == 1
    fetcher.spine_came(want, bytes(HASH_BYTES), 100)
    assert around.consumed_bytes == 100
    most = fetching.MAX_SPINE_BYTES // HASH_BYTES * SEGMENT_LEAVES
    ask(fetcher, around, most, 1)
    assert around.cancelled == [want]


def test_spines_of_many_logs_at_once_are_a_fault_before_they_fill_the_memory(
    fetcher: Fetcher, around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_SPINE_BYTES", 64 * HASH_BYTES)
    wants = [ask(fetcher, around, 40 * SEGMENT_LEAVES, number) for number in range(3)]
    fetcher.spine_came(wants[0], bytes(39 * HASH_BYTES), 1)
    fetcher.spine_came(wants[1], bytes(25 * HASH_BYTES), 1)
    with pytest.raises(PeerFault, match="many long logs at once") as found:
        fetcher.spine_came(wants[2], bytes(HASH_BYTES), 1)
    assert found.value.code == "spine"


def test_spines_one_after_another_are_as_many_as_there_are_logs(
    fetcher: Fetcher, around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MAX_SPINE_BYTES", 64 * HASH_BYTES)
    for number in range(5):
        want = ask(fetcher, around, 60 * SEGMENT_LEAVES, number)
        fetcher.spine_came(want, bytes(range(60)) * HASH_BYTES, 1)
        fetcher.leaves_came(want, [b"leaf"], 10)
        assert around.streams[-1].spine == bytes(range(60)) * HASH_BYTES


def test_more_roots_than_segments_are_a_fault(fetcher: Fetcher, around: Around) -> None:
    want = ask(fetcher, around, 3 * SEGMENT_LEAVES)
    with pytest.raises(PeerFault, match="more segment roots than the log has"):
        fetcher.spine_came(want, bytes(4 * HASH_BYTES), 1)


def test_a_short_log_arrives_whole_and_a_heavy_one_as_a_stream(
    fetcher: Fetcher, around: Around
) -> None:
    light, heavy = ask(fetcher, around, 3), ask(fetcher, around, 4, 1)
    fetcher.leaves_came(light, [b"a", b"b"], 10)
    assert around.arrivals == []
    fetcher.leaves_came(light, [b"c"], 10)
    (arrival,) = around.arrivals
    assert (arrival.leaves, arrival.size_bytes) == ([b"a", b"b", b"c"], 20)
    for leaf in (b"0", b"1", b"2", b"3"):
        fetcher.leaves_came(heavy, [leaf], KEPT_BYTES // 2 + 1)
    (stream,) = set(around.streams)
    assert [leaf for leaves, _ in stream.chunks for leaf in leaves] == [b"0", b"1", b"2", b"3"]
    assert sum(size_bytes for _, size_bytes in stream.chunks) == 4 * (KEPT_BYTES // 2 + 1)
    assert (stream.first, stream.last, stream.spine) == (0, True, b"")
    assert len(around.arrivals) == 1


def test_of_a_suspects_segment_the_hashes_are_kept_and_the_bytes_granted_back(
    fetcher: Fetcher, around: Around
) -> None:
    want = ask(fetcher, around, 300, purpose="fork")
    fetcher.spine_came(want, bytes(2 * HASH_BYTES), 1)
    (suspect,) = around.suspects
    before = around.consumed_bytes
    fetcher.ask_segment(suspect, 1)
    want = around.wants
    fetcher.head_came(want, b"", SignedHead(genesis().log_id, 300, bytes(32), bytes(64)))
    leaves = [b"%d" % seq for seq in range(256, 300)]
    fetcher.leaves_came(want, leaves[:40], 1_000)
    assert len(around.suspects) == 1
    fetcher.leaves_came(want, leaves[40:], 100)
    assert around.consumed_bytes == before + 1_100
    asked = around.suspects[1]
    assert (asked.suspect, asked.segment, asked.leaves) == (suspect, 1, [])
    assert asked.hashes == leaf_hashes(leaves)


def test_a_spine_is_taken_in_on_the_strength_of_a_signature_alone(
    fetcher: Fetcher, around: Around
) -> None:
    log = genesis()
    fetch = Fetch(1, log.log_id[:8], None, 0, 40 * SEGMENT_LEAVES, "grow")
    fetcher.ask(fetch)
    opening = encode_event(0, "log.open", 0, log)
    forged = SignedHead(log.log_id, 40 * SEGMENT_LEAVES, bytes(32), bytes(64))
    with pytest.raises(PeerFault, match="signature") as found:
        fetcher.head_came(around.wants, opening, forged)
    assert found.value.code == "bad_data"


def test_missing_in_mid_stream_ends_the_stream_and_its_fetch_once(
    fetcher: Fetcher, around: Around
) -> None:
    want = ask(fetcher, around, 3 * SEGMENT_LEAVES)
    fetcher.spine_came(want, bytes(3 * HASH_BYTES), 1)
    fetcher.leaves_came(want, [b"leaf"], 10)
    (stream,) = around.streams
    fetcher.missing_came(want)
    assert stream.dead
    assert len(around.refusals) == 1
    assert fetcher.stream_ended(stream) is None
    assert len(around.refusals) == 1


def test_missing_in_the_middle_of_a_short_log_gives_its_credit_back(
    fetcher: Fetcher, around: Around
) -> None:
    want = ask(fetcher, around, 3)
    fetcher.leaves_came(want, [b"a"], 500)
    assert around.consumed_bytes == 0
    fetcher.missing_came(want)
    assert around.consumed_bytes == 500
    assert around.arrivals == []


def test_a_stream_whose_owner_is_out_of_room_is_cancelled_once(
    fetcher: Fetcher, around: Around
) -> None:
    want = ask(fetcher, around, 3 * SEGMENT_LEAVES)
    fetcher.spine_came(want, bytes(3 * HASH_BYTES), 1)
    fetcher.leaves_came(want, [b"leaf"], 10)
    (stream,) = around.streams
    for _ in range(2):
        fetcher.out_of_room(stream)
    assert stream.dead
    assert around.cancelled == [want]
    assert len(around.refusals) == 1
