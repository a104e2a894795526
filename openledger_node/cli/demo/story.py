"""The co-operative's story, told through the Python interface and nothing else.

Every actor has a home of their own in one folder, and a daemon that runs on it. What one does is
written to their own log beside their daemon and reaches the others over links between the daemons,
as it would between machines. The co-operative's home has the ledger's one seat: it closes the
epochs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openledger_node.cli.demo.daemons import Daemons
from openledger_node.cli.demo.documents import Corpus, corpora, passages
from openledger_node.cli.text import counted, credits_text, short
from openledger_node.ledger.errors import OlnError, Refused, VerificationFailed

if TYPE_CHECKING:
    from openledger_node.api import Home
    from openledger_node.cli.app import Interface
    from openledger_node.node.results import Attributed, Credits, Explanation, Used, Verified

COOP: Final = "co-op"
BUILDER: Final = "model-builder"
OPERATOR: Final = "desk-operator"
READER: Final = "reader"
ISSUED_MICRO: Final = 100_000_000
GRANTED_MICRO: Final = 50_000_000
FEE_MICRO: Final = 4_000_000
MIN_CORPORA: Final = 2
ANSWERS: Final = 6
SETTINGS: Final = """\
[node]
links_per_address = 64  # all members of this co-operative call from one machine
"""
OWN_WORDS: Final = (
    "Here is what the manuals on this machine have to say about that.",
    "And to put it next to something else that is worth knowing:",
)
"""What the model adds of its own: nobody's text, so its share is refunded."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that somebody did."""

    step: int
    who: str
    what: str
    took_ms: int


@dataclass
class Played:
    """What the story came to."""

    folder: Path
    steps: list[Step] = field(default_factory=list)
    credits: Credits | None = None
    answer: bytes = b""
    attributed: Attributed | None = None
    explanation: Explanation | None = None
    receipt_explanation: Explanation | None = None
    verified: Verified | None = None
    refusal: str = ""
    statement_root: str = ""
    identical_homes: int = 0
    model_id: str = ""
    receipts: list[Used] = field(default_factory=list)
    proof: str = ""
    genesis: str = ""


class Story:
    """Plays the story in an empty folder; `say` hears of every step when it is done."""

    def __init__(self, interface: Interface, folder: Path, say: Callable[[Step], None]) -> None:
        self._interface = interface
        self._folder = folder
        self._say = say
        self._began = time.monotonic()
        self._accounts: dict[str, str] = {}
        self._contributions: dict[str, str] = {}
        self._daemons = Daemons(folder, self._home)
        self.played = Played(folder)

    def play(self) -> Played:
        found = corpora()
        if len(found) < MIN_CORPORA:
            raise Refused(
                "there is too little documentation on this machine to play with",
                hint="install a Python package that carries its readme, such as rich",
                code="no_documents",
            )
        with self._daemons:
            self._run(found)
        return self.played

    def _run(self, found: list[Corpus]) -> None:
        self._begin([corpus.name for corpus in found])
        for corpus in found:
            self._contribute(corpus)
        self._name_members()
        self._register_model()
        grant_id = self._fund()
        self._answer(found, grant_id)
        self._look_at_the_first()
        self._settle()
        self._compare()
        self._prove(self._best_contributor([corpus.name for corpus in found]))

    @contextmanager
    def _home(self, name: str) -> Iterator[Home]:
        with self._interface.open_home(self._folder / name) as home:
            yield home

    def _did(self, who: str, what: str) -> None:
        now = time.monotonic()
        took_ms = int((now - self._began) * 1000)
        self._began = now
        step = Step(len(self.played.steps) + 1, who, what, took_ms)
        self.played.steps.append(step)
        self._say(step)

    def _arrives(self, event_id: str, *names: str) -> None:
        """Waits until homes hold an event that another wrote."""
        for name in names:
            self._daemons.until(name, lambda home: bool(home.show(event_id)), "an event came")

    def _follows(self, epoch: int, *names: str) -> None:
        """Waits until homes have folded an epoch, each by itself."""
        for name in names:
            self._daemons.until(name, lambda home: home.status().epoch >= epoch, f"epoch {epoch}")

    def _close(self) -> int:
        with self._home(COOP) as home:
            return home.epoch_close().epoch

    def _begin(self, contributors: list[str]) -> None:
        for name in ("documents", "answers"):
            (self._folder / name).mkdir()
        genesis = self._folder / "genesis.json"
        begun = self._interface.initialise(
            self._folder / COOP, name=COOP, ledger_name="documentation co-operative"
        )
        self._accounts[COOP] = begun.account_id
        with self._home(COOP) as home:
            home.ledger_export(genesis)
        self.played.genesis = str(genesis)
        (self._folder / COOP / "node.toml").write_text(SETTINGS, encoding="utf-8")
        self._daemons.start(COOP)
        self._did(COOP, f"began ledger {short(begun.ledger_id)}, and gave its genesis file to all")
        members = [*contributors, BUILDER, OPERATOR, READER]
        for name in members:
            joined = self._interface.initialise(
                self._folder / name, name=name, genesis_file=genesis
            )
            self._accounts[name] = joined.account_id
        address = self._daemons.address(COOP)
        for name in members:
            with self._home(name) as home:
                home.peer_add(address)
            self._daemons.start(name)
        self._did(f"{len(members)} members", "joined, each with a home, keys and a daemon")

    def _name_members(self) -> None:
        """Once their logs have come, the co-operative gives every member a name of its own."""
        for named in self._contributions.values():
            self._arrives(named, COOP)
        members = set(self._accounts.values())

        def all_came(home: Home) -> bool:
            return members <= {account.account_id for account in home.account_list().accounts}

        self._daemons.until(COOP, all_came, "all members' logs came")
        with self._home(COOP) as home:
            for name, account_id in self._accounts.items():
                home.account_name(account_id, name)
        count = counted(len(self._daemons), "daemon")
        self._did(f"{count} on loopback", f"brought all of it to {COOP}, by links of TLS 1.3")

    def _contribute(self, corpus: Corpus) -> None:
        place = self._folder / "documents" / corpus.name
        place.mkdir()
        for name, text in corpus.documents:
            (place / name).write_text(text, encoding="utf-8")
        with self._home(corpus.name) as home:
            added = home.data_add([place], title=corpus.title, license=corpus.licence, share="all")
        assert added.contribution_id is not None
        self._contributions[corpus.name] = added.contribution_id
        measured = f"{counted(added.documents, 'document')}, {counted(added.tokens, 'token')}"
        self._did(corpus.name, f"registered {corpus.title}: {measured}")

    def _register_model(self) -> None:
        epoch = self._close()
        self._follows(epoch, BUILDER)
        with self._home(BUILDER) as home:
            trained_on = [(named, 1) for named in self._contributions.values()]
            model = home.model_register("manual-reader", trained_on=trained_on, license="MIT")
        self.played.model_id = model.model_id
        self._arrives(model.model_id, OPERATOR)
        with self._home(OPERATOR) as home:
            agent = home.agent_register("help-desk", models=[model.model_id])
        self._agent_id = agent.agent_id
        self._arrives(agent.agent_id, COOP)
        self._did(BUILDER, f"registered a model trained on all that epoch {epoch} made final")
        self._did(OPERATOR, "registered an agent that calls the model")

    def _fund(self) -> str:
        with self._home(COOP) as home:
            home.issue(ISSUED_MICRO, self._accounts[READER], "membership fee, paid by transfer")
        epoch = self._close()
        self._did(COOP, f"issued {credits_text(ISSUED_MICRO)} credits to the {READER}")
        self._follows(epoch, READER)
        with self._home(READER) as home:
            granted = home.grant(self._accounts[BUILDER], GRANTED_MICRO)
        assert granted.grant_id is not None
        self._arrives(granted.grant_id, COOP)
        self._follows(self._close(), BUILDER)
        self._did(READER, f"granted {credits_text(GRANTED_MICRO)} of them to the {BUILDER}")
        return granted.grant_id

    def _answer(self, found: list[Corpus], grant_id: str) -> None:
        quotes = [list(passages(corpus)) for corpus in found]
        usable = [index for index, quoted in enumerate(quotes) if quoted]
        self._daemons.until(BUILDER, self._has_all_text, "the documents came")
        with self._home(BUILDER) as home:
            for number in range(ANSWERS):
                first = usable[number % len(usable)]
                second = usable[(number + 1) % len(usable)]
                turn = number // len(usable)
                answer = "\n\n".join(
                    [
                        OWN_WORDS[0],
                        quotes[first][turn % len(quotes[first])],
                        OWN_WORDS[1],
                        quotes[second][(turn + 1) % len(quotes[second])],
                    ]
                )
                file = self._folder / "answers" / f"answer-{number + 1}.txt"
                file.write_text(answer + "\n", encoding="utf-8")
                used = home.use(
                    self.played.model_id,
                    file.read_bytes(),
                    grant=grant_id,
                    fee_micro=FEE_MICRO,
                    agent=self._agent_id,
                    key=f"answer-{number + 1}",
                )
                self.played.receipts.append(used)
        fee = credits_text(FEE_MICRO)
        self._did(BUILDER, f"gave {ANSWERS} answers that quote the documents, for {fee} each")

    def _look_at_the_first(self) -> None:
        """Attributes the first answer once more, for its spans; this records nothing."""
        self.played.answer = (self._folder / "answers" / "answer-1.txt").read_bytes()
        with self._home(BUILDER) as home:
            found = home.attribute(self.played.answer, model=self.played.model_id)
        names = {named: corpus for corpus, named in self._contributions.items()}
        self.played.attributed = replace(found, names=names)

    def _settle(self) -> None:
        self._arrives(self.played.receipts[-1].receipt_id, READER)
        with self._home(READER) as home:
            for used in self.played.receipts:
                last = home.confirm(used.receipt_id)
        self._arrives(last.event_id, COOP)
        self._did(READER, f"confirmed {counted(len(self.played.receipts), 'receipt')}")
        with self._home(COOP) as home:
            closed = home.epoch_close()
            self.played.credits = home.credits()
            self.played.statement_root = closed.statement_root
        counts = f"{counted(closed.events, 'event')}, {counted(closed.receipts, 'receipt')}"
        self._did(COOP, f"closed epoch {closed.epoch}: {counts}, {closed.void} void")

    def _has_all_text(self, home: Home) -> bool:
        """Whether the builder's node has been given the documents that it is to draw from."""
        return all(
            home.data_show(named).payload == "held" for named in self._contributions.values()
        )

    def _compare(self) -> None:
        """Every home folds the same events by itself, and exports the statement that it reached."""
        statements = set()
        assert self.played.credits is not None
        self._follows(self.played.credits.epoch, *self._accounts)
        for name in self._accounts:
            file = self._folder / name / "statement.oln"
            with self._home(name) as home:
                home.statement_export(None, file)
            statements.add(file.read_bytes())
        if len(statements) != 1:
            raise VerificationFailed(f"the homes reached {len(statements)} different statements")
        self.played.identical_homes = len(self._accounts)
        (statement,) = statements
        digest = hashlib.sha256(statement).hexdigest()
        self._did(
            f"{len(self._accounts)} homes",
            f"computed the same statement, byte for byte, each alone (SHA-256 {digest[:16]}...)",
        )

    def _best_contributor(self, names: list[str]) -> str:
        assert self.played.credits is not None
        earned = {row.account_id: row.earned_data_micro for row in self.played.credits.accounts}
        return max(names, key=lambda name: earned.get(self._accounts[name], 0))

    def _prove(self, name: str) -> None:
        genesis, file = Path(self.played.genesis), self._folder / f"{name}-credit.proof"
        with self._home(COOP) as home:
            self.played.explanation = home.explain(self._accounts[name])
            proved = home.prove(self._accounts[name], file)
        with self._home(BUILDER) as home:  # it holds the evidence of its receipts
            first = self.played.receipts[0].receipt_id
            self.played.receipt_explanation = home.explain(first)
        self.played.proof = str(file)
        self._did(name, f"has a proof of its credits in a file of {proved.size_bytes:,} bytes")
        verified = self._interface.verify_file(file, genesis)
        if not verified.valid:
            raise VerificationFailed(f"the proof does not hold: {', '.join(verified.reasons)}")
        self.played.verified = verified
        self._did("anybody", "verified the file with the genesis alone: it holds")
        self.played.refusal = self._tamper(file, genesis)
        self._did("a forger", f"changed one bit of a copy: {self.played.refusal}")

    def _tamper(self, file: Path, genesis: Path) -> str:
        """Why a copy of the proof with one bit changed is refused."""
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        copy = file.with_name("forged.proof")
        copy.write_bytes(data)
        try:
            forged = self._interface.verify_file(copy, genesis)
        except OlnError as error:
            return f"refused, {error.message}"
        if forged.valid:
            raise VerificationFailed("a proof with a changed bit was taken for valid")
        return f"refused, {forged.reasons[0]}" if forged.reasons else "refused"


def as_document(played: Played, kept: bool, as_json: Callable[[Any], Any]) -> dict[str, Any]:
    """The story for programs: `steps[]`, `credits[]`, and what they rest on."""
    assert played.credits is not None
    return {
        "steps": [
            {"step": step.step, "who": step.who, "what": step.what, "took_ms": step.took_ms}
            for step in played.steps
        ],
        "credits": as_json(played.credits.accounts),
        "epoch": played.credits.epoch,
        "issued_micro": played.credits.issued_micro,
        "pool_micro": played.credits.pool_micro,
        "statement_root": played.statement_root,
        "identical_homes": played.identical_homes,
        "receipts": as_json(played.receipts),
        "attributed": as_json(played.attributed),
        "explanation": as_json(played.explanation),
        "receipt_explanation": as_json(played.receipt_explanation),
        "verified": as_json(played.verified),
        "refusal": played.refusal,
        "kept": str(played.folder) if kept else None,
    }
