"""Scripts that change a machine's packages by apt and dpkg. Pure; `carry_out` runs them.

What they have in common: nobody is asked anything (DEBIAN_FRONTEND, configuration files stay as they are), input is
empty, and while another process holds one of the locks they wait, each call at most as long as it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from shlex import join, quote

from swarmctl.hosts.packages.model import NAME
from swarmctl.hosts.packages.work import FILE, LOCK, QUICK, SLOW, Work, folder, some

WANTED = re.compile(rf"{NAME.pattern}(=([0-9]{{1,9}}:)?[A-Za-z0-9.+~-]{{1,200}}\*?)?")
"""A package, with a version or the beginning of one: `nvidia-imex=595.91.07-*`."""
OPTIONS = (
    "-q",
    *("-o", "DPkg::Lock::Timeout=0"),
    *("-o", "Dpkg::Use-Pty=0"),
    *("-o", "Acquire::Retries=2"),
    *("-o", "Acquire::http::Timeout=20"),
    *("-o", "Acquire::https::Timeout=20"),
    *("-o", "Acquire::Languages=none"),
    *("-o", "Dpkg::Options::=--force-confdef"),
    *("-o", "Dpkg::Options::=--force-confold"),
)
EXACT = ("--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages")
"""What is named with its version is to have that version, whether that is newer or older, and held or not."""

# All of it is one command, read whole before it begins: what packages run can't eat the rest of it. What apt says of
# locks is looked for in its own words, since the lock of its lists knows no waiting.
_HEAD = r"""
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true NEEDRESTART_MODE=l UCF_FORCE_CONFFOLD=1
now() { read -r up_ _ </proc/uptime; echo "${up_%%.*}"; }
until_=$(($(now) + WAIT))
locked() {
  case $1 in
    *"Could not get lock"* | *"lock was locked by another process"* | *"is another process using it"*) return 0 ;;
  esac
  return 1
}
waiting() {
  while :; do
    status=0
    { said=$("$@" 2>&1 >&3) || status=$?; } 3>&1
    [ "$status" -ne 0 ] && locked "$said" && [ "$(now)" -lt "$until_" ] || break
    sleep 1
  done
  printf '%s\n' "$said" >&2
  return "$status"
}
"""
# What apt downloads lies under its last name from the first byte on, and where it copies from a folder it does not see
# that the disk is full. So files are fetched beside, and go into their folder when they are whole and on the disk.
_BESIDE = r"""
at=AT
rm -rf "$at/partial"
mkdir -p "$at/partial"
trap 'rm -rf "$at/partial"' EXIT
cd "$at/partial"
listed=$(COMMAND)
"""
_WHOLE = r"""
printf '%s\n' "$listed" | while read -r url_ file size _; do
  has=$(stat -c %s "$file")
  [ "$has" -ne "$size" ] || continue
  left=$(df -B 1 --output=avail . | tail -n 1)
  why=
  [ "$left" -ge "$size" ] || why=': No space left on device'
  printf 'E: %s of %s bytes were written to %s%s\n' "$has" "$size" "$at/$file" "$why" >&2
  exit 1
done
sync -- *.deb
mv -- *.deb ..
"""


def refresh(source: str = "", *, wait: int = LOCK) -> Work:
    """Read the indexes of the repositories anew; of one `source` alone, a file below /etc/apt/sources.list.d."""
    only: tuple[str, ...] = ()
    if source:
        only = ("-o", f"Dir::Etc::sourcelist={folder(source)}", "-o", "Dir::Etc::sourceparts=-")
        only += ("-o", "APT::Get::List-Cleanup=0")
    command = ("apt-get", *OPTIONS, "-o", "APT::Update::Error-Mode=any", *only, "update")
    return _work("reading the repositories", command, wait)


def simulate(wanted: Sequence[str], removing: Iterable[str] = ()) -> Work:
    """Say what `install` would do (`simulation.moves` reads it); changes nothing and needs no lock."""
    return _work("planning an installation", ("apt-get", *OPTIONS, "-s", *EXACT, *_install(wanted, removing)), 0)


def download(wanted: Sequence[str], into: str, *, wait: int = LOCK) -> Work:
    """Fetch the files of these alone, without what they need, into a folder of the machine; what is there is kept.

    They are called as apt calls them: name, version and architecture by underscores, a colon as `%3a`. What is there
    under such a name is whole.
    """
    at = quote(folder(into))
    command = ("apt-get", *OPTIONS, "download", *(_known(one) for one in wanted))
    before = _BESIDE.replace("AT", at).replace("COMMAND", join([*command, "--print-uris"]))
    return _work(f"fetching {some(wanted)}", command, wait, SLOW, before=before, after=_WHOLE)


def install(wanted: Sequence[str], removing: Iterable[str] = (), *, wait: int = LOCK) -> Work:
    """Install these at their versions, up or down, and take `removing` away in the same transaction.

    `wanted` may be paths of files on the machine. What was held is not held any more. Without `removing` nothing may
    be removed at all; with it, ask `simulate` first what else would go.
    """
    gone = list(removing)
    safe = () if gone else ("--no-remove",)
    command = ("apt-get", *OPTIONS, "-y", *EXACT, *safe, *_install(wanted, gone))
    return _work(f"installing {some(wanted)}", command, wait, SLOW)


def hold(names: Sequence[str], *, wait: int = LOCK) -> Work:
    """Keep these at the version they have."""
    return _work(f"holding {some(names)}", ("apt-mark", "hold", *map(_name, names)), wait)


def unhold(names: Sequence[str], *, wait: int = LOCK) -> Work:
    """Let these change again."""
    return _work(f"releasing {some(names)}", ("apt-mark", "unhold", *map(_name, names)), wait)


def remove(names: Sequence[str], *, wait: int = LOCK) -> Work:
    """Remove these and what needs them; configuration files stay. What is not installed is no error."""
    return _gone("remove", names, wait)


def purge(names: Sequence[str], *, wait: int = LOCK) -> Work:
    """The same, configuration files included."""
    return _gone("purge", names, wait)


def mend(*, wait: int = LOCK) -> Work:
    """Finish what dpkg was cut off in."""
    command = ("dpkg", "--force-confdef", "--force-confold", "--configure", "-a")
    return _work("finishing what dpkg was cut off in", command, wait, SLOW)


def _gone(how: str, names: Sequence[str], wait: int) -> Work:
    command = ("apt-get", *OPTIONS, "-y", "--allow-change-held-packages", how, *map(_name, names))
    return _work(f"removing {some(names)}", command, wait, SLOW)


def _install(wanted: Sequence[str], removing: Iterable[str]) -> tuple[str, ...]:
    chosen = (one if FILE.fullmatch(one) else _known(one) for one in wanted)
    return ("install", *chosen, *(f"{_name(name)}-" for name in removing))


def _known(wanted: str) -> str:
    # `name-` is a removal to apt, `name+` an installation; but `g++` is a name.
    if not WANTED.fullmatch(wanted) or wanted.endswith("-") or re.search(r"(?<!\+)\+$", wanted):
        raise ValueError(f"not a package: {wanted[:80]!r}")
    return wanted


def _work(
    what: str, command: Sequence[str], wait: int, timeout: float = QUICK, *, before: str = "", after: str = ""
) -> Work:
    head = _HEAD.replace("WAIT", str(int(wait)))
    return Work(what, f"{{\n{head}{before}waiting {join(command)}\n{after}}} </dev/null\n", timeout + wait)


def _name(name: str) -> str:
    if "=" in name:
        raise ValueError(f"not a package: {name[:80]!r}")
    return _known(name)
