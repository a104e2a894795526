"""How the witnesses of a ledger change, and what a proof of payment says across changes."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openledger_node.api import verify_file
from openledger_node.credit import fold, views
from openledger_node.exchange.proofs import ProofFile
from openledger_node.ledger.errors import OlnError, Refused, UsageError
from openledger_node.ledger.kinds import DatanetCreate
from openledger_node.ledger.votes import WitnessReady, WitnessSet
from openledger_node.node import epochs, voting
from tests.kit.homes import WITNESS, Coop

AUDIT = Path(__file__).resolve().parents[2] / "scripts" / "audit-ledger"
OTHERS = ["bo", "cy", "di"]
TIMES = "epoch_ms = 0\nt0_ms = 1000\nmaturity_epochs = 0\n"


@pytest.fixture
def coop(tmp_path: Path) -> Iterator[Coop]:
    """A ledger of one seat with some history, and three more accounts."""
    with Coop(tmp_path) as made:
        made.join(*OTHERS)
        made.settle()
        for home in made.ids:
            for name in made.ids:
                if name != home:
                    made[home].account_name(made.ids[name], name)
        made[WITNESS].issue(9_000_000, "bo")
        made.settle()
        yield made


def names(coop: Coop) -> list[str]:
    return [WITNESS, *OTHERS]


def everybody_votes(coop: Coop, present: list[str], rounds: int = 5, seed: int = 1) -> None:
    """Everybody hears everybody and says what is to be said, in any order."""
    order = random.Random(seed)
    for _ in range(rounds):
        for name in order.sample(present, len(present)):
            for other in present:
                if other != name:
                    coop.carry(other, name)
            try:
                coop[name].epoch_close()
            except Refused as error:
                assert error.code == "no_seat"  # it signs the epoch that took its seat away


def to_four(coop: Coop) -> None:
    """One seat becomes four."""
    params = coop.write("times.toml", TIMES)
    proposal = coop[WITNESS].witness_propose(add=OTHERS, params_file=params)
    assert proposal.waiting and proposal.needed == 1
    coop.settle()
    assert len(coop[WITNESS].witness_status().witnesses) == 1, "the others are not ready yet"
    for name in OTHERS:
        coop[name].witness_ready()
    coop.settle()


@pytest.mark.rule("A10")
def test_a_ledger_of_one_with_history_becomes_four_in_one_step(coop: Coop) -> None:
    to_four(coop)
    for name in names(coop):
        shown = coop[name].witness_status()
        assert (shown.number, shown.quorum, len(shown.witnesses)) == (1, 3, 4)
    before = coop[WITNESS].status().epoch
    coop[WITNESS].issue(1_000_000, "cy")
    everybody_votes(coop, names(coop))
    assert {coop[name].status().epoch for name in names(coop)} == {before + 1}
    statements = {coop[name].statement().statement_root for name in names(coop)}
    assert len(statements) == 1
    assert coop.conserved()


@pytest.mark.rule("A10")
def test_one_seat_alone_cannot_close_after_the_change(coop: Coop) -> None:
    to_four(coop)
    coop[WITNESS].issue(1_000_000, "cy")
    before = coop[WITNESS].status().epoch
    for _ in range(3):
        assert not coop[WITNESS].epoch_close().closed
    assert coop[WITNESS].status().epoch == before


@pytest.mark.rule("A8", "A10")
def test_a_proof_of_payment_is_checked_with_the_genesis_alone_across_changes(
    coop: Coop, tmp_path: Path
) -> None:
    to_four(coop)
    coop[WITNESS].issue(1_000_000, "cy")
    everybody_votes(coop, names(coop))
    genesis = coop.file("json")
    coop[WITNESS].ledger_export(genesis)
    proof = tmp_path / "bo.proof"
    coop["di"].prove(coop.ids["bo"], proof)
    verified = verify_file(proof, genesis)
    assert verified.valid, verified.reasons
    assert verified.facts["witnesses"] >= 3
    assert verified.facts["balance_micro"] == 9_000_000

    early = tmp_path / "early.proof"
    coop["di"].prove(coop.ids["bo"], early, epoch=2)
    assert verify_file(early, genesis).facts["witnesses"] == 1


@pytest.mark.rule("A8")
def test_a_proof_across_a_change_is_refused_when_any_byte_of_it_is_altered(
    coop: Coop, tmp_path: Path
) -> None:
    to_four(coop)
    coop[WITNESS].issue(1_000_000, "cy")
    everybody_votes(coop, names(coop))
    genesis = coop.file("json")
    coop[WITNESS].ledger_export(genesis)
    good, forged = tmp_path / "good.proof", tmp_path / "forged.proof"
    coop["di"].prove(coop.ids["bo"], good)
    data = good.read_bytes()
    assert ProofFile.__struct_fields__[0] == "format"
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        forged.write_bytes(changed)
        try:
            assert not verify_file(forged, genesis).valid, f"byte {place} of {len(data)}"
        except OlnError:
            continue


@pytest.mark.rule("A10")
def test_a_witness_is_replaced_and_signs_what_replaced_it(coop: Coop) -> None:
    to_four(coop)
    coop.join("eve")
    everybody_votes(coop, [*names(coop)[:3], "di"])
    coop.carry("eve", WITNESS)
    everybody_votes(coop, names(coop))
    for name in names(coop):
        coop.carry(name, "eve")
    proposal = coop[WITNESS].witness_propose(add=[coop.ids["eve"]], drop=["di"])
    assert any("adds" in change for change in proposal.changes)
    assert any("drops" in change for change in proposal.changes)
    coop["eve"].witness_ready()
    coop.carry("eve", WITNESS)
    everybody_votes(coop, names(coop))
    for name in ("bo", "cy"):
        coop[name].witness_approve(proposal.digest[:12])
    everybody_votes(coop, names(coop))
    for name in names(coop):
        coop.carry(name, "eve")
    assert {coop[name].witness_status().number for name in names(coop)} == {2}
    seats = {seat.account_id for seat in coop["eve"].witness_status().witnesses}
    assert coop.ids["eve"] in seats and coop.ids["di"] not in seats
    with pytest.raises(Refused):
        coop["di"].witness_propose(drop=["bo"])
    coop[WITNESS].issue(1_000_000, "cy")
    everybody_votes(coop, [WITNESS, "bo", "cy", "eve"])
    assert coop["eve"].status().epoch == coop[WITNESS].status().epoch


@pytest.mark.rule("A8", "A10")
def test_the_second_program_follows_the_statements_across_changes_of_the_set(
    coop: Coop, tmp_path: Path
) -> None:
    to_four(coop)
    coop[WITNESS].issue(1_000_000, "cy")
    everybody_votes(coop, names(coop))
    proposal = coop[WITNESS].witness_propose(drop=["di"])
    everybody_votes(coop, names(coop))
    for name in ("bo", "cy"):
        coop[name].witness_approve(proposal.digest[:12])
    everybody_votes(coop, names(coop))
    coop[WITNESS].issue(2_000_000, "bo")
    everybody_votes(coop, names(coop)[:3], rounds=8)
    shown = coop["bo"].statement()
    assert (len(shown.signatures), shown.final) == (3, True)
    assert coop["bo"].witness_status().number == 2
    genesis, bundle = coop.file("json"), coop.file("bundle")
    coop["bo"].ledger_export(genesis)
    coop["bo"].bundle_export(bundle)
    done = subprocess.run(
        [sys.executable, str(AUDIT), str(bundle), str(genesis)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    last = [line for line in done.stdout.splitlines() if shown.statement_root in line]
    assert last, done.stdout


def under_rules(coop: Coop, version: int) -> None:
    """A program that knows these rules proposed them; the ledger follows them from now on."""
    core = coop[WITNESS].core
    with core.store.read() as snapshot:
        rules = views.rules(snapshot.state)
    body = WitnessSet(rules.number + 1, rules.seats, version, rules.params, rules.issuers)
    core.append([core.draft("witness.set", body)])
    core.append([core.draft("witness.ready", WitnessReady(body.number))])


@pytest.mark.rule("A10")
def test_a_witness_gives_its_word_for_no_rules_that_its_program_does_not_know(coop: Coop) -> None:
    for act in (
        lambda: coop[WITNESS].witness_propose(rules_version=2),
        lambda: coop[WITNESS].witness_propose(add=OTHERS, rules_version=2),
    ):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.code == "rules_version_unknown"
    core = coop[WITNESS].core
    with core.store.read() as snapshot:
        rules = views.rules(snapshot.state)
    body = WitnessSet(1, rules.seats, 2, rules.params, rules.issuers)
    core.append([core.draft("witness.set", body)])
    coop.settle()
    (proposal,) = coop[WITNESS].witness_status().proposals
    for act in (
        lambda: coop[WITNESS].witness_approve(proposal.digest),
        coop[WITNESS].witness_ready,
    ):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.code == "rules_version_unknown"


@pytest.mark.rule("A10")
def test_under_rules_it_does_not_know_a_node_shows_what_is_final_and_folds_nothing(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_rules(coop, 2)
    coop[WITNESS].issue(1_000_000, "cy")
    coop.settle()
    before = coop["bo"].status().epoch
    coop[WITNESS].core.append(
        [coop[WITNESS].core.draft("datanet.create", DatanetCreate("more", "", ""))]
    )
    for name in names(coop):
        status = coop[name].status()
        assert [f"after epoch {before} " in alarm for alarm in status.alarms] == [True]
        assert "follows rules version 2" in status.alarms[0]
        held = {row.account_id: row.balance_micro for row in coop[name].credits().accounts}
        assert (held[coop.ids["bo"]], held[coop.ids["cy"]]) == (9_000_000, 1_000_000)
        for act in (
            lambda name=name: coop[name].credits(pending=True),
            lambda name=name: coop[name].datanet_create("under unknown rules"),
        ):
            with pytest.raises(Refused) as refused:
                act()
            assert refused.value.code == "rules_version_unknown"
    with pytest.raises(Refused):
        coop[WITNESS].epoch_close()
    with monkeypatch.context() as newer:
        for module in (fold, epochs):
            newer.setattr(module, "RULES_VERSION", 2)
        assert coop[WITNESS].epoch_close().closed
    coop.carry(WITNESS, "bo")
    assert coop[WITNESS].status().epoch == before + 1
    assert coop["bo"].status().epoch == before, "decided, and not folded here"
    assert coop["bo"].bundle_export(coop.file("bundle")).events


def test_a_proposal_that_changes_nothing_or_names_nobody_is_refused(coop: Coop) -> None:
    with pytest.raises(UsageError, match="in force"):
        coop[WITNESS].witness_propose()
    with pytest.raises(UsageError, match="no seat"):
        coop[WITNESS].witness_propose(drop=["bo"])
    with pytest.raises(UsageError, match="1 to 31"):
        coop[WITNESS].witness_propose(drop=[coop.ids[WITNESS]])
    with pytest.raises(UsageError, match="no final proposal"):
        coop[WITNESS].witness_approve("0123456789")
    with pytest.raises(Refused, match="no seat"):
        coop["bo"].witness_propose(add=["cy"])


@pytest.mark.rule("A8", "A10")
def test_a_seat_that_was_away_signs_earlier_statements_too_while_a_quorum_is_wanting(
    coop: Coop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four fold an epoch and are gone before they sign it. Once a later epoch is decided,
    it is not their last one any more: without their word nobody could ever prove it.
    """
    to_four(coop)
    sign = epochs.sign_missing_states
    cut_off = {coop[name].core.home for name in ("cy", "di")}
    monkeypatch.setattr(
        epochs, "sign_missing_states", lambda core: None if core.home in cut_off else sign(core)
    )
    monkeypatch.setattr(voting, "sign_missing_states", epochs.sign_missing_states)
    coop[WITNESS].issue(1_000_000, "cy")
    everybody_votes(coop, names(coop))
    wanting = coop[WITNESS].status().epoch
    coop[WITNESS].issue(1_000_000, "cy")
    everybody_votes(coop, names(coop))
    assert coop[WITNESS].status().epoch > wanting
    assert len(coop[WITNESS].statement(wanting).signatures) == 2
    cut_off.clear()
    everybody_votes(coop, names(coop), rounds=2)
    assert len(coop[WITNESS].statement(wanting).signatures) >= 3
    for name in names(coop):
        file = coop.file()
        coop[name].prove(coop.ids["cy"], file, epoch=wanting)
        assert verify_file(file).valid
