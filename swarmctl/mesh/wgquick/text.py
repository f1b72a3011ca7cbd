"""A file of wg-quick(8) as sections of settings, each with its place. Knows names of keys, and nothing of values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from swarmctl.diagnostics import Diagnostic, Position, Range
from swarmctl.mesh.wgquick.codes import NOT_A_LINE, UNKNOWN_KEY

INTERFACE, PEER = "Interface", "Peer"
KEYS = {
    INTERFACE: (
        "Address", "DNS", "MTU", "Table", "PreUp", "PostUp", "PreDown", "PostDown", "SaveConfig",
        "PrivateKey", "ListenPort", "FwMark",
    ),
    PEER: ("PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive"),
}  # fmt: skip
"""Keys by section, as wg(8) and wg-quick(8) have them; case does not count."""
SECRET = ("PrivateKey", "PresharedKey")
_NAME = re.compile(r"(?i)^#+\s*(?:(?:friendly[_ ]?)?name|node|host)\s*[=:]\s*(\S.*?)\s*$")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line `Key = value`."""

    key: str
    """As wg-quick writes it."""
    text: str
    place: Range
    """Of the value; of the key where that is empty."""
    line: Range
    """Of the key."""

    def items(self) -> Iterator[tuple[str, Range]]:
        """The parts of a list, each with its place."""
        start = self.place.start
        for match in re.finditer(r"[^,\s][^,]*", self.text):
            text = match[0].rstrip()
            column = start.column + match.start()
            yield text, Range(self.place.file, Position(start.line, column), Position(start.line, column + len(text)))


@dataclass(slots=True)
class Section:
    """One section; `name` is what a comment above or in it calls it."""

    kind: str
    place: Range
    settings: list[Setting] = field(default_factory=list)
    name: tuple[str, Range] | None = None

    def last(self, key: str) -> Setting | None:
        """The one that counts of settings that can't be a list."""
        return next((setting for setting in reversed(self.settings) if setting.key == key), None)

    def every(self, key: str) -> list[Setting]:
        """All of them."""
        return [setting for setting in self.settings if setting.key == key]


def parse(file: str, text: str) -> tuple[list[Section], list[Diagnostic]]:
    """The sections of a file in their order, and every line that is none."""
    sections: list[Section] = []
    problems: list[Diagnostic] = []
    named: tuple[str, Range] | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r")
        stripped = line.strip()
        whole = _range(file, number, line, stripped)
        if stripped.startswith("#"):
            if match := _NAME.match(stripped):
                name = (match[1], whole)
                if sections and not _ended(text, number) and sections[-1].name is None:
                    sections[-1].name = name
                else:
                    named = name
            continue
        content = line.partition("#")[0].rstrip()
        if not content.strip():
            continue
        if content.lstrip().startswith("["):
            kind = next((kind for kind in KEYS if content.strip().lower() == f"[{kind.lower()}]"), "")
            if not kind:
                problems.append(_no_line(whole, "no section of WireGuard", "write `[Interface]` or `[Peer]`"))
            elif kind == INTERFACE and any(section.kind == INTERFACE for section in sections):
                problems.append(_no_line(whole, "a second `[Interface]`", "keep one of them"))
            sections.append(Section(kind, whole, name=named))
            named = None
            continue
        if problem := _setting(file, number, content, sections):
            problems.append(problem)
    if not problems and not any(section.kind == INTERFACE for section in sections):
        start = Range(file, Position(1, 1), Position(1, 2))
        problems.append(_no_line(start, "no section `[Interface]`", "give files as wg-quick(8) reads them"))
    return sections, problems


def _ended(text: str, number: int) -> bool:
    """Whether the comment on a line belongs to the section that begins below it: nothing but comments lie between."""
    for line in text.split("\n")[number:]:
        if not line.strip():
            return False
        if not line.strip().startswith("#"):
            return line.strip().startswith("[")
    return False


def _setting(file: str, number: int, content: str, sections: list[Section]) -> Diagnostic | None:
    key, equals, value = content.partition("=")
    where = _range(file, number, content, key.strip() or content.strip())
    if not equals or not key.strip():
        return _no_line(where, "neither a section nor `Key = value`", "write `Key = value`, or put a `#` in front")
    if not sections:
        return _no_line(where, "in no section", "write `[Interface]` above it")
    section = sections[-1]
    if not section.kind:
        return None
    known = {name.lower(): name for name in KEYS[section.kind]}
    name = known.get(key.strip().lower())
    if name is None:
        from difflib import get_close_matches

        near = get_close_matches(key.strip().lower(), known, n=1)
        return Diagnostic(
            UNKNOWN_KEY,
            f"`[{section.kind}]` has no key `{key.strip()}`",
            where,
            label="unknown to wg-quick(8)",
            help=f"did you mean `{known[near[0]]}`?" if near else f"keys: {', '.join(KEYS[section.kind])}",
        )
    text = value.strip()
    begin = len(key) + 1 + len(value) - len(value.lstrip())
    place = Range(file, Position(number, begin + 1), Position(number, begin + 1 + len(text))) if text else where
    section.settings.append(Setting(name, text, place, where))
    return None


def _range(file: str, number: int, line: str, part: str) -> Range:
    column = line.find(part) + 1 if part else 1
    return Range(file, Position(number, column), Position(number, column + max(1, len(part))))


def _no_line(where: Range, label: str, mend: str) -> Diagnostic:
    return Diagnostic(NOT_A_LINE, f"this is no WireGuard configuration: {label}", where, label=label, help=mend)
