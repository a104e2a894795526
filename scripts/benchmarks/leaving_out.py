"""Weights beside an exact model: what an n-gram model loses when contributors are left out.

The texts are divided among contributors, neighbours to one. The model predicts each token from the
up to seven before it, by counts over the texts of some of the contributors, backing off to shorter
contexts (T. Brants et al., "Large language models in machine translation", EMNLP 2007). For many
random halves of the contributors, the log-probability of an output under the model of that half is
set beside the sum of the weights that attribution gives to the half: the rank correlation of the
two, the mean over outputs, is the linear datamodelling score (S. Park et al., "TRAK", ICML 2023).
Nothing is estimated: counts are of every occurrence, and leaving out is adding up fewer of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from openledger_node.attribution.matching import IndexedScope, attribute_indexed
from openledger_node.attribution.segment import tokens_as_text
from scripts.benchmarks.corpora import Tokens, make_outputs
from scripts.benchmarks.figures import Figure

OUTPUTS: Final = 20
CONTRIBUTORS: Final = 50
HALVES: Final = 200
ORDER: Final = 8
BACK_OFF: Final = 0.4
UNSEEN: Final = 1e-9
SEED: Final = 31

Reals = NDArray[np.float64]


def owner_of(document: int, documents: int) -> int:
    """The contributor of a document: neighbours belong together."""
    return document * CONTRIBUTORS // documents


def counts(tokens: Tokens, scope: IndexedScope) -> tuple[Reals, Reals]:
    """(n-grams, contexts) by order, token and contributor.

    [order - 1, t] counts the `order` tokens that end with t; contexts leave out t itself. The
    context of one token is nothing, which stands as often as there are tokens.
    """
    owners = np.array([owner_of(n, len(scope.sources)) for n in range(len(scope.sources))])
    shape = ORDER, len(tokens), CONTRIBUTORS
    grams, contexts = np.zeros(shape), np.zeros(shape)
    sizes = np.zeros(CONTRIBUTORS)
    for view in scope.views:
        whole = view.segment.documents_at(np.frombuffer(view.segment.suffixes, np.uint32))
        sizes += np.bincount(owners[view.ranks[whole]], minlength=CONTRIBUTORS)
    known: dict[bytes, Reals] = {b"": sizes}

    def count(piece: Sequence[bytes]) -> Reals:
        text = tokens_as_text(piece)
        if text not in known:
            ranks = [view.places(text)[0] for view in scope.views]
            known[text] = np.bincount(owners[np.concatenate(ranks)], minlength=CONTRIBUTORS).astype(
                np.float64
            )
        return known[text]

    for at in range(len(tokens)):
        for order in range(1, min(ORDER, at + 1) + 1):
            found = count(tokens[at + 1 - order : at + 1])
            if not found.any():
                break  # nor does anything longer stand there
            grams[order - 1, at] = found
            contexts[order - 1, at] = count(tokens[at + 1 - order : at])
    return grams, contexts


def log_probability(grams: Reals, contexts: Reals, chosen: Reals) -> float:
    """Of all tokens under the model of the contributors whose entry in `chosen` is 1."""
    seen, before = grams @ chosen, contexts @ chosen
    total = 0.0
    longest = ORDER - 1 - np.argmax(seen[::-1] > 0, axis=0)
    at = np.arange(seen.shape[1])
    found = seen[longest, at]
    likely = np.where(found > 0, found / np.maximum(before[longest, at], 1.0), UNSEEN)
    total += float(np.log(likely).sum())
    return total + float(((ORDER - 1 - longest) * np.log(BACK_OFF) * (found > 0)).sum())


def rank_correlation(one: Reals, other: Reals) -> float:
    """Spearman's; values that are equal share the mean of their ranks."""
    ranks = []
    for values in (one, other):
        _, which, times = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(times) - (times - 1) / 2)[which])
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def datamodelling_score(texts: Sequence[Tokens], scope: IndexedScope) -> list[Figure]:
    """The score over OUTPUTS outputs; document n is the n-th source of the scope."""
    dice = random.Random(SEED)
    scores = []
    for output in make_outputs(texts, OUTPUTS, dice):
        grams, contexts = counts(output.tokens, scope)
        weights = np.zeros(CONTRIBUTORS)
        for span in attribute_indexed(output.tokens, scope).spans:
            weights[owner_of(span.source, len(scope.sources))] += span.length
        halves = []
        for _ in range(HALVES):
            half = np.zeros(CONTRIBUTORS)
            half[dice.sample(range(CONTRIBUTORS), CONTRIBUTORS // 2)] = 1
            halves.append(half)
        lost = np.array([log_probability(grams, contexts, half) for half in halves])
        scores.append(rank_correlation(np.array(halves) @ weights, lost))
    return [Figure("attribution", "linear datamodelling score", float(np.mean(scores)), "")]
