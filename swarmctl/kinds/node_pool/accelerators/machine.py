"""One machine while its driver changes: small steps, each of which may be repeated."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from swarmctl.backends.base import CommandFailed, Completed
from swarmctl.hosts import packages
from swarmctl.hosts.packages import Move, Packages, openpgp
from swarmctl.hosts.packages.work import FILE
from swarmctl.kinds.base import Hosts
from swarmctl.kinds.node_pool.accelerators import at_start, repositories, scripts, services
from swarmctl.kinds.node_pool.accelerators.amd import preferences
from swarmctl.kinds.node_pool.accelerators.errors import DriverImpossible
from swarmctl.kinds.node_pool.accelerators.reading import Seen, plain
from swarmctl.kinds.node_pool.accelerators.vendors import VENDORS

RESTART = 900.0
"""Seconds within which a restarted machine answers again; servers with much memory test it for minutes."""

FOREIGN = frozenset({"i386", "i686", "armhf"})
"""Architectures that are never the own one of a machine with a driver, and whose libraries may be there beside."""


class Machine:
    """The way to it. Everything that is read is read anew after every change."""

    def __init__(self, hosts: Hosts, inputs: Mapping[str, Any]) -> None:
        self._hosts = hosts
        self._at = inputs["host"]
        self.host = hosts.open(self._at)
        self.name: str = inputs["node"]
        self.vendor = VENDORS[inputs["vendor"]]
        self.places = self.vendor.places

    def changed(self) -> None:
        """Forget what was read."""
        self._hosts.changed(self._at)

    def is_ours(self) -> bool:
        """Whether a driver was brought here before, or was begun to be: verified or not, what it holds we have held."""
        script = 'for at; do [ ! -d "$at" ] || exit 0; done; exit 1'
        argv = ["sh", "-c", script, "sh", self.places.current, self.places.new, self.places.old]
        return self.host.run(argv, check=False).returncode == 0

    def seen(self) -> Seen:
        """What driver is there."""
        return self._hosts.look(self._at, self.vendor.reading)

    def installed(self) -> Packages:
        """What is installed."""
        return self._hosts.look(self._at, packages.READING)

    @functools.cached_property
    def tools(self) -> packages.Manages:
        """What its packages are changed by. Raises DriverImpossible where that is not known."""
        try:
            return packages.by(self.installed())
        except ValueError:
            raise DriverImpossible(
                f"{self.name}: packages are installed by apt or dnf, and there is neither",
                "leave `accelerators` out for this pool, and install the driver by other means",
            ) from None

    def work(self, work: packages.Work) -> str:
        """Change packages. Raises `PackagesFailed` and its kin."""
        try:
            return packages.carry_out(self.host, work)
        finally:
            self._hosts.changed(self._at)

    def work_anew(self, work: packages.Work) -> str:
        """The same, once more with what its repositories have now, where what it knows of them may be old, or nothing
        yet. Raises `PackagesFailed` and its kin."""
        try:
            return self.work(work)
        except (packages.UnknownPackage, packages.Unmet, packages.RepositoryUnreachable) as error:
            try:
                self.work(self.tools.refresh())
            except packages.PackagesFailed:
                raise error from None  # a repository that is broken, and perhaps has nothing to do with it
            return self.work(work)

    def script(self, text: str, *, timeout: float = 120.0, check: bool = True) -> Completed:
        """Run a script. Raises CommandFailed."""
        try:
            whole = f"{{\n{text}\n}} </dev/null\n"
            return self.host.run(["sh", "-eu", "-s"], stdin=whole.encode(), timeout=timeout, check=check)
        finally:
            self._hosts.changed(self._at)

    def put(self, path: str, content: bytes) -> None:
        """Write a file."""
        self.host.put(path, content)
        self._hosts.changed(self._at)

    def trust(self, repository: Mapping[str, Any]) -> None:
        """Take packages from there, if its key is the declared one. Raises DriverImpossible when it is not."""
        at, wanted = self.places, repository["fingerprint"]
        taken = repositories.of(self.installed().manager, at, repository)
        seen = self.seen()
        if seen.fingerprints != (wanted,):
            try:
                self.script(taken.fetch_key)
            except CommandFailed as error:
                why = error.message.removeprefix(f"{self.name}: ")
                raise DriverImpossible(
                    f"{self.name}: the key of the repository can't be fetched from {repository['key']}: {why}",
                    "see that this address is right and reached from the machine, or declare another one with "
                    "`source: mirror`; nothing was installed",
                ) from None
            fetched = self.host.get(at.fetched) or b""
            self.host.remove(at.fetched)
            self._judge(fetched, wanted, repository["key"])
            self.put(taken.keyring, taken.key(fetched))
        if seen.origin != repository.get("origin", ""):
            self.put(at.preferences, preferences(repository["origin"]).encode())
        if seen.source != scripts.entries(repository):
            self.put(taken.sources, taken.text.encode())
        try:
            self.work(self.tools.refresh(taken.sources))
        except packages.RepositoryUnreachable as error:
            if self.installed().manager != "dnf" or "sources" not in repository:
                raise
            # Of minor releases not every one has a repository, and dnf does nothing at all while it can't read one.
            self.host.remove(taken.sources)
            raise DriverImpossible(
                error.message,
                f"see whether there is {scripts.entries(repository)[0]}: a release of the driver has repositories for "
                "some minor releases of the system alone, and another one may have it; nothing was installed",
            ) from None

    def prefer(self, version: str) -> None:
        """Have apt take that version of the driver's packages, named or not."""
        if self.vendor.prefers is not None:
            self.put(self.places.preferences, self.vendor.prefers(version).encode())

    def alone(self, repository: Mapping[str, Any]) -> None:
        """Nobody else may have told apt of the repository: it takes nothing at all while two of its sources name
        different keys for one repository. Raises DriverImpossible."""
        lines = self.script(scripts.elsewhere(self.places, repository)).text.splitlines()
        if lines:
            file, _, url = plain(lines[0]).partition(" ")
            raise DriverImpossible(
                f"{self.name}: {file} has apt take packages from {url} already, by a key of its own",
                "remove that file there: swarmctl brings the repository itself; nothing was changed",
            )

    def _judge(self, key: bytes, wanted: str, url: str) -> None:
        try:
            found = openpgp.fingerprints(key)
            if found == [wanted]:
                return
            what = f"it is of {' and '.join(found[:3])}"
        except ValueError as error:
            what = str(error)
        raise DriverImpossible(
            f"{self.name}: the key at {url} is not the declared one: {what}, not of {wanted}",
            "see what the vendor publishes as its fingerprint, and declare that; nothing was installed",
        )

    def planned(self, wanted: Sequence[str], removing: Sequence[str] = ()) -> list[Move]:
        """What an installation would change, nothing that is none of the driver's removed. Raises DriverImpossible."""
        moves = packages.moves(self.work_anew(self.tools.simulate(wanted, removing)))
        foreign = [move.name for move in moves if not move.after and not self.vendor.is_drivers(move.name)]
        if foreign:
            raise DriverImpossible(
                f"{self.name}: the driver can be installed only by removing {', '.join(foreign[:5])}",
                "remove what is in the way there, if nobody needs it",
            )
        return list(moves)

    def fetch(self, wanted: Sequence[str], folder: str) -> None:
        """Have the files of these (`NAME=VERSION`) in that folder, and no others, such as those that were fetched for a
        change that was not begun; those kept from earlier need no repository."""
        kept = f"if [ -d {self.places.current} ]; then cp -alf {self.places.current}/. {folder}/; fi"
        self.script(f"mkdir -p {folder}\n{'' if folder == self.places.new else kept}")
        there = self.files(folder)
        if others := [file for file in there if not any(is_file_of(one, file) for one in wanted)]:
            self.host.run(["rm", "-f", *others])
        missing = [one for one in wanted if not any(is_file_of(one, file) for file in there)]
        if missing:
            self.work_anew(self.tools.download(missing, folder))

    def files(self, folder: str) -> list[str]:
        """Paths of the packages in a folder."""
        listed = self.host.run(["find", folder, "-maxdepth", "1", "-name", "*.[dr][ep][bm]"], check=False).text
        return sorted(line for line in listed.splitlines() if FILE.fullmatch(line))

    def stop(self) -> None:
        """End all daemons around the driver."""
        if not self.vendor.daemons:
            return
        if "none" in self.script(services.stop_script()).text:
            for daemon in reversed(list(services.DAEMONS.values())):
                if daemon.argv:
                    self.host.stop_service(daemon.name)
        self._hosts.changed(self._at)

    def end(self, unit: str) -> None:
        """End one of them, so that it starts anew."""
        if "none" in self.script(services.end_script(unit)).text:
            self.host.stop_service(services.DAEMONS[unit].name)
        self._hosts.changed(self._at)

    def start(self, units: Sequence[str]) -> None:
        """Have these run, and no other of them."""
        if not self.vendor.daemons:
            return
        if "none" in self.script(services.start_script(units)).text:
            wanted = services.ordered(units)
            for daemon in services.DAEMONS.values():
                if daemon.argv and daemon in wanted:
                    self.host.start_service(daemon.name, daemon.argv)
                elif daemon.argv:
                    self.host.stop_service(daemon.name)
        self._hosts.changed(self._at)

    def divide_at_start(self, mig: Mapping[str, Mapping[str, int]]) -> None:
        """Have the cards divided like that whenever the machine starts; by nothing of ours where none is named."""
        if script := at_start.script(self.seen().startup, mig):
            self.script(script)

    def load_at_start(self, modules: Sequence[str]) -> None:
        """Kernel modules that are loaded whenever the machine starts."""
        if modules:
            self.put(self.places.modules, "".join(f"{module}\n" for module in modules).encode())
        elif self.seen().modules:
            self.host.remove(self.places.modules)
            self._hosts.changed(self._at)


def is_file_of(wanted: str, path: str) -> bool:
    """Whether a file is that of `NAME=VERSION`, as apt names it, and `hosts.packages.dnf` after it.

    What is not of the machine's own architecture has that in its name, as in `Packages.installed`.
    """
    file, _, kind = path.rpartition("/")[2].rpartition(".")
    name, _, version = wanted.replace("_", "%5f").replace(":", "%3a").partition("=")
    called, of, architecture = (*file.split("_"), "", "")[:3]
    foreign = f"{called}{'.' if kind == 'rpm' else '%3a'}{architecture}"
    return of == version and (name == foreign or (name == called and architecture not in FOREIGN))
