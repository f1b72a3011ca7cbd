"""The command table: every command is in its folder, helps itself, shows examples, and loads no more than it needs."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from swarmctl import __version__, cli
from swarmctl.cli import COMMANDS, GROUPS

HEAVY = ("pulumi", "grpc", "boto3", "jinja2", "rich", "jsonschema_rs", "msgspec", "yaml")
"""What `--help` and `version` never load; `validate` may load the last three."""


def test_the_table_is_the_folder() -> None:
    modules = {module.name.removesuffix("_") for module in pkgutil.iter_modules(cli.__path__)}
    assert modules - {"context", "groups", "interrupts", "streams"} == set(COMMANDS)


def test_every_command_has_one_place_in_the_help() -> None:
    assert [name for names in GROUPS.values() for name in names] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_itself_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: swarmctl {name}")
    assert re.search(rf"^ +swarmctl .*\b{name}\b", text, re.MULTILINE), "no example"


def test_help_lists_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in COMMANDS)
    assert all(re.search(rf"\b{code}\s+[a-z]", text) for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 130))


def test_a_mistyped_command_is_met_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["destory"]) == 2
    assert "Did you mean 'destroy'?" in capsys.readouterr().err


def test_no_command_at_all_shows_the_help() -> None:
    assert cli.run([]) == 2


def loaded_by(*args: str) -> set[str]:
    """Top-level modules that a run of `swarmctl ARGS` has loaded in the end."""
    code = (
        "import json, sys; from swarmctl.cli import run; run(sys.argv[1:]);"
        "print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("args", [["--help"], ["version"], ["--version"], ["plan", "--help"], ["apply", "--help"]])
def test_help_and_version_load_nothing_heavy(args: list[str]) -> None:
    assert loaded_by(*args).isdisjoint(HEAVY)


def test_validate_loads_neither_pulumi_nor_grpc_nor_templates() -> None:
    from swarmctl.assets import folder

    loaded = loaded_by("-C", str(folder("stacks") / "lab"), "validate")
    assert loaded.isdisjoint({"pulumi", "grpc", "boto3", "jinja2", "rich"})
    assert "yaml" in loaded


def complete(words: str) -> list[str]:
    """What bash would offer after `words`."""
    environ = {**os.environ, "_SWARMCTL_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environ["COMP_CWORD"] = str(len(words.split(" ")) - 1)
    code = "from swarmctl.cli import main; main()"
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert not run.stderr
    return [line.partition(",")[2] for line in run.stdout.splitlines() if line]


def test_the_shell_completes_commands_and_options() -> None:
    assert complete("swarmctl d") == ["drift", "destroy", "doctor"]
    assert "--detailed-exitcode" in complete("swarmctl plan --d")
    assert complete("swarmctl plan --format ") == ["text", "json"]


def test_the_completion_script_can_be_printed() -> None:
    environ = {**os.environ, "_SWARMCTL_COMPLETE": "zsh_source"}
    code = "from swarmctl.cli import main; main()"
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert "compdef" in run.stdout


def test_nodes_complete_from_what_is_declared(tmp_path: Path) -> None:
    from swarmctl.assets import folder

    lab = folder("stacks") / "lab"
    assert complete(f"swarmctl -C {lab} exec work") == ["workers-0", "workers-1", "workers-2"]
    assert complete(f"swarmctl -C {tmp_path} exec work") == []


def test_a_terminal_of_few_letters_is_no_defect() -> None:
    from swarmctl.assets import folder

    environ = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    code = "from swarmctl.cli import main; main()"
    command = [sys.executable, "-c", code, "explain", "no-such-thing-\u2192"]
    run = subprocess.run(command, env=environ, cwd=folder("stacks"), capture_output=True, check=False)
    assert b"no-such-thing-?" in run.stderr
    assert b"bug:" not in run.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_told_as_what_it_is() -> None:
    code = "from swarmctl.cli import main; main()"
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", code, "version"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 1
    assert "error: the system refused: standard output: No space left on device" in run.stderr
    assert "Traceback" not in run.stderr


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"swarmctl {__version__}\n"


MAIN = [sys.executable, "-c", "from swarmctl.cli import main; main()"]


@pytest.mark.parametrize("closed", [(2,), (0, 2), (0, 1, 2)])
def test_closed_standard_streams_change_no_exit_code(tmp_path: Path, closed: tuple[int, ...]) -> None:
    from swarmctl.assets import folder

    redirections = " ".join(f"{number}>&-" if number else "<&-" for number in closed)
    lab = folder("stacks") / "lab"
    environ = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    for args, expected in ((["no-such"], 2), (["status"], 1)):
        line = ["sh", "-c", f'exec "$@" {redirections}', "sh", *MAIN, "-C", str(lab), *args]
        run = subprocess.run(line, env=environ, capture_output=True, text=True, check=False)
        assert run.returncode == expected, (args, run)


def test_children_of_a_run_with_closed_streams_have_them_all() -> None:
    code = (
        "import subprocess; from swarmctl.cli import streams; streams.prepare();"
        "subprocess.run(['sh', '-c', 'test -e /dev/fd/0 && test -e /dev/fd/1 && test -e /dev/fd/2'], check=True)"
    )
    line = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(line, check=False).returncode == 0


@pytest.mark.parametrize("command", ["validate", "plan", "destroy", "status"])
def test_an_empty_folder_name_is_not_this_folder(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    yes = ["--yes"] if command == "destroy" else []
    assert cli.run(["-C", "", command, *yes]) == 2
    assert "the folder's name is empty" in capsys.readouterr().err


def test_kinds_fields_and_codes_complete() -> None:
    assert complete("swarmctl explain me") == ["Mesh"]
    assert complete("swarmctl explain Mesh.spec.top") == ["Mesh.spec.topology"]
    assert "SW2104" in complete("swarmctl explain sw21")
    assert complete("swarmctl explain Nothing.") == []
    assert complete("swarmctl schema S") == ["SecurityPolicy", "Stack"]


@pytest.mark.parametrize("name", ["install", "path"])
def test_the_engines_commands_show_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["engine", name, "--help"]) == 0
    assert f"swarmctl engine {name}" in capsys.readouterr().out.partition("Examples:")[2]
