"""docs/json.md names every field of every JSON document with its type, and no field that there isn't."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from swarmctl import cli, kinds
from swarmctl.backends.base import Check, HostUnreachable
from swarmctl.diagnostics import Diagnostic, Position, Range
from swarmctl.engine.outcome import Skipped
from swarmctl.errors import WorldUnreadable
from swarmctl.graph.model import Address, Unfit
from swarmctl.kinds.node_pool.accelerators.codes import CARDS
from swarmctl.kinds.security_policy.spec import moment
from swarmctl.operations import state as state_operations
from swarmctl.operations.doctor import Area
from swarmctl.operations.doctor_stack import Examination
from swarmctl.operations.facts import NodeFacts, Report
from swarmctl.operations.graph import focused
from swarmctl.operations.plan_show import Shown
from swarmctl.operations.remains import Finding, Standing
from swarmctl.operations.running import Run, Undone
from swarmctl.operations.validate import validate
from swarmctl.plans import file as plan_file
from swarmctl.plans.model import Preconditions
from swarmctl.plans.signing import with_local_key
from swarmctl.reports import diagnostics, doctor, facts_json, graph, json_v1, lock, remains, state
from swarmctl.reports.mesh_verify_json import to_json as verify_json
from swarmctl.reports.status_json import to_json as status_json
from swarmctl.state.lease_admin import LeaseStatus, Queued, Released
from swarmctl.state.lease_rules import Life
from swarmctl.state.model import Holder, Published
from tests.graph import topologies as pictures
from tests.hosts.system.machines import BARE, MACHINES, NOW, cards, read
from tests.reports.plans import EVERYTHING, NOTHING
from tests.reports.test_snapshots import Failure
from tests.status import verifying
from tests.status.test_report import counting, see, troubled
from tests.status.verifying import see as see_mesh
from tests.status.world import FLOWS, World, declared

ROOT = Path(__file__).parents[2]
UNREAD = {"control-1": HostUnreachable("control-1 did not answer within 20 s", "see whether it is up")}
AT = Range("pool.yaml", Position(5, 7), Position(5, 8))
UNFIT = (Unfit("n1", Address("nodepool", "p", "n1/driver"), Diagnostic(CARDS, "n1: no card", AT, help="look")),)
BLANK = set(BARE) - {"hostname", "now", "kernel", "architecture", "cpu", "virtualisation"}
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", type(None): "null"}

OUR_OWN = {"swarmctl/state/v1", "swarmctl/run/v1", "swarmctl/lease/v1"}
"""Files of the state store, which no other program needs to read: `docs/json.md` is about what commands print."""


@cache
def documented() -> dict[str, dict[str, str]]:
    """Type by field by schema, as the page has them."""
    found: dict[str, dict[str, str]] = {}
    for section in re.split(r"(?m)^## ", (ROOT / "docs" / "json.md").read_text())[1:]:
        name, _, body = section.partition("\n")
        rows = re.findall(r"(?m)^\| `([^`]+)` \| ([^|]+) \|", body)
        assert len({field for field, _ in rows}) == len(rows), f"a field of {name} is there twice"
        found[name] = dict(rows)
    return found


def fields(value: Any, known: dict[str, str], path: str = "") -> Iterator[tuple[str, str]]:
    """Every field of a document with its type, but nothing within what is said to be any."""
    for key, child in value.items():
        prefix = f"{path}.{key}" if path else key
        if f"{path}.*" in known:
            prefix = f"{path}.*"
        yield from _field(child, known, prefix)


def _field(child: Any, known: dict[str, str], path: str) -> Iterator[tuple[str, str]]:
    if isinstance(child, list):
        inner = {"object" if isinstance(item, dict) else TYPES.get(type(item), "list") for item in child}
        yield path, f"list of {' or '.join(sorted(inner))}" if inner else "list"
    else:
        yield path, TYPES[type(child)]
    if known.get(path, "").endswith("any"):
        return
    for item in child if isinstance(child, list) else [child]:
        if isinstance(item, dict):
            yield from fields(item, known, f"{path}[]" if isinstance(child, list) else path)


def fits(seen: str, written: str) -> bool:
    """Whether a value of the type `seen` may stand where the page says `written`."""
    if written == "any" or (written == "list of any" and seen.startswith("list")):
        return True
    if seen == "list":
        return written.startswith("list of ")
    return seen in written.split(" or ") or (seen == "integer" and "number" in written.split(" or "))


def compare(name: str, *documents: Any) -> None:
    """Expect these documents to have all the fields of the page, in their types, and no others."""
    known, seen = documented()[name], dict[str, set[str]]()
    for document in documents:
        plain = json.loads(document if isinstance(document, str) else json.dumps(document))
        assert plain["schema"] == name
        for field, type_ in fields(plain, known):
            seen.setdefault(field, set()).add(type_)
    assert set(seen) - set(known) == set(), "not documented"
    assert set(known) - set(seen) == set(), "documented, and never there"
    wrong = {field: types for field, types in seen.items() if not all(fits(one, known[field]) for one in types)}
    assert not wrong, "of another type"


def test_every_schema_that_the_source_names_is_documented() -> None:
    named = {
        match
        for file in (ROOT / "swarmctl").rglob("*.py")
        for match in re.findall(r"swarmctl/[a-z-]+/v\d+", file.read_text())
    }
    assert named - OUR_OWN == set(documented())


def test_plan() -> None:
    compare("swarmctl/plan/v1", *saved_and_printed())


def saved_and_printed() -> tuple[Any, ...]:
    key = with_local_key(Path("key"))
    made_from = Preconditions("d", "g", "s", {"swarmctl": "1"}, {"nodepool/control[0]": "x"})
    saved = plan_file.save(Path("plan.json"), EVERYTHING, made_from, key)
    by, nobody = (
        Shown(saved, EVERYTHING, "signed", signer, "SHA256:x", ("it expired",), ("the state",)) for signer in ("ci", "")
    )
    return (
        Path("plan.json").read_text(),
        json_v1.plan(NOTHING, UNREAD, UNFIT),
        json_v1.saved_plan(by),
        json_v1.saved_plan(nobody),
    )


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_drift() -> None:
    compare("swarmctl/drift/v1", json_v1.drift(EVERYTHING, UNREAD), json_v1.drift(NOTHING, {}))


def runs() -> list[Run]:
    failure: Any = Failure("nodepool/control[1]", "control-1", "no space")
    skipped: Any = Skipped("mesh/backbone[control-1]", "control-1", "it needs nodepool/control[1], which failed")
    undone = Undone("mesh/backbone[control-0/peers]", "control-0", "does not reach control-1 any more")
    everything = Run(
        EVERYTHING, EVERYTHING.changes, (failure,), ("stray-7",), True, 12.3, (skipped,), (undone,), UNREAD, unfit=UNFIT
    )
    return [Run(NOTHING), everything]


def test_apply_and_destroy() -> None:
    compare("swarmctl/apply/v1", *map(json_v1.apply, runs()))
    compare("swarmctl/destroy/v1", *map(json_v1.destroy, runs()))
    assert {**documented()["swarmctl/apply/v1"], "kept": "list of string"} == documented()["swarmctl/destroy/v1"]
    assert json_v1.destroy(replace(runs()[1], kept=("mesh/m[n1]",)))["kept"] == ["mesh/m[n1]"]
    unswept = replace(runs()[0], unswept=HostUnreachable("1 is left", "mend it", details=["n7: /srv/x"]))
    assert json_v1.destroy(unswept)["failures"] == [
        {"address": "", "node": "", "error": "1 is left\nn7: /srv/x\nhelp: mend it"}
    ]


def test_status() -> None:
    ray, *others = FLOWS
    ending = World(declared(flows=[{**ray, "until": moment(int(time.time()) + 30)}, *others]))
    told = (see(troubled()), see(counting(), probe=False), see(ending))
    node, *more = told[0].nodes
    managed = replace(told[0], nodes=(replace(node, managed_ports=(22,), managed_from=("192.0.2.0/24",)), *more))
    compare("swarmctl/status/v1", *map(status_json, (*told, managed)))


def test_mesh_verify() -> None:
    by_age = replace(see_mesh(verifying.world()).meshes[0], rotate_every=60)
    found = see_mesh(verifying.troubled())
    compare("swarmctl/mesh-verify/v1", *map(verify_json, (found, replace(found, meshes=(by_age,)))))


def test_graph() -> None:
    whole = pictures.seen("hubs", 5)
    compare("swarmctl/graph/v1", graph.to_json(whole), graph.to_json(focused(whole, "workers-us-0")))


def test_lock() -> None:
    holder = Holder("ci-7", "boot", "pid:[1]", 7, 7, "alice", "swarmctl apply", 1, "https://ci.example/7")
    waiter = Queued(holder, Life.UNSEEN)
    held = LeaseStatus(7, holder, Life.WORKING, 1.5, here=True, remains=2, queue=(waiter,))
    compare("swarmctl/lock/v1", *map(lock.to_json, (held, LeaseStatus(7), None)))
    done = (Released(holder, Life.GONE), Released(None, Life.UNSEEN))
    compare("swarmctl/released/v1", *map(lock.released_to_json, done))


def test_state() -> None:
    one = state_operations.Resource("a/b", "swarm:test:File", "n", {"x": 1}, {}, ("a/c",), protect=True, begun=True)
    nothing = state_operations.Listed("lab", 0, "", False, False, 0)
    compare("swarmctl/resources/v1", *map(state.to_json, (replace(nothing, resources=(one,)), nothing)))
    compare("swarmctl/resource/v1", state.one_to_json("lab", one))
    compare("swarmctl/backup/v1", state.backup_to_json(state_operations.BackedUp(Path("f"), 3, 4, Path("keys"))))
    difference = state_operations.Difference(Path("f"), 3, 4, ("a",), ("b",), ("c",))
    compare("swarmctl/restored/v1", state.restored_to_json(difference, Published("lab", 5, 1, "1", {})))


def test_validate() -> None:
    folders = sorted((ROOT / "swarmctl" / "kinds").glob("*/examples/bad"))
    assert len(folders) == len(kinds.registry())
    compare("swarmctl/validate/v1", *(diagnostics.to_json(validate(folder).diagnostics) for folder in folders))


def test_fmt(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("b:    1\n")
    Path("c.yaml").write_text("? a\n: 1\n")
    cli.run(["fmt", "--check", "--format", "json"])
    compare("swarmctl/fmt/v1", capsys.readouterr().out)


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    documents = []
    for subject in ([], ["SW2104"], *([kind] for kind in kinds.registry()), ["Mesh.spec.mtu"], ["Mesh.spec.topology"]):
        assert cli.run(["explain", *subject, "--format", "json"]) == 0
        documents.append(capsys.readouterr().out)
    compare("swarmctl/explain/v1", *documents)


def test_doctor() -> None:
    areas = [Area("tools", (Check("ip", True, "/bin/ip"), Check("wg", False, "not found", "apt-get install it")))]
    compare("swarmctl/doctor/v1", doctor.to_json(areas))


def test_remains() -> None:
    found = Finding(Standing.UNKNOWN, "machine a (lab)", "nodepool/p[0]", "a", "lab", "me@here")
    bare = Finding(Standing.UNREADABLE, "what is on b", why="b does not answer")
    examination = Examination("lab", (found, bare), frozenset(["nodepool/p[0]"]))
    compare("swarmctl/remains/v1", remains.to_json(examination))


def test_engine_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from swarmctl.engine import install

    engine = install.Engine(tmp_path / "pulumi", "3.259.0", "PATH")
    monkeypatch.setattr(install, "locate", lambda: engine)
    assert cli.run(["engine", "path", "--format", "json"]) == 0
    compare("swarmctl/engine/v1", capsys.readouterr().out)
    assert cli.run(["version", "--format", "json"]) == 0
    compare("swarmctl/version/v1", capsys.readouterr().out)


def test_facts() -> None:
    nodes = [
        *(NodeFacts(name, "p", "ssh", read(**parts), NOW - 5.0) for name, parts in MACHINES.items()),
        NodeFacts("unknown", "p", "ssh", read(**dict.fromkeys(BLANK, ""), cpu="", virtualisation=""), NOW + 5.0),
        NodeFacts("card", "p", "ssh", read(lspci=cards(1, "10de:ffff")), NOW, kept=True),
        NodeFacts("gone", "p", "ssh", read(lspci=cards(2, "10de:2330"), gone="0000:11:00.0"), NOW + 1.0),
        NodeFacts("dead", "p", "ssh", error=WorldUnreadable("dead does not answer", "see why")),
        NodeFacts("new", "p", "lab"),
    ]
    found = facts_json.to_json(Report("demo", tuple(nodes), NOW + 60.0))
    compare("swarmctl/facts/v1", found)
    assert [node["state"] for node in found["nodes"]][-5:] == ["read", "kept", "read", "unreadable", "missing"]
    assert {node["age"] for node in found["nodes"]} == {65, 55, 60, 59, None}


def test_what_a_host_says_is_printed_so_that_no_terminal_obeys_it_and_read_as_it_was() -> None:
    said = "grüße \x1b[31m \x07 \x7f \x9b2J \u202egnp \ud800 \U0001f600"
    for indent in (2, None):
        printed = json_v1.text({"said": said}, indent=indent)
        assert json.loads(printed) == {"said": said}
        assert "grüße" in printed
        assert printed.replace("\n", "").isprintable()
