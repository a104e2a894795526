"""Contributions: registering files, showing, sharing and withdrawing them.

A corpus becomes one event (its weights, licences, creators) and one payload (its bytes, kept beside
the log under the commitment that the event carries). Every document gets its own salt, so what
stays in the log links to nothing once the payload is erased.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from openledger_node.attribution.canon import CANON_VERSION
from openledger_node.attribution.leaves import cut_document
from openledger_node.credit import views
from openledger_node.credit.inputs import StateReader
from openledger_node.ledger.errors import Refused, UsageError
from openledger_node.ledger.kinds import (
    DataCommons,
    DataContribute,
    DataShare,
    DataWithdraw,
)
from openledger_node.ledger.payload import PayloadDocument, decode_payload, encode_payload
from openledger_node.node import results
from openledger_node.node.claims import backing, own_payload
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.corpus import FoundFile, SourceDocument, find_files, read_documents
from openledger_node.node.finality import judged_append
from openledger_node.node.lookup import called_by_id, find_account, find_id
from openledger_node.node.pending import pending_view
from openledger_node.node.reading import Located, body_of, must_find, outcome
from openledger_node.node.registry import bodies
from openledger_node.store.snapshot import Snapshot

SALT_BYTES: Final = 32
DOCUMENT_FACT: Final = "document"
"""Local facts of this name: SHA-256 of a document's bytes -> the contribution that holds it."""

_LACKING: Final = {
    "erased": ("erased", "it is gone for good"),
    "absent": ("not held here", "import a bundle that carries it"),
    "unbacked": ("it names another account's", "ask for the contribution that it was copied from"),
}
"""Why a payload cannot be had, and what to do."""

Share = str | Sequence[str]


def data_add(
    core: NodeCore,
    paths: Sequence[Path],
    *,
    title: str,
    license: str = "",
    datanet: str | None = None,
    creators: Sequence[tuple[str, int]] = (),
    derived_from: Sequence[tuple[str, int]] = (),
    share: Share = "none",
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> results.Added:
    """Registers files and folders as one contribution; the text stays here unless shared."""
    files, skipped = find_files(paths, core.config.document_bytes)
    with core.store.read() as snapshot:
        policy = _policy(snapshot, share)
        named_datanet = find_id(snapshot, datanet, "datanet.create") if datanet else None
        floors = tuple(
            (find_id(snapshot, text, "data.contribute"), bp) for text, bp in derived_from
        )
        shares = tuple((find_account(snapshot, text), part) for text, part in creators)
        sources = _sources(snapshot, files, skipped, progress)
        called = called_by_id(snapshot, policy if isinstance(policy, tuple) else ())
    documents, not_text = _documents(sources, progress)
    payload = encode_payload(core.account_id, CANON_VERSION, documents)
    decoded = decode_payload(payload)
    body = DataContribute(
        named_datanet,
        title,
        license,
        "application/octet-stream" if not_text else "text/plain",
        CANON_VERSION,
        len(documents),
        sum(len(source.data) for source in sources),
        sum(document.tokens for document in documents),
        shares,
        floors,
    )
    from openledger_node.node.derivations import declare, derived_in  # loads numpy

    entries, derived = derived_in(core, documents, progress)
    contribution_id = derivation_id = None
    if not dry_run:
        contribution_id = _record(core, body, decoded.commit, payload, sources, policy)
        if entries:
            derivation_id = declare(core, bytes.fromhex(contribution_id), entries).event_id
    return results.Added(
        contribution_id=contribution_id,
        title=title,
        documents=body.documents,
        tokens=body.tokens,
        size_bytes=body.size_bytes,
        skipped=tuple(skipped),
        derived=derived,
        derivation_id=derivation_id,
        share=_policy_word(policy),
        dry_run=dry_run,
        payload_commit=decoded.commit.hex(),
        not_text=not_text,
        names=called,
    )


def _sources(
    snapshot: Snapshot,
    files: Sequence[FoundFile],
    skipped: list[results.Skipped],
    progress: Progress,
) -> list[SourceDocument]:
    """What there is to register. UsageError when it is nothing."""

    def registered(digest: bytes) -> str | None:
        found = snapshot.fact(DOCUMENT_FACT, digest)
        return found.hex() if found else None

    sources = []
    total = sum(item.size_bytes for item in files)
    done = 0
    for source in read_documents(files, skipped, registered):
        sources.append(source)
        done += len(source.data)
        progress(done, total, "bytes read")
    if not sources:
        reasons = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3])
        raise UsageError(
            "nothing to register" + (f" ({reasons})" if reasons else ""),
            hint="name files or folders with documents in them",
            code="nothing_to_register",
        )
    return sources


def _documents(
    sources: Sequence[SourceDocument], progress: Progress
) -> tuple[list[PayloadDocument], tuple[str, ...]]:
    """The payload's documents with fresh salts, and the names of those that are not text."""
    documents = []
    not_text = []
    for index, source in enumerate(sources, 1):
        cut = cut_document(source.data)
        if not cut.is_text:
            not_text.append(os.fsdecode(source.name))
        salt = secrets.token_bytes(SALT_BYTES)
        documents.append(PayloadDocument(salt, cut.slices, cut.tokens))
        progress(index, len(sources), "documents cut")
    return documents, tuple(not_text)


def _record(
    core: NodeCore,
    body: DataContribute,
    commit: bytes,
    payload: bytes,
    sources: Sequence[SourceDocument],
    policy: Any,
) -> str:
    """The event with its payload; then what is known of its documents, and who may have it."""
    done = judged_append(core, "data.contribute", body, commit=commit, payload=payload)
    event_id = bytes.fromhex(done.event_id)
    core.store.set_facts(DOCUMENT_FACT, [(source.digest, event_id) for source in sources])
    if policy != "none":
        judged_append(core, "data.share", DataShare(event_id, policy))
    return done.event_id


def _policy(snapshot: Snapshot, share: Share) -> Any:
    """`none`, `all`, or the accounts named."""
    if share in ("none", "all"):
        return share
    texts = share.split(",") if isinstance(share, str) else list(share)
    return tuple(sorted({find_account(snapshot, text.strip()) for text in texts}))


def _policy_word(policy: Any) -> str:
    if policy is None:
        return "none"
    return policy if isinstance(policy, str) else ",".join(account.hex() for account in policy)


def data_list(core: NodeCore, account: str | None = None) -> results.Contributions:
    with core.store.read() as snapshot:
        one = find_account(snapshot, account) if account else None
        later = pending_view(core, snapshot).state
        shown = [
            _shown(snapshot, later, found, body)
            for found, body in bodies(snapshot, "data.contribute")
            if one in (None, found.log.genesis.account_id)
        ]
    return results.Contributions(tuple(shown))


def data_show(core: NodeCore, text: str) -> results.Contribution:
    with core.store.read() as snapshot:
        found = must_find(snapshot, find_id(snapshot, text, "data.contribute"))
        return _shown(snapshot, pending_view(core, snapshot).state, found, body_of(found))


def _shown(
    snapshot: Snapshot, later: StateReader, found: Located, body: DataContribute
) -> results.Contribution:
    view = views.contribution(snapshot.state, found.event_id)
    pending = views.contribution(later, found.event_id)
    share, next_share = view.share if view else None, pending.share if pending else None
    named = {found.log.genesis.account_id, *(account for account, _ in body.creators)}
    for policy in (share, next_share):
        named.update(policy if isinstance(policy, tuple) else ())
    result = outcome(snapshot, snapshot.state, found)
    status = result.status
    if view is not None and view.erased:
        status = "erased"
    elif view is not None and view.withdrawn_epoch is not None:
        status = "withdrawn"
    account = found.log.genesis.account_id
    commit = found.event.payload_commit
    return results.Contribution(
        contribution_id=found.event_id.hex(),
        account_id=account.hex(),
        title=body.title,
        license=body.license,
        datanet_id=body.datanet.hex() if body.datanet else None,
        documents=body.documents,
        tokens=body.tokens,
        size_bytes=body.size_bytes,
        media_type=body.media_type,
        creators=tuple((account.hex(), share) for account, share in body.creators),
        derived_from=tuple((ancestor.hex(), bp) for ancestor, bp in body.derived_from),
        share=_policy_word(share),
        share_pending=None if next_share in (share, None) else _policy_word(next_share),
        names=called_by_id(snapshot, sorted(named)),
        status=status,
        epoch=view.epoch if view else None,
        payload=backing(snapshot, account, commit) if commit else "absent",
    )


def data_get(core: NodeCore, text: str, out_dir: Path) -> results.FileWritten:
    """Writes the documents of a contribution into a new folder, numbered in corpus order."""
    with core.store.read() as snapshot:
        found = must_find(snapshot, find_id(snapshot, text, "data.contribute"))
        data = _payload_of(snapshot, found)
    if out_dir.exists():
        raise UsageError(f"{out_dir} exists already", hint="name a new folder")
    try:
        out_dir.mkdir(parents=True)
        written = 0
        documents = decode_payload(data).documents
        digits = len(str(len(documents)))
        for index, document in enumerate(documents):
            (out_dir / f"document-{index:0{digits}}").write_bytes(document.data)
            written += len(document.data)
    except OSError as error:
        raise UsageError(f"cannot write {out_dir}: {error.strerror}") from None
    return results.FileWritten(str(out_dir), written)


def _payload_of(snapshot: Snapshot, found: Located) -> bytes:
    account, commit = found.log.genesis.account_id, found.event.payload_commit
    data = own_payload(snapshot, account, commit)
    if data is None:
        reason, hint = _LACKING[backing(snapshot, account, commit) if commit else "absent"]
        raise Refused(
            f"payload of {found.event_id.hex()[:12]}: {reason}", hint=hint, code="no_payload"
        )
    return data


def data_share(core: NodeCore, text: str, share: Share) -> results.Recorded:
    """Says who may be served the payload; the last word stands."""
    with core.store.read() as snapshot:
        contribution = find_id(snapshot, text, "data.contribute")
        policy = _policy(snapshot, share)
    return judged_append(core, "data.share", DataShare(contribution, policy))


def data_commons(core: NodeCore, text: str) -> results.Recorded:
    """Lists a contribution as common text (licences, boilerplate): no output is credited to it."""
    with core.store.read() as snapshot:
        contribution = find_id(snapshot, text, "data.contribute")
    return judged_append(core, "data.commons", DataCommons(contribution))


def data_withdraw(core: NodeCore, text: str, reason: str = "") -> results.Recorded:
    """Takes a contribution out of scope from the next snapshot on; earned credit stays."""
    with core.store.read() as snapshot:
        contribution = find_id(snapshot, text, "data.contribute")
    return judged_append(core, "data.withdraw", DataWithdraw(contribution, reason))
