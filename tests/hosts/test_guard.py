"""What guards a change on a node, run by real shells with `wg`, `nft` and `ip` that keep what they are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.hosts import guard
from swarmctl.hosts.guard import Change, Pending
from swarmctl.hosts.guard_script import TABLE
from swarmctl.mesh import firewall
from tests.hosts.guarding import NFT, OLD, Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    made.watch()
    yield made
    made.end()


def test_the_table_is_the_firewalls() -> None:
    assert f"{firewall.FAMILY} {firewall.TABLE}" == TABLE


def test_a_change_that_nobody_confirms_is_undone_by_the_node_alone(node: Node) -> None:
    assert node.firewall("new") == "guarded\n"
    assert node.table == "new\n"
    assert node.pending
    node.up(1009)
    node.soon()
    assert node.table == OLD
    assert guard.Answer("none", ("firewall",)) == node.confirm()


def test_a_confirmed_change_stays(node: Node) -> None:
    node.firewall("new")
    assert node.confirm().word == "confirmed"
    assert not node.pending
    node.up(5000)
    time.sleep(0.4)
    assert node.table == "new\n"
    assert sorted(path.name for path in node.folder.iterdir()) == ["change", "lock", "watcher"]


def test_putting_it_off_counts_from_now(node: Node) -> None:
    node.firewall("new")
    node.up(1008)
    assert node.rearm().word == "armed"
    node.up(1010)
    time.sleep(0.4)
    assert node.table == "new\n"
    node.up(1018)
    node.soon()
    assert node.table == OLD
    assert node.rearm() == guard.Answer("none", ("firewall",))
    assert node.rearm(8) == guard.Answer("none"), "what was undone was another run's"


def test_another_run_neither_confirms_it_nor_puts_it_off(node: Node) -> None:
    node.firewall("new")
    assert node.confirm(8).word == node.rearm(8).word == "other"
    assert node.pending


def test_several_changes_are_undone_to_where_they_began(node: Node) -> None:
    node.firewall("new")
    node.firewall("newer", token=8)
    assert node.undo() == guard.Answer("undone", ("firewall",))
    assert node.table == OLD
    assert node.undo().word == "none"


def test_after_a_restart_the_deadline_still_counts_and_what_is_gone_comes_back(node: Node) -> None:
    node.change("peers.wg0", 'echo >"$W/wg0"\n')
    node.boot("second", 3)
    node.watch()
    time.sleep(0.4)
    assert node.pending
    node.up(10)
    node.soon()
    assert node.table == OLD, "it was not changed, and is gone"
    assert "PublicKey = KEYA" in (node.root / "added").read_text()


def test_a_clock_that_is_behind_after_a_restart_keeps_it_no_longer_than_the_whole_span(node: Node) -> None:
    node.firewall("new")
    words = (node.folder / "deadline").read_text().split()
    (node.folder / "deadline").write_text(" ".join([*words[:-1], str(int(words[-1]) + 100_000)]) + "\n")
    node.boot("second", 11)
    node.watch()
    node.soon()
    assert node.table == OLD


def test_a_clock_that_jumps_neither_hurries_nor_stops_it(node: Node) -> None:
    node.firewall("new")
    words = (node.folder / "deadline").read_text().split()
    for jump in (-100_000, 100_000):
        (node.folder / "deadline").write_text(" ".join([*words[:-1], str(int(words[-1]) + jump)]) + "\n")
        time.sleep(0.4)
        assert node.pending
    node.up(1009)
    node.soon()


def test_peers_come_back_with_all_their_fields_and_strangers_go(node: Node) -> None:
    script = "printf 'KEYC\\t(none)\\t(none)\\t(none)\\t0\\t0\\t0\\toff\\n' >>\"$W/wg0\"\n"
    node.change("peers.wg0", script)
    kept = node.folder / "touched/peers.wg0"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == node.folder.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE" not in kept.read_text()
    assert node.undo() == guard.Answer("undone", ("peers.wg0",))
    assert "KEYC" not in (node.root / "wg0").read_text()
    added = (node.root / "added").read_text()
    assert "PresharedKey = SHARED\nAllowedIPs = 10.0.0.2/32\nEndpoint = 1.2.3.4:5\nPersistentKeepalive = 25" in added
    assert f"PresharedKey = {'A' * 43}=\nAllowedIPs = \nPersistentKeepalive = off" in added


def test_an_interface_comes_back_with_its_addresses_and_mtu(node: Node) -> None:
    (node.root / "addresses").write_text("2: wg0 inet 10.0.0.1/16 scope global wg0\n")
    node.change("interface.wg0", "echo '2: wg0 inet 10.9.9.9/16 scope global wg0' >\"$W/addresses\"\n")
    assert node.undo() == guard.Answer("undone", ("interface.wg0",))
    assert [line.split()[3] for line in (node.root / "addresses").read_text().splitlines()] == ["10.0.0.1/16"]
    assert "link set dev wg0 mtu 1420" in (node.root / "said").read_text()


def test_a_file_comes_back_or_goes_again(node: Node, tmp_path: Path) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.write_text("old")
    script = f"echo >{there}; echo >{new}\n"
    node.change("peers.wg0", script, there=str(there), new=str(new))
    assert set(node.undo().parts) == {"file.there", "file.new", "peers.wg0"}
    assert there.read_text() == "old"
    assert not new.exists()


def test_what_cannot_be_brought_back_is_tried_again(node: Node) -> None:
    node.firewall("new")
    (node.root / "broken").touch()
    assert node.undo() == guard.Answer("failed", ("firewall",))
    assert node.pending
    (node.root / "broken").unlink()
    assert node.undo().word == "undone"
    assert node.table == OLD


def test_an_undo_that_was_killed_is_done_again(node: Node) -> None:
    node.firewall("new")
    (node.root / "bin/nft").write_text(f"#!/bin/sh\n{NFT}\ncase $* in -f*) kill -9 $PPID ;; esac\n")
    node.run(guard.undo(folder=str(node.folder), proc=str(node.root)), fails=True)
    assert node.pending
    (node.root / "bin/nft").write_text(f"#!/bin/sh\n{NFT}")
    assert node.undo().word == "undone"
    assert node.table == OLD


def test_without_its_timer_nothing_is_changed(tmp_path: Path) -> None:
    node = Node(tmp_path)
    assert node.firewall("new") == "no-timer\n"
    assert node.table == OLD
    assert not node.pending


def test_a_timer_with_nothing_to_watch_ends(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.watch(idle=1)
    assert node.timer is not None
    assert node.timer.wait(5) == 0
    assert not (node.folder / "watcher").exists()


@pytest.mark.parametrize("part", ["", "table", "peers.", "peers.a b", "peers.$(id)", "file.a/b", "firewall;"])
def test_what_is_no_part_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="no part"):
        guard.change(Change(part, 10, ""), 1)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("undone firewall peers.wg0\nmore\n", guard.Answer("undone", ("firewall", "peers.wg0"))),
        ("none \n", guard.Answer("none")),
        ("none firewall $(reboot)\n", guard.Answer("none", ("firewall",))),
        ("", guard.Answer("")),
        ("confirmed\0", guard.Answer("")),
        ("sure, confirmed\n", guard.Answer("")),
    ],
)
def test_answers_are_one_of_few_words(text: str, answer: guard.Answer) -> None:
    assert guard.parse(text) == answer


def test_what_is_pending_is_read_with_the_seconds_that_are_left() -> None:
    deadline = "7 60 boot 1060 2060"
    assert guard.pending(f"1019.20 5.0\nboot\n{deadline}\n", 2000) == Pending(7, 41)
    assert guard.pending(f"4.00 5.0\nother\n{deadline}\n", 2050) == Pending(7, 10)
    assert guard.pending(f"40.00 5.0\nother\n{deadline}\n", 0) == Pending(7, 20)
    assert guard.pending(f"4.00 5.0\nboot\n{deadline}\n9 7 firewall\n", 0) == Pending(7, 1056, ("firewall",))
    assert guard.pending("", 0) is None
    with pytest.raises(ValueError, match="unpack"):
        guard.pending("1.0 1.0\nboot\nnonsense\n", 0)


def test_text_that_holds_its_own_end_is_refused() -> None:
    assert guard.heredoc("nft -f -", "a\n") == "nft -f - <<'SWARMCTL_TEXT'\na\nSWARMCTL_TEXT\n"
    with pytest.raises(ValueError, match="ends it"):
        guard.heredoc("nft -f -", "SWARMCTL_TEXT\nreboot\n")
