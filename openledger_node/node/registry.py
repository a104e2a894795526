"""Collections, models and agents: registering them, listing them, showing one.

What the rules need of a registration lies in the state; names, descriptions and licences are read
from the events themselves. The effective licence of C9 is the set of licences over an artefact's
lineage, computed here and shown; the fold does not read licences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from openledger_node.credit import views
from openledger_node.credit.inputs import StateReader
from openledger_node.ledger.errors import BadInput, UsageError
from openledger_node.ledger.kinds import AgentRegister, DatanetCreate, ModelRegister
from openledger_node.node import results
from openledger_node.node.core import NodeCore, Progress, no_progress
from openledger_node.node.files import read_bounded
from openledger_node.node.finality import judged_append, make_final
from openledger_node.node.lookup import called, called_by_id, find_account, find_id
from openledger_node.node.pending import pending_view
from openledger_node.node.reading import Located, body_of, events_of, find_event, must_find, outcome
from openledger_node.store.snapshot import Snapshot

MAX_WEIGHTS_FILE_BYTES: Final = 2**44
MAX_CARD_BYTES: Final = 2**20
_READ_BYTES: Final = 2**20


def bodies(snapshot: Snapshot, kind: str) -> Iterator[tuple[Located, Any]]:
    """Every event of a kind with its typed body; malformed ones are left out (they are void)."""
    for found in events_of(snapshot, kind):
        try:
            yield found, body_of(found)
        except BadInput:
            continue


def datanet_create(
    core: NodeCore, name: str, description: str = "", license_policy: str = ""
) -> results.Datanet:
    body = DatanetCreate(name, description, license_policy)
    done = judged_append(core, "datanet.create", body)
    return datanet_show(core, done.event_id)


def datanet_show(core: NodeCore, text: str) -> results.Datanet:
    with core.store.read() as snapshot:
        found = must_find(snapshot, find_id(snapshot, text, "datanet.create"))
        return _datanet(snapshot, found, body_of(found))


def datanet_list(core: NodeCore) -> results.Datanets:
    with core.store.read() as snapshot:
        shown = [_datanet(snapshot, *item) for item in bodies(snapshot, "datanet.create")]
    return results.Datanets(tuple(shown))


def _datanet(snapshot: Snapshot, found: Located, body: DatanetCreate) -> results.Datanet:
    return results.Datanet(
        datanet_id=found.event_id.hex(),
        account_id=found.log.genesis.account_id.hex(),
        account=called(snapshot, found.log.genesis.account_id),
        name=body.name,
        description=body.description,
        license_policy=body.licence_policy,
        contributions=sum(1 for _ in views.members(snapshot.state, found.event_id)),
        status=outcome(snapshot, snapshot.state, found).status,
    )


def model_register(
    core: NodeCore,
    name: str,
    *,
    trained_on: Sequence[tuple[str, int]] = (),
    bases: Sequence[tuple[str, int]] = (),
    weights_files: Sequence[Path] = (),
    creators: Sequence[tuple[str, int]] = (),
    license: str = "",
    progress: Progress = no_progress,
) -> results.Model:
    """Registers a model.

    `trained_on` is the builder's own declaration, weights files are digested.
    """
    digests = tuple(_digest_file(path, progress) for path in weights_files)
    if trained_on:
        make_final(core)  # a datanet stands for what is final when the model is registered
    with core.store.read() as snapshot:
        body = ModelRegister(
            name,
            digests,
            _resolved(snapshot, bases, "model.register"),
            _resolved(snapshot, trained_on, "data.contribute", "datanet.create"),
            tuple((find_account(snapshot, text), share) for text, share in creators),
            license,
        )
    done = judged_append(core, "model.register", body)
    return model_show(core, done.event_id)


def _resolved(
    snapshot: Snapshot, named: Sequence[tuple[str, int]], *kinds: str
) -> tuple[tuple[bytes, int], ...]:
    return tuple((find_id(snapshot, text, *kinds), number) for text, number in named)


def _digest_file(path: Path, progress: Progress) -> bytes:
    """SHA-256 of a weights file."""
    digest = hashlib.sha256()
    done = 0
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe has no end to wait for, and another digest tomorrow.
            raise UsageError(f"cannot read {path}: it is not a regular file", code="bad_file")
        total = path.stat().st_size
        if total > MAX_WEIGHTS_FILE_BYTES:
            raise UsageError(f"{path} has {total:,} bytes, more than {MAX_WEIGHTS_FILE_BYTES:,}")
        with path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                digest.update(chunk)
                done += len(chunk)
                progress(done, total, "bytes of weights")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", code="bad_file") from None
    return digest.digest()


def model_show(core: NodeCore, text: str) -> results.Model:
    with core.store.read() as snapshot:
        found = must_find(snapshot, find_id(snapshot, text, "model.register"))
        return _model(core, snapshot, found, body_of(found))


def model_list(core: NodeCore) -> results.Models:
    with core.store.read() as snapshot:
        shown = [_model(core, snapshot, *item) for item in bodies(snapshot, "model.register")]
    return results.Models(tuple(shown))


def _model(
    core: NodeCore, snapshot: Snapshot, found: Located, body: ModelRegister
) -> results.Model:
    state: StateReader = snapshot.state
    if views.model(state, found.event_id) is None:
        state = pending_view(core, snapshot).state
    return results.Model(
        model_id=found.event_id.hex(),
        account_id=found.log.genesis.account_id.hex(),
        account=called(snapshot, found.log.genesis.account_id),
        name=body.name,
        license=body.license,
        effective_licences=effective_licences(snapshot, state, found.event_id),
        digests=tuple(digest.hex() for digest in body.digests),
        bases=_hexed(body.bases),
        trained_on=_hexed(body.trained_on),
        creators=_hexed(body.creators),
        names=called_by_id(snapshot, (account for account, _ in body.creators)),
        status=outcome(snapshot, snapshot.state, found).status,
    )


def _hexed(pairs: Sequence[tuple[bytes, int]]) -> tuple[tuple[str, int], ...]:
    return tuple((named.hex(), number) for named, number in pairs)


def effective_licences(
    snapshot: Snapshot, state: StateReader, artefact_id: bytes
) -> tuple[str, ...]:
    """C9.

    The distinct licences of an artefact, its ancestors and what it was trained on, sorted.
    """
    model = views.model(state, artefact_id)
    lineage = {artefact_id}
    if model is not None:
        lineage |= {ancestor for ancestor, _ in model.floors_bp}
        for named, _ in model.trained_on:
            members = [item.contribution_id for item in views.members(state, named)]
            lineage |= set(members) or {named}
    contribution = views.contribution(state, artefact_id)
    if contribution is not None:
        lineage |= {ancestor for ancestor, _ in contribution.floors_bp}
    licences = set()
    for item in sorted(lineage):
        found = find_event(snapshot, item)
        if found is not None:
            licences.add(getattr(body_of(found), "license", "") or "unstated")
    return tuple(sorted(licences))


def agent_register(
    core: NodeCore,
    name: str,
    *,
    card: Path | None = None,
    models: Sequence[str] = (),
    operator: str | None = None,
    capabilities: Sequence[str] = (),
) -> results.Agent:
    with core.store.read() as snapshot:
        body = AgentRegister(
            name,
            find_account(snapshot, operator) if operator else core.account_id,
            _card_digest(card) if card else None,
            tuple(capabilities),
            tuple(find_id(snapshot, text, "model.register") for text in models),
        )
    done = judged_append(core, "agent.register", body)
    return agent_show(core, done.event_id)


def _card_digest(path: Path) -> bytes:
    try:
        data = read_bounded(path, MAX_CARD_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", code="bad_file") from None
    if not data or len(data) > MAX_CARD_BYTES:
        raise UsageError(f"{path} is empty or over {MAX_CARD_BYTES:,} bytes", code="bad_file")
    return hashlib.sha256(data).digest()


def agent_show(core: NodeCore, text: str) -> results.Agent:
    with core.store.read() as snapshot:
        found = must_find(snapshot, find_id(snapshot, text, "agent.register"))
        return _agent(snapshot, found, body_of(found))


def agent_list(core: NodeCore) -> results.Agents:
    with core.store.read() as snapshot:
        shown = [_agent(snapshot, *item) for item in bodies(snapshot, "agent.register")]
    return results.Agents(tuple(shown))


def _agent(snapshot: Snapshot, found: Located, body: AgentRegister) -> results.Agent:
    return results.Agent(
        agent_id=found.event_id.hex(),
        account_id=found.log.genesis.account_id.hex(),
        account=called(snapshot, found.log.genesis.account_id),
        operator_id=body.operator.hex(),
        operator=called(snapshot, body.operator),
        name=body.name,
        card_digest=body.card_digest.hex() if body.card_digest else None,
        capabilities=body.capabilities,
        models=tuple(model.hex() for model in body.models),
        status=outcome(snapshot, snapshot.state, found).status,
    )
