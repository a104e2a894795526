"""What is printed for people is bounded, harmless and readable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openledger_node.cli import progress, spans, text
from openledger_node.node.results import Attributed, Explained, Span
from tests.cli.fakes import HEX, Terminal

EVIL = "\x1b[2J\x1b]0;title\x07\u202egnp.exe\r\nsecond\x9b"


def test_what_could_steer_a_terminal_is_replaced() -> None:
    assert text.printable("plain ü 字\nline") == "plain ü 字\nline"
    shown = text.printable(EVIL)
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "\n" not in text.one_line(EVIL)


@pytest.mark.parametrize(
    "command",
    [
        "data list",
        "data show 5f2c81d0",
        "data derive 5f2c81d0",
        "model list",
        "show 5f2c81d0",
        "log",
        "credits",
    ],
)
def test_no_command_prints_a_stranger_s_control_characters(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    name = command.replace(" 5f2c81d0", "").replace(" ", "_")
    answer = getattr(terminal.home, name)()
    terminal.home.answers[name] = poisoned(answer)
    assert terminal.run(*command.split()) == 0
    shown = capsys.readouterr().out
    assert "\N{REPLACEMENT CHARACTER}" in shown or "\\u001b" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)


def poisoned(value: Any) -> Any:
    """The value with every text that is not an id replaced by an evil one."""
    import dataclasses

    if isinstance(value, str):
        return value if value == HEX else EVIL
    if isinstance(value, tuple):
        return tuple(poisoned(item) for item in value)
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return type(value)(**{name: poisoned(getattr(value, name)) for name in names})
    return value


@pytest.mark.parametrize(
    ("amount_micro", "shown"),
    [(0, "0"), (1, "0.000001"), (12_500_000, "12.5"), (10_000_000, "10"), (-500_000, "-0.5")],
)
def test_credits_are_shown_with_trimmed_decimals(amount_micro: int, shown: str) -> None:
    assert text.credits_text(amount_micro) == shown


@pytest.mark.parametrize(
    ("amount_micro", "shown"), [(1_000_000, "1 credit"), (0, "0 credits"), (10, "0.00001 credits")]
)
def test_credits_agree_with_their_noun(amount_micro: int, shown: str) -> None:
    assert text.credits_counted(amount_micro) == shown


@pytest.mark.parametrize(
    ("ppm", "shown"),
    [(1_000_000, "100 %"), (0, "0 %"), (1, "0.0001 %"), (123_456, "12.3456 %"), (50_000, "5 %")],
)
def test_shares_are_shown_in_percent(ppm: int, shown: str) -> None:
    assert text.percent(ppm) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_572_864, "1.5 MiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes_are_shown_in_the_largest_unit_they_fill(size_bytes: int, shown: str) -> None:
    assert text.bytes_text(size_bytes) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 events"), (1, "1 event"), (2000, "2,000 events")]
)
def test_counts_agree_with_their_noun(count: int, shown: str) -> None:
    assert text.counted(count, "event") == shown


@pytest.mark.parametrize(("given", "used"), [("20", 40), ("80", 80), ("300", 100)])
def test_the_width_is_the_terminal_s_within_bounds(
    given: str, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert text.columns() == used


def test_a_table_folds_long_text_and_keeps_figures_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text.table(("title", ">amount"), [("word " * 40, "9007199254.740991")])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 60
    assert "9007199254.740991" in shown
    assert shown.count("word") == 40


def test_a_table_that_does_not_fit_is_a_block_of_lines_for_each_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    heads = ("account", ">balance", ">locked", ">units")
    rows = [("a name that is rather long", "9007199254.740991", "12.5", "1,000,000"), ("b",) * 4]
    text.table(heads, rows)
    assert capsys.readouterr().out.splitlines() == [
        "account  a name that is rather long",
        "balance  9007199254.740991",
        "locked   12.5",
        "units    1,000,000",
        "",
        "account  b",
        "balance  b",
        "locked   b",
        "units    b",
    ]


def test_an_id_in_a_table_stays_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    text.table(("event", "title"), [(HEX[:12], "word " * 30)])
    shown = capsys.readouterr().out
    assert HEX[:12] in shown
    assert max(map(len, shown.splitlines())) <= 44


def test_a_table_takes_text_as_it_is_and_not_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    text.table(("title",), [("[red]not a colour[/red] :smile:",)])
    assert "[red]not a colour[/red] :smile:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("terminal", "no_color", "styled"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_styles_are_for_terminals_and_never_with_no_color(
    terminal: bool,
    no_color: str,
    styled: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    text.table(("title",), [("words",)])
    found = (span(0, 3, HEX),)
    spans.show_spans(Attributed({HEX: 1}, 0, 4, found, "spans", None, 1, {}), OUTPUT)
    assert ("\x1b" in capsys.readouterr().out) is styled


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text.table(("title",), [], "none yet; make one")
    assert capsys.readouterr().out == "none yet; make one\n"


def test_an_explanation_is_a_tree_with_rules_and_amounts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    leaf = Explained("net of the fee", "C6", 9_500_000, ())
    last = Explained("network fee", "C5", 500_000, ())
    inner = Explained("a receipt", None, 10_000_000, (leaf, last))
    text.tree(Explained("earned", None, None, (inner,)))
    assert capsys.readouterr().out.splitlines() == [
        "earned",
        "└─ a receipt: 10",
        "   ├─ [C6] net of the fee: 9.5",
        "   └─ [C5] network fee: 0.5",
    ]


def test_a_wide_tree_says_how_much_is_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "MAX_TREE_CHILDREN", 2)
    step = Explained("step", None, None, ())
    text.tree(Explained("top", None, None, (step,) * 5))
    assert capsys.readouterr().out.splitlines()[-1] == "└─ and 3 more; --json shows all"


def span(start: int, end: int, contribution: str) -> Span:
    return Span(0, 0, start, end, contribution, 0, 0, "")


OUTPUT = b"one two three four"


def test_the_parts_of_an_output_are_the_output() -> None:
    found = (span(8, 13, "b"), span(0, 3, "a"))
    parts = spans.split(found, OUTPUT)
    assert parts == [("a", b"one"), (None, b" two "), ("b", b"three"), (None, b" four")]


def test_overlapping_spans_show_each_byte_once() -> None:
    parts = spans.split((span(0, 7, "a"), span(4, 13, "b"), span(5, 6, "c")), OUTPUT)
    assert b"".join(part for _, part in parts) == OUTPUT
    assert parts[:2] == [("a", b"one two"), ("b", b" three")]


def attributed(found: tuple[Span, ...], ppm: dict[str, int]) -> Attributed:
    titles = {HEX: "ana's poems", "b" * 64: "bert's notes"}
    owners = {HEX: "ana", "b" * 64: "bert", "c" * 64: "ana"}
    return Attributed(ppm, 100_000, 4, found, "spans", None, 1, titles, (), owners)


def test_spans_are_shown_behind_letters_with_a_legend(capsys: pytest.CaptureFixture[str]) -> None:
    found = (span(0, 3, HEX), span(8, 13, "b" * 64))
    spans.show_spans(attributed(found, {HEX: 400_000, "b" * 64: 500_000}), OUTPUT)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == ["B one", "- two", "A three", "- four", ""]
    table = [line.split() for line in lines[5:]]
    assert ["A", "bbbbbbbbbbbb", "bert's", "notes", "bert", "500,000", "50", "%"] in table
    assert ["B", "5f2c81d0a7b3", "ana's", "poems", "ana", "400,000", "40", "%"] in table
    assert ["-", "unattributed", "100,000", "10", "%"] in table


def test_a_long_part_goes_on_below_itself_and_not_below_its_letter(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output = b"word " * 20 + "\u4e2d".encode() * 60
    spans.show_spans(attributed((span(0, len(output), HEX),), {HEX: 1}), output)
    lines = capsys.readouterr().out.splitlines()
    part = lines[: lines.index("")]
    assert part[0].startswith("A word")
    assert len(part) > 3
    assert all(line.startswith("  ") for line in part[1:])


def test_contributions_of_one_owner_share_a_colour_and_have_letters_of_their_own() -> None:
    found = (span(0, 3, HEX), span(4, 7, "b" * 64), span(8, 13, "c" * 64))
    keys = spans.legend(attributed(found, {HEX: 5, "b" * 64: 4, "c" * 64: 3}))
    assert [key.letter for key in keys.values()] == ["A", "B", "C"]
    assert [key.owner_number for key in keys.values()] == [0, 1, 0]


def test_what_derivation_passes_on_stands_in_the_legend_without_a_span() -> None:
    keys = spans.legend(attributed((span(0, 3, HEX),), {"b" * 64: 900_000}))
    assert [(key.contribution_id, key.ppm) for key in keys.values()] == [
        ("b" * 64, 900_000),
        (HEX, 0),
    ]


def test_contributions_past_the_last_letter_share_one() -> None:
    names = [f"{number:064x}" for number in range(len(spans.LETTERS) + 2)]
    found = tuple(span(0, 1, name) for name in names)
    letters = [key.letter for key in spans.legend(attributed(found, {})).values()]
    assert letters == [*spans.LETTERS, spans.OTHERS, spans.OTHERS]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_no_bar_is_drawn_where_nobody_watches(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    shower = progress.Shower()
    for done in range(5):
        shower.update(done, 10, "events")
        clock.seconds += 1.0
    shower.close()
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_on_a_terminal_after_a_second(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    shower = progress.Shower()
    shower.update(1, 10, "events")
    clock.seconds = 0.9
    shower.update(2, 10, "events")
    assert capsys.readouterr().err == ""
    clock.seconds = 1.1
    shower.update(3, 10, "events")
    shower.update(3, None, "payloads")
    shower.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "events" in captured.err
    assert "3/10" in captured.err


def test_a_bar_is_drawn_when_one_step_alone_lasts_over_a_second(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    alarms: list[tuple[float, Callable[[], None]]] = []

    class Cancelled:
        def cancel(self) -> None:
            alarms.append((0.0, lambda: None))

    def alarm(seconds: float, call: Callable[[], None]) -> Cancelled:
        alarms.append((seconds, call))
        return Cancelled()

    shower = progress.Shower(alarm)
    shower.update(0, 10, "bytes indexed")
    assert capsys.readouterr().err == ""
    ((seconds, went_off),) = alarms
    assert seconds == progress.QUIET_SECONDS
    went_off()
    shower.close()
    assert "0/10" in capsys.readouterr().err
    assert len(alarms) == 2
    went_off()  # an alarm that could not be cancelled in time draws nothing
    assert capsys.readouterr().err == ""
