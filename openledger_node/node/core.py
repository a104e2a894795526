"""One opened home: its store, its keys, its clock, and the one way to append.

Who owns what: the store owns everything durable; `NodeCore` owns the device key, the writer of the
current own log and the clock. Appending goes through `append`: the draft is held to its kind's
shape, judged on a throw-away overlay of the fold where the caller asks for it (`judge`), made
durable, signed, and only then acknowledged.

A home that was copied or restored begins a new log before it appends anything (invariant 5):
`writer` sees to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openledger_node.ledger.errors import BadInput, Refused, UsageError
from openledger_node.ledger.genesis import Genesis
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.kinds import check_body
from openledger_node.node import keyfiles
from openledger_node.node.caches import Recent, Reservations
from openledger_node.node.config import Config, load_config
from openledger_node.node.results import Recorded
from openledger_node.node.setup import open_log
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.store import Store
from openledger_node.store.writer import Draft, LogWriter

if TYPE_CHECKING:
    from openledger_node.store.text_index import TextIndex

Progress = Callable[[int, int | None, str], None]
"""progress(done, total or None, what): called now and then by anything that may last."""

COPY_FACT: Final = "copy"
"""Local fact: set when a copied or restored home opened its new log, until the seat is resumed."""

MAX_SCOPES_KEPT: Final = 8
"""Names of tokenised scopes kept; a scope has two: its model's and its contributions'.

A corpus of 100 MB takes about 2 GB as tokens; most are far smaller.
"""

MAX_LOOKED_KEPT: Final = 2**16
"""Challenges that a seat looked at in vain in this epoch."""

MAX_MAPS_KEPT: Final = 64
"""Derivation maps kept between uses; each is read and checked once.

The largest that a map can be takes about 250 MB; most are far smaller.
"""

HOME_VARIABLE: Final = "OLN_HOME"


def no_progress(done: int, total: int | None, what: str) -> None:
    """For callers that show none."""


def system_clock_ms() -> int:
    """Milliseconds since 1970 by this machine's clock.

    A claim in events, never read by the fold.
    """
    return time.time_ns() // 1_000_000


class NodeCore:
    """An open home. Thread-safe; several processes may hold one home open."""

    def __init__(
        self,
        home: Path,
        store: Store,
        config: Config,
        passphrase: bytes | None,
        clock_ms: Callable[[], int],
    ) -> None:
        self.home = home
        self.store = store
        self.config = config
        self.clock_ms = clock_ms
        self._passphrase = passphrase
        self._lock = threading.RLock()
        self._keys: dict[str, SigningKey] = {}
        self._writer: LogWriter | None = None
        self.scopes: Recent[Any] = Recent(MAX_SCOPES_KEPT)
        self.maps: Recent[Any] = Recent(MAX_MAPS_KEPT)
        self.index: TextIndex | None = None
        self.looked: Recent[Any] = Recent(MAX_LOOKED_KEPT)
        self.commons: Recent[tuple[bytes, ...]] = Recent(1)
        self.use_lock = threading.Lock()
        self.reservations = Reservations()
        with store.read() as snapshot:
            self.genesis: Genesis = snapshot.genesis
            self.account_id: bytes = snapshot.own_account
            self.device: bytes = snapshot.own_device
        self.ledger_id = self.genesis.ledger_id

    def close(self) -> None:
        self.close_writer()
        self.store.close()

    def close_writer(self) -> None:
        """Finishes what is queued; the next append begins with a new writer."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _current_log(self) -> bytes | None:
        with self.store.read() as snapshot:
            return snapshot.current_log

    def key(self, role: str) -> SigningKey:
        """The secret key of a role, read from its file once."""
        with self._lock:
            if role not in self._keys:
                loaded = keyfiles.load_key(self.home / "keys", role, self._passphrase)
                self._keys[role] = loaded
            return self._keys[role]

    @property
    def passphrase(self) -> bytes | None:
        return self._passphrase

    def forget_key(self, role: str) -> None:
        """Reads the role's file again at its next use: it was replaced."""
        with self._lock:
            self._keys.pop(role, None)

    def writer(self) -> LogWriter:
        """The writer of the current own log; a copied or restored home opens a new one first.

        The current log may be another one than before: a process beside this one may have left it.
        One that grew elsewhere is left here (S9).
        """
        with self._lock:
            with self.store.read() as snapshot:
                current, went_on = snapshot.current_log, snapshot.current_log_went_on
            if went_on:
                self.leave_log()
            elif self._writer is not None and self._writer.log_id != current:
                self.close_writer()
            if self._writer is None:
                self._writer = self._open_writer()
            return self._writer

    def _open_writer(self) -> LogWriter:
        device = self.key("device")
        if device.public.raw != self.device:
            raise Refused(
                "the device key file belongs to another device than this home's",
                hint="restore the home with its own keys",
                code="foreign_key",
            )
        log_id = self._current_log()
        if log_id is None or not self.store.is_original():
            log_id = self._begin_log(log_id)
        return LogWriter(
            self.store,
            log_id,
            device,
            flush_events=self.config.flush_events,
        )

    def _begin_log(self, previous: bytes | None) -> bytes:
        """Opens a new own log; after another one, this home counts as a copy (invariant 5)."""
        device = self.key("device")
        opened = open_log(
            self.store, self.ledger_id, self.account_id, device, previous, self.clock_ms()
        )
        if previous is not None:
            self.store.set_facts(COPY_FACT, [(b"", b"copy")])
        self.store.rebind()
        return opened

    def leave_log(self) -> None:
        """Goes on in a new log: elsewhere the current one has a history that is not in this home.

        So it is after a rolled-back disk, which shows only when somebody holds a longer own log.
        """
        with self._lock:
            self.close_writer()
            self._begin_log(self._current_log())

    def draft(
        self, kind: str, body: Any, commit: bytes | None = None, payload_len: int = 0
    ) -> Draft:
        """A draft held to its kind's shape. BadInput says what does not fit."""
        try:
            check_body(kind, body)
        except UnicodeEncodeError:
            raise BadInput(f"the {kind} has text that is not UTF-8") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise BadInput(f"the {kind} cannot be written: {error}") from None
        return Draft(kind, body, self.clock_ms(), commit, payload_len)

    def append(self, drafts: Sequence[Draft]) -> list[Recorded]:
        """Durable, signed, in order: one atomic batch."""
        writer = self.writer()
        done = writer.append(drafts)
        log_id = writer.log_id.hex()
        return [
            Recorded(event_id.hex(), draft.kind, log_id, done.first_seq + index)
            for index, (draft, event_id) in enumerate(zip(drafts, done.event_ids, strict=True))
        ]

    def append_one(
        self, kind: str, body: Any, commit: bytes | None = None, payload_len: int = 0
    ) -> Recorded:
        return self.append([self.draft(kind, body, commit, payload_len)])[0]

    def is_copy(self) -> bool:
        """Whether this home was copied or restored and has not been told to go on as the seat."""
        if not self.store.is_original():
            return True
        with self.store.read() as snapshot:
            return snapshot.fact(COPY_FACT, b"") == b"copy"

    def resume(self) -> None:
        """This home goes on as the seat: the original is gone for good."""
        self.writer()
        self.store.set_facts(COPY_FACT, [(b"", b"resumed")])

    def become(self, account_id: bytes) -> None:
        """This home's device writes for another account from now on, in a new log (recovery)."""
        with self._lock:
            self.close_writer()
            self.account_id = account_id
            self.store.set_own_account(account_id, self.device)
            device = self.key("device")
            open_log(self.store, self.ledger_id, account_id, device, None, self.clock_ms())

    def is_solo_seat(self, snapshot: Snapshot) -> bool:
        """Whether this home's device is the only witness of its ledger."""
        from openledger_node.credit import views

        seats = views.rules(snapshot.state).seats
        return len(seats) == 1 and seats[0] == (self.account_id, self.device)


def open_core(
    home: Path,
    *,
    passphrase: bytes | None = None,
    clock_ms: Callable[[], int] = system_clock_ms,
    read_only: bool = False,
) -> NodeCore:
    """Opens an existing home. UsageError when there is none: state is never created by the way."""
    if not (home / "ledger").is_dir():
        if (home / "joining.json").is_file():
            raise UsageError(
                f"the home at {home} waits for its ledger's genesis",
                hint="`oln witness join GENESIS` begins it",
                code="waits",
            )
        raise UsageError(
            f"no home at {home}",
            hint="run `oln init` to begin one, or name another with --home",
            code="no_home",
        )
    config = load_config(home / "node.toml")
    store = Store.open(home, limit_bytes=config.limit_bytes, read_only=read_only)
    chosen = passphrase if passphrase is not None else keyfiles.passphrase_from_environment()
    return NodeCore(home, store, config, chosen, clock_ms)
