"""Phase 1 of the naive fold: logs, key events, closures, and the events of the epoch."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping

from openledger_node.ledger import accounts, events, forks
from openledger_node.ledger.errors import OlnError
from tests.credit.naive_records import (
    Entry,
    LogRecord,
)
from tests.credit.naive_state import PHASE, NaiveState

KEY_KINDS = accounts.KEY_EVENT_KINDS


class AccountPhase(NaiveState):
    """Phase 1."""

    def phase_1(self, marks: Mapping[bytes, int]) -> list[Entry]:
        """Key events, forks; then the events of the epoch."""
        before = {log_id: log.mark for log_id, log in self.logs.items()}
        for log_id, size in marks.items():
            self.see_log(log_id, size)
        self.key_events({log_id: before.get(log_id, 0) for log_id in self.logs})
        read: list[Entry] = []
        for log in self.logs.values():
            chain = self.chains.get(log.account)
            if log.usable and chain is not None and log.device in chain.devices:
                read += self.new_entries(log, log.read_to, log.mark)
                log.read_to = log.mark
        for entry in sorted((e for e in read if e.kind == "log.fork"), key=lambda e: e.order):
            if self.is_open(entry):
                self.fork(entry, before)
        kept = [entry for entry in read if self.is_open(entry)]
        known = []
        for entry in sorted(kept, key=lambda e: e.order):
            known += self.judge_form(entry)
        return known

    def see_log(self, log_id: bytes, size: int) -> None:
        """Takes note of a log's new mark; a new log of a retired device is closed at once."""
        if log_id in self.logs:
            self.logs[log_id].mark = size
            return
        log = LogRecord(log_id, mark=size)
        try:
            opened = events.parse_log_open(self.leaves[log_id][0])
        except OlnError:
            log.usable = False
        else:
            log.usable = opened.ledger_id == self.genesis.ledger_id and opened.log_id == log_id
            log.account, log.device = opened.account_id, opened.device
            chain = self.chains.get(log.account)
            retired = chain.devices.get(log.device) if chain else None
            if log.usable and retired is not None:
                self.close_log(log_id, retired.get(log_id, 0), 0)
        self.logs[log_id] = log

    def close_log(self, log_id: bytes, size: int, previous_mark: int) -> None:
        limit = max(size, previous_mark)
        self.closed[log_id] = min(self.closed.get(log_id, limit), limit)

    def is_open(self, entry: Entry) -> bool:
        return entry.seq < self.closed.get(entry.log.id, entry.seq + 1)

    def new_entries(self, log: LogRecord, start: int, stop: int) -> list[Entry]:
        salt = hashlib.sha256(self.cut_id + log.id).digest()
        leaves = self.leaves[log.id]
        found = []
        for seq in range(start, stop):
            entry = Entry(
                id=events.event_id(log.id, seq, leaves[seq]),
                order=(self.epoch, salt, seq),
                log=log,
                seq=seq,
            )
            try:
                event = events.parse_event(leaves[seq])
            except OlnError:
                entry.kind = ""
            else:
                entry.kind, entry.raw = event.kind, event.body
            found.append(entry)
        return found

    def judge_form(self, entry: Entry) -> list[Entry]:
        """The entry, when a later phase reads it."""
        if entry.kind == "":
            self.set_void(entry.id, "L1", "not_an_event")
        elif entry.kind == "log.open":
            if entry.seq:
                self.set_void(entry.id, "L3", "not_first")
        elif entry.kind in PHASE:
            return [entry]
        return []

    def key_events(self, before: Mapping[bytes, int]) -> None:
        """D2: per account, the next fitting key event until none fits."""
        by_account: dict[bytes, list[Entry]] = defaultdict(list)
        for log in self.logs.values():
            if not log.usable:
                continue
            for entry in self.new_entries(log, before[log.id], log.mark):
                if entry.kind not in KEY_KINDS or not self.is_open(entry) or not self.parse(entry):
                    continue
                if entry.body.account_id == log.account:
                    by_account[log.account].append(entry)
                else:
                    self.set_void(entry.id, "K4", "other_account")
        for account in sorted(by_account):
            self.follow_chain(account, by_account[account], before)

    def follow_chain(
        self, account: bytes, waiting: list[Entry], before: Mapping[bytes, int]
    ) -> None:
        while True:
            waiting = [entry for entry in waiting if self.is_open(entry)]
            fitting = [entry for entry in waiting if self.key_fault(account, entry) == ""]
            if not fitting:
                break
            fitting.sort(key=lambda e: (e.kind != "account.rotate", e.id))
            waiting = [entry for entry in waiting if entry not in fitting]
            self.apply_key_event(account, fitting[0], before)
            for entry in fitting[1:]:
                self.set_void(entry.id, "K5", "lost")
        for entry in waiting:
            self.set_void(entry.id, "K4", self.key_fault(account, entry))

    def key_fault(self, account: bytes, entry: Entry) -> str:
        """The reason code for which a key event does not follow its chain now."""
        body, chain = entry.body, self.chains.get(account)
        if chain is None:
            if entry.kind != "account.create":
                return "no_account"
            return accounts.create_fault(body, self.genesis.ledger_id) and "not_valid"
        if entry.kind == "account.create":
            return "exists"
        if body.n != chain.n:
            return "not_next"
        return chain.fault(body, self.genesis.ledger_id) and "not_valid"

    def apply_key_event(self, account: bytes, entry: Entry, before: Mapping[bytes, int]) -> None:
        if entry.kind == "account.create":
            self.chains[account] = accounts.created_chain(entry.body)
            self.wake(account)
            return
        self.chains[account] = self.chains[account].then(entry.body)
        if entry.kind == "account.retire_device":
            listed = dict(entry.body.logs)
            for log in self.logs.values():
                if log.usable and log.account == account and log.device == entry.body.device:
                    previous = before[log.id]
                    self.close_log(log.id, listed.get(log.id, previous), previous)

    def fork(self, entry: Entry, before: Mapping[bytes, int]) -> None:
        if not self.parse(entry):
            return
        if entry.body.genesis.ledger_id != self.genesis.ledger_id:
            self.set_void(entry.id, "L7", "other_ledger")
            return
        try:
            proof = forks.verify_fork(entry.body)
        except OlnError:
            self.set_void(entry.id, "L7", "not_a_fork")
            return
        self.close_log(proof.log_id, proof.common, before.get(proof.log_id, 0))
