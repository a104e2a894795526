"""The exact n-gram model behind the benchmark: counts, back-off, ranks, and what they correlate."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.matching import IndexedScope
from openledger_node.attribution.segment import build_segment
from scripts.benchmarks import leaving_out
from scripts.benchmarks.indexing_run import scope_over, searchable_texts
from scripts.benchmarks.leaving_out import (
    BACK_OFF,
    UNSEEN,
    counts,
    datamodelling_score,
    log_probability,
    owner_of,
    rank_correlation,
)


def held(texts: list[str]) -> IndexedScope:
    return scope_over([build_segment(list(searchable_texts([text.encode() for text in texts])))])


def test_neighbours_belong_to_one_contributor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving_out, "CONTRIBUTORS", 2)
    assert [owner_of(n, 5) for n in range(5)] == [0, 0, 0, 1, 1]


def test_n_grams_are_counted_for_each_contributor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving_out, "CONTRIBUTORS", 2)
    grams, contexts = counts([b"a", b"b", b"x", b"b"], held(["a b a b", "b a"]))
    assert grams[0].tolist() == [[2, 1], [2, 1], [0, 0], [2, 1]]
    assert contexts[0].tolist() == [[4, 2], [4, 2], [0, 0], [4, 2]]
    assert grams[1].tolist() == [[0, 0], [2, 0], [0, 0], [0, 0]]
    assert contexts[1, 1].tolist() == [2, 1]


def test_the_model_backs_off_to_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving_out, "CONTRIBUTORS", 2)
    monkeypatch.setattr(leaving_out, "ORDER", 2)
    grams, contexts = counts([b"a", b"b", b"x"], held(["a b a b", "b a"]))
    both = log_probability(grams, contexts, np.array([1.0, 1.0]))
    assert both == pytest.approx(math.log(BACK_OFF * 3 / 6) + math.log(2 / 3) + math.log(UNSEEN))
    second = log_probability(grams, contexts, np.array([0.0, 1.0]))
    assert second == pytest.approx(2 * math.log(BACK_OFF * 1 / 2) + math.log(UNSEEN))


def test_ranks_correlate_whatever_the_values() -> None:
    rising = np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(rising, rising**3) == pytest.approx(1)
    assert rank_correlation(rising, -rising) == pytest.approx(-1)
    assert rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 3.0, 4.0])) == pytest.approx(
        math.sqrt(3) / 2
    )


def test_weights_follow_what_the_model_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving_out, "CONTRIBUTORS", 6)
    monkeypatch.setattr(leaving_out, "OUTPUTS", 2)
    monkeypatch.setattr(leaving_out, "HALVES", 20)
    dice = random.Random(8)
    texts = [" ".join(f"w{dice.randrange(500)}" for _ in range(400)) for _ in range(6)]
    tokens = [text.tokens() for each in texts if (text := canonical_text(each.encode()))]
    (figure,) = datamodelling_score(tokens, held(texts))
    assert figure.value > 0.9
