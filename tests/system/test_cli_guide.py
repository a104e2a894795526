"""The guide's walk, line by line, as real processes: two homes, one paid use, a proof."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.system.processes import ROOT, must, oln

GUIDE: Final = ROOT / "docs" / "guide" / "README.md"
NAMED_BY: Final = {
    "contribution_id": "CONTRIBUTION",
    "model_id": "MODEL",
    "grant_id": "GRANT",
    "receipt_id": "RECEIPT",
}
"""The key in an answer that gives the id for a word in capitals."""
SENTENCES: Final = (
    "the lighthouse keeper writes down every ship that passes the northern cape at night",
    "bread that rests for twelve hours in a cold room keeps its crust for several days",
)
OWN_WORDS: Final = "these nine words of mine stand in no handbook"


def guide_lines() -> Iterator[list[str]]:
    fenced = False
    for line in GUIDE.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced and line.startswith("oln "):
            yield shlex.split(line, comments=True)[1:]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder in which every line of the guide has run, and their answers by their words."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "docs").mkdir()
    for number, sentence in enumerate(SENTENCES):
        (folder / "docs" / f"page-{number}.md").write_text(sentence + ".\n")
    (folder / "answer.txt").write_text(f"{SENTENCES[0]}. {OWN_WORDS}. {SENTENCES[1]}.\n")
    ids: dict[str, str] = {}
    answers: dict[str, Any] = {}
    for words in guide_lines():
        filled = [ids.get(word, word) for word in words]
        document = must(*filled, folder=folder)
        answers[" ".join(words)] = document
        ids |= {word: document[key] for key, word in NAMED_BY.items() if document.get(key)}
        if "maker" in words and "init" in words:
            ids["MAKER"] = document["account_id"]
    return folder, answers | {"ids": ids}


def answer_of(walked: tuple[Path, dict[str, Any]], part: str) -> Any:
    found = [answer for line, answer in walked[1].items() if re.search(part, line)]
    assert found, part
    return found[-1]


def test_the_answer_is_attributed_as_counted_by_hand(walked: tuple[Path, dict[str, Any]]) -> None:
    """15 + 15 tokens of the handbook and 9 of the model's own: 30 of 39."""
    tokens = [len(sentence.split()) for sentence in SENTENCES]
    own = len(OWN_WORDS.split())
    of_all = sum(tokens) + own
    found = answer_of(walked, r"attribute answer\.txt")
    assert found["tokens"] == of_all
    share = sum(tokens) * 1_000_000 / of_all
    assert found["ppm"] == {walked[1]["ids"]["CONTRIBUTION"]: pytest.approx(share, abs=1)}
    assert sum(found["ppm"].values()) + found["unattributed_ppm"] == 1_000_000


def test_the_fee_of_ten_is_split_by_the_rules(walked: tuple[Path, dict[str, Any]]) -> None:
    """C5: 0.5 to the pool. C6: 9.5 by 4000, and 6000 to the model without an agent. C7: by ppm."""
    found = answer_of(walked, "founder credits")
    maker = next(row for row in found["accounts"] if row["account_id"] == walked[1]["ids"]["MAKER"])
    assert found["pool_micro"] == 500_000
    assert maker["earned_model_micro"] == 5_700_000
    shares = answer_of(walked, "maker use MODEL")
    ppm = shares["ppm"][walked[1]["ids"]["CONTRIBUTION"]]
    assert maker["earned_data_micro"] == pytest.approx(3_800_000 * ppm / 1_000_000, abs=1)
    assert maker["balance_micro"] == maker["earned_data_micro"] + maker["earned_model_micro"]


def test_no_micro_credit_is_lost(walked: tuple[Path, dict[str, Any]]) -> None:
    found = answer_of(walked, "founder credits")
    held = sum(row["balance_micro"] + row["locked_micro"] for row in found["accounts"])
    outside = found["pool_micro"] + found["escrow_micro"] + found["burned_micro"]
    assert held + outside == found["issued_micro"] == 100_000_000


def test_the_explanation_names_the_rules_of_the_split(
    walked: tuple[Path, dict[str, Any]],
) -> None:
    def rules(node: Any) -> set[str]:
        return {node["rule"]}.union(*(rules(child) for child in node["children"]))

    named = rules(answer_of(walked, "explain RECEIPT")["tree"])
    assert {"C5", "C6", "C7"} <= named


def test_the_proof_holds_and_a_changed_one_does_not(walked: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = walked
    assert answer_of(walked, "verify")["valid"] is True
    data = bytearray((folder / "maker-credit.proof").read_bytes())
    for place in (0, len(data) // 3, len(data) // 2, len(data) - 1):
        forged = bytearray(data)
        forged[place] ^= 1
        (folder / "forged.proof").write_bytes(forged)
        answer = oln("--json", "verify", "forged.proof", "--ledger", "genesis.json", folder=folder)
        assert answer.status == 1, place
        assert answer.document.get("valid") is False or answer.error["code"]


def test_every_home_reaches_the_same_statement(walked: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = walked
    must("--home", "founder", "bundle", "export", "last.bundle", folder=folder)
    must("--home", "maker", "bundle", "import", "last.bundle", folder=folder)
    for name in ("founder", "maker"):
        must("--home", name, "statement", "--export", f"{name}.oln", folder=folder)
    assert (folder / "founder.oln").read_bytes() == (folder / "maker.oln").read_bytes()
