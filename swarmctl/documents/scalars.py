"""Unquoted text → value by the YAML 1.2 core schema (10.3.2), with a warning where YAML 1.1 says something else."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from swarmctl.diagnostics import Code, Severity
from swarmctl.documents.codes import NUMBER, TRAP_DATE, TRAP_FRACTION, TRAP_NUMBER, TRAP_WORD

_WORDS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_TRAP_WORDS = {
    word: meaning
    for meaning, words in (
        ("true", "yes Yes YES on On ON y Y"),
        ("false", "no No NO off Off OFF n N"),
    )
    for word in words.split()
}
INTERESTING = frozenset("~+-.0123456789nNtTfFyYoO")
"""First characters of all text that might not be text."""

_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# What YAML 1.1 reads as numbers (http://yaml.org/type/int.html and float.html) in the form its readers settled on.
_OLD_FLOAT = re.compile(r"([-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?")
_OLD_NUMBER = re.compile(
    r"[-+]?0b[01_]+"
    r"|[-+]?0x[0-9a-fA-F_]+"
    r"|[-+]?(0[0-7_]+|[1-9][0-9_]*)"
    r"|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*"
    rf"|{_OLD_FLOAT.pattern}"
)
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?"
    r"([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?"
)
_LAST_ZERO = re.compile(r"[-+]?[0-9]*\.[0-9]+0")
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_LONGEST = 20
"""Digits of the largest whole number; longer text isn't even converted."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said about a scalar, wherever it stands."""

    code: Code
    message: str
    help: str
    severity: Severity = Severity.WARNING


def resolve(text: str) -> tuple[object, Remark | None]:
    """The value of unquoted `text`, and the trap it steps into, if any. Never raises."""
    if text in _WORDS:
        return _WORDS[text], None
    if text in _TRAP_WORDS:
        return text, Remark(
            TRAP_WORD,
            f"`{text}` is text here, and {_TRAP_WORDS[text]} for readers of YAML 1.1",
            f'write "{text}" for the text, or {_TRAP_WORDS[text]} where a truth value belongs',
        )
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _OCTAL.fullmatch(text):
        return _bounded(text, int(text, 8)) if len(text) < _LONGEST * 2 else _too_large(text)
    if _HEXADECIMAL.fullmatch(text):
        return _bounded(text, int(text, 16)) if len(text) < _LONGEST * 2 else _too_large(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _NOT_FINITE.fullmatch(text):
        return text, Remark(
            NUMBER,
            f"`{text}` is not a finite number",
            "leave an unlimited field out, or quote the text",
            Severity.ERROR,
        )
    return text, _old_meaning(text)


def _integer(text: str) -> tuple[object, Remark | None]:
    digits = text.lstrip("+-")
    if len(digits) > _LONGEST:
        return _too_large(text)
    value = int(text)
    old = int(text, 8) if digits[0] == "0" and not digits.strip("01234567") else "text"
    if len(digits) > 1 and digits[0] == "0" and value != old:
        return value, Remark(
            TRAP_NUMBER,
            f"`{text}` is the number {value} here, and {old} for readers of YAML 1.1",
            f'write {value} for the number, 0o… for an octal one, or "{text}" for the text',
        )
    return _bounded(text, value)


def _bounded(text: str, value: int) -> tuple[object, Remark | None]:
    return (value, None) if _SMALLEST <= value <= _LARGEST else _too_large(text)


def _too_large(text: str) -> tuple[object, Remark]:
    shown = text if len(text) <= 30 else f"{text[:27]}…"
    return text, Remark(
        NUMBER,
        f"`{shown}` is too large a number to be kept exactly",
        "quote it if it is a name and not a number",
        Severity.ERROR,
    )


def _float(text: str) -> tuple[object, Remark | None]:
    value = float(text)
    if math.isinf(value):
        return _too_large(text)
    if _LAST_ZERO.fullmatch(text):
        return value, Remark(
            TRAP_FRACTION,
            f"`{text}` is the number {value}: the last zero is lost",
            f'write "{text}" if it is a version or a name',
        )
    if not _OLD_FLOAT.fullmatch(text):
        return value, Remark(
            TRAP_NUMBER,
            f"`{text}` is the number {value} here, and text for readers of YAML 1.1",
            f'write "{text}" for the text, or {value!r} for the number',
        )
    return value, None


def _old_meaning(text: str) -> Remark | None:
    if _DATE.fullmatch(text):
        return Remark(TRAP_DATE, f"`{text}` is text here, and a date for readers of YAML 1.1", f'quote it: "{text}"')
    # At least one digit: `.`, `...` and `_` are text in both.
    if len(text) <= 100 and any(map(str.isdigit, text)) and _OLD_NUMBER.fullmatch(text):
        return Remark(
            TRAP_NUMBER, f"`{text}` is text here, and a number for readers of YAML 1.1", f'quote it: "{text}"'
        )
    return None
