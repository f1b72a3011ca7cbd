"""The program that moves networks between peers, on this machine's own shells; `wg` and `ping` are stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from swarmctl.kinds.mesh import failover_table as tables

SHELLS = [pytest.param(shell, marks=pytest.mark.slow) for shell in ("bash", "dash") if shutil.which(shell)] + ["sh"]
AGENT = Path(tables.__file__).with_name("failover.sh")
WHOLE = ["10.88.0.0/16", "fd88::/64"]
PING = """\
for address; do :; done
if [ -e "{folder}/left/$address" ]; then
  read -r count <"{folder}/left/$address"
  echo $((count - 1)) >"{folder}/left/$address"
  [ $count -gt 0 ]
elif [ -e "{folder}/late/$address" ]; then
  read -r count <"{folder}/late/$address"
  echo $((count - 1)) >"{folder}/late/$address"
  [ $count -le 0 ]
elif [ -e "{folder}/often/$address" ]; then
  read -r count <"{folder}/often/$address"
  echo $((count + 1)) >"{folder}/often/$address"
  [ $((count % 10)) -lt 9 ]
elif [ -e "{folder}/rarely/$address" ]; then
  read -r count <"{folder}/rarely/$address"
  echo $((count + 1)) >"{folder}/rarely/$address"
  [ $((count % 3)) -eq 0 ]
else
  [ -e "{folder}/alive/$address" ]
fi
"""
SLEEP = "exec {sleep} 0.02\n"
WG = """\
case $1 in
  show) exec cat "{folder}/peers" ;;
  addconf) exec "{python}" -c '
import pathlib, sys
file = pathlib.Path("{folder}/peers")
peers = dict(line.split("\\t") for line in file.read_text().splitlines())
peers = {{key: nets.split() for key, nets in peers.items()}}
for section in pathlib.Path(sys.argv[1]).read_text().split("[Peer]\\n")[1:]:
    fields = dict(line.split(" = ") for line in section.splitlines())
    nets = [net for net in fields["AllowedIPs"].split(",") if net]
    peers = {{key: [net for net in old if net not in nets] for key, old in peers.items()}}
    peers[fields["PublicKey"]] = nets
    print(fields, file=open("{folder}/sets", "a"))
new = file.with_name("peers.new")
new.write_text("".join(key + "\\t" + " ".join(nets) + "\\n" for key, nets in peers.items()))
new.rename(file)
' "$3" ;;
esac
"""


class Node:
    """A node with an agent, up to fifty rounds a second instead of one."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder = folder
        self.shell = shell
        (folder / "bin").mkdir()
        (folder / "alive").mkdir()
        for name in ("rarely", "often", "left", "late"):
            (folder / name).mkdir()
        words = {"folder": folder, "sleep": shutil.which("sleep"), "python": shutil.which("python3")}
        for name, script in (("ping", PING), ("sleep", SLEEP), ("wg", WG)):
            program = folder / "bin" / name
            program.write_text("#!/bin/sh\n" + script.format(**words))
            program.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.shell, str(AGENT), str(self.folder / "table"), str(self.folder / "run" / "wg0"), "v1"],
                env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(5)
            self.process = None

    def table(self, text: str) -> None:
        (self.folder / "table.new").write_text(text)
        (self.folder / "table.new").rename(self.folder / "table")

    def peers(self, **peers: Sequence[str]) -> None:
        new = self.folder / "peers.new"
        new.write_text("".join(f"{key}\t{' '.join(nets)}\n" for key, nets in peers.items()))
        new.rename(self.folder / "peers")

    def having(self) -> Mapping[str, list[str]]:
        lines = (line.split("\t") for line in (self.folder / "peers").read_text().splitlines())
        return {key: nets.split() for key, nets in lines}

    def alive(self, *addresses: str) -> None:
        for file in (self.folder / "alive").iterdir():
            if file.name not in addresses:
                file.unlink()
        for address in addresses:
            (self.folder / "alive" / address).touch()

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def state(self) -> list[str]:
        file = self.folder / "run" / "wg0"
        return file.read_text().splitlines() if file.exists() else []


def soon(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def candidate(number: int, *networks: str) -> dict[str, object]:
    return {
        "name": f"hub-{number}",
        "publicKey": f"KEY{number}",
        "address": f"10.88.0.{number}",
        "allowedIps": list(networks),
        "persistentKeepalive": 25 * number,
    }


HUBS = (candidate(0, *WHOLE), candidate(1, "10.88.0.1/32", "fd88::1/128"), candidate(2, "10.88.0.2/32"))
ALL = ("10.88.0.0", "10.88.0.1", "10.88.0.2")
TABLE = tables.render("wg0", [{"networks": WHOLE, "via": HUBS}])
START: dict[str, Sequence[str]] = {
    "KEY0": WHOLE,
    "KEY1": ["10.88.0.1/32", "fd88::1/128"],
    "KEY2": ["10.88.0.2/32"],
    "OTHER": ["10.88.0.9/32"],
}
ON_ONE = {
    "KEY0": ["10.88.0.0/32"],
    "KEY1": ["10.88.0.1/32", "fd88::1/128", *WHOLE],
    "KEY2": ["10.88.0.2/32"],
    "OTHER": ["10.88.0.9/32"],
}


@pytest.fixture(params=SHELLS)
def node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    node = Node(tmp_path, request.param)
    node.table(TABLE)
    node.peers(**START)
    node.alive(*ALL)
    try:
        yield node
    finally:
        node.stop()


def test_networks_go_to_the_next_that_lives_and_come_back(node: Node) -> None:
    node.start()
    assert soon(lambda: node.state()[1:] == ["active 1 hub-0"])
    assert node.state()[0].split()[:2] == ["agent", "v1"]
    node.alive(*ALL[1:])
    assert soon(lambda: node.having() == ON_ONE)
    assert soon(lambda: node.state()[1:] == ["active 1 hub-1"])
    assert "10.88.0.0/16,fd88::/64 from hub-0 to hub-1: hub-0 does not answer" in node.log()
    node.alive(ALL[2])
    assert soon(lambda: WHOLE[0] in node.having()["KEY2"])
    node.alive(ALL[1], ALL[2])
    assert soon(lambda: node.having() == ON_ONE)
    node.alive(*ALL)
    assert soon(lambda: node.having() == START)
    sets = (node.folder / "sets").read_text()
    assert "OTHER" not in sets
    assert "'PersistentKeepalive': '25'" in sets


def test_nothing_moves_while_nobody_answers(node: Node) -> None:
    node.start()
    assert soon(lambda: "watching wg0" in node.log())
    node.alive()
    time.sleep(0.3)
    assert node.having() == START
    node.alive(ALL[1])  # only then it is known that this one died
    assert soon(lambda: node.having() == ON_ONE)
    node.alive()
    time.sleep(0.3)
    assert node.having() == ON_ONE


def test_an_answer_after_two_misses_keeps_a_candidate(node: Node) -> None:
    count = node.folder / "rarely" / ALL[0]
    count.write_text("0\n")
    node.start()
    assert soon(lambda: int(count.read_text() or 0) >= 12)
    assert node.having() == START


@pytest.mark.parametrize(("misses", "moved"), [(7, False), (8, True)])
def test_a_candidate_whose_first_answer_is_late_is_waited_for(node: Node, misses: int, moved: bool) -> None:
    """As with tunnels whose ends began at once: WireGuard tries again after 5 s."""
    late = node.folder / "late" / ALL[0]
    late.write_text(f"{misses}\n")
    node.start()
    assert soon(lambda: int(late.read_text() or 0) <= -2)
    assert ("from hub-0 to hub-1" in node.log()) is moved
    late.unlink()
    node.alive(*ALL[1:])
    assert soon(lambda: node.having() == ON_ONE)


def test_one_that_has_answered_is_dead_after_three_misses(node: Node) -> None:
    left = node.folder / "left" / ALL[0]
    left.write_text("2\n")
    node.start()
    assert soon(lambda: node.having() == ON_ONE)
    assert -6 < int(left.read_text() or 0) <= -1


def test_nine_answers_in_a_row_bring_nothing_back(node: Node) -> None:
    node.alive(*ALL[1:])
    node.start()
    assert soon(lambda: node.having() == ON_ONE)
    count = node.folder / "often" / ALL[0]
    count.write_text("0\n")
    assert soon(lambda: int(count.read_text() or 0) >= 25)
    assert node.having() == ON_ONE
    assert "answers again" not in node.log()
    count.unlink()
    node.alive(*ALL)
    assert soon(lambda: node.having() == START)


def test_who_just_missed_is_not_chosen(node: Node) -> None:
    """The second dies one second after the first: when the first counts as dead, the second does not yet."""
    for number, address in enumerate(ALL[:2], start=5):
        (node.folder / "left" / address).write_text(f"{number}\n")
    node.start()
    assert soon(lambda: WHOLE[0] in node.having()["KEY2"])
    assert "from hub-0 to hub-2: hub-0 does not answer" in node.log()
    assert "hub-1" not in node.log()


def test_who_gains_networks_is_given_them_before_they_are_taken_from_the_other(node: Node) -> None:
    node.start()
    assert soon(lambda: node.state()[1:] == ["active 1 hub-0"])
    node.alive(*ALL[1:])
    assert soon(lambda: node.having() == ON_ONE)
    node.alive(*ALL)
    assert soon(lambda: node.having() == START)
    sets = (node.folder / "sets").read_text().splitlines()
    assert [line.split("'PublicKey': '")[1][:4] for line in sets] == ["KEY1", "KEY0", "KEY0", "KEY1"]


def test_it_goes_on_where_an_earlier_one_ended(node: Node) -> None:
    node.peers(**ON_ONE)
    node.alive(*ALL[1:])
    node.start()
    assert soon(lambda: node.state()[1:] == ["active 1 hub-1"])
    node.stop()
    node.alive(*ALL)
    node.start()
    assert soon(lambda: node.having() == START)
    assert soon(lambda: not (node.folder / "run" / "wg0.conf").exists())


def test_a_new_table_holds_at_once(node: Node) -> None:
    node.alive(*ALL[1:])
    node.start()
    assert soon(lambda: node.having() == ON_ONE)
    node.table(tables.render("wg0", [{"networks": WHOLE, "via": (HUBS[2], HUBS[1])}]))
    assert soon(lambda: WHOLE[0] in node.having()["KEY2"])
    assert node.having()["KEY1"] == ["10.88.0.1/32", "fd88::1/128"]


def test_without_a_whole_table_nothing_is_done(node: Node) -> None:
    node.table(TABLE.removesuffix("end\n"))
    node.alive(*ALL[1:])
    node.start()
    assert soon(lambda: bool(node.state()))
    time.sleep(0.2)
    (node.folder / "table").unlink()
    time.sleep(0.2)
    assert node.having() == START
    node.table(TABLE)
    assert soon(lambda: node.having() == ON_ONE)


def test_networks_that_somebody_else_moved_are_left_there(node: Node) -> None:
    elsewhere = {**START, "KEY0": ["10.88.0.0/32"], "NEW": WHOLE}  # such as the same hub with a new key
    node.peers(**elsewhere)
    node.alive(*ALL[1:])
    node.start()
    assert soon(lambda: "watching wg0" in node.log())
    time.sleep(0.2)
    assert node.having() == elsewhere


def test_networks_that_were_put_with_a_dead_candidate_are_taken_from_it_again(node: Node) -> None:
    node.alive(*ALL[1:])
    node.start()
    assert soon(lambda: node.having() == ON_ONE)
    node.peers(**START)
    assert soon(lambda: node.having() == ON_ONE)
    assert "back to hub-1, where they were" in node.log()


def test_a_candidate_that_is_no_peer_gets_nothing(node: Node) -> None:
    node.peers(**{key: nets for key, nets in START.items() if key != "KEY1"})
    node.alive(*ALL[1:])
    node.start()
    assert soon(lambda: WHOLE[0] in node.having()["KEY2"])
    assert "KEY1" not in node.having()


def test_groups_that_share_candidates_are_judged_each(node: Node) -> None:
    east, west = ["10.88.1.0/24"], ["10.88.2.0/24"]
    hubs = (candidate(0, "10.88.0.0/32", *east), candidate(1, "10.88.0.1/32", *west), candidate(2, "10.88.0.2/32"))
    node.table(
        tables.render(
            "wg0",
            [{"networks": east, "via": (hubs[0], hubs[1], hubs[2])}, {"networks": west, "via": (hubs[1], hubs[2])}],
        )
    )
    start = {"KEY0": ["10.88.0.0/32", *east], "KEY1": ["10.88.0.1/32", *west], "KEY2": ["10.88.0.2/32"]}
    node.peers(**start)
    node.start()
    assert soon(lambda: node.state()[1:] == ["active 1 hub-0", "active 2 hub-1"])
    node.alive(ALL[1], ALL[2])
    assert soon(lambda: node.having() == {**start, "KEY0": ["10.88.0.0/32"], "KEY1": ["10.88.0.1/32", *east, *west]})
    node.alive(ALL[2])
    assert soon(lambda: node.having()["KEY2"] == ["10.88.0.2/32", *east, *west])
    node.alive(*ALL)
    assert soon(lambda: node.having() == start)
