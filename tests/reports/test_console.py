"""What a terminal can do, and what is safe to print on it."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest

from swarmctl.reports.console import Console, duration, look, names, safe, wrapped
from swarmctl.reports.values import delta, show


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "color", "live"),
    [
        ({}, True, True),
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, True),
        ({"CI": "true"}, True, False),
        ({"CI": "false"}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
    ],
)
def test_terminal(environ: Mapping[str, str], color: bool, live: bool) -> None:
    console = look(Terminal(), environ)
    assert (console.color, console.live) == (color, live)


@pytest.mark.parametrize(
    ("environ", "color"), [({}, False), ({"CLICOLOR_FORCE": "1"}, True), ({"FORCE_COLOR": "0"}, False)]
)
def test_a_pipe_is_never_live_and_has_colour_only_when_asked(environ: Mapping[str, str], color: bool) -> None:
    console = look(io.StringIO(), environ)
    assert (console.color, console.live, console.width) == (color, False, 100)


def test_width_is_as_declared_and_never_too_small() -> None:
    assert look(io.StringIO(), {"COLUMNS": "132"}).width == 132
    assert look(io.StringIO(), {"COLUMNS": "3"}).width == 40
    assert look(io.StringIO(), {"COLUMNS": "wide"}).width == 100


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not look(stream, {}).terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ümläut → 日本", "plain ümläut → 日本"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b31m", "\\x9b31m"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("\x7f", "\\x7f"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("10.88.0.1/16", "10.88.0.1/16"),
        ("", '""'),
        ("two words", '"two words"'),
        ("1420", '"1420"'),
        (1420, "1420"),
        (1420.0, "1420"),
        (0.5, "0.5"),
        ("true", '"true"'),
        (True, "true"),
        (None, "none"),
        (["a", 1], "[a, 1]"),
        ({"role": "worker"}, "{role: worker}"),
        ({"unknown": "a.b"}, "(known after apply)"),
        ({"deep": [{"secret": True}]}, "{deep: [(secret)]}"),
        ('say "hi"', '"say \\"hi\\""'),
    ],
)
def test_values(value: object, shown: str) -> None:
    assert show(value) == shown


def test_a_long_value_is_cut_and_says_how_long_it_was() -> None:
    assert show("x" * 1000).endswith("x… (1,000 characters)")


def test_runs_of_names_are_shortened() -> None:
    assert names(f"workers-{number}" for number in range(248)) == "workers-0 … workers-247"
    assert names(["b-10", "b-9", "a", "b-2"]) == "a, b-2, b-9, b-10"
    assert names([f"n{letter}" for letter in "abcdefgh"]) == "na, nb, nc, nd, ne, nf and 2 more"


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.04, 9.9, 12.3, 59.6, 185, 7620)] == [
        "0.0s", "9.9s", "12s", "1m 00s", "3m 05s", "2h 07m",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("saddr { 10.0.0.1, 10.0.0.2 } accept", "saddr { 10.0.0.1, 10.0.0.2, 10.0.0.3 } accept", "+10.0.0.3"),
        (["a", "b", "c"], ["a", "d", "c"], "-b +d"),
        ("one two", "three four", ""),
        ("a b", "b a", ""),
        (1, 2, ""),
        ({"secret": True}, "x", ""),
    ],
)
def test_what_changes_inside_a_long_value(before: object, after: object, words: str) -> None:
    assert delta(before, after) == words


def test_long_lines_are_broken_at_blanks_on_a_terminal_and_left_whole_on_a_pipe() -> None:
    line = "      \x1b[32m+\x1b[0m peer workers-1 10.88.3.4/32 via 172.20.1.5:51820 (every 25s)"
    terminal = Console(color=True, width=40, live=True, terminal=True)
    assert wrapped(line, terminal).splitlines() == [
        "      \x1b[32m+\x1b[0m peer workers-1 10.88.3.4/32 via",
        "          172.20.1.5:51820 (every 25s)",
    ]
    pipe = Console(color=False, width=40, live=False, terminal=False)
    assert wrapped(line, pipe) == line


def test_a_word_longer_than_the_line_is_not_lost() -> None:
    terminal = Console(color=False, width=40, live=True, terminal=True)
    word = "x" * 60
    assert wrapped(f"  a {word} b", terminal).replace("\n", " ").split() == ["a", word, "b"]
