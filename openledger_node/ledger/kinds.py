"""The kinds of rules version 1 and the shape of each body.

A body is a canonical array; the types here give its items, in order, with their limits. A body that
does not fit is void in the fold, never refused at the door (L2). `parse_body` is the one place
where a raw body becomes typed.

| kind | body | limit |
|---|---|---|
| `log.open`, `log.fork` | events.LogGenesis, forks.ForkEvidence | 16 KiB |
| `account.*` | accounts.KEY_EVENT_KINDS, `AccountAccept` | 16 KiB |
| `datanet.*`, `data.*`, `agent.*`, `money.*`, `use.*`, `audit.*` | the structs here | 16 KiB |
| `model.register`, `witness.*` | the structs here and in votes.py | 512 KiB |
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from openledger_node.ledger.accounts import KEY_EVENT_KINDS
from openledger_node.ledger.encoding import DECODE_FAULTS, decode_array, encode
from openledger_node.ledger.errors import BadInput
from openledger_node.ledger.events import (
    MAX_BODY_BYTES,
    MAX_LEAF_BYTES,
    Count,
    Event,
    Id,
    LogGenesis,
)
from openledger_node.ledger.forks import ForkEvidence
from openledger_node.ledger.genesis import BASIS_POINTS, MAX_AMOUNT_MICRO
from openledger_node.ledger.votes import VOTE_KINDS

MAX_CREATORS: Final = 256
MAX_CREATOR_SHARE: Final = 2**16
MAX_FLOORS: Final = 64
MAX_FLOORS_BP: Final = 9_000
MAX_WEIGHTS: Final = 256
MAX_USES: Final = 10_000
MAX_SNAPSHOT_AGE_EPOCHS: Final = 4
MAX_TITLE_CHARS: Final = 512
MAX_NOTE_CHARS: Final = 1_024
MAX_DESCRIPTION_CHARS: Final = 8_192
MAX_TRAINED_ON: Final = 8_192
MAX_DIGESTS: Final = 1_024
MAX_SHARED_WITH: Final = 256
MAX_PAYOUT_ITEMS: Final = 384
MAX_SOURCES: Final = 256
MAX_TRAINING_WEIGHT: Final = 2**32
MAX_EPOCH: Final = 2**40
PPM: Final = 1_000_000

Title = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS)]
Note = Annotated[str, Meta(max_length=MAX_NOTE_CHARS)]
Licence = Annotated[str, Meta(max_length=128)]
Amount = Annotated[int, Meta(ge=0, le=MAX_AMOUNT_MICRO)]
PositiveAmount = Annotated[int, Meta(ge=1, le=MAX_AMOUNT_MICRO)]
Epoch = Annotated[int, Meta(ge=0, le=MAX_EPOCH)]
Share = Annotated[int, Meta(ge=1, le=MAX_CREATOR_SHARE)]
Creators = Annotated[tuple[tuple[Id, Share], ...], Meta(max_length=MAX_CREATORS)]
FloorBp = Annotated[int, Meta(ge=1, le=BASIS_POINTS)]
Floors = Annotated[tuple[tuple[Id, FloorBp], ...], Meta(max_length=MAX_FLOORS)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=64)]
Weights = Annotated[
    tuple[tuple[Id, Annotated[int, Meta(ge=1, le=PPM)]], ...], Meta(max_length=MAX_WEIGHTS)
]


class Body(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of the bodies: arrays in fixed order."""


class AccountAccept(Body, frozen=True):
    """A named creator takes its share, or an owner accepts a derivation of its contribution."""

    target: Id


class DatanetCreate(Body, frozen=True):
    name: Title
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION_CHARS)]
    licence_policy: Licence


class DataContribute(Body, frozen=True):
    """A registered body of data.

    The corpus is its payload. `creators` () = the log's own account.
    """

    datanet: Id | None
    title: Title
    license: Licence
    media_type: Annotated[str, Meta(max_length=128)]
    canon_version: Annotated[int, Meta(ge=0, le=2**16)]
    documents: Count
    size_bytes: Count
    tokens: Count
    creators: Creators
    derived_from: Floors


class DataShare(Body, frozen=True):
    contribution: Id
    policy: Literal["none", "all"] | Annotated[tuple[Id, ...], Meta(max_length=MAX_SHARED_WITH)]


class DataDerivation(Body, frozen=True):
    contribution: Id
    map_root: Id
    sources: Annotated[tuple[tuple[Id, Count], ...], Meta(max_length=MAX_SOURCES)]


class DataCommons(Body, frozen=True):
    contribution: Id


class DataWithdraw(Body, frozen=True):
    target: Id
    reason: Note


class DataErase(Body, frozen=True):
    target: Id
    reason: Note


class ModelRegister(Body, frozen=True):
    name: Title
    digests: Annotated[tuple[Digest, ...], Meta(max_length=MAX_DIGESTS)]
    bases: Floors
    trained_on: Annotated[
        tuple[tuple[Id, Annotated[int, Meta(ge=1, le=MAX_TRAINING_WEIGHT)]], ...],
        Meta(max_length=MAX_TRAINED_ON),
    ]
    creators: Creators
    license: Licence


class AgentRegister(Body, frozen=True):
    name: Title
    operator: Id
    card_digest: Digest | None
    capabilities: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=64)]
    models: Annotated[tuple[Id, ...], Meta(max_length=64)]


class MoneyIssue(Body, frozen=True):
    to: Id
    amount_micro: PositiveAmount
    note: Note


class MoneyTransfer(Body, frozen=True):
    to: Id
    amount_micro: PositiveAmount
    note: Note


class MoneyGrant(Body, frozen=True):
    provider: Id
    amount_micro: PositiveAmount
    expiry_epoch: Epoch | None


class MoneyRedeem(Body, frozen=True):
    """`amount_micro` nil is a standing order.

    0 ends the account's standing order with that issuer.
    """

    issuer: Id
    amount_micro: Amount | None
    minimum_micro: Amount


class MoneyPayout(Body, frozen=True):
    items: Annotated[tuple[tuple[Id, PositiveAmount], ...], Meta(max_length=MAX_PAYOUT_ITEMS)]
    reference: Note
    reverses: Id | None


class UseReceipt(Body, frozen=True):
    """That a model (or agent) was used, on a grant or without one, and what the output drew on."""

    grant: Id | None
    model: Id
    agent: Id | None
    snapshot_epoch: Epoch
    uses: Annotated[int, Meta(ge=1, le=MAX_USES)]
    output_root: Id
    fee_micro: Amount
    weights: Weights
    unattributed_ppm: Annotated[int, Meta(ge=0, le=PPM)]
    method: Literal["spans", "retrieved"]


class UseConfirm(Body, frozen=True):
    receipt: Id


class UseCancel(Body, frozen=True):
    receipt: Id


class UseDispute(Body, frozen=True):
    receipt: Id


Ground = Literal[
    "inclusion", "better_span", "derivation", "arithmetic", "snapshot", "evidence_withheld"
]
GROUNDS: Final[tuple[str, ...]] = get_args(Ground)


class AuditChallenge(Body, frozen=True):
    target: Id
    ground: Ground


class AuditVerdict(Body, frozen=True):
    target: Id
    upheld: Annotated[int, Meta(ge=0, le=1)]


BODY_TYPES: Final[dict[str, type[Any]]] = {
    "log.open": LogGenesis,
    "log.fork": ForkEvidence,
    **KEY_EVENT_KINDS,
    "account.accept": AccountAccept,
    "datanet.create": DatanetCreate,
    "data.contribute": DataContribute,
    "data.share": DataShare,
    "data.derivation": DataDerivation,
    "data.commons": DataCommons,
    "data.withdraw": DataWithdraw,
    "data.erase": DataErase,
    "model.register": ModelRegister,
    "agent.register": AgentRegister,
    "money.issue": MoneyIssue,
    "money.transfer": MoneyTransfer,
    "money.grant": MoneyGrant,
    "money.redeem": MoneyRedeem,
    "money.payout": MoneyPayout,
    "use.receipt": UseReceipt,
    "use.confirm": UseConfirm,
    "use.cancel": UseCancel,
    "use.dispute": UseDispute,
    "audit.challenge": AuditChallenge,
    "audit.verdict": AuditVerdict,
    **VOTE_KINDS,
}
"""Every kind of rules version 1. Other kinds are kept in their logs and not read."""

_LONG_KINDS: Final = frozenset(("model.register", *VOTE_KINDS))
_decoders: Final = {kind: msgspec.msgpack.Decoder(shape) for kind, shape in BODY_TYPES.items()}


def max_body_bytes(kind: str) -> int:
    """The limit on a body of this kind, judged in the fold."""
    return MAX_LEAF_BYTES if kind in _LONG_KINDS else MAX_BODY_BYTES


def parse_body(event: Event) -> Any:
    """The typed body of an accepted event of a known kind. BadInput says why it is void."""
    return parse_raw_body(event.kind, event.body)


def parse_raw_body(kind: str, raw: bytes | msgspec.Raw) -> Any:
    """As `parse_body`, from the body's bytes, which an accepted leaf keeps canonical."""
    decoder = _decoders.get(kind)
    if decoder is None:
        raise BadInput(f"kind {kind!r} is not one of rules version 1")
    size_bytes = len(memoryview(raw))
    if size_bytes > max_body_bytes(kind):
        raise BadInput(f"the body has {size_bytes} bytes; {kind} may have {max_body_bytes(kind)}")
    try:
        return decoder.decode(raw)
    except DECODE_FAULTS as error:
        raise BadInput(f"the body of {kind} is malformed: {error}") from None


def check_body(kind: str, body: Any) -> None:
    """Holds a body about to be written to E1 and to the shape the fold will ask of it.

    BadInput says what is wrong.
    """
    raw = encode(body)
    decode_array(raw)
    parse_raw_body(kind, raw)
