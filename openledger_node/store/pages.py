"""The pages under the store, walked without LMDB: damage here could crash whoever reads through it.

LMDB trusts its own pages. A flipped bit in a page number, an offset or a length sends it elsewhere
in the map, or past the end of the file, where the process dies. So `check` walks the file first
with bounded reads: every page that the newest commits reach must be what its parent says, its keys
must ascend between the parent's, and no page may have two owners or be free and in use.

The format is LMDB 0.9's on 64-bit little-endian machines (lmdb.h, mdb.c: MDB_page, MDB_node,
MDB_db, MDB_meta). Pages that nothing reaches hold nothing, so what they contain does not matter.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

META_PAGES: Final = 2
HEADER: Final = struct.Struct("<QHHHH")
OVERFLOW_HEADER: Final = struct.Struct("<QHHI")
NODE: Final = struct.Struct("<HHHH")
META: Final = struct.Struct("<IIQQ48s48sQQ")
TREE: Final = struct.Struct("<IHHQQQQQ")
MAGIC: Final = 0xBEEFC0DE
DATA_VERSION: Final = 1
NO_PAGE: Final = 2**64 - 1
BRANCH, LEAF, OVERFLOW = 0x01, 0x02, 0x04
BIG_DATA, SUB_DATA = 0x01, 0x02
MAX_DEPTH: Final = 32
"""LMDB's own limit on a cursor's stack."""
MIN_PAGE_BYTES, MAX_PAGE_BYTES = 512, 65_536


_Meta = tuple[int, bytes, bytes, int]
"""(txn id, the index of free pages, the table of databases, last page) of a description page."""


class _Fault(Exception):
    """A page that is not what it should be."""


def file_fault(path: Path) -> str:
    """Why a store's file cannot be mapped safely, or an empty text.

    A file that ends before the last page that was ever allocated is walked: pages past its end may
    be free, and then nobody looks for them.
    """
    try:
        with _File(path) as file:
            _, _, _, last_page = file.newest()
            if (last_page + 1) * file.page_bytes <= file.size_bytes:
                return ""
            faults = _Walk(file).run(file.newest())
            return faults[0] if faults else ""
    except (_Fault, OSError) as error:
        return str(error)


def first_fault(path: Path) -> str:
    """What is wrong with the pages of the newest commit, or an empty text."""
    try:
        with _File(path) as file:
            faults = _Walk(file).run(file.newest())
            return faults[0] if faults else ""
    except (_Fault, OSError) as error:
        return str(error)


def page_faults(path: Path, txn_id: int) -> list[str] | None:
    """What is wrong with the pages of the commit `txn_id`; None when two more came meanwhile.

    The caller holds a read transaction of that id, so that no writer reuses its pages.
    """
    try:
        with _File(path) as file:
            newest = file.newest()
            chosen = [meta for meta in file.metas() if meta[0] == txn_id]
            if not chosen:
                return None if newest[0] > txn_id else ["the newest description page is damaged"]
            return _Walk(file).run(chosen[0])
    except (_Fault, OSError) as error:
        return [str(error)]


class _File:
    """The store's file, read a page at a time, never past its end."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.page_bytes = 4096

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def size_bytes(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, size_bytes: int) -> bytes:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        parts: list[bytes] = []
        while size_bytes > 0 and (part := os.read(self._descriptor, size_bytes)):
            parts.append(part)
            size_bytes -= len(part)
        if size_bytes:
            raise _Fault("the file is cut short")
        return b"".join(parts)

    def page(self, number: int) -> bytes:
        return self.read(number * self.page_bytes, self.page_bytes)

    def metas(self) -> list[_Meta]:
        """The description pages that can be read."""
        found = []
        for number in range(META_PAGES):
            try:
                data = self.read(number * self.page_bytes + HEADER.size, META.size)
            except _Fault:
                break
            magic, version, _, _, free, main, last_page, txn_id = META.unpack(data)
            if magic != MAGIC or version & 0xFFFF != DATA_VERSION:
                continue
            page_bytes = TREE.unpack(free)[0]
            if not MIN_PAGE_BYTES <= page_bytes <= MAX_PAGE_BYTES or page_bytes & (page_bytes - 1):
                continue
            self.page_bytes = page_bytes
            found.append((txn_id, free, main, last_page))
        return found

    def newest(self) -> _Meta:
        metas = self.metas()
        if len(metas) < META_PAGES:
            raise _Fault("a description page at the file's beginning cannot be read")
        return max(metas)


class _Walk:
    """Every page that a commit reaches, each once."""

    def __init__(self, file: _File) -> None:
        self._file = file
        self._owners: dict[int, str] = {}
        self._faults: list[str] = []
        self._last_page = 0

    def run(self, meta: _Meta) -> list[str]:
        _, free, main, self._last_page = meta
        self._tree("the table of databases", main, is_main=True)
        for pages in self._free_lists(free):
            for number in pages:
                try:
                    self._claim("the list of free pages", number, number)
                except _Fault as fault:
                    self._faults.append(str(fault))
        return self._faults

    def _claim(self, owner: str, first: int, last: int) -> None:
        if not META_PAGES <= first <= last <= self._last_page:
            raise _Fault(f"{owner} names page {first}, which the file does not have")
        for number in range(first, last + 1):
            other = self._owners.get(number)
            if other is not None:
                raise _Fault(f"page {number} belongs to {other} and to {owner}")
            self._owners[number] = owner

    def _tree(self, owner: str, description: bytes, *, is_main: bool = False) -> None:
        _, _, depth, _, _, _, entries, root = TREE.unpack(description)
        if root == NO_PAGE:
            if entries or depth:
                self._faults.append(f"{owner} has entries but no page")
            return
        try:
            counted = 0
            for node_flags, key, value in self._nodes(owner, root, depth, None, None):
                counted += 1
                if node_flags & SUB_DATA and is_main and len(value) == TREE.size:
                    self._tree(f"database {key.decode('ascii', 'replace')!r}", value)
            if counted != entries:
                raise _Fault(f"{owner} has {counted:,} entries, its description counts {entries:,}")
        except _Fault as fault:
            self._faults.append(str(fault))

    def _free_lists(self, description: bytes) -> Iterator[list[int]]:
        _, _, depth, _, _, _, _, root = TREE.unpack(description)
        if root == NO_PAGE:
            return
        owner = "the index of free pages"
        try:
            for _, _, value in self._nodes(owner, root, depth, None, None, whole=True):
                (count,) = struct.unpack_from("<Q", value)
                if (count + 1) * 8 > len(value):
                    raise _Fault("a list of free pages is longer than its place")
                yield list(struct.unpack_from(f"<{count}Q", value, 8))
        except _Fault as fault:
            self._faults.append(str(fault))

    def _nodes(
        self,
        owner: str,
        number: int,
        depth: int,
        low: bytes | None,
        high: bytes | None,
        *,
        whole: bool = False,
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """(flags, key, value within its page) of the leaves below a page, in order.

        With `whole` (the index of free pages) keys are numbers in the machine's order and are not
        compared, and long values are read to their end.
        """
        if not 1 <= depth <= MAX_DEPTH:
            raise _Fault(f"{owner} is nested {depth} deep at page {number}")
        self._claim(owner, number, number)
        page = self._file.page(number)
        stated, _, flags, lower, upper = HEADER.unpack_from(page)
        wanted = LEAF if depth == 1 else BRANCH
        if stated != number or flags & 0x0F != wanted:
            raise _Fault(f"page {number} of {owner} is not what leads to it says")
        if not HEADER.size <= lower <= upper <= len(page) or lower & 1:
            raise _Fault(f"page {number} of {owner} has impossible bounds")
        items = [
            self._node(owner, number, page, offset, upper)
            for (offset,) in struct.iter_unpack("<H", page[HEADER.size : lower])
        ]
        keys = [item[1] for item in items]
        if depth > 1 and keys:
            keys[0] = low or b""
        if not whole:
            _hold_to_order(owner, number, keys, low, high)
        if depth == 1:
            for node_flags, key, at, size_bytes in items:
                yield node_flags, key, self._value(owner, page, node_flags, at, size_bytes, whole)
            return
        for index, (child, _, _, _) in enumerate(self._children(page, items)):
            until = keys[index + 1] if index + 1 < len(keys) else high
            yield from self._nodes(owner, child, depth - 1, keys[index], until, whole=whole)

    def _node(
        self, owner: str, number: int, page: bytes, offset: int, upper: int
    ) -> tuple[int, bytes, int, int]:
        """(flags, key, where its value begins, the value's length) of a node."""
        if not upper <= offset <= len(page) - NODE.size:
            raise _Fault(f"page {number} of {owner} has an entry out of its bounds")
        low, high, flags, key_bytes = NODE.unpack_from(page, offset)
        at = offset + NODE.size + key_bytes
        if at > len(page):
            raise _Fault(f"page {number} of {owner} has a key out of its bounds")
        return flags, page[at - key_bytes : at], at, low | high << 16

    @staticmethod
    def _children(
        page: bytes, items: list[tuple[int, bytes, int, int]]
    ) -> list[tuple[int, bytes, int, int]]:
        """Branch nodes hold their child's number where leaves hold flags and a length."""
        return [(size | flags << 32, key, at, 0) for flags, key, at, size in items]

    def _value(
        self, owner: str, page: bytes, flags: int, at: int, size_bytes: int, whole: bool
    ) -> bytes:
        if flags & ~(BIG_DATA | SUB_DATA):
            raise _Fault(f"{owner} has an entry of an unknown form")
        if not flags & BIG_DATA:
            if at + size_bytes > len(page):
                raise _Fault(f"{owner} has a value out of its page")
            return page[at : at + size_bytes]
        if at + 8 > len(page):
            raise _Fault(f"{owner} has a value out of its page")
        (first,) = struct.unpack_from("<Q", page, at)
        pages = -(-(HEADER.size + size_bytes) // self._file.page_bytes)
        self._claim(owner, first, first + pages - 1)
        if (first + pages) * self._file.page_bytes > self._file.size_bytes:
            raise _Fault("the file is cut short")
        offset = first * self._file.page_bytes
        stated, _, page_flags, count = OVERFLOW_HEADER.unpack(
            self._file.read(offset, OVERFLOW_HEADER.size)
        )
        if stated != first or page_flags & 0x0F != OVERFLOW or count != pages:
            raise _Fault(f"page {first} of {owner} is not what leads to it says")
        return self._file.read(offset + HEADER.size, size_bytes) if whole else b""


def _hold_to_order(
    owner: str, number: int, keys: list[bytes], low: bytes | None, high: bytes | None
) -> None:
    if any(left >= right for left, right in pairwise(keys)) or (
        keys and ((low is not None and keys[0] < low) or (high is not None and keys[-1] >= high))
    ):
        raise _Fault(f"page {number} of {owner} has keys out of order")
