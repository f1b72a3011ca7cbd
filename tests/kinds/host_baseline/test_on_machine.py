"""Aspects on a machine in small: real users, mounts, sysctl keys of its network, and apt settings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmctl.errors import SwarmError
from swarmctl.kinds.base import ResourceType
from swarmctl.kinds.host_baseline.aspects.kernel import KERNEL
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.aspects.swap import SWAP
from swarmctl.kinds.host_baseline.aspects.sysctl import SYSCTL
from swarmctl.kinds.host_baseline.aspects.time import TIME
from swarmctl.kinds.host_baseline.aspects.upgrades import EXCLUDED, UPGRADES
from swarmctl.kinds.host_baseline.aspects.users import USERS
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.kinds.host_baseline import machine as machines

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]

ANNA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd/gxLSi2ZbVLR8Zt0HoLSF8CZ4jcTkBn0nsAuAy7Zb anna"
BERT = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP0Yq8iRxHbSRB0XKRQLUlLG1o2VHTvyKKXG2jD3nhEv bert"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[machines.Machine]:
    with machines.Machine(tmp_path) as made:
        yield made


@pytest.fixture
def hosts(machine: machines.Machine) -> machines.OneHost:
    return machines.OneHost(machine)


def inputs(baseline: str = "b", **own: Any) -> dict[str, Any]:
    return {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": baseline, **own}


def applied(kind: ResourceType, hosts: machines.OneHost, wanted: Mapping[str, Any]) -> None:
    """Make it so; then it is so, and doing it again runs nothing but the reading."""
    kind.create(hosts, wanted)  # type: ignore[arg-type]
    assert differing(kind, hosts, wanted) == []
    hosts.changed({})
    before = len(hosts.host.calls)
    kind.create(hosts, wanted)  # type: ignore[arg-type]
    assert len(hosts.host.calls) == before + 1


def seen(kind: ResourceType, hosts: machines.OneHost, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    hosts.changed({})
    observed = kind.read(hosts, wanted)  # type: ignore[arg-type]
    return None if observed is None else observed.inputs


def gone(kind: ResourceType, hosts: machines.OneHost, wanted: Mapping[str, Any]) -> None:
    kind.delete(hosts, wanted)  # type: ignore[arg-type]
    assert seen(kind, hosts, wanted) is None
    assert hosts.host.sh(f"ls {RECORDS} 2>/dev/null || :") == ""
    kind.delete(hosts, wanted)  # type: ignore[arg-type]


def refused(kind: ResourceType, hosts: machines.OneHost, wanted: Mapping[str, Any]) -> SwarmError:
    with pytest.raises(SwarmError) as caught:
        kind.create(hosts, wanted)  # type: ignore[arg-type]
    assert caught.value.message.startswith("n1: ")
    assert caught.value.hint
    return caught.value


def differing(kind: ResourceType, hosts: machines.OneHost, wanted: Mapping[str, Any]) -> list[str]:
    found = seen(kind, hosts, wanted)
    assert found is not None
    return [".".join(change.path) for change in kind.diff(found, wanted)]


class TestSysctl:
    KEY, OTHER = "net.core.somaxconn", "net.ipv4.tcp_rmem"

    def test_is_set_drifts_changes_and_is_given_back(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        first, before = machine.sh("cat /proc/sys/net/core/somaxconn"), machine.sh("cat /proc/sys/net/ipv4/tcp_rmem")
        wanted = inputs(values={self.KEY: "4321", self.OTHER: "4096 131072 6291456"})
        applied(SYSCTL, hosts, wanted)
        assert machine.sh("cat /proc/sys/net/core/somaxconn") == "4321\n"
        assert "net.core.somaxconn = 4321" in machine.sh("cat /etc/sysctl.d/99-zz-swarmctl-b.conf")

        machine.sh("echo 99 >/proc/sys/net/core/somaxconn")
        assert differing(SYSCTL, hosts, wanted) == [f"values.{self.KEY}"]
        applied(SYSCTL, hosts, wanted)
        machine.sh("sed -i '/somaxconn/ d' /etc/sysctl.d/99-zz-swarmctl-b.conf")
        assert differing(SYSCTL, hosts, wanted) == [f"values.{self.KEY}"], "the next start would not set it"
        machine.sh("echo 'net.core.somaxconn = 5' >>/etc/sysctl.d/99-zz-swarmctl-b.conf")
        assert differing(SYSCTL, hosts, wanted) == [f"values.{self.KEY}"], "the next start would set another value"
        applied(SYSCTL, hosts, wanted)

        applied(SYSCTL, hosts, inputs(values={self.OTHER: "4096 131072 6291456"}))
        assert machine.sh("cat /proc/sys/net/core/somaxconn") == first, "what is not declared any more is as before"
        gone(SYSCTL, hosts, inputs())
        assert machine.sh("cat /proc/sys/net/ipv4/tcp_rmem") == before
        assert "No such file" in machine.sh("cat /etc/sysctl.d/99-zz-swarmctl-b.conf 2>&1 || :")

    def test_what_somebody_has_changed_since_stays(self, hosts: machines.OneHost) -> None:
        applied(SYSCTL, hosts, inputs(values={self.KEY: "4321"}))
        hosts.host.sh("echo 77 >/proc/sys/net/core/somaxconn")
        gone(SYSCTL, hosts, inputs())
        assert hosts.host.sh("cat /proc/sys/net/core/somaxconn") == "77\n"

    def test_nothing_is_changed_when_one_key_is_none(self, hosts: machines.OneHost) -> None:
        error = refused(SYSCTL, hosts, inputs(values={self.KEY: "4321", "net.core.somaxcon": "1"}))
        assert "the kernel has no setting net.core.somaxcon" in error.message
        assert hosts.host.sh("cat /proc/sys/net/core/somaxconn") != "4321\n"
        assert seen(SYSCTL, hosts, inputs(values={})) is None

    @pytest.mark.parametrize("value", ["no", "-5", "0x10"])
    def test_what_the_kernel_does_not_take_as_it_is_is_told(self, hosts: machines.OneHost, value: str) -> None:
        before = hosts.host.sh("cat /proc/sys/net/core/somaxconn")
        assert "net.core.somaxconn" in refused(SYSCTL, hosts, inputs(values={self.KEY: value})).message
        assert hosts.host.sh("cat /proc/sys/net/core/somaxconn") == before
        applied(SYSCTL, hosts, inputs(values={self.KEY: "10"}))

    @pytest.mark.parametrize("value", ["no", "0x1000 0x2000 0x3000"])
    def test_one_that_is_not_taken_leaves_the_others_as_they_were(self, hosts: machines.OneHost, value: str) -> None:
        both = "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/tcp_rmem"
        first = hosts.host.sh(both)
        refused(SYSCTL, hosts, inputs(values={self.KEY: "4321", self.OTHER: value}))
        assert hosts.host.sh(both) == first
        applied(SYSCTL, hosts, inputs(values={self.KEY: "4320"}))
        before = hosts.host.sh(both)
        refused(SYSCTL, hosts, inputs(values={self.KEY: "4321", self.OTHER: value}))
        assert hosts.host.sh(both) == before
        gone(SYSCTL, hosts, inputs())
        assert hosts.host.sh(both) == first, "also what was to be given back"

    def test_keys_that_nothing_can_be_written_to_are_told(self, hosts: machines.OneHost) -> None:
        hosts.host.sh("mount -t tmpfs tmpfs /mnt; mount -o bind,ro /proc/sys/net/core /proc/sys/net/core")
        assert "cannot be changed there" in refused(SYSCTL, hosts, inputs(values={self.KEY: "1"})).message


class TestUsers:
    def user(self, *keys: str, shell: str = "/bin/sh", sudo: bool = False) -> dict[str, Any]:
        return {"sudo": sudo, "shell": shell, "authorizedKeys": sorted(keys)}

    def test_one_is_made_drifts_changes_and_goes_without_its_home(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        wanted = inputs(users={"ops": self.user(ANNA)})
        applied(USERS, hosts, wanted)
        assert machine.sh("stat -c '%U %a' /home/ops/.ssh /home/ops/.ssh/authorized_keys") == "ops 700\nops 600\n"
        assert machine.sh("awk -F: '$1 == \"ops\" { print substr($2, 1, 1) }' /etc/shadow") == "!\n", "no password"

        machine.sh(f"echo '{BERT}' >>/home/ops/.ssh/authorized_keys")
        assert differing(USERS, hosts, wanted) == ["users.ops.authorizedKeys"]
        applied(USERS, hosts, wanted)
        assert machine.sh("cat /home/ops/.ssh/authorized_keys") == f"{ANNA}\n"
        machine.sh("usermod -s /bin/bash ops")
        assert differing(USERS, hosts, wanted) == ["users.ops.shell"]
        applied(USERS, hosts, inputs(users={"ops": self.user(ANNA, BERT, shell="/bin/bash")}))

        machine.sh("echo notes >/home/ops/notes")
        gone(USERS, hosts, inputs())
        assert machine.sh("getent passwd ops || echo none") == "none\n"
        assert machine.sh("cat /home/ops/notes") == "notes\n"
        machine.sh("useradd other")
        assert machine.sh("stat -c '%U %a' /home/ops") == "root 700\n", "its number is somebody else's now"
        applied(USERS, hosts, wanted)
        assert machine.sh("stat -c %U /home/ops /home/ops/.ssh; ls -A /home/ops | grep swarmctl || :") == "ops\nops\n"

    def test_one_that_was_there_is_adopted_and_given_back_as_it_was(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        machine.sh(
            f"useradd -m -s /bin/bash ops; mkdir /home/ops/.ssh; echo '{BERT}' >/home/ops/.ssh/authorized_keys;"
            "chown -R ops: /home/ops/.ssh"
        )
        applied(USERS, hosts, inputs(users={"ops": self.user(ANNA)}))
        gone(USERS, hosts, inputs())
        assert machine.sh("getent passwd ops").endswith(":/bin/bash\n")
        assert machine.sh("cat /home/ops/.ssh/authorized_keys") == f"{BERT}\n"

    def test_one_that_is_not_declared_any_more_goes_and_the_other_stays(self, hosts: machines.OneHost) -> None:
        applied(USERS, hosts, inputs(users={"anna": self.user(ANNA), "bert": self.user(BERT)}))
        applied(USERS, hosts, inputs(users={"bert": self.user(BERT)}))
        assert hosts.host.sh("getent passwd anna || echo none") == "none\n"

    def test_links_in_a_home_lead_to_nothing_that_the_user_may_not_change(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        machine.sh("useradd -m ops; mkdir -p /root/.ssh && ln -s /root/.ssh /home/ops/.ssh; chmod 0700 /root")
        error = refused(USERS, hosts, inputs(users={"ops": self.user(ANNA)}))
        assert "the SSH keys of ops cannot be written" in error.message
        machine.sh("rm /home/ops/.ssh; mkdir /home/ops/.ssh; echo secret >/root/s; chmod 0600 /root/s")
        machine.sh("ln -s /root/s /home/ops/.ssh/authorized_keys; chown -R -h ops: /home/ops/.ssh")
        found = seen(USERS, hosts, inputs(users={"ops": self.user(ANNA)}))
        assert found is not None
        assert "secret" not in str(found)
        applied(USERS, hosts, inputs(users={"ops": self.user(ANNA)}))
        assert machine.sh("cat /root/s") == "secret\n"

    @pytest.mark.parametrize("pipe", [".swarmctl.new", "authorized_keys"])
    def test_a_pipe_in_the_place_of_a_file_holds_up_nobody(self, hosts: machines.OneHost, pipe: str) -> None:
        machine = hosts.host
        applied(USERS, hosts, inputs(users={"anna": self.user(ANNA), "bert": self.user(BERT)}))
        machine.sh(f"rm -f /home/anna/.ssh/{pipe}; setpriv --reuid=anna --regid=anna --clear-groups "
                   f"mkfifo /home/anna/.ssh/{pipe}")  # fmt: skip
        began = time.monotonic()
        applied(USERS, hosts, inputs(users={"anna": self.user(BERT)}))
        assert time.monotonic() - began < 5
        assert machine.sh("getent passwd bert || echo none; cat /home/anna/.ssh/authorized_keys") == f"none\n{BERT}\n"

    def test_what_fails_with_one_account_keeps_no_other_from_being_taken_away(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        wanted = inputs(users={name: self.user(ANNA) for name in ("anna", "bert", "carl")})
        applied(USERS, hosts, wanted)
        machine.sh("rm -r /home/anna/.ssh; touch /home/anna/.ssh; chown anna: /home/anna/.ssh")
        machine.sh("setpriv --reuid=bert --clear-groups --rgid=bert sleep 60 >/dev/null 2>&1 &")
        error = refused(USERS, hosts, inputs(users={"anna": self.user(BERT)}))
        assert "the SSH keys of anna cannot be written; the user bert cannot be removed" in error.message
        assert machine.sh("getent passwd carl || echo none") == "none\n"
        machine.sh("rm /home/anna/.ssh")
        applied(USERS, hosts, inputs(users={"anna": self.user(BERT), "bert": self.user(BERT)}))

    @pytest.mark.parametrize("files", ["shell", ""])
    def test_half_a_record_is_none(self, hosts: machines.OneHost, files: str) -> None:
        machine, mine = hosts.host, f"{RECORDS}/b/users/ops"
        machine.sh(
            f"useradd -m -s /bin/bash ops; mkdir /home/ops/.ssh; echo '{BERT}' >/home/ops/.ssh/authorized_keys;"
            f"chown -R ops: /home/ops/.ssh; mkdir -p -m 700 {mine}; cd {mine};"
            f"for f in {files}; do echo /bin/sh >$f; done"
        )
        gone(USERS, hosts, inputs())
        assert machine.sh("cat /home/ops/.ssh/authorized_keys") == f"{BERT}\n"
        machine.sh(f"mkdir -p -m 700 {mine}; cd {mine}; for f in {files}; do echo /bin/sh >$f; done")
        applied(USERS, hosts, inputs(users={"ops": self.user(ANNA)}))
        gone(USERS, hosts, inputs())
        assert machine.sh("cat /home/ops/.ssh/authorized_keys; getent passwd ops").startswith(f"{BERT}\nops:")
        assert machine.sh("getent passwd ops").endswith(":/bin/bash\n")

    def test_keys_that_were_set_by_what_broke_off_go_too(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        machine.sh("useradd -m ops")
        applied(USERS, hosts, inputs(users={"ops": self.user(ANNA)}))
        machine.sh(f"cd {RECORDS}/b/users/ops; mv set next")
        gone(USERS, hosts, inputs())
        assert machine.sh("cat /home/ops/.ssh/authorized_keys").strip() == ""

    def test_accounts_of_the_system_and_shells_that_are_none_are_refused(self, hosts: machines.OneHost) -> None:
        assert "the system's own" in refused(USERS, hosts, inputs(users={"bin": self.user()})).message
        wanted = inputs(users={"ops": self.user(shell="/bin/none")})
        assert "no shell /bin/none" in refused(USERS, hosts, wanted).message
        assert hosts.host.sh("getent passwd ops || echo none") == "none\n"

    def test_one_who_works_there_is_not_removed_under_their_feet(self, hosts: machines.OneHost) -> None:
        applied(USERS, hosts, inputs(users={"ops": self.user()}))
        hosts.host.sh("setpriv --reuid=ops --clear-groups --rgid=ops sleep 60 >/dev/null 2>&1 &")
        with pytest.raises(SwarmError, match=r"ops cannot be removed: .*used by process"):
            USERS.delete(hosts, inputs())  # type: ignore[arg-type]
        assert hosts.host.sh("id -un ops") == "ops\n"

    def test_the_user_that_swarmctl_logs_in_with_keeps_its_keys_and_account(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        machine.sh(
            f"useradd -m ops; mkdir /home/ops/.ssh; echo '{BERT}' >/home/ops/.ssh/authorized_keys;"
            "chown -R ops: /home/ops/.ssh"
        )
        login = {"host": {"backend": "ssh", "node": "n1", "user": "ops"}}
        applied(USERS, hosts, inputs(users={"ops": self.user(ANNA)}) | login)
        assert machine.sh("cat /home/ops/.ssh/authorized_keys") == f"{BERT}\n{ANNA}\n"
        gone(USERS, hosts, inputs() | login)
        assert machine.sh("cat /home/ops/.ssh/authorized_keys") == f"{BERT}\n{ANNA}\n"

    def test_the_user_that_swarmctl_logs_in_with_is_not_removed(self, hosts: machines.OneHost) -> None:
        applied(USERS, hosts, inputs(users={"ops": self.user(ANNA)}))
        login = {"host": {"backend": "ssh", "node": "n1", "user": "ops"}}
        with pytest.raises(SwarmError, match="swarmctl logs in as ops, so the account is not removed"):
            USERS.delete(hosts, inputs() | login)  # type: ignore[arg-type]
        with pytest.raises(SwarmError, match="swarmctl logs in as ops"):
            USERS.create(hosts, inputs(users={"anna": self.user(ANNA)}) | login)  # type: ignore[arg-type]

    def test_whom_swarmctl_logs_in_as_gets_no_shell_that_runs_nothing(self, hosts: machines.OneHost) -> None:
        login = {"host": {"backend": "ssh", "node": "n1", "user": "ops"}}
        hosts.host.sh("useradd -m -s /bin/sh ops; useradd -m -s /bin/sh anna")
        hosts.host.sh("printf '#!/bin/sh\\nexit 0\\n' >/usr/sbin/mute; chmod 755 /usr/sbin/mute")
        wanted = inputs(users={"anna": self.user(), "ops": self.user(shell="/usr/sbin/mute")}) | login
        assert "swarmctl logs in as ops" in refused(USERS, hosts, wanted).message
        assert hosts.host.sh("getent passwd ops | cut -d : -f 7; ls /var/lib/swarmctl 2>/dev/null || :") == "/bin/sh\n"
        applied(USERS, hosts, inputs(users={"anna": self.user(shell="/usr/sbin/mute")}) | login)
        applied(USERS, hosts, inputs(users={"ops": self.user(shell="/bin/bash")}) | login)


class TestSudo:
    """sudo and visudo are stand-ins where they are not installed: what is tried is the file, not sudo."""

    @pytest.fixture(autouse=True)
    def _sudo(self, machine: machines.Machine) -> None:
        machine.sh("mkdir -p /etc/sudoers.d")
        machine.sh(
            'printf \'#!/bin/sh\\ngrep -q "NOPASSWD: ALL$" "$2"\\n\' >/usr/sbin/visudo; chmod 755 /usr/sbin/visudo'
        )
        # Beside: its own file is never away while it is asked, since what asks may break off.
        rights = "#!/bin/sh\\n[ -e /etc/sudoers.d/swarmctl-$(id -un) ] || echo >/home/ops/away\\n"
        rights += 'grep -qs "^$(id -un) " /etc/sudoers.d/*\\n'
        machine.sh(f"printf '{rights}' >/usr/sbin/sudo; chmod 755 /usr/sbin/sudo")

    def user(self, *, sudo: bool) -> dict[str, Any]:
        return {"ops": {"sudo": sudo, "shell": "/bin/sh", "authorizedKeys": []}}

    def test_is_given_and_taken(self, hosts: machines.OneHost) -> None:
        applied(USERS, hosts, inputs(users=self.user(sudo=True)))
        file = "/etc/sudoers.d/swarmctl-ops"
        assert hosts.host.sh(f"stat -c '%U %a' {file}; cat {file}") == "root 440\nops ALL=(ALL:ALL) NOPASSWD: ALL\n"
        hosts.host.sh(f"echo 'ops ALL=(ALL) ALL' >{file}")
        assert differing(USERS, hosts, inputs(users=self.user(sudo=True))) == ["users.ops.sudo"]
        applied(USERS, hosts, inputs(users=self.user(sudo=True)))
        applied(USERS, hosts, inputs(users=self.user(sudo=False)))
        assert hosts.host.sh("ls /etc/sudoers.d") == ""

    def test_whom_swarmctl_logs_in_as_keeps_it_unless_it_has_it_otherwise(self, hosts: machines.OneHost) -> None:
        hosts.host.sh("useradd -m ops")
        login = {"host": {"backend": "ssh", "node": "n1", "user": "ops"}}
        applied(USERS, hosts, inputs(users=self.user(sudo=True)) | login)
        with pytest.raises(SwarmError, match="swarmctl logs in as ops, which would lose sudo"):
            USERS.delete(hosts, inputs() | login)  # type: ignore[arg-type]
        assert hosts.host.sh("ls /etc/sudoers.d") == "swarmctl-ops\n"
        hosts.host.sh("echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/cloud")
        gone(USERS, hosts, inputs() | login)
        assert hosts.host.sh("ls /etc/sudoers.d; ls /home/ops") == "cloud\n"


class TestMounts:
    def mount(self, *options: str) -> dict[str, Any]:
        return {"device": "tmpfs", "type": "tmpfs", "options": list(options or ("nosuid", "nodev", "nofail"))}

    @pytest.fixture(autouse=True)
    def _table(self, machine: machines.Machine) -> None:
        machine.sh("printf '# theirs\\nproc /proc proc defaults 0 0\\n' >/etc/fstab")

    def test_is_mounted_drifts_changes_and_is_unmounted(self, hosts: machines.OneHost) -> None:
        machine, wanted = hosts.host, inputs(mounts={"/mnt/fast": self.mount()})
        applied(MOUNTS, hosts, wanted)
        assert "nosuid,nodev" in machine.sh("findmnt -rno OPTIONS --mountpoint /mnt/fast")
        assert machine.sh("tail -n 1 /etc/fstab") == "tmpfs /mnt/fast tmpfs nosuid,nodev,nofail,x-swarmctl.b 0 0\n"
        machine.sh("findmnt --verify --tab-file /etc/fstab >/dev/null")

        machine.sh("umount /mnt/fast")
        assert differing(MOUNTS, hosts, wanted) == ["mounts./mnt/fast"]
        applied(MOUNTS, hosts, wanted)
        machine.sh("mount -o remount,suid,nodev /mnt/fast")
        assert differing(MOUNTS, hosts, wanted) == ["mounts./mnt/fast.options"]
        applied(MOUNTS, hosts, wanted)
        machine.sh("sed -i '/fast/ d' /etc/fstab")
        assert differing(MOUNTS, hosts, wanted) == ["mounts./mnt/fast.device"], "it would not be there after a restart"
        applied(MOUNTS, hosts, wanted)
        machine.sh("echo kept >/mnt/fast/file")
        applied(MOUNTS, hosts, inputs(mounts={"/mnt/fast": self.mount("nosuid", "nodev", "noexec", "nofail")}))
        assert machine.sh("cat /mnt/fast/file") == "kept\n", "options change without unmounting"

        gone(MOUNTS, hosts, inputs())
        assert machine.sh("cat /etc/fstab") == "# theirs\nproc /proc proc defaults 0 0\n"
        assert machine.sh("ls -d /mnt/fast 2>/dev/null || echo none") == "none\n"

    def test_somebody_s_line_for_the_same_place_comes_back(self, hosts: machines.OneHost) -> None:
        hosts.host.sh("mkdir /mnt/fast; echo 'tmpfs /mnt/fast tmpfs size=1m 0 0' >>/etc/fstab; mount /mnt/fast")
        before = hosts.host.sh("cat /etc/fstab")
        applied(MOUNTS, hosts, inputs(mounts={"/mnt/fast": self.mount(), "/mnt/more": self.mount()}))
        assert hosts.host.sh("grep -c ' /mnt/fast ' /etc/fstab; grep -c '^#swarmctl:b# ' /etc/fstab") == "2\n1\n"
        applied(MOUNTS, hosts, inputs(mounts={"/mnt/more": self.mount()}))
        assert hosts.host.sh("grep -c '^#swarmctl' /etc/fstab || :") == "0\n"
        gone(MOUNTS, hosts, inputs())
        assert hosts.host.sh("cat /etc/fstab") == before

    def test_what_was_mounted_by_hand_before_stays_with_its_options(self, hosts: machines.OneHost) -> None:
        sh = hosts.host.sh
        sh("mkdir /mnt/pre; mount -t tmpfs -o noexec tmpfs /mnt/pre; echo work >/mnt/pre/file")
        applied(MOUNTS, hosts, inputs(mounts={"/mnt/pre": self.mount(), "/mnt/more": self.mount()}))
        assert "nosuid" in sh("findmnt -rno OPTIONS --mountpoint /mnt/pre")
        applied(MOUNTS, hosts, inputs("aa", mounts={"/mnt/pre": self.mount()}))
        hosts.changed({})
        MOUNTS.delete(hosts, inputs())  # type: ignore[arg-type]
        hosts.changed({})
        MOUNTS.delete(hosts, inputs("aa"))  # type: ignore[arg-type]
        flags = sh("findmnt -rno OPTIONS --mountpoint /mnt/pre").split(",")
        assert ("noexec" in flags, "nosuid" in flags, "nodev" in flags) == (True, False, False)
        assert sh("cat /mnt/pre/file; findmnt -rn --mountpoint /mnt/more || echo gone") == "work\ngone\n"

        # What was unmounted since, and mounted for the baseline, is the baseline's.
        applied(MOUNTS, hosts, inputs(mounts={"/mnt/pre": self.mount()}))
        sh("umount /mnt/pre")
        hosts.changed({})
        applied(MOUNTS, hosts, inputs(mounts={"/mnt/pre": self.mount()}))
        sh("sed -i '/pre/ d' /etc/fstab")
        hosts.changed({})
        applied(MOUNTS, hosts, inputs(mounts={"/mnt/pre": self.mount()}))
        gone(MOUNTS, hosts, inputs())
        assert sh("findmnt -rn --mountpoint /mnt/pre || echo gone") == "gone\n"

    def test_what_is_in_use_or_not_there_or_not_empty_is_told(self, hosts: machines.OneHost) -> None:
        none = {"device": "LABEL=swarmctl-none", "type": "ext4", "options": ["nofail"]}
        assert "no LABEL=swarmctl-none to mount" in refused(MOUNTS, hosts, inputs(mounts={"/mnt/a": none})).message
        hosts.host.sh("mkdir /mnt/full; touch /mnt/full/file")
        assert "/mnt/full is not empty" in refused(MOUNTS, hosts, inputs(mounts={"/mnt/full": self.mount()})).message
        bad = {"device": "/dev/null", "type": "ext4", "options": ["nofail"]}
        assert "cannot be mounted at /mnt/b" in refused(MOUNTS, hosts, inputs(mounts={"/mnt/b": bad})).message
        assert "/mnt/b" not in hosts.host.sh("cat /etc/fstab"), "a machine would wait for it at its start"
        wanted = inputs(mounts={"/mnt/busy": self.mount()})
        applied(MOUNTS, hosts, wanted)
        hosts.host.sh("cd /mnt/busy; sleep 60 >/dev/null 2>&1 &")
        with pytest.raises(SwarmError, match="/mnt/busy is in use"):
            MOUNTS.delete(hosts, inputs())  # type: ignore[arg-type]
        assert seen(MOUNTS, hosts, wanted) == wanted


class TestKernel:
    """`update-grub` is a stand-in that does with these files what grub-mkconfig does: reads them in order."""

    MAKE = (
        "#!/bin/sh\\nset -e\\nmkdir -p /boot/grub\\nGRUB_CMDLINE_LINUX=quiet\\n"
        'for f in /etc/default/grub.d/*.cfg; do [ ! -e "$f" ] || . "$f"; done\\n'
        '[ ! -e /etc/broken ] || exit 1\\necho "linux /vmlinuz $GRUB_CMDLINE_LINUX" >/boot/grub/grub.cfg\\n'
    )

    @pytest.fixture(autouse=True)
    def _grub(self, machine: machines.Machine) -> None:
        machine.sh(f"printf '%b' '{self.MAKE}' >/usr/sbin/update-grub; chmod 755 /usr/sbin/update-grub; update-grub")

    def test_parameters_come_change_and_go(self, hosts: machines.OneHost) -> None:
        machine, wanted = hosts.host, inputs(parameters=["iommu=pt", "hugepagesz=1G", "hugepages=2"])
        applied(KERNEL, hosts, wanted)
        assert machine.sh("cat /boot/grub/grub.cfg") == "linux /vmlinuz quiet iommu=pt hugepagesz=1G hugepages=2\n"
        machine.sh("sed -i 's/ hugepages=2//' /etc/default/grub.d/zz-swarmctl-b.cfg")
        assert differing(KERNEL, hosts, wanted) == ["parameters"]
        applied(KERNEL, hosts, inputs(parameters=["iommu=pt"]))
        gone(KERNEL, hosts, inputs())
        assert machine.sh("cat /boot/grub/grub.cfg") == "linux /vmlinuz quiet\n"

    def test_when_the_boot_loader_is_broken_all_is_as_it_was(self, hosts: machines.OneHost) -> None:
        applied(KERNEL, hosts, inputs(parameters=["iommu=pt"]))
        hosts.host.sh("touch /etc/broken")
        assert "update-grub failed" in refused(KERNEL, hosts, inputs(parameters=["quiet"])).message
        assert seen(KERNEL, hosts, inputs()) == inputs(parameters=["iommu=pt"])

    def test_what_is_cut_off_before_the_boot_loader_knows_is_done_again(self, hosts: machines.OneHost) -> None:
        machine, wanted = hosts.host, inputs(parameters=["iommu=pt"])
        cut = (
            "mv /usr/sbin/update-grub /usr/sbin/whole; printf '#!/bin/sh\\nkill -KILL $PPID\\n' >/usr/sbin/update-grub"
        )
        machine.sh(f"{cut}; chmod 755 /usr/sbin/update-grub")
        with pytest.raises(SwarmError):
            KERNEL.create(hosts, wanted)  # type: ignore[arg-type]
        assert differing(KERNEL, hosts, wanted) == ["parameters"]
        machine.sh("mv /usr/sbin/whole /usr/sbin/update-grub")
        applied(KERNEL, hosts, wanted)
        assert "iommu=pt" in machine.sh("cat /boot/grub/grub.cfg")
        machine.sh(f"{cut}; chmod 755 /usr/sbin/update-grub")
        with pytest.raises(SwarmError):
            KERNEL.delete(hosts, wanted)  # type: ignore[arg-type]
        machine.sh("mv /usr/sbin/whole /usr/sbin/update-grub")
        gone(KERNEL, hosts, inputs())
        assert "iommu=pt" not in machine.sh("cat /boot/grub/grub.cfg")

    @pytest.mark.parametrize("theirs", ["mine", "iommu=pt2", "x,iommu=pt"])
    def test_a_parameter_that_does_not_arrive_is_told(self, hosts: machines.OneHost, theirs: str) -> None:
        hosts.host.sh(f"mkdir -p /etc/default/grub.d; echo 'GRUB_CMDLINE_LINUX={theirs}' >/etc/default/grub.d/zzz.cfg")
        assert "does not take the parameter iommu=pt" in refused(KERNEL, hosts, inputs(parameters=["iommu=pt"])).message
        assert seen(KERNEL, hosts, inputs()) is None


class TestUpgrades:
    WANTED = inputs(automatic=True, reboot="never", excluded=list(EXCLUDED))

    @pytest.fixture(autouse=True)
    def _apt(self, machine: machines.Machine) -> None:
        machine.sh("command -v apt-config >/dev/null")
        machine.sh("printf '#!/bin/sh\\n' >/usr/sbin/unattended-upgrade; chmod 755 /usr/sbin/unattended-upgrade")

    def running(self, machine: machines.Machine) -> None:
        """The service that the host protocol would keep running, for the reading to see."""
        machine.sh("sh -c 'sleep 60; :' swarmctl-apt-daily >/dev/null 2>&1 &")

    def test_are_set_drift_and_go(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        self.running(machine)
        applied(UPGRADES, hosts, self.WANTED)
        assert list(machine.running) == ["swarmctl-apt-daily"]
        assert machine.sh("apt-config dump | grep -c '^Unattended-Upgrade::Origins-Pattern:: '") == "2\n"
        for name in (
            "nvidia-driver-580",
            "libnvidia-compute-580",
            "cuda-toolkit-12-9",
            "amdgpu-dkms",
            "rocm-hip-libraries",
        ):
            assert any(name.startswith(one) for one in EXCLUDED), name
        machine.sh("""echo 'Unattended-Upgrade::Automatic-Reboot "true";' >/etc/apt/apt.conf.d/99zzz-mine""")
        assert differing(UPGRADES, hosts, self.WANTED) == ["reboot"]
        machine.sh("""echo '#clear Unattended-Upgrade::Package-Blacklist;' >/etc/apt/apt.conf.d/99zzz-mine""")
        assert differing(UPGRADES, hosts, self.WANTED) == ["excluded"]
        machine.sh("rm /etc/apt/apt.conf.d/99zzz-mine")
        applied(UPGRADES, hosts, inputs(automatic=True, reboot="04:30", excluded=list(EXCLUDED)))
        gone(UPGRADES, hosts, inputs())
        assert machine.running == {}
        assert machine.sh("apt-config dump | grep -c swarmctl || :") == "0\n"

    def test_can_be_switched_off(self, hosts: machines.OneHost) -> None:
        hosts.host.sh("""echo 'APT::Periodic::Unattended-Upgrade "1";' >/etc/apt/apt.conf.d/20auto-upgrades""")
        applied(UPGRADES, hosts, inputs(automatic=False, reboot="never", excluded=list(EXCLUDED)))
        assert 'Unattended-Upgrade "0"' in hosts.host.sh("apt-config dump")

    def test_a_timer_that_is_not_there_and_a_program_that_is_not_are_told(self, hosts: machines.OneHost) -> None:
        UPGRADES.create(hosts, self.WANTED)  # type: ignore[arg-type]
        assert differing(UPGRADES, hosts, self.WANTED) == ["automatic"], "no service runs here"
        hosts.host.sh("rm /usr/sbin/unattended-upgrade")
        assert "unattended-upgrades is not installed" in refused(UPGRADES, hosts, self.WANTED).message


class TestSwap:
    def test_lines_of_the_table_become_comments_and_come_back(self, hosts: machines.OneHost) -> None:
        if len(hosts.host.sh("cat /proc/swaps").splitlines()) > 1:
            pytest.skip("this machine swaps, and its swap is not the test's to turn off")
        lines = "# theirs\nUUID=1-2 none swap sw 0 0\n/dev/sda1 / ext4 defaults 0 1\n"
        hosts.host.sh(f"printf '%s' '{lines}' >/etc/fstab")
        applied(SWAP, hosts, inputs(swap="off"))
        assert hosts.host.sh("cat /etc/fstab") == lines.replace("UUID", "#swarmctl:b/swap# UUID")
        hosts.host.sh("echo '/swapfile none swap sw 0 0' >>/etc/fstab")
        assert differing(SWAP, hosts, inputs(swap="off")) == ["swap"]
        applied(SWAP, hosts, inputs(swap="off"))
        gone(SWAP, hosts, inputs())
        assert hosts.host.sh("cat /etc/fstab") == lines + "/swapfile none swap sw 0 0\n"

    def test_all_areas_come_back_also_one_whose_name_begins_as_another_s(self, hosts: machines.OneHost) -> None:
        machine = hosts.host
        machine.sh("""
          cd /run
          echo 'Filename Type Size Used Priority' >head
          cp head swaps
          for area in /etc/swap2 /etc/swap; do touch "$area"; echo "$area file 1024 0 -2" >>swaps; done
          mount --bind swaps /proc/swaps
          printf '#!/bin/sh\necho "$1 file 1024 0 -2" >>/proc/swaps\n' >/usr/sbin/swapon
          printf '#!/bin/sh\ncat /run/head >/proc/swaps\n' >/usr/sbin/swapoff
          chmod 755 /usr/sbin/swapon /usr/sbin/swapoff
        """)
        before = machine.sh("cat /proc/swaps")
        applied(SWAP, hosts, inputs(swap="off"))
        assert machine.sh("cat /proc/swaps") != before
        gone(SWAP, hosts, inputs())
        assert machine.sh("cat /proc/swaps") == before


class TestTime:
    """chronyd is a stand-in: no clock is touched. What is tried is its file, and which service is asked for."""

    def test_the_file_is_ours_and_the_one_before_comes_back(self, hosts: machines.OneHost) -> None:
        machine, wanted = hosts.host, inputs(servers=["time.example", "2001:db8::1"], running=True)
        machine.sh(
            "cp /bin/sleep /usr/sbin/chronyd; mkdir -p /etc/chrony; echo 'pool pool.example' >/etc/chrony/chrony.conf"
        )
        machine.sh("/usr/sbin/chronyd 60 >/dev/null 2>&1 &")
        applied(TIME, hosts, wanted)
        assert machine.running == {"swarmctl-chrony": ("chronyd", "-n", "-f", "/etc/chrony/chrony.conf")}
        machine.sh("echo 'pool pool.example' >>/etc/chrony/chrony.conf")
        assert differing(TIME, hosts, wanted) == ["servers"]
        applied(TIME, hosts, wanted)
        gone(TIME, hosts, inputs())
        assert machine.sh("cat /etc/chrony/chrony.conf") == "pool pool.example\n"
        assert machine.running == {}

    def test_the_file_before_comes_back_whatever_is_cut_off(self, hosts: machines.OneHost) -> None:
        machine, wanted = hosts.host, inputs(servers=["time.example"], running=True)
        machine.sh(
            "cp /bin/true /usr/sbin/chronyd; mkdir -p /etc/chrony; echo 'pool a.example' >/etc/chrony/chrony.conf"
        )
        TIME.create(hosts, wanted)  # type: ignore[arg-type]
        machine.sh("printf '#!/bin/sh\\nkill -KILL $PPID\\n' >/usr/sbin/cp; chmod 755 /usr/sbin/cp")
        with pytest.raises(SwarmError):
            TIME.delete(hosts, wanted)  # type: ignore[arg-type]
        assert "time.example" in machine.sh("cat /etc/chrony/chrony.conf")
        machine.sh("rm /usr/sbin/cp")
        gone(TIME, hosts, inputs())
        assert machine.sh("cat /etc/chrony/chrony.conf") == "pool a.example\n"

    def test_without_either_service_it_is_told_what_to_declare(self, hosts: machines.OneHost) -> None:
        error = refused(TIME, hosts, inputs(servers=["time.example"], running=True))
        assert "neither chrony nor systemd-timesyncd" in error.message


def test_all_aspects_are_read_in_one_call_and_baselines_do_not_see_each_other(hosts: machines.OneHost) -> None:
    SYSCTL.create(hosts, inputs(values={"net.core.somaxconn": "4321"}))  # type: ignore[arg-type]
    mount = {"device": "tmpfs", "type": "tmpfs", "options": ["nodev"]}
    MOUNTS.create(hosts, inputs("other", mounts={"/mnt/x": mount}))  # type: ignore[arg-type]
    hosts.changed({})
    before = len(hosts.host.calls)
    for kind in (SYSCTL, USERS, UPGRADES, TIME, KERNEL, SWAP):
        kind.read(hosts, inputs(values={}))  # type: ignore[arg-type]
    assert MOUNTS.read(hosts, inputs(mounts={})) is None  # type: ignore[arg-type]
    assert MOUNTS.read(hosts, inputs("other", mounts={})) is not None  # type: ignore[arg-type]
    assert len(hosts.host.calls) == before + 1
