"""How logs lie in the store: records, sealed segments, the tail, the spine.

- S5 A log has a number (interned id). Its record is `[log_id, genesis, size, frontier nodes, head |
  nil, own]`; `size` counts durable leaves; `head` is the newest signed head and never exceeds
  `size`.
- S6 256 leaves sealed are one value: the leaves one after another, 256 lengths as u32 big-endian,
  the root of their subtree. Leaves past the last whole segment lie apart, by (log number, seq). The
  spine has each segment's root, so the root and the proofs of a long log re-hash one segment.
- S7 What lies beyond a record's size is not part of the log: an import that was cut off.
- S8 A forked log may be held in several branches, each under a number of its own. One is shown to
  readers and the fold; the others' records say `own` = 2, and `branches` names them by (log id,
  root of their head). A branch that is still coming in is set aside in the same way. The log that
  this home writes is never replaced.
- S9 An own log that takes in leaves from elsewhere says so in the same transaction (`own` = 3), and
  nothing is appended to it again: two writers of one log would fork it.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Final

import msgspec

from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import Refused, StoreDamaged
from openledger_node.ledger.events import SEGMENT_LEAVES, LogGenesis
from openledger_node.ledger.heads import SignedHead
from openledger_node.ledger.merkle import Frontier, leaf_hashes, root_of_hashes
from openledger_node.store.environment import SEAL_BYTES, Txn
from openledger_node.store.large_segments import LARGE_BYTES

SEGMENT_LEVEL: Final = SEGMENT_LEAVES.bit_length() - 1
_LENGTHS: Final = struct.Struct(f">{SEGMENT_LEAVES}I")
_NUMBER: Final = struct.Struct(">I")
_NUMBER_SEGMENT: Final = struct.Struct(">II")
_NUMBER_SEQ: Final = struct.Struct(">IQ")
_ROOT_BYTES: Final = 32
NOT_OWN: Final = 0
OWN: Final = 1
SET_ASIDE: Final = 2
WENT_ON: Final = 3
"""`own`: whose log it is; 2 a branch that is not shown (S8), 3 an own log that grew elsewhere (S9).
"""


class LogRecord(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """What the store knows of one log (S5)."""

    log_id: bytes
    genesis: LogGenesis
    size: int
    nodes: tuple[bytes, ...]
    head: SignedHead | None
    own: int

    @property
    def frontier(self) -> Frontier:
        return Frontier(self.size, self.nodes)


_record_decoder = msgspec.msgpack.Decoder(LogRecord)


def number_key(number: int) -> bytes:
    return _NUMBER.pack(number)


def segment_key(number: int, segment: int) -> bytes:
    return _NUMBER_SEGMENT.pack(number, segment)


def tail_key(number: int, seq: int) -> bytes:
    return _NUMBER_SEQ.pack(number, seq)


def log_number(txn: Txn, log_id: bytes) -> int | None:
    stored = txn.get("logids", log_id)
    return None if stored is None else int(_NUMBER.unpack(stored)[0])


def read_record(txn: Txn, number: int) -> LogRecord:
    stored = txn.get("logs", number_key(number))
    if stored is None:
        raise StoreDamaged(f"the record of log number {number} is missing", hint="run `oln check`")
    return _record_decoder.decode(stored)


def decode_record(stored: bytes) -> LogRecord:
    return _record_decoder.decode(stored)


def write_record(txn: Txn, number: int, record: LogRecord) -> None:
    txn.put("logs", number_key(number), encode(record))


def new_log(txn: Txn, genesis: LogGenesis, own: bool) -> int:
    """Interns a log with no leaf yet; its number."""
    last = txn.last("logs")
    number = int(_NUMBER.unpack(last[0])[0]) + 1 if last else 0
    log_id = genesis.log_id
    txn.put("logids", log_id, number_key(number))
    write_record(txn, number, LogRecord(log_id, genesis, 0, (), None, int(own)))
    return number


def holds(txn: Txn, number: int, head: SignedHead) -> bool:
    """Whether a history is what `head` covers, or goes on from there."""
    record = read_record(txn, number)
    if record.head is None or record.head.size < head.size:
        return False
    return frontier_at(txn, number, record, head.size).root() == head.root


def find_history(txn: Txn, head: SignedHead) -> int | None:
    """The number of a whole history that holds `head`: the one shown, if it does (S8)."""
    shown = log_number(txn, head.log_id)
    numbers = [] if shown is None else [shown, *branches(txn, head.log_id)]
    return next((number for number in numbers if holds(txn, number, head)), None)


def new_branch(txn: Txn, genesis: LogGenesis) -> int:
    """A number for another branch of a log that is held, set aside until it is whole (S8)."""
    last = txn.last("logs")
    number = int(_NUMBER.unpack(last[0])[0]) + 1 if last else 0
    write_record(txn, number, LogRecord(genesis.log_id, genesis, 0, (), None, SET_ASIDE))
    return number


def show_branch(txn: Txn, number: int) -> None:
    """A branch that is whole becomes the log's history; the former one is set aside (S8).

    Refused `own_log` when the former one is the log that this home writes.
    """
    record = read_record(txn, number)
    former_number = log_number(txn, record.log_id)
    if former_number == number:
        return
    if former_number is not None:
        former = read_record(txn, former_number)
        refuse_own(txn, former)
        former.own = SET_ASIDE
        write_record(txn, former_number, former)
        if former.head is not None:
            txn.put("branches", record.log_id + former.head.root, number_key(former_number))
    if record.head is not None:
        txn.delete("branches", record.log_id + record.head.root)
    record.own = NOT_OWN
    write_record(txn, number, record)
    txn.put("logids", record.log_id, number_key(number))


def refuse_own(txn: Txn, record: LogRecord) -> None:
    """Refused when it is the log that this home writes: its history is not replaced (S8)."""
    if record.own != NOT_OWN and txn.get("meta", b"current_log") == record.log_id:
        raise Refused("an own log is not replaced by another branch", code="own_log")


def branches(txn: Txn, log_id: bytes) -> list[int]:
    """The numbers of the branches of a log that are set aside and whole."""
    return [int(_NUMBER.unpack(stored)[0]) for _, stored in txn.scan("branches", log_id)]


def pack_segment(leaves: Sequence[bytes], root: bytes) -> bytes:
    """256 leaves as one value (S6)."""
    return b"".join((*leaves, _LENGTHS.pack(*map(len, leaves)), root))


def unpack_segment(value: bytes) -> list[bytes]:
    """The leaves of a sealed segment."""
    end = len(value) - _ROOT_BYTES - _LENGTHS.size
    if end < 0:
        raise StoreDamaged("a sealed segment is too short", hint="run `oln check`")
    offsets = accumulate(_LENGTHS.unpack_from(value, end), initial=0)
    leaves = [value[start:stop] for start, stop in pairwise(offsets)]
    if sum(map(len, leaves)) != end:
        raise StoreDamaged("a sealed segment's lengths do not fit", hint="run `oln check`")
    return leaves


def segment_root(value: bytes) -> bytes:
    return value[-_ROOT_BYTES:]


def read_leaves(txn: Txn, number: int, start: int, stop: int) -> list[bytes]:
    """Leaves [start, stop) of a log of at least `stop` leaves, wherever they lie."""
    record = read_record(txn, number)
    if not 0 <= start <= stop <= record.size:
        raise StoreDamaged(
            f"events {start} to {stop} of a log of {record.size} were asked for",
            hint="run `oln check`",
        )
    sealed = record.size // SEGMENT_LEAVES * SEGMENT_LEAVES
    leaves: list[bytes] = []
    position = start
    while position < min(stop, sealed):
        segment, offset = divmod(position, SEGMENT_LEAVES)
        first = segment * SEGMENT_LEAVES
        until = min(stop, first + SEGMENT_LEAVES)
        leaves += _read_part(txn, number, segment, offset, until - first)
        position = until
    if position < stop:
        leaves += read_tail(txn, number, position, stop)
    return leaves


def leaf_run(
    txn: Txn, number: int, start: int, stop: int, max_bytes: int
) -> tuple[int, bytes, bytes]:
    """Leaves from `start` on as they travel: (how many, u32 big-endian lengths, the leaves).

    At least one, and then as many as fit into `max_bytes`, at most to the end of the segment of
    `start`. A whole segment is two slices of what is stored.
    """
    segment, offset = divmod(start, SEGMENT_LEAVES)
    until = min(stop, (segment + 1) * SEGMENT_LEAVES)
    record = read_record(txn, number)
    if until <= record.size // SEGMENT_LEAVES * SEGMENT_LEAVES and not offset:
        value = txn.get("segments", segment_key(number, segment))
        end = len(value) - _ROOT_BYTES - _LENGTHS.size if value is not None else 0
        if value is not None and until - start == SEGMENT_LEAVES and end <= max_bytes:
            return SEGMENT_LEAVES, value[end : end + _LENGTHS.size], value[:end]
    if start < record.size // SEGMENT_LEAVES * SEGMENT_LEAVES:
        leaves = _read_part(txn, number, segment, offset, until - start + offset, max_bytes)
    else:
        leaves = read_tail(txn, number, start, until, max_bytes)
    count = len(leaves)
    return count, struct.pack(f">{count}I", *map(len, leaves)), b"".join(leaves)


def _fitting(lengths: Iterable[int], max_bytes: int | None) -> int | None:
    """How many of leaves of these lengths fit, at least one; None: all of them."""
    if max_bytes is None:
        return None
    return max(1, bisect_right(list(accumulate(lengths)), max_bytes))


def _read_part(
    txn: Txn, number: int, segment: int, offset: int, until: int, max_bytes: int | None = None
) -> list[bytes]:
    """Leaves [offset, until) of a sealed segment, or as many as fit, at least one."""
    key = segment_key(number, segment)
    with txn.viewing("segments", key) as view:
        is_large = view is not None and len(view) >= LARGE_BYTES
        if view is not None and is_large:
            part = _part_of(view, offset, until, max_bytes)
            if txn.leaf_hashes.hold(key, offset, part):
                return part
    held = read_segment(txn, number, segment)
    if is_large:
        txn.leaf_hashes.keep(key, leaf_hashes(held))
    part = held[offset:until]
    return part[: _fitting(map(len, part), max_bytes)]


def _part_of(view: memoryview, offset: int, until: int, max_bytes: int | None) -> list[bytes]:
    """The same of a segment as it is stored, unchecked."""
    end = len(view) - SEAL_BYTES - _ROOT_BYTES - _LENGTHS.size
    ends = list(accumulate(_LENGTHS.unpack_from(view, end), initial=0))
    lengths = [stop - start for start, stop in pairwise(ends[offset : until + 1])]
    count = _fitting(lengths, max_bytes)
    last = until if count is None else min(until, offset + count)
    return [bytes(view[start:stop]) for start, stop in pairwise(ends[offset : last + 1])]


def read_segment(txn: Txn, number: int, segment: int) -> list[bytes]:
    value = txn.get("segments", segment_key(number, segment))
    if value is None:
        raise StoreDamaged(
            f"segment {segment} of log number {number} is missing",
            hint="run `oln check`; a peer or a backup can supply it",
        )
    return unpack_segment(value)


def read_tail(
    txn: Txn, number: int, start: int, stop: int, max_bytes: int | None = None
) -> list[bytes]:
    """Leaves [start, stop) that lie apart, or as many as fit, at least one."""
    leaves: list[bytes] = []
    expected, size_bytes = start, 0
    for key, leaf in txn.scan("tail", number_key(number), tail_key(number, start)):
        if expected == stop:
            break
        if key != tail_key(number, expected):
            break
        size_bytes += len(leaf)
        if max_bytes is not None and leaves and size_bytes > max_bytes:
            return leaves
        leaves.append(leaf)
        expected += 1
    if expected != stop:
        raise StoreDamaged(
            f"event {expected} of log number {number} is missing", hint="run `oln check`"
        )
    return leaves


def put_tail(txn: Txn, number: int, first: int, leaves: Sequence[bytes]) -> None:
    """Leaves that lie apart, from `first` on."""
    txn.put_many("tail", [(tail_key(number, seq), leaf) for seq, leaf in enumerate(leaves, first)])


def delete_tail(txn: Txn, number: int, start: int, stop: int) -> None:
    for seq in range(start, stop):
        txn.delete("tail", tail_key(number, seq))


def stored_hashes(txn: Txn, number: int, start: int, stop: int) -> list[bytes]:
    """The leaf hashes of [start, stop) as the leaves lie in the store, segment by segment.

    For comparing with what was meant: the hashes say more than the seals, which are not looked at.
    """
    hashes: list[bytes] = []
    size = read_record(txn, number).size
    sealed = size // SEGMENT_LEAVES * SEGMENT_LEAVES
    position = start
    while position < min(stop, sealed):
        segment = position // SEGMENT_LEAVES
        first = segment * SEGMENT_LEAVES
        until = min(stop, first + SEGMENT_LEAVES)
        value = txn.unchecked("segments", segment_key(number, segment))
        held = unpack_segment(value) if value is not None else []
        hashes += leaf_hashes(held[position - first : until - first])
        position = until
    if position < stop:
        hashes += leaf_hashes(read_tail(txn, number, position, stop))
    return hashes


def frontier_at(txn: Txn, number: int, record: LogRecord, size: int) -> Frontier:
    """The frontier of a log's first `size` leaves, at most `record.size`.

    The subtrees that both sizes have are the record's; the smaller ones come from the spine and
    from the leaves past its last segment.
    """
    differing_bits = (record.size ^ size).bit_length()
    shared = size >> differing_bits << differing_bits
    frontier = Frontier(shared, record.nodes[: shared.bit_count()])
    whole = size // SEGMENT_LEAVES * SEGMENT_LEAVES
    if shared < whole:
        first = shared // SEGMENT_LEAVES
        roots = read_spine(txn, number, first, whole // SEGMENT_LEAVES - first)
        frontier = frontier.extend_subtrees(SEGMENT_LEVEL, roots)
    return frontier.extend(leaf_hashes(read_leaves(txn, number, frontier.size, size)))


def read_spine(txn: Txn, number: int, first: int, count: int) -> list[bytes]:
    """The roots of `count` segments."""
    roots: list[bytes] = []
    for key, root in txn.scan("spine", number_key(number), segment_key(number, first)):
        if len(roots) == count or key != segment_key(number, first + len(roots)):
            break
        roots.append(root)
    if len(roots) != count:
        raise StoreDamaged("a segment's root is missing", hint="run `oln check --repair`")
    return roots


def spine_at(txn: Txn, number: int, first: int, size: int) -> list[bytes]:
    """The roots of the segments of a history's first `size` leaves, from segment `first` on.

    The last one is of what there is of it. `size` is at most the history's.
    """
    whole, rest = divmod(size, SEGMENT_LEAVES)
    roots = read_spine(txn, number, first, max(0, whole - first))
    if rest and first <= whole:
        roots.append(_root_of_rest(txn, number, size))
    return roots


def _root_of_rest(txn: Txn, number: int, size: int) -> bytes:
    """The root over the leaves after the last whole segment of a history's first `size` leaves."""
    record = read_record(txn, number)
    whole, rest = divmod(size, SEGMENT_LEAVES)
    if record.size == size:  # its subtrees are in the record already
        return Frontier(rest, record.nodes[whole.bit_count() :]).root()
    leaves = read_leaves(txn, number, whole * SEGMENT_LEAVES, size)
    return root_of_hashes(leaf_hashes(leaves))


def append_leaves(
    txn: Txn, number: int, record: LogRecord, leaves: Sequence[bytes], hashes: Sequence[bytes]
) -> LogRecord:
    """Puts leaves after the record's last and gives the new record, which it also writes.

    Whole segments are sealed at once; what the tail held of the first of them moves into it.
    """
    frontier = record.frontier
    size = record.size
    kept = size % SEGMENT_LEAVES
    position = 0
    if kept and kept + len(leaves) >= SEGMENT_LEAVES:
        position = SEGMENT_LEAVES - kept
        first = read_tail(txn, number, size - kept, size)
        whole = [*first, *leaves[:position]]
        root = root_of_hashes([*leaf_hashes(first), *hashes[:position]])
        seal_segment(txn, number, size // SEGMENT_LEAVES, whole, root)
        delete_tail(txn, number, size - kept, size)
        frontier = frontier.extend(hashes[:position])
    if not (size + position) % SEGMENT_LEAVES:
        count = (len(leaves) - position) // SEGMENT_LEAVES
        first_segment = (size + position) // SEGMENT_LEAVES
        roots = put_segments(txn, number, first_segment, leaves, hashes, position, count)
        frontier = frontier.extend_subtrees(SEGMENT_LEVEL, roots)
        position += count * SEGMENT_LEAVES
    rest = leaves[position:]
    if rest:
        put_tail(txn, number, size + position, rest)
        frontier = frontier.extend(hashes[position:])
    grown = LogRecord(
        record.log_id, record.genesis, frontier.size, frontier.nodes, record.head, record.own
    )
    write_record(txn, number, grown)
    return grown


def put_segments(
    txn: Txn,
    number: int,
    first_segment: int,
    leaves: Sequence[bytes],
    hashes: Sequence[bytes],
    position: int,
    count: int,
) -> list[bytes]:
    """Seals `count` whole segments from `position` on; their roots."""
    roots = []
    for index in range(count):
        start = position + index * SEGMENT_LEAVES
        stop = start + SEGMENT_LEAVES
        root = root_of_hashes(hashes[start:stop])
        seal_segment(txn, number, first_segment + index, leaves[start:stop], root)
        roots.append(root)
    return roots


def put_sealed(
    txn: Txn, number: int, first_segment: int, leaves: Sequence[bytes], roots: Sequence[bytes]
) -> None:
    """Seals whole segments whose roots are known."""
    for index, root in enumerate(roots):
        start = index * SEGMENT_LEAVES
        seal_segment(
            txn, number, first_segment + index, leaves[start : start + SEGMENT_LEAVES], root
        )


def seal_segment(txn: Txn, number: int, segment: int, leaves: Sequence[bytes], root: bytes) -> None:
    key = segment_key(number, segment)
    txn.put("segments", key, pack_segment(leaves, root))
    txn.put("spine", key, root)
