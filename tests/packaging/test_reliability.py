"""docs/reliability.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
NAMED = re.compile(r"(tests/[\w/]+\.py)(?:::(\w+))?")


def missing(page: str) -> list[str]:
    """What the page names and nobody has written."""
    found = []
    for file, name in NAMED.findall(page):
        path = ROOT / file
        text = path.read_text() if path.is_file() else ""
        if not text or (name and not re.search(rf"^(async )?def {name}\(", text, re.MULTILINE)):
            found.append(f"{file}::{name}")
    return found


def test_every_test_that_is_named_exists() -> None:
    page = PAGE.read_text()
    assert len(NAMED.findall(page)) > 40
    assert missing(page) == []


def test_one_that_does_not_exist_is_found() -> None:
    assert missing("`tests/faults/test_kills.py::test_that_nobody_wrote`") != []
    assert missing("`tests/faults/test_nothing.py::test_x`") != []


def test_every_fault_test_stands_on_the_page() -> None:
    page = PAGE.read_text()
    for path in (ROOT / "tests" / "faults").glob("test_*.py"):
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE):
            assert f"{path.name}::{name}" in page
