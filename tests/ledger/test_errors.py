"""Errors: whose fault, what to do next, and what `oln` ends with."""

from __future__ import annotations

import pytest

from openledger_node.ledger import errors
from openledger_node.ledger.errors import OlnError

EXIT_STATUS = {
    errors.UsageError: 2,
    errors.Refused: 3,
    errors.VerificationFailed: 1,
    errors.BadInput: 1,
    errors.NetworkError: 4,
    errors.StoreDamaged: 5,
    errors.StoreUnavailable: 3,
}


def test_every_error_class_is_in_the_table_above() -> None:
    assert set(OlnError.__subclasses__()) >= set(EXIT_STATUS)


@pytest.mark.parametrize("kind", EXIT_STATUS)
def test_an_error_carries_code_message_hint_and_exit_status(kind: type[OlnError]) -> None:
    error = kind("it is full", hint="make room")
    assert (error.message, error.hint) == ("it is full", "make room")
    assert error.code == kind.default_code
    assert error.exit_status == EXIT_STATUS[kind]
    assert str(error) == "it is full\nhint: make room"
    assert str(kind("it is full")) == "it is full"


def test_codes_tell_the_classes_apart_and_can_be_narrowed() -> None:
    assert len({kind.default_code for kind in EXIT_STATUS}) == len(EXIT_STATUS)
    assert errors.Refused("no", code="rules_version_unknown").code == "rules_version_unknown"
