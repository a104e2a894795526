"""Proof files: what they show to a stranger, and that nothing altered passes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openledger_node.api import verify_file
from openledger_node.exchange.proofs import MAX_PROOF_BYTES
from openledger_node.ledger.encoding import decode, encode
from openledger_node.ledger.errors import BadInput, OlnError, Refused, UsageError
from openledger_node.node.results import Verified
from tests.kit.homes import CREDIT, WITNESS, Coop, Ready, ready, words

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ready, Path, Path]]:
    """A ledger with a paid use, the proof of alice's row, and that of her contribution."""
    made = ready(tmp_path_factory.mktemp("proofs"))
    with made.coop as coop:
        made.use(words("harbour", 20), 10 * CREDIT)
        coop.settle()
        row, event = coop.file("oln"), coop.file("oln")
        coop["bert"].prove(coop.ids["alice"], row)
        coop["bert"].prove(made.harbour, event)
        yield made, row, event


def accepted(path: Path, genesis: Path | None = None) -> bool:
    """Whether a file is believed; an error is an answer too, a traceback is not."""
    try:
        return verify_file(path, genesis).valid
    except OlnError as error:
        assert error.exit_status in (1, 2)
        return False


# What is shown.


@pytest.mark.rule("A8")
def test_a_row_is_proved_with_its_figures(proved: tuple[Ready, Path, Path]) -> None:
    made, row, _ = proved
    shown = verify_file(row, made.coop.genesis)
    assert (shown.valid, shown.what, shown.reasons) == (True, "credit", ())
    assert shown.ledger_id == made.coop["bert"].status().ledger_id
    # 10,000,000 less 500 bp, of which 4000 bp are the data part.
    assert shown.facts["earned_data_micro"] == shown.facts["balance_micro"] == 3_800_000
    assert shown.facts["account_id"] == made.coop.ids["alice"]
    assert (shown.facts["epoch"], shown.facts["witnesses"]) == (3, 1)
    assert shown.facts["statement_root"] == made.coop[WITNESS].statement().statement_root


def test_an_event_is_proved_with_its_author_and_finality(proved: tuple[Ready, Path, Path]) -> None:
    made, _, event = proved
    shown = verify_file(event)
    assert (shown.valid, shown.what) == (True, "event")
    assert shown.facts["event_id"] == made.harbour
    assert shown.facts["account_id"] == made.coop.ids["alice"]
    assert shown.facts["body"]["title"] == "harbour"
    assert (shown.facts["final"], shown.facts["final_by_epoch"]) == (True, 3)


def test_a_proof_is_small(proved: tuple[Ready, Path, Path]) -> None:
    assert proved[1].stat().st_size < 1_000
    assert proved[2].stat().st_size < 2_000


def test_a_pending_event_is_proved_without_finality(stage: Ready) -> None:
    coop = stage.coop
    made = coop["alice"].datanet_create("pending")
    path = coop.file("oln")
    coop["alice"].prove(made.datanet_id, path)
    assert verify_file(path).facts["final"] is False


def test_rows_of_earlier_epochs_can_be_proved(stage: Ready) -> None:
    coop = stage.coop
    path = coop.file("oln")
    coop["bert"].prove(coop.ids["user"], path, epoch=1)
    shown = verify_file(path)
    assert (shown.facts["epoch"], shown.facts["balance_micro"]) == (1, 100 * CREDIT)
    with pytest.raises(Refused) as caught:
        coop["bert"].prove(coop.ids["alice"], coop.file("oln"), epoch=1)
    assert caught.value.code == "no_row"
    with pytest.raises(UsageError, match="no epoch 77"):
        coop["bert"].prove(coop.ids["user"], coop.file("oln"), epoch=77)


def test_events_of_rotated_and_second_devices_are_proved(coop: Coop) -> None:
    coop.join("alice")
    coop["alice"].account_rotate(coop.recovery["alice"], coop.place / "next.json")
    coop["alice"].device_invite(coop.place / "invitation.json")
    made = coop["alice"].datanet_create("after it all")
    coop.settle()
    path = coop.file("oln")
    coop["alice"].prove(made.datanet_id, path)
    assert accepted(path, coop.genesis)


def test_a_proof_is_not_written_over_a_file(proved: tuple[Ready, Path, Path]) -> None:
    made, row, _ = proved
    with pytest.raises(UsageError, match="exists already"):
        made.coop["bert"].prove(made.harbour, row)


def test_verifying_needs_no_home(proved: tuple[Ready, Path, Path]) -> None:
    made, row, _ = proved
    script = (
        "import sys; from pathlib import Path; from openledger_node.api import verify_file; "
        "print(verify_file(Path(sys.argv[1]), Path(sys.argv[2])).valid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, row, made.coop.genesis],
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "True"


# What is refused.


@pytest.mark.parametrize("which", [1, 2], ids=["row", "event"])
def test_a_file_altered_in_any_byte_is_refused(
    proved: tuple[Ready, Path, Path], tmp_path: Path, which: int
) -> None:
    made = proved[0]
    path: Path = proved[which]  # type: ignore[assignment]
    data = path.read_bytes()
    altered = tmp_path / "altered.oln"
    for index in range(len(data)):
        evil = bytearray(data)
        evil[index] ^= 1 << (index % 8)
        altered.write_bytes(evil)
        assert not accepted(altered, made.coop.genesis), index


@pytest.mark.parametrize("which", [1, 2], ids=["row", "event"])
def test_a_file_cut_short_or_continued_is_refused(
    proved: tuple[Ready, Path, Path], tmp_path: Path, which: int
) -> None:
    data = proved[which].read_bytes()  # type: ignore[union-attr]
    altered = tmp_path / "altered.oln"
    for size in range(0, len(data), 11):
        altered.write_bytes(data[:size])
        assert not accepted(altered)
    altered.write_bytes(data + b"\0")
    assert not accepted(altered)


def test_a_proof_of_another_ledger_is_refused_by_name(
    proved: tuple[Ready, Path, Path], tmp_path: Path
) -> None:
    with Coop(tmp_path) as other:
        for path in proved[1:]:
            shown: Verified = verify_file(path, other.genesis)  # type: ignore[arg-type]
            assert not shown.valid
            assert "not to" in shown.reasons[0]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x94", b"\xc0", b"oln-proof/1", b"\x91" * 3_000, b"\x94\xabnonsense", b"{}"],
    ids=["empty", "cut", "nil", "magic", "deep", "noise", "json"],
)
def test_other_files_are_no_proofs(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.oln"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        verify_file(path)
    assert "altered, cut short, or is no proof" in caught.value.hint


def test_files_that_are_missing_or_too_large_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        verify_file(tmp_path / "missing.oln")
    assert caught.value.code == "bad_file"
    large = tmp_path / "large.oln"
    large.write_bytes(bytes(MAX_PROOF_BYTES + 1))
    with pytest.raises(BadInput, match="more than"):
        verify_file(large)


def parts_of(path: Path) -> tuple[list[Any], list[Any]]:
    whole = decode(path.read_bytes())
    return list(whole), _lists(decode(whole[3]))


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def another_what(whole: list[Any], parts: list[Any]) -> None:
    whole[1] = "credit" if whole[1] == "event" else "event"


def unknown_what(whole: list[Any], parts: list[Any]) -> None:
    whole[1] = "span"


def later_format(whole: list[Any], parts: list[Any]) -> None:
    whole[0] = "oln-proof/2"


def a_fifth_item(whole: list[Any], parts: list[Any]) -> None:
    whole.append(None)


def no_parts(whole: list[Any], parts: list[Any]) -> None:
    parts.clear()


def extra_part(whole: list[Any], parts: list[Any]) -> None:
    parts.append(None)


@pytest.mark.parametrize(
    "change", [another_what, unknown_what, later_format, a_fifth_item, no_parts, extra_part]
)
@pytest.mark.parametrize("which", [1, 2], ids=["row", "event"])
def test_a_proof_of_another_structure_is_refused(
    proved: tuple[Ready, Path, Path],
    tmp_path: Path,
    which: int,
    change: Callable[[list[Any], list[Any]], None],
) -> None:
    whole, parts = parts_of(proved[which])  # type: ignore[arg-type]
    change(whole, parts)
    whole[3] = encode(parts)
    altered = tmp_path / "altered.oln"
    altered.write_bytes(encode(whole))
    assert not accepted(altered)


def higher_seq(parts: list[Any], other: list[Any]) -> None:
    parts[2] += 1


def no_key_events(parts: list[Any], other: list[Any]) -> None:
    parts[5] = []


def key_events_twice(parts: list[Any], other: list[Any]) -> None:
    parts[5] = parts[5] * 2


def key_events_of_somebody_else(parts: list[Any], other: list[Any]) -> None:
    parts[5] = other[5]


def key_event_of_no_kind(parts: list[Any], other: list[Any]) -> None:
    parts[5][0][0] = "data.contribute"


def leaf_of_somebody_else(parts: list[Any], other: list[Any]) -> None:
    parts[3] = other[3]


def head_of_somebody_else(parts: list[Any], other: list[Any]) -> None:
    parts[1] = other[1]


def log_of_somebody_else(parts: list[Any], other: list[Any]) -> None:
    parts[0] = other[0]


def shorter_path(parts: list[Any], other: list[Any]) -> None:
    parts[4] = parts[4][:-1]


def longer_path(parts: list[Any], other: list[Any]) -> None:
    parts[4] = [*parts[4], bytes(32)]


def mark_of_somebody_else(parts: list[Any], other: list[Any]) -> None:
    parts[6][0] = other[6][0]


def another_index(parts: list[Any], other: list[Any]) -> None:
    parts[6][1] += 1


def no_states(parts: list[Any], other: list[Any]) -> None:
    parts[6][5] = []


def states_twice(parts: list[Any], other: list[Any]) -> None:
    parts[6][5] = parts[6][5] * 2


def states_by_no_seat(parts: list[Any], other: list[Any]) -> None:
    parts[6][5][1][0][0] = 30


@pytest.mark.parametrize(
    "change",
    [
        higher_seq,
        no_key_events,
        key_events_twice,
        key_events_of_somebody_else,
        key_event_of_no_kind,
        leaf_of_somebody_else,
        head_of_somebody_else,
        log_of_somebody_else,
        shorter_path,
        longer_path,
        mark_of_somebody_else,
        another_index,
        no_states,
        states_twice,
        states_by_no_seat,
    ],
)
def test_an_event_proof_put_together_from_true_parts_is_refused(
    proved: tuple[Ready, Path, Path],
    tmp_path: Path,
    change: Callable[[list[Any], list[Any]], None],
) -> None:
    made, _, event = proved
    elsewhere = tmp_path / "elsewhere.oln"
    made.coop["bert"].prove(made.bakers, elsewhere)
    whole, parts = parts_of(event)
    change(parts, parts_of(elsewhere)[1])
    whole[3] = encode(parts)
    altered = tmp_path / "altered.oln"
    altered.write_bytes(encode(whole))
    assert not accepted(altered, made.coop.genesis)


def test_a_row_of_one_epoch_does_not_stand_in_another(
    proved: tuple[Ready, Path, Path], tmp_path: Path
) -> None:
    made, row, _ = proved
    earlier = tmp_path / "earlier.oln"
    made.coop["bert"].prove(made.coop.ids["user"], earlier, epoch=2)
    whole, parts = parts_of(row)
    parts[1] = parts_of(earlier)[1][1]
    whole[3] = encode(parts)
    altered = tmp_path / "altered.oln"
    altered.write_bytes(encode(whole))
    assert not accepted(altered)


def test_proving_what_nobody_knows_is_wrong_usage(proved: tuple[Ready, Path, Path]) -> None:
    made = proved[0]
    for text in ("ff" * 32, "nobody", "ab12", ""):
        with pytest.raises(UsageError):
            made.coop["bert"].prove(text, made.coop.file("oln"))
