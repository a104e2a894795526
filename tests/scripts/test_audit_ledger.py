"""`scripts/audit-ledger`, the second program written from the documents: it must come to the same
statements and void the same events as the node on every random ledger, agree with what witnesses
signed in real homes, and refuse a bundle in which anything was changed. It has at most 600 lines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from openledger_node.ledger.encoding import decode
from scripts.simulation.auditing import SCRIPT, second_program
from tests.credit.strategies import Play
from tests.kit.audits import compare
from tests.kit.homes import Ready, no_waiting_for_the_disk, ready, words
from tests.kit.ledgerkit import key


@pytest.fixture(scope="module")
def program() -> Any:
    """The script as a module; equal signatures are verified once, for plain Python is slow."""
    module = second_program()
    module.verify = cache(module.verify)
    return module


def test_the_program_can_be_read_in_an_afternoon() -> None:
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 600
    assert max(map(len, lines)) <= 100


RULES = {
    *("C1", "C3", "C4", "C7", "C8", "C10", "C15", "C16", "R1", "R4", "OWN", "CH", "PARK", "A10"),
    *("K4", "K5", "L1", "L2", "L3", "L7", "names"),
}


@pytest.mark.rule("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C10", "C13", "C15", "C16")
def test_the_program_and_the_node_agree_on_seeded_ledgers_in_which_everything_happens(
    program: Any,
) -> None:
    void: Counter[str] = Counter()
    for seed in range(30):
        void += compare(program, Play(Random(seed)).run(epochs=7, count=30))
    assert sorted(RULES - set(void)) == []


@pytest.mark.rule("C4", "C7")
@pytest.mark.parametrize("policy", ["refund", "trained_on"])
def test_the_program_and_the_node_agree_when_fees_mature_late(program: Any, policy: str) -> None:
    for seed in range(100, 110):
        play = Play(Random(seed), unattributed=policy, maturity_epochs=3, dispute_epochs=1)
        compare(program, play.run(epochs=9, count=25))


def test_a_fold_that_keeps_no_network_fee_would_be_told_from_this_one(program: Any) -> None:
    """The comparison can fail."""

    class Changed(program.Fold):  # type: ignore[misc]
        def move(self, amount: int, source: Any, to: Any, column: Any = None) -> None:
            super().move(0 if to == ("pool", None) else amount, source, to, column)

    kept, program.Fold = program.Fold, Changed
    try:
        with pytest.raises(AssertionError):
            for seed in range(10):
                compare(program, Play(Random(seed)).run(epochs=7, count=30))
    finally:
        program.Fold = kept


@pytest.mark.rule("K2")
def test_signatures_are_verified_as_the_node_verifies_them(program: Any) -> None:
    signer = key("somebody")
    signature = signer.sign(b"said")
    raw = signer.public.raw
    assert program.verify(raw, b"said", signature)
    assert not program.verify(raw, b"unsaid", signature)
    assert not program.verify(
        raw, b"said", signature[:32] + bytes([signature[32] ^ 1, *signature[33:]])
    )
    assert not program.verify(raw, b"said", signature[:63])
    beyond = int.from_bytes(signature[32:], "little") + program.ORDER
    assert not program.verify(raw, b"said", signature[:32] + beyond.to_bytes(32, "little"))


@pytest.mark.rule("K1")
def test_keys_of_small_order_and_past_the_field_are_refused(program: Any) -> None:
    assert program.key_point(key("somebody").public.raw)
    low = [0, 1, program.P - 1, program.P, program.P + 1]
    listed = [number.to_bytes(32, "little") for number in low]
    listed.append(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
    listed += [raw[:31] + bytes([raw[31] | 128]) for raw in listed]
    assert not any(map(program.key_point, listed))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(bundle, genesis file, last statement root) of a co-operative of real homes."""
    place = tmp_path_factory.mktemp("audited")
    with no_waiting_for_the_disk():
        home: Ready = ready(place)
        with home.coop as coop:
            home.use(words("harbour", 40), fee_micro=1_000_000)
            coop.settle()
            coop.settle()
            file = place / "everything.bundle"
            coop["coop"].bundle_export(file)
            root = coop["coop"].statement().statement_root
            yield file, coop.genesis, root


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_last_statement_of_real_homes_is_equal_to_what_the_witness_signed(bundle: Any) -> None:
    file, genesis, root = bundle
    done = run(file, genesis)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(root) in done.stdout
    assert "not recomputed" in done.stdout
    assert done.stdout.endswith("every statement is equal to the signed one\n")


def test_a_bundle_with_one_changed_byte_anywhere_does_not_verify(
    bundle: Any, tmp_path: Path
) -> None:
    file, genesis, _ = bundle
    whole = file.read_bytes()
    for place in (20, len(whole) // 2, len(whole) - 5):
        changed = tmp_path / f"{place}.bundle"
        changed.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        done = run(changed, genesis)
        assert done.returncode in (1, 2), place
        assert done.stdout == ""


def test_a_bundle_cut_short_and_one_of_another_ledger_are_refused(
    bundle: Any, tmp_path: Path
) -> None:
    file, genesis, _ = bundle
    short = tmp_path / "short.bundle"
    short.write_bytes(file.read_bytes()[:-1])
    assert run(short, genesis).returncode == 1
    stated = json.loads(Path(genesis).read_text(encoding="utf-8"))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(stated | {"ledger_id": "00" * 32}), encoding="utf-8")
    assert run(file, other).returncode == 1


def test_without_files_it_explains_itself_and_cannot_begin(tmp_path: Path) -> None:
    assert run().returncode == 2
    assert "Not checked" in run().stderr
    assert run(tmp_path / "none", tmp_path / "none").returncode == 2


def stated_genesis(genesis: Any) -> Any:
    return decode(bytes.fromhex(json.loads(Path(genesis).read_text(encoding="utf-8"))["genesis"]))


def test_a_state_that_the_seats_signed_over_another_root_is_told(
    bundle: Any, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seat signs a wrong figure: its signature holds, its statement does not follow."""
    file, genesis, _ = bundle
    stated = stated_genesis(genesis)
    close = program.Fold.close
    monkeypatch.setattr(
        program.Fold, "close", lambda fold, *cut: [*close(fold, *cut), [bytes(32), 1]]
    )
    epoch, body, _, _, root = next(program.audited(stated, program.read_bundle(file, stated)))
    assert epoch == 1
    assert root != body[2]


def test_a_python_without_msgpack_is_told_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(SCRIPT), "bundle", "genesis"],
        capture_output=True,
        text=True,
        check=False,
        env={},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs msgpack" in done.stderr and "Traceback" not in done.stderr
