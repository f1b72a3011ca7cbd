"""A node can't harm the machine: each thing is tried from inside."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import swarmctl
from swarmctl import paths
from swarmctl.backends.base import Host
from swarmctl.backends.lab import cgroups, marks, modes
from swarmctl.backends.lab.inside.seccomp import DENIED

from . import labs

pytestmark = pytest.mark.integration


def succeeds(host: Host, *argv: str) -> bool:
    return host.run(argv, check=False).returncode == 0


def shell(host: Host, script: str) -> str:
    done = host.run(["sh", "-c", script], check=False)
    return done.text + done.stderr.decode()


@pytest.fixture
def python(host: Host) -> str:
    if not succeeds(host, "python3", "-c", "import ctypes"):
        pytest.skip("no Python in nodes")
    return "python3"


@pytest.mark.parametrize(
    "script",
    [
        "echo 1 > /proc/sys/kernel/panic",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo 100 > /proc/sys/fs/file-max",
        "echo x > /proc/sys/kernel/domainname",
        "echo 0 > /proc/sys/net/netfilter/nf_hooks_lwtunnel",
        "for f in $(find /proc/sys/net/netfilter -type f); do test -w $f && exit 0; done; exit 1",
        "python3 -c 'import socket; socket.socket(40)'",
        "echo 1 > /sys/kernel/mm/ksm/run",
        "echo 1 > /sys/power/state",
        "mount -t tmpfs none /mnt",
        "mount -t proc proc /mnt",
        "mount -o remount,rw /proc/sys",
        "mount -o remount,bind,rw /proc/sys",
        "mount --bind /proc/sys/net /proc/sys",
        "umount /proc/sys",
        "umount -l /proc/keys || umount -l /proc/kallsyms",
        "umount -l /dev/null",
        "mknod /tmp/disk b 254 0",
        "mknod /tmp/mem c 1 1",
        "mknod /dev/disk b 8 0",
        "date -s 2001-01-01",
        "hwclock -w",
        "modprobe dummy",
        "insmod /tmp/none.ko",
        "swapoff -a && swapon /tmp/none",
        "dmesg",
        "unshare -U true",
        "unshare -m true",
        "unshare -n true",
        "unshare -r mount -t tmpfs none /mnt",
        "nsenter -t 1 -m true",
        "nice -n -5 true 2>&1 | grep -q . && exit 1",
        "chrt -f 1 true",
        "echo -1000 > /proc/self/oom_score_adj",
        "chattr +i /etc/hostname",
        "losetup -f",
        "blkid -p /dev/vda || fdisk -l /dev/sda",
        "reboot -f",
        "cat /proc/1/environ | grep HOME=",
    ],
)
def test_it_does_not_work_in_a_node(host: Host, script: str) -> None:
    assert not succeeds(host, "sh", "-c", script)
    assert succeeds(host, "true")


def test_nothing_of_the_list_works_in_a_namespace_of_the_nodes_own_either(host: Host, python: str) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for flags in (0x10000000, 0x00020000, 0x40000000, 0x02000000):
    assert libc.unshare(flags) == -1 and ctypes.get_errno() == 1, flags
    # clone, with a stack of its own: were it allowed, the child would end at once
    assert libc.syscall(56 if os.uname().machine == "x86_64" else 220, flags | 17, 0, 0, 0, 0) == -1
"""
    host.run([python, "-c", script])


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
def test_every_denied_system_call_is_denied(host: Host, python: str) -> None:
    # Arguments that would do no harm if it were let through.
    script = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
for number in map(int, sys.argv[1:]):
    result = libc.syscall(number, -1, 0, 0, 0, 0, 0)
    if result != -1 or ctypes.get_errno() != 1:
        print(number, result, ctypes.get_errno())
"""
    assert host.run([python, "-c", script, *(str(number) for _, number in DENIED)]).text == ""


def test_magic_sysrq_and_kernel_memory_are_not_there(host: Host) -> None:
    real = os.stat("/proc/sysrq-trigger").st_dev if Path("/proc/sysrq-trigger").exists() else None
    assert real is None or shell(host, "stat -c %F /proc/sysrq-trigger").strip() == "character special file"
    assert shell(host, "head -c 100 /proc/kcore /proc/kmsg /proc/kallsyms 2>/dev/null | grep -v ==").strip() == ""
    assert set(shell(host, "ls /dev").split()) <= {
        *("fd", "full", "net", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom"),
        "zero",
    }


def test_devices_of_the_machine_can_be_used_and_not_changed(host: Host, python: str) -> None:
    paths_ = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "net/tun")]
    paths_ = [path for path in paths_ if Path(path).exists()]
    before = {path: os.stat(path) for path in paths_}
    script = """
import os, sys
for path in sys.argv[1:]:
    for change in (
        lambda: os.chmod(path, 0o604), lambda: os.chown(path, 1, 1), lambda: os.utime(path, (1, 1)),
        lambda: os.setxattr(path, "user.x", b"x"), lambda: os.fchmod(os.open(path, os.O_RDONLY), 0o604),
    ):
        try:
            change()
        except OSError:
            continue
        print(path, "was changed")
"""
    masks = [
        path for path in ("/proc/kcore", "/proc/keys", "/proc/sysrq-trigger") if succeeds(host, "test", "-e", path)
    ]
    try:
        assert host.run([python, "-c", script, *paths_, *masks]).text == ""
        for path, facts in before.items():
            now = os.stat(path)
            assert (now.st_mode, now.st_uid, now.st_gid) == (facts.st_mode, facts.st_uid, facts.st_gid), path
    finally:
        for path, facts in before.items():
            os.chmod(path, facts.st_mode & 0o7777)
            os.chown(path, facts.st_uid, facts.st_gid)
    use = "echo x > /dev/null && head -c 9 /dev/zero | wc -c && head -c 9 /dev/urandom | wc -c"
    assert host.run(["sh", "-c", use]).text.split() == ["9", "9"]
    if "/dev/net/tun" in before:
        host.run([python, "-c", "import os; os.open('/dev/net/tun', os.O_RDWR)"])


def test_only_network_settings_of_its_own_can_be_changed(host: Host) -> None:
    outside = Path("/proc/sys/net/ipv4/ip_default_ttl").read_text()
    host.run(["sh", "-c", "echo 77 > /proc/sys/net/ipv4/ip_default_ttl"])
    assert shell(host, "cat /proc/sys/net/ipv4/ip_default_ttl").strip() == "77"
    assert Path("/proc/sys/net/ipv4/ip_default_ttl").read_text() == outside
    name = socket.gethostname()
    assert not succeeds(host, "hostname", "changed")
    assert socket.gethostname() == name


def test_nothing_that_is_anybodys_own_can_be_seen(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (
        *(tmp_path, paths.data_home(), paths.cache_home(), marks.Lab(labs.STACK).folder),
        *(Path(swarmctl.__file__).parent, Path(sys.prefix), Path.cwd()),
    ):
        assert not succeeds(host, "test", "-e", str(path)), path
    for folder in ("/root", "/home", "/tmp", "/var/tmp", "/mnt", "/media", "/srv"):
        assert shell(host, f"find {folder} -mindepth 1 -name '[!.]*' | head -3").strip() == "", folder
    assert Path("/etc/shadow").exists()
    assert shell(host, "cut -d: -f2 /etc/shadow | sort -u").strip() == "*"
    assert shell(host, "ls /etc/ssh 2>/dev/null | grep host_.*_key$") == ""


def test_foreign_mounts_cannot_be_seen(host: Host) -> None:
    kinds = set(shell(host, "cut -d' ' -f3 /proc/mounts").split())
    assert kinds <= {
        "overlay",
        "tmpfs",
        "proc",
        "sysfs",
        "devpts",
        "devtmpfs",
        _kind_of(paths.data_home()),
        _kind_of("/usr"),
    }
    roots = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    seen = {line.split()[1] for line in shell(host, "cat /proc/mounts").splitlines()}
    known = ("/proc", "/sys", "/dev", "/run", "/usr", "/etc", "/var/lib", "/opt/swarmctl")
    assert {path for path in seen if path != "/" and not path.startswith(known)} == set()
    assert "/sys/fs/cgroup/memory" not in seen or "/sys/fs/cgroup/memory" not in roots


def _kind_of(path: str | Path) -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=True)
    return {"ext2/ext3": "ext4", "overlayfs": "overlay"}.get(done.stdout.strip(), done.stdout.strip())


def test_processes_of_the_machine_can_neither_be_seen_nor_signalled(host: Host) -> None:
    with subprocess.Popen(["sleep", "3210"]) as process:
        assert not succeeds(host, "kill", "-0", str(process.pid))
        assert "3210" not in shell(host, "ps ax -o args; cat /proc/[0-9]*/cmdline")
        assert process.poll() is None
        process.kill()


def test_first_process_of_a_node_cannot_be_killed_from_inside(host: Host) -> None:
    shell(host, "kill -9 1; kill -TERM 1")
    assert succeeds(host, "true")


def test_abstract_sockets_and_servers_of_the_machine_are_out_of_reach(host: Host, python: str) -> None:
    name = f"\0swarmctl-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as abstract, socket.socket() as server:
        abstract.bind(name)
        abstract.listen()
        server.bind(("0.0.0.0", 0))
        server.listen()
        script = f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})"
        assert not succeeds(host, python, "-c", script)
        addresses = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=True).stdout
        for address in {line.split()[3].partition("/")[0] for line in addresses.splitlines()}:
            script = f"import socket; socket.create_connection(({address!r}, {server.getsockname()[1]}), 0.3)"
            assert not succeeds(host, python, "-c", script)
    assert shell(host, "ls /sys/class/net").split() == ["eth0", "lo"]


def test_shared_memory_and_semaphores_are_the_nodes_own(host: Host, python: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x53570000 | (os.getpid() & 0xFFFF)
    outside = libc.shmget(key, 4096, 0o1666)
    assert outside >= 0
    try:
        script = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).shmget({key}, 4096, 0) >= 0)"
        host.run([python, "-c", script])
    finally:
        libc.shmctl(outside, 0, None)


def test_a_disk_cannot_be_reached_through_handles_or_old_roots(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("of this machine")
    assert not succeeds(host, "test", "-e", f"/proc/1/root{outside}")
    # Out of a chroot within a chroot there is nothing but the node's own root.
    climb = "mkdir -p /srv/jail; cd /srv/jail; i=0; while [ $i -lt 40 ]; do cd ..; i=$((i+1)); done; cat etc/hostname"
    assert shell(host, climb).strip() == host.name
    host.run(["rmdir", "/srv/jail"])


def test_a_node_cannot_reach_the_network_namespace_its_cable_comes_from(
    host: Host, python: str, mode: modes.Mode
) -> None:
    if not mode.user:
        pytest.skip("this machine allows nodes no user namespace of their own")
    # The kernel gives the namespace at the other end of a cable a number, and root over both could work there by it.
    script = """
import socket, struct
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + struct.pack("=HHi", 8, 46, 0)  # ifinfomsg, IFLA_TARGET_NETNSID 0
    netlink.send(struct.pack("=IHHII", 16 + len(body), 18, 0x301, 1, 0) + body)  # RTM_GETLINK, dump
    kind, error = struct.unpack_from("=4xH10xi", netlink.recv(65536))
    print(kind, error)
"""
    assert "nsid 0" in host.run(["ip", "netns", "list-id"]).text
    assert host.run([python, "-c", script]).text == "3 -13\n"  # NLMSG_DONE with EACCES


def test_commands_and_services_have_the_same_few_rights_as_the_first_process(host: Host) -> None:
    fields = "grep -hE '^(Cap|NoNewPrivs|Seccomp:)' /proc/{}/status"
    own, first = shell(host, fields.format("self")), shell(host, fields.format("1"))
    assert own == first
    bounding = int(own.split("CapBnd:")[1].split()[0], 16)
    for name, number in {"SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYS_BOOT": 22}.items():
        assert not bounding & 1 << number, name
    for name, number in {"SYS_NICE": 23, "SYS_TIME": 25, "MKNOD": 27, "MAC_ADMIN": 33, "SYSLOG": 34, "BPF": 39}.items():
        assert not bounding & 1 << number, name
    for name, number in {"DAC_READ_SEARCH": 2, "PERFMON": 38, "CHECKPOINT_RESTORE": 40, "IPC_LOCK": 14}.items():
        assert not bounding & 1 << number, name
    assert "NoNewPrivs:\t1" in own
    host.start_service("rights", ["sh", "-c", fields.format("self")])
    assert labs.soon(lambda: "\n".join(line for name, line in host.logs() if name == "rights").strip() == own.strip())


def test_our_program_in_a_node_cannot_be_written_through_proc() -> None:
    # A node's command may have `/proc/self/exe` as its interpreter: then our own runs in the node.
    folder = str(Path(swarmctl.__file__).parent / "backends" / "lab")
    script = f"""
import os, sys
sys.path.insert(0, {folder!r})
import inside
from inside import kernel
if {os.geteuid()} and not os.environ.get("SWARMCTL_LAB_RESTARTED"):
    kernel.new_user_namespace({os.geteuid()}, {os.getegid()})
if not kernel.exe_is_read_only():
    kernel.restart_read_only()
try:
    facts = os.stat("/proc/self/exe")
    os.utime("/proc/self/exe", ns=(facts.st_atime_ns, facts.st_mtime_ns))  # nothing changes where it is allowed
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("30\n", "")  # EROFS


def test_a_flood_of_processes_stays_in_its_node(host: Host) -> None:
    groups = marks.Lab(labs.STACK).record(host.name)["cgroups"]
    if "pids" not in groups:
        pytest.skip("no control group for processes here")
    assert Path(groups["pids"], "pids.max").read_text().strip() == str(cgroups.PIDS)
    host.start_service("counted", ["sleep", "100"])
    (service,) = host.services()
    assert str(service.pid) in Path(groups["pids"], "cgroup.procs").read_text().split()


def test_memory_file_systems_of_a_node_are_small(host: Host) -> None:
    for folder in ("/run", "/dev/shm", "/dev"):
        assert not succeeds(host, "sh", "-c", f"head -c 70000000 /dev/zero > {folder}/flood"), folder
        shell(host, f"rm -f {folder}/flood")
