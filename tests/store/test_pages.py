"""Damage to the store's file: named, or of no consequence, and never the end of the process."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from openledger_node.store.environment import DATABASES
from openledger_node.store.pages import file_fault, page_faults
from tests.store.place import Place, payload

ROOT = Path(__file__).resolve().parents[2]
PAGE_BYTES = 4096

LOOK = """
import json, sys
from pathlib import Path
from openledger_node.ledger.errors import OlnError
from openledger_node.store.check import check
from openledger_node.store.environment import DATABASES
from openledger_node.store.pages import file_fault
from openledger_node.store.store import Store
import hashlib

path, home = Path(sys.argv[1]), Path(sys.argv[2])
whole = path.read_bytes()
for line in sys.stdin:
    offset, bit = map(int, line.split())
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(bytes([whole[offset] ^ 1 << bit]))
    try:
        with Store.open(home) as store:
            report = check(store)
            told = [problem.part for problem in report.problems]
            if not told:
                digest = hashlib.sha256()
                with store.environment.reading() as txn:
                    for name in DATABASES:
                        for key, value in txn.scan(name):
                            digest.update(repr((name, key, value)).encode())
                told = digest.hexdigest()
    except OlnError as error:
        told = [error.code]
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(whole[offset : offset + 1])
    print(json.dumps(told), flush=True)
"""


def filled(place: Place) -> Path:
    """A store with several commits, freed pages and long values behind it; its file."""
    for turn in range(6):
        place.append(90, size_bytes=30)
        place.store.set_facts("x", [(bytes([turn, n]), bytes(60)) for n in range(80)])
    place.store.drop_facts("x", bytes(60))
    place.store.put_payload(*payload("p", 20_000))
    place.close()
    return place.home / "ledger" / "data.mdb"


def flips(path: Path, count: int, seed: int) -> list[tuple[int, int]]:
    """(offset, bit) all over the file, half of them in the places that LMDB itself steers by."""
    chance = random.Random(seed)
    size_bytes = path.stat().st_size
    anywhere = [(chance.randrange(size_bytes), chance.randrange(8)) for _ in range(count // 2)]
    headers = [
        (chance.randrange(size_bytes // PAGE_BYTES) * PAGE_BYTES + chance.randrange(64), bit % 8)
        for bit in range(count - len(anywhere))
    ]
    return anywhere + headers


def test_a_bit_flipped_anywhere_is_named_or_changes_nothing_that_is_read(place: Place) -> None:
    """In a process of its own, which must live: a page that leads astray kills whoever follows."""
    path = filled(place)
    bits = flips(path, 400, seed=1)
    look = subprocess.run(
        [sys.executable, "-c", LOOK, str(path), str(place.home)],
        cwd=ROOT,
        input="0 0\n" + "".join(f"{offset} {bit}\n" for offset, bit in bits),
        capture_output=True,
        text=True,
        check=False,
    )
    assert look.returncode == 0, look.stderr
    answers = look.stdout.splitlines()
    assert len(answers) == len(bits) + 1
    harmless = {answer for answer in answers if answer.startswith('"')}
    named = [answer for answer in answers if answer.startswith("[")]
    assert len(harmless) == 1
    assert len(named) > len(bits) // 4
    place.reopen()


def walked(place: Place) -> list[str] | None:
    with place.store.environment.reading() as txn:
        return page_faults(place.home / "ledger" / "data.mdb", txn.raw.id())


def test_a_whole_file_has_no_fault_at_any_age(place: Place) -> None:
    assert walked(place) == []
    for turn in range(30):
        place.append(40, size_bytes=turn * 10)
        assert walked(place) == []
    for name in DATABASES[-3:]:
        with place.raw() as txn:
            for key in list(txn.keys(name)):
                txn.delete(name, key)
    assert walked(place) == []
    assert file_fault(place.home / "ledger" / "data.mdb") == ""


def test_a_view_older_than_the_descriptions_is_to_be_taken_again(place: Place) -> None:
    path = place.home / "ledger" / "data.mdb"
    with place.store.environment.reading() as txn:
        number = txn.raw.id()
        place.append(1)
        assert page_faults(path, number) is None
    assert walked(place) == []


def meta_offset(path: Path) -> int:
    """Where the newest description begins."""
    data = path.read_bytes()[: 2 * PAGE_BYTES]
    numbers = [struct.unpack_from("<Q", data, page * PAGE_BYTES + 144)[0] for page in (0, 1)]
    return numbers.index(max(numbers)) * PAGE_BYTES


def poke(path: Path, offset: int, data: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(data)


def newest(path: Path) -> int:
    data = path.read_bytes()
    return int(struct.unpack_from("<Q", data, meta_offset(path) + 144)[0])


def main_root(path: Path) -> int:
    """The page of the table of databases."""
    data = path.read_bytes()
    return int(struct.unpack_from("<Q", data, meta_offset(path) + 16 + 24 + 48 + 40)[0])


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (0, struct.pack("<Q", 77), "is not what leads to it says"),
        (10, struct.pack("<H", 1), "is not what leads to it says"),
        (12, struct.pack("<H", 4_000), "impossible bounds"),
        (14, struct.pack("<H", 60_000), "impossible bounds"),
        (16, struct.pack("<H", 65_000), "out of its bounds"),
        (16, struct.pack("<H", 20), "out of its bounds"),
    ],
    ids=["number", "flags", "lower", "upper", "offset past the page", "offset in the header"],
)
def test_a_page_that_leads_astray_is_named(
    place: Place, offset: int, data: bytes, message: str
) -> None:
    path = filled(place)
    poke(path, main_root(path) * PAGE_BYTES + offset, data)
    assert message in " ".join(page_faults(path, newest(path)) or [])


def test_keys_out_of_order_are_named(place: Place) -> None:
    path = filled(place)
    start = main_root(path) * PAGE_BYTES
    page = path.read_bytes()[start : start + PAGE_BYTES]
    first, second = struct.unpack_from("<HH", page, 16)
    poke(path, start + 16, struct.pack("<HH", second, first))
    assert "keys out of order" in " ".join(page_faults(path, newest(path)) or [])


def test_a_page_that_is_used_twice_is_named(place: Place) -> None:
    path = filled(place)
    start = main_root(path) * PAGE_BYTES
    page = path.read_bytes()[start : start + PAGE_BYTES]
    (count,) = struct.unpack_from("<H", page, 12)
    nodes = struct.unpack_from(f"<{(count - 16) // 2}H", page, 16)
    roots = []
    for node in nodes:
        key_bytes = struct.unpack_from("<H", page, node + 6)[0]
        roots.append(start + node + 8 + key_bytes + 40)
    data = path.read_bytes()
    held = [at for at in roots if struct.unpack_from("<Q", data, at)[0] != 2**64 - 1]
    poke(path, held[1], data[held[0] : held[0] + 8])
    assert page_faults(path, newest(path))


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize(("at", "value"), [(16, 0), (20, 7), (40, 3)])
def test_a_damaged_description_is_named(place: Place, page: int, at: int, value: int) -> None:
    path = filled(place)
    poke(path, page * PAGE_BYTES + at, struct.pack("<I", value))
    assert "description" in file_fault(path)


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert file_fault(tmp_path / "nothing")
    assert page_faults(tmp_path / "nothing", 1)
