"""Erasing a contribution takes its branches out of the evidence, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.attribution.evidence import decode_evidence, erased_branches, without_branches
from openledger_node.ledger.errors import BadInput, UsageError
from openledger_node.ledger.payload import decode_payload
from openledger_node.node import auditing, erasing
from openledger_node.store import snapshot as snapshots
from tests.kit.homes import CREDIT, WITNESS, Coop, Ready, ready, words

FEE = 10 * CREDIT
OUTPUT = " ".join([words("harbour", 12, 64), words("baker", 12, 64)])
HIDDEN = b"harbour100"
"""In the leaf that proves the span of HARBOUR, and not in the output."""


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Ready]:
    made = ready(tmp_path, params="maturity_epochs = 6\ndispute_epochs = 4\n")
    with made.coop:
        yield made


@pytest.fixture
def used(slow: Ready) -> str:
    """A final receipt that draws on both texts; its evidence is held by provider and witness."""
    receipt = slow.use(OUTPUT, FEE).receipt_id
    slow.coop.settle()
    hand_over(slow.coop, receipt, WITNESS)
    return receipt


def hand_over(coop: Coop, receipt: str, *homes: str) -> None:
    bundle = coop.file()
    coop["maker"].bundle_export(bundle, evidence=[receipt])
    for home in homes:
        assert not coop[home].bundle_import(bundle).refused


def erase(coop: Coop, owner: str, contribution: str) -> None:
    """Every home hears of it before it passes the text on again; then it is final."""
    coop[owner].data_erase(contribution)
    for home in coop:
        if home != owner:
            coop.carry(owner, home)
    coop.settle()


def evidence(coop: Coop, receipt: str, home: str) -> bytes:
    shown = coop[home].show(receipt)
    with coop[home].core.store.read() as snapshot:
        data = snapshot.payload(bytes.fromhex(shown.payload_commit or ""))
    assert data is not None
    return data


def named(data: bytes) -> set[str]:
    return {branch.contribution_id.hex() for branch in decode_evidence(data)}


def on_disk(place: Path, text: bytes) -> list[str]:
    """The files under a folder that hold a text."""
    return [
        path.relative_to(place).as_posix()
        for path in sorted(place.rglob("*"))
        if path.is_file() and text in path.read_bytes()
    ]


@pytest.mark.rule("P6", "T7")
def test_the_branch_goes_wherever_the_erasure_is_honoured(slow: Ready, used: str) -> None:
    coop = slow.coop
    before = {home: evidence(coop, used, home) for home in ("maker", WITNESS)}
    erase(coop, "alice", slow.harbour)
    for home, whole in before.items():
        left = evidence(coop, used, home)
        assert (named(whole), named(left)) == ({slow.harbour, slow.bakers}, {slow.bakers})
        assert decode_payload(left).commit == decode_payload(whole).commit
        assert HIDDEN in whole
        assert HIDDEN not in left
        assert coop[home].check().ok


@pytest.mark.rule("P6")
@pytest.mark.parametrize("in_file", [False, True])
def test_no_file_of_a_home_holds_the_text_after_erasing_and_compacting(
    slow: Ready, in_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openledger_node.node import uses
    from openledger_node.store import store

    if in_file:
        monkeypatch.setattr(store, "SMALL_PAYLOAD_BYTES", 100)
        monkeypatch.setattr(uses, "SMALL_PAYLOAD_BYTES", 100)
    coop = slow.coop
    receipt = slow.use(OUTPUT, FEE).receipt_id
    coop.settle()
    hand_over(coop, receipt, WITNESS)
    for home in ("maker", WITNESS, "alice"):
        assert on_disk(coop.place / home, HIDDEN)
    (coop.place / "alice-harbour.txt").unlink()
    erase(coop, "alice", slow.harbour)
    for home in ("maker", WITNESS, "alice"):
        coop[home].compact()
        coop.shut(home)
        assert on_disk(coop.place / home, HIDDEN) == []
        assert on_disk(coop.place / home, b"harbour199") == []


@pytest.mark.rule("P6")
def test_the_files_of_an_index_lose_the_text_however_little_is_left(slow: Ready, used: str) -> None:
    coop = slow.coop
    for home in ("maker", "alice"):
        assert coop[home].index_rebuild().contributions == 2
        assert on_disk(coop.place / home / "index", HIDDEN)
    (coop.place / "alice-harbour.txt").unlink()
    erase(coop, "alice", slow.harbour)
    for home in ("maker", "alice"):
        assert on_disk(coop.place / home / "index", HIDDEN) == []
        assert coop[home].index_status().contributions == 1
        assert coop[home].index_verify().wrong == ()
        coop[home].compact()
        coop.shut(home)
        assert on_disk(coop.place / home, HIDDEN) == []


def test_receipts_and_credits_stay_as_they_are(slow: Ready, used: str) -> None:
    coop = slow.coop
    with coop[WITNESS].core.store.read() as snapshot:
        from openledger_node.credit import views

        before = views.receipt(snapshot.state, bytes.fromhex(used))
    erase(coop, "alice", slow.harbour)
    coop["user"].confirm(used)
    for _ in range(7):
        coop["bert"].datanet_create("something to close an epoch over")
        coop.settle()
    with coop[WITNESS].core.store.read() as snapshot:
        after = views.receipt(snapshot.state, bytes.fromhex(used))
    assert before is not None
    assert after is not None
    assert after.weights_ppm == before.weights_ppm
    balances = coop.balances()
    assert balances["alice"].balance_micro == balances["bert"].balance_micro > 0
    assert coop.conserved()


def test_what_is_left_is_still_proved_and_the_rest_is_not(
    slow: Ready, used: str, tmp_path: Path
) -> None:
    coop = slow.coop
    erase(coop, "alice", slow.harbour)
    proof = tmp_path / "span.proof"
    coop["maker"].prove(used, proof, span=0)
    from openledger_node.api import verify_file

    found = verify_file(proof, coop.genesis)
    assert found.valid
    assert found.facts["contribution_id"] == slow.bakers
    with pytest.raises(UsageError, match="1 spans"):
        coop["maker"].prove(used, tmp_path / "other.proof", span=1)


@pytest.mark.rule("V5", "J1")
def test_an_honest_receipt_stands_when_a_contributor_erases_its_text(
    slow: Ready, used: str
) -> None:
    coop = slow.coop
    erase(coop, "alice", slow.harbour)
    done = coop["maker"].challenge(used)
    assert (done.filed, done.faults, done.missing) == (False, (), ())
    coop["bert"].challenge(used, "better_span")
    coop.settle()
    coop.settle()
    (event,) = coop[WITNESS].log(kind="audit.verdict").events
    assert event.body["upheld"] == 0


@pytest.mark.rule("V6", "J1")
def test_a_provider_that_erases_its_own_text_with_the_branch_has_withheld_it(slow: Ready) -> None:
    coop = slow.coop
    own = coop.add_text("maker", "own", words("own", 200))
    coop.settle()
    model = coop["maker"].model_register("selfish", trained_on=[(own, 1)]).model_id
    coop.settle()
    output = words("own", 20).encode()
    used = coop["maker"].use(model, output, grant=slow.grant, fee_micro=FEE).receipt_id
    coop.settle()
    erase(coop, "maker", own)
    with coop["maker"].core.store.read() as snapshot:
        found = auditing.audit_receipt(snapshot, bytes.fromhex(used))
    assert [str(each.ground) for each in found.findings] == ["evidence_withheld"]


@pytest.mark.rule("V6")
def test_more_missing_branches_than_erased_contributions_count_as_evidence_not_held(
    slow: Ready, used: str
) -> None:
    """Whoever passes evidence on could take branches out of it to harm the provider."""
    coop = slow.coop
    whole = evidence(coop, used, WITNESS)
    less = without_branches(whole, [bytes.fromhex(slow.bakers)])
    assert less is not None
    store = coop[WITNESS].core.store
    store.replace_payload(decode_payload(whole).commit, less)
    with store.read() as snapshot:
        found = auditing.audit_receipt(snapshot, bytes.fromhex(used))
    assert found.absent
    erasing.keep_payload(store, decode_payload(whole).commit, whole)
    assert evidence(coop, used, WITNESS) == whole


@pytest.mark.rule("P6")
def test_evidence_that_comes_after_the_erasure_is_kept_without_the_branch(slow: Ready) -> None:
    coop = slow.coop
    receipt = slow.use(OUTPUT, FEE).receipt_id
    bundle = coop.file()
    coop["maker"].bundle_export(bundle, payloads=False, evidence=[receipt])
    erase(coop, "alice", slow.harbour)
    assert not coop["user"].bundle_import(bundle).refused
    assert named(evidence(coop, receipt, "user")) == {slow.bakers}
    assert erased_branches(evidence(coop, receipt, "user")) == 1


@pytest.mark.rule("P6")
def test_a_contribution_of_which_a_part_was_erased_is_not_taken_in(slow: Ready) -> None:
    from openledger_node.exchange import bundle
    from openledger_node.ledger.payload import erase_documents

    coop = slow.coop
    shown = coop["alice"].show(slow.harbour)
    commit = bytes.fromhex(shown.payload_commit or "")
    with coop["alice"].core.store.read() as snapshot:
        whole = snapshot.payload(commit)
    assert whole is not None
    importer = bundle._Importer(coop["bert"].core)
    with pytest.raises(BadInput, match="a part of it was erased"):
        importer._check_payload(commit, erase_documents(decode_payload(whole), [0]))
    importer._check_payload(commit, whole)


def test_erasing_looks_through_the_evidence_once(
    slow: Ready, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coop = slow.coop
    erase(coop, "alice", slow.harbour)
    looked: list[bytes] = []
    whole = snapshots.Snapshot.payload

    def seen(self: snapshots.Snapshot, commit: bytes) -> bytes | None:
        looked.append(commit)
        return whole(self, commit)

    monkeypatch.setattr(snapshots.Snapshot, "payload", seen)
    assert erasing.honour_erasures(coop["maker"].core) == 0
    assert looked == []
