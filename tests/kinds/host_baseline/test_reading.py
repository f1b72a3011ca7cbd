"""The one reading of all aspects: what is parsed, and what makes no sense. A machine may print anything."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.errors import WorldUnreadable
from swarmctl.kinds.base import ChangeKind, ResourceType
from swarmctl.kinds.host_baseline.aspects.base import failure
from swarmctl.kinds.host_baseline.aspects.kernel import KERNEL
from swarmctl.kinds.host_baseline.aspects.mounts import MOUNTS
from swarmctl.kinds.host_baseline.aspects.sysctl import SYSCTL
from swarmctl.kinds.host_baseline.aspects.time import TIME
from swarmctl.kinds.host_baseline.aspects.upgrades import UPGRADES
from swarmctl.kinds.host_baseline.aspects.users import USERS
from swarmctl.kinds.host_baseline.reading import FIELDS, LIMIT, Seen, parse


def coded(text: str) -> str:
    return "=" + base64.b64encode(text.encode()).decode()


def read(*lines: str) -> Seen:
    return parse("\n".join([*lines, "end", ""]).encode(), "n1")


@given(st.binary(max_size=400))
def test_anything_is_parsed_or_told(output: bytes) -> None:
    with contextlib.suppress(WorldUnreadable):
        parse(output, "n1")


@given(st.lists(st.tuples(st.sampled_from(sorted(FIELDS)), st.text(max_size=40)), max_size=20))
def test_what_is_printed_is_what_is_read(lines: list[tuple[str, str]]) -> None:
    text = [f"{word}\tb" + f"\t{coded(value)}" * FIELDS[word] for word, value in lines]
    seen = read(*text)
    for word in FIELDS:
        expected = [[value] * FIELDS[word] for one, value in lines if one == word]
        if word != "record":
            assert [list(line) for line in seen.of(word, "b")] == expected


@pytest.mark.parametrize(
    "line", ["swap\tb\t0", "swap\t../b\t0\t0\tyes", "none\tb", "record\tb\t=%", "x", "swap\tb\t0\t0\tyes\t1", "\t"]
)
def test_lines_that_the_script_does_not_write_are_told(line: str) -> None:
    with pytest.raises(WorldUnreadable, match="the baseline of n1 cannot be read"):
        read(line)


def test_an_answer_that_broke_off_or_is_too_long_is_told() -> None:
    with pytest.raises(WorldUnreadable, match="broke off"):
        parse(b"record\tb\tswap\n", "n1")
    with pytest.raises(WorldUnreadable, match="MiB"):
        parse(b"x" * (LIMIT + 1), "n1")


KEY = "ssh-ed25519 AAAABBBBCCCCDDDD a"
BASE = {"node": "n1", "baseline": "b", "machine": "m", "host": {"node": "n1"}}


def test_sysctl_tells_what_is_in_force_and_else_what_the_next_start_makes_of_it() -> None:
    rows = [("a.b", "1", "1\n"), ("a.c", "4\t5", "4\t5\n"), ("a.d", "2", "9\n"), ("a.e", "7", "3")]
    seen = read(*(f"sysctl\tb\t{key}\t{coded(filed)}\t{coded(live)}" for key, filed, live in rows))
    declared = {"a.b": "1", "a.c": "4 5", "a.d": "2", "a.e": "3", "a.f": "1"}
    found = SYSCTL.observe(seen, {**BASE, "values": declared})
    told = {"a.b": "1", "a.c": "4 5", "a.d": "9 (2 after a restart)", "a.e": "3 (7 after a restart)"}
    assert found == {"values": told}
    assert SYSCTL.observe(seen, {**BASE, "values": {}}) == found, "whatever is declared next differs from it"


def test_users_are_read_with_their_rule_and_their_keys() -> None:
    keys = coded("key b\n\n key a \nkey a\n")
    rule = coded("ops ALL=(ALL:ALL) NOPASSWD: ALL\n")
    seen = read(f"user\tb\tops\t{coded('/bin/sh')}\t{rule}\t{keys}")
    user = {"sudo": True, "shell": "/bin/sh", "authorizedKeys": ["key a", "key b"]}
    assert USERS.observe(seen, {**BASE, "users": {}}) == {"users": {"ops": user}}
    login = {**BASE, "host": {"node": "n1", "user": "ops"}, "users": {"ops": {"authorizedKeys": ["key b"]}}}
    assert USERS.observe(seen, login)["users"]["ops"]["authorizedKeys"] == ["key b"], "its other keys are its own"


def test_kernel_parameters_are_those_of_our_line_alone() -> None:
    line = coded('GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX iommu=pt hugepagesz=1G"\n')
    assert KERNEL.observe(read(f"kernel\tb\t{line}\t="), BASE) == {"parameters": ["iommu=pt", "hugepagesz=1G"]}
    other = coded('GRUB_CMDLINE_LINUX="$(rm -rf /)"\n')
    assert KERNEL.observe(read(f"kernel\tb\t{other}\t="), BASE) == {"parameters": []}


def test_of_chrony_all_sources_are_told_and_of_timesyncd_the_last_line() -> None:
    chrony = coded("# x\nserver a iburst\npool b\npeer c\nmakestep 1 3\n")
    assert TIME.observe(read(f"time\tb\tchronyd\tyes\t{chrony}"), BASE) == {"servers": ["a", "b", "c"], "running": True}
    other = coded("[Time]\nNTP=\nNTP=a b\nFallbackNTP=\n")
    found = TIME.observe(read(f"time\tb\tsystemd-timesyn\tno\t{other}"), BASE)
    assert found == {"servers": ["a", "b"], "running": False}


def test_mounts_tell_what_stands_in_their_place() -> None:
    def row(source: str, kind: str, flags: str, whose: str = "ours") -> Seen:
        as_said = "yes" if source == "/dev/sdb1" else "no"
        line = "noatime,nofail,x-swarmctl.b"
        fields = ("/s", "LABEL=s", "ext4", line, as_said, f"{source} {kind} {flags}\n", whose, "")
        return read("mount\tb\t" + "\t".join(map(coded, fields)))

    whole = {"device": "LABEL=s", "type": "ext4", "options": ["noatime", "nofail"]}
    assert MOUNTS.observe(row("/dev/sdb1", "ext4", "rw,noatime"), BASE) == {"mounts": {"/s": whole}}
    assert (
        MOUNTS.observe(row("/dev/sdc1", "ext4", "noatime"), BASE)["mounts"]["/s"]["device"]
        == "/dev/sdc1 (LABEL=s in /etc/fstab)"
    )
    assert (
        MOUNTS.observe(row("/dev/sdb1", "xfs", "noatime"), BASE)["mounts"]["/s"]["type"] == "xfs (ext4 in /etc/fstab)"
    )
    options = MOUNTS.observe(row("/dev/sdb1", "ext4", "rw,relatime"), BASE)["mounts"]["/s"]["options"]
    assert options == ["noatime (not in force)", "nofail"]
    assert MOUNTS.observe(row("", "", "", "theirs"), BASE) == {"mounts": {}}
    theirs = MOUNTS.observe(row("/dev/sdb1", "ext4", "rw,noatime", "theirs"), BASE)
    assert theirs == {"mounts": {"/s": whole}, "theirs": ["/s"]}
    assert not MOUNTS.diff({**BASE, **theirs}, {**BASE, "mounts": {"/s": whole}}), "it is as declared"


def test_upgrades_are_what_apt_makes_of_all_files() -> None:
    dump = (
        'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
        'Unattended-Upgrade::Package-Blacklist "";\nUnattended-Upgrade::Package-Blacklist:: "nvidia-";\n'
        'Unattended-Upgrade::Automatic-Reboot "true";\nUnattended-Upgrade::Automatic-Reboot-Time "04:30";\nnoise\n'
    )
    inputs = {**BASE, "automatic": True, "excluded": ["nvidia-", "cuda-"]}
    found = UPGRADES.observe(read(f"upgrades\tb\tyes\tyes\t{coded(dump)}"), inputs)
    assert found == {"automatic": True, "reboot": "04:30", "excluded": ["nvidia-"]}
    assert UPGRADES.observe(read(f"upgrades\tb\tyes\tno\t{coded(dump)}"), inputs)["automatic"] == "in part"
    for declared in (True, False):
        found = UPGRADES.observe(read(f"upgrades\tb\tno\tyes\t{coded(dump)}"), {**inputs, "automatic": declared})
        assert found["automatic"] == "in part", "by hand, and nothing does it: neither is so, whichever comes next"
    assert UPGRADES.items({**BASE, **found})["security upgrades"] == "in part"
    off = dump.replace('Unattended-Upgrade "1"', 'Unattended-Upgrade "0"')
    assert UPGRADES.observe(read(f"upgrades\tb\tyes\tyes\t{coded(off)}"), inputs)["automatic"] is False
    assert UPGRADES.observe(read(), inputs) == {"automatic": False, "reboot": "never", "excluded": []}


def test_what_a_script_refuses_is_told_in_its_words_and_bounded() -> None:
    error = failure("n1", "swap", 3, b"noise\n@refused\tno \x1b[31mswap\t\xffmend it\n")
    assert (error.message, error.hint) == ("n1: no ?[31mswap", "\ufffdmend it")
    assert len(failure("n1", "swap", 1, b"x" * 100_000).message) < 600


@pytest.mark.parametrize(
    ("kind", "old", "new", "effects", "impact"),
    [
        (SYSCTL, {"values": {"a.b": "1", "a.c": "1"}}, {"values": {"a.b": "2", "a.d": "1"}},
         ["~ sysctl a.b: 1 → 2", "- sysctl a.c: 1", "+ sysctl a.d: 1"], ""),
        (KERNEL, None, {"parameters": ["iommu=pt"]}, ["+ kernel parameters: iommu=pt"],
         "n1 has to be restarted for its kernel parameters; nothing restarts it"),
        (USERS, {"users": {"ops": {"sudo": True, "shell": "/bin/sh", "authorizedKeys": [KEY]}}}, None,
         ["- user ops, key ssh-ed25519 …BBBBCCCCDDDD a", "- user ops: sudo, /bin/sh"],
         "ops cannot log in any more, where the baseline made it; homes stay"),
        (MOUNTS, {"mounts": {"/s": {"device": "LABEL=a", "type": "ext4", "options": ["nofail"]}}}, {"mounts": {}},
         ["- mount /s: LABEL=a, ext4, nofail"], "unmounts /s"),
        (UPGRADES, None, {"automatic": True, "reboot": "04:30", "excluded": ["nvidia-"]},
         ["+ security upgrades, never of: nvidia-*", "+ security upgrades, restart: 04:30",
          "+ security upgrades: every day"],
         "n1 restarts by itself at 04:30 after upgrades that need it"),
    ],
)  # fmt: skip
def test_plan_says_what_lands_and_what_it_disrupts(
    kind: ResourceType, old: dict[str, object] | None, new: dict[str, object] | None, effects: list[str], impact: str
) -> None:
    signs = {ChangeKind.ADD: "+", ChangeKind.UPDATE: "~", ChangeKind.DELETE: "-"}
    before, after = ({**BASE, **it} if it is not None else None for it in (old, new))
    assert sorted(f"{signs[it.action]} {it.text}" for it in kind.effects(before, after)) == sorted(effects)
    assert kind.impact(before, after).text == impact
