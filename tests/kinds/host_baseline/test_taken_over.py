"""Baselines that are regrouped: the new one is set while the old one is still there, and the old one goes last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from swarmctl.hosts import packages as apt
from swarmctl.kinds.base import ResourceType
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.aspects.packages import Before, steps, taken_over
from swarmctl.kinds.host_baseline.aspects.swap import SWAP
from swarmctl.kinds.host_baseline.aspects.sysctl import SYSCTL
from swarmctl.kinds.host_baseline.aspects.time import TIME
from swarmctl.kinds.host_baseline.aspects.upgrades import EXCLUDED, UPGRADES
from swarmctl.kinds.host_baseline.aspects.users import USERS
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines

MADE, THERE = Before("", held=False), Before("1.0", held=False)


def test_a_package_taken_over_was_what_the_other_record_says_and_goes_with_the_last_baseline() -> None:
    found = apt.Packages("apt", {"tool": "1.0", "app": "2", "old": "1.0"}, frozenset({"tool"}))
    theirs = {"tool": MADE, "app": MADE, "old": THERE}
    assert taken_over({"tool": "1.0"}, {}, theirs) == {"tool": MADE}
    assert taken_over({"old": "present"}, {}, theirs) == {"old": THERE}

    kept = taken_over({}, theirs, {"tool": MADE})
    assert kept == {"app": MADE, "old": THERE}
    todo = steps({}, found, kept)
    assert (todo.spare, todo.unhold) == (["app"], []), "another baseline has the tool, held, by now"
    last = steps({}, found, taken_over({}, {"tool": MADE}, {}))
    assert (last.spare, last.unhold) == (["tool"], ["tool"])
    # One that only has to be there now was held by the other baseline, not by somebody before.
    assert steps({"tool": "present"}, found, taken_over({"tool": "present"}, {}, theirs)).unhold == ["tool"]


def inputs(baseline: str, **own: Any) -> dict[str, Any]:
    return {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": baseline, **own}


def user(*keys: str) -> dict[str, Any]:
    return {"sudo": False, "shell": "/bin/sh", "authorizedKeys": sorted(keys)}


@pytest.mark.integration
@pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())
class TestOnMachine:
    @pytest.fixture
    def hosts(self, tmp_path: Path) -> Iterator[machines.OneHost]:
        with machines.Machine(tmp_path) as made:
            yield machines.OneHost(made)

    def made(self, kind: ResourceType, hosts: machines.OneHost, baseline: str, **own: Any) -> None:
        hosts.changed({})
        kind.create(hosts, inputs(baseline, **own))  # type: ignore[arg-type]
        self.kept(kind, hosts, baseline, **own)

    def kept(self, kind: ResourceType, hosts: machines.OneHost, baseline: str, **own: Any) -> None:
        hosts.changed({})
        observed = kind.read(hosts, inputs(baseline, **own))  # type: ignore[arg-type]
        assert observed is not None
        assert not kind.diff(observed.inputs, inputs(baseline, **own))

    def gone(self, kind: ResourceType, hosts: machines.OneHost, baseline: str) -> None:
        hosts.changed({})
        kind.delete(hosts, inputs(baseline))  # type: ignore[arg-type]
        hosts.changed({})
        assert (baseline, kind.name) not in {  # type: ignore[attr-defined]
            tuple(line.split()) for line in hosts.host.sh(f"cd {RECORDS} && ls -d */* | tr / ' ' || :").splitlines()
        }

    def test_settings_stay_and_are_what_they_were_with_the_last_baseline(self, hosts: machines.OneHost) -> None:
        keys = ("net.core.somaxconn", "net.ipv4.tcp_syn_retries")
        places = " ".join(f"/proc/sys/{key.replace('.', '/')}" for key in keys)
        before = hosts.host.sh(f"cat {places}")
        self.made(SYSCTL, hosts, "old", values=dict(zip(keys, ("1234", "9"), strict=True)))
        self.made(SYSCTL, hosts, "aa", values={keys[0]: "1234"})
        self.made(SYSCTL, hosts, "bb", values={keys[1]: "9"})
        self.gone(SYSCTL, hosts, "old")
        self.kept(SYSCTL, hosts, "aa", values={keys[0]: "1234"})
        self.kept(SYSCTL, hosts, "bb", values={keys[1]: "9"})
        self.gone(SYSCTL, hosts, "aa")
        self.gone(SYSCTL, hosts, "bb")
        assert hosts.host.sh(f"cat {places}") == before

    def test_what_one_gives_up_and_another_has_by_then_stays(self, hosts: machines.OneHost) -> None:
        key, other = "net.core.somaxconn", "net.ipv4.tcp_syn_retries"
        self.made(SYSCTL, hosts, "aa", values={key: "1234", other: "9"})
        self.made(SYSCTL, hosts, "bb", values={key: "1234"})
        self.made(SYSCTL, hosts, "aa", values={other: "9"})
        self.kept(SYSCTL, hosts, "bb", values={key: "1234"})

    def test_accounts_stay_and_go_with_the_last_baseline(self, hosts: machines.OneHost) -> None:
        sh = hosts.host.sh
        sh("useradd -m -s /bin/bash there; mkdir /home/there/.ssh; echo theirs >/home/there/.ssh/authorized_keys")
        sh("chown -R there: /home/there")
        self.made(USERS, hosts, "old", users={"ops": user(), "there": user(), "left": user()})
        sh("echo work >/home/ops/file")
        self.made(USERS, hosts, "aa", users={"ops": user(), "al": user()})
        self.made(USERS, hosts, "bb", users={"there": user()})
        self.gone(USERS, hosts, "old")
        self.kept(USERS, hosts, "aa", users={"ops": user(), "al": user()})
        self.kept(USERS, hosts, "bb", users={"there": user()})
        assert sh("stat -c %U /home/ops; getent passwd left || echo none") == "ops\nnone\n"
        self.gone(USERS, hosts, "aa")
        self.gone(USERS, hosts, "bb")
        assert sh("getent passwd ops || echo none") == "none\n", "made by a baseline, it goes with the last that has it"
        assert sh("getent passwd there | cut -d : -f 7; cat /home/there/.ssh/authorized_keys") == "/bin/bash\ntheirs\n"

    def test_mounts_stay_and_somebody_s_line_comes_back_at_last(self, hosts: machines.OneHost) -> None:
        sh, mount = hosts.host.sh, {"device": "tmpfs", "type": "tmpfs", "options": ["nodev"]}
        table = "# theirs\ntmpfs /mnt/a tmpfs size=1m 0 0\n"
        sh(f"mkdir /mnt/a; printf '%s' '{table}' >/etc/fstab; mount /mnt/a")
        self.made(MOUNTS, hosts, "old", mounts={"/mnt/a": mount, "/mnt/b": mount})
        sh("echo work >/mnt/a/file")
        self.made(MOUNTS, hosts, "aa", mounts={"/mnt/a": mount, "/mnt/k": mount})
        self.made(MOUNTS, hosts, "bb", mounts={"/mnt/b": mount})
        self.gone(MOUNTS, hosts, "old")
        self.kept(MOUNTS, hosts, "aa", mounts={"/mnt/a": mount, "/mnt/k": mount})
        self.kept(MOUNTS, hosts, "bb", mounts={"/mnt/b": mount})
        assert sh("cat /mnt/a/file") == "work\n", "it was not unmounted"
        assert sh("grep -c 'old' /etc/fstab || :") == "0\n"
        self.gone(MOUNTS, hosts, "aa")
        self.gone(MOUNTS, hosts, "bb")
        assert sh("cat /etc/fstab; ls /mnt | grep -x '[abk]'") == table + "a\n", "folders that were made are gone"

    def test_another_name_makes_nothing_anew(self, hosts: machines.OneHost) -> None:
        sh = hosts.host.sh
        sh(": >/etc/fstab")
        key, at = "net.core.somaxconn", "/proc/sys/net/core/somaxconn"
        before = sh(f"cat {at}")
        mounts = {"/mnt/a": {"device": "tmpfs", "type": "tmpfs", "options": ["nodev"]}}
        aspects: list[tuple[ResourceType, dict[str, Any]]] = [
            (SYSCTL, {"values": {key: "1234"}}),
            (USERS, {"users": {"ops": user(), "left": user()}}),
            (MOUNTS, {"mounts": mounts}),
        ]
        for kind, own in aspects:
            self.made(kind, hosts, "old", **own)
        sh("echo work >/mnt/a/file; echo work >/home/ops/file; chown ops /home/ops/file")
        was = sh("id ops")
        for kind, own in aspects:
            then = {"users": {"ops": user()}} if kind is USERS else own
            changes = kind.diff(inputs("old", **own), inputs("aa", **then))
            assert not any(change.replace for change in changes)
            effects = [it.text for it in kind.effects(inputs("old", **own), inputs("aa", **then))]
            assert effects[0] == "record of the baseline old: taken over by aa"
            assert not [text for text in effects if "ops" in text or "/mnt" in text or key in text]
            hosts.changed({})
            kind.update(hosts, inputs("old", **own), inputs("aa", **then))  # type: ignore[arg-type]
            self.kept(kind, hosts, "aa", **then)
            # What was cut off before it was written down is found so.
            kind.update(hosts, inputs("old", **own), inputs("aa", **then))  # type: ignore[arg-type]
        assert sh(f"ls {RECORDS}; cat /mnt/a/file; stat -c %U /home/ops/file; cat {at}") == "aa\nwork\nops\n1234\n"
        assert sh("id ops; getent passwd left || echo none") == f"{was}none\n", "what is declared no more goes"
        for kind, _ in aspects:
            self.gone(kind, hosts, "aa")
        assert sh(f"cat {at}; getent passwd ops || echo none; ls -d /mnt/a || :") == f"{before}none\n"

    def test_another_file_system_in_a_place_that_is_taken_over(self, hosts: machines.OneHost) -> None:
        hosts.host.sh("mkdir -p /mnt/from; : >/etc/fstab")
        self.made(MOUNTS, hosts, "old", mounts={"/mnt/a": {"device": "one", "type": "tmpfs", "options": ["nodev"]}})
        self.made(MOUNTS, hosts, "aa", mounts={"/mnt/a": {"device": "two", "type": "tmpfs", "options": ["nodev"]}})

    def test_swap_stays_off_and_its_lines_come_back_at_last(self, hosts: machines.OneHost) -> None:
        if len(hosts.host.sh("cat /proc/swaps").splitlines()) > 1:
            pytest.skip("this machine swaps, and its swap is not the test's to turn off")
        lines = "UUID=1-2 none swap sw 0 0\n/dev/sda1 / ext4 defaults 0 1\n"
        hosts.host.sh(f"printf '%s' '{lines}' >/etc/fstab")
        self.made(SWAP, hosts, "old", swap="off")
        hosts.host.sh(f"echo /nowhere >{RECORDS}/old/swap/active")
        self.made(SWAP, hosts, "aa", swap="off")
        # The reading was as declared, and nothing but the record was lacking.
        assert hosts.host.sh(f"cat {RECORDS}/aa/swap/active") == "/nowhere\n"
        self.gone(SWAP, hosts, "old")
        self.kept(SWAP, hosts, "aa", swap="off")
        self.gone(SWAP, hosts, "aa")
        assert hosts.host.sh("cat /etc/fstab") == lines

    def test_the_clock_s_file_stays_and_the_one_before_comes_back_at_last(self, hosts: machines.OneHost) -> None:
        sh = hosts.host.sh
        sh("cp /bin/sleep /usr/sbin/chronyd; mkdir -p /etc/chrony; echo 'pool pool.example' >/etc/chrony/chrony.conf")
        sh("/usr/sbin/chronyd 60 >/dev/null 2>&1 &")
        self.made(TIME, hosts, "old", servers=["time.example"], running=True)
        self.made(TIME, hosts, "aa", servers=["time.example"], running=True)
        self.gone(TIME, hosts, "old")
        self.kept(TIME, hosts, "aa", servers=["time.example"], running=True)
        assert [*hosts.host.running] == ["swarmctl-chrony"]
        self.gone(TIME, hosts, "aa")
        assert hosts.host.running == {}
        assert sh("cat /etc/chrony/chrony.conf") == "pool pool.example\n"

    def test_the_service_of_upgrades_stays(self, hosts: machines.OneHost) -> None:
        sh = hosts.host.sh
        sh("printf '#!/bin/sh\\n' >/usr/sbin/unattended-upgrade; chmod 755 /usr/sbin/unattended-upgrade")
        sh("sh -c 'sleep 60; :' swarmctl-apt-daily >/dev/null 2>&1 &")
        own = {"automatic": True, "reboot": "never", "excluded": list(EXCLUDED)}
        self.made(UPGRADES, hosts, "old", **own)
        self.made(UPGRADES, hosts, "aa", **own)
        self.gone(UPGRADES, hosts, "old")
        self.kept(UPGRADES, hosts, "aa", **own)
        assert [*hosts.host.running] == ["swarmctl-apt-daily"]
        self.gone(UPGRADES, hosts, "aa")
        assert hosts.host.running == {}
