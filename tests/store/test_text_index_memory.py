"""An index larger than the memory that a process may take still answers: its files are mapped."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from openledger_node.attribution.segment import tokens_as_text
from openledger_node.store.text_index import TextIndex

TOKENS = 1_200_000
ALLOWED_BYTES = 6 * 2**20

ASK = """
import resource, sys
from pathlib import Path
import numpy as np
from openledger_node.attribution.matching import IndexedScope, Source, attribute_indexed
from openledger_node.attribution.segment import View
from openledger_node.store.text_index import TextIndex

import hashlib, mmap
place, allowed, output = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode().split()
status = Path("/proc/self/status").read_text().split("VmData:")[1]
limit = int(status.split()[0]) * 1024 + allowed
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
(segment,) = TextIndex(place).segments()
views = (View(segment, np.zeros(1, np.int64)),)
found = attribute_indexed(output, IndexedScope(views, (), (Source(bytes(32), 0),)))
print([(span.start, span.length, span.token) for span in found.spans])
try:
    bytes(segment.text[:])
    print("the limit limits nothing")
except MemoryError:
    print("too large to hold")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit and its figures are Linux's")
def test_an_index_larger_than_memory_still_answers(tmp_path: Path) -> None:
    dice = random.Random(5)
    words = [b"word%d" % number for number in range(50_000)]
    tokens = [dice.choice(words) for _ in range(TOKENS)]
    index = TextIndex(tmp_path)
    index.change([(bytes(32), 0, tokens_as_text(tokens) + b"\0")])
    size = sum(path.stat().st_size for path in index.folder.iterdir())
    assert size > 2 * ALLOWED_BYTES
    at = TOKENS - 1_000
    output = b" ".join([b"new", *tokens[at : at + 40], b"new", *tokens[7:20]]).decode()
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path), str(ALLOWED_BYTES), output],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"[(1, 40, {at}), (42, 13, 7)]", "too large to hold"]
