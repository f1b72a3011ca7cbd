"""Limits: where they can be set, what they are called, and that nothing is accepted and ignored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarmctl.backends.lab import cgroups
from swarmctl.backends.lab.cgroups import CannotLimit, Hierarchy


def mount(point: Path, kind: str, options: str, root: str = "/") -> str:
    return f"1 2 0:3 {root} {point} rw - {kind} {kind} rw,{options}\n"


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def test_version_1_groups_are_made_below_our_own(tmp_path: Path, root: None) -> None:
    for name in ("cpu", "memory/outer/own"):
        (tmp_path / name).mkdir(parents=True)
    mounts = mount(tmp_path / "cpu", "cgroup", "cpu,cpuacct") + mount(tmp_path / "memory", "cgroup", "memory")
    found = cgroups.hierarchy(mounts=mounts, own="4:memory:/outer/own\n1:cpu,cpuacct:/\n0::/\n")
    assert found == Hierarchy(1, {"cpu": str(tmp_path / "cpu"), "memory": str(tmp_path / "memory/outer/own")})


def test_a_container_sees_its_own_group_as_the_root_of_the_mount(tmp_path: Path, root: None) -> None:
    (tmp_path / "memory").mkdir()
    mounts = mount(tmp_path / "memory", "cgroup", "memory", root="/docker/abc")
    found = cgroups.hierarchy(mounts=mounts, own="4:memory:/docker/abc\n")
    assert found.parents == {"memory": str(tmp_path / "memory")}


def test_version_2_as_root_uses_the_root_group(tmp_path: Path, root: None) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    found = cgroups.hierarchy(mounts=mount(tmp_path, "cgroup2", "x"), own="0::/user.slice/session-1.scope\n")
    assert found == Hierarchy(2, dict.fromkeys(("cpu", "memory", "pids"), str(tmp_path)))


def test_version_2_as_a_user_uses_the_topmost_delegated_group(tmp_path: Path, user: None) -> None:
    own = tmp_path / "user.slice" / "app.scope"
    own.mkdir(parents=True)
    for folder in (own, own.parent):
        (folder / "cgroup.procs").write_text("")
        (folder / "cgroup.controllers").write_text("memory pids\n")
    found = cgroups.hierarchy(mounts=mount(tmp_path, "cgroup2", "x"), own="0::/user.slice/app.scope\n")
    assert found == Hierarchy(2, dict.fromkeys(("memory", "pids"), str(own.parent)))


def test_without_control_groups_there_is_nothing_to_limit_with(root: None) -> None:
    assert cgroups.hierarchy(mounts="", own="") == Hierarchy(0, {})


@pytest.mark.parametrize(("limit", "controller"), [("cpus", "cpu"), ("memory", "memory")])
def test_a_limit_that_cannot_be_enforced_is_refused_and_names_what_is_missing(limit: str, controller: str) -> None:
    with pytest.raises(CannotLimit, match=f"n-0: the limit resources.{limit} .* the {controller} controller"):
        cgroups.plan("t", "n-0", Hierarchy(2, {"pids": "/x"}), {limit: 1})


def test_a_limit_that_nobody_knows_is_refused() -> None:
    with pytest.raises(CannotLimit, match=r"resources\.gpus"):
        cgroups.plan("t", "n", Hierarchy(2, {"cpu": "/x", "memory": "/x"}), {"gpus": 1})


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (1, {"cpu.cfs_quota_us": "150000", "cpu.cfs_period_us": "100000", "memory.limit_in_bytes": "536870912"}),
        (2, {"cpu.max": "150000 100000", "memory.max": "536870912"}),
    ],
)
def test_limits_are_set_and_read_back_and_taken_off(tmp_path: Path, version: int, files: dict[str, str]) -> None:
    groups = {"cpu": str(tmp_path), "memory": str(tmp_path)}
    wanted = {"cpus": 1.5, "memory": "512Mi"}
    cgroups.limit(groups, version, "n", wanted)
    assert {name: (tmp_path / name).read_text() for name in files} == files
    assert cgroups.read(groups, version, wanted) == wanted
    assert cgroups.read(groups, version, {}) == wanted
    assert cgroups.read(groups, version, {"cpus": 3, "memory": "1Gi"}) == wanted
    cgroups.limit(groups, version, "n", {})
    assert cgroups.read(groups, version, wanted) == {}


@pytest.mark.parametrize(("text", "amount"), [("1Ki", 1024), ("512Mi", 512 << 20), ("3Gi", 3 << 30), ("1Ti", 1 << 40)])
def test_quantities(text: str, amount: int) -> None:
    assert cgroups.memory_bytes(text) == amount
    assert cgroups.quantity(amount) == text


def test_other_words_for_the_same_amount_are_no_difference(tmp_path: Path) -> None:
    cgroups.limit({"memory": str(tmp_path)}, 2, "n", {"memory": "1024Mi"})
    assert cgroups.read({"memory": str(tmp_path)}, 2, {"memory": "1024Mi"}) == {"memory": "1024Mi"}
    assert cgroups.read({"memory": str(tmp_path)}, 2, {}) == {"memory": "1Gi"}


def test_version_2_switches_a_controller_on_from_the_top_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_makes_files(monkeypatch)
    (tmp_path / "cgroup.subtree_control").write_text("memory")
    groups = cgroups.plan("t", "n", Hierarchy(2, {"memory": str(tmp_path)}), {"memory": "1Mi"})
    assert cgroups.make(groups, 2, "n", {"memory": "1Mi"}) == {"memory": str(tmp_path / "swarmctl-t" / "n")}
    assert (tmp_path / "swarmctl-t" / "cgroup.subtree_control").read_text() == "+memory"
    assert (tmp_path / "swarmctl-t" / "n" / "memory.max").read_text() == "1048576"


def test_a_controller_that_cannot_be_switched_on_leaves_no_group_and_is_an_error_only_where_it_is_needed(
    tmp_path: Path,
) -> None:
    groups = cgroups.plan("t", "n", Hierarchy(2, {"memory": str(tmp_path)}), {})
    assert cgroups.make(groups, 2, "n", {}) == {}
    with pytest.raises(CannotLimit, match="n: the memory controller of control groups can't be used"):
        cgroups.make(groups, 2, "n", {"memory": "1Mi"})
    assert list(tmp_path.iterdir()) == []


def kernel_makes_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new folder gets the files that the kernel gives to a new group."""
    mkdir = Path.mkdir

    def made(self: Path, *args: object, **kwargs: object) -> None:
        new = not self.exists()
        mkdir(self, *args, **kwargs)  # type: ignore[arg-type]
        if new:
            (self / "cgroup.subtree_control").write_text("")

    monkeypatch.setattr(Path, "mkdir", made)
