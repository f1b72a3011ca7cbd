"""What can be wrong with machines over SSH: one clear error each, the others go on, the state stays true, and when it
is mended the next apply converges."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.backends.ssh.servers import keygen
from tests.integration.fleet import HERE, NETWORK, Fleet, fleet

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("ssh-faults")]


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("faults"), ["n1", "n2", "n3"]) as made:
        yield made


def told(metal: Fleet, *args: str, code: int) -> str:
    """What it says, without line breaks."""
    run = metal(*args, code=code)
    return " ".join((run.out + run.err).split())


def test_each_is_one_clear_error_and_the_others_go_on(metal: Fleet) -> None:
    keygen(metal.root / "stranger")
    for last in range(21, 26):
        metal.inside("n2", f"ip addr add {NETWORK}.{last}/24 dev eth0")

    def like_n2(name: str, last: int, **more: object) -> dict[str, object]:
        return metal.host("n2") | {"name": name, "address": f"{NETWORK}.{last}"} | more

    metal.inside(
        "n2", "mkdir -p /var/lib/swarmctl; mount -t tmpfs -o size=4k t /var/lib/swarmctl; echo >/var/lib/swarmctl/x"
    )
    metal.inside("n3", "printf '#!/bin/sh\\necho 1700000000\\n' >/usr/local/bin/date; chmod +x /usr/local/bin/date")
    metal.declare(
        metal.host("n1"),
        metal.host("n2"),
        metal.host("n3"),
        metal.host("n1") | {"name": "down", "address": HERE},
        like_n2("stranger", 21, key=str(metal.root / "stranger")),
        like_n2("changed", 22, hostKeys=[keygen(metal.root / "other")]),
        like_n2("typed", 23, user="typed"),
        like_n2("asking", 24, user="asking"),
        like_n2("plain", 25, user="plain"),
    )
    planned = told(metal, "plan", code=8)
    said = told(metal, "apply", "--yes", code=8)
    for expected in (
        f"down (worker@{HERE}) refuses connections to port 22",
        f"stranger (worker@{NETWORK}.21) does not let worker in with {metal.root}/stranger",
        f"changed (worker@{NETWORK}.22) shows another host key than the declared: ssh-ed25519 SHA256:",
        f"typed (typed@{NETWORK}.23) takes no key; it would take a password, which is never typed in",
        "asking: sudo asks asking for a password, which is never typed in",
        "plain: sudo ",
        "n2: its disk is full: 0 KiB are free in /var/lib",
        "n3: its clock is ",
    ):
        assert expected in said, f"{expected}\n{said}"
        assert expected in planned, f"{expected}\n{planned}"
    assert "Traceback" not in said
    assert "Applied" in said
    listed = told(metal, "state", "list", code=0)
    assert "nodepool/metal[n1]" in listed
    assert "mesh/backbone[n1/peers]" in listed, "it waits for none of those that are not there"
    assert not [name for name in ("down", "changed", "typed", "asking", "plain", "stranger") if f"[{name}]" in listed]

    metal.inside("n2", "umount /var/lib/swarmctl")
    metal.inside("n3", "rm /usr/local/bin/date")
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
    told(metal, "apply", "--yes", code=0)
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)


@contextmanager
def profile(metal: Fleet, name: str, line: str) -> Iterator[None]:
    """For the block, this is the first line of what the user's shell reads on this machine."""
    metal.inside(name, f"cd /home/worker; cp -p .bashrc /root/was; {{ echo '{line}'; cat /root/was; }} >.bashrc")
    try:
        yield
    finally:
        metal.inside(name, "cat /root/was >/home/worker/.bashrc")


def test_what_keeps_a_command_from_beginning_is_named_by_whoever_asks(metal: Fleet) -> None:
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
    told(metal, "apply", "--yes", code=0)
    reads = "the profile of worker reads standard input, which is the command's"
    with profile(metal, "n2", "read x"):
        for command in (("plan",), ("apply", "--yes"), ("drift",)):
            said = told(metal, *command, code=8)
            assert f"n2 is left alone: {reads}" in said or f"n2: {reads}" in said
            assert "help: see in worker's ~/.bashrc" in said
        assert reads in metal("status", code=8).out.replace("\n", " ")
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)


@pytest.mark.soak  # a login shell has 45 s to begin something, for each of the processes that ask
def test_a_profile_that_hangs_is_named_by_whoever_asks(metal: Fleet) -> None:
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
    told(metal, "apply", "--yes", code=0)
    hangs = "the login shell of worker did not begin {} within 45 s; its profile may hang"
    with profile(metal, "n2", "exec sleep 1000"):
        for command, program in ((("exec", "n2", "--", "id"), "id"), (("plan",), "sh")):
            said = told(metal, *command, code=8)
            assert hangs.format(program) in said
            assert "help: its profile, the shell itself or a forced command is in the way" in said
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)


def test_a_port_that_the_firewall_of_ours_keeps_shut_is_named_with_the_way_to_move(metal: Fleet) -> None:
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
    told(metal, "apply", "--yes", code=0)
    metal.declare(metal.host("n1", port=2222), metal.host("n2"), metal.host("n3"))
    for command in (("plan",), ("exec", "n1", "--", "id")):
        said = told(metal, *command, code=8)
        assert f"(worker@{NETWORK}.11:2222) did not answer within 20 s" in said
        assert "`port: 22` with `listens: [22, 2222]`" in said
    metal.declare(metal.host("n1", port=22, listens=[22, 2222]), metal.host("n2"), metal.host("n3"))
    told(metal, "apply", "--yes", code=0)
    metal.inside(
        "n1", "sed 's/^Port .*/Port 2222/; s,^PidFile .*,PidFile /root/pid,' /etc/ssh/test/config >/root/moved"
    )
    metal.inside("n1", "$(command -v /usr/sbin/sshd) -e -f /root/moved -E /root/log")
    metal.declare(metal.host("n1", port=2222), metal.host("n2"), metal.host("n3"))
    told(metal, "apply", "--yes", code=0)
    assert "uid=0" in told(metal, "exec", "n1", "--", "id", code=0)
    back: tuple[dict[str, object], ...] = ({"port": 2222, "listens": [22, 2222]}, {"listens": [22, 2222]}, {})
    for way in back:
        metal.declare(metal.host("n1", **way), metal.host("n2"), metal.host("n3"))
        told(metal, "apply", "--yes", code=0)
    metal.inside("n1", "kill $(cat /root/pid); rm -f /root/moved /root/log /root/pid", check=False)


@contextmanager
def silenced(metal: Fleet, name: str) -> Iterator[None]:
    """For the block, nobody can log in to this machine."""
    metal.inside(name, "nft add table inet trial; nft 'add chain inet trial i { type filter hook input priority -5; }'")
    metal.inside(name, "nft add rule inet trial i tcp dport 22 reject with tcp reset")
    try:
        yield
    finally:
        metal.inside(name, "nft delete table inet trial")


def test_a_machine_that_is_down_makes_no_other_wait_and_is_told(metal: Fleet) -> None:
    with silenced(metal, "n2"):
        assert "n2 (worker@10.201.7.12) refuses connections to port 22" in told(metal, "plan", code=8)
        said = told(metal, "drift", code=8)
        assert "n2" in said
        assert "10.201.7.13" not in said
        # What does not answer is left as it is, and the others are changed.
        flow = "      - {name: more, from: {}, to: {}, ports: [7950]}\n"
        path = metal.stack / "cluster.yaml"
        path.write_text(path.read_text() + flow)
        said = told(metal, "apply", "--yes", code=8)
        assert "n2 (worker@10.201.7.12) refuses connections to port 22" in said
        tables = {name: metal.inside(name, "nft list table inet swarmctl") for name in ("n1", "n2", "n3")}
        assert ["7950" in tables[name] for name in ("n1", "n2", "n3")] == [True, False, True]
        # Nobody has reached it at a new address either: none of the others is told of that.
        metal.declare(metal.host("n1"), metal.host("n2") | {"address": HERE}, metal.host("n3"))
        said = told(metal, "plan", code=8)
        assert "unchanged; nothing to change; 1 machine left alone: n2" in said, said
        metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
    told(metal, "apply", "--yes", code=0)
    assert "7950" in metal.inside("n2", "nft list table inet swarmctl")
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)


def test_destroy_leaves_a_silent_machine_in_the_state_and_takes_all_others_away(metal: Fleet) -> None:
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
    baseline = metal.stack / "baseline.yaml"
    baseline.write_text(
        "apiVersion: swarmctl/v1alpha1\nkind: HostBaseline\nmetadata: {name: set}\n"
        "spec: {nodes: {}, users: [{name: ops}]}\n"
    )

    def destroyed_but_n2() -> str:
        told(metal, "apply", "--yes", code=0)
        with silenced(metal, "n2"):
            said = told(metal, "destroy", "--yes", code=8)
            assert "n2 is left alone: n2 (worker@10.201.7.12) refuses connections to port 22" in said
            assert [metal.left(name).strip() for name in ("n1", "n3")] == ["", ""]
            assert [metal.inside(name, "id -un ops", check=False).strip() for name in ("n1", "n3")] == ["", ""]
            assert metal.inside("n2", "id -un ops").strip() == "ops", "nothing was done on it"
            kept = {line.split()[0] for line in metal("state", "list").out.splitlines() if "[" in line}
            assert {"nodepool/metal[n2]", "hostbaseline/set[n2/users]", "mesh/backbone[n2]"} <= kept
            assert not [name for name in kept if "[n1" in name or "[n3" in name]
            assert set(kept) <= set(said.replace(",", "").split()), "what is kept is named"
            # There is nothing more to be done for as long as it does not answer.
            assert "Partly destroyed: nothing changed" in told(metal, "destroy", "--yes", code=8)
        return said

    try:
        destroyed_but_n2()
        told(metal, "destroy", "--yes", code=0)
        assert [metal.left(name).strip() for name in ("n1", "n2", "n3")] == [""] * 3
        assert metal.inside("n2", "id -un ops", check=False).strip() == ""
        assert "Nothing to destroy" in told(metal, "destroy", "--yes", code=0)

        assert "`state: lost`" in destroyed_but_n2()
        metal.declare(metal.host("n1"), metal.host("n2") | {"state": "lost"}, metal.host("n3"))
        with silenced(metal, "n2"):
            told(metal, "destroy", "--yes", code=0)
        metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
        # It turns up again, and is taken over again and given back.
        told(metal, "apply", "--yes", code=0)
    finally:
        baseline.unlink()
    told(metal, "apply", "--yes", code=0)
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)


def test_a_key_file_that_is_missing_is_told_at_plan_and_not_before(metal: Fleet) -> None:
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")), key="~/nowhere/key")
    metal("validate")
    said = told(metal, "plan", code=8)
    assert "~/nowhere/key can't be used to log in: No such file or directory" in said
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))


def test_what_a_machine_lacks_is_told_in_one_sentence_with_its_packages(metal: Fleet) -> None:
    metal.declare(*(metal.host(name) for name in ("n1", "n2")))
    told(metal, "apply", "--yes", code=0)
    metal.inside("n3", "mv /usr/bin/wg /usr/bin/wg.away; mv $(command -v nft) /root/nft")
    try:
        metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
        said = told(metal, "apply", "--yes", code=8)
        assert "n3 lacks what a node needs: nft, wg" in said
        assert "`apt-get install nftables wireguard-tools` there" in said
        metal("facts", "n3", "--refresh")
        assert "n3 lacks what a node needs: nft, wg" in told(metal, "plan", code=8), "its facts tell it, too"
    finally:
        metal.inside("n3", "mv /usr/bin/wg.away /usr/bin/wg; mv /root/nft /usr/sbin/nft")
    metal("facts", "n3", "--refresh")
    with silenced(metal, "n3"):
        assert "left alone" not in told(metal, "plan", code=0), "it was asked a moment ago, and isn't once more"
    told(metal, "apply", "--yes", code=0)


def test_a_rollout_stops_at_the_first_that_fails(metal: Fleet) -> None:
    told(metal, "destroy", "--yes", code=0)
    assert [metal.left(name).strip() for name in ("n1", "n2", "n3")] == [""] * 3
    metal.inside("n1", "mkdir -p /var/lib/swarmctl/owner")  # what only shows when it is written to
    hosts = [metal.host(name) for name in ("n1", "n2", "n3")]
    metal.declare(*hosts, pool={"rollout": {"canary": 1, "batch": 1, "maxFailures": 0}})
    stopped = metal("apply", "--yes", code=None)
    # What lies on no node, the mesh's rotation, may have been made before the canary failed.
    assert stopped.code in (1, 7)
    assert "n1 cannot tell whose it is" in stopped.err
    assert [metal.left(name).strip() for name in ("n2", "n3")] == ["", ""]
    # What is known before is no failure of the rollout, and is left out of it.
    metal.inside("n1", "rm -rf /var/lib/swarmctl; mkdir /var/lib/swarmctl")
    metal.inside("n1", "printf 'other-1\\n5\\nbob@desk\\n' >/var/lib/swarmctl/owner")
    assert "n1 belongs to the stack other-1" in told(metal, "apply", "--yes", code=8)
    assert [bool(metal.left(name).strip()) for name in ("n2", "n3")] == [True, True]
    metal.inside("n1", "rm -r /var/lib/swarmctl")
    told(metal, "apply", "--yes", code=0)
    told(metal, "destroy", "--yes", code=0)
    assert [metal.left(name).strip() for name in ("n1", "n2", "n3")] == [""] * 3


@pytest.mark.soak
def test_a_connection_that_is_cut_without_a_word_is_given_up_and_the_others_go_on(metal: Fleet) -> None:
    """What a switch that fails does: nothing comes any more, no end either."""
    hosts = [metal.host(name) for name in ("n1", "n2", "n3")]
    metal.declare(*hosts)
    told(metal, "apply", "--yes", code=0)
    (metal.stack / "baseline.yaml").write_text(
        "apiVersion: swarmctl/v1alpha1\nkind: HostBaseline\nmetadata: {name: set}\n"
        "spec: {nodes: {}, users: [{name: ops}]}\n"
    )
    slow = "[ ! -e /srv/slow ] || { : >/srv/began; sleep 5; }"
    metal.inside("n2", f"cat >/usr/local/sbin/useradd <<'END'\n#!/bin/sh\n{slow}\nexec /usr/sbin/useradd \"$@\"\nEND")
    metal.inside("n2", "chmod +x /usr/local/sbin/useradd; : >/srv/slow")
    running = metal.start("apply", "--yes")
    try:
        while not metal.inside("n2", "ls /srv/began 2>/dev/null", check=False):
            assert running.poll() is None
            time.sleep(0.1)
        metal.inside("n2", "ip link set eth0 down")
        out, err = running.communicate(timeout=300)
    finally:
        metal.inside("n2", "rm -f /srv/slow; ip link set eth0 up")
    said = " ".join((out + err).split())
    assert running.returncode == 7, said
    assert "n2: the connection was cut while sh ran there; whether it came to its end is not known" in said
    assert "2 created on 2 nodes; 1 failed" in said
    told(metal, "apply", "--yes", code=0)
    assert [metal.inside(name, "id -un ops").strip() for name in ("n1", "n2", "n3")] == ["ops"] * 3
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)
    (metal.stack / "baseline.yaml").unlink()
    told(metal, "apply", "--yes", code=0)


EVIL = r"""#!/bin/sh
case $(cat /srv/mode) in
  endless) exec yes "$(printf '\033]0;own\007\033[31mred')" ;;
  escapes) printf '\033]0;own\007\033[2J\033[31mred \302\233 \342\200\256\n' >&2; exit 5 ;;
esac
exec /bin/bash "$@"
"""
LIES = r"""
rm -f /etc/os-release
printf 'ID="deb\033[31mian"\nVERSION_ID="\033]0;own\007"\nPRETTY_NAME="\033[2J\302\233\342\200\256%s"\n' \
  "$(head -c 3000000 /dev/zero | tr '\0' B)" >/etc/os-release
printf 'n1\033[31m\302\233' >/proc/sys/kernel/hostname
cat >/usr/local/bin/lspci <<'END'
#!/bin/sh
printf '0000:01:00.0 3D controller \033[31m[0302]: \302\233 [10de:2330]\n'
head -c "$(cat /srv/much 2>/dev/null || echo 500000)" /dev/zero | tr '\0' C
END
chmod +x /usr/local/bin/lspci
"""
"""Another machine's name, what terminals obey, and lines without end in everything that facts are made of."""


def harmless(text: str) -> bool:
    """Nothing in it that a terminal obeys."""
    return text.replace("\n", "").replace("\ufffd", "?").isprintable()


def test_machines_that_answer_with_anything_at_all_harm_nobody_else(metal: Fleet) -> None:
    hosts = [metal.host(name) for name in ("n1", "n2", "n3")]
    metal.declare(*hosts)
    told(metal, "apply", "--yes", code=0)
    metal.console("n2").run(["tee", "/srv/evil"], stdin=EVIL.encode())
    # Both are told of: what has drifted on the one, and that the other can't be read.
    metal.inside("n1", "ip link set wg0 mtu 1300")
    metal.inside(
        "n2", "echo endless >/srv/mode; chmod 755 /srv/evil; sed -i '/^worker:/s#[^:]*$#/srv/evil#' /etc/passwd"
    )
    try:
        run = metal("facts", "--refresh", code=8)
        assert harmless(run.out + run.err)
        assert "metal: 2 of 3 machines known" in run.out
        assert "n2: the login shell of worker printed more than 20 MiB and began no command" in run.out
        metal.inside("n2", "echo escapes >/srv/mode")
        run = metal("drift", "--format", "json", code=8)
        assert harmless(run.out + run.err)
        assert {(one["node"], one["path"]) for one in run.json["drift"]} == {("n1", "mtu")}
        (unread,) = run.json["unread"]
        assert unread["node"] == "n2"
        assert "ran no command (status 5): ]0;own [2J [31mred" in " ".join(unread["error"].split())
        said = told(metal, "apply", "--yes", code=8)
        assert "one machine could not be read, and is left alone" in said
        assert "mtu 1300" not in metal.inside("n1", "ip link show wg0"), "the others are healed"
    finally:
        metal.inside("n2", "sed -i '/^worker:/s#[^:]*$#/bin/bash#' /etc/passwd")
    told(metal, "apply", "--yes", code=0)
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)


def test_a_machine_that_lies_about_what_it_is_is_kept_apart_and_shown_in_plain_letters(metal: Fleet) -> None:
    told(metal, "apply", "--yes", code=0)
    before = metal("facts", "n1", "--format", "json").json["nodes"]
    metal.inside("n2", LIES)
    try:
        for command in (["facts", "--refresh"], ["facts", "n2"], ["gpu", "doctor"], ["status"], ["plan"]):
            run = metal(*command, code=None)
            assert harmless(run.out + run.err), command
            assert "CCCC" not in run.out
            assert len(run.out) < 20_000
        found = metal("facts", "--format", "json")
        assert harmless(found.out)
        nodes = {one["node"]: one["facts"] for one in found.json["nodes"]}
        assert nodes["n1"]["hostname"] == "n1"
        assert nodes["n1"]["os"] == before[0]["facts"]["os"]
        assert nodes["n2"]["hostname"] not in ("n1", "n2")
        assert nodes["n2"]["os"] == {"id": "", "versionId": "", "codename": "", "name": ""}
        assert not [one for one in nodes["n2"]["pci"] if one["vendor"] == "10de"]
        assert "Nothing to change" in told(metal, "apply", "--yes", code=0)
        metal.inside("n2", "echo 20000000 >/srv/much")
        run = metal("facts", "--refresh", code=8)
        assert "CCCC" not in run.out
        assert "n2 cannot be read: it tells of what `lspci` prints in more than 1 MiB" in " ".join(run.out.split())
        assert "Nothing to change" in told(metal, "apply", "--yes", code=0), "what it is makes no difference here"
    finally:
        metal.inside(
            "n2", "rm -f /srv/much /etc/os-release /usr/local/bin/lspci; ln -s ../usr/lib/os-release /etc/os-release"
        )
        metal.inside("n2", "echo n2 >/proc/sys/kernel/hostname")
