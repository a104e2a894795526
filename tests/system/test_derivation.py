"""A copy between two machines: reported where it is registered, and its uses pay the original."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.daemons import Town

WORDS = [f"word{index}" for index in range(600)]
COPY = [f"edit{index}" if index % 20 == 3 else word for index, word in enumerate(WORDS)]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with Town(tmp_path) as made:
        made.begin("ana")
        made.join("bo")
        yield made


def oln(town: Town, name: str, *words: str) -> Any:
    answer = town.oln(name, "--json", *words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


def held(town: Town, name: str, event_id: str) -> bool:
    """Whether a home has an event and its payload."""
    with town.home(name) as home:
        found = home.log(limit=None).events
        return any(item.event_id == event_id and item.payload == "held" for item in found)


@pytest.mark.rule("R3")
def test_a_copy_is_reported_where_it_is_added_and_its_uses_pay_the_original(town: Town) -> None:
    for name, text in (("poem", WORDS), ("copy", COPY), ("answer", COPY[100:200])):
        (town.place / f"{name}.txt").write_text(" ".join(text))
    town.start("ana")
    town.start("bo", "ana")
    poem, copy, answer = (str(town.place / f"{name}.txt") for name in ("poem", "copy", "answer"))
    original = oln(town, "ana", "data", "add", poem, "--title", "Poem", "--share", "all")
    oln(town, "ana", "epoch", "close")
    named = original["contribution_id"]
    town.until(lambda: held(town, "bo", named), "the poem")

    said = town.oln("bo", "data", "add", copy, "--title", "Copy", "--share", "all", "--dry-run")
    assert "99.3 % of this contribution derives from Poem" in said.stdout
    added = oln(town, "bo", "data", "add", copy, "--title", "Copy", "--share", "all")
    assert [source["contribution_id"] for source in added["derived"]] == [named]
    town.until(lambda: added["derivation_id"] in town.events("ana"), "the derivation")
    oln(town, "ana", "epoch", "close")
    for key in ("derivation_id", "contribution_id"):
        town.until(lambda wanted=added[key]: held(town, "ana", wanted), "the copy and its map")
    model = oln(town, "ana", "model", "register", "m", "--trained-on", added["contribution_id"])
    used = oln(town, "ana", "use", model["model_id"], "--output", answer)
    assert used["ppm"] == {named: 1_000_000}
    oln(town, "ana", "epoch", "close")
    explained = town.oln("ana", "explain", used["receipt_id"]).stdout
    assert "100 tokens found in Copy" in explained
