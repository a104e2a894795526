"""`oln demo`: the whole story on real text, what it prints, and what it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openledger_node.api import initialise, open_home
from openledger_node.cli.demo import documents
from openledger_node.cli.demo.daemons import Daemons
from openledger_node.cli.demo.documents import Corpus, corpora, passages
from openledger_node.ledger.errors import Refused
from tests.system.processes import must, oln


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a demo that was kept, and its document."""
    folder = tmp_path_factory.mktemp("demo")
    return folder / "play", must("demo", "--keep", "play", folder=folder)


def test_the_story_goes_from_contribution_to_a_refused_forgery(kept: tuple[Path, Any]) -> None:
    steps = kept[1]["steps"]
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    told = " ".join(step["what"] for step in steps)
    for part in ("registered", "trained on", "issued", "granted", "answers", "closed epoch"):
        assert part in told
    assert "it holds" in steps[-2]["what"]
    assert "refused" in steps[-1]["what"]


def test_every_contributor_is_the_author_of_text_that_is_installed_here(
    kept: tuple[Path, Any],
) -> None:
    names = {corpus.name for corpus in corpora()}
    assert len(names) >= 2
    assert names <= {row["name"] for row in kept[1]["credits"]}


def test_the_contributors_are_paid_and_no_micro_credit_is_lost(kept: tuple[Path, Any]) -> None:
    document = kept[1]
    rows = document["credits"]
    earned = {row["name"]: row["earned_data_micro"] for row in rows}
    assert sum(1 for corpus in corpora() if earned[corpus.name] > 0) >= 2
    held = sum(row["balance_micro"] + row["locked_micro"] for row in rows)
    assert held + document["pool_micro"] == document["issued_micro"]


def test_the_shares_of_each_answer_are_whole(kept: tuple[Path, Any]) -> None:
    for receipt in kept[1]["receipts"]:
        assert sum(receipt["ppm"].values()) + receipt["unattributed_ppm"] == 1_000_000
        assert len(receipt["ppm"]) >= 2
        assert receipt["unattributed_ppm"] > 0


def test_the_homes_that_are_kept_agree_and_can_be_explored(kept: tuple[Path, Any]) -> None:
    folder, document = kept
    homes = sorted(place for place in folder.iterdir() if (place / "ledger").is_dir())
    assert len(homes) == document["identical_homes"]
    assert len({(home / "statement.oln").read_bytes() for home in homes}) == 1
    shown = must("--home", homes[0], "statement", folder=folder)
    assert shown["statement_root"] == document["statement_root"]


def test_every_home_ran_a_daemon_that_got_what_the_others_wrote_and_ended(
    kept: tuple[Path, Any],
) -> None:
    folder, document = kept
    logs = [place / "node.log" for place in folder.iterdir() if (place / "ledger").is_dir()]
    assert len(logs) == document["identical_homes"] >= 6
    for log in logs:
        lines = log.read_text()
        assert "daemon_began" in lines and "link_up" in lines
        assert "daemon_ended" in lines
        assert not (log.parent / "daemon.json").exists()
    told = " ".join(step["what"] for step in document["steps"])
    assert "byte for byte" in told and "TLS 1.3" in told


def test_a_daemon_that_cannot_run_ends_the_story_with_a_reason(tmp_path: Path) -> None:
    initialise(tmp_path / "ana", name="ana")
    (tmp_path / "ana" / "node.toml").write_text("[node]\nno_such_setting = 1\n")

    def opened(name: str) -> Any:
        return open_home(tmp_path / "good")

    initialise(tmp_path / "good", name="good")
    with Daemons(tmp_path, opened) as daemons:
        daemons.start("ana")
        with pytest.raises(Refused) as caught:
            daemons.address("ana")
        assert "no_such_setting" in caught.value.message
    assert len(daemons) == 0


def test_the_kept_proof_holds_and_the_kept_forgery_does_not(kept: tuple[Path, Any]) -> None:
    folder, _ = kept
    proofs = [file.name for file in folder.glob("*-credit.proof")]
    assert must("verify", proofs[0], "--ledger", "genesis.json", folder=folder)["valid"] is True
    assert oln("verify", "forged.proof", "--ledger", "genesis.json", folder=folder).status == 1


def test_a_folder_that_is_in_use_is_refused(kept: tuple[Path, Any]) -> None:
    answer = oln("--json", "demo", "--keep", "play", folder=kept[0].parent)
    assert answer.status == 3
    assert "not empty" in answer.error["message"]


def test_it_prints_a_story_for_people_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    answer = oln("demo", folder=tmp_path, variables={"TMPDIR": str(tmp_path / "temporary")})
    assert (answer.status, answer.err) == (0, "")
    for part in ("Who earned what", "Why, for one of them", "[C7]", "forged copy: refused"):
        assert part in answer.out
    assert list((tmp_path / "temporary").iterdir()) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "temporary"]


def test_the_documents_are_bounded_and_the_same_on_every_run() -> None:
    first = corpora()
    assert first == corpora()
    assert 2 <= len(first) <= documents.MAX_PACKAGES + 1
    for corpus in first:
        sizes = [len(text.encode()) for _, text in corpus.documents]
        assert sum(sizes) <= documents.MAX_CORPUS_BYTES
        assert max(sizes) <= documents.MAX_DOCUMENT_BYTES
        assert min(sizes) >= documents.MIN_DOCUMENT_BYTES
        assert len({name for name, _ in corpus.documents}) == len(sizes)
        assert all("/" not in name for name, _ in corpus.documents)


def test_a_package_that_is_missing_or_says_nothing_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(documents, "PACKAGES", ("no-such-package", "click"))
    assert [corpus.name for corpus in corpora()] == ["python", "click"]


def test_only_paragraphs_of_prose_are_quoted() -> None:
    prose = " ".join(["word"] * 30) + "."
    text = "\n\n".join(["too short", prose, " ".join(["=="] * 30), " ".join(["word"] * 80)])
    assert list(passages(Corpus("a", "A", "", (("a.txt", text),)))) == [prose]


def test_source_that_does_not_parse_has_no_docstrings() -> None:
    assert list(documents._docstrings(b"def broken(:")) == []
    assert list(documents._docstrings(b"\x00")) == []
