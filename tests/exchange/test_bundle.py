"""Bundles: what they carry, and what is refused of those that a stranger altered."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openledger_node.api import open_home
from openledger_node.exchange.bundle import MAGIC, MAX_PAYLOAD_BYTES
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, OlnError, Refused, UsageError
from openledger_node.ledger.kinds import DataContribute
from openledger_node.ledger.payload import (
    PayloadDocument,
    decode_payload,
    encode_payload,
    payload_commitment,
)
from openledger_node.node.results import BundleMoved
from openledger_node.store.frames import MAX_FRAME_BYTES, FrameWriter, read_frames
from tests.kit.homes import WITNESS, Coop, Ready, words

Frames = list[list[Any]]


def frames_of(path: Path) -> Frames:
    return list(read_frames(path, MAGIC, "a bundle"))


def written(path: Path, frames: Frames) -> Path:
    """A bundle of these frames, its end in order."""
    with FrameWriter(path, MAGIC) as out:
        for frame in frames:
            out.write(*frame)
    return path


@pytest.fixture
def two(coop: Coop) -> Coop:
    """alice wrote a shared text; a newcomer holds nothing but the genesis."""
    coop.join("alice")
    coop.add_text("alice", "poems", words("poem", 60))
    coop["alice"].datanet_create("verse")
    coop.join("newcomer")
    return coop


def exported(coop: Coop, name: str = "alice") -> Frames:
    path = coop.file()
    coop[name].bundle_export(path)
    return frames_of(path)


def imported(coop: Coop, frames: Frames, target: str = "newcomer") -> BundleMoved:
    return coop[target].bundle_import(written(coop.file(), frames))


def held(coop: Coop, name: str = "newcomer") -> tuple[int, int]:
    """(logs, payloads) held by a home."""
    with coop[name].core.store.read() as snapshot:
        return len(list(snapshot.logs())), len(list(snapshot.payloads()))


def word(frames: Frames, name: str) -> int:
    return next(index for index, frame in enumerate(frames) if frame[0] == name)


# What a bundle carries.


def test_a_bundle_carries_logs_and_the_payloads_shared_with_all(two: Coop) -> None:
    two.add_text("alice", "diary", words("diary", 60), share="none")
    moved = two.carry("alice", "newcomer")
    assert (moved.logs, moved.events, moved.payloads) == (1, 6, 1)
    assert {item.title: item.payload for item in two["newcomer"].data_list().contributions} == {
        "poems": "held",
        "diary": "absent",
    }


def test_a_bundle_without_payloads_carries_logs_only(two: Coop) -> None:
    path = two.file()
    assert two["alice"].bundle_export(path, payloads=False).payloads == 0
    assert two["newcomer"].bundle_import(path).payloads == 0
    assert held(two) == (2, 0)


def test_a_payload_shared_with_some_accounts_is_not_put_into_a_bundle(two: Coop) -> None:
    two.add_text("alice", "letters", words("letter", 60), share=[two.ids[WITNESS]])
    assert two.carry("alice", "newcomer").payloads == 1


def test_importing_a_bundle_again_changes_nothing(two: Coop) -> None:
    path = two.file()
    two["alice"].bundle_export(path)
    two["newcomer"].bundle_import(path)
    before = two["newcomer"].status()
    again = two["newcomer"].bundle_import(path)
    assert (again.events, again.refused) == (0, ())
    after = two["newcomer"].status()
    assert (after.events, after.logs) == (before.events, before.logs)


def test_an_older_bundle_takes_nothing_back(two: Coop) -> None:
    older = two.file()
    two["alice"].bundle_export(older)
    two["alice"].datanet_create("newer")
    two.carry("alice", "newcomer")
    before = two["newcomer"].status().events
    assert two["newcomer"].bundle_import(older).events == 0
    assert two["newcomer"].status().events == before


def test_a_large_payload_travels_in_parts(two: Coop) -> None:
    text = words("large", 150_000).encode()
    assert len(text) > 2**20
    named = two.add_text("alice", "large", text.decode())
    assert sum(frame[0] == "part" for frame in exported(two)) >= 3
    two.carry("alice", "newcomer")
    out = two.place / "got"
    two["newcomer"].data_get(named, out)
    assert (out / "document-0").read_bytes() == text


def test_a_bundle_is_never_written_over_a_file(two: Coop) -> None:
    path = two.write("taken.bundle", "mine")
    with pytest.raises(UsageError, match="exists already"):
        two["alice"].bundle_export(path)
    assert path.read_text() == "mine"


def test_importing_a_missing_file_is_wrong_usage(two: Coop) -> None:
    with pytest.raises(UsageError) as caught:
        two["newcomer"].bundle_import(two.place / "nowhere")
    assert caught.value.exit_status == 2


# Altered files.


def test_a_bundle_cut_short_anywhere_keeps_what_verified_before_the_cut(two: Coop) -> None:
    path = two.file()
    two["alice"].bundle_export(path)
    data = path.read_bytes()
    for size in (0, 5, len(MAGIC), len(MAGIC) + 2, 60, len(data) // 2, len(data) - 1):
        short = two.write(f"short-{size}", data[:size])
        try:
            moved = two["newcomer"].bundle_import(short)
        except BadInput:
            continue
        assert moved.refused
    log_ends = len(data) - 100
    moved = two["newcomer"].bundle_import(two.write("nearly", data[:log_ends]))
    assert any("cut short" in item.reason for item in moved.refused)
    assert held(two)[0] == 2
    whole = two["newcomer"].bundle_import(path)
    assert not whole.refused
    assert held(two) == (2, 1)


def test_no_altered_byte_passes_unnoticed(two: Coop) -> None:
    path = two.file()
    two["alice"].bundle_export(path, payloads=False)
    data = path.read_bytes()
    for index in range(0, len(data), 7):
        evil = bytearray(data)
        evil[index] ^= 0x41
        altered = two.place / "altered"
        altered.write_bytes(evil)
        try:
            moved = two["newcomer"].bundle_import(altered)
        except OlnError as error:
            assert error.exit_status in (1, 3)
        else:
            assert moved.refused, index
    two.carry("alice", WITNESS)
    two[WITNESS].epoch_close()
    two.carry(WITNESS, "newcomer")
    shown = [two[name].statement() for name in (WITNESS, "newcomer")]
    assert shown[0].state_digest == shown[1].state_digest


def test_bytes_after_the_end_are_noticed(two: Coop) -> None:
    path = two.file()
    two["alice"].bundle_export(path)
    path.write_bytes(path.read_bytes() + b"\0")
    moved = two["newcomer"].bundle_import(path)
    assert any("end does not fit" in item.reason for item in moved.refused)


def test_a_frame_that_states_an_oversize_length_is_refused_unread(two: Coop) -> None:
    for size in (MAX_FRAME_BYTES + 1, 2**32 - 1):
        evil = two.file()
        evil.write_bytes(MAGIC + struct.pack(">I", size) + b"x" * 100)
        with pytest.raises(BadInput, match="states"):
            two["newcomer"].bundle_import(evil)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 64, b"PK\x03\x04", b"oln-bundle/2\n", MAGIC[:-1], MAGIC + b"\0\0\0\x01\xc1"],
)
def test_other_files_are_no_bundles(two: Coop, content: bytes) -> None:
    with pytest.raises(BadInput):
        two["newcomer"].bundle_import(two.write("other", content))
    assert held(two) == (1, 0)


def test_a_folder_is_no_bundle(two: Coop) -> None:
    with pytest.raises(UsageError):
        two["newcomer"].bundle_import(two.place)


def test_a_bundle_of_another_ledger_is_refused_whole(two: Coop, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Coop(tmp_path / "other") as other, pytest.raises(Refused) as caught:
        path = other.file()
        other[WITNESS].bundle_export(path)
        two["newcomer"].bundle_import(path)
    assert caught.value.code == "other_ledger"
    assert held(two) == (1, 0)


# Frames put together by a stranger. Each change answers with what is refused, and why.


def drop_ledger(frames: Frames) -> None:
    del frames[0]


def ledger_twice(frames: Frames) -> None:
    frames.append(frames[0])


def unknown_word(frames: Frames) -> None:
    frames.insert(1, ["surprise", 1])


def leaves_before_their_log(frames: Frames) -> None:
    at = word(frames, "log")
    frames[at], frames[at + 1] = frames[at + 1], frames[at]


def leaves_without_log(frames: Frames) -> None:
    frames.append(["leaves", 0, []])


def malformed_head(frames: Frames) -> None:
    frames[word(frames, "log")] = ["log", ["x", 1]]


def head_of_other_types(frames: Frames) -> None:
    frames[word(frames, "log")] = ["log", 7]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_ledger, "does not begin with its ledger"),
        (leaves_before_their_log, "'leaves' out of place"),
        (unknown_word, "'surprise' out of place"),
        (malformed_head, "malformed head"),
        (head_of_other_types, "malformed head"),
    ],
)
def test_frames_out_of_place_end_an_import_that_kept_nothing(
    two: Coop, change: Callable[[Frames], None], reason: str
) -> None:
    frames = exported(two)
    change(frames)
    with pytest.raises(BadInput, match=reason):
        imported(two, frames)
    assert held(two) == (1, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (ledger_twice, "'ledger' out of place"),
        (leaves_without_log, "'leaves' out of place"),
    ],
)
def test_frames_out_of_place_after_good_ones_keep_what_verified(
    two: Coop, change: Callable[[Frames], None], reason: str
) -> None:
    frames = exported(two)
    change(frames)
    moved = imported(two, frames)
    assert (moved.logs, moved.payloads) == (1, 1)
    assert any(reason in item.reason for item in moved.refused)


def altered_leaf(leaves: list[Any]) -> None:
    leaves[2][-1] = leaves[2][-1][:-1] + b"\x07"


def missing_leaf(leaves: list[Any]) -> None:
    leaves[2].pop()


def extra_leaf(leaves: list[Any]) -> None:
    leaves[2].append(leaves[2][-1])


def swapped_leaves(leaves: list[Any]) -> None:
    leaves[2][-1], leaves[2][-2] = leaves[2][-2], leaves[2][-1]


def leaf_that_is_text(leaves: list[Any]) -> None:
    leaves[2][-1] = "text"


def leaves_that_are_one(leaves: list[Any]) -> None:
    leaves[2] = 7


def empty_leaf(leaves: list[Any]) -> None:
    leaves[2][-1] = b""


def no_leaves(leaves: list[Any]) -> None:
    leaves[2].clear()


def numbered_from_one(leaves: list[Any]) -> None:
    leaves[1] = 1


def a_fourth_item(leaves: list[Any]) -> None:
    leaves.append(0)


@pytest.mark.parametrize(
    "change",
    [
        altered_leaf,
        missing_leaf,
        extra_leaf,
        swapped_leaves,
        leaf_that_is_text,
        leaves_that_are_one,
        empty_leaf,
        no_leaves,
        numbered_from_one,
        a_fourth_item,
    ],
)
def test_a_log_that_does_not_verify_is_refused_by_name_and_the_others_are_kept(
    two: Coop, change: Callable[[list[Any]], None]
) -> None:
    two.carry("alice", WITNESS)
    frames = exported(two, WITNESS)
    heads = [index for index, frame in enumerate(frames) if frame[0] == "log"]
    change(frames[heads[0] + 1])
    moved = imported(two, frames)
    log_id = frames[heads[0]][1][0]
    assert [item.what for item in moved.refused] == [f"log {log_id.hex()[:12]}"]
    assert (moved.logs, moved.payloads) == (1, 1)
    with two["newcomer"].core.store.read() as snapshot:
        kept = [log for log in snapshot.logs() if log.log_id == log_id and log.size]
        assert not kept


def test_leaves_in_chunks_out_of_order_refuse_their_log_alone(two: Coop) -> None:
    for number in range(300):
        two["alice"].core.append_one("datanet.create", _datanet(f"net {number}"))
    two.carry("alice", WITNESS)
    frames = exported(two, WITNESS)
    chunks = [index for index, frame in enumerate(frames) if frame[0] == "leaves"]
    first = next(index for index in chunks if frames[index + 1][0] == "leaves")
    frames[first], frames[first + 1] = frames[first + 1], frames[first]
    moved = imported(two, frames)
    assert [item.reason for item in moved.refused if item.what.startswith("log")] == [
        "its leaves are not in order"
    ]
    assert moved.logs == 1


def _datanet(name: str) -> Any:
    from openledger_node.ledger.kinds import DatanetCreate

    return DatanetCreate(name, "", "")


def test_a_log_of_another_ledger_is_refused_by_name(two: Coop, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Coop(tmp_path / "other") as other:
        foreign = exported(other, WITNESS)
    frames = exported(two)
    at = word(foreign, "log")
    frames[1:1] = foreign[at : at + 2]
    moved = imported(two, frames)
    assert [item.reason for item in moved.refused] == ["it belongs to another ledger"]
    assert (moved.logs, moved.payloads) == (1, 1)


def test_a_head_signed_by_another_key_is_refused(two: Coop) -> None:
    frames = exported(two)
    head = frames[word(frames, "log")][1]
    head[3] = bytes(64)
    moved = imported(two, frames)
    assert moved.logs == 0
    assert moved.refused[0].what.startswith("log")


# Payloads.


def payload_with_wrong_commitment(frames: Frames) -> None:
    at = word(frames, "payload")
    frames[at][1] = bytes(32)


def payload_with_altered_part(frames: Frames) -> None:
    at = word(frames, "part")
    data = bytearray(frames[at][1])
    data[-30] ^= 1
    frames[at][1] = bytes(data)


def payload_longer_than_stated(frames: Frames) -> None:
    at = word(frames, "part")
    frames.insert(at, ["part", b"more"])


def payload_shorter_than_stated(frames: Frames) -> None:
    del frames[word(frames, "part")]


def payload_of_impossible_size(frames: Frames) -> None:
    frames[word(frames, "payload")][2] = MAX_PAYLOAD_BYTES + 1


def payload_of_negative_size(frames: Frames) -> None:
    frames[word(frames, "payload")][2] = -1


def part_that_is_text(frames: Frames) -> None:
    frames[word(frames, "part")][1] = "text"


def part_with_a_third_item(frames: Frames) -> None:
    frames[word(frames, "part")].append(1)


def payload_that_is_noise(frames: Frames) -> None:
    at = word(frames, "part")
    frames[at][1] = bytes(len(frames[at][1]))


def payload_nobody_names(frames: Frames) -> None:
    data = encode_payload(bytes(32), 1, [PayloadDocument(bytes(32), (b"hello",), 1)])
    at = word(frames, "payload")
    frames[at : at + 2] = [["payload", payload_commitment(data), len(data)], ["part", data]]


def payload_with_a_swapped_account(frames: Frames) -> None:
    at = word(frames, "part")
    payload = decode_payload(frames[at][1])
    other = payload.account[::-1]
    frames[at][1] = encode_payload(other, payload.canon_version, payload.documents)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (payload_with_a_swapped_account, "do not match its commitment"),
        (payload_with_wrong_commitment, "do not match its commitment"),
        (payload_with_altered_part, ""),
        (payload_longer_than_stated, "longer than it states"),
        (payload_shorter_than_stated, "shorter than it states"),
        (payload_of_impossible_size, "impossible size"),
        (payload_of_negative_size, "impossible size"),
        (part_that_is_text, "where bytes belong"),
        (part_with_a_third_item, "malformed part"),
        (payload_that_is_noise, ""),
        (payload_nobody_names, "no event of its account held here commits to it"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_by_name_and_the_rest_is_kept(
    two: Coop, change: Callable[[Frames], None], reason: str
) -> None:
    two.add_text("alice", "second", words("second", 60))
    frames = exported(two)
    change(frames)
    moved = imported(two, frames)
    (refusal,) = moved.refused
    assert refusal.what.startswith("payload ")
    assert reason in refusal.reason
    assert (moved.logs, moved.payloads) == (1, 1)


@pytest.mark.rule("P3")
def test_a_payload_that_only_a_copier_names_is_not_taken_in(two: Coop) -> None:
    """The copier hands on alice's payload beside its own log, which names the commitment."""
    from_alice = exported(two)
    at = word(from_alice, "payload")
    _, commit, size_bytes = from_alice[at]
    body = DataContribute(None, "mine", "", "text/plain", 1, 1, size_bytes, 60, (), ())
    two["newcomer"].core.append_one("data.contribute", body, commit, size_bytes)
    path = two.file()
    two["newcomer"].bundle_export(path)
    frames = [*frames_of(path), *from_alice[at : at + 2]]
    two.join("third")
    moved = imported(two, frames, "third")
    (refusal,) = moved.refused
    assert "no event of its account held here commits to it" in refusal.reason
    assert (moved.logs, moved.payloads) == (1, 0)


def test_a_payload_whose_name_is_no_bytes_ends_the_import(two: Coop) -> None:
    frames = exported(two)
    frames[word(frames, "payload")][1] = "text"
    moved = imported(two, frames)
    assert (moved.logs, moved.payloads) == (1, 0)
    assert any("where bytes belong" in item.reason for item in moved.refused)


# Erasures.


def test_an_erasure_that_comes_along_is_honoured(two: Coop) -> None:
    two.carry("alice", "newcomer")
    (named,) = two["newcomer"].data_list().contributions
    two["alice"].data_erase(named.contribution_id)
    two.carry("alice", "newcomer")
    assert two["newcomer"].data_show(named.contribution_id).payload == "erased"


def test_what_was_erased_is_not_taken_in_again(two: Coop) -> None:
    path = two.file()
    two["alice"].bundle_export(path)
    two["newcomer"].bundle_import(path)
    (named,) = two["newcomer"].data_list().contributions
    two["alice"].data_erase(named.contribution_id)
    two.carry("alice", "newcomer")
    moved = two["newcomer"].bundle_import(path)
    assert [item.reason for item in moved.refused] == ["it was erased here"]
    assert two["newcomer"].data_show(named.contribution_id).payload == "erased"


def test_an_erasure_by_anybody_else_is_not_honoured(two: Coop) -> None:
    from openledger_node.ledger.kinds import DataErase

    two.carry("alice", "newcomer")
    (named,) = two["newcomer"].data_list().contributions
    two.carry("alice", WITNESS)
    body = DataErase(bytes.fromhex(named.contribution_id), "")
    two[WITNESS].core.append_one("data.erase", body)
    two.carry(WITNESS, "newcomer")
    assert two["newcomer"].data_show(named.contribution_id).payload == "held"


# Forks and homes that went back in time.


@pytest.mark.rule("L6")
def test_a_fork_in_a_bundle_is_proved_and_refused(two: Coop) -> None:
    place = two.place
    two.shut("alice")
    shutil.copytree(place / "alice", place / "twin")
    with open_home(place / "twin") as twin:
        twin.core.store.rebind()  # as a rolled-back disk would look: nothing tells it
    two.ids["twin"] = two.ids["alice"]
    two["alice"].datanet_create("one history")
    two["twin"].datanet_create("another history")
    two.carry("alice", "newcomer")
    path = two.file()
    two["twin"].bundle_export(path)
    before = two["newcomer"].status().events
    moved = two["newcomer"].bundle_import(path)
    assert ["forks" in item.reason for item in moved.refused] == [True]
    filed = two["newcomer"].log(kind="log.fork").events
    assert len(filed) == 1, "whoever finds a fork files its proof"
    assert two["newcomer"].status().events == before + 1
    assert ["forked at event" in text for text in two["newcomer"].status().alarms] == [True]
    with two["newcomer"].core.store.read() as snapshot:
        (evidence,) = snapshot.forks()
    proof = two.file("oln")
    proved = two["newcomer"].prove(evidence.head_a.log_id.hex(), proof)
    assert proved.what == "fork"
    from openledger_node.api import verify_file

    shown = verify_file(proof, two.genesis)
    assert shown.valid
    assert shown.facts["common_events"] == 6 - 1


@pytest.mark.rule("L3")
def test_a_home_that_went_back_in_time_adopts_its_longer_log_and_opens_a_new_one(
    two: Coop,
) -> None:
    place = two.place
    two.shut("alice")
    shutil.copytree(place / "alice", place / "older")
    two["alice"].datanet_create("written after the copy")
    two.carry("alice", WITNESS)
    two.shut("alice")
    shutil.rmtree(place / "alice")
    (place / "older").rename(place / "alice")
    two["alice"].core.store.rebind()  # a rolled-back machine: nothing tells it
    old_log = two["alice"].core.writer().log_id
    moved = two.carry(WITNESS, "alice")
    assert moved.events > 0
    done = two["alice"].core.append_one("datanet.create", _datanet("goes on"))
    assert done.log_id != old_log.hex()
    with two["alice"].core.store.read() as snapshot:
        log = snapshot.log(bytes.fromhex(done.log_id))
        assert log is not None
        assert log.genesis.previous == old_log
    assert not two.carry("alice", WITNESS).refused
    assert two[WITNESS].status().alarms == ()


@pytest.mark.rule("L3")
def test_a_process_beside_the_one_that_left_a_log_leaves_it_too(two: Coop) -> None:
    from openledger_node.node.setup import open_log

    core = two["alice"].core
    before = core.append_one("datanet.create", _datanet("in the old log"))
    previous = bytes.fromhex(before.log_id)
    opened = open_log(  # as another process does when a bundle shows it a longer own log
        core.store, core.ledger_id, core.account_id, core.key("device"), previous, 1
    )
    after = core.append_one("datanet.create", _datanet("in the new log"))
    assert (after.log_id, after.seq) == (opened.hex(), 1)


def test_a_witness_that_went_back_in_time_does_not_close_by_itself(two: Coop) -> None:
    place = two.place
    two.shut(WITNESS)
    shutil.copytree(place / WITNESS, place / "older")
    two[WITNESS].datanet_create("written after the copy")
    two.carry(WITNESS, "alice")
    two.shut(WITNESS)
    shutil.rmtree(place / WITNESS)
    (place / "older").rename(place / WITNESS)
    two[WITNESS].core.store.rebind()
    two.carry("alice", WITNESS)
    with pytest.raises(Refused) as caught:
        two[WITNESS].epoch_close()
    assert caught.value.code == "must_resume"
    assert two[WITNESS].epoch_close(resume=True).closed
    two.carry(WITNESS, "alice")
    assert two["alice"].statement().state_digest == two[WITNESS].statement().state_digest


def test_progress_is_told(two: Coop) -> None:
    path = two.file()
    told: list[tuple[int, int | None, str]] = []

    def note(done: int, total: int | None, what: str) -> None:
        told.append((done, total, what))

    two["alice"].bundle_export(path, progress=note)
    two["newcomer"].bundle_import(path, progress=note)
    assert {what for _, _, what in told} >= {"events", "payloads", "bytes"}
    assert all(total is None or done <= total for done, total, _ in told)


def test_the_words_of_a_bundle_are_those_of_the_page(stage: Ready) -> None:
    path = stage.coop.file()
    stage.coop[WITNESS].bundle_export(path)
    found = frames_of(path)
    assert found[0] == ["ledger", encode(stage.coop[WITNESS].core.genesis)]
    assert {frame[0] for frame in found} == {"ledger", "log", "leaves", "payload", "part"}


# Evidence.


def payloads_of(frames: Frames) -> list[bytes]:
    return [frame[1] for frame in frames if frame[0] == "payload"]


def test_the_evidence_and_outputs_of_a_receipt_go_along_when_it_is_named(stage: Ready) -> None:
    coop, used = stage.coop, stage.use(words("harbour", 20))
    plain, named = coop.file(), coop.file()
    coop["maker"].bundle_export(plain)
    coop["maker"].bundle_export(named, evidence=[used.receipt_id])
    event = coop["maker"].show(used.receipt_id)
    extra = {event.payload_commit, event.body["output_root"]}
    carried = set(payloads_of(frames_of(named))) - set(payloads_of(frames_of(plain)))
    assert {commit.hex() for commit in carried} == extra
    assert not coop["user"].bundle_import(named).refused
    assert coop["user"].show(used.receipt_id).payload == "held"
    assert coop["user"].bundle_import(named).payloads == 4


def test_evidence_that_no_receipt_held_here_commits_to_is_refused(stage: Ready) -> None:
    coop, used = stage.coop, stage.use(words("harbour", 20))
    named = coop.file()
    coop["maker"].bundle_export(named, evidence=[used.receipt_id])
    event = coop["maker"].show(used.receipt_id)
    commits = [event.payload_commit or "", event.body["output_root"]]
    frames = [frame for frame in frames_of(named) if frame[0] != "log" and frame[0] != "leaves"]
    refused = imported(coop, frames, "user").refused
    assert {item.what for item in refused} == {f"payload {commit[:12]}" for commit in commits}


def test_evidence_that_is_not_held_here_cannot_go_along(stage: Ready) -> None:
    used = stage.use(words("harbour", 20))
    stage.coop.settle()
    with pytest.raises(Refused) as caught:
        stage.coop["user"].bundle_export(stage.coop.file(), evidence=[used.receipt_id])
    assert caught.value.code == "no_payload"
    with pytest.raises(UsageError, match="not a receipt"):
        stage.coop["maker"].bundle_export(stage.coop.file(), evidence=[stage.harbour])
