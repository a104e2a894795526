"""Proofs of entries of derivation maps: what was declared of some tokens, without either text."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from openledger_node.api import verify_file
from openledger_node.exchange.derivation_proofs import DerivationParts
from openledger_node.exchange.proofs import ProofFile
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, Refused, UsageError
from tests.kit.homes import HARBOUR, Ready, words

pytestmark = pytest.mark.rule("R3", "T10")

COPY = f"{words('own', 100)} {words('harbour', 80)} {words('own', 50, 100)} {words('baker', 60)}"


@pytest.fixture
def proved(stage: Ready) -> tuple[Ready, str, str, list[Path]]:
    """maker's copy of two texts, its derivation, and the proof of each entry of the map."""
    file = stage.coop.write("copy.txt", COPY)
    added = stage.coop["maker"].data_add([file], title="Copy")
    assert added.contribution_id is not None and added.derivation_id is not None
    stage.coop.settle()
    files = []
    for entry in range(2):
        proof = stage.coop.file("proof")
        stage.coop["user"].prove(added.derivation_id, proof, entry=entry)
        files.append(proof)
    return stage, added.contribution_id, added.derivation_id, files


def test_each_entry_is_proved_from_its_file_alone(
    proved: tuple[Ready, str, str, list[Path]],
) -> None:
    stage, copy, derivation, files = proved
    shown = [verify_file(file, stage.coop.genesis) for file in files]
    assert all(item.valid and item.what == "derivation" for item in shown), shown
    first, second = (item.facts for item in shown)
    assert (first["source_id"], second["source_id"]) == (stage.harbour, stage.bakers)
    assert (first["tokens"], first["source_tokens"]) == ([100, 180], [0, 80])
    assert (second["tokens"], second["source_tokens"]) == ([230, 290], [0, 60])
    for number, facts in enumerate((first, second)):
        assert (facts["contribution_id"], facts["derivation_id"]) == (copy, derivation)
        assert (facts["entry"], facts["entries"], facts["final"]) == (number, 2, True)
        assert (facts["document"], facts["source_document"]) == (0, 0)
    assert HARBOUR[:12].encode() not in files[0].read_bytes()


def test_the_proof_of_an_entry_altered_in_any_byte_is_refused(
    proved: tuple[Ready, str, str, list[Path]],
) -> None:
    stage, _, _, files = proved
    good = verify_file(files[0], stage.coop.genesis)
    data = files[0].read_bytes()
    altered = stage.coop.file("proof")
    begin = data.rindex(bytes.fromhex(stage.harbour)) - 40  # the entry proof, and a bit before
    places = [*range(0, begin, 7), *range(begin, len(data))]
    for at in places:
        altered.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            found = verify_file(altered, stage.coop.genesis)
        except BadInput:
            continue
        assert not found.valid or (at < begin and found.facts == good.facts), at


def test_an_entry_of_another_map_proves_nothing(
    proved: tuple[Ready, str, str, list[Path]],
) -> None:
    stage, _, _, files = proved
    whole = msgspec.msgpack.decode(files[0].read_bytes(), type=ProofFile)
    parts = msgspec.msgpack.decode(whole.parts, type=DerivationParts)
    entry = msgspec.structs.replace(parts.entry.entry, length=81)
    swapped = msgspec.structs.replace(
        parts, entry=msgspec.structs.replace(parts.entry, entry=entry)
    )
    file = stage.coop.file("proof")
    file.write_bytes(encode(msgspec.structs.replace(whole, parts=encode(swapped))))
    found = verify_file(file)
    assert not found.valid
    assert "not one of the map" in found.reasons[0]


def test_an_entry_that_is_not_there_or_not_held_cannot_be_proved(
    proved: tuple[Ready, str, str, list[Path]],
) -> None:
    stage, copy, derivation, _ = proved
    user = stage.coop["user"]
    with pytest.raises(UsageError, match="no entry 2"):
        user.prove(derivation, stage.coop.file("proof"), entry=2)
    with pytest.raises(UsageError, match=r"derivation"):
        user.prove(copy, stage.coop.file("proof"), entry=0)
    commit = user.show(derivation).payload_commit
    assert commit is not None
    user.core.store.erase_payload(bytes.fromhex(commit))
    with pytest.raises(Refused, match="not held here"):
        user.prove(derivation, stage.coop.file("proof"), entry=0)
