"""Makes the vectors beside it, from fixed keys: `python -m tests.vectors.make`.

Each file is one JSON object: `what` says what it pins, the other members are the cases; bytes are
lower-case hex. `ed25519.json` is published data, written down by hand, and is not made here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger import accounts, events, forks, genesis, heads, merkle
from openledger_node.ledger.encoding import H, encode, signing_bytes
from openledger_node.ledger.keys import SigningKey

FOLDER: Final = Path(__file__).resolve().parent
TIME_MS: Final = 1_700_000_000_000
TREE_SIZES: Final = (0, 1, 2, 3, 4, 5, 7, 8, 9)


def digest(*names: object) -> bytes:
    """32 bytes that follow from names."""
    return hashlib.sha256("/".join(map(str, names)).encode()).digest()


def key(*names: object) -> SigningKey:
    """The secret key whose seed follows from names."""
    return SigningKey(digest("key", *names))


def roots(generation: int, count: int = 2) -> list[SigningKey]:
    """The root keys of a generation of the account in these vectors."""
    return [key("root", generation, index) for index in range(count)]


def raws(keys: list[SigningKey]) -> tuple[bytes, ...]:
    return tuple(k.public.raw for k in keys)


def inception() -> accounts.Inception:
    """Two root keys, both needed; the next generation has two as well."""
    return accounts.Inception(
        1, raws(roots(0)), 2, accounts.next_commitment(raws(roots(1)), 2), digest("salt")[:16]
    )


def signed(kind: type[Any], so_far: list[Any], generation: int, ledger_id: bytes) -> Any:
    """A key event, signed by all root keys of a generation."""
    plain = [_listed(part) for part in so_far]
    return kind(
        *so_far, accounts.root_signatures(ledger_id, plain, list(enumerate(roots(generation))))
    )


def _listed(part: Any) -> Any:
    return [_listed(item) for item in part] if isinstance(part, tuple) else part


def chain(ledger_id: bytes) -> list[Any]:
    """create, add_device, rotate, retire_device of one account."""
    account = inception().account_id
    first, second = key("device", 0), key("device", 1)
    made: list[Any] = []

    def consent(device: SigningKey) -> bytes:
        return accounts.device_signature(device, ledger_id, account)

    def add(kind: type[Any], generation: int, *parts: Any) -> None:
        previous = accounts.key_event_digest(made[-1]) if made else None
        made.append(signed(kind, [account, len(made), previous, *parts], generation, ledger_id))

    add(accounts.AccountCreate, 0, inception(), first.public.raw, consent(first))
    add(accounts.AccountAddDevice, 0, second.public.raw, consent(second))
    next_next = accounts.next_commitment(raws(roots(2)), 2)
    add(accounts.AccountRotate, 1, raws(roots(1)), 2, next_next)
    add(accounts.AccountRetireDevice, 1, second.public.raw, ((digest("log"), 7),))
    return made


def document() -> genesis.Genesis:
    """A genesis of one seat and one issuer."""
    account = inception().account_id
    return genesis.Genesis(
        1,
        "vectors",
        digest("ledger")[:16],
        genesis.RULES_VERSION,
        genesis.solo_params(account),
        ((inception(), key("device", 0).public.raw),),
        ((account, 1_000_000_000_000),),
    )


def log_genesis() -> events.LogGenesis:
    device = key("device", 0).public.raw
    return events.LogGenesis(
        1, document().ledger_id, inception().account_id, device, digest("nonce")[:16], None
    )


def history(length: int, twist: int | None = None) -> list[bytes]:
    """Leaves of the log of `log_genesis`; from index `twist` on they are another history's."""
    leaves = [events.encode_event(0, "log.open", TIME_MS, log_genesis())]
    for seq in range(1, length):
        note = "other" if twist is not None and seq >= twist else "one"
        body = [digest("to"), seq, note]
        leaves.append(events.encode_event(seq, "money.issue", TIME_MS + seq, body))
    return leaves


def signed_head(leaves: list[bytes]) -> heads.VerifiedHead:
    return heads.sign_head(key("device", 0), log_genesis(), len(leaves), merkle.root(leaves))


def fork(common: int = 3, left: int = 5, right: int = 8) -> forks.ForkEvidence:
    """Two histories that part at `common`."""
    one, other = history(left), history(right, twist=common)
    evidence = forks.prove_fork(
        signed_head(one), merkle.leaf_hashes(one), signed_head(other), merkle.leaf_hashes(other)
    )
    assert evidence is not None
    return evidence


def encoding_vectors() -> dict[str, Any]:
    integers = [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53, 2**63, 2**64 - 1]
    integers += [-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -(2**63)]
    texts = ["", "a", "x" * 31, "x" * 32, "x" * 255, "x" * 256, "\u00e9\u4e2d\U0001f600"]
    binaries = [b"", b"\0", bytes(255), bytes(256)]
    arrays: list[Any] = [[], [1, [2, None]], list(range(15)), list(range(16))]
    return {
        "what": "E1, E2: a value and its only encoding",
        "integers": [{"value": str(n), "encoded": encode(n).hex()} for n in integers],
        "texts": [{"value": text, "encoded": encode(text).hex()} for text in texts],
        "binaries": [{"value": raw.hex(), "encoded": encode(raw).hex()} for raw in binaries],
        "arrays": [{"value": items, "encoded": encode(items).hex()} for items in arrays],
        "nil": encode(None).hex(),
    }


def hash_vectors() -> dict[str, Any]:
    parts: list[list[Any]] = [[], [1], [b"\1\2", "text", None], [[1, [b""]], 2**40]]
    return {
        "what": "E3: H(what, parts) = SHA-256(signing bytes)",
        "cases": [
            {
                "what": what,
                "parts_encoded": encode(items).hex(),
                "signing_bytes": signing_bytes(what, *items).hex(),
                "hash": H(what, *items).hex(),
            }
            for what in ("account", "event")
            for items in parts
        ],
    }


def leaf_vectors() -> dict[str, Any]:
    log_id = log_genesis().log_id
    return {
        "what": "L1, L3, L4: leaves of a log, their hashes and event ids",
        "log_genesis": encode(log_genesis()).hex(),
        "log_id": log_id.hex(),
        "leaves": [
            {
                "seq": seq,
                "leaf": leaf.hex(),
                "leaf_hash": merkle.leaf_hash(leaf).hex(),
                "event_id": events.event_id(log_id, seq, leaf).hex(),
            }
            for seq, leaf in enumerate(history(4))
        ],
    }


def root_vectors() -> dict[str, Any]:
    return {
        "what": "RFC 6962 roots over the leaves b'', b'\\x00', b'\\x01', ... (the RFC's tree hash)",
        "roots": [{"size": size, "root": merkle.root(_tree(size)).hex()} for size in TREE_SIZES],
    }


def _tree(size: int) -> list[bytes]:
    return [bytes([index - 1]) if index else b"" for index in range(size)]


def head_vectors() -> dict[str, Any]:
    signed = signed_head(history(4)).signed
    device = key("device", 0)
    return {
        "what": "L5: a head, the text its signature covers, its wire form and its C2SP note",
        "device_seed": device.seed.hex(),
        "device_key": device.public.raw.hex(),
        "log_id": signed.log_id.hex(),
        "size": signed.size,
        "root": signed.root.hex(),
        "checkpoint": heads.checkpoint_text(signed.log_id, signed.size, signed.root).decode(),
        "signature": signed.signature.hex(),
        "wire": encode(signed).hex(),
        "note": heads.to_note(signed, device.public.raw),
    }


def proof_vectors() -> dict[str, Any]:
    sizes = [size for size in TREE_SIZES if size]
    hashes = {size: merkle.leaf_hashes(_tree(size)) for size in sizes}
    inclusion = [
        {"size": size, "index": i, "path": _hexes(merkle.inclusion_proof(hashes[size], i))}
        for size in sizes
        for i in range(size)
    ]
    consistency = [
        {"old": m, "new": n, "path": _hexes(merkle.consistency_proof(hashes[n], m))}
        for n in sizes
        for m in range(1, n)
    ]
    return {
        "what": "RFC 6962 inclusion and consistency paths over the leaves of root.json",
        "inclusion": inclusion,
        "consistency": consistency,
    }


def _hexes(path: Any) -> list[str]:
    return [node.hex() for node in path]


def fork_vectors() -> dict[str, Any]:
    evidence = fork()
    return {
        "what": "L6, L7: two histories of one log that part at `common`, and the proof of it",
        "common": evidence.common,
        "left": [leaf.hex() for leaf in history(5)],
        "right": [leaf.hex() for leaf in history(8, twist=3)],
        "evidence": encode(evidence).hex(),
    }


def key_chain_vectors() -> dict[str, Any]:
    ledger_id = document().ledger_id
    names = {shape: kind for kind, shape in accounts.KEY_EVENT_KINDS.items()}
    return {
        "what": "K3, K4: an inception and the chain of key events of its account",
        "ledger_id": ledger_id.hex(),
        "root_seeds": [[k.seed.hex() for k in roots(g)] for g in range(3)],
        "device_seeds": [key("device", i).seed.hex() for i in range(2)],
        "inception": encode(inception()).hex(),
        "account_id": inception().account_id.hex(),
        "events": [
            {
                "kind": names[type(event)],
                "body": encode(event).hex(),
                "digest": accounts.key_event_digest(event).hex(),
            }
            for event in chain(ledger_id)
        ],
    }


def genesis_vectors() -> dict[str, Any]:
    return {
        "what": "G1, G2: a genesis document and its ledger id",
        "genesis": encode(document()).hex(),
        "ledger_id": document().ledger_id.hex(),
        "params": encode(document().params).hex(),
        "quorums": {str(n): genesis.quorum(n) for n in range(1, genesis.MAX_SEATS + 1)},
    }


MAKERS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "encoding": encoding_vectors,
    "hash": hash_vectors,
    "leaf": leaf_vectors,
    "root": root_vectors,
    "head": head_vectors,
    "proofs": proof_vectors,
    "fork": fork_vectors,
    "key_chain": key_chain_vectors,
    "genesis": genesis_vectors,
}


def text_of(name: str) -> str:
    """The file's content as it should be."""
    return json.dumps(MAKERS[name](), indent=1, ensure_ascii=True) + "\n"


def load(name: str) -> dict[str, Any]:
    """The vectors as they are on disk."""
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text("ascii"))
    return loaded


def main() -> None:
    for name in MAKERS:
        (FOLDER / f"{name}.json").write_text(text_of(name), "ascii")


if __name__ == "__main__":
    main()
