"""Walks the registry: every kind brings examples, good ones are good, bad ones are told exactly so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import swarmctl.kinds
from swarmctl.diagnostics import Diagnostic
from swarmctl.operations.explain import codes
from swarmctl.operations.validate import validate
from tests.declarations.stacks import BASE, told

ROOT = Path(swarmctl.kinds.__path__[0])
GOOD = sorted(ROOT.glob("*/examples/good/*.yaml"))
BAD = sorted(ROOT.glob("*/examples/bad/*.yaml"))


def name(path: Path) -> str:
    return f"{path.parts[-4]}/{path.stem}"


def expected(path: Path) -> list[str]:
    """`# expect: SW3102 7:12` lines."""
    return re.findall(r"(?m)^# expect: (SW\d{4} \d+:\d+)$", path.read_text("utf-8"))


def diagnose(path: Path, folder: Path) -> list[Diagnostic]:
    """What validate says to an example, beside a valid document of every kind that it does not declare."""
    text = path.read_text("utf-8")
    (folder / "example.yaml").write_text(text, "utf-8")
    for kind, document in BASE.items():
        if f"\nkind: {kind}\n" not in text:
            (folder / f"{kind}.yaml").write_text(document, "utf-8")
    found = validate(folder).diagnostics
    return [one for one in found if one.range and one.range.file == str(folder / "example.yaml")]


@pytest.mark.parametrize("folder", swarmctl.kinds.folders())
def test_every_kind_has_good_and_bad_examples_of_itself(folder: str) -> None:
    kind = next(kind for kind in swarmctl.kinds.registry().values() if kind.spec.__module__.split(".")[-2] == folder)
    for which in ("good", "bad"):
        paths = list((ROOT / folder / "examples" / which).glob("*.yaml"))
        assert paths, f"{folder} has no {which} example"
        assert any(f"\nkind: {kind.name}\n" in path.read_text("utf-8") for path in paths)


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_good_examples_have_no_diagnostics(path: Path, tmp_path: Path) -> None:
    assert diagnose(path, tmp_path) == []


@pytest.mark.parametrize("path", BAD, ids=name)
def test_bad_examples_are_told_exactly_as_their_header_says(path: Path, tmp_path: Path) -> None:
    found = diagnose(path, tmp_path)

    assert expected(path)
    assert [f"{code} {line}:{column}" for code, line, column in told(found)] == expected(path)
    assert all(one.label and one.help for one in found), "every diagnostic says why and how to mend it"


def test_every_code_is_explained_and_provoked_somewhere() -> None:
    known = codes()
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    provoked = set(re.findall(r"SW\d{4}", tests)) | {line[:6] for path in BAD for line in expected(path)}

    assert [id for id in known if not re.fullmatch(r"SW[1-4]\d{3}", id)] == []
    assert [code.id for code in known.values() if len(code.explanation.strip()) < 80] == []
    assert [id for id in known if id.startswith(("SW2", "SW3")) and id not in provoked] == []


def test_explanations_show_a_wrong_and_a_right_way() -> None:
    for code in codes().values():
        if code.id.startswith(("SW2", "SW3")):
            assert "Right" in code.explanation, code.id
            assert code.title[0] == code.title[0].lower() or code.title.startswith(("MTU",)), code.id
