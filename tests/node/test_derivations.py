"""Derivation between homes: found at `data add`, declared, claimed, carried, and paid by (R3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from openledger_node.attribution.derivation_map import map_root
from openledger_node.attribution.leaves import cut_document
from openledger_node.credit import views
from openledger_node.ledger.errors import Refused
from openledger_node.ledger.kinds import AuditVerdict, DataDerivation
from openledger_node.ledger.payload import PayloadDocument, decode_payload
from openledger_node.node import derivations
from openledger_node.node.auditing import audit_receipt
from openledger_node.node.core import no_progress
from openledger_node.node.derivation_maps import derivations_of, maps_in_force
from tests.kit.homes import CREDIT, WITNESS, Coop, words

pytestmark = pytest.mark.rule("R3", "T11")

TEXT = words("ann", 800)
OWN = words("ben", 200)


def noisy(text: str, every: int = 20) -> str:
    """A copy in which every so-and-so-many-th word is another."""
    tokens = text.split()
    return " ".join(f"edit{i}" if i % every == 7 else word for i, word in enumerate(tokens))


@dataclass
class Stage:
    """ann registered TEXT in epoch 1, and every home holds it."""

    coop: Coop
    original: str

    def copy(self, name: str = "ben", text: str | None = None) -> str:
        return self.coop.add_text(name, "copy", text or f"{OWN} {noisy(TEXT)}")

    def model(self, *contributions: str) -> str:
        """A model of maker's, final."""
        made = self.coop["maker"].model_register("m", trained_on=[(c, 1) for c in contributions])
        self.coop.settle()
        return made.model_id


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Coop(tmp_path) as coop:
        coop.join("ann", "ben", "maker")
        original = coop.add_text("ann", "original", TEXT)
        coop.settle()
        yield Stage(coop, original)


# At `data add`.


def test_a_copy_is_found_and_declared_when_it_is_added(stage: Stage) -> None:
    path = stage.coop.write("copy.txt", f"{OWN} {noisy(TEXT)}")
    added = stage.coop["ben"].data_add([path], title="Copy", share="all")
    (source,) = added.derived
    assert (source.contribution_id, source.account_id) == (stage.original, stage.coop.ids["ann"])
    assert (source.title, source.tokens) == ("original", source.ppm // 1_000)
    assert 780 <= source.tokens <= 800
    assert added.derivation_id is not None
    body = stage.coop["ben"].show(added.derivation_id).body
    assert body["contribution"] == added.contribution_id
    assert body["sources"] == [[stage.original, source.tokens]]


def test_a_dry_run_says_what_would_be_found_and_records_nothing(stage: Stage) -> None:
    path = stage.coop.write("copy.txt", TEXT)
    before = len(stage.coop["ben"].log(limit=None).events)
    added = stage.coop["ben"].data_add([path], title="Copy", dry_run=True)
    assert [source.ppm for source in added.derived] == [1_000_000]
    assert (added.derivation_id, added.contribution_id) == (None, None)
    assert len(stage.coop["ben"].log(limit=None).events) == before


def test_text_of_ones_own_is_declared_by_nothing(stage: Stage) -> None:
    path = stage.coop.write("own.txt", OWN)
    added = stage.coop["ben"].data_add([path], title="Own")
    assert (added.derived, added.derivation_id) == ((), None)


def test_ones_own_second_edition_derives_from_nobody(stage: Stage) -> None:
    path = stage.coop.write("again.txt", noisy(TEXT))
    assert stage.coop["ann"].data_add([path], title="Second edition").derived == ()


def test_what_a_thief_copied_stays_the_authors_in_a_second_edition(stage: Stage) -> None:
    stage.copy()
    stage.coop.settle()
    path = stage.coop.write("again.txt", f"{TEXT} {OWN} {words('new', 50)}")
    (source,) = stage.coop["ann"].data_add([path], title="Second edition").derived
    assert source.tokens == 200  # ben's own part, which ann copied


def test_documents_that_are_not_text_lie_between_others_unharmed(stage: Stage) -> None:
    folder = stage.coop.place / "mixed"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"\xff\x00\xfe" * 9)
    (folder / "b.txt").write_text(OWN)
    (folder / "c.txt").write_text(TEXT)
    added = stage.coop["ben"].data_add([folder], title="Mixed")
    assert [source.tokens for source in added.derived] == [800]
    assert added.derivation_id is not None
    stage.coop.settle()
    with stage.coop["ben"].core.store.read() as snapshot:
        assert added.contribution_id is not None
        named = bytes.fromhex(added.contribution_id)
        redirect = maps_in_force(snapshot, [named]).redirect
        moved = {document: redirect.follow(named, document, 0, 5)[0][0] for document in (1, 2)}
    assert moved == {1: named, 2: bytes.fromhex(stage.original)}


# Paying.


def test_a_use_drawn_from_a_copy_pays_the_original(stage: Stage) -> None:
    copy = stage.copy()
    stage.coop.settle()
    model = stage.model(copy)
    used = stage.coop["maker"].use(model, " ".join(noisy(TEXT).split()[100:200]).encode())
    assert used.ppm == {stage.original: 1_000_000}
    mixed = f"{words('ben', 50)} {' '.join(noisy(TEXT).split()[100:200])}"
    used = stage.coop["maker"].use(model, mixed.encode())
    assert used.ppm == {stage.original: 666_667, copy: 333_333}
    stage.coop.settle()
    assert stage.coop["maker"].show(used.receipt_id).status == "final"


def test_a_fee_for_what_a_copy_says_reaches_the_author(stage: Stage) -> None:
    copy = stage.copy()
    coop = stage.coop
    coop[WITNESS].issue(10 * CREDIT, coop.ids["ann"], "deposit")
    coop.settle()
    model = stage.model(copy)
    grant = coop["ann"].grant(coop.ids["maker"], CREDIT, expires=20)
    coop.settle()
    output = " ".join(noisy(TEXT).split()[300:400]).encode()
    used = coop["maker"].use(model, output, grant=grant.grant_id, fee_micro=CREDIT)
    coop.settle()
    coop["ann"].confirm(used.receipt_id)
    for _ in range(6):
        coop.settle()
    earned = {row.account_id: row.earned_data_micro for row in coop["ann"].credits().accounts}
    assert earned[coop.ids["ann"]] > 0
    assert earned.get(coop.ids["ben"], 0) == 0
    assert coop.conserved()


def test_attribute_follows_maps_as_a_use_does(stage: Stage) -> None:
    copy = stage.copy()
    stage.coop.settle()
    output = noisy(TEXT).split()[100:200]
    found = stage.coop["maker"].attribute(" ".join(output).encode(), retrieved=[copy])
    assert found.ppm == {stage.original: 1_000_000}
    assert {span.contribution_id for span in found.spans} == {copy}


def test_a_copy_of_a_copy_pays_the_first(stage: Stage) -> None:
    stage.copy()
    stage.coop.settle()
    path = stage.coop.write("again.txt", noisy(noisy(TEXT), 33))
    added = stage.coop["maker"].data_add([path], title="Copy of a copy", share="all")
    assert added.derived[0].contribution_id == stage.original
    assert added.derived[0].ppm > 950_000
    stage.coop.settle()
    assert added.contribution_id is not None
    model = stage.model(added.contribution_id)
    output = " ".join(noisy(noisy(TEXT), 33).split()[100:300])
    used = stage.coop["ann"].use(model, output.encode())
    assert used.ppm[stage.original] > 950_000


def test_tokens_of_a_withdrawn_original_go_to_nobody(stage: Stage) -> None:
    copy = stage.copy()
    stage.coop.settle()
    model = stage.model(copy)
    stage.coop["ann"].data_withdraw(stage.original)
    stage.coop.settle()
    used = stage.coop["maker"].use(model, " ".join(noisy(TEXT).split()[100:200]).encode())
    assert (used.ppm, used.unattributed_ppm) == ({}, 1_000_000)
    stage.coop.settle()
    assert stage.coop["maker"].show(used.receipt_id).status == "final"
    tree = stage.coop["maker"].explain(used.receipt_id).tree
    assert "nobody: it was withdrawn" in said(tree)


def said(node: object) -> str:
    title = node.title  # type: ignore[attr-defined]
    return "\n".join([title, *(said(child) for child in node.children)])  # type: ignore[attr-defined]


def test_explain_names_the_tokens_that_moved_and_what_a_contribution_derives_from(
    stage: Stage,
) -> None:
    copy = stage.copy()
    stage.coop.settle()
    model = stage.model(copy)
    used = stage.coop["maker"].use(model, " ".join(noisy(TEXT).split()[100:200]).encode())
    stage.coop.settle()
    tree = said(stage.coop["maker"].explain(used.receipt_id).tree)
    assert f"100 tokens found in copy {copy[:12]} belong to original {stage.original[:12]}" in tree
    tree = said(stage.coop["maker"].explain(copy).tree)
    assert f"% derives from original {stage.original[:12]}: declared by" in tree
    assert "in force" in tree
    (event,) = stage.coop["maker"].log(kind="data.derivation").events
    tree = said(stage.coop["maker"].explain(event.event_id).tree)
    assert f"% derives from original {stage.original[:12]}" in tree


# `data derive`.


PRIVATE = words("private", 400)


def hidden_copy(stage: Stage) -> tuple[str, str]:
    """ann keeps a text to herself; ben, whose home cannot see it, registers a copy of it."""
    original = stage.coop.add_text("ann", "private", PRIVATE, share="none")
    stage.coop.settle()
    copy = stage.copy(text=noisy(PRIVATE))
    assert not stage.coop["ben"].log(kind="data.derivation").events
    stage.coop.settle()
    return original, copy


def test_a_copy_whose_author_lacked_the_original_is_claimed_and_counts_once_accepted(
    stage: Stage,
) -> None:
    original, copy = hidden_copy(stage)
    model = stage.model(copy)
    output = " ".join(noisy(PRIVATE).split()[100:200]).encode()
    assert stage.coop["maker"].use(model, output).ppm == {copy: 1_000_000}
    derived = stage.coop["ann"].data_derive(copy)
    assert (derived.state, derived.tokens) == ("claimed", 400)
    assert derived.derivation_id is not None
    stage.coop.settle()
    assert stage.coop["maker"].use(model, output).ppm == {copy: 1_000_000}
    assert "waiting for its contributor" in said(stage.coop["maker"].explain(copy).tree)
    stage.coop["ben"].account_accept(derived.derivation_id)
    stage.coop.settle()
    assert stage.coop["maker"].use(model, output).ppm == {original: 1_000_000}


def test_an_accepted_claim_counts_from_the_epoch_of_its_acceptance_on(stage: Stage) -> None:
    _, copy = hidden_copy(stage)
    claimed = stage.coop["ann"].data_derive(copy)
    first = stage.coop.settle().epoch
    assert claimed.derivation_id is not None
    stage.coop["ben"].account_accept(claimed.derivation_id)
    accepted = stage.coop.settle().epoch
    stage.coop.add_text("maker", "more", words("more", 9))
    stage.coop.settle()
    with stage.coop["maker"].core.store.read() as snapshot:
        named = [bytes.fromhex(copy)]
        counts = [bool(maps_in_force(snapshot, named, epoch=n).redirect) for n in (first, accepted)]
        now = maps_in_force(snapshot, named)
    assert (first < accepted, counts, bool(now.redirect)) == (True, [False, True], True)


def test_a_claim_that_the_witnesses_uphold_counts_from_their_last_vote_on(stage: Stage) -> None:
    original, copy = hidden_copy(stage)
    claimed = stage.coop["ann"].data_derive(copy)
    first = stage.coop.settle().epoch
    assert claimed.derivation_id is not None
    core = stage.coop[WITNESS].core
    verdict = AuditVerdict(bytes.fromhex(claimed.derivation_id), 1)
    core.append([core.draft("audit.verdict", verdict)])
    upheld = stage.coop.settle().epoch
    stage.coop.add_text("maker", "more", words("more", 9))
    stage.coop.settle()
    with stage.coop["maker"].core.store.read() as snapshot:
        named = bytes.fromhex(copy)
        counts = [bool(maps_in_force(snapshot, [named], epoch=n).redirect) for n in (first, upheld)]
        (piece,) = maps_in_force(snapshot, [named], epoch=upheld).redirect.follow(named, 0, 0, 50)
    assert (counts, piece.contribution) == ([False, True], bytes.fromhex(original))
    assert "upheld by the witnesses" in said(stage.coop["maker"].explain(copy).tree)


def test_a_map_that_was_declared_is_not_declared_again(stage: Stage) -> None:
    copy = stage.copy()
    again = stage.coop["ben"].data_derive(copy)
    assert (again.state, again.derived_tokens > 700) == ("declared before", True)
    stage.coop.settle()
    again = stage.coop["ann"].data_derive(copy)
    assert again.state == "declared before"
    assert len(stage.coop["ann"].log(kind="data.derivation").events) == 1


def test_deriving_says_when_it_finds_nothing(stage: Stage) -> None:
    own = stage.coop.add_text("ben", "own", OWN)
    found = stage.coop["ben"].data_derive(own)
    assert (found.state, found.derivation_id, found.sources) == ("nothing found", None, ())


def test_a_dry_run_of_derive_records_nothing(stage: Stage) -> None:
    _, copy = hidden_copy(stage)
    found = stage.coop["ann"].data_derive(copy, dry_run=True)
    assert (found.state, found.derivation_id) == ("found", None)
    assert not stage.coop["ann"].log(kind="data.derivation").events


def test_what_is_not_held_cannot_be_derived(stage: Stage) -> None:
    copy = stage.coop.add_text("ben", "private", OWN, share="none")
    stage.coop.settle()
    with pytest.raises(Refused, match="not held here"):
        stage.coop["ann"].data_derive(copy)


# Carrying maps.


def test_a_map_holds_no_text_and_goes_along_with_a_text_that_stays(stage: Stage) -> None:
    path = stage.coop.write("secret.txt", TEXT)
    added = stage.coop["ben"].data_add([path], title="Kept", share="none")
    stage.coop.settle()
    assert added.derivation_id is not None
    shown = stage.coop["maker"].show(added.derivation_id)
    assert shown.payload == "held"
    assert added.contribution_id is not None
    assert stage.coop["maker"].show(added.contribution_id).payload == "absent"
    with stage.coop["maker"].core.store.read() as snapshot:
        assert shown.payload_commit is not None
        data = snapshot.payload(bytes.fromhex(shown.payload_commit))
    assert data is not None
    assert b"ann" not in decode_payload(data).documents[0].data


def test_a_map_that_is_not_held_is_missing_and_moves_nothing(stage: Stage) -> None:
    copy = stage.copy()
    stage.coop.settle()
    (event,) = stage.coop["maker"].log(kind="data.derivation").events
    assert event.payload_commit is not None
    stage.coop["maker"].core.store.erase_payload(bytes.fromhex(event.payload_commit))
    with stage.coop["maker"].core.store.read() as snapshot:
        maps = maps_in_force(snapshot, [bytes.fromhex(copy)])
    assert maps.missing == (bytes.fromhex(event.event_id),)
    assert not maps.redirect
    model = stage.coop["maker"].model_register("m", trained_on=[(copy, 1)]).model_id
    stage.coop.gather()
    stage.coop[WITNESS].epoch_close()
    bundle = stage.coop.file()
    stage.coop[WITNESS].bundle_export(bundle, payloads=False)
    stage.coop["maker"].bundle_import(bundle)
    output = " ".join(noisy(TEXT).split()[100:200]).encode()
    used = stage.coop["maker"].use(model, output)
    assert (used.ppm, used.missing) == ({copy: 1_000_000}, (event.event_id,))
    assert stage.coop["maker"].attribute(output, model=model).missing == (event.event_id,)


def test_maps_count_from_the_snapshot_that_holds_them(stage: Stage) -> None:
    copy = stage.copy()
    closed = stage.coop.settle()
    with stage.coop["maker"].core.store.read() as snapshot:
        named = [bytes.fromhex(copy)]
        assert not maps_in_force(snapshot, named, epoch=closed.epoch - 1).redirect
        assert maps_in_force(snapshot, named, epoch=closed.epoch).redirect
        assert maps_in_force(snapshot, []).orders == {}


def test_a_large_contribution_is_looked_at_in_parts_with_the_same_map(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stage.coop.place / "many"
    folder.mkdir()
    for index in range(5):
        (folder / f"{index}.txt").write_text(words("ann", 100, 150 * index) + f" end{index}")
    (folder / "3b.bin").write_bytes(b"\xff\xfe\x00")
    roots = []
    for tokens in (2**20, 250, 1):
        monkeypatch.setattr(derivations, "PART_TOKENS", tokens)
        documents = [
            PayloadDocument(bytes(32), cut.slices, cut.tokens)
            for path in sorted(folder.iterdir())
            for cut in [cut_document(path.read_bytes())]
        ]
        entries, sources = derivations.derived_in(stage.coop["ben"].core, documents, no_progress)
        assert [source.tokens for source in sources] == [500]
        assert [entry.document for entry in entries] == [0, 1, 2, 3, 5]
        roots.append(map_root(bytes(32), entries))
    assert len(set(roots)) == 1


def test_a_map_that_is_erased_after_a_use_is_followed_no_more(stage: Stage) -> None:
    copy = stage.copy()
    stage.coop.settle()
    model = stage.model(copy)
    output = " ".join(noisy(TEXT).split()[100:200]).encode()
    maker = stage.coop["maker"]
    assert maker.use(model, output).ppm == maker.use(model, output).ppm
    assert maker.use(model, output).ppm == {stage.original: 1_000_000}
    (event,) = maker.log(kind="data.derivation").events
    assert event.payload_commit is not None
    maker.core.store.erase_payload(bytes.fromhex(event.payload_commit))
    assert maker.use(model, output).ppm == {copy: 1_000_000}


# What a claim stands on.


def test_a_claim_stands_whatever_else_a_witness_holds(tmp_path: Path) -> None:
    with Coop(tmp_path) as coop:
        coop.join("eve", "ann", "ben")
        half = " ".join(noisy(TEXT).split()[:500])
        coop.add_text("eve", "eve", half, share=[coop.ids[WITNESS]])
        coop.settle()
        coop.add_text("ann", "ann", TEXT, share=[coop.ids[WITNESS]])
        coop.settle()
        copy = coop.add_text("ben", "copy", noisy(TEXT))
        coop.settle()
        with coop["eve"].core.store.read() as held, coop["ann"].core.store.read() as own:
            commits = [
                bytes.fromhex(event.payload_commit or "")
                for home in ("eve", "ann")
                for event in coop[home].log(coop.ids[home], kind="data.contribute").events
            ]
            texts = [held.payload(commits[0]), own.payload(commits[1])]
        for commit, data in zip(commits, texts, strict=True):
            assert data is not None
            coop[WITNESS].core.store.put_payload(commit, data)
        claim = coop["ann"].data_derive(copy)
        assert claim.derivation_id is not None
        coop.settle()
        with coop[WITNESS].core.store.read() as snapshot:
            view = views.derivation(snapshot.state, bytes.fromhex(claim.derivation_id))
            assert view is not None
            ((_, body),) = derivations_of(snapshot, view.contribution)
            assert derivations.is_borne_out(snapshot, body)
            more = DataDerivation(
                body.contribution, body.map_root, ((body.sources[0][0], body.sources[0][1] + 1),)
            )
            assert not derivations.is_borne_out(snapshot, more)
        with coop["eve"].core.store.read() as snapshot:
            assert not derivations.is_borne_out(snapshot, body)
        everything = coop[WITNESS].data_derive(copy, dry_run=True)
        assert len(everything.sources) == 2


def test_a_claim_of_a_copy_of_a_copy_names_the_first_and_stands_on_it_alone(stage: Stage) -> None:
    coop = stage.coop
    stage.copy()
    coop.settle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(derivations, "derived_in", lambda *given: ((), ()))
        again = coop.add_text("maker", "again", noisy(noisy(TEXT), 33))
    coop.settle()
    claim = coop["ann"].data_derive(again)
    assert [source.contribution_id for source in claim.sources] == [stage.original]
    coop.settle()
    with coop["ben"].core.store.read() as snapshot:
        ((_, body),) = derivations_of(snapshot, bytes.fromhex(again))
        assert derivations.is_borne_out(snapshot, body)


def test_an_honest_receipt_that_followed_maps_stands_its_audit(stage: Stage) -> None:
    copy = stage.copy()
    stage.coop.settle()
    model = stage.model(copy)
    output = f"{words('ben', 50)} {' '.join(noisy(TEXT).split()[100:200])}"
    used = stage.coop["maker"].use(model, output.encode())
    stage.coop.settle()
    stage.coop["ann"].data_withdraw(stage.original)
    stage.coop.settle()
    with stage.coop["maker"].core.store.read() as snapshot:
        audited = audit_receipt(snapshot, bytes.fromhex(used.receipt_id))
    assert used.ppm == {stage.original: 666_667, copy: 333_333}
    assert (audited.findings, audited.missing) == ((), ())
