"""Settings of which one is 0 as long as the other is set, on files that behave as the kernel's."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed
from swarmctl.kinds.host_baseline.aspects.sysctl import SYSCTL
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines

KERNEL = """
say() {
  case "$1 $2" in
    vm.dirty*bytes' 0') return 1 ;;
  esac
  case $1 in
    # Up, and never down again.
    kernel.*) if [ "$(cat "$(at "$1")")" -gt "$2" ]; then return 1; fi ;;
  esac
  if [ "$(cat "$(at "$1")")" != "$2" ] && [ -n "$(other "$1")" ]; then echo 0 >"$(at "$(other "$1")")"; fi
  printf '%s\\n' "$2" >"$(at "$1")"
}
"""
"""As mm/page-writeback.c has it: never 0 bytes, and what is set makes the other one 0. mm/util.c takes 0 kilobytes."""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(SYSCTL, "library", SYSCTL.library + KERNEL, raising=False)
    (tmp_path / "vm").mkdir()
    return tmp_path


def settings(kernel: Path, **found: int) -> None:
    for name, value in found.items():
        (kernel / "vm" / name).write_text(f"{value}\n")


def both(kernel: Path, number: str = "dirty_bytes", ratio: str = "dirty_ratio") -> tuple[int, int]:
    return int((kernel / "vm" / number).read_text()), int((kernel / "vm" / ratio).read_text())


def run(kernel: Path, **values: str) -> None:
    """Set, or with no values taken away."""
    done = carried_out(kernel, {f"vm.{name}": value for name, value in values.items()})
    assert (done.returncode, done.stderr) == (0, "")


def carried_out(
    kernel: Path, values: dict[str, str], baseline: str = "b", *, cut_off: bool = False
) -> subprocess.CompletedProcess[str]:
    inputs: dict[str, Any] = {"baseline": baseline, "values": values}
    script = SYSCTL.script(inputs, SYSCTL.setting(inputs) if values else SYSCTL.taking_away(inputs))
    if cut_off:
        assert '\nput "$file"' in script
        script = script.replace('\nput "$file"', '\nkill -9 $$\nput "$file"')
    for place in (RECORDS, "/etc/sysctl.d"):
        script = script.replace(place, f"{kernel}{place}")
    script = script.replace("/proc/sys/", f"{kernel}/")
    return subprocess.run(["sh", "-eu", "-s"], input=script, text=True, capture_output=True, check=False)


@pytest.mark.parametrize("first", [{"dirty_bytes": 0, "dirty_ratio": 20}, {"dirty_bytes": 5000, "dirty_ratio": 0}])
@pytest.mark.parametrize(
    "steps",
    [
        [{"dirty_bytes": "9000"}],
        [{"dirty_ratio": "30"}],
        [{"dirty_bytes": "9000"}, {"dirty_bytes": "9001"}],
        [{"dirty_bytes": "9000"}, {"dirty_ratio": "30"}],
        [{"dirty_ratio": "30"}, {"dirty_bytes": "9000"}],
        [{"dirty_ratio": "30"}, {"dirty_bytes": "9000"}, {"dirty_ratio": "40"}],
    ],
)
def test_of_two_the_one_that_counted_is_given_back(
    kernel: Path, first: dict[str, int], steps: list[dict[str, str]]
) -> None:
    settings(kernel, **first)
    before = both(kernel)
    for values in steps:
        run(kernel, **values)
        assert both(kernel) == (int(values.get("dirty_bytes", 0)), int(values.get("dirty_ratio", 0)))
    run(kernel)
    assert both(kernel) == before


def test_what_somebody_has_set_since_stays(kernel: Path) -> None:
    settings(kernel, dirty_bytes=0, dirty_ratio=20)
    run(kernel, dirty_bytes="9000")
    settings(kernel, dirty_bytes=0, dirty_ratio=7)
    run(kernel)
    assert both(kernel) == (0, 7)


@pytest.mark.parametrize("first", [{"overcommit_kbytes": 0, "overcommit_ratio": 50}])
@pytest.mark.parametrize("then", [{"overcommit_kbytes": "9000"}, {"overcommit_ratio": "30"}])
def test_memory_that_may_be_promised_is_such_a_pair_too(
    kernel: Path, first: dict[str, int], then: dict[str, str]
) -> None:
    pair = ("overcommit_kbytes", "overcommit_ratio")
    settings(kernel, **first)
    run(kernel, **then)
    assert both(kernel, *pair) == (int(then.get(pair[0], 0)), int(then.get(pair[1], 0)))
    run(kernel)
    assert both(kernel, *pair) == (0, 50)


def test_a_pair_that_another_baseline_takes_over_is_what_it_was_before_either(kernel: Path) -> None:
    settings(kernel, dirty_bytes=0, dirty_ratio=20)
    assert carried_out(kernel, {"vm.dirty_bytes": "9000"}, "old").returncode == 0
    assert carried_out(kernel, {"vm.dirty_ratio": "30"}, "aa").returncode == 0
    for baseline in ("old", "aa"):
        assert carried_out(kernel, {}, baseline).returncode == 0
    assert both(kernel) == (0, 20)


KEXEC = "kernel.kexec_load_disabled"


def test_what_the_kernel_does_not_let_go_keeps_no_baseline_from_being_taken_away(kernel: Path) -> None:
    (kernel / "kernel").mkdir()
    for key, value in (("kexec_load_disabled", 0), ("panic", 5)):
        (kernel / "kernel" / key).write_text(f"{value}\n")
    assert carried_out(kernel, {KEXEC: "1"}).returncode == 0

    done = carried_out(kernel, {KEXEC: "0"})
    assert f"the kernel keeps {KEXEC} at 1 until the next restart\tleave it out, apply, restart" in done.stderr
    assert carried_out(kernel, {}).returncode == 0
    assert (kernel / "kernel/kexec_load_disabled").read_text() == "1\n"
    assert [path for path in kernel.rglob("*swarmctl*") if path.is_file()] == [], "no start sets it again"

    # One that is not known for it is told of, as ever.
    assert carried_out(kernel, {"kernel.panic": "9"}).returncode == 0
    assert "kernel.panic cannot be put back to '5'" in carried_out(kernel, {}).stderr


def test_a_plan_tells_what_no_apply_can_take_back() -> None:
    def inputs(**values: str) -> dict[str, Any]:
        return {"node": "n1", "baseline": "b", "values": {f"kernel.{key}": value for key, value in values.items()}}

    with_it, without = inputs(kexec_load_disabled="1", kexec_load_limit_panic="3", panic="9"), inputs(panic="9")
    told = f"{KEXEC} 1, kernel.kexec_load_limit_panic 3"
    assert SYSCTL.impact(None, with_it).text == f"{told} can't be taken back on n1 before its next restart"
    assert SYSCTL.impact(without, with_it).text == SYSCTL.impact(None, with_it).text
    assert SYSCTL.impact(with_it, with_it).text == ""
    for then in (without, None):
        assert SYSCTL.impact(with_it, then).text == f"{told} counts on n1 until its next restart"
    assert SYSCTL.impact(None, inputs(kexec_load_disabled="0", unprivileged_bpf_disabled="2")).text == ""


@pytest.mark.parametrize("before", [{}, {"page_cluster": "4"}])
@pytest.mark.parametrize("then", [{}, {"dirty_ratio": "30"}, {"swappiness": "9"}])
def test_what_was_set_when_it_was_cut_off_is_given_back(
    kernel: Path, before: dict[str, str], then: dict[str, str]
) -> None:
    settings(kernel, dirty_bytes=0, dirty_ratio=20, swappiness=60, page_cluster=3)
    if before:
        run(kernel, **before)
    assert carried_out(kernel, {"vm.page_cluster": "5", "vm.dirty_bytes": "9000"}, cut_off=True).returncode == -9
    assert (kernel / "vm/page_cluster").read_text() == "5\n"
    run(kernel, **then)
    assert (kernel / "vm/page_cluster").read_text() == "3\n"
    assert both(kernel) == (0, int(then.get("dirty_ratio", 20)))
    run(kernel)
    assert [path for path in kernel.rglob("*swarmctl*") if path.is_file()] == []
    assert both(kernel) == (0, 20)


def test_what_was_refused_and_is_set_by_somebody_since_stays(kernel: Path) -> None:
    settings(kernel, admin=3, dirty_bytes=9000, dirty_ratio=0, swappiness=60)
    done = carried_out(kernel, {"vm.admin": "5", "vm.dirty_bytes": "0"})
    assert "does not take '0' for vm.dirty_bytes" in done.stderr
    assert (kernel / "vm/admin").read_text() == "3\n"
    settings(kernel, admin=5)
    run(kernel, swappiness="9")
    assert (kernel / "vm/admin").read_text() == "5\n"


@pytest.mark.integration
@pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())
def test_what_the_kernel_takes_in_part_is_put_back(tmp_path: Path) -> None:
    key, at = "net.ipv4.tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem"
    with machines.Machine(tmp_path) as machine:
        hosts: Any = machines.OneHost(machine)
        base = {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": "b"}
        before = machine.sh(f"cat {at}")
        assert before.split()[:2] != ["8192", "65536"]
        with pytest.raises(CommandFailed, match=f"the kernel does not take '8192 65536 16M' for {key}"):
            SYSCTL.create(hosts, {**base, "values": {key: "8192 65536 16M"}})
        assert machine.sh(f"cat {at}") == before
        machine.sh(f"echo '8192 65536 16M' >{at} || :")
        assert machine.sh(f"cat {at}") != before, "the kernel takes what comes before"


@pytest.mark.integration
@pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())
def test_a_file_without_an_end_is_read_whole(tmp_path: Path) -> None:
    file = "/etc/sysctl.d/99-zz-swarmctl-b.conf"
    with machines.Machine(tmp_path) as machine:
        hosts: Any = machines.OneHost(machine)
        base = {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": "b"}
        wanted = {**base, "values": {"net.core.somaxconn": "4321"}}
        SYSCTL.create(hosts, wanted)
        machine.sh(f'printf %s "$(cat {file})" >/run/file; cat /run/file >{file}')
        hosts.changed({})
        found = SYSCTL.read(hosts, wanted)
        assert found is not None
        assert found.inputs == wanted
