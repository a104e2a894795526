"""Makes the vectors of payloads and attribution: `python -m tests.vectors.make_attribution`.

Each file is one JSON object: `what` says what it pins, the other members are the cases; bytes are
lower-case hex. Long documents are given as a unit and how often it is repeated.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from openledger_node.attribution.canon import canonical_text
from openledger_node.attribution.evidence import Branch, encode_evidence, prove_span
from openledger_node.attribution.leaves import cut_document
from openledger_node.attribution.reference import Attribution, attribute
from openledger_node.attribution.scope import Scope, ScopeDocument, make_scope
from openledger_node.attribution.weights import count_tokens, weigh
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.payload import Payload, PayloadDocument, decode_payload, encode_payload
from openledger_node.ledger.payload_proofs import PayloadLeafProof, prove_leaf
from tests.attribution.texts import EDGES, NOT_UTF8, SCRIPTS

FOLDER: Final = Path(__file__).resolve().parent

LONG_RUNS: Final = {
    "a run of 64 bytes": "a" * 64,
    "a run of 65 bytes": "A" * 65,
    "a run of 129 bytes": "a" * 129,
    "two bytes at the cut": "a" + "é" * 32,
    "three bytes at the cut": "한" * 22,
    "runs beside single tokens": "天" + "b" * 66 + "地",
}

VERSE: Final = "the ledger is signed and the signed ledger is kept by everyone who keeps it"
LICENCE: Final = "permission is hereby granted free of charge to any person obtaining a copy"
HAN: Final = "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往"

# name: (contributions, each a list of documents; which of them are common text; outputs)
CASES: Final[dict[str, tuple[list[list[str]], list[int], list[str]]]] = {
    "an output without tokens": ([[VERSE]], [], ["...", ""]),
    "nothing in common": ([[VERSE]], [], ["seven words are never enough for this"]),
    "seven words": ([[VERSE]], [], [" ".join(VERSE.split()[:7])]),
    "eight words": ([[VERSE]], [], ["so " + " ".join(VERSE.split()[3:11]).upper() + "!"]),
    "sixteen characters": ([[HAN]], [], [HAN[:16], HAN[2:17]]),
    "words and characters": ([["a b c d" + HAN[:8]]], [], ["a, b, c, d: " + HAN[:8]]),
    "the earlier of two owners": ([["before it " + VERSE], [VERSE]], [], [VERSE]),
    "the earlier document and token": ([["x", f"x {VERSE} . {VERSE}", VERSE]], [], [VERSE]),
    "the longer match": ([[" ".join(VERSE.split()[:10])], [VERSE[11:]]], [], [VERSE]),
    "a cut between two runs": (
        [[f"{VERSE} {LICENCE}"], [LICENCE]],
        [1],
        [f"{VERSE} {LICENCE} {VERSE}"],
    ),
    "a common text alone": ([[LICENCE]], [0], [LICENCE]),
    "periodic text": ([["la " * 9 + "le " + "la " * 12], ["la " * 14]], [], ["la " * 30]),
    "several outputs": ([[VERSE], [HAN]], [], [VERSE, "none", HAN + " " + VERSE]),
}


def digest(*names: object) -> bytes:
    """32 bytes that follow from names."""
    return hashlib.sha256("/".join(map(str, names)).encode()).digest()


def canon_vectors() -> dict[str, Any]:
    texts = {
        **{name: text.encode() for name, text in {**SCRIPTS, **LONG_RUNS}.items()},
        **NOT_UTF8,
        "empty": b"",
    }
    classes = {}
    for point in EDGES:
        if 0xD800 <= point <= 0xDFFF:
            continue
        found = canonical_text(chr(point).encode())
        assert found is not None
        classes[f"{point:04x}"] = found.weights.tolist()[0] if len(found) else 0
    return {
        "what": "T1 to T3: tokens as [token, start, end, weight], nil when not text; the weight "
        "of a text of one code point, 0 when it separates",
        "code_points": classes,
        "cases": [
            {"name": name, "data": data.hex(), "tokens": _tokens(data)}
            for name, data in texts.items()
        ],
    }


def _tokens(data: bytes) -> list[list[Any]] | None:
    text = canonical_text(data)
    if text is None:
        return None
    places = zip(text.starts.tolist(), text.ends.tolist(), text.weights.tolist(), strict=True)
    return [[token.hex(), *place] for token, place in zip(text.tokens(), places, strict=True)]


def leaves_vectors() -> dict[str, Any]:
    units: list[tuple[str, bytes, int]] = [
        ("empty", b"", 1),
        ("no tokens", b" .\n", 3),
        ("one token", b"one", 1),
        ("64 tokens", b"a ", 64),
        ("65 tokens", b"a ", 65),
        ("separators before the first token", b"   b", 130),
        ("one long run", b"x", 64 * 64 + 1),
        ("not text", b"\xff", 4_097),
        ("not text after much text", b"a " * 100 + b"\x80", 30),
        ("the largest leaf", b" ", 512 * 1_024),
        ("a leaf too large", b" ", 512 * 1_024 + 1),
        *((name, text.encode(), 30) for name, text in SCRIPTS.items()),
    ]
    cases = []
    for name, unit, times in units:
        cut = cut_document(unit * times)
        cases.append(
            {
                "name": name,
                "unit": unit.hex(),
                "times": times,
                "is_text": cut.is_text,
                "tokens": cut.tokens,
                "leaf_lengths": [len(leaf) for leaf in cut.slices],
            }
        )
    return {"what": "T4, T5: where documents are cut into leaves", "cases": cases}


def payload_of(account: bytes, *documents: bytes) -> Payload:
    """A payload for this account, with salts that follow from the documents' places."""
    cuts = [cut_document(data) for data in documents]
    return Payload(
        1,
        account,
        tuple(
            PayloadDocument(digest("salt", index), cut.slices, cut.tokens)
            for index, cut in enumerate(cuts)
        ),
    )


def payload_vectors() -> dict[str, Any]:
    groups: dict[str, list[bytes]] = {
        "no documents": [],
        "an empty document": [b""],
        "one leaf": [b"one"],
        "text of three leaves and a binary of two": [
            (VERSE + " ").encode() * 10,
            b"\xff" * 4_100,
            b"",
        ],
        "seven documents": [b"document %d" % n for n in range(7)],
    }
    cases = []
    for name, documents in groups.items():
        account = digest("account", name)
        payload = payload_of(account, *documents)
        places = [
            (d, i) for d, item in enumerate(payload.documents) for i in range(len(item.slices))
        ]
        cases.append(
            {
                "name": name,
                "account": account.hex(),
                "container": encode_payload(account, 1, payload.documents).hex(),
                "commit": payload.commit.hex(),
                "trees": [encode(tree).hex() for tree in payload.trees],
                "proofs": [_proof(prove_leaf(payload, d, i)) for d, i in places],
            }
        )
    return {"what": "P1 to P5: containers, what is committed of them, leaf proofs", "cases": cases}


def _proof(proof: PayloadLeafProof) -> str:
    return encode(proof).hex()


def scope_of(contributions: list[list[str]], commons: list[int]) -> Scope:
    """Contribution n has the id digest("contribution", n) and is n-th in ledger order."""
    documents = []
    for n, texts in enumerate(contributions):
        for index, text in enumerate(texts):
            read = canonical_text(text.encode())
            assert read is not None
            documents.append(
                ScopeDocument(
                    digest("contribution", n),
                    (n, b"", 0),
                    index,
                    digest("owner", n),
                    read.tokens(),
                    n in commons,
                )
            )
    return make_scope(documents)


def attribution_vectors() -> dict[str, Any]:
    cases = []
    for name, (contributions, commons, outputs) in CASES.items():
        scope = scope_of(contributions, commons)
        found = []
        for output in outputs:
            read = canonical_text(output.encode())
            assert read is not None
            found.append(attribute(read.tokens(), scope))
        counts, rest = count_tokens(found)
        orders = {digest("contribution", n): (n, b"", 0) for n in range(len(contributions))}
        weights = weigh(counts, rest, orders)
        cases.append(
            {
                "name": name,
                "contributions": contributions,
                "commons": commons,
                "outputs": [
                    {"text": output, **_result(result)}
                    for output, result in zip(outputs, found, strict=True)
                ],
                "weights": [[key.hex(), ppm] for key, ppm in weights.contributions],
                "unattributed_ppm": weights.unattributed_ppm,
            }
        )
    return {
        "what": "R1, R2, R4: spans as [start, length, contribution id, document, token], cuts as "
        "[start, end], weights in ppm; contributions in ledger order, the n-th with the id "
        "SHA-256('contribution/n')",
        "cases": cases,
        "evidence": _evidence(),
    }


def _result(found: Attribution) -> dict[str, Any]:
    return {
        "tokens": found.token_count,
        "spans": [
            [span.start, span.length, span.contribution_id.hex(), span.document, span.token]
            for span in found.spans
        ],
        "cuts": [list(cut) for cut in found.cuts],
    }


def _evidence() -> dict[str, Any]:
    """Two contributions of one document each, an output that draws on both, and the evidence."""
    texts = [" ".join(f"w{n}" for n in range(90)), (VERSE + ". ") * 2]
    scope = scope_of([[text] for text in texts], [])
    payloads = {
        digest("contribution", n): payload_of(digest("owner", n), t.encode())
        for n, t in enumerate(texts)
    }
    output = " ".join(f"w{n}" for n in range(60, 75)) + " then " + VERSE
    read = canonical_text(output.encode())
    assert read is not None
    spans = attribute(read.tokens(), scope).spans
    branches = [
        Branch(span.contribution_id, (prove_span(span, payloads[span.contribution_id]),))
        for span in spans
    ]
    salts = {key: digest("evidence", key.hex()) for key in payloads}
    data = encode_evidence(digest("provider"), branches, salts)
    return {
        "output": output,
        "accounts": {key.hex(): payload.account.hex() for key, payload in payloads.items()},
        "commits": {key.hex(): payload.commit.hex() for key, payload in payloads.items()},
        "span_proofs": [encode(branch.spans[0]).hex() for branch in branches],
        "provider": digest("provider").hex(),
        "payload": data.hex(),
        "payload_commit": decode_payload(data).commit.hex(),
    }


MAKERS: Final = {
    "canon": canon_vectors,
    "leaves": leaves_vectors,
    "payload": payload_vectors,
    "attribution": attribution_vectors,
}


def text_of(name: str) -> str:
    """The file's content as it should be."""
    return (
        json.dumps(MAKERS[name](), indent=None, ensure_ascii=True).replace("}, {", "},\n {") + "\n"
    )


def load(name: str) -> dict[str, Any]:
    """The vectors as they are on disk."""
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("ascii"))
    return loaded


def main() -> None:
    for name in MAKERS:
        (FOLDER / f"{name}.json").write_text(text_of(name), "ascii")


if __name__ == "__main__":
    main()
