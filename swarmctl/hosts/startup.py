"""What a machine has by itself after a restart: its firewall before its network, its mesh next. Pure: no I/O.

Everything is a file of root's in one folder, and two units of systemd's run one program over it (`startup_script`):

- `firewall.nft`: the table, as one transaction of nft's.
- `NAME.interface`: a WireGuard interface in the lines that `guard_script` writes of one; of its key the path.
- `NAME.peers`: its peers, a line each; of a preshared key the path.
- `NAME.turn`: a folder with such files, while the keys of its mesh are turned; see `kinds.mesh.rotation.restart`.

The resources that set up the firewall, an interface and its peers each keep their own file, and what all of them share,
as their declarations say: what is measured is its digest. Machines that systemd doesn't run have none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from shlex import quote

from swarmctl.hosts.guard import heredoc
from swarmctl.hosts.startup_script import PROGRAM as _PROGRAM

FOLDER = "/etc/swarmctl/startup"
PROGRAM = f"{FOLDER}/start.sh"
FIREWALL = f"{FOLDER}/firewall.nft"
PROPERTY = "startup"
"""The measured input that is there only when something is wrong: one of"""
GONE, ANOTHER = "gone", "another"
ON_SYSTEMD = "systemd runs"
"""Said by `TELL` where there is something to keep."""
TELL = f'if [ -d /run/systemd/system ]; then echo "{ON_SYSTEMD}"; fi\n'
UNITS = "/etc/systemd/system"
"""Where units are."""
_PEERS = ".peers"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
_LINE = re.compile(
    r"(?P<digest>[0-9a-f]{64})  (?P<path>/etc/(?:swarmctl/[a-z]{1,9}|systemd/system(?:/[a-z-]+\.target\.wants)?)"
    r"/[a-z][a-z0-9-]{0,30}\.[a-z]{1,9})"
)

# Others that fill nftables at the start begin with taking everything out of it.
_FIREWALL_UNIT = f"""\
[Unit]
Description=Firewall of swarmctl
DefaultDependencies=no
RequiresMountsFor={FOLDER}
Wants=network-pre.target
After=local-fs.target systemd-modules-load.service nftables.service netfilter-persistent.service ufw.service
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {PROGRAM} firewall
[Install]
WantedBy=sysinit.target
"""
_MESH_UNIT = f"""\
[Unit]
Description=Mesh of swarmctl
RequiresMountsFor={FOLDER}
After=swarmctl-firewall.service network-pre.target systemd-sysctl.service
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=180
ExecStart=/bin/sh {PROGRAM} mesh
[Install]
WantedBy=multi-user.target
"""
_UNIT_FILES = {
    f"{UNITS}/swarmctl-firewall.service": _FIREWALL_UNIT,
    f"{UNITS}/swarmctl-mesh.service": _MESH_UNIT,
}
_LINKS = {
    f"{UNITS}/sysinit.target.wants/swarmctl-firewall.service": f"{UNITS}/swarmctl-firewall.service",
    f"{UNITS}/multi-user.target.wants/swarmctl-mesh.service": f"{UNITS}/swarmctl-mesh.service",
}
"""What enables a unit, and where it leads."""


def reading(paths: Iterable[str]) -> str:
    """The script whose output `parse` takes."""
    return f"""
if [ -d /run/systemd/system ]; then
  echo '{ON_SYSTEMD}'
  sha256sum {" ".join(paths)} 2>/dev/null
fi
"""


READ = reading([f"{FOLDER}/*", *_UNIT_FILES, *_LINKS])
"""For `hosts.reading`."""


def parse(part: str) -> dict[str, str] | None:
    """What such a script printed: SHA-256 by path; None where systemd doesn't run the machine."""
    first, *rest = part.strip().splitlines() or [""]
    if first != ON_SYSTEMD:
        return None
    return {found["path"]: found["digest"] for found in map(_LINE.fullmatch, rest) if found}


def interface(name: str) -> str:
    """The file of an interface. Raises ValueError for what can be none's name."""
    return f"{FOLDER}/{_checked(name)}.interface"


def peers(name: str) -> str:
    """The file of its peers. Raises ValueError for what can be none's name."""
    return f"{FOLDER}/{_checked(name)}{_PEERS}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of an interface: {name!r}")
    return name


def wrong(found: Mapping[str, str] | None, path: str, text: str) -> str:
    """What is wrong with a file and with what brings it back: `GONE`, `ANOTHER`, or nothing."""
    return differs(found, _wanted(path, text))


def differs(found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> str:
    """The same of files, by path, that together bring something back; a link is as what it leads to."""
    if found is None:
        return ""
    digests = [(found.get(at), _digest(text)) for at, text in wanted.items()]
    if any(it is None for it, _ in digests):
        return GONE
    return ANOTHER if any(it != wanted for it, wanted in digests) else ""


def mended(what: str, how: object) -> str:
    """What a plan says of something that is wrong; `how`: `GONE` or `ANOTHER`, else nothing is said."""
    if how == GONE:
        return f"{what} would not come back by itself after a restart, and will"
    return f"{what} would come back after a restart as it was before, and will as it is" if how == ANOTHER else ""


def put(found: Mapping[str, str] | None, path: str, text: str) -> str:
    """The script that writes what is wrong; empty when all is right, or nothing is to be kept."""
    script = write(found, FOLDER, _wanted(path, text), _LINKS)
    if script and (found or {}).get(path) != _digest(text) and path.endswith(_PEERS):
        # What is declared anew is what the interface has now, also in the middle of a turn of keys.
        name = path.rpartition("/")[2]
        script += f"rm -f {FOLDER}/{quote(name.removesuffix(_PEERS))}.turn/{quote(name)}\n"
    return script


def write(found: Mapping[str, str] | None, folder: str, wanted: Mapping[str, str], links: Mapping[str, str]) -> str:
    """The script that writes those of `wanted` that are wrong, in `folder` or among systemd's units; see `put`.

    `links` are what enables a unit, and where it leads.
    """
    if found is None:
        return ""
    missing = {at: it for at, it in wanted.items() if found.get(at) != _digest(it)}
    if not missing:
        return ""
    lines = [f"mkdir -p {folder}\nchmod 0700 {folder}\n", _WRITE]
    for at, it in missing.items():
        if at in links:
            lines.append(f"mkdir -p {quote(at.rpartition('/')[0])}\nln -sfnT {quote(links[at])} {quote(at)}\n")
        else:
            lines.append(heredoc(f"write {quote(at)} {'0644' if at.startswith(UNITS) else '0600'}", it))
    if any(at.startswith(UNITS) for at in missing):
        lines.append("systemctl daemon-reload\n")
    return "".join(lines)


_WRITE = """\
write() {
  (umask 077; cat >"$1.new")
  chmod "$2" "$1.new"
  sync "$1.new"
  mv -fT "$1.new" "$1"
}
"""


def remove(found: Mapping[str, str] | None, paths: Iterable[str]) -> str:
    """The script that removes files, and with the last one of a kind what brings it back; empty when none is there."""
    there = [path for path in paths if found and path in found]
    if not there:
        return ""
    firewall, mesh = (" ".join([unit, link]) for unit, link in zip(_UNIT_FILES, _LINKS, strict=True))
    return f"""\
rm -f {" ".join(map(quote, there))}
[ -e {FIREWALL} ] || rm -f {firewall}
if ! ls {FOLDER}/*.interface {FOLDER}/*.peers >/dev/null 2>&1; then rm -f {mesh}; fi
if [ ! -e {" ] && [ ! -e ".join(_UNIT_FILES)} ]; then rm -rf {FOLDER}; fi
systemctl daemon-reload
"""


def _wanted(path: str, text: str) -> dict[str, str]:
    unit, link = list(zip(_UNIT_FILES, _LINKS, strict=True))[path != FIREWALL]
    return {path: text, PROGRAM: _PROGRAM, unit: _UNIT_FILES[unit], link: _UNIT_FILES[unit]}


@cache
def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
