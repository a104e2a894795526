"""Contributions: which files become documents, what is shared, withdrawn, erased and read back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from openledger_node.api import Home
from openledger_node.ledger.errors import BadInput, Refused, UsageError
from openledger_node.ledger.payload import decode_payload
from openledger_node.node import corpus
from tests.kit.homes import WITNESS, Coop, Ready, words


@pytest.fixture
def home(coop: Coop) -> Home:
    return coop[WITNESS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two documents and one of everything that is left out."""
    place = tmp_path / "corpus"
    (place / "part").mkdir(parents=True)
    (place / "b.txt").write_text("Second one, in words.")
    (place / "part" / "a.txt").write_text("First one, in words.")
    (place / "empty.txt").write_text("")
    (place / ".hidden").write_text("secret")
    (place / ".git").mkdir()
    (place / ".git" / "config").write_text("secret")
    (place / "link.txt").symlink_to(place / "b.txt")
    (place / "loop").symlink_to(place)
    (place / "part" / "up").symlink_to(place / "part")
    os.mkfifo(place / "pipe")
    return place


def reasons(skipped: tuple[object, ...]) -> dict[str, str]:
    return {Path(item.path).name: item.reason for item in skipped}  # type: ignore[attr-defined]


def documents(home: Home, contribution: str) -> list[bytes]:
    commit = home.show(contribution).payload_commit
    assert commit is not None
    with home.core.store.read() as snapshot:
        data = snapshot.payload(bytes.fromhex(commit))
    assert data is not None
    return [document.data for document in decode_payload(data).documents]


# Which files.


def test_a_folder_becomes_documents_in_the_order_of_their_paths(home: Home, folder: Path) -> None:
    added = home.data_add([folder], title="Two", license="CC0-1.0")
    assert (added.documents, added.tokens) == (2, 8)
    assert added.bytes == added.size_bytes == 41
    assert reasons(added.skipped) == {
        "empty.txt": "it is empty",
        ".hidden": "it is hidden",
        ".git": "it is hidden",
        "link.txt": "it is a link",
        "loop": "it is a link",
        "up": "it is a link",
        "pipe": "it is not a regular file",
    }
    assert added.contribution_id is not None
    assert documents(home, added.contribution_id) == [
        b"Second one, in words.",
        b"First one, in words.",
    ]


def test_the_order_of_the_arguments_does_not_matter(home: Home, folder: Path) -> None:
    first = home.data_add([folder / "part" / "a.txt", folder / "b.txt"], title="x")
    assert first.contribution_id is not None
    assert documents(home, first.contribution_id)[0] == b"First one, in words."


@pytest.mark.parametrize("name", ["empty.txt", ".hidden", "pipe"])
def test_a_file_that_was_named_and_cannot_be_used_is_an_error(
    home: Home, folder: Path, name: str
) -> None:
    if name == ".hidden":
        assert home.data_add([folder / name], title="named, so wanted").documents == 1
        return
    with pytest.raises(UsageError) as caught:
        home.data_add([folder / name], title="x")
    assert caught.value.code == "bad_file"


def test_a_missing_path_is_an_error_and_a_named_link_is_left_out(home: Home, folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        home.data_add([folder / "missing"], title="x")
    assert caught.value.code == "bad_file"
    with pytest.raises(UsageError) as caught:
        home.data_add([folder / "link.txt"], title="x")
    assert caught.value.code == "nothing_to_register"
    assert "it is a link" in caught.value.message


def test_nothing_to_register_is_an_error_that_says_why(home: Home, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError) as caught:
        home.data_add([tmp_path / "nothing"], title="x")
    assert caught.value.code == "nothing_to_register"
    with pytest.raises(UsageError):
        home.data_add([], title="x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_in_a_folder_is_left_out(home: Home, folder: Path) -> None:
    (folder / "b.txt").chmod(0)
    added = home.data_add([folder], title="x")
    assert reasons(added.skipped)["b.txt"].startswith("unreadable")


def test_a_file_that_goes_away_meanwhile_is_left_out(
    home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def gone(path: Path) -> bytes:
        if path.name == "b.txt":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", gone)
    added = home.data_add([folder], title="x")
    assert (added.documents, reasons(added.skipped)["b.txt"]) == (
        1,
        "unreadable: Permission denied",
    )


def test_oversize_files_are_left_out_of_folders_and_refused_by_name(
    coop: Coop, folder: Path
) -> None:
    coop.shut()
    coop.write(f"{WITNESS}/node.toml", "[limits]\ndocument_bytes = 20\n")
    added = coop[WITNESS].data_add([folder], title="x")
    assert added.documents == 1
    assert "limits.document_bytes is 20" in reasons(added.skipped)["b.txt"]
    with pytest.raises(UsageError, match=r"document_bytes is 20"):
        coop[WITNESS].data_add([folder / "b.txt"], title="x")


def test_too_many_documents_or_bytes_are_refused(
    home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "MAX_DOCUMENTS", 1)
    with pytest.raises(UsageError, match="too many"):
        home.data_add([folder], title="x")
    monkeypatch.setattr(corpus, "MAX_DOCUMENTS", 2)
    monkeypatch.setattr(corpus, "MAX_CORPUS_BYTES", 40)
    with pytest.raises(UsageError, match="too many"):
        home.data_add([folder], title="x")
    assert home.data_list().contributions == ()


@pytest.mark.rule("T1", "T5")
@pytest.mark.parametrize(
    "content",
    [bytes(range(256)) * 40, b"\xff\xfe wrong", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\x80"],
    ids=["binary", "utf-16", "latin-1", "surrogate", "overlong"],
)
def test_what_is_not_text_is_kept_but_has_no_tokens(coop: Coop, content: bytes) -> None:
    path = coop.write("blob", content)
    added = coop[WITNESS].data_add([path], title="blob")
    assert (added.tokens, added.size_bytes) == (0, len(content))
    assert added.contribution_id is not None
    assert coop[WITNESS].data_show(added.contribution_id).media_type == "application/octet-stream"
    out = coop.place / "out"
    coop[WITNESS].data_get(added.contribution_id, out)
    assert (out / "document-0").read_bytes() == content


def test_documents_registered_before_are_left_out(home: Home, folder: Path) -> None:
    first = home.data_add([folder / "b.txt"], title="x")
    second = home.data_add([folder], title="y")
    assert second.documents == 1
    assert first.contribution_id is not None
    assert reasons(second.skipped)["b.txt"] == f"registered before in {first.contribution_id[:12]}"
    with pytest.raises(UsageError) as caught:
        home.data_add([folder / "b.txt"], title="z")
    assert caught.value.code == "nothing_to_register"


def test_an_erased_document_can_be_registered_again(home: Home, folder: Path) -> None:
    first = home.data_add([folder / "b.txt"], title="x")
    assert first.contribution_id is not None
    home.data_erase(first.contribution_id)
    again = home.data_add([folder / "b.txt"], title="x")
    assert again.contribution_id not in (None, first.contribution_id)


def test_a_dry_run_writes_nothing(home: Home, folder: Path) -> None:
    before = home.status()
    shown = home.data_add([folder], title="x", dry_run=True)
    assert (shown.contribution_id, shown.documents, shown.dry_run) == (None, 2, True)
    after = home.status()
    assert (after.events, after.payload_bytes) == (before.events, before.payload_bytes)
    with home.core.store.read() as snapshot:
        assert list(snapshot.payloads()) == []
    assert home.data_add([folder], title="x").documents == 2


def test_a_registration_that_the_rules_refuse_keeps_no_payload(home: Home, folder: Path) -> None:
    named = home.data_add([folder / "b.txt"], title="x").contribution_id
    assert named is not None
    with pytest.raises(Refused) as caught:
        home.data_add([folder / "part"], title="y", derived_from=[(named, 9_001)])
    assert caught.value.code == "C8"
    for title in ("", "x" * 513):
        with pytest.raises((BadInput, UsageError)):
            home.data_add([folder / "part"], title=title)
    with home.core.store.read() as snapshot:
        assert len(list(snapshot.payloads())) == 1


@pytest.mark.rule("P1")
def test_the_same_text_twice_has_two_commitments(coop: Coop) -> None:
    coop.join("alice")
    text = words("same", 40)
    first = coop.add_text(WITNESS, "same", text)
    second = coop.add_text("alice", "same", text)
    commits = {
        coop[WITNESS].show(first).payload_commit,
        coop["alice"].show(second).payload_commit,
    }
    assert len(commits) == 2


# Sharing.


def test_share_policies_are_shown_once_final_and_the_last_word_stands(stage: Ready) -> None:
    coop = stage.coop
    named = coop.add_text("alice", "letters", words("letter", 30), share="none")
    coop.settle()
    assert coop["bert"].data_show(named).share == "none"
    coop["alice"].data_share(named, [coop.ids["bert"], coop.ids["user"]])
    coop.settle()
    assert coop["bert"].data_show(named).share == ",".join(
        sorted((coop.ids["bert"], coop.ids["user"]))
    )
    coop["alice"].data_share(named, f"{coop.ids['bert']}, {coop.ids['bert'][:12]}")
    coop["alice"].data_share(named, "all")
    coop.settle()
    assert coop["bert"].data_show(named).share == "all"
    assert coop["bert"].data_show(named).payload == "held"


def test_a_share_policy_that_is_not_final_is_shown_beside_the_one_that_is(stage: Ready) -> None:
    coop = stage.coop
    named = coop.add_text("alice", "letters", words("letter", 30), share=[coop.ids["bert"]])
    shown = coop["alice"].data_show(named)
    assert (shown.share, shown.share_pending) == ("none", coop.ids["bert"])
    assert shown.names == {
        coop.ids["alice"]: coop["alice"].status().name,
        coop.ids["bert"]: coop["alice"].account_show(coop.ids["bert"]).account,
    }
    assert shown in coop["alice"].data_list().contributions
    coop.settle()
    shown = coop["alice"].data_show(named)
    assert (shown.share, shown.share_pending) == (coop.ids["bert"], None)
    coop["alice"].data_share(named, "all")
    shown = coop["alice"].data_show(named)
    assert (shown.share, shown.share_pending) == (coop.ids["bert"], "all")


def test_documents_that_are_not_text_are_named(home: Home, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("Words that anybody can read here.")
    (tmp_path / "latin-1.txt").write_bytes("W\xf6rter, die niemand so lesen kann".encode("latin-1"))
    added = home.data_add([tmp_path / "good.txt", tmp_path / "latin-1.txt"], title="mixed")
    assert [Path(name).name for name in added.not_text] == ["latin-1.txt"]


def test_nobody_else_shares_withdraws_or_erases_a_contribution(stage: Ready) -> None:
    other = stage.coop["bert"]
    for call in (
        lambda: other.data_share(stage.harbour, "all"),
        lambda: other.data_withdraw(stage.harbour),
        lambda: other.data_erase(stage.harbour),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == "OWN"
    assert other.data_show(stage.harbour).payload == "held"


def test_sharing_with_an_unknown_name_is_refused_before_anything_is_written(
    home: Home, folder: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        home.data_add([folder], title="x", share="everybody")
    assert caught.value.code == "unknown_id"
    assert home.data_list().contributions == ()


# Withdrawing and erasing.


def test_withdrawn_text_is_out_of_scope_from_the_next_snapshot(stage: Ready) -> None:
    coop = stage.coop
    output = words("harbour", 20).encode()
    coop["alice"].data_withdraw(stage.harbour, "no longer mine to give")
    assert coop["maker"].attribute(output, model=stage.model).ppm == {stage.harbour: 1_000_000}
    coop.settle()
    assert coop["maker"].attribute(output, model=stage.model).ppm == {}
    assert coop["maker"].data_show(stage.harbour).status == "withdrawn"


def test_an_erased_payload_is_gone_from_the_disk_after_compaction(coop: Coop) -> None:
    small = words("needle", 30)
    large = words("haystack", 60_000)
    home = coop[WITNESS]
    named = [coop.add_text(WITNESS, "small", small), coop.add_text(WITNESS, "large", large)]
    home.epoch_close()
    for item in named:
        home.data_erase(item, "asked to")
        assert home.data_show(item).payload == "erased"
        with pytest.raises(Refused) as caught:
            home.data_get(item, coop.place / "out")
        assert caught.value.code == "no_payload"
    home.compact()
    home = coop.reopen(WITNESS)
    for path in (coop.place / WITNESS).rglob("*"):
        if path.is_file():
            found = path.read_bytes()
            assert b"needle7" not in found, path
            assert b"haystack7" not in found, path
    assert not [path for path in (coop.place / WITNESS / "payloads").rglob("*") if path.is_file()]
    home.epoch_close()
    assert [home.data_show(item).status for item in named] == ["erased", "erased"]


def test_erasing_a_receipt_takes_its_outputs_and_evidence_away(stage: Ready) -> None:
    used = stage.use(words("harbour", 20), 10)
    maker = stage.coop["maker"]
    event = maker.show(used.receipt_id)
    assert event.payload == "held"
    maker.data_erase(used.receipt_id)
    assert maker.show(used.receipt_id).payload == "erased"
    with maker.core.store.read() as snapshot:
        assert snapshot.is_erased(bytes.fromhex(event.body["output_root"]))
    stage.coop.settle()
    assert stage.coop.balances()["alice"].balance_micro > 0


# Reading back.


def test_documents_are_written_into_a_new_folder_in_corpus_order(coop: Coop) -> None:
    place = coop.place / "many"
    place.mkdir()
    for number in range(11):
        (place / f"{number:02}.txt").write_text(f"text number {number}")
    added = coop[WITNESS].data_add([place], title="many")
    assert added.contribution_id is not None
    out = coop.place / "deep" / "out"
    done = coop[WITNESS].data_get(added.contribution_id, out)
    assert done.size_bytes == added.size_bytes
    names = sorted(path.name for path in out.iterdir())
    assert names[0] == "document-00"
    assert [(out / name).read_text() for name in names] == [f"text number {n}" for n in range(11)]
    with pytest.raises(UsageError, match="exists already"):
        coop[WITNESS].data_get(added.contribution_id, out)


def test_a_payload_that_is_not_held_says_how_to_get_it(coop: Coop) -> None:
    coop.join("alice")
    named = coop.add_text("alice", "private", words("private", 30), share="none")
    coop.carry("alice", WITNESS)
    with pytest.raises(Refused, match="not held here") as caught:
        coop[WITNESS].data_get(named, coop.place / "out")
    assert caught.value.code == "no_payload"
    assert not (coop.place / "out").exists()


def test_lists_show_everything_or_one_account(stage: Ready) -> None:
    coop = stage.coop
    assert {item.title for item in coop["user"].data_list().contributions} == {"harbour", "bakers"}
    (only,) = coop["user"].data_list(coop.ids["alice"]).contributions
    assert (only.title, only.license, only.status, only.epoch) == (
        "harbour",
        "CC-BY-4.0",
        "final",
        1,
    )


def test_datanets_count_their_final_contributions(coop: Coop) -> None:
    home = coop[WITNESS]
    net = home.datanet_create("verse", "poems of all kinds", "CC-BY-4.0")
    coop.add_text(WITNESS, "one", words("one", 30), datanet=net.datanet_id)
    assert home.datanet_show(net.datanet_id[:10]).contributions == 0
    home.epoch_close()
    (shown,) = home.datanet_list().datanets
    assert (shown.contributions, shown.license_policy, shown.status) == (1, "CC-BY-4.0", "final")


@pytest.mark.rule("C9")
def test_a_model_over_a_datanet_stands_for_what_was_final_when_it_came(coop: Coop) -> None:
    home = coop[WITNESS]
    net = home.datanet_create("verse")
    first = coop.add_text(
        WITNESS, "one", words("one", 30), datanet=net.datanet_id, license="CC0-1.0"
    )
    model = home.model_register("m", trained_on=[(net.datanet_id, 1)], license="MIT")
    assert home.status().epoch == 1
    home.epoch_close()
    later = coop.add_text(WITNESS, "two", words("two", 30), datanet=net.datanet_id)
    home.epoch_close()
    output = f"{words('one', 20)} {words('two', 20)}".encode()
    found = home.attribute(output, model=model.model_id)
    assert found.ppm == {first: 500_000}
    assert later not in found.ppm
    assert "CC0-1.0" in home.model_show(model.model_id).effective_licences


def test_weights_and_cards_are_digested_not_kept(coop: Coop) -> None:
    weights = coop.write("weights.bin", b"w" * 3_000_000)
    card = coop.write("card.json", "{}")
    model = coop[WITNESS].model_register("m", weights_files=[weights])
    import hashlib

    assert model.digests == (hashlib.sha256(b"w" * 3_000_000).hexdigest(),)
    agent = coop[WITNESS].agent_register(
        "helper", card=card, models=[model.model_id], capabilities=["search"]
    )
    assert agent.card_digest == hashlib.sha256(b"{}").hexdigest()
    assert (agent.capabilities, agent.models) == (("search",), (model.model_id,))
    assert coop[WITNESS].agent_list().agents[0].agent_id == agent.agent_id
    for call in (
        lambda: coop[WITNESS].model_register("m", weights_files=[coop.place / "missing"]),
        lambda: coop[WITNESS].agent_register("a", card=coop.place / "missing"),
        lambda: coop[WITNESS].agent_register("a", card=coop.write("empty", "")),
        lambda: coop[WITNESS].agent_register("a", card=Path("/dev/zero")),
        lambda: coop[WITNESS].model_register("m", weights_files=[Path("/dev/zero")]),
        lambda: coop[WITNESS].model_register("m", weights_files=[coop.place]),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.code == "bad_file"


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda home: home.model_register(""), "the name is empty"),
        (lambda home: home.datanet_create("x" * 2_000), "the name is too long"),
        (lambda home: home.datanet_create("a", "x" * 20_000), "bytes"),
        (lambda home: home.datanet_create("bad\udcff"), "not UTF-8"),
    ],
)
def test_text_that_does_not_fit_is_the_user_s_to_mend(
    home: Home, register: Callable[[Home], object], message: str
) -> None:
    before = home.status().events
    with pytest.raises(UsageError, match=message) as caught:
        register(home)
    assert caught.value.hint
    assert "asked" not in caught.value.hint
    assert home.status().events == before
