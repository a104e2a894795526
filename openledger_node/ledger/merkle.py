"""Merkle trees over lists, as RFC 6962 section 2.1 and RFC 9162 section 2.1 define them.

- M1 The hash of no leaf is SHA-256 of nothing; of a leaf SHA-256(0x00 || leaf); of n > 1 leaves
  SHA-256(0x01 || hash of the first k || hash of the rest), k the largest power of two below n.
- M2 Inclusion and consistency proofs are those of RFC 6962 sections 2.1.1 and 2.1.2; checking them
  follows RFC 9162 sections 2.1.3.2 and 2.1.4.2. A proof that does not fit is refused, never an
  error.
- M3 The path of leaves [first, stop) is the hashes of the largest subtrees of M1 that hold none of
  them, from left to right.

A `Frontier` holds the roots of a list's perfect subtrees, largest first: what it takes to append,
and to give the root, without the leaves. Level l counts nodes over 2^l leaves; node (l, i) covers
leaves [i * 2^l, (i + 1) * 2^l).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
_sha256 = hashlib.sha256

NodeSource = Callable[[int, int], bytes]
"""source(level, index) -> the hash of a whole subtree of the list."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf (M1)."""
    return _sha256(b"\0" + data).digest()


def leaf_hashes(leaves: Sequence[bytes]) -> list[bytes]:
    """The hashes of leaves, in bulk."""
    return [_sha256(b"\0" + leaf).digest() for leaf in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (M1)."""
    return _sha256(b"\1" + left + right).digest()


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """The nodes above an even number of nodes."""
    return [
        _sha256(b"\1" + left + right).digest()
        for left, right in zip(level[::2], level[1::2], strict=True)
    ]


def root_of_hashes(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes (M1). Costs one hash for each leaf but one."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        if len(level) & 1:
            last = level.pop()
            level = _parents(level)
            level.append(last)
        else:
            level = _parents(level)
    return level[0]


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaves (M1)."""
    return root_of_hashes(leaf_hashes(leaves))


@dataclass(frozen=True, slots=True)
class Frontier:
    """A list of `size` leaves by the roots of its perfect subtrees, largest first."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def extend(self, hashes: Sequence[bytes]) -> Frontier:
        """The frontier after appending leaves with these hashes."""
        return self.extend_subtrees(0, hashes)

    def extend_subtrees(self, level: int, roots: Sequence[bytes]) -> Frontier:
        """The frontier after appending whole subtrees of 2^level leaves each.

        The size must be a multiple of 2^level (ValueError otherwise).
        """
        if self.size & ((1 << level) - 1):
            raise ValueError(f"{self.size} leaves are no whole number of subtrees of level {level}")
        count = self.size >> level
        nodes = list(self.nodes)
        pending = list(roots)
        above: list[bytes] = []
        while pending:
            if count & 1:
                pending.insert(0, nodes.pop())
            if len(pending) & 1:
                above.append(pending.pop())
            pending = _parents(pending)
            count >>= 1
        # `above` has the lowest subtree first; what is left of `nodes` is larger than all of them.
        return Frontier(self.size + (len(roots) << level), (*nodes, *reversed(above)))

    def root(self) -> bytes:
        """The root over the whole list."""
        if not self.nodes:
            return EMPTY_ROOT
        result = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            result = _sha256(b"\1" + node + result).digest()
        return result


def _split(size: int) -> int:
    """k of M1: the largest power of two below `size` > 1."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_root(source: NodeSource, start: int, size: int) -> bytes:
    """The root over leaves [start, start + size) of a list.

    Start is a multiple of 2^ceil(log2 size).
    """
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return source(level, start >> level)
    k = _split(size)
    return node_hash(_range_root(source, start, k), _range_root(source, start + k, size - k))


def source_of_hashes(hashes: Sequence[bytes]) -> NodeSource:
    """A source over leaf hashes in hand."""

    def source(level: int, index: int) -> bytes:
        return root_of_hashes(hashes[index << level : (index + 1) << level])

    return source


def kept_source_of_hashes(hashes: Sequence[bytes]) -> NodeSource:
    """As `source_of_hashes`, with every inner node worked out once: for many proofs of one list."""
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append(_parents(below[: len(below) & ~1]))

    def source(level: int, index: int) -> bytes:
        return levels[level][index]

    return source


def root_at(source: NodeSource, size: int) -> bytes:
    """The root over the first `size` leaves."""
    return _range_root(source, 0, size) if size else EMPTY_ROOT


def inclusion_path(source: NodeSource, index: int, size: int) -> list[bytes]:
    """The proof that leaf `index` is among the first `size` (M2), lowest node first."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} among {size}")
    path: list[bytes] = []
    start = 0
    while size > 1:
        k = _split(size)
        if index - start < k:
            path.append(_range_root(source, start + k, size - k))
            size = k
        else:
            path.append(_range_root(source, start, k))
            start, size = start + k, size - k
    path.reverse()
    return path


def run_path(source: NodeSource, first: int, stop: int, size: int) -> list[bytes]:
    """The proof that leaves [first, stop) are among the first `size` (M3), from left to right."""
    if not 0 <= first < stop <= size:
        raise ValueError(f"no leaves {first} to {stop} among {size}")
    path: list[bytes] = []
    waiting = [(0, size)]
    while waiting:
        start, count = waiting.pop()
        if start + count <= first or start >= stop:
            path.append(_range_root(source, start, count))
        elif start < first or start + count > stop:
            k = _split(count)
            waiting += [(start + k, count - k), (start, k)]
    return path


def run_root(
    hashes_of_leaves: Sequence[bytes], first: int, size: int, path: Sequence[bytes]
) -> bytes | None:
    """The root of `size` leaves that `path` leads to from the leaves from `first` on (M3).

    None when it is no path of theirs. Costs a step for each leaf and each hash of the path.
    """
    stop = first + len(hashes_of_leaves)
    if not 0 <= first < stop <= size or _malformed(path):
        return None
    unused = list(reversed(path))

    def root_over(start: int, count: int) -> bytes | None:
        if start + count <= first or start >= stop:
            return unused.pop() if unused else None
        if count == 1:
            return hashes_of_leaves[start - first]
        k = _split(count)
        left = root_over(start, k)
        right = root_over(start + k, count - k)
        return None if left is None or right is None else node_hash(left, right)

    found = root_over(0, size)
    return None if unused else found


def consistency_path(
    source: NodeSource, old_size: int, size: int, *, whole: bool = True
) -> list[bytes]:
    """The proof that the first `old_size` leaves are a prefix of the first `size` (M2).

    `whole` is false for the part of such a proof that lies in a subtree with leaves before it.
    """
    if not 0 < old_size <= size:
        raise ValueError(f"no consistency proof from {old_size} to {size}")
    path: list[bytes] = []
    start = 0
    while old_size - start != size:
        k = _split(size)
        if old_size - start <= k:
            path.append(_range_root(source, start + k, size - k))
            size = k
        else:
            path.append(_range_root(source, start, k))
            start, size, whole = start + k, size - k, False
    if not whole:
        path.append(_range_root(source, start, size))
    path.reverse()
    return path


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """As `inclusion_path`, over all the leaf hashes given."""
    return inclusion_path(source_of_hashes(hashes), index, len(hashes))


def consistency_proof(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """As `consistency_path`, over all the leaf hashes given."""
    return consistency_path(source_of_hashes(hashes), old_size, len(hashes))


def verify_inclusion(
    hash_of_leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether `path` shows leaf `index` under the root of `size` leaves (RFC 9162 2.1.3.2)."""
    return inclusion_root(hash_of_leaf, index, size, path) == root


def inclusion_root(
    hash_of_leaf: bytes, index: int, size: int, path: Sequence[bytes]
) -> bytes | None:
    """The root of `size` leaves that `path` leads to from leaf `index` (RFC 9162 2.1.3.2).

    None when it is no path of that leaf. For a root that is itself under a hash; any other is
    compared by `verify_inclusion`.
    """
    if not 0 <= index < size or _malformed(path):
        return None
    node, last, result = index, size - 1, hash_of_leaf
    for sibling in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            result = _sha256(b"\1" + sibling + result).digest()
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            result = _sha256(b"\1" + result + sibling).digest()
        node >>= 1
        last >>= 1
    return result if last == 0 else None


def verify_consistency(
    old_size: int, size: int, old_root: bytes, root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether `path` shows the old list to be a prefix of the new one (RFC 9162 2.1.4.2)."""
    if not 0 < old_size <= size or _malformed(path):
        return False
    if old_size == size:
        return not path and old_root == root
    nodes = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    if not nodes:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_result = result = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_result = _sha256(b"\1" + sibling + old_result).digest()
            result = _sha256(b"\1" + sibling + result).digest()
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            result = _sha256(b"\1" + result + sibling).digest()
        node >>= 1
        last >>= 1
    return last == 0 and old_result == old_root and result == root


def _malformed(path: Sequence[bytes]) -> bool:
    return any(len(item) != HASH_BYTES for item in path)
