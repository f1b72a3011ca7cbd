"""The pages of docs/ can't lie about what there is to type: commands exist, examples are as the schemas have them."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import suppress
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from swarmctl.backends.ssh.transport import Limits
from swarmctl.cli import cli
from swarmctl.cli.import_ import COMMANDS as IMPORTS
from swarmctl.operations.explain import codes
from tests.packaging.test_readme import parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
HOSTS = (ROOT / "docs" / "hosts.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`(swarmctl [^`]+)`")
TYPED = re.compile(r"^(?:\$ )?(swarmctl .*)$", re.MULTILINE)
EXAMPLES = [
    pytest.param(document, id=f"{page.name}: {document['kind']}")
    for page in PAGES
    for language, text in BLOCK.findall(page.read_text())
    if language == "yaml"
    for document in yaml.safe_load_all(text)
    if "kind" in document
]
LINES = sorted(
    {
        (page.name, line)
        for page in PAGES
        for line in [
            *NAMED.findall(BLOCK.sub("", page.read_text())),
            *(line for _, text in BLOCK.findall(page.read_text()) for line in TYPED.findall(text)),
        ]
    }
)


@pytest.mark.parametrize("document", EXAMPLES)
def test_examples_are_as_the_schemas_have_them(document: dict[str, object]) -> None:
    schema = json.loads((ROOT / "schemas" / "swarmctl.v1alpha1.json").read_text())
    whole = {"apiVersion": "swarmctl/v1alpha1", **document}
    errors = jsonschema.Draft202012Validator(schema).iter_errors(whole)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize(("page", "line"), LINES)
def test_commands_exist(page: str, line: str) -> None:
    for arguments in spelled(line.partition("  #")[0]):
        with suppress(click.MissingParameter):  # a command that is only named
            parse(cli, arguments, "swarmctl", None)


def spelled(line: str) -> list[list[str]]:
    """The command lines that one stands for: each of `a|b`, with what is optional, without what is only hinted at."""
    lines: list[list[str]] = [[]]
    for word in shlex.split(re.sub(r"[\[\]…]|\.\.\.", "", line))[1:]:
        lines = [[*one, choice] for one in lines for choice in word.split("|")]
    return lines


def test_something_is_looked_at() -> None:
    assert {page.name for page in PAGES} >= {"mesh.md", "access.md", "import.md", "rotation.md"}
    assert len(EXAMPLES) >= 3
    assert len(LINES) >= 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:bench|tests|swarmctl|scripts|stacks)/[\w./-]+\.\w+)", text):
        assert (ROOT / path).exists(), path


def test_the_limits_of_connections_are_those_in_force() -> None:
    limits = Limits()
    told = re.findall(r"^\| (\d+) (commands|logins|connections) \| (on all|on one)?", HOSTS, re.MULTILINE)
    assert told == [
        (str(limits.commands), "commands", "on all"),
        (str(limits.commands_per_host), "commands", "on one"),
        (str(limits.logins), "logins", ""),
        (str(limits.connections), "connections", ""),
    ]


def test_figures_of_the_changelog_are_those_that_were_measured() -> None:
    measured = re.search(
        r"^\| facts of 1,000 machines, and the first plan of them \| (.+) and (.+?) \|", HOSTS, re.MULTILINE
    )
    assert measured is not None
    told = f"facts in {measured[1]}, the first plan in {measured[2]} on two cores"
    assert told in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_leads_to_every_page_on_real_machines() -> None:
    text = (ROOT / "README.md").read_text()
    chapter = text.partition("\n## Real machines\n")[2].partition("\n## ")[0]
    for page in ("hosts", "baseline", "gpu", "lifecycle"):
        assert f"(docs/{page}.md)" in chapter
    assert "swarmctl import host" in chapter
    row = next(line for line in text.splitlines() if line.startswith("| `import` |"))
    assert all(f"`import {name}`" in row for name in IMPORTS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_codes_are_known(page: Path) -> None:
    assert [code for code in re.findall(r"\bSW\d{4}\b", page.read_text()) if code not in codes()] == []
