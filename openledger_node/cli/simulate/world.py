"""A small co-operative in a folder: real homes, made-up texts, credits that are counted at the end.

Everything goes through the Python interface, as an attacker's own programs would. Homes exchange
bundles, the co-operative's home closes the epochs. The texts come from a seed: words that no two
authors share, so that whose words an output has is known beforehand.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from openledger_node.api import Home
    from openledger_node.cli.app import Interface

COOP: Final = "co-op"
PROVIDER: Final = "provider"
READER: Final = "reader"
FUNDS_MICRO: Final = 1_000_000_000
FEE_MICRO: Final = 10_000_000
TEXT_WORDS: Final = 1_400
QUOTED_WORDS: Final = 60
ANSWERS: Final = 4
MATURITY_EPOCHS: Final = 4
WAITING: Final = f"maturity_epochs = {MATURITY_EPOCHS}\ndispute_epochs = {MATURITY_EPOCHS}\n"
"""Params of a ledger on which fees are held for a while, so that receipts can be challenged."""


class World:
    """The homes of one play, and what their owners hold. `params` is TOML, or empty."""

    def __init__(self, interface: Interface, folder: Path, seed: int, params: str = "") -> None:
        self.random = random.Random(seed)
        self.ids: dict[str, str] = {}
        self._interface = interface
        self._folder = folder
        self._stack = ExitStack()
        self._homes: dict[str, Home] = {}
        self._files = 0
        self._params = params

    def __enter__(self) -> World:
        file = None
        if self._params:
            file = self._file("toml")
            file.write_text(self._params, encoding="utf-8")
        begun = self._interface.initialise(self._folder / COOP, name=COOP, params_file=file)
        self._opened(COOP, begun.account_id)
        self[COOP].ledger_export(self._folder / "genesis.json")
        self.join(PROVIDER, READER)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Home:
        return self._homes[name]

    def _opened(self, name: str, account_id: str) -> None:
        self.ids[name] = account_id
        opened = self._interface.open_home(self._folder / name)
        self._homes[name] = self._stack.enter_context(opened)

    def join(self, *names: str) -> None:
        """New accounts on the ledger."""
        for name in names:
            joined = self._interface.initialise(
                self._folder / name, name=name, genesis_file=self._folder / "genesis.json"
            )
            self._opened(name, joined.account_id)

    def _file(self, suffix: str) -> Path:
        self._files += 1
        return self._folder / f"{self._files}.{suffix}"

    def _carry(self, source: str, target: str) -> None:
        bundle = self._file("bundle")
        self[source].bundle_export(bundle)
        self[target].bundle_import(bundle)
        bundle.unlink()

    def settle(self) -> None:
        """One epoch over all that everybody wrote, known to everybody."""
        others = [name for name in self._homes if name != COOP]
        for name in others:
            self._carry(name, COOP)
        self[COOP].epoch_close()
        for name in others:
            self._carry(COOP, name)

    # Texts.

    def words(self, author: str, count: int = TEXT_WORDS) -> list[str]:
        """A text of words that nobody else has."""
        vocabulary = [f"{author}{number}" for number in range(400)]
        return [self.random.choice(vocabulary) for _ in range(count)]

    def edited(self, words: Sequence[str], percent: int) -> list[str]:
        """A copy in which some words were changed."""
        changed = list(words)
        for place in self.random.sample(range(len(changed)), len(changed) * percent // 100):
            changed[place] = f"changed{self.random.randrange(10_000)}"
        return changed

    def add(self, name: str, words: Iterable[str]) -> str:
        """Registers a text, shared with all; the contribution's id."""
        file = self._file("txt")
        file.write_text(" ".join(words), encoding="utf-8")
        added = self[name].data_add([file], title=f"text of {name}", share="all")
        assert added.contribution_id is not None
        return added.contribution_id

    def answers(self, texts: Sequence[Sequence[str]]) -> Iterator[bytes]:
        """Outputs that each quote every text, with words of the model's own between."""
        for number in range(ANSWERS):
            parts: list[str] = []
            for words in texts:
                start = self.random.randrange(max(1, len(words) - QUOTED_WORDS))
                parts += [f"model{number}", *words[start : start + QUOTED_WORDS]]
            yield " ".join(parts).encode()

    # Money and uses.

    def fund(self, name: str, amount_micro: int = FUNDS_MICRO) -> None:
        self[COOP].issue(amount_micro, self.ids[name], "funds")
        self.settle()

    def paid_uses(
        self, payer: str, provider: str, trained_on: Sequence[str], outputs: Iterable[bytes]
    ) -> list[str]:
        """Registers a model, grants its fees, records the uses; the receipts' ids."""
        model, granted = self._model_and_grant(payer, provider, trained_on)
        receipts = [
            self[provider].use(model, output, grant=granted, fee_micro=FEE_MICRO).receipt_id
            for output in outputs
        ]
        self.settle()
        return receipts

    def _model_and_grant(
        self, payer: str, provider: str, trained_on: Sequence[str]
    ) -> tuple[str, str]:
        """Their ids, final."""
        model = self[provider].model_register(
            f"model of {provider}", trained_on=[(named, 1) for named in trained_on]
        )
        granted = self[payer].grant(self.ids[provider], ANSWERS * FEE_MICRO)
        self.settle()
        assert granted.grant_id is not None
        return model.model_id, granted.grant_id

    def false_uses(
        self, payer: str, provider: str, trained_on: Sequence[str], friend: str
    ) -> list[str]:
        """Receipts that give all weight to one contribution, whatever was answered.

        The provider has no evidence for that and serves none; the receipts' ids.
        """
        from openledger_node.ledger.kinds import UseReceipt

        model, granted = self._model_and_grant(payer, provider, trained_on)
        core = self[provider].core
        with core.store.read() as snapshot:
            epoch = snapshot.last_epoch()
        receipts = []
        for number in range(ANSWERS):
            root = hashlib.sha256(b"answer %d" % number).digest()
            named, weights = bytes.fromhex(model), ((bytes.fromhex(friend), 1_000_000),)
            grant = bytes.fromhex(granted)
            body = UseReceipt(grant, named, None, epoch, 1, root, FEE_MICRO, weights, 0, "spans")
            commit = hashlib.sha256(b"evidence %d" % number).digest()
            (written,) = core.append([core.draft("use.receipt", body, commit, 100)])
            receipts.append(written.event_id)
        self.settle()
        return receipts

    def mature(self) -> None:
        """As many epochs as a fee is held for, and one for verdicts to come in before."""
        for number in range(MATURITY_EPOCHS + 2):
            self[COOP].datanet_create(f"something to close an epoch over {number}")
            self.settle()

    def confirm(self, payer: str, receipts: Iterable[str]) -> None:
        for receipt in receipts:
            self[payer].confirm(receipt)
        self.settle()

    def earned_as_data(self, *names: str) -> int:
        """Micro-credits that accounts earned as contributors in the last epoch that paid."""
        return sum(self._row(name, "earned_data_micro") for name in names)

    def worth(self, *names: str) -> int:
        """Micro-credits that accounts hold."""
        return sum(
            self._row(name, "balance_micro") + self._row(name, "locked_micro") for name in names
        )

    def _row(self, name: str, field: str) -> int:
        for row in self[COOP].credits().accounts:
            if row.account_id == self.ids[name]:
                return int(getattr(row, field))
        return 0


@contextmanager
def world(interface: Interface, folder: Path, seed: int, *, params: str = "") -> Iterator[World]:
    """A co-operative in a new folder."""
    folder.mkdir(parents=True)
    with World(interface, folder, seed, params) as made:
        yield made
