"""What `apt-get --simulate` and `dnf_program` say would happen. Pure."""

from __future__ import annotations

import re

from swarmctl.hosts.packages.model import NAME, RPM_NAME, RPM_VERSION, VERSION, Move

MOST = 20_000
LINE = re.compile(
    rf"(?P<action>Inst|Remv|Purg) (?P<name>{NAME.pattern})(?: \[(?P<before>{VERSION.pattern})\])?"
    rf"(?: \((?P<after>{VERSION.pattern}) .*\))?.*"
)
"""`Inst nvidia-imex [595.80.01-1] (595.91.07-1 NVIDIA:cuda [amd64])` (apt 2.6)."""
DNF = re.compile(
    rf"@ move\t(?P<name>{RPM_NAME.pattern})\t(?P<before>(?:{RPM_VERSION.pattern})?)"
    rf"\t(?P<after>(?:{RPM_VERSION.pattern})?)"
)


def moves(output: str) -> tuple[Move, ...]:
    """The packages that would change, by name; lines that neither can have written are left out."""
    found = {}
    for line in output.splitlines()[:MOST]:
        if match := DNF.fullmatch(line):
            found[match["name"]] = Move(match["name"], match["before"], match["after"])
            continue
        match = LINE.fullmatch(line)
        if match is None or (match["action"] == "Inst") != bool(match["after"]):
            continue
        found[match["name"]] = Move(match["name"], match["before"] or "", match["after"] or "")
    return tuple(found[name] for name in sorted(found))
