"""What the examples don't show: keys of every type, places of the system, and the user that swarmctl logs in with."""

from __future__ import annotations

import base64
import string
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.declarations import fleet
from swarmctl.diagnostics import Severity
from swarmctl.kinds.compile import compile_graph
from swarmctl.kinds.host_baseline.rules import mounts, packages, users
from swarmctl.operations.load import load_stack
from tests.declarations.stacks import BASE, diagnose, spec, told

LAB = "SW3716"
"""Said of all that nodes of the lab can't have; not what is asked here."""
KEYS = {
    "ssh-ed25519": [b"x" * 32],
    "ssh-rsa": [b"\1\0\1", b"\0" + b"\xff" * 256],
    "ecdsa-sha2-nistp256": [b"nistp256", b"\4" + b"x" * 64],
    "sk-ssh-ed25519@openssh.com": [b"x" * 32, b"ssh:"],
    "sk-ecdsa-sha2-nistp256@openssh.com": [b"nistp256", b"\4" + b"x" * 64, b"ssh:"],
}


def line(kind: str, fields: list[bytes], inside: str = "") -> str:
    blob = b"".join(struct.pack(">I", len(field)) + field for field in [(inside or kind).encode(), *fields])
    return f"{kind} {base64.b64encode(blob).decode()} anna"


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_type_are_keys_and_cut_ones_are_none(kind: str) -> None:
    whole = line(kind, KEYS[kind])
    assert users.slip(whole) == ""
    assert users.slip(line(kind, KEYS[kind], inside="ssh-dss")) == f"is not of the type {kind}"
    assert users.slip(line(kind, KEYS[kind][:-1]))
    name, blob, _ = whole.split()
    assert all(users.slip(f"{name} {blob[:length]}") for length in range(4, len(blob) - 4))


def test_short_rsa_keys_are_told() -> None:
    assert users.slip(line("ssh-rsa", [b"\1\0\1", b"\0" + b"\xff" * 128])) == "has fewer than 2048 bits"


@given(st.text(alphabet=string.ascii_letters + string.digits + "+/=", max_size=400))
def test_any_text_is_a_key_or_none(blob: str) -> None:
    assert isinstance(users.slip(f"ssh-ed25519 {blob}x"), str)


@pytest.mark.parametrize("path", ["/usr", "/usr/local", "/var", "/etc/x", "/var/lib/dpkg", "/var/lib/swarmctl/x"])
def test_nothing_is_mounted_over_the_system(path: str) -> None:
    assert mounts.of_system(path)


@pytest.mark.parametrize("path", ["/scratch", "/var/lib/docker", "/srv/data", "/home", "/users", "/optical"])
def test_other_places_can_be_mounted_at(path: str) -> None:
    assert not mounts.of_system(path)


@pytest.mark.parametrize(
    ("sysctl", "code"),
    [
        ("net.ipv6.conf.all.forwarding: 1", "SW3705"),
        ("net.ipv4.conf.eth0.rp_filter: 1", "SW3705"),
        ("net.ipv4.conf.eth0/100.rp_filter: 1", "SW3705"),
        ("net.ipv6.conf.all.disable_ipv6: 1", "SW3705"),
        ("net.ipv6.conf.default.stable_secret: '::1'", "SW3706"),
        ("net.ipv4.route.flush: 1", "SW3706"),
        ("net.//.x: 1", "SW2105"),
        ("net..x: 1", "SW2105"),
        ("/proc/sys/vm: 1", "SW2105"),
        ("net.core.x: ''", "SW2105"),
        ("net.core.x: \"a\\nb\"", "SW2105"),
        ("net.ipv4.tcp_syncookies: 0", "SW3707"),
        ("net.ipv4.conf.eth0.arp_ignore: 8", "SW3719"),
        ("net.ipv6.conf.eth0.autoconf: 0", "SW3719"),
        ("net.netfilter.nf_conntrack_max: 100", "SW3719"),
    ],
)  # fmt: skip
def test_sysctl_keys_that_are_not_for_a_baseline(tmp_path: Path, sysctl: str, code: str) -> None:
    found = diagnose(tmp_path, spec("HostBaseline", "b", f"  nodes: {{}}\n  sysctl:\n    {sysctl}\n"))
    assert [one.code.id for one in found] == [code]


def test_no_module_any_more_is_a_machine_without_tunnels(tmp_path: Path) -> None:
    found = diagnose(tmp_path, spec("HostBaseline", "b", "  nodes: {}\n  sysctl: {kernel.modules_disabled: 1}\n"))
    assert [one.code.id for one in found if one.code.id != LAB] == ["SW3719"]


def test_two_baselines_set_no_two_keys_of_which_only_one_counts(tmp_path: Path) -> None:
    def sysctl(name: str, keys: str, nodes: str = "{}") -> str:
        return spec("HostBaseline", name, f"  nodes: {nodes}\n  sysctl: {{{keys}}}\n")

    one = sysctl("aa", "vm.dirty_background_ratio: 5, vm.overcommit_ratio: 9, vm.swappiness: 10")
    found = diagnose(tmp_path, one, sysctl("bb", "vm.dirty_background_bytes: 5000, vm.dirty_bytes: 9000"))
    (both,) = [one for one in found if one.code.id != LAB]
    assert both.code.id == "SW3723"
    assert both.message.startswith("`vm.dirty_background_bytes` and `vm.dirty_background_ratio` of ")
    assert [it.message for it in both.related] == ["the other one, in `aa`"]

    apart = sysctl("bb", "vm.dirty_background_bytes: 5000", "{role: worker}")
    elsewhere = one.replace("nodes: {}", "nodes: {role: other}")
    pool = spec("NodePool", "more", "  lab: {count: 1}\n").replace(
        "{name: more}", "{name: more, labels: {role: other}}"
    )
    assert [one.code.id for one in diagnose(tmp_path, elsewhere, apart, pool) if one.code.id != LAB] == []


@pytest.mark.parametrize(
    ("parameters", "codes"),
    [
        ("[quiet, quiet, iommu=pt, iommu=off]", ["SW3720", "SW3720"]),
        ("[amd-pstate=on, amd_pstate=off]", ["SW3720"]),
        ("[hugepagesz=1G, hugepages=2, hugepagesz=2M, hugepages=2, console=tty0, console=ttyS0]", []),
    ],
)
def test_parameters_of_which_only_the_last_counts(tmp_path: Path, parameters: str, codes: list[str]) -> None:
    found = diagnose(tmp_path, spec("HostBaseline", "b", f"  nodes: {{}}\n  kernel: {{parameters: {parameters}}}\n"))
    assert [one.code.id for one in found if one.code.id != LAB] == codes
    assert all(one.severity is Severity.WARNING for one in found if one.code.id != LAB)


@pytest.mark.parametrize(
    ("server", "whole"),
    [("1.2.3.4.5", False), ("1.2.3", False), ("300.1.1.1", False), ("a..b", False), ("time.1", False), ("1:2", False)]
    + [(one, True) for one in ("192.0.2.1", "2001:db8::1", "time.example", "0.debian.pool.ntp.org", "ntp1", "a.b")],
)
def test_time_servers_are_addresses_or_names(tmp_path: Path, server: str, whole: bool) -> None:
    declared = f"  nodes: {{}}\n  timeSync: {{servers: ['{server}']}}\n"
    found = diagnose(tmp_path, spec("HostBaseline", "b", declared))
    assert [one.code.id for one in found if one.code.id != LAB] == ["SW3721"][whole:]


def test_a_word_that_older_yaml_reads_as_false_is_mended_to_the_text_first(tmp_path: Path) -> None:
    """`false` is no value of `swap`."""
    found = diagnose(tmp_path, spec("HostBaseline", "b", "  nodes: {}\n  swap: off\n"))
    assert [one.help for one in found if one.code.id != LAB] == [
        'write "off" for the text, or false where a truth value belongs'
    ]


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("openssh-server: absent", "SW3717"),
        ("linux-image-amd64: absent", "SW3717"),
        ("curl-: present", "SW2105"),
        ("curl=1: present", "SW2105"),
        ("Curl: present", "SW2105"),
        ("curl: latest", "SW2105"),
        ("curl: 7.88", "SW2103"),
        ("curl: 7.88-*", "SW2105"),
    ],
)
def test_packages_that_are_not_for_a_baseline(tmp_path: Path, package: str, code: str) -> None:
    found = diagnose(tmp_path, spec("HostBaseline", "b", f"  nodes: {{}}\n  packages:\n    {package}\n"))
    assert [one.code.id for one in found] == [code]


@pytest.mark.parametrize("package", ["curl: present", "g++: present", "telnetd: absent", 'chrony: "1:4.3-2+deb12u1"'])
def test_packages_as_debian_calls_them(tmp_path: Path, package: str) -> None:
    assert diagnose(tmp_path, spec("HostBaseline", "b", f"  nodes: {{}}\n  packages:\n    {package}\n")) == []


def test_packages_of_drivers_are_not_for_machines_with_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    """SW3718. The pool is put together here: what counts is that it has accelerators."""
    pool: Any = SimpleNamespace(spec=SimpleNamespace(accelerators=[1]), variant="ssh", value=lambda *path: path)
    nodes = [fleet.Node("n1", pool, "core", {}, None), fleet.Node("n2", pool, "core", {}, None)]
    monkeypatch.setattr(packages, "selected", lambda inventory, baseline: nodes)
    declared = {"curl": "present", "nvidia-driver-580": "present", "libcuda1": "1.0"}
    baseline: Any = SimpleNamespace(spec=SimpleNamespace(packages=declared), key=lambda *path: path)
    found = list(packages.of_drivers(None, baseline))  # type: ignore[arg-type]
    assert [(one.code.id, one.range[-1]) for one in found] == [  # type: ignore[index]
        ("SW3718", "nvidia-driver-580"), ("SW3718", "libcuda1")
    ]  # fmt: skip
    pool.spec.accelerators = []
    assert list(packages.of_drivers(None, baseline)) == []  # type: ignore[arg-type]


def test_swap_that_yaml_takes_for_false_is_told(tmp_path: Path) -> None:
    found = diagnose(tmp_path, spec("HostBaseline", "b", "  nodes: {}\n  swap: off\n"))
    assert told(found)[0][1:] == (6, 3)


def test_baselines_without_a_machine_in_common_may_say_the_same(tmp_path: Path) -> None:
    pool = spec("NodePool", "more", "  lab: {count: 1}\n").replace(
        "{name: more}", "{name: more, labels: {role: other}}"
    )
    one = spec("HostBaseline", "one", "  nodes: {role: worker}\n  sysctl: {net.core.somaxconn: 1}\n")
    two = spec("HostBaseline", "two", "  nodes: {role: other}\n  sysctl: {net.core.somaxconn: 2}\n")
    assert diagnose(tmp_path, one, two, pool) == []
    assert [it.code.id for it in diagnose(tmp_path, one, two.replace("{role: other}", "{}"), pool)] == ["SW3703"]


SSH = """\
  ssh:
    user: ops
    key: ~/.ssh/swarm
    hosts:
      - {name: n1, address: 192.0.2.1, hostKeys: [KEY]}
      - {name: n2, address: 192.0.2.2, hostKeys: [KEY], user: other}
""".replace("KEY", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbWJd8HUj1RMQWXRoHgfQvyhoWfhSgDMEvAJ3xYU5jl")


@pytest.mark.parametrize(("user", "told_of"), [("ops", ["n1"]), ("other", ["n2"]), ("third", [])])
def test_whom_swarmctl_logs_in_as_keeps_sudo(tmp_path: Path, user: str, told_of: list[str]) -> None:
    pool = spec("NodePool", "metal", SSH)
    baseline = spec("HostBaseline", "b", f"  nodes: {{}}\n  users: [{{name: {user}}}]\n")
    found = [one for one in diagnose(tmp_path, pool, baseline, without=("NodePool",)) if one.code.id.startswith("SW37")]
    assert [one.message.split()[4] for one in found] == told_of
    assert [one.code.id for one in found] == ["SW3712"] * len(told_of)
    with_sudo = baseline.replace(f"name: {user}", f"name: {user}, sudo: true")
    found = diagnose(tmp_path, pool, with_sudo, without=("NodePool",))
    assert [one for one in found if one.code.id.startswith("SW37")] == []


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/bin/false"])
@pytest.mark.parametrize(("user", "told_of"), [("ops", ["n1"]), ("other", ["n2"]), ("third", [])])
def test_whom_swarmctl_logs_in_as_keeps_a_shell(tmp_path: Path, user: str, told_of: list[str], shell: str) -> None:
    pool = spec("NodePool", "metal", SSH)
    baseline = spec("HostBaseline", "b", f"  nodes: {{}}\n  users: [{{name: {user}, sudo: true, shell: {shell}}}]\n")
    found = [one for one in diagnose(tmp_path, pool, baseline, without=("NodePool",)) if one.code.id.startswith("SW37")]
    assert [(one.code.id, one.message.split()[4]) for one in found] == [("SW3722", name) for name in told_of]
    assert all(one.severity is Severity.ERROR for one in found)
    found = diagnose(tmp_path, pool, baseline.replace(shell, "/bin/bash"), without=("NodePool",))
    assert [one for one in found if one.code.id.startswith("SW37")] == []


@pytest.mark.parametrize(
    ("upgrades", "packages", "wanted"),
    [
        ("{}", "", {"unattended-upgrades": "present"}),
        ("{}", "{curl: present}", {"unattended-upgrades": "present", "curl": "present"}),
        ("{automatic: false}", "", {}),
        ("{}", '{unattended-upgrades: "2.9"}', {"unattended-upgrades": "2.9"}),
    ],
)
def test_what_does_security_upgrades_is_installed_unless_something_else_is_said_of_it(
    tmp_path: Path, upgrades: str, packages: str, wanted: dict[str, str]
) -> None:
    other = f"  packages: {packages}\n" if packages else ""
    for kind, text in BASE.items():
        (tmp_path / f"{kind}.yaml").write_text(text)
    body = f"  nodes: {{role: worker}}\n  securityUpgrades: {upgrades}\n"
    (tmp_path / "b.yaml").write_text(spec("HostBaseline", "b", body + (other if "curl" in other else "")))
    if other and "curl" not in other:
        (tmp_path / "c.yaml").write_text(spec("HostBaseline", "c", f"  nodes: {{}}\n{other}"))
    graph = compile_graph(load_stack(tmp_path).inventory, "s", lambda address: None)
    found = {str(it.address): it for it in graph.resources.values() if it.address.kind == "hostbaseline"}
    on_first = [it for name, it in found.items() if name.endswith("[workers-0/packages]")]
    assert {name: want for it in on_first for name, want in it.inputs["packages"].items()} == wanted
    assert len(on_first) == bool(wanted)
    assert found["hostbaseline/b[workers-0/upgrades]"].depends_on == tuple(it.address for it in on_first)


def test_the_same_aspect_of_one_machine_is_set_by_one_baseline_after_the_other(tmp_path: Path) -> None:
    for kind, text in BASE.items():
        (tmp_path / f"{kind}.yaml").write_text(text)
    for name, key in (("b", "net.core.somaxconn"), ("c", "net.ipv4.tcp_syn_retries")):
        body = f"  nodes: {{role: worker}}\n  sysctl: {{{key}: 1}}\n  packages: {{tool-{name}: present}}\n"
        (tmp_path / f"{name}.yaml").write_text(spec("HostBaseline", name, body))
    graph = compile_graph(load_stack(tmp_path).inventory, "s", lambda address: None)
    found = {str(it.address): [*map(str, it.depends_on)] for it in graph.resources.values()}
    one, two = "hostbaseline/b[workers-0/packages]", "hostbaseline/c[workers-0/packages]"
    assert (found[one], found[two]) == ([], [one])
    assert found["hostbaseline/b[workers-0/sysctl]"] == [one, two]
    assert found["hostbaseline/c[workers-0/sysctl]"] == [one, two, "hostbaseline/b[workers-0/sysctl]"]


METAL = "{name: metal, labels: {role: worker}}"


def mounting(name: str, *paths: str) -> str:
    listed = "".join(f"    - {{path: {path}, device: tmpfs, type: tmpfs}}\n" for path in paths)
    return spec("HostBaseline", name, f"  nodes: {{role: worker}}\n  mounts:\n{listed}")


def test_what_lies_within_a_mount_of_another_baseline_comes_after_it(tmp_path: Path) -> None:
    for kind, text in BASE.items():
        (tmp_path / f"{kind}.yaml").write_text(text)
    pool = spec("NodePool", "metal", SSH.replace(", user: other", "")).replace("{name: metal}", METAL)
    (tmp_path / "NodePool.yaml").write_text(pool)
    for name, paths in {"aa": ["/srv/a/b/c"], "bb": ["/srv/a/b", "/srv/ab"], "cc": ["/srv/a"], "dd": ["/data"]}.items():
        (tmp_path / f"{name}.yaml").write_text(mounting(name, *paths))
    graph = compile_graph(load_stack(tmp_path).inventory, "s", lambda address: None)
    found = {str(it.address): [*map(str, it.depends_on)] for it in graph.resources.values()}
    order = [f"hostbaseline/{name}[n1/mounts]" for name in ("cc", "bb", "aa", "dd")]
    assert [found[name] for name in order] == [[], *([name] for name in order[:-1])]


def test_baselines_whose_mounts_lie_within_each_other_are_told(tmp_path: Path) -> None:
    one, two = mounting("aa", "/srv/a", "/srv/b/x"), mounting("bb", "/srv/b", "/srv/a/x")
    (found,) = [it for it in diagnose(tmp_path, one, two, mounting("cc", "/srv/a/x/y")) if it.code.id != LAB]
    assert found.code.id == "SW3724"
    assert found.message == "`aa`, `bb` have mounts of workers-0 within each other's"
    apart = mounting("aa", "/srv/a", "/srv/b"), mounting("bb", "/srv/b/x", "/srv/a/x")
    assert [it for it in diagnose(tmp_path, *apart) if it.code.id != LAB] == []
