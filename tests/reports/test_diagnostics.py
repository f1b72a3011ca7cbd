"""What a person and a program read about the declarations' mistakes."""

from __future__ import annotations

import json
import re

import pytest

from swarmctl.diagnostics import Code, Diagnostic, Position, Range, Related, Severity
from swarmctl.reports.diagnostics import MOST_PER_FILE, render_text, summary, to_json

CODE = Code("SW2104", "overlapping allowed IPs", "…")
MESH = "\n" * 17 + "      allowedIps: [10.7.0.0/24]\n" + "\n" * 8 + "      - 10.7.0.0/16\n"


def at(line: int, start: int, end: int, file: str = "stacks/lab/mesh.yaml", last: int = 0) -> Range:
    return Range(file, Position(line, start), Position(last or line, end))


def problem(place: Range | None, message: str = "broken", **more: object) -> Diagnostic:
    return Diagnostic(CODE, message, place, **more)  # type: ignore[arg-type]


def text(diagnostic: Diagnostic, source: str = MESH) -> str:
    file = diagnostic.range.file if diagnostic.range else ""
    return render_text([diagnostic], {file: source}, color=False)


def test_the_published_form() -> None:
    diagnostic = problem(
        at(18, 20, 31),
        "overlapping allowed IPs",
        label='also routed to peer "core-b" (stacks/lab/mesh.yaml:27)',
        help="give each peer its own prefix",
    )
    assert text(diagnostic) == (
        "error[SW2104]: overlapping allowed IPs\n"
        "  --> stacks/lab/mesh.yaml:18:20\n"
        "   |\n"
        "18 |       allowedIps: [10.7.0.0/24]\n"
        '   |                    ^^^^^^^^^^^ also routed to peer "core-b" (stacks/lab/mesh.yaml:27)\n'
        "   = help: give each peer its own prefix; see `swarmctl explain SW2104`\n"
        "\n"
        "1 error in 1 file\n"
    )


def test_a_related_place_is_shown_below() -> None:
    diagnostic = problem(at(18, 20, 31), related=(Related(at(27, 9, 20), "first used here"),))
    assert text(diagnostic).splitlines()[5:10] == [
        "  ::: stacks/lab/mesh.yaml:27:9",
        "   |",
        "27 |       - 10.7.0.0/16",
        "   |         ----------- first used here",
        "   = help: see `swarmctl explain SW2104`",
    ]


def test_the_gutter_is_as_wide_as_the_longest_line_number() -> None:
    source = "a: 1\n" * 1000
    diagnostic = problem(at(2, 1, 2, "x"), related=(Related(at(1000, 1, 2, "x"), "here"),))
    lines = text(diagnostic, source).splitlines()
    assert lines[1:4] == ["    --> x:2:1", "     |", "   2 | a: 1"]
    assert "1000 | a: 1" in lines


def underlined(source: str, start: int, end: int, last: int = 1) -> tuple[str, str]:
    """The shown line and its underline, both without the gutter."""
    lines = text(problem(at(1, start, end, "x", last)), source).splitlines()
    return lines[3][4:], lines[4][4:]


def test_tabs_are_widened_and_the_underline_with_them() -> None:
    assert underlined("a:\tb\tc", 6, 7) == ("a:  b   c", "        ^")
    assert underlined("\ta", 1, 2) == ("    a", "^^^^")


def test_wide_and_combining_characters_take_their_cells() -> None:
    assert underlined("日本: x", 5, 6) == ("日本: x", "      ^")
    assert underlined("日本: x", 1, 3) == ("日本: x", "^^^^")
    assert underlined("e\u0301e\u0301: x", 7, 8) == ("e\u0301e\u0301: x", "    ^")


def test_control_characters_of_a_file_never_reach_the_terminal() -> None:
    source = "a\x1b[31m: \u202ex"
    diagnostic = problem(at(1, 10, 11, "x"), "the value `\x1b]0;title\x07` is wrong", label="\x9b2J", help="\r\x08")
    output = render_text([diagnostic], {"x": source}, color=False)
    assert output.replace("\n", "").isprintable()
    assert "a\\x1b[31m: \\u202ex" in output
    assert output.splitlines()[4].index("^") == output.splitlines()[3].rindex("x")


def test_file_names_are_escaped_too() -> None:
    output = text(problem(at(1, 1, 2, "a\x1b[2J\nb.yaml")), "x")
    assert "a\\x1b[2J\\nb.yaml:1:1" in output


@pytest.mark.parametrize("start", [1, 60, 115, 130, 5_000, 9_990])
def test_long_lines_are_cut_around_the_place(start: int) -> None:
    line = "".join(chr(ord("a") + n % 26) for n in range(10_000))
    shown, underline = underlined(line, start, start + 5)
    assert len(shown) <= 122
    first = underline.index("^")
    assert shown[first : first + 5] == line[start - 1 : start + 4]
    assert underline.count("^") == 5
    assert shown.endswith("…") == (start < 9_900)


def test_a_long_range_is_cut_with_its_line() -> None:
    shown, underline = underlined("a: " + "x" * 500, 4, 504)
    assert len(underline) <= len(shown)


def test_a_range_over_several_lines_shows_the_first_and_names_the_last() -> None:
    source = "spec:\n  a: 1\n  b: 2\n"
    output = text(problem(at(1, 1, 7, "x", last=3), label="here"), source)
    assert output.splitlines()[3:5] == ["1 | spec:", "  | ^^^^^ here (to line 3)"]


def test_an_empty_range_still_points_somewhere() -> None:
    assert underlined("a:", 3, 3) == ("a:", "  ^")


def test_line_breaks_are_those_of_the_places() -> None:
    for line_break in ("\n", "\r\n", "\r"):
        output = text(problem(at(2, 1, 2, "x")), f"a\x0bb\u2028c{line_break}second{line_break}")
        assert output.splitlines()[3] == "2 | second"


def test_without_the_text_only_the_file_is_named() -> None:
    output = render_text([problem(at(1, 1, 1, "big.yaml"), help="split it")], {}, color=False)
    assert output.splitlines()[1:3] == [" --> big.yaml", "  = help: split it; see `swarmctl explain SW2104`"]


def test_without_a_place_there_is_only_the_message() -> None:
    lines = render_text([problem(None, "no Stack is declared")], {}, color=False).splitlines()
    assert lines == [
        "error[SW2104]: no Stack is declared",
        "  = help: see `swarmctl explain SW2104`",
        "",
        "1 error",
    ]


def test_the_code_is_not_named_twice() -> None:
    output = text(problem(at(1, 1, 2), help="see `swarmctl explain SW2104`"))
    assert output.count("swarmctl explain") == 1


def test_sorted_by_file_and_place() -> None:
    places = [at(2, 1, 2, "b"), at(1, 9, 10, "b"), at(1, 2, 3, "b"), at(9, 1, 2, "a"), None]
    output = render_text([problem(place) for place in places], {"a": "x\n" * 9, "b": "x" * 20 + "\nx\n"}, color=False)
    assert re.findall(r"--> (\S+)", output) == ["a:9:1", "b:1:2", "b:1:9", "b:2:1"]
    assert [each["line"] for each in to_json([problem(place) for place in places])["diagnostics"]] == [None, 9, 1, 1, 2]


def test_twenty_per_file_errors_first_and_the_rest_is_counted() -> None:
    source = {"x": "a\n" * 50, "y": "a\n"}
    warnings = [problem(at(line, 1, 2, "x"), severity=Severity.WARNING) for line in range(1, 41)]
    errors = [problem(at(line, 1, 2, "x")) for line in range(41, 46)]
    output = render_text([*warnings, *errors, problem(at(1, 1, 2, "y"))], source, color=False)
    assert output.count("--> x:") == MOST_PER_FILE
    assert all(f"--> x:{line}:1" in output for line in range(41, 46))
    assert output.index("… and 25 more in x; `--format json` has them all") < output.index("--> y:1:1")
    assert output.endswith("6 errors, 40 warnings in 2 files\n")


@pytest.mark.parametrize(
    ("severities", "expected"),
    [
        ("e", "1 error in 1 file"),
        ("ee", "2 errors in 1 file"),
        ("w", "1 warning in 1 file"),
        ("eeew", "3 errors, 1 warning in 1 file"),
    ],
)
def test_summary(severities: str, expected: str) -> None:
    kinds = {"e": Severity.ERROR, "w": Severity.WARNING}
    assert summary([problem(at(1, 1, 2), severity=kinds[each]) for each in severities]) == expected


def test_nothing_to_say() -> None:
    assert render_text([], {}, color=True) == ""
    assert to_json([]) == {"schema": "swarmctl/validate/v1", "diagnostics": []}


def test_colour_changes_nothing_but_colour() -> None:
    diagnostics = [
        problem(at(18, 20, 31), label="here", help="mend", related=(Related(at(27, 9, 20), "there"),)),
        problem(at(18, 1, 3), severity=Severity.WARNING),
    ]
    sources = {"stacks/lab/mesh.yaml": MESH}
    plain = render_text(diagnostics, sources, color=False)
    colored = render_text(diagnostics, sources, color=True)
    assert "\x1b[" not in plain
    assert "\x1b[31m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


def test_json_form() -> None:
    diagnostic = problem(
        at(18, 20, 31), "m", label="l", help="h", severity=Severity.WARNING, related=(Related(at(27, 9, 20), "r"),)
    )
    value = to_json([diagnostic, problem(None, "n")])
    assert json.loads(json.dumps(value)) == {
        "schema": "swarmctl/validate/v1",
        "diagnostics": [
            {
                "code": "SW2104", "severity": "error", "file": None, "line": None, "column": None,
                "endLine": None, "endColumn": None, "message": "n", "help": "",
            },
            {
                "code": "SW2104", "severity": "warning", "file": "stacks/lab/mesh.yaml", "line": 18, "column": 20,
                "endLine": 18, "endColumn": 31, "message": "m", "help": "h", "label": "l",
                "related": [
                    {
                        "file": "stacks/lab/mesh.yaml", "line": 27, "column": 9, "endLine": 27, "endColumn": 20,
                        "message": "r",
                    }
                ],
            },
        ],
    }  # fmt: skip


def test_a_hundred_thousand_lines_are_cut_up_once() -> None:
    source = "key: value\n" * 100_000
    diagnostics = [problem(at(line, 1, 4, "x")) for line in range(1, 100_000, 10)]
    assert render_text(diagnostics, {"x": source}, color=False).count("-->") == MOST_PER_FILE
