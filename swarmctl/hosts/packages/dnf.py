"""Scripts that change a machine's packages by dnf 4 and rpm. Pure; `carry_out` runs them.

Each runs the one program of `dnf_program` by the Python that dnf runs on. Nobody is asked anything, input is empty, and
while another process holds a lock of dnf's or rpm's it waits, each call at most as long as it says. Packages are held
by dnf's plugin versionlock: it is what vendors tell to use, `dnf versionlock list` shows it, and it keeps others from
changing them; an `excludepkgs` would hide new versions from whoever looks for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from shlex import join

from swarmctl.hosts.packages.dnf_program import BUSY, PROGRAM
from swarmctl.hosts.packages.model import RPM_NAME
from swarmctl.hosts.packages.work import FILE, LOCK, QUICK, SLOW, Work, folder, some

WANTED = re.compile(rf"{RPM_NAME.pattern}(=([0-9]{{1,9}}:)?[A-Za-z0-9._+~^-]{{1,200}}\*?)?")
"""A package, with a version or the beginning of one: `nvidia-imex=595.91.07-*`."""
REPOSITORY = re.compile(r"/etc/yum\.repos\.d/([A-Za-z0-9._-]{1,100})\.repo")
STREAM = re.compile(r"[A-Za-z0-9._+-]{1,60}:[A-Za-z0-9._+-]{1,60}")
"""A stream of a module: `nvidia-driver:595-open`."""

# dnf names the Python that it runs on in its first line: on Enterprise Linux 8 that is no program of the path.
_RUN = """
python=$(sed -n '1s/^#! *\\([^ ]*\\).*/\\1/p' "$(command -v dnf)")
program=$(cat <<'END OF PROGRAM'
{program}
END OF PROGRAM
)
now() {{ read -r up_ _ </proc/uptime; echo "${{up_%%.*}}"; }}
until_=$(($(now) + {wait}))
while :; do
  status=0
  LC_ALL=C "$python" -I -c "$program" {words} || status=$?
  [ "$status" -eq {busy} ] && [ "$(now)" -lt "$until_" ] || break
  sleep 1
done
exit "$status"
"""


def refresh(source: str = "", *, wait: int = LOCK) -> Work:
    """Read the indexes of the repositories anew; of one `source` alone, a file NAME.repo with a repository NAME, or
    more that are called NAME--2 and so on."""
    only: tuple[str, ...] = ()
    if source:
        match = REPOSITORY.fullmatch(source)
        if match is None:
            raise ValueError(f"not a file of a repository: {source[:80]!r}")
        only = (match[1],)
    return _work("reading the repositories", "refresh", only, wait)


def simulate(wanted: Sequence[str], removing: Iterable[str] = ()) -> Work:
    """Say what `install` would do (`simulation.moves` reads it), with whatever has to go for it; changes nothing."""
    return _work("planning an installation", "simulate", _install(wanted, removing), LOCK)


def download(wanted: Sequence[str], into: str, *, wait: int = LOCK) -> Work:
    """Fetch the files of these alone, without what they need, into a folder of the machine; what is there is kept.

    Each is signed by whom its repository says, and if that is one of ours (`swarmctl-…`) by the key in
    /etc/pki/rpm-gpg/RPM-GPG-KEY-swarmctl-… alone (that of NAME for NAME--2). They are called name, version and
    architecture by underscores, a colon as `%3a` and an underscore as `%5f`.
    """
    words = (folder(into), *map(_known, wanted))
    return _work(f"fetching {some(wanted)}", "download", words, wait, SLOW, before=f"mkdir -p {join([into])}\n")


def install(wanted: Sequence[str], removing: Iterable[str] = (), *, wait: int = LOCK) -> Work:
    """Install these at their versions, up or down, and take `removing` away in the same transaction; nothing else goes.

    `wanted` may be paths of files on the machine, which were judged by `download`.
    """
    return _work(f"installing {some(wanted)}", "install", _install(wanted, removing), wait, SLOW)


def hold(names: Sequence[str], *, wait: int = LOCK) -> Work:
    """Keep these at the version they have; the plugin for it is installed where it is not."""
    return _work(f"holding {some(names)}", "hold", tuple(map(_name, names)), wait, SLOW)


def unhold(names: Sequence[str], *, wait: int = LOCK) -> Work:
    """Let these change again."""
    return _work(f"releasing {some(names)}", "unhold", tuple(map(_name, names)), wait)


def remove(names: Sequence[str], *, wait: int = LOCK) -> Work:
    """Remove these and what needs them; changed configuration stays as `.rpmsave`. What is not there is no error."""
    return _work(f"removing {some(names)}", "remove", tuple(map(_name, names)), wait, SLOW)


def mend(*, wait: int = LOCK) -> Work:
    """Finish what rpm was cut off in: versions that are there twice, and packages whose scripts may never have run."""
    return _work("finishing what rpm was cut off in", "mend", (), wait, SLOW)


def enable(stream: str, *, wait: int = LOCK) -> Work:
    """Keep to a stream of a module, in the place of another of that module."""
    if not STREAM.fullmatch(stream):
        raise ValueError(f"not a stream of a module: {stream[:80]!r}")
    return _work(f"keeping to {stream}", "enable", (stream,), wait)


def _install(wanted: Sequence[str], removing: Iterable[str]) -> tuple[str, ...]:
    chosen = (one if FILE.fullmatch(one) else _known(one) for one in wanted)
    return (*chosen, "--", *map(_name, removing))


def _known(wanted: str) -> str:
    if not WANTED.fullmatch(wanted) or wanted.endswith("-"):
        raise ValueError(f"not a package: {wanted[:80]!r}")
    return wanted


def _name(name: str) -> str:
    if "=" in name:
        raise ValueError(f"not a package: {name[:80]!r}")
    return _known(name)


def _work(what: str, operation: str, words: Sequence[str], wait: int, timeout: float = QUICK, before: str = "") -> Work:
    run = _RUN.format(program=PROGRAM.strip(), words=join((operation, *words)), wait=int(wait), busy=BUSY)
    return Work(what, f"{{\n{before}{run.strip()}\n}} </dev/null\n", timeout + wait, "dnf")
