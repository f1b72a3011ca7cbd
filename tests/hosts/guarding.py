"""A folder that stands for a node with guarded changes: real shells; `wg`, `nft` and `ip` keep what they are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from swarmctl.hosts import guard
from swarmctl.hosts.guard import Change

SHELL = shutil.which("dash") or "sh"
NFT = """\
case "$*" in
  'list tables') [ ! -s "$W/table" ] || echo 'table inet swarmctl' ;;
  'list table inet swarmctl') [ -s "$W/table" ] && cat "$W/table" ;;
  -f*) [ ! -e "$W/broken" ] && sed 1,2d "${2:-/dev/stdin}" >"$W/table" ;;
esac
"""
WG = """\
case "$1 $2 $3" in
  'show interfaces ') [ ! -e "$W/wg0" ] || echo wg0 ;;
  'show wg0 listen-port') [ -e "$W/wg0" ] && echo 51820 ;;
  'show wg0 fwmark') echo off ;;
  'show wg0 public-key') echo PUBLIC ;;
  'show wg0 dump') printf 'PRIVATE\\tPUBLIC\\t51820\\toff\\n'; cat "$W/wg0" ;;
  'show wg0 peers') cut -f1 "$W/wg0" ;;
  'set wg0 peer') grep -v "^$4" "$W/wg0" >"$W/new"; mv "$W/new" "$W/wg0" ;;
  'addconf wg0 '*) cp "$3" "$W/added" ;;
esac
"""
IP = """\
case "$*" in
  '-o link show dev wg0') echo '2: wg0: <POINTOPOINT,UP,LOWER_UP> mtu 1420 qdisc noqueue \\    alias swarmctl:m' ;;
  '-o addr show dev wg0 scope global') cat "$W/addresses" ;;
  'addr add'*) echo "2: wg0 inet $3 scope" >>"$W/addresses" ;;
  'addr del'*) grep -v " $3 " "$W/addresses" >"$W/new"; mv "$W/new" "$W/addresses" ;;
  *mtu*) echo "$*" >>"$W/said" ;;
esac
"""
PEER = "KEYA\tSHARED\t1.2.3.4:5\t10.0.0.2/32\t0\t0\t0\t25\n"
OTHER = "KEYB\t(none)\t(none)\t(none)\t0\t0\t0\toff\n"
OLD = "table inet swarmctl {\n old\n}\n"


class Node:
    """A folder that stands for a node: its tools, its clocks, its guard."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "guard"
        tools = root / "bin"
        tools.mkdir()
        for name, text in {"nft": NFT, "wg": WG, "ip": IP}.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}")
            (tools / name).chmod(0o755)
        boot = root / "sys/kernel/random/boot_id"
        boot.parent.mkdir(parents=True)
        boot.write_text("first\n")
        self.up(1000)
        (root / "table").write_text(OLD)
        (root / "wg0").write_text(PEER + OTHER)
        (root / "addresses").write_text("2: wg0 inet 10.0.0.1/16 scope global wg0\n")
        self.env = {"PATH": f"{tools}:{os.environ['PATH']}", "W": str(root), "LC_ALL": "C"}
        self.timer: subprocess.Popen[bytes] | None = None

    def up(self, seconds: float) -> None:
        new = self.root / "uptime.new"
        new.write_text(f"{seconds:.2f} 1.00\n")
        new.rename(self.root / "uptime")

    def boot(self, name: str, seconds: float) -> None:
        """The node starts: what only its kernel had is gone."""
        self.end()
        (self.root / "sys/kernel/random/boot_id").write_text(f"{name}\n")
        self.up(seconds)
        (self.root / "table").write_text("")

    def watch(self, idle: int = 600) -> None:
        argv = guard.watch(str(self.folder), str(self.root), idle, 0.1)
        self.timer = subprocess.Popen([SHELL, *argv[1:]], env=self.env)

    def end(self) -> None:
        if self.timer is not None:
            self.timer.kill()
            self.timer.wait()
            self.timer = None

    def run(self, script: str, *, fails: bool = False) -> str:
        done = subprocess.run(
            [SHELL, "-eu", "-s"], input=script, env=self.env, capture_output=True, text=True, timeout=20, check=False
        )
        assert bool(done.returncode) == fails, (done.stdout, done.stderr)
        return done.stdout

    def change(self, part: str, script: str, *, token: int = 7, seconds: int = 10, **files: str) -> str:
        it = Change(part, seconds, script, {f"file.{name}": path for name, path in files.items()})
        return self.run(guard.change(it, token, folder=str(self.folder), proc=str(self.root)))

    def firewall(self, text: str, token: int = 7) -> str:
        return self.change("firewall", f"echo '{text}' >\"$W/table\"\n", token=token)

    def ask(self, script: str) -> guard.Answer:
        return guard.parse(self.run(script))

    def confirm(self, token: int = 7) -> guard.Answer:
        return self.ask(guard.confirm(token, folder=str(self.folder), proc=str(self.root)))

    def rearm(self, token: int = 7, seconds: int = 10) -> guard.Answer:
        return self.ask(guard.rearm(token, seconds, folder=str(self.folder), proc=str(self.root)))

    def undo(self) -> guard.Answer:
        return self.ask(guard.undo(folder=str(self.folder), proc=str(self.root)))

    @property
    def table(self) -> str:
        return (self.root / "table").read_text()

    @property
    def pending(self) -> bool:
        return (self.folder / "deadline").exists()

    def soon(self, seconds: float = 5) -> None:
        """Wait until it has undone its change."""
        end = time.monotonic() + seconds
        while self.pending:
            assert time.monotonic() < end, "it is not undone"
            time.sleep(0.05)
