"""A ledger in memory, for tests: keys and ids from names, logs, cuts and folded epochs, with
nothing random.

    ledger = Ledger.solo("co-op")               # genesis, one seat, one issuer: the account "co-op"
    ada = ledger.account("ada")                 # key chain and log; its key event is in the log
    data = ada.add("data.contribute", contribution("Poems", tokens=100))
    epoch = ledger.close_epoch()                # cuts everything there is and folds it
    epoch.folded.statement.rows, ledger.view()

Amounts are micro-credits. `CREDIT` is one credit.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from openledger_node.credit.fold import Folded, fold, initial_state
from openledger_node.credit.inputs import Cut
from openledger_node.ledger import kinds, merkle
from openledger_node.ledger.accounts import (
    AccountAddDevice,
    AccountCreate,
    AccountRetireDevice,
    AccountRotate,
    Inception,
    KeyEvent,
    device_signature,
    key_event_digest,
    next_commitment,
    root_signatures,
)
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.events import LogGenesis, encode_event, event_id
from openledger_node.ledger.genesis import Genesis, Params, network_params, solo_params
from openledger_node.ledger.heads import Mark, VerifiedHead, sign_head
from openledger_node.ledger.keys import SigningKey

CREDIT = 1_000_000
TIME_MS = 1_700_000_000_000


def digest(*names: object) -> bytes:
    """32 bytes that follow from names."""
    return hashlib.sha256("/".join(map(str, names)).encode()).digest()


def key(*names: object) -> SigningKey:
    """The secret key that follows from names."""
    return SigningKey(digest("key", *names))


def contribution(
    title: str = "Poems",
    *,
    tokens: int = 100,
    creators: Sequence[tuple[bytes, int]] = (),
    derived_from: Sequence[tuple[bytes, int]] = (),
    datanet: bytes | None = None,
) -> kinds.DataContribute:
    """The body of a `data.contribute`."""
    return kinds.DataContribute(
        datanet, title, "CC-BY-4.0", "text/plain", 1, 1, 6 * tokens, tokens,
        tuple(creators), tuple(derived_from),
    )  # fmt: skip


def model(
    name: str = "Small model",
    *,
    bases: Sequence[tuple[bytes, int]] = (),
    trained_on: Sequence[tuple[bytes, int]] = (),
    creators: Sequence[tuple[bytes, int]] = (),
) -> kinds.ModelRegister:
    """The body of a `model.register`."""
    return kinds.ModelRegister(
        name,
        (digest("weights", name),),
        tuple(bases),
        tuple(trained_on),
        tuple(creators),
        "Apache-2.0",
    )


def receipt(
    model_id: bytes,
    weights: Sequence[tuple[bytes, int]] = (),
    *,
    grant: bytes | None = None,
    fee: int = 0,
    agent: bytes | None = None,
    snapshot: int = 0,
    uses: int = 1,
    unattributed: int | None = None,
) -> kinds.UseReceipt:
    """The body of a `use.receipt`; what the weights leave of 1,000,000 ppm is unattributed."""
    rest = kinds.PPM - sum(ppm for _, ppm in weights)
    return kinds.UseReceipt(
        grant, model_id, agent, snapshot, uses, digest("output"), fee, tuple(weights),
        rest if unattributed is None else unattributed, "spans",
    )  # fmt: skip


@dataclass
class MemoryLog:
    """A log in memory: leaves, their ids, and heads signed by its device."""

    genesis: LogGenesis
    key: SigningKey
    leaves: list[bytes] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.append("log.open", self.genesis)

    @property
    def log_id(self) -> bytes:
        return self.genesis.log_id

    def append(
        self, kind: str, body: Any, *, payload_commit: bytes | None = None, payload_len: int = 0
    ) -> bytes:
        """Appends an event; returns its id."""
        seq = len(self.leaves)
        leaf = encode_event(seq, kind, TIME_MS + seq, body, payload_commit, payload_len)
        return self.append_leaf(leaf)

    def append_leaf(self, leaf: bytes) -> bytes:
        """Appends a leaf as it is, well-formed or not; returns its id."""
        self.leaves.append(leaf)
        self.ids.append(event_id(self.log_id, len(self.leaves) - 1, leaf))
        return self.ids[-1]

    def mark(self, size: int | None = None) -> Mark:
        """The mark of the whole log, or of its first `size` leaves."""
        size = len(self.leaves) if size is None else size
        return Mark(self.log_id, size, merkle.root(self.leaves[:size]))

    def head(self, size: int | None = None) -> VerifiedHead:
        """The signed head of the whole log, or of its first `size` leaves."""
        mark = self.mark(size)
        return sign_head(self.key, self.genesis, mark.size, mark.root)


class MemoryState:
    """A folded state in a dict, as the fold's `StateReader`."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self._sorted: list[bytes] | None = []

    def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self._sorted is None:
            self._sorted = sorted(self.values)
        keys = self._sorted
        for index in range(bisect_left(keys, prefix), len(keys)):
            if not keys[index].startswith(prefix):
                return
            yield keys[index], self.values[keys[index]]

    def apply(self, delta: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Overlays the state with a folded epoch's delta."""
        for key, value in delta:
            if value is None:
                del self.values[key]
            else:
                self.values[key] = value
        self._sorted = None

    def copy(self) -> MemoryState:
        other = MemoryState()
        other.values = dict(self.values)
        other._sorted = None
        return other


class MemoryLogs:
    """Logs in a dict, as the fold's `LogReader`."""

    def __init__(self) -> None:
        self.by_id: dict[bytes, MemoryLog] = {}

    def add(self, log: MemoryLog) -> MemoryLog:
        self.by_id[log.log_id] = log
        return log

    def leaves(self, log_id: bytes, start: int, stop: int) -> Sequence[bytes]:
        return self.by_id[log_id].leaves[start:stop]


@dataclass
class ClosedEpoch:
    """An epoch that `close_epoch` folded."""

    cut: Cut
    folded: Folded


class TestAccount:
    """An account with its key chain and one device with one log; more with `add_device`."""

    __test__ = False

    def __init__(self, ledger: Ledger, name: str, root_keys: int = 1, threshold: int = 1) -> None:
        self.ledger, self.name = ledger, name
        self.n_keys, self.threshold = root_keys, threshold
        self.generation = 0
        self.device = key(name, "device")
        self.inception = inception(name, root_keys, threshold)
        self.id = self.inception.account_id
        self.chain: list[KeyEvent] = []
        self.log = ledger.open_log(self.id, self.device, name)

    def root_keys(self, generation: int | None = None) -> list[SigningKey]:
        """The root keys of a generation (0: inception), the current one by default."""
        g = self.generation if generation is None else generation
        return [key(self.name, "root", g, i) for i in range(self.n_keys)]

    def add(self, kind: str, body: Any, **payload: Any) -> bytes:
        """Appends an event to the account's first log; returns its id."""
        return self.log.append(kind, body, **payload)

    def _signed(self, event_type: type[Any], so_far: list[Any], generation: int) -> Any:
        raw = [list(part) if isinstance(part, tuple) else part for part in so_far]
        signatures = root_signatures(
            self.ledger.id, raw, list(enumerate(self.root_keys(generation)))
        )
        return event_type(*so_far, signatures)

    def _follow(self) -> list[Any]:
        return [self.id, len(self.chain), key_event_digest(self.chain[-1])]

    def create_event(self) -> AccountCreate:
        """The key event that begins the account."""
        consent = device_signature(self.device, self.ledger.id, self.id)
        so_far = [self.id, 0, None, self.inception, self.device.public.raw, consent]
        event: AccountCreate = self._signed(AccountCreate, so_far, 0)
        return event

    def create(self) -> bytes:
        """Files `account.create`."""
        self.chain.append(self.create_event())
        return self.add("account.create", self.chain[-1])

    def add_device_event(self, device: SigningKey) -> AccountAddDevice:
        consent = device_signature(device, self.ledger.id, self.id)
        so_far = [*self._follow(), device.public.raw, consent]
        event: AccountAddDevice = self._signed(AccountAddDevice, so_far, self.generation)
        return event

    def rotate_event(self) -> AccountRotate:
        fresh = tuple(k.public.raw for k in self.root_keys(self.generation + 1))
        commitment = _commitment(self.name, self.generation + 2, self.n_keys, self.threshold)
        so_far = [*self._follow(), fresh, self.threshold, commitment]
        event: AccountRotate = self._signed(AccountRotate, so_far, self.generation + 1)
        return event

    def retire_event(
        self, device: SigningKey, logs: Sequence[tuple[bytes, int]] = ()
    ) -> AccountRetireDevice:
        so_far = [*self._follow(), device.public.raw, tuple(logs)]
        event: AccountRetireDevice = self._signed(AccountRetireDevice, so_far, self.generation)
        return event

    def file(self, event: KeyEvent, log: MemoryLog | None = None) -> bytes:
        """Files a key event of the account's chain, in its first log unless told."""
        self.chain.append(event)
        if isinstance(event, AccountRotate):
            self.generation += 1
        kind = next(k for k, t in kinds.KEY_EVENT_KINDS.items() if type(event) is t)
        return (log or self.log).append(kind, event)


def _commitment(name: str, generation: int, root_keys: int, threshold: int) -> bytes:
    keys = [key(name, "root", generation, i).public.raw for i in range(root_keys)]
    return next_commitment(keys, threshold)


def inception(name: str, root_keys: int = 1, threshold: int = 1) -> Inception:
    """The inception of the account called `name`."""
    return Inception(
        1,
        tuple(key(name, "root", 0, i).public.raw for i in range(root_keys)),
        threshold,
        _commitment(name, 1, root_keys, threshold),
        digest("salt", name)[:16],
    )


class Ledger:
    """A whole ledger in memory."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.id = genesis.ledger_id
        self.logs = MemoryLogs()
        self.state = MemoryState()
        self.accounts: dict[str, TestAccount] = {}
        self.epochs: list[ClosedEpoch] = []
        self._cut: dict[bytes, Mark] = {}
        folded = initial_state(genesis)
        self.state.apply(folded.delta)
        self.epochs.append(ClosedEpoch(Cut(0, folded.cut_id, ()), folded))

    @classmethod
    def solo(cls, name: str = "co-op", **params: Any) -> Ledger:
        """A ledger of one seat and one issuer, both the account `name`, which is created; epochs
        mature at once.
        """
        return cls._of(solo_params, [name], [name], params)

    @classmethod
    def network(cls, seats: Sequence[str], issuers: Sequence[str], **params: Any) -> Ledger:
        """A ledger of several seats; fees mature after four epochs."""
        return cls._of(lambda account: network_params((account,)), seats, issuers, params)

    @classmethod
    def _of(
        cls, base: Any, seats: Sequence[str], issuers: Sequence[str], changes: dict[str, Any]
    ) -> Ledger:
        first = inception(seats[0]).account_id
        figures: Params = base(first)
        values = {name: getattr(figures, name) for name in figures.__struct_fields__}
        cap = changes.pop("cap", 10**12)
        values.update(changes)
        genesis = Genesis(
            1,
            "test ledger",
            digest("ledger salt")[:16],
            1,
            Params(**values),
            tuple((inception(name), key(name, "device").public.raw) for name in seats),
            tuple((inception(name).account_id, cap) for name in issuers),
        )
        ledger = cls(genesis)
        for name in dict.fromkeys([*seats, *issuers]):
            ledger.account(name)
        return ledger

    @property
    def epoch(self) -> int:
        """The last closed epoch."""
        return len(self.epochs) - 1

    def open_log(
        self, account: bytes, device: SigningKey, *nonce: object, previous: bytes | None = None
    ) -> MemoryLog:
        """A new log of (account, device), known to the ledger's reader."""
        genesis = LogGenesis(
            1, self.id, account, device.public.raw, digest("nonce", *nonce)[:16], previous
        )
        return self.logs.add(MemoryLog(genesis, device))

    def account(self, name: str, **keys: int) -> TestAccount:
        """The account called `name`; created (key event filed) when first asked for."""
        if name not in self.accounts:
            self.accounts[name] = account = TestAccount(self, name, **keys)
            account.create()
        return self.accounts[name]

    def next_cut(self, *, without: Sequence[bytes] = (), label: str = "") -> Cut:
        """The cut of everything there is, except the logs `without`."""
        grown = {}
        for log_id, log in self.logs.by_id.items():
            size = self._cut[log_id].size if log_id in self._cut else 0
            if log_id not in without and len(log.leaves) > size:
                grown[log_id] = log.mark()
        whole = {**self._cut, **grown}
        marks = [encode(whole[log_id]) for log_id in sorted(whole)]
        cut_id = digest(label, merkle.root(marks).hex()) if label else merkle.root(marks)
        return Cut(self.epoch + 1, cut_id, tuple(grown[log_id] for log_id in sorted(grown)))

    def close_epoch(self, cut: Cut | None = None, **choices: Any) -> ClosedEpoch:
        """Closes the next epoch with a cut of everything: folds it and applies the delta."""
        cut = cut or self.next_cut(**choices)
        folded = fold(self.state, cut, self.logs, self.genesis)
        self.state.apply(folded.delta)
        self._cut.update((mark.log_id, mark) for mark in cut.changed)
        self.epochs.append(ClosedEpoch(cut, folded))
        return self.epochs[-1]

    def close_epochs(self, count: int) -> None:
        """Closes several epochs, most of them empty."""
        for _ in range(count):
            self.close_epoch()
