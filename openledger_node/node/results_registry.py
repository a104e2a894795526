"""What the commands about accounts, devices, data, models and agents answer (see results.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    account_id: str
    account: str
    name: str | None
    own: bool
    known: bool
    devices: tuple[str, ...]
    key_events: int
    seat: bool
    issuer: bool
    grants: tuple[OpenGrant, ...]


@dataclass(frozen=True, slots=True)
class OpenGrant:
    """What is left of a grant that an account made or may draw on."""

    grant_id: str
    payer: str
    provider: str
    remaining_micro: int
    amount_micro: int
    expiry_epoch: int | None


@dataclass(frozen=True, slots=True)
class Accounts:
    accounts: tuple[Account, ...]


@dataclass(frozen=True, slots=True)
class Device:
    device: str
    did: str
    account_id: str
    own: bool
    retired: bool
    logs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Devices:
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class DerivedFrom:
    """A part of a contribution that derives from an earlier one of another account."""

    contribution_id: str
    account_id: str
    account: str
    title: str
    tokens: int
    ppm: int


@dataclass(frozen=True, slots=True)
class Derived:
    """What a contribution derives from, as far as its node can see.

    `state`: declared (own), claimed (of another account's), declared before, found (a dry run), or
    nothing found.
    """

    contribution_id: str
    derivation_id: str | None
    state: str
    tokens: int
    derived_tokens: int
    sources: tuple[DerivedFrom, ...]


@dataclass(frozen=True, slots=True)
class Added:
    contribution_id: str | None
    title: str
    documents: int
    tokens: int
    size_bytes: int
    skipped: tuple[Skipped, ...]
    derived: tuple[DerivedFrom, ...]
    derivation_id: str | None
    share: str
    dry_run: bool
    payload_commit: str
    not_text: tuple[str, ...]  # documents that are no UTF-8 text: no output is matched with them
    names: Mapping[str, str]  # what accounts are called here, by id

    @property
    def bytes(self) -> int:
        return self.size_bytes


@dataclass(frozen=True, slots=True)
class Contribution:
    contribution_id: str
    account_id: str
    title: str
    license: str
    datanet_id: str | None
    documents: int
    tokens: int
    size_bytes: int
    media_type: str
    creators: tuple[tuple[str, int], ...]
    derived_from: tuple[tuple[str, int], ...]
    share: str  # none, all, or account ids with commas between; as it is final
    share_pending: str | None  # what it will be, where that is another
    names: Mapping[str, str]  # what the accounts in it are called here, by id
    status: str  # final, pending, withdrawn, erased, void, parked
    epoch: int | None
    payload: str  # held, absent, erased, unbacked (it names another account's)


@dataclass(frozen=True, slots=True)
class Contributions:
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True)
class Datanet:
    datanet_id: str
    account_id: str
    account: str
    name: str
    description: str
    license_policy: str
    contributions: int
    status: str


@dataclass(frozen=True, slots=True)
class Datanets:
    datanets: tuple[Datanet, ...]


@dataclass(frozen=True, slots=True)
class Model:
    model_id: str
    account_id: str
    account: str
    name: str
    license: str
    effective_licences: tuple[str, ...]
    digests: tuple[str, ...]
    bases: tuple[tuple[str, int], ...]
    trained_on: tuple[tuple[str, int], ...]
    creators: tuple[tuple[str, int], ...]
    names: Mapping[str, str]  # what the accounts in it are called here, by id
    status: str


@dataclass(frozen=True, slots=True)
class Models:
    models: tuple[Model, ...]


@dataclass(frozen=True, slots=True)
class Agent:
    agent_id: str
    account_id: str
    account: str
    operator_id: str
    operator: str
    name: str
    card_digest: str | None
    capabilities: tuple[str, ...]
    models: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Agents:
    agents: tuple[Agent, ...]


@dataclass(frozen=True, slots=True)
class IndexShown:
    """The index of the text that is held here. `wrong` names what does not verify."""

    contributions: int
    waiting: int
    erased: int
    segments: int
    text_bytes: int
    file_bytes: int
    wrong: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return self.file_bytes
