"""What a node says of itself is made into no path but those of a mesh's keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from swarmctl.hosts.facts import Interface, WireGuard
from swarmctl.kinds.base import Hosts
from swarmctl.kinds.mesh import marks
from swarmctl.kinds.mesh.interface import TakenByOther
from swarmctl.kinds.mesh.resources import INTERFACE
from swarmctl.kinds.mesh.rotation.scripts import head
from swarmctl.kinds.mesh.rotation.survey import Survey
from swarmctl.mesh import names
from tests.mesh.fakes import FakeHosts, facts
from tests.mesh.test_interface import INPUTS, present

ELSEWHERE = ("../../victim/data", "..", ".", "", "a/b", "/etc", "Backbone", "a b", "a\n", "-rf", "a" * 64, "a.b")
HOST = {"backend": "lab", "node": "n"}


def found(links: Iterator[Interface] | list[Interface], keys: tuple[str, ...] = ()) -> list[Any]:
    known = replace(facts(links={link.name: link for link in links}), key_files=dict.fromkeys(keys, "0600"))
    return list(marks.marked("lab", {"n": HOST}, cast(Hosts, FakeHosts(known))))


@pytest.mark.parametrize("mark", [marks.ALIAS, marks.SECOND])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_mark_that_leads_elsewhere_is_told_and_makes_nothing_that_could_be_removed(mark: str, name: str) -> None:
    (one,) = found([Interface("wg7", True, 1420, (), f"{mark}{name}")])
    assert (one.inputs, one.why) == ({}, "swarmctl makes no such mark: it is left alone")
    assert one.text.startswith("interface wg7 with the alias 'swarmctl")


@pytest.mark.parametrize("link", ["", "../wg0", "-x", "wg0 x", "WG", "x" * 16])
def test_an_interface_whose_name_no_mesh_can_have_is_not_ours(link: str) -> None:
    assert found([Interface(link, True, 1420, (), "swarmctl:old")])[0].why


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_key_that_lies_elsewhere_is_told_and_left_alone(name: str) -> None:
    (one,) = found([], (f"/etc/swarmctl/mesh/{name}/private.key",))
    assert one.why
    assert one.inputs == {}


def test_marks_that_make_sense_are_found_and_lie_in_the_folder_of_their_mesh() -> None:
    links = [Interface("wg1", True, 1420, (), "swarmctl:old"), Interface("wg1-n", True, 1, (), "swarmctl-rotation:old")]
    first, second, key = found(links, ("/etc/swarmctl/mesh/old/private.key", "/etc/swarmctl/mesh/x-1/private.key"))
    assert (first.inputs["keyPath"], second.inputs["keyPath"]) == ("/etc/swarmctl/mesh/old/private.key",) * 2
    assert (key.inputs["keyPath"], key.why) == ("/etc/swarmctl/mesh/x-1/private.key", "")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_nothing_is_done_with_a_key_elsewhere_wherever_its_path_comes_from(name: str) -> None:
    path = f"/etc/swarmctl/mesh/{name}/private.key"
    hosts = FakeHosts(present())
    with pytest.raises(ValueError, match="no key of a mesh"):
        INTERFACE.delete(hosts, {**INPUTS, "keyPath": path})
    with pytest.raises(ValueError, match="no key of a mesh"):
        INTERFACE.update(hosts, INPUTS, {**INPUTS, "keyPath": path})
    with pytest.raises(ValueError, match="no key of a mesh"):
        head(Survey({"interface": "wg0", "nextInterface": "wg0-n", "keyPath": path, "nodes": {}}, {}))
    assert hosts.host.log == []
    assert names.mesh_of(path) == ""
    with pytest.raises(ValueError, match="no name of a mesh"):
        names.key_file(name)


def test_an_interface_with_a_mark_that_swarmctl_would_not_make_is_somebody_elses() -> None:
    known = facts(
        links={"wg0": Interface("wg0", True, 1420, (), "swarmctl:../../victim/data")},
        wireguard={"wg0": WireGuard("wg0", "THEIRS", 1, {})},
    )
    hosts = FakeHosts(known)
    with pytest.raises(TakenByOther):
        INTERFACE.create(hosts, INPUTS)
    assert hosts.host.log == []


def test_a_key_that_another_interface_claims_by_its_mark_stays_when_the_first_is_removed() -> None:
    known = present()
    other = Interface("wg7", True, 1420, (), "swarmctl:backbone")
    hosts = FakeHosts(replace(known, interfaces={**known.interfaces, "wg7": other}))
    INTERFACE.delete(hosts, {**INPUTS, "interface": "wg7"})
    assert not any(line[0] == "remove" for line in hosts.host.log)
