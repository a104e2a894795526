"""What evidence costs: the size of a span's proof, checking one, and computing a receipt again.

A home registers texts as one contribution of many documents, and records one receipt of many uses.
Each output is two verbatim pieces of the texts.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from openledger_node.api import Home, initialise, open_home, verify_file
from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.evidence import SpanProof, decode_evidence
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.payload import decode_payload
from openledger_node.node.audit_scopes import PastScopes
from openledger_node.node.auditing import audit_receipt
from openledger_node.node.core import no_progress
from scripts.benchmarks.laundering import texts_of_folder, texts_of_machine
from scripts.benchmarks.machine import this_machine

DEFAULT_USES: Final = 100
MIN_WORDS, MAX_WORDS = 12, 60
MAX_FILES_PROVED: Final = 100
REPEATS: Final = 5
SEED: Final = 11


@dataclass(frozen=True, slots=True)
class Figures:
    """Sizes in bytes, times in milliseconds."""

    documents: int
    text_bytes: int
    uses: int
    spans: int
    proof_bytes_median: float
    proof_bytes_most: int
    check_ms_median: float
    file_bytes_median: float
    verify_ms_median: float
    audit_ms: float


def _documents(texts: Path | None) -> list[str]:
    owned = texts_of_folder(texts) if texts is not None else texts_of_machine()
    return [b" ".join(item.tokens).decode() for item in owned]


def _outputs(documents: Sequence[str], uses: int, chance: random.Random) -> Iterator[str]:
    for _ in range(uses):
        pieces = []
        for _ in range(2):
            words = chance.choice(documents).split()
            start = chance.randrange(max(1, len(words) - MAX_WORDS))
            pieces.append(" ".join(words[start : start + chance.randint(MIN_WORDS, MAX_WORDS)]))
        yield "\n".join(pieces)


@contextmanager
def _home(documents: Sequence[str]) -> Iterator[tuple[Home, str, Path]]:
    """A home with the texts, a model trained on them, and a folder to write to."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "texts").mkdir()
        for number, text in enumerate(documents):
            (place / "texts" / f"{number:05}.txt").write_text(text)
        initialise(place / "home", name="bench")
        with open_home(place / "home") as home:
            added = home.data_add([place / "texts"], title="texts", share="all")
            assert added.contribution_id is not None
            model = home.model_register("bench", trained_on=[(added.contribution_id, 1)])
            yield home, model.model_id, place


def measure(documents: Sequence[str], uses: int) -> Figures:
    """The figures of one receipt over these texts."""
    with _home(documents) as (home, model, place):
        lines = [{"output": text} for text in _outputs(documents, uses, random.Random(SEED))]
        receipt = home.use_batch(model, lines).receipts[0].receipt_id
        home.epoch_close()
        proofs, check_ms = _checks(home, receipt)
        sizes, verify_ms = [], []
        for number in range(min(len(proofs), MAX_FILES_PROVED)):
            file = place / f"{number}.proof"
            home.prove(receipt, file, span=number)
            began = time.perf_counter()
            assert verify_file(file).valid
            verify_ms.append((time.perf_counter() - began) * 1e3)
            sizes.append(file.stat().st_size)
        began = time.perf_counter()
        with home.core.store.read() as snapshot:
            scopes = PastScopes(snapshot, no_progress, home.core)
            audited = audit_receipt(snapshot, bytes.fromhex(receipt), scopes=scopes)
        audit_ms = (time.perf_counter() - began) * 1e3
        assert audited.findings == ()
    return Figures(
        documents=len(documents),
        text_bytes=sum(len(text.encode()) for text in documents),
        uses=uses,
        spans=len(proofs),
        proof_bytes_median=statistics.median(proofs),
        proof_bytes_most=max(proofs),
        check_ms_median=check_ms,
        file_bytes_median=statistics.median(sizes),
        verify_ms_median=statistics.median(verify_ms),
        audit_ms=audit_ms,
    )


def _checks(home: Home, receipt: str) -> tuple[list[int], float]:
    """(the size of each span's proof, the median time of checking one)."""
    shown = home.show(receipt)
    with home.core.store.read() as snapshot:
        evidence = snapshot.payload(bytes.fromhex(shown.payload_commit or ""))
        outputs = snapshot.payload(bytes.fromhex(shown.body["output_root"]))
    assert evidence is not None and outputs is not None
    tokens = []
    for document in decode_payload(outputs).documents:
        text = canonical_text(document.data)
        tokens.append(text.tokens() if text is not None else [])
    sizes, seconds = [], []
    for branch in decode_evidence(evidence):
        event = home.show(branch.contribution_id.hex())
        commit = bytes.fromhex(event.payload_commit or "")
        account = bytes.fromhex(event.account_id)
        for span in branch.spans:
            sizes.append(len(encode(span)))
            seconds.append(_check_s(span, commit, account, tokens[span.output]))
    return sizes, statistics.median(seconds) * 1e3


def _check_s(span: SpanProof, commit: bytes, account: bytes, tokens: Sequence[bytes]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        assert span.verify(commit, account, tokens)
        best = min(best, time.perf_counter() - began)
    return best


def evidence(texts: Path | None, uses: int, json_file: Path | None) -> int:
    """The `evidence` command."""
    figures = measure(_documents(texts), uses)
    machine = this_machine(Path(tempfile.gettempdir()))
    print(machine.text())
    print()
    print("| figure | value |\n|---|---|")
    for name, value in asdict(figures).items():
        shown = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
        print(f"| {name.replace('_', ' ')} | {shown} |")
    if json_file is not None:
        document = {"machine": asdict(machine), **asdict(figures)}
        json_file.write_text(json.dumps(document, indent=2) + "\n")
        print(f"wrote {json_file}", file=sys.stderr)
    return 0
