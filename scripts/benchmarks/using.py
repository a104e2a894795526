"""Recording uses on a home with mixed events: `record_use` one by one, and `use_batch`.

What attribution takes (finding the spans of an output) is measured apart and left out: it depends
on the texts, not on the ledger. Everything else counts: ids, rules, payloads, the durable, signed
receipt. The model was trained on one short text, and every output quotes a part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from openledger_node import open_home
from openledger_node.api import Home
from openledger_node.node import batches, uses
from scripts.benchmarks.figures import Figure
from scripts.benchmarks.mixed import parties_of
from scripts.benchmarks.works import MIXED_HOME, Scale

MAX_SINGLE_USES: Final = 200
MAX_BATCH_USES: Final = 2_000
MAX_SECONDS: Final = 10.0
FEE_MICRO: Final = 1_000
TEXT: Final = (
    "the keeper of the light writes down each ship that passes and the hour of its passing so that "
    "whoever comes after can tell which vessels were seen and which were lost in the long winter "
    "storms that close the northern harbours from the first frost until the ice breaks in spring"
)
QUOTED_WORDS: Final = 24


class Attribution:
    """The seconds spent in attribution, taken where the two ways of recording call it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        timed = self._timed(uses.attribute_one)
        for module in (uses, batches):
            setattr(module, "attribute_one", timed)  # noqa: B010

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - began

        return timed

    def without(self, action: Callable[[], object]) -> float:
        """The seconds that `action` took, less those of attribution."""
        before, began = self.seconds, time.perf_counter()
        action()
        return time.perf_counter() - began - (self.seconds - before)


def recording(scale: Scale) -> list[Figure]:
    place = scale.home(MIXED_HOME)
    grant = parties_of(place).grant.hex()
    singles = max(10, min(MAX_SINGLE_USES, scale.events // 10))
    with open_home(place) as home:
        model = _model(home, scale.place)
        home.record_use(model, _output(0), grant_id=grant, fee_micro=FEE_MICRO)
        attribution = Attribution()
        done, seconds = 0, 0.0
        while done < singles and seconds < MAX_SECONDS:
            use = partial(home.record_use, model, _output(done), (), grant, FEE_MICRO)
            seconds += attribution.without(use)
            done += 1
        several = max(10, min(MAX_BATCH_USES, scale.events, int(done / seconds * MAX_SECONDS)))
        batch = [
            {"output": _output(index), "grant": grant, "fee_micro": FEE_MICRO}
            for index in range(several)
        ]
        batch_s = attribution.without(partial(home.use_batch, model, batch))
    return [
        Figure("uses", "record_use", done / seconds, "uses/s"),
        Figure("uses", "use_batch", several / batch_s, "uses/s"),
    ]


def _output(index: int) -> str:
    """A short answer that quotes the text from some place on."""
    words = TEXT.split()
    start = index % (len(words) - QUOTED_WORDS)
    return f"Answer {index}: " + " ".join(words[start : start + QUOTED_WORDS])


def _model(home: Home, place: Path) -> str:
    """A model trained on one text that this home holds; both final."""
    text = place / "notes.txt"
    text.write_text(f"{TEXT}\n{time.time_ns()}\n", encoding="utf-8")
    added = home.data_add([text], title="Notes", license="CC-BY-4.0")
    assert added.contribution_id is not None
    model = home.model_register("answers", trained_on=[(added.contribution_id, 1)])
    home.epoch_close()
    return model.model_id
