"""README and CONTRIBUTING can't lie: what they say to type exists, and what they show is what comes."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import click
import pytest

from swarmctl.cli import COMMANDS, cli
from swarmctl.errors import PRECEDENCE, ExitCode

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md")


def load_capture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("capture_readme", ROOT / "scripts" / "capture_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CAPTURE = load_capture()
TYPED = [
    pytest.param(command, id=f"{page}: {command}")
    for page in PAGES
    for block in CAPTURE.BLOCK.finditer((ROOT / page).read_text())
    for command in CAPTURE.commands(block[2])
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("typed", TYPED)
def test_what_is_to_be_typed_exists(typed: str) -> None:
    words = shlex.split(typed)
    piped = next((index for index, word in enumerate(words) if word in ("|", "2>&1")), len(words))
    program, *arguments = words[:piped]
    if program == "make":
        assert set(arguments) <= TARGETS
    elif program == "swarmctl":
        parse(cli, arguments, "swarmctl", None)
    elif program.startswith("scripts/"):
        assert (ROOT / program).stat().st_mode & 0o111
    elif program == "python":
        assert importlib.util.find_spec(arguments[1]) is not None
    else:
        assert program == "sed", f"not known here: {typed}"


def parse(command: click.Command, arguments: list[str], name: str, parent: click.Context | None) -> None:
    """Let click read the command line as it would, without running anything. Fails on what it doesn't know."""
    # A file that an earlier command of the page writes isn't there when only reading.
    arguments = ["Makefile" if argument == "plan.json" else argument for argument in arguments]
    with command.make_context(name, list(arguments), parent=parent) as context:
        if isinstance(command, click.Group):
            # click keeps the rest of a group's line here between parsing and invoking.
            rest = [*context._protected_args, *context.args]
            if not rest and command.invoke_without_command:
                return
            found, sub, left = command.resolve_command(context, rest)
            assert sub is not None
            parse(sub, left, found or "", context)


def test_what_needs_no_engine_prints_just_what_the_readme_shows() -> None:
    shown = (ROOT / "README.md").read_text()
    with CAPTURE.sandbox() as run:
        assert CAPTURE.rendered(shown, ("run",), run) == shown, "run `make readme`"


MEASURED = re.compile(
    r"\d+(\.\d+)? ?(ms|s|m|B|KiB|MiB)\b|SHA256:[A-Za-z0-9+/]+|(?<=the plan )[0-9a-f]{12}|(?<=The last token was )\d+"
    r"|\d+ of \d+ (?=echoes)|[\d,]+ (?=packets of WireGuard)"
)
"""What differs from run to run: times, amounts, packets, keys and numbers that are given out once."""
COUNTED = re.compile(r"^(  (?:baseline/[a-z-]+|denied) ) *\d.*")
"""What flows let through in `status`, and what was denied: a probe that is sent twice counts twice."""


def alike(text: str) -> list[str]:
    """The lines of a page without what is measured, and without the columns that it widens."""
    return [" ".join(MEASURED.sub("#", COUNTED.sub(r"\1#", line)).split()) for line in text.splitlines()]


@pytest.mark.integration
@pytest.mark.slow
def test_what_needs_a_lab_prints_just_what_the_readme_shows(engine: Path) -> None:
    shown = (ROOT / "README.md").read_text()
    with CAPTURE.sandbox() as run:
        try:
            captured = CAPTURE.rendered(shown, ("lab",), run)
        finally:
            run("swarmctl -C stacks/lab destroy --yes")
    assert alike(captured) == alike(shown), "run `make readme`"


def test_every_command_and_exit_code_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"`{name}`" not in text] == []
    codes = " ".join(text[text.index("Exit codes are") :].split())
    assert [code.value for code in ExitCode if not re.search(rf"\b{code.value} [a-z]", codes)] == []


def test_the_precedence_of_exit_codes_is_published_as_it_is() -> None:
    order = ", ".join(map(str, PRECEDENCE))
    assert len(set(PRECEDENCE)) == len(PRECEDENCE)
    assert {*PRECEDENCE} == {code.value for code in ExitCode} - {0}
    for text in ((ROOT / "README.md").read_text(), (ROOT / "ARCHITECTURE.md").read_text(), cli.epilog or ""):
        assert order in " ".join(text.split())


def test_every_target_of_the_makefile_is_documented_in_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    documented = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert [target for target in TARGETS - documented if not target.startswith("lint-")] == []
    for target in re.findall(
        r"`make ([a-z-]+)`", (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    ):
        assert target in TARGETS
