"""Portable proof files: what a stranger needs to check an event, a credit row or a fork.

    ["oln-proof/1", what, genesis, parts]

- `event`: `[log genesis, head, seq, leaf, path, key events, finality | nil]`: the device signed a
  history that holds the event, and the account's root keys enrolled the device; finality adds the
  log's mark in a cut, the event's path under that mark, and the witnesses' statement over the cut.
  It is left out where the cut has the event and the fold did not read it. Whether an event is void
  is said by the state of the ledger alone.
- `credit`: `[row proof, states]`: the row stands in the statement whose root q witnesses signed.
- `fork`: the evidence of L6.
- `span`: that a stretch of an output stands in a contribution (span_proofs.py).
- `derivation`: whose tokens of a contribution are, by an entry of a map (derivation_proofs.py).

Nothing in a file is believed: every part goes through the constructor that verifies it.
`verify_file` names the ledger, and refuses another than the one it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from openledger_node.agreement.statement_proof import (
    SetChange,
    SignedStatement,
    verify_statement,
)
from openledger_node.credit import views
from openledger_node.credit.statement import RowProof
from openledger_node.ledger import merkle
from openledger_node.ledger.accounts import (
    KEY_EVENT_KINDS,
    AccountCreate,
    AccountRetireDevice,
    KeyChain,
    KeyEvent,
    create_fault,
    created_chain,
    key_event_digest,
)
from openledger_node.ledger.encoding import decode_as, encode
from openledger_node.ledger.errors import BadInput, Refused, UsageError, VerificationFailed
from openledger_node.ledger.events import (
    MAX_LEAF_BYTES,
    MAX_SEQ,
    Id,
    LogGenesis,
    acceptance_fault,
    event_id,
    parse_event,
)
from openledger_node.ledger.forks import ForkEvidence, verify_fork
from openledger_node.ledger.genesis import Genesis, genesis_fault
from openledger_node.ledger.heads import Mark, SignedHead, verify_head
from openledger_node.ledger.kinds import parse_raw_body
from openledger_node.ledger.names import account_short
from openledger_node.node.core import NodeCore
from openledger_node.node.epochs import settled
from openledger_node.node.files import write_new
from openledger_node.node.finality import make_final
from openledger_node.node.founding import read_genesis_file
from openledger_node.node.lookup import find_id, known_account, must_be_final
from openledger_node.node.reading import (
    Located,
    body_of,
    events_of,
    must_find,
    outcome,
    shown_body,
)
from openledger_node.node.reports import stored_statement
from openledger_node.node.results import Proved, Verified
from openledger_node.node.witness_logs import known_sets
from openledger_node.store.snapshot import Snapshot

FORMAT: Final = "oln-proof/1"
MAX_PROOF_BYTES: Final = 4 * 2**20
MAX_KEY_EVENTS_IN_PROOF: Final = 1_024
MAX_PATH: Final = 64

Path_ = Annotated[tuple[Id, ...], Meta(max_length=MAX_PATH)]


What = Literal["event", "credit", "fork", "span", "derivation"]


class _Part(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Base of the arrays in a proof file."""


class Finality(_Part, frozen=True):
    """That an event lies in a final cut: the log's mark there, and the event under that mark."""

    mark: Mark
    mark_index: Annotated[int, Meta(ge=0, le=2**40)]
    cut_logs: Annotated[int, Meta(ge=1, le=2**40)]
    mark_path: Path_
    event_path: Path_
    signed: SignedStatement


class EventProof(_Part, frozen=True):
    genesis: LogGenesis
    head: SignedHead
    seq: Annotated[int, Meta(ge=0, le=MAX_SEQ)]
    leaf: Annotated[bytes, Meta(max_length=MAX_LEAF_BYTES)]
    path: Path_
    key_events: Annotated[tuple[tuple[str, bytes], ...], Meta(max_length=MAX_KEY_EVENTS_IN_PROOF)]
    finality: Finality | None


class CreditProof(_Part, frozen=True):
    row: RowProof
    signed: SignedStatement


class ProofFile(_Part, frozen=True):
    format: Literal["oln-proof/1"]
    what: What
    genesis: Genesis
    parts: bytes


_file_decoder = msgspec.msgpack.Decoder(ProofFile)
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    "event": msgspec.msgpack.Decoder(EventProof),
    "credit": msgspec.msgpack.Decoder(CreditProof),
    "fork": msgspec.msgpack.Decoder(ForkEvidence),
}


# Making.


def prove(
    core: NodeCore,
    text: str,
    file: Path,
    *,
    epoch: int | None = None,
    span: int | None = None,
    entry: int | None = None,
) -> Proved:
    """Writes the proof of a credit row, an event, a span of a receipt, an entry of a derivation's
    map, or a fork.
    """
    make_final(core)
    with core.store.read() as snapshot:
        if span is not None:
            what, parts = _span_of(core, snapshot, text, span)
        elif entry is not None:
            what, parts = _entry_of(core, snapshot, text, entry)
        else:
            what, parts = _parts_of(core, snapshot, text, epoch)
        proof = ProofFile(FORMAT, what, core.genesis, encode(parts))
    try:
        _checked(proof)
    except (VerificationFailed, BadInput) as error:
        raise Refused(f"it cannot be proved: {error.message}", code="not_provable") from None
    data = encode(proof)
    if len(data) > MAX_PROOF_BYTES:
        raise Refused(f"the proof would have {len(data):,} bytes, over {MAX_PROOF_BYTES:,}")
    write_new(file, data)
    return Proved(str(file), what, len(data), core.ledger_id.hex())


def _parts_of(core: NodeCore, snapshot: Snapshot, text: str, epoch: int | None) -> tuple[What, Any]:
    for fork in snapshot.forks():
        if len(text) >= 8 and fork.head_a.log_id.hex().startswith(text.lower()):
            return "fork", fork
    account = known_account(snapshot, text)
    if account is not None:
        must_be_final(snapshot, account)
        return "credit", _credit_proof(core, snapshot, account, epoch)
    found = must_find(snapshot, find_id(snapshot, text))
    return "event", event_proof(core, snapshot, found)


def _span_of(core: NodeCore, snapshot: Snapshot, text: str, span: int) -> tuple[What, Any]:
    from openledger_node.exchange.span_proofs import span_parts

    receipt = must_find(snapshot, find_id(snapshot, text, "use.receipt"))
    return "span", span_parts(core, snapshot, receipt, span)


def _entry_of(core: NodeCore, snapshot: Snapshot, text: str, entry: int) -> tuple[What, Any]:
    from openledger_node.exchange.derivation_proofs import derivation_parts

    derivation = must_find(snapshot, find_id(snapshot, text, "data.derivation"))
    return "derivation", derivation_parts(core, snapshot, derivation, entry)


def _signed(core: NodeCore, snapshot: Snapshot, epoch: int) -> SignedStatement:
    found = settled(snapshot, core, epoch)
    if not found.final:
        raise Refused(
            f"too few witnesses have signed the statement of epoch {epoch} yet",
            hint="import the witnesses' newest logs, or wait for the next epoch",
            code="not_final",
        )
    return SignedStatement(_changes(core, snapshot, epoch), found.signatures)


def _changes(core: NodeCore, snapshot: Snapshot, epoch: int) -> tuple[SetChange, ...]:
    """Every change of the witness set before an epoch, as the seats before it signed it."""
    changes = []
    for first, body in known_sets(snapshot):
        if first <= epoch:
            found = settled(snapshot, core, first - 1)
            if not found.final:
                raise Refused(
                    f"too few witnesses' signatures on the change of the set in epoch {first - 1} "
                    "are held here",
                    hint="sync or import the witnesses' logs",
                    code="not_final",
                )
            changes.append(SetChange(body, found.signatures))
    return tuple(changes)


def _credit_proof(
    core: NodeCore, snapshot: Snapshot, account: bytes, epoch: int | None
) -> CreditProof:
    number, statement = stored_statement(snapshot, epoch)
    row = statement.row_proof(account)
    if row is None:
        raise Refused(
            f"account {account_short(account)} has no row in the statement of epoch {number}",
            hint="a row with all figures zero is left out; name another epoch",
            code="no_row",
        )
    return CreditProof(row, _signed(core, snapshot, number))


def event_proof(core: NodeCore, snapshot: Snapshot, found: Located) -> EventProof:
    log = found.log
    if log.head is None:
        raise Refused("the log has no signed head", hint="run `oln check`")
    leaf = snapshot.leaves(log.log_id, found.seq, found.seq + 1)[0]
    return EventProof(
        log.genesis,
        log.head,
        found.seq,
        leaf,
        tuple(snapshot.inclusion(log.log_id, found.seq, log.head.size)),
        tuple(_key_events(snapshot, found)),
        _finality(core, snapshot, found),
    )


def _was_read(snapshot: Snapshot, found: Located) -> bool:
    """Whether the event counts among the final ones: its log was neither closed before it, nor its
    device unknown.
    """
    return outcome(snapshot, snapshot.state, found).status not in ("pending", "unread")


def _key_events(snapshot: Snapshot, found: Located) -> list[tuple[str, bytes]]:
    """The account's key events from its creation to the newest final one, in order.

    Of an event that was read, those before the retirement of its device, if that lists less of its
    log: such a log closes where it stood in the cut before, and whoever has the file cannot tell.
    """
    genesis = found.log.genesis
    by_digest: dict[bytes, tuple[str, KeyEvent]] = {}
    for each in events_of(snapshot, *KEY_EVENT_KINDS):
        if each.log.genesis.account_id != genesis.account_id:
            continue
        try:
            body = body_of(each)
        except BadInput:
            continue
        by_digest[key_event_digest(body)] = (each.event.kind, body)
    chain = views.chain(snapshot.state, genesis.account_id)
    if chain is None:
        raise Refused(
            "the event's account is not final on this ledger yet",
            hint="close an epoch over its log first",
            code="not_final",
        )
    ordered: list[tuple[str, bytes]] = []
    digest: bytes | None = chain.digest
    while digest is not None:
        if digest not in by_digest:
            raise Refused("a key event of the account is not held here", code="missing_key_event")
        kind, body = by_digest[digest]
        ordered.append((kind, encode(body)))
        digest = body.previous
        if isinstance(body, AccountRetireDevice) and body.device == genesis.device:
            listed = dict(body.logs).get(found.log.log_id, 0)
            if found.seq >= listed and _was_read(snapshot, found):
                ordered.clear()
    return ordered[::-1]


def _finality(core: NodeCore, snapshot: Snapshot, found: Located) -> Finality | None:
    """The event's place in the last cut, when it is final and q witnesses have signed."""
    epoch = snapshot.last_epoch()
    mark = snapshot.cut_mark(found.log.log_id)
    if mark is None or found.seq >= mark.size or not _was_read(snapshot, found):
        return None
    signed = settled(snapshot, core, epoch)
    if not signed.final:
        return None
    marks = sorted(snapshot.cut_marks().values())
    index = marks.index(mark)
    hashes = merkle.leaf_hashes([encode(item) for item in marks])
    return Finality(
        mark,
        index,
        len(marks),
        tuple(merkle.inclusion_proof(hashes, index)),
        tuple(snapshot.inclusion(found.log.log_id, found.seq, mark.size)),
        SignedStatement(_changes(core, snapshot, epoch), signed.signatures),
    )


# Checking.


def verify_file(file: Path, genesis_file: Path | None = None) -> Verified:
    """Checks a proof file; needs no home. `valid` False comes with the reasons."""
    proof = _read(file)
    ledger_id = proof.genesis.ledger_id
    reasons = []
    if genesis_file is not None:
        trusted = read_genesis_file(genesis_file)
        if trusted.ledger_id != ledger_id:
            reasons.append(
                f"it belongs to ledger {ledger_id.hex()[:16]} ({proof.genesis.name!r}), not to "
                f"{trusted.ledger_id.hex()[:16]} ({trusted.name!r})"
            )
    fault = genesis_fault(proof.genesis)
    if fault:
        reasons.append(f"its genesis is not usable: {fault}")
    facts: dict[str, Any] = {}
    if not reasons:
        try:
            facts = _checked(proof)
        except (VerificationFailed, BadInput) as error:
            reasons.append(error.message)
    return Verified(
        not reasons, proof.what, ledger_id.hex(), proof.genesis.name, facts, tuple(reasons)
    )


def _checked(proof: ProofFile) -> dict[str, Any]:
    """The facts that a proof proves. VerificationFailed or BadInput when it proves nothing."""
    if proof.what == "span":
        from openledger_node.exchange.span_proofs import SpanParts, check_span

        decoder = msgspec.msgpack.Decoder(SpanParts)
        return check_span(proof.genesis, decode_as(decoder, proof.parts, "the proof"))
    if proof.what == "derivation":
        from openledger_node.exchange.derivation_proofs import DerivationParts, check_derivation

        entries = msgspec.msgpack.Decoder(DerivationParts)
        return check_derivation(proof.genesis, decode_as(entries, proof.parts, "the proof"))
    parts = decode_as(_decoders[proof.what], proof.parts, "the proof")
    facts: dict[str, Any] = _CHECKS[proof.what](proof.genesis, parts)
    return facts


def _read(file: Path) -> ProofFile:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_PROOF_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", code="bad_file") from None
    if len(data) > MAX_PROOF_BYTES:
        raise BadInput(f"{file} has more than {MAX_PROOF_BYTES:,} bytes: it is no proof")
    try:
        return decode_as(_file_decoder, data, f"the proof file {file}")
    except BadInput as error:
        error.hint = "it was altered, cut short, or is no proof file"
        raise


def check_event(genesis: Genesis, proof: EventProof) -> dict[str, Any]:
    if proof.genesis.ledger_id != genesis.ledger_id:
        raise VerificationFailed("the log belongs to another ledger than the proof states")
    verify_head(proof.head, proof.genesis)
    fault = acceptance_fault(proof.leaf, proof.seq)
    if fault:
        raise VerificationFailed(f"the event is not acceptable: {fault}")
    digest = merkle.leaf_hash(proof.leaf)
    head = proof.head
    if not merkle.verify_inclusion(digest, proof.seq, head.size, proof.path, head.root):
        raise VerificationFailed("the event is not under the signed head")
    chain = _check_chain(genesis, proof.genesis, proof.key_events)
    closed = chain.devices[proof.genesis.device]
    if closed is not None and proof.seq >= closed.get(head.log_id, 0):
        raise VerificationFailed("the device was retired before this event")
    event = parse_event(proof.leaf)
    named = event_id(head.log_id, proof.seq, proof.leaf)
    facts: dict[str, Any] = {
        "event_id": named.hex(),
        "kind": event.kind,
        "account_id": proof.genesis.account_id.hex(),
        "account": account_short(proof.genesis.account_id),
        "log_id": head.log_id.hex(),
        "seq": proof.seq,
        "time_ms": event.time_ms,
        "body": shown_body(event),
        "final": proof.finality is not None,
    }
    if proof.finality is not None:
        facts |= _check_finality(genesis, proof, proof.finality, digest)
    return facts


def _check_chain(
    genesis: Genesis, log: LogGenesis, key_events: Sequence[tuple[str, bytes]]
) -> KeyChain:
    """The account's chain, which must enrol the log's device."""
    chain: KeyChain | None = None
    for kind, raw in key_events:
        if kind not in KEY_EVENT_KINDS:
            raise VerificationFailed(f"{kind!r} is no key event")
        body = parse_raw_body(kind, raw)
        if encode(body) != raw:
            raise VerificationFailed("a key event is not in canonical form")
        if body.account_id != log.account_id:
            raise VerificationFailed("a key event belongs to another account")
        if chain is None:
            if not isinstance(body, AccountCreate):
                raise VerificationFailed("the key events do not begin with the account's creation")
            fault = create_fault(body, genesis.ledger_id)
            chain = None if fault else created_chain(body)
        else:
            fault = chain.fault(body, genesis.ledger_id)
            chain = chain if fault else chain.then(body)
        if fault:
            raise VerificationFailed(f"a key event does not hold: {fault}")
    if chain is None or log.device not in chain.devices:
        raise VerificationFailed("the account's key events do not enrol the device that signed")
    return chain


def _check_finality(
    genesis: Genesis, proof: EventProof, finality: Finality, digest: bytes
) -> dict[str, Any]:
    proved = verify_statement(genesis, finality.signed).state
    mark = finality.mark
    if mark.log_id != proof.head.log_id:
        raise VerificationFailed("the mark belongs to another log")
    leaf = merkle.leaf_hash(encode(mark))
    if not merkle.verify_inclusion(
        leaf, finality.mark_index, finality.cut_logs, finality.mark_path, proved.cut_id
    ):
        raise VerificationFailed("the log's mark is not in the cut that the witnesses signed")
    if not merkle.verify_inclusion(digest, proof.seq, mark.size, finality.event_path, mark.root):
        raise VerificationFailed("the event is not under the log's mark in the cut")
    return {"final_by_epoch": proved.epoch, "cut_id": proved.cut_id.hex()}


def _check_credit(genesis: Genesis, proof: CreditProof) -> dict[str, Any]:
    proved = verify_statement(genesis, proof.signed)
    row = proof.row.verify(proved.state.statement_root)
    figures = {name: getattr(row, name) for name in row.__struct_fields__ if name != "account"}
    return {
        "account_id": row.account.hex(),
        "account": account_short(row.account),
        "epoch": proved.state.epoch,
        "statement_root": proved.state.statement_root.hex(),
        "witnesses": len(proved.seats),
        **figures,
    }


def _check_fork(genesis: Genesis, evidence: ForkEvidence) -> dict[str, Any]:
    fork = verify_fork(evidence)
    if evidence.genesis.ledger_id != genesis.ledger_id:
        raise VerificationFailed("the log belongs to another ledger than the proof states")
    return {
        "log_id": fork.log_id.hex(),
        "account_id": evidence.genesis.account_id.hex(),
        "account": account_short(evidence.genesis.account_id),
        "common_events": fork.common,
        "sizes": [evidence.head_a.size, evidence.head_b.size],
    }


_CHECKS: Final[dict[str, Any]] = {
    "event": check_event,
    "credit": _check_credit,
    "fork": _check_fork,
}
