"""Rules and tests name each other: every rule of docs/spec has a test, every test's rule exists.

A rule is an id such as C5, A7 or R2 at the start of a heading, of a table row or of a list item in
docs/spec. A test names its rules with `@pytest.mark.rule("C5", "C6")`. A rule that is not built yet
has "(later)" in its line; it needs no test, and the last test here reports it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).resolve().parent
SPEC: Final = TESTS.parent / "docs" / "spec"

RULE_LINE: Final = re.compile(r"^(?:#{2,6} +|\| *|[-*] +)(?:\*\*|`)?([A-Z]\d{1,2})\b")
LATER: Final = "(later)"

# The rules that other implementations refer to; a spec that loses one of them is broken.
NUMBERED: Final = {"C": 16, "A": 11, "R": 4}

spec_is_written = pytest.mark.skipif(
    not (SPEC / "rules.md").exists(), reason="docs/spec/rules.md is not written yet"
)


def rules_in(text: str) -> dict[str, str]:
    """{rule id: the lines that state it} of one page."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := RULE_LINE.match(line):
            found[match[1]] = found.get(match[1], "") + line + "\n"
    return found


@cache
def stated_rules() -> dict[str, str]:
    """{rule id: the lines that state it} over all pages of docs/spec but its index."""
    pages = [page for page in sorted(SPEC.glob("*.md")) if page.name != "README.md"]
    return rules_in("\n".join(page.read_text(encoding="utf-8") for page in pages))


def rules_named_in(source: str) -> list[tuple[str, int]]:
    """(rule id, line) of every `pytest.mark.rule(...)`, read without importing the source."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="rule", value=ast.Attribute(attr="mark"))):
                ids = [arg.value if isinstance(arg, ast.Constant) else "?" for arg in node.args]
                found += [(str(rule), node.lineno) for rule in ids or ["?"]]
    return found


@cache
def marked_rules() -> dict[str, list[str]]:
    """{rule id: where a mark names it} over all tests."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("*.py")):
        where = path.relative_to(TESTS.parent).as_posix()
        for rule, line in rules_named_in(path.read_text(encoding="utf-8")):
            found.setdefault(rule, []).append(f"{where}:{line}")
    return found


def in_order(rules: Iterable[str]) -> list[str]:
    return sorted(rules, key=lambda rule: (rule[:1], len(rule), rule))


def later_rules() -> list[str]:
    return in_order(rule for rule, lines in stated_rules().items() if LATER in lines)


def test_rules_are_read_from_headings_rows_and_items_alone() -> None:
    text = (
        "## C1 Spending\n| A2 | leader (later) |\n- **R3** Derivation\n- C4: held\nsee C9\n| no |"
    )
    assert in_order(rules_in(text)) == ["A2", "C1", "C4", "R3"]


def test_marks_are_read_from_source_and_must_be_literal() -> None:
    source = "@pytest.mark.rule('C5', 'C10')\ndef test_a(): ...\npytestmark = pytest.mark.rule(X)"
    assert rules_named_in(source) == [("C5", 1), ("C10", 1), ("?", 3)]


@spec_is_written
def test_the_spec_states_every_numbered_rule() -> None:
    expected = [f"{letter}{n}" for letter, count in NUMBERED.items() for n in range(1, count + 1)]
    assert in_order(set(expected) - set(stated_rules())) == []


@spec_is_written
def test_every_rule_that_is_built_has_a_test() -> None:
    assert in_order(set(stated_rules()) - set(marked_rules()) - set(later_rules())) == []


@spec_is_written
def test_every_rule_that_a_test_names_is_in_the_spec() -> None:
    unknown = set(marked_rules()) - set(stated_rules())
    assert {rule: marked_rules()[rule] for rule in in_order(unknown)} == {}


@spec_is_written
def test_rules_that_are_for_later_are_reported() -> None:
    if later := later_rules():
        pytest.skip(f"stated, and for later: {', '.join(later)}")
