"""`swarmctl facts`, from the command line to scripted machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmctl import cli
from swarmctl.backends.base import HostGone, HostUnreachable
from swarmctl.graph.model import Address, Graph, Machine
from swarmctl.operations import exec as execs
from swarmctl.operations import facts
from swarmctl.operations.nodes import Declared
from tests.hosts.system.machines import MACHINES, output

from .test_facts_cache import FakeHost

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeHost]:
    """Machines by name; what is in here when the command runs is declared."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    found = {name: FakeHost(name, output(**parts)) for name, parts in MACHINES.items()}

    def declared(folder: Path, emit: Any, **more: Any) -> Declared:
        graph = Graph("demo")
        for name in found:
            graph.export(Machine(name, Address("nodepool", "p", name), "p", "c", "r", {}, (), {"backend": "ssh"}))
        return Declared.of("demo", None, graph)  # type: ignore[arg-type]

    monkeypatch.setattr(facts, "declared", declared)
    monkeypatch.setattr(execs, "open_host", lambda host: None)
    monkeypatch.setattr(
        facts.facts, "__kwdefaults__", {**(facts.facts.__kwdefaults__ or {}), "open_": lambda it: found[it.name]}
    )
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def once(*args: str) -> tuple[int, str, str]:
        code = cli.run(["facts", *args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return once


def test_a_table_of_all_in_the_order_of_their_names(hosts: dict[str, FakeHost], run: Run) -> None:
    code, out, err = run()
    assert code == 0
    assert "8 × H200 SXM 141GB" in out
    names = [line.split()[0] for line in out.splitlines()[3 : 3 + len(hosts)]]
    assert names == sorted(hosts)
    # Eight are many enough to say how it goes.
    assert "reading 8 machines" in err


def test_a_second_time_nobody_is_asked_unless_one_wants_to(hosts: dict[str, FakeHost], run: Run) -> None:
    run()
    assert {host.asked for host in hosts.values()} == {1}
    assert "8 from earlier" in run()[1]
    assert {host.asked for host in hosts.values()} == {1}
    run("b200", "a100", "--refresh")
    run("b200", "--max-age", "0")
    assert (hosts["b200"].asked, hosts["a100"].asked, hosts["h200"].asked) == (3, 2, 1)


def test_one_machine_is_shown_whole(hosts: dict[str, FakeHost], run: Run) -> None:
    code, out, _ = run("gh200")
    assert code == 0
    assert "processor     Neoverse-V2, 1 socket, 72 cores, 72 threads" in out
    assert hosts["b200"].asked == 0


def test_what_cannot_be_read_does_not_keep_the_others(hosts: dict[str, FakeHost], run: Run) -> None:
    hosts["b200"].does = HostUnreachable("b200 does not answer", "see whether it is up")
    hosts["h200"].does = b"noise"
    code, out, _ = run("--format", "json")
    assert code == 8
    nodes = {node["node"]: node for node in json.loads(out)["nodes"]}
    assert {name for name, node in nodes.items() if node["state"] == "read"} == set(hosts) - {"b200", "h200"}
    assert (nodes["b200"]["error"], nodes["b200"]["hint"]) == ("b200 does not answer", "see whether it is up")
    assert nodes["h200"]["error"].startswith("the system of h200 cannot be read")
    code, out, _ = run()
    assert code == 8
    assert "✗ b200 does not answer" in out
    assert "8 × A100 SXM4 80GB" in out


def test_a_machine_that_is_not_there_is_no_error_of_reading(hosts: dict[str, FakeHost], run: Run) -> None:
    hosts["b200"].does = HostGone("gone")
    code, out, _ = run("b200", "--format", "json")
    assert code == 1
    assert json.loads(out)["nodes"][0]["state"] == "missing"


def test_a_name_that_is_none(hosts: dict[str, FakeHost], run: Run) -> None:
    code, out, err = run("b20")
    assert code == 2
    assert "did you mean 'b200'?" in err
    assert out == ""
    assert run("--max-age", "soon")[0] == 2
