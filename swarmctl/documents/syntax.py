"""libyaml's syntax errors → diagnostics that say what was probably meant, at the place where the mistake is.

libyaml tells where it noticed; the mistake is often before that: the opening quote, the line above without a colon.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from yaml import MarkedYAMLError

from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.documents.codes import (
    BRACKETS,
    DIRECTIVE,
    ESCAPE,
    INDENTATION,
    KEY_NOT_TEXT,
    MISSING_COLON,
    NEEDS_QUOTES,
    SYNTAX,
    TAB,
    TAG,
    UNCLOSED_QUOTE,
)
from swarmctl.documents.surroundings import Around
from swarmctl.documents.text import Lines, printable

_KEY = r"(?:\"[^\"]*\"|'[^']*'|[^\s\"'#\[\]{},-][^:#]*?|-[^\s:#][^:#]*?)"
_KEY_AND_VALUE = re.compile(rf"\s*(?:-\s+)*({_KEY})\s*:\s+(\S.*)?$")
_KEY_ONLY = re.compile(rf"\s*(?:-\s+)*({_KEY})\s*:\s*$")
_NO_SPACE = re.compile(r"\s*(?:-\s+)*(?P<key>[A-Za-z_][\w./-]*):(?P<value>[^\s:/][^\s:]*)$")
_PARTNER = {"[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Near:
    """What the reader had seen when it was stopped."""

    base: int
    """Offset in the file that libyaml's marks count from."""
    last: tuple[int, int]
    """The span of the last scalar, in the file."""
    inner: int
    """Where the innermost open mapping or list begins, in the file."""


def explain_syntax(lines: Lines, error: MarkedYAMLError, near: Near) -> tuple[Diagnostic, int]:
    """The diagnostic for `error`, and the offset in the file at which reading stopped."""
    base = near.base
    text = Around(lines)
    size = len(lines.source.text)
    at = min(error.problem_mark.index + base, size) if error.problem_mark else base
    opened = min(error.context_mark.index + base, size) if error.context_mark else at
    problem, context = error.problem or "", error.context or ""
    for phrase, explain in _EXPLANATIONS.items():
        if phrase in problem or phrase in context:
            diagnostic = explain(text, at, opened, context, near)
            if diagnostic is not None:
                return diagnostic, at
    # Whatever is left is rare; libyaml's own words with the place are still of use.
    words = f"{problem} {context}".strip() or "this is not YAML"
    return _at(text, SYNTAX, words, at, at + 1, help="compare with the lines around it"), at


def _at(
    text: Around,
    code: Code,
    message: str,
    start: int,
    end: int,
    *,
    help: str,
    label: str = "",
    related: tuple[int, int, str] | None = None,
) -> Diagnostic:
    if start >= len(text.text.rstrip()) and text.text.strip():
        # At the end of the file there is nothing to point at but its last character.
        end = len(text.text.rstrip())
        start = end - 1
    others = (Related(text.lines.range(related[0], related[1]), related[2]),) if related else ()
    return Diagnostic(
        code, message, text.lines.range(start, max(end, start + 1)), label=label, help=help, related=others
    )


def _cannot_start(text: Around, at: int, _opened: int, _context: str, near: Near) -> Diagnostic | None:
    if at >= len(text.text):
        return None
    if text.text[at] == "\t":
        return _tab(text, at, at, "", near)
    return _name(text, at, at, "", near)


def _quoted(value: str) -> str:
    """How `value` is written in quotes, shortened if it is long."""
    value = value if len(value) <= 60 else f"{value[:59]}…"
    if '"' not in value and "\\" not in value:
        return f'"{value}"'
    return "'" + value.replace("'", "''") + "'"


def _tab(text: Around, at: int, _opened: int, _context: str, _near: Near) -> Diagnostic:
    start, end = text.bounds(at)
    at = at if text.text[at : at + 1] == "\t" else max(text.text.find("\t", start, end), start)
    stop = at
    while stop < end and text.text[stop] in " \t":
        stop += 1
    return _at(text, TAB, "a tab stands where YAML wants spaces", at, stop, help="indent with spaces, two per level")


def _unclosed_quote(text: Around, at: int, opened: int, context: str, _near: Near) -> Diagnostic | None:
    if "quoted scalar" not in context:
        return None
    _, end = text.bounds(opened)
    quote = text.text[opened : opened + 1]
    return _at(
        text, UNCLOSED_QUOTE, f"the quote {quote} is never closed", opened, end, label="opened here",
        help=f"close it with {quote} where the text ends",
    )  # fmt: skip


def _escape(text: Around, at: int, opened: int, _context: str, _near: Near) -> Diagnostic:
    start = text.text.rfind("\\", opened, at + 1)
    start = at if start < 0 else start
    written = printable(text.text[start : start + 2])
    return _at(
        text,
        ESCAPE,
        f"`{written}` is not an escape that YAML knows, or it is not complete",
        start,
        start + 2,
        help="write \\\\ for a backslash, or use single quotes",
    )


def _mapping_value(text: Around, at: int, _opened: int, _context: str, _near: Near) -> Diagnostic | None:
    start, end = text.bounds(at)
    first = _KEY_AND_VALUE.match(text.text[start:end])
    if first and first.group(2) and start + first.start(2) <= at:
        value_start, value_end = text.content(start + first.start(2), end)
        value_start = start + first.start(2)
        return _at(
            text,
            NEEDS_QUOTES,
            "a second colon in one line",
            value_start,
            max(value_end, at + 1),
            label="one value?",
            help=f"quote the value: {_quoted(text.text[value_start:value_end])}; or begin a new line",
        )
    above = text.previous(at) or (start, start)
    words = text.text[above[0] : above[1]]
    if text.text.startswith("---", start):
        return _at(
            text, SYNTAX, "a mapping begins in the line after `---`", start, end, help="begin a new line after `---`"
        )
    glued = _NO_SPACE.match(words)
    if glued:
        return _no_space(text, above, glued)
    if not _KEY_AND_VALUE.match(words) and not words.startswith("-"):
        return _no_colon(text, *above)
    first_start, first_end = text.content(start, at)
    return _at(
        text,
        INDENTATION,
        "this line is indented more than the one it belongs to",
        first_start,
        first_end,
        help="indent both lines alike",
        related=(above[0], above[1], "this one is already complete"),
    )


def _no_space(text: Around, span: tuple[int, int], glued: re.Match[str]) -> Diagnostic:
    key, value = glued.group("key"), glued.group("value")
    start = span[0] + glued.start("key")
    return _at(
        text, MISSING_COLON, "a space is missing after the colon", start, span[1], help=f"write `{key}: {value}`"
    )


def _no_colon(text: Around, start: int, end: int) -> Diagnostic:
    dash = re.match(r"(-\s+)*", text.text[start:end])
    start += dash.end() if dash else 0
    words = text.text[start:end].split(None, 1)
    help = "write `key: value`"
    if words and len(words) == 2 and len(words[1]) <= 40 and re.fullmatch(r"[A-Za-z][\w.-]*", words[0]):
        help = f"write `{words[0]}: {words[1]}`"
    elif len(words) == 1 and re.fullmatch(r"[A-Za-z][\w.-]*", words[0]):
        help = f"write `{words[0]}:`"
    return _at(text, MISSING_COLON, "there is no colon in this line, and it is not a value", start, end, help=help)


def _expected_colon(text: Around, at: int, opened: int, _context: str, _near: Near) -> Diagnostic:
    start, end = text.content(opened, text.bounds(opened)[1])
    glued = _NO_SPACE.match(text.text[start:end])
    return _no_space(text, (start, end), glued) if glued else _no_colon(text, start, end)


def _brackets(text: Around, at: int, opened: int, _context: str, _near: Near) -> Diagnostic:
    partner = _PARTNER.get(text.text[opened : opened + 1], "]")
    line_start, line_end = text.bounds(at)
    if (line_start != text.bounds(opened)[0] and text.indent(at) <= text.indent(opened)) or at >= line_end:
        return _unclosed_bracket(text, opened)
    return _at(
        text,
        BRACKETS,
        f"a comma or `{partner}` is missing here",
        at,
        at + 1,
        help=f"put a comma between items, and `{partner}` at the end",
        related=(opened, opened + 1, "the bracket is opened here"),
    )


def _unclosed_bracket(text: Around, opened: int) -> Diagnostic:
    bracket = text.text[opened : opened + 1]
    return _at(
        text,
        BRACKETS,
        f"the bracket `{bracket}` is never closed",
        opened,
        opened + 1,
        label="opened here",
        help=f"close it with `{_PARTNER.get(bracket, ']')}`, and put commas between items",
    )


def _expected_dash(text: Around, at: int, opened: int, _context: str, _near: Near) -> Diagnostic:
    start, end = text.content(at, text.bounds(at)[1])
    column = opened - text.bounds(opened)[0]
    if text.indent(at) == column:
        message, help = "a key stands where the list goes on", "indent the key, or begin the line with `- `"
    else:
        message, help = "this line fits no level of indentation", "align it with the line that it belongs to"
    return _at(text, INDENTATION, message, start, end, help=help, related=(opened, opened + 1, "the list begins here"))


def _no_key(text: Around, at: int) -> Diagnostic:
    help = "write the key, or remove the colon"
    return _at(text, KEY_NOT_TEXT, "there is no key before the colon", at, at + 1, help=help)


def _expected_key(text: Around, at: int, opened: int, _context: str, near: Near) -> Diagnostic | None:
    if at >= len(text.text):
        return None
    line_start, line_end = text.bounds(at)
    start, end = text.content(at, line_end)
    character = text.text[at]
    if character == ":":
        return _no_key(text, at)
    if character in "]}":
        return _at(
            text, BRACKETS, f"the bracket `{character}` was never opened", at, at + 1,
            help="remove it, or open it where the value begins",
        )  # fmt: skip
    if text.text[line_start:at].strip() == "":
        if text.text.startswith("-", at) and text.text[at + 1 : at + 2] in (" ", "\t", "\n", "\r", ""):
            message, help = "a list item stands where a key is expected", "put the list under its key"
        else:
            message, help = "this line fits no level of indentation", "align it with the line that it belongs to"
        return _at(text, INDENTATION, message, start, end, help=help)
    last = near.last
    if last[1] <= at and text.text[last[0] : last[0] + 1] in ("'", '"') and last[1] > last[0]:
        quote = text.text[last[0]]
        help = "write '' for a quote inside single quotes" if quote == "'" else 'write \\" for a quote inside quotes'
        if text.bounds(last[0])[0] != line_start:
            help = "close the quote in the line in which it was opened"
        return _at(
            text,
            UNCLOSED_QUOTE,
            "text stands behind the closing quote",
            at,
            end,
            help=help,
            related=(last[0], last[1], "the quoted text"),
        )
    return _at(
        text, SYNTAX, "this does not belong to the value before it", at, end, help="quote the whole value, or remove it"
    )


def _no_content(text: Around, at: int, _opened: int, _context: str, near: Near) -> Diagnostic | None:
    character = text.text[at : at + 1]
    ended = not character or text.text.startswith(("---", "..."), at)
    if ended and text.text[near.inner : near.inner + 1] in ("[", "{"):
        return _unclosed_bracket(text, near.inner)
    if character == ":":
        return _no_key(text, at)
    if character in ("]", "}"):
        return _at(
            text, BRACKETS, f"the bracket `{character}` was never opened", at, at + 1,
            help="remove it, or quote the text",
        )  # fmt: skip
    if character == ",":
        return _at(text, BRACKETS, "nothing stands before this comma", at, at + 1, help="remove the comma")
    return None


def _inline_list(text: Around, at: int, _opened: int, _context: str, near: Near) -> Diagnostic:
    if text.text[near.inner : near.inner + 1] in ("[", "{"):
        return _unclosed_bracket(text, near.inner)
    _, end = text.content(at, text.bounds(at)[1])
    return _at(
        text,
        SYNTAX,
        "a list cannot begin in the line of its key",
        at,
        end,
        help="put `- ` in the next line, or write the list in brackets: [a, b]",
    )


def _name(text: Around, at: int, opened: int, _context: str, near: Near) -> Diagnostic:
    _, end = text.content(opened, text.bounds(opened)[1])
    if text.text[near.inner : near.inner + 1] in ("[", "{"):
        end = opened + len(re.split(r"[],}]", text.text[opened:end], maxsplit=1)[0])
    return _at(
        text,
        NEEDS_QUOTES,
        f"a value cannot start with `{printable(text.text[opened : opened + 1])}`",
        opened,
        end,
        help=f"quote it: {_quoted(text.text[opened:end])}",
    )


def _after_indicator(text: Around, at: int, opened: int, _context: str, _near: Near) -> Diagnostic:
    _, end = text.content(at, text.bounds(at)[1])
    sign = text.text[opened : opened + 1]
    return _at(
        text,
        SYNTAX,
        f"text after `{sign}` begins in the next line",
        at,
        end,
        help=f"begin a new line after `{sign}`, or quote the whole value",
    )


def _directive(text: Around, at: int, opened: int, _context: str, _near: Near) -> Diagnostic:
    start, end = text.bounds(min(at, opened))
    return _at(text, DIRECTIVE, "directives are not supported: this is read as YAML 1.2", start, end,
               help="remove the line, or quote a value that begins with %")  # fmt: skip


def _tag(text: Around, at: int, opened: int, _context: str, _near: Near) -> Diagnostic:
    match = re.compile(r"\S+").match(text.text, opened)
    end = match.end() if match else opened + 1
    return _at(
        text, TAG, f"the tag `{printable(text.text[opened:end])}` is not part of the language", opened, end,
        help="remove it, or quote a value that begins with !",
    )  # fmt: skip


def _glued_colon(text: Around, at: int, _opened: int, _context: str, _near: Near) -> Diagnostic:
    return _at(
        text,
        MISSING_COLON,
        "neither a space nor a value stands after this colon",
        at,
        at + 1,
        help="put a space between the colon and the value, or quote the text",
    )


def _document_start(text: Around, at: int, _opened: int, _context: str, _near: Near) -> Diagnostic:
    start, end = text.content(at, text.bounds(at)[1])
    return _at(text, SYNTAX, "the document has ended before this line", start, end, help="write `---` before it")


_EXPLANATIONS = {
    "cannot start any token": _cannot_start,
    "found a tab character": _tab,
    "unexpected end of stream": _unclosed_quote,
    "unexpected document indicator": _unclosed_quote,
    "unknown escape character": _escape,
    "hexdecimal number": _escape,
    "invalid Unicode character escape": _escape,
    "mapping values are not allowed": _mapping_value,
    "could not find expected ':'": _expected_colon,
    "',' or ']'": _brackets,
    "',' or '}'": _brackets,
    "expected '-' indicator": _expected_dash,
    "did not find expected key": _expected_key,
    "expected node content": _no_content,
    "block sequence entries are not allowed": _inline_list,
    "expected alphabetic or numeric character": _name,
    "expected comment or line break": _after_indicator,
    "directive": _directive,
    "incompatible YAML document": _directive,
    "undefined tag handle": _tag,
    "while scanning a tag": _tag,
    "while parsing a tag": _tag,
    "found unexpected ':'": _glued_colon,
    "did not find expected <document start>": _document_start,
}
"""Part of libyaml's problem (scanner.c, parser.c of 0.2.5) → who explains it."""
