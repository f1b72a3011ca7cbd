"""The life of machines by their declaration: isolated and back, lost and found, replaced, taken out of service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.ssh import servers
from tests.integration.fleet import HERE, Fleet, fleet

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("lifecycle")]
NAMES = ("n1", "n2", "n3")
BASELINE = """\
apiVersion: swarmctl/v1alpha1
kind: HostBaseline
metadata: {name: usual}
spec:
  nodes: {}
  sysctl: {net.ipv4.tcp_fin_timeout: 31}
"""


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("life"), NAMES) as made:
        (made.stack / "baseline.yaml").write_text(BASELINE)
        made("apply", "--yes")
        yield made


def declare(metal: Fleet, **states: str) -> None:
    metal.declare(*(metal.host(name, **({"state": states[name]} if name in states else {})) for name in NAMES))


def key(metal: Fleet, name: str) -> str:
    return metal.inside(name, "wg show wg0 public-key").strip()


def peers(metal: Fleet, name: str) -> list[str]:
    return metal.inside(name, "wg show wg0 peers").split()


def answers(metal: Fleet, sender: str, address: str) -> bool:
    return "ok" in metal.inside(sender, f"ping -c1 -W1 {address} >/dev/null && echo ok", check=False)


def opens(metal: Fleet, sender: str, address: str, port: int) -> bool:
    script = f"timeout 2 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo ok"
    return "ok" in metal.inside(sender, script, check=False)


def timeout(metal: Fleet, name: str) -> int:
    return int(metal.inside(name, "cat /proc/sys/net/ipv4/tcp_fin_timeout"))


def states(metal: Fleet) -> dict[str, tuple[bool, str | None]]:
    return {
        it["name"]: (it["ready"], it["state"]) for it in json.loads(metal("status", "--format", "json").out)["nodes"]
    }


def test_an_isolated_machine_is_shut_but_for_its_management_and_nothing_else_is_touched(metal: Fleet) -> None:
    old, address = key(metal, "n2"), metal.servers["n2"].address
    metal.inside("n2", "echo proof >/srv/evidence; (sleep 600 & echo $! >/srv/pid) >/dev/null 2>&1")
    assert old in peers(metal, "n1")
    assert answers(metal, "n1", address)
    assert opens(metal, "n2", metal.servers["n1"].address, 22)
    declare(metal, n2="isolated")
    metal.edit("baseline.yaml", "31", "32")
    plan = metal("plan")
    assert "n2 is isolated: only its management gets in" in plan.out
    assert "n2 is isolated: what else is declared for it is neither made nor changed" in plan.out + plan.err
    metal("apply", "--yes")
    assert [timeout(metal, name) for name in NAMES] == [32, 31, 32]
    for name in ("n1", "n3"):
        assert old not in peers(metal, name)
        assert not answers(metal, name, address)
        assert opens(metal, name, address, 22)  # its management, from wherever it is managed
    assert not answers(metal, "n2", metal.servers["n1"].address)
    assert not opens(metal, "n2", metal.servers["n1"].address, 22)
    assert not opens(metal, "n2", HERE, 22)
    assert metal.inside("n2", "cat /srv/evidence; kill -0 $(cat /srv/pid) && echo runs").split() == ["proof", "runs"]
    assert metal.inside("n2", "ls /sys/class/net; ls /etc/swarmctl/mesh 2>/dev/null", check=False).split() == [
        "eth0",
        "lo",
    ]
    assert metal.on("n2", "cat /srv/evidence").strip() == "proof"
    assert states(metal) == {"n1": (True, None), "n2": (True, "isolated"), "n3": (True, None)}
    assert "verified" in metal("mesh", "verify").out
    assert "Nothing to change" in metal("apply", "--yes").out
    metal("drift")


def test_a_hole_in_the_isolation_is_drift_and_status_says_so(metal: Fleet) -> None:
    metal.inside("n2", "nft 'chain inet swarmctl output { policy accept; }'")
    metal("drift", code=21)
    assert "not isolated: its firewall does not drop" in metal("status", code=1).out
    metal("apply", "--yes")
    metal("status")
    metal("drift")


def test_it_comes_back_with_another_key(metal: Fleet) -> None:
    declare(metal)
    metal("apply", "--yes")
    assert timeout(metal, "n2") == 32
    assert set(peers(metal, "n1")) == {key(metal, "n2"), key(metal, "n3")}
    assert opens(metal, "n2", metal.servers["n1"].address, 22)
    assert "verified" in metal("mesh", "verify").out
    metal("drift")


def test_a_lost_machine_is_dropped_without_being_asked_and_may_be_found_again(metal: Fleet) -> None:
    old = key(metal, "n3")
    metal.inside("n3", "ip link set eth0 down")
    declare(metal, n3="lost")
    began = time.monotonic()
    assert "n3 is lost: it is asked nothing" in metal("plan").out
    metal("apply", "--yes")
    assert time.monotonic() - began < 60
    assert old not in peers(metal, "n1")
    assert "n3" not in metal("state", "list").out
    assert states(metal)["n3"] == (True, "lost")
    assert "Nothing to change" in metal("apply", "--yes").out
    metal.inside("n3", "ip link set eth0 up")
    declare(metal)
    metal("apply", "--yes")
    assert "verified" in metal("mesh", "verify").out


def test_a_clock_that_goes_wrong_is_told_by_plan_apply_and_status(metal: Fleet) -> None:
    metal.inside("n2", "printf '#!/bin/sh\\necho 1700000000\\n' >/usr/local/bin/date; chmod +x /usr/local/bin/date")
    try:
        for command in (("plan",), ("apply", "--yes"), ("drift",), ("status",)):
            run = metal(*command, code=None)
            assert (run.out + run.err).count("n2: its clock is ") == 1, run.out + run.err
        metal.declare(metal.host("n1"), metal.host("n2"))
        assert metal("plan").err.count("n2: its clock is ") == 1
        assert metal("apply", "--yes", code=None).err.count("n2: its clock is ") == 1
    finally:
        metal.inside("n2", "rm /usr/local/bin/date")
        declare(metal)
    assert "its clock is" not in metal("apply", "--yes").err


def test_another_name_for_a_machine_is_refused_before_anything_is_done_to_it_and_both_ways_out_work(
    metal: Fleet,
) -> None:
    old = key(metal, "n3")
    renamed = {**metal.host("n3"), "name": "n9"}
    metal.declare(metal.host("n1"), metal.host("n2"), renamed)
    for command in (("plan",), ("apply", "--yes")):
        said = metal(*command, code=4).err
        assert "SW3211" in said
        assert "applied as n3" in said
    assert metal("exec", "n1", "--", "true").code == 0, "only planning is refused"
    assert key(metal, "n3") == old
    assert old in peers(metal, "n1")

    stack = (metal.stack / "cluster.yaml").read_text()
    moved = '{from: "nodepool/metal[n3]", to: "nodepool/metal[n9]"}'
    assert moved in " ".join(said.split())
    metal.edit("cluster.yaml", "  defaults: {", f"  moved: [{moved}]\n  defaults: {{")
    metal("apply", "--yes")
    assert key(metal, "n3") == old
    assert set(states(metal)) == set(NAMES)
    (metal.stack / "cluster.yaml").write_text(stack)
    metal.declare(metal.host("n1"), metal.host("n2"))
    metal("apply", "--yes")
    metal.declare(metal.host("n1"), metal.host("n2"), renamed)
    metal("apply", "--yes")
    assert set(states(metal)) == {"n1", "n2", "n9"}
    assert "verified" in metal("mesh", "verify").out
    metal.declare(metal.host("n1"), metal.host("n2"))
    metal("apply", "--yes")
    declare(metal)
    metal("apply", "--yes")


def test_another_host_key_is_another_machine_and_the_others_learn_its_key_in_one_apply(
    metal: Fleet, tmp_path: Path
) -> None:
    """The old one stands at another address, answers, and can't be changed: its folder is busy."""
    old = key(metal, "n3")
    metal.inside("n3", "mkdir -p /var/lib/swarmctl/held; mount -t tmpfs held /var/lib/swarmctl/held")
    plug = servers.Plug(metal.switch, "n4", "10.201.7.14")
    with servers.serving(tmp_path / "n4", plug=plug, key=metal.key) as other:
        metal.declare(
            metal.host("n1"),
            metal.host("n2"),
            {"name": "n3", "address": other.address, "hostKeys": [other.host_key]},
        )
        assert "another host key means another machine" in metal("plan").out
        metal("apply", "--yes")
        assert old not in peers(metal, "n1")
        assert "verified" in metal("mesh", "verify").out
        metal.declare(metal.host("n1"), metal.host("n2"))
        metal("apply", "--yes")
    metal.inside("n3", "umount /var/lib/swarmctl/held; rm -rf /var/lib/swarmctl /etc/swarmctl")


def test_what_is_left_when_a_machine_leaves_is_an_error_that_lists_it(metal: Fleet) -> None:
    metal.inside("n2", "mkdir -p /var/lib/swarmctl/held /etc/sysctl.d; mount -t tmpfs held /var/lib/swarmctl/held")
    metal.inside(
        "n2", "echo vm.swappiness=1 >/etc/sysctl.d/99-zz-swarmctl-old.conf; echo mine >/etc/sysctl.d/mine.conf"
    )
    metal.inside("n2", "cd /var/log/swarmctl && { sleep 600 >/dev/null 2>&1 & echo $! >/srv/holding; }")
    old = key(metal, "n2")
    metal.declare(metal.host("n1"))
    run = metal("apply", "--yes", code=7)
    said = " ".join((run.out + run.err).split())
    assert "n2: not everything could be taken away: /var/lib/swarmctl" in said
    assert "/etc/sysctl.d/99-zz-swarmctl-old.conf" in said
    assert f"the process {metal.inside('n2', 'cat /srv/holding').strip()} (sleep)" in said
    assert "mine.conf" not in said
    assert old not in peers(metal, "n1")
    assert "nodepool/metal[n2]" in metal("state", "list").out
    assert "n2" in metal.inside("n2", "cat /var/lib/swarmctl/machine")
    metal.inside(
        "n2", "kill $(cat /srv/holding); umount /var/lib/swarmctl/held; rm /etc/sysctl.d/99-zz-swarmctl-old.conf"
    )
    metal("apply", "--yes")
    assert "n2" not in metal("state", "list").out
    assert metal.left("n2").strip() == ""
    assert metal.inside("n2", "cat /etc/sysctl.d/mine.conf").strip() == "mine"
