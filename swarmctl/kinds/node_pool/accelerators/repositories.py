"""How a machine is told where packages come from and whose key signs them, for apt and for dnf. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

from swarmctl.hosts.packages import Manager, openpgp
from swarmctl.kinds.node_pool.accelerators import scripts
from swarmctl.kinds.node_pool.accelerators.places import Places


@dataclass(frozen=True, slots=True)
class Repository:
    """One vendor's, as one package manager takes it."""

    sources: str
    """The file that names it."""
    keyring: str
    text: str
    """Of the file `sources`."""
    fetch_key: str
    """A script that has the key file at `Places.fetched`, fetched as the package manager fetches files."""
    armored: bool
    """Whether the keyring is text."""

    def key(self, fetched: bytes) -> bytes:
        """What the keyring holds: the key, which was judged before."""
        return openpgp.armored(fetched) if self.armored else openpgp.binary(fetched)


def of(manager: Manager, at: Places, repository: Mapping[str, Any]) -> Repository:
    """That of a machine with this package manager."""
    key = repository["key"]
    if manager == "dnf":
        return Repository(at.yum, at.rpm_key, _repo(at, scripts.entries(repository)), _curl(at, key), armored=True)
    text = scripts.source_lines(at, repository)
    return Repository(at.sources, at.keyring, text, scripts.fetch_key(at, key), armored=False)


def _repo(at: Places, urls: Sequence[str]) -> str:
    # dnf's own check comes beside ours: it is for whoever uses the repository by hand. Of AMD's, which are several,
    # others have packages of the same names: those of the least priority count (AMD's installation guides).
    priority = ["priority=50"] if len(urls) > 1 else []
    lines: list[str] = []
    for number, url in enumerate(urls, 1):
        name = at.name if number == 1 else f"{at.name}--{number}"
        lines += [f"[{name}]", f"name={name}", f"baseurl={_whole(url)}", "enabled=1", *priority, "gpgcheck=1"]
        lines += [f"gpgkey=file://{at.rpm_key}", "skip_if_unavailable=0"]
    return "".join(f"{line}\n" for line in lines)


def _curl(at: Places, url: str) -> str:
    limits = f"--retry 2 --max-time 60 --max-filesize {openpgp.MOST} --proto =https,http,file --proto-redir =https"
    curl = f"curl -fsSL {limits} -o {at.fetched} {quote(_whole(url))}"
    return f"mkdir -p {at.folder}\nrm -f {at.fetched}\n{curl}\n"


def _whole(url: str) -> str:
    """`file:/srv/…` as programs other than apt take it."""
    return f"file://{url.removeprefix('file:')}" if url.startswith("file:/") and not url.startswith("file://") else url
