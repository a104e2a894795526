"""Statements: rows, root, proofs, encoding; what a tampered one meets."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openledger_node.credit.fold import delta_digest
from openledger_node.credit.overlay import Delta
from openledger_node.credit.statement import Row, Statement, parse_statement
from openledger_node.ledger import merkle
from openledger_node.ledger.encoding import H, decode, encode
from openledger_node.ledger.errors import BadInput, VerificationFailed
from tests.kit.ledgerkit import CREDIT, digest
from tests.kit.stage import Stage


def statement_of(count: int) -> Statement:
    rows = sorted(
        (Row(digest("account", i), 0, 0, 0, 0, 0, 0, i + 1, 0) for i in range(count)),
        key=lambda row: row.account,
    )
    return Statement(7, digest("cut"), tuple(rows))


@pytest.mark.rule("C13")
def test_rows_ascend_and_only_accounts_with_a_figure_have_one() -> None:
    stage = Stage()
    stage.use(10 * CREDIT)
    stage.close()
    rows = stage.ledger.epochs[-1].folded.statement.rows
    assert [row.account for row in rows] == sorted(row.account for row in rows)
    named = {row.account for row in rows}
    assert named == {each.id for each in (stage.ada, stage.bob, stage.maker, stage.user)}


def test_an_account_keeps_its_row_while_it_holds_anything_and_loses_it_after() -> None:
    stage = Stage()
    stage.close(3)
    row = stage.row(stage.user)
    assert row is not None and row.balance_micro == 60 * CREDIT
    stage.transfer(stage.user, stage.eve.id, 60 * CREDIT)
    stage.use(40 * CREDIT, weights=[(stage.a, 1_000_000)])
    stage.close()
    assert stage.row(stage.user) is None
    stage.close()
    ada = stage.row(stage.ada)
    assert ada is not None and ada.earned_data_micro == 0 < ada.balance_micro


def test_the_root_is_the_rfc_6962_root_over_the_rows() -> None:
    statement = statement_of(5)
    rows: list[object] = decode(statement.encode())[3]
    assert merkle.root([encode(row) for row in rows]) == statement.root
    assert Statement(0, digest("cut"), ()).root == hashlib.sha256().digest()


@given(count=st.integers(1, 40))
def test_every_row_is_proved_and_no_other_row_passes(count: int) -> None:
    statement = statement_of(count)
    for row in statement.rows:
        proof = statement.row_proof(row.account)
        assert proof is not None and proof.verify(statement.root) == row
    last = statement.row_proof(statement.rows[-1].account)
    assert last is not None
    richer = type(last)(
        Row(last.row.account, 0, 0, 0, 0, 0, 0, 10**9, 0), last.index, last.size, last.path
    )
    with pytest.raises(VerificationFailed):
        richer.verify(statement.root)
    with pytest.raises(VerificationFailed):
        last.verify(digest("another root"))


def test_an_account_without_a_row_has_no_proof() -> None:
    assert statement_of(3).row_proof(digest("nobody")) is None
    assert statement_of(3).row(digest("nobody")) is None


def test_encoding_and_parsing_are_inverse() -> None:
    statement = statement_of(4)
    assert parse_statement(statement.encode()) == statement


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xc0",
        encode([2, 7, digest("cut"), []]),
        encode([1, 7, digest("cut"), [], None]),
        encode([1, 7, digest("cut"), [[digest("a"), 0, 0, 0, 0, 0, 0, -1, 0]]]),
        encode([1, 7, digest("cut"), [[digest("a"), 0, 0, 0, 0, 0, 0, 1, 0]] * 2]),
        b"\x94\x01\xcd\x00\x07\xc4\x20" + bytes(32) + b"\x90",
    ],
)
def test_malformed_statements_are_refused(bad: bytes) -> None:
    with pytest.raises(BadInput):
        parse_statement(bad)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 1_023, 1_024, 1_025, 1_040, 65_535, 65_536])
def test_the_digest_of_a_delta_is_the_hash_of_its_canonical_array(count: int) -> None:
    """Chunks, and array headers of one, three and five bytes, leave no trace in it."""
    changes: Delta = [
        (n.to_bytes(33, "big"), None if n % 5 == 0 else bytes(n % 300)) for n in range(count)
    ]
    assert delta_digest(bytes(32), changes) == H("delta", bytes(32), changes)
