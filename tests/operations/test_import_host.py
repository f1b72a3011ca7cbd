"""Machines → declarations, without logging in anywhere."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from swarmctl import cli
from swarmctl.backends import ways
from swarmctl.diagnostics import errors
from swarmctl.errors import Declined, SwarmError, UsageError, WorldUnreadable
from swarmctl.hosts.system import SystemFacts
from swarmctl.hosts.system.parse import parse
from swarmctl.operations import import_host as importing
from swarmctl.operations.import_host import Target
from swarmctl.operations.import_host_text import pool
from swarmctl.operations.validate import validate
from tests.hosts.system.machines import BARE, MACHINES, cards, read

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbWJd8HUj1RMQWXRoHgfQvyhoWfhSgDMEvAJ3xYU5jl"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJeqHP7eZ3nlVxsVwYvGrtCdb4ZNjqDDShIC3HwNRmAV"
WAY = {"address": "203.0.113.10", "user": "ops", "hostKeys": [KEY]}
FIRST = {"address": "198.51.100.2", "port": 22022, "hostKeys": [OTHER]}
STACK = """
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {name: demo, uid: 0b0ae1d2-6a3c-4b3c-9d4f-5a1d2c3b4a59}
spec: {defaults: {cluster: core, region: home}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {name: core}
spec: {mesh: m, securityPolicy: p}
---
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {name: m}
spec: {cidrs: [10.88.0.0/16], topology: {full: {}}}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: p}
spec: {network: {flows: []}}
"""


TWINS = cards(1, "10de:20b1") + cards(1, "10de:20f1", first=0x40)
"""Two cards that are both called A100 PCIe 40GB."""


def valid(folder: Path, text: str) -> None:
    (folder / "stack.yaml").write_text(STACK)
    (folder / "pool.yaml").write_text(text)
    assert [f"{one.code.id}: {one.message}" for one in errors(validate(folder).diagnostics)] == []


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_printed_is_valid(name: str, tmp_path: Path) -> None:
    valid(tmp_path, pool("n1", WAY, read(**MACHINES[name])))


@pytest.mark.parametrize(
    "way",
    [
        {**WAY, "address": "2001:db8::7", "port": 2222, "key": "~/.ssh/a key: #1"},
        {**WAY, "address": "N1.example.net", "jump": {"address": "203.0.113.2", "user": "ops", "hostKeys": [OTHER]}},
        {**WAY, "user": "null", "jump": {"address": "j", "user": "Root", "port": 99, "hostKeys": [OTHER], "key": "k"}},
        {**WAY, "jump": {"address": "j", "user": "a", "hostKeys": [OTHER], "jump": {**FIRST, "user": "no"}}},
    ],
)
def test_every_way_to_a_machine_can_be_declared(way: dict[str, object], tmp_path: Path) -> None:
    text = pool("n1", way, read())
    valid(tmp_path, text)
    assert text.count("jump:") == len(list(ways.parts(way))) - 1


def test_comments_say_what_led_to_what() -> None:
    text = pool("n1", WAY, read(**MACHINES["hgx-h100"]))
    for line in (
        "# node, as it was when it was imported:",
        "#   Ubuntu 24.04.3 LTS, Linux 6.8.0-60-generic",
        "# Label accelerator: the model of all its accelerators, by their PCI ids.",
        "# Label confidential: its kernel can begin such guests.",
        "  # 8 x H100 SXM5 80GB, by its PCI id 10de:2330",
        "  # Secure boot is on: a driver's modules load only once its key is enrolled at the machine's console.",
        '  accelerators: [{vendor: nvidia, model: "H100 SXM5 80GB", count: 8}]',
        "    mtu: 9000  # of ens1f0np0, which has this address",
        f"      - {{name: n1, address: 203.0.113.10, hostKeys: [{KEY}]}}",
    ):
        assert line in text.splitlines()
    assert "labels: {accelerator: h100, confidential: tdx}" in text


def test_an_address_that_no_interface_has_is_told() -> None:
    assert "a router translates it" in pool("n1", {**WAY, "address": "198.51.100.1"}, read())
    assert "a router translates it" not in pool("n1", {**WAY, "address": "n1.example.net"}, read())


@pytest.mark.parametrize(
    ("parts", "items"),
    [
        (
            MACHINES["mixed"],
            [
                '    - {vendor: nvidia, model: "V100 SXM2 32GB", count: 2}',
                '    - {vendor: nvidia, model: "T4", count: 2}',
            ],
        ),
        ({"lspci": cards(1, "1002:740f")}, ['  accelerators: [{vendor: amd, model: "MI210", count: 1}]']),
        ({"lspci": cards(2, "1002:740c")}, ["  accelerators: [{vendor: amd, count: 2}]"]),
    ],
)
def test_every_model_has_an_item(tmp_path: Path, parts: dict[str, str], items: list[str]) -> None:
    text = pool("n1", WAY, read(**parts))
    assert [line for line in text.splitlines() if "vendor:" in line] == items
    valid(tmp_path, text)


def test_no_item_is_written_that_a_plan_would_refuse(tmp_path: Path) -> None:
    both = f"{cards(2, '10de:2901')}{cards(1, '1002:74a1').replace('0000:', '0001:')}"
    debian = "ID=debian\nVERSION_ID=12\n"
    text = pool("n1", WAY, read(lspci=both, os=debian))
    assert [line for line in text.splitlines() if "vendor:" in line] == [
        '  accelerators: [{vendor: nvidia, model: "B200", count: 2}]'
    ]
    assert (
        "  # No item for the cards of amd, since a plan would refuse it: nothing of AMD's is packaged for debian 12 on "
        "x86_64.\n"
    ) in text
    valid(tmp_path, text)
    assert "accelerators:" not in pool("n1", WAY, read(lspci=cards(1, "1002:74a1"), os=debian))


@pytest.mark.parametrize("parts", [{"lspci": cards(1, "10de:ffff")}, {"lspci": TWINS}])
def test_cards_that_can_t_be_told_apart_or_have_no_driver_are_only_told(parts: dict[str, str]) -> None:
    text = pool("n1", WAY, read(**parts))
    assert "No `accelerators` here" in text
    assert "\n  accelerators:" not in text


def test_nothing_that_a_machine_says_ends_a_comment(tmp_path: Path) -> None:
    evil = "a\x85b\u2028c\x0bd"
    found = read(hostname=evil, os=f'ID=debian\nPRETTY_NAME="{evil}"', cpu=f"model name\t: {evil}\n", init="x\n")
    text = pool("n1", WAY, found)
    valid(tmp_path, text)
    assert all(line.startswith(("#", " ", "apiVersion", "kind", "metadata", "spec")) for line in text.splitlines())


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ops@192.0.2.1", Target("ops", "192.0.2.1")),
        ("ops@n1.example.net:2222", Target("ops", "n1.example.net", 2222)),
        ("ops@2001:db8::1", Target("ops", "2001:db8::1")),
        ("ops@[2001:db8::1]:2222", Target("ops", "2001:db8::1", 2222)),
    ],
)
def test_targets(text: str, target: Target) -> None:
    assert Target.parse(text) == target
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    "text", ["n1", "@n1", "ops@", "ops@n1:0", "ops@n1:x", "ops@n1:70000", "-o@n1", "ops@-x", "a b@c"]
)
def test_no_targets(text: str) -> None:
    with pytest.raises(UsageError, match="names no machine"):
        Target.parse(text)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine at any address that shows `KEY`; lists what was logged in to."""
    entered: list[str] = []

    class Host:
        name = "n1"

    def open_host(host: dict[str, object]) -> Host:
        entered.append(str(host["address"]))
        assert host["hostKeys"] == [KEY]
        return Host()

    def facts(host: Host) -> SystemFacts:
        return read()

    monkeypatch.setattr("swarmctl.backends.ssh.first.host_key", lambda name, address: KEY)
    monkeypatch.setattr(importing, "open_host", open_host)
    monkeypatch.setattr(importing, "read", facts)
    return entered


def test_nobody_logs_in_before_the_host_key_is_confirmed(shown: list[str]) -> None:
    target = Target("ops", "192.0.2.1")
    with pytest.raises(Declined, match="was not confirmed"):
        importing.import_host(target, confirm=lambda key: False)
    with pytest.raises(Declined, match=r"of ops@192.0.2.9 was not"):
        importing.import_host(target, jump=[Target("ops", "192.0.2.9")], confirm=lambda key: False)
    with pytest.raises(SwarmError, match="another host key than the ones that were given"):
        importing.import_host(target, confirm=lambda key: True, pinned=[OTHER])
    with pytest.raises(SwarmError, match="another host key"):
        importing.import_host(target, confirm=lambda key: True, pinned=["SHA256:" + "x" * 43])
    assert shown == []


def test_what_is_pinned_is_not_asked_about(shown: list[str]) -> None:
    asked: list[importing.Shown] = []
    target = Target("ops", "192.0.2.1")
    importing.import_host(target, confirm=lambda key: bool(asked.append(key)), pinned=[KEY])
    importing.import_host(
        target, confirm=lambda key: bool(asked.append(key)), pinned=[importing.Shown("", KEY).fingerprint]
    )
    assert asked == []
    assert shown == ["192.0.2.1", "192.0.2.1"]


@pytest.mark.parametrize("pin", ["", "SHA256:x", "MD5:00", "ssh-ed25519 AAAA", "n1 ssh-ed25519 AAAA", KEY + " comment"])
def test_what_is_no_host_key_pins_nothing(shown: list[str], pin: str) -> None:
    with pytest.raises(UsageError, match="neither a host key nor a fingerprint"):
        importing.import_host(Target("ops", "192.0.2.1"), confirm=lambda key: True, pinned=[pin])
    assert shown == []


def test_a_fingerprint_that_was_cut_short_is_called_one(shown: list[str]) -> None:
    with pytest.raises(UsageError, match=r"'SHA256:abc' is neither .*: after `SHA256:` there are 43") as raised:
        importing.import_host(Target("ops", "192.0.2.1"), confirm=lambda key: True, pinned=["SHA256:abc"])
    assert "the key itself is needed" not in raised.value.message


def test_key_files_are_declared_so_that_they_are_found_from_everywhere(
    shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = Target("ops", "192.0.2.1")
    text = importing.import_host(target, confirm=lambda key: True, key="fl/key", certificate="~/c-cert.pub").text
    text = text.replace("'", "").replace('"', "")
    assert f"key: {tmp_path}/fl/key\n" in text
    assert "certificate: ~/c-cert.pub\n" in text


def test_what_cannot_be_read_is_looked_at_by_ssh_since_it_is_no_node_yet(
    shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "read", lambda host: parse(b"nonsense", host.name))
    for jump, by in ((), "ssh "), ([Target("ops", "gw")], "ssh -J ops@gw "):
        with pytest.raises(WorldUnreadable) as raised:
            importing.import_host(Target("ops", "2001:db8::1", 2222), jump=jump, confirm=lambda key: True)
        command = f"{by}ssh://ops@[2001:db8::1]:2222 'uname -a; date'"
        assert raised.value.hint == f"see whether `{command}` prints what it should"


def test_names(shown: list[str]) -> None:
    def called(**more: str) -> str:
        return importing.import_host(Target("ops", "192.0.2.1"), confirm=lambda key: True, **more).name  # type: ignore[arg-type]

    assert called() == "node"
    assert called(name="gpu-0") == "gpu-0"
    with pytest.raises(UsageError, match="can't be the name"):
        called(name="GPU 0")
    assert importing._called("localhost", Target("a", "2001:db8::1")) == "host-2001-db8-1"
    assert importing._called("GPU_7.example.net", Target("a", "x")) == "gpu-7"
    assert importing._called("\u65e5", Target("a", "gw.example.net")) == "gw-example-net"


def test_it_is_written_beside_what_is_there_and_over_nothing(shown: list[str], tmp_path: Path) -> None:
    target = Target("ops", "192.0.2.1")
    found = importing.import_host(target, confirm=lambda key: True, out=tmp_path / "new")
    assert found.written == tmp_path / "new" / "node.yaml"
    assert found.written.read_text() == found.text
    with pytest.raises(UsageError, match="is there already; nothing was written"):
        importing.import_host(target, confirm=lambda key: True, out=tmp_path / "new")


def test_a_machine_that_is_declared_there_already_is_not_declared_twice(shown: list[str], tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK)
    target = Target("ops", "192.0.2.1")
    found = importing.import_host(target, confirm=lambda key: True, stack=tmp_path, out=tmp_path, name="n1")
    assert found.written is not None
    with pytest.raises(UsageError, match=r"declared there already, as n1 in .*n1\.yaml:\d+: it has the same host key"):
        importing.import_host(target, confirm=lambda key: True, stack=tmp_path, out=tmp_path, name="n2")
    assert not (tmp_path / "n2.yaml").exists()
    assert importing.import_host(target, confirm=lambda key: True, stack=tmp_path, name="n2").name == "n2"


def test_without_a_terminal_a_key_must_be_given(
    shown: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cli.run(["import", "host", "ops@192.0.2.1"]) == 2
    assert "--host-key or --fingerprint" in capsys.readouterr().err
    assert shown == []
    assert cli.run(["import", "host", "ops@192.0.2.1", "--host-key", KEY]) == 0
    assert f"hostKeys: [{KEY}]" in capsys.readouterr().out


def test_a_bare_machine_needs_no_guess() -> None:
    assert set(BARE) >= {"hostname"}
    text = pool("n1", WAY, read(pci="", lspci=""))
    assert "Whether it has accelerators is not known" in text
