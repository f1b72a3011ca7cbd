"""`swarm:hostbaseline:Packages`: packages that are there, at a version, or not there.

A version that is declared is held, so that no upgrade changes it. What a package was before is in the record: when it
is not declared any more, one that was installed for the baseline goes, unless others need it by now, one that was
removed comes back, and a hold that was made is released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from shlex import quote

from swarmctl.backends.base import Host, HostGone
from swarmctl.graph.model import Json
from swarmctl.hosts import packages as apt
from swarmctl.kinds.base import Hosts, Observed
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.reading import READING, Seen

PRESENT, ABSENT = "present", "absent"
NOT_HELD = " (not held)"


@dataclass(frozen=True, slots=True)
class Before:
    """What a package was before the baseline had it."""

    version: str
    """Empty: not installed."""
    held: bool


@dataclass(slots=True)
class Steps:
    """What is to be done to a machine's packages."""

    install: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    hold: list[str] = field(default_factory=list)
    unhold: list[str] = field(default_factory=list)
    spare: list[str] = field(default_factory=list)
    """Those that go unless others need them."""


def steps(wanted: Mapping[str, str], found: apt.Packages, before: Mapping[str, Before]) -> Steps:
    """The least that brings a machine to `wanted`, and gives back what is not declared any more. Pure."""
    todo = Steps()
    for name, want in sorted(wanted.items()):
        have, was = found.installed.get(name, ""), before.get(name)
        if want == ABSENT:
            if have:
                todo.remove.append(name)
        elif want == PRESENT:
            if not have:
                todo.install.append(name)
            elif name in found.held and was is not None and not was.held:
                todo.unhold.append(name)
        else:
            if have != want:
                todo.install.append(f"{name}={want}")
            if have != want or name not in found.held:
                todo.hold.append(name)
    for name, was in sorted(before.items()):
        if name in wanted:
            continue
        have = found.installed.get(name, "")
        if have and name in found.held and not was.held:
            todo.unhold.append(name)
        if have and not was.version:
            todo.spare.append(name)
        elif was.version and not have:
            todo.install.append(name)
    return todo


def taken_over(wanted: Mapping[str, str], own: Mapping[str, Before], others: Mapping[str, Before]) -> dict[str, Before]:
    """What packages were before: one taken over from another baseline as the record of that one says, and none that is
    to be given back while another's record has it. Pure."""
    mine = {name: it for name, it in own.items() if name in wanted or name not in others}
    return {name: it for name, it in others.items() if name in wanted} | mine


class PackagesType(Aspect):
    """Package by package, by apt and dpkg."""

    name = "packages"

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """Those in the record: what they are, in the words of the declaration."""
        declared, there = inputs.get("packages", {}), {}
        for name, status, version in seen.of("package", inputs["baseline"]):
            if status[1:2] not in ("", "n", "c"):
                there[name] = (version, status[:1] == "h", status[1:2] == "i")
        found = {}
        for name, _, _ in seen.of("before", inputs["baseline"]):
            version, held, whole = there.get(name, ("", False, True))
            if not version:
                found[name] = ABSENT
            elif not whole:
                found[name] = f"{version} (not configured)"
            elif declared.get(name) == PRESENT:
                found[name] = PRESENT
            else:
                found[name] = version if held else f"{version}{NOT_HELD}"
        return {"packages": found}

    def create(self, hosts: Hosts, inputs: Inputs) -> Mapping[str, Json]:
        """Nothing is changed before apt has said what would be."""
        if self.read(hosts, inputs) != Observed(inputs, {}):
            self._change(hosts, inputs, inputs["packages"])
        return {}

    def update(self, hosts: Hosts, old: Inputs, new: Inputs) -> Mapping[str, Json]:
        """Also where all are there as declared: one that had a version, and may have any now, is held no more."""
        self._change(hosts, new, new["packages"])
        return super().update(hosts, old, new)

    def delete(self, hosts: Hosts, inputs: Inputs) -> None:
        """Give all of them back."""
        try:
            if self.read(hosts, {**inputs, "packages": {}}) is not None:
                self._change(hosts, inputs, {})
                self._carry_out(hosts, inputs, self.taking_away(inputs))
        except HostGone:
            return

    def _change(self, hosts: Hosts, inputs: Inputs, wanted: Mapping[str, str]) -> None:
        host, found = hosts.open(inputs["host"]), hosts.look(inputs["host"], apt.READING)
        if found.manager != "apt":
            raise apt.PackagesFailed(
                f"{host.name}: packages cannot be declared, since it has no apt",
                "packages of a HostBaseline are for Debian, Ubuntu and their kin",
            )
        if found.interrupted or found.broken:
            # A connection that was cut, or a machine that was restarted, in the middle of it: nothing else goes before.
            try:
                apt.carry_out(host, apt.mend())
            finally:
                hosts.changed(inputs["host"])
            found = hosts.look(inputs["host"], apt.READING)
        seen = hosts.look(inputs["host"], READING)
        rows = seen.of("before", inputs["baseline"])
        names = {name for name, aspect in seen.records if aspect == self.name} - {inputs["baseline"]}
        others = [row for name in sorted(names) for row in seen.of("before", name)]
        before = taken_over(
            wanted,
            {name: Before(version, held == "yes") for name, version, held in rows},
            {name: Before(version, held == "yes") for name, version, held in others},
        )
        todo = steps(wanted, found, before)
        try:
            removing = _possible(host, todo)
            new = {name: Before(found.installed.get(name, ""), name in found.held) for name in wanted}
            self._carry_out(hosts, inputs, _noted({**new, **before}))
            if todo.unhold:
                apt.carry_out(host, apt.unhold(todo.unhold))
            if todo.install or removing:
                _installed(host, todo.install, removing)
            if todo.hold:
                apt.carry_out(host, apt.hold(todo.hold))
            self._carry_out(
                hosts, inputs, _noted({name: it for name, it in {**new, **before}.items() if name in wanted})
            )
        finally:
            hosts.changed(inputs["host"])

    def setting(self, inputs: Inputs) -> str:
        """What is noted first: that there is a record."""
        return "begin"

    def taking_away(self, inputs: Inputs) -> str:
        """What is left when all are given back."""
        return "forget"

    def items(self, inputs: Inputs) -> dict[str, str]:
        """By name."""
        return {f"package {name}": known(want) for name, want in inputs.get("packages", {}).items()}

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """What goes, or may."""
        before = old.get("packages", {}) if old is not None else {}
        after = new.get("packages", {}) if new is not None else {}
        gone = [name for name, want in sorted(after.items()) if want == ABSENT and before.get(name) != ABSENT]
        less = [name for name, want in sorted(before.items()) if want != ABSENT and name not in after]
        told = [f"removes {', '.join(gone)}"] if gone else []
        told += [f"removes {', '.join(less)}, where the baseline installed it and nothing needs it"] if less else []
        return "; ".join(told)


def _noted(before: Mapping[str, Before]) -> str:
    rows = "\n".join(
        f"{name}\t{it.version or '-'}\t{'yes' if it.held else 'no'}" for name, it in sorted(before.items())
    )
    return f'begin\nput "$record/before" 0600 {quote(rows)} || :'


def _possible(host: Host, todo: Steps) -> list[str]:
    """What is to be removed, spare ones included that nothing else needs. Raises PackagesFailed when more would go, or
    when something can't be installed."""
    spare = list(todo.spare)
    while spare:
        taken = _gone(_simulated(host, [], [*todo.remove, *spare])) - {*todo.remove, *spare}
        if not taken:
            break
        # Which of them is needed is seen one by one.
        alone = [one for one in spare if _gone(_simulated(host, [], [one])) <= {*todo.remove, *spare}]
        spare = alone if len(alone) < len(spare) else []
    removing = [*todo.remove, *spare]
    if todo.install or removing:
        more = sorted(_gone(_simulated(host, todo.install, removing)) - {*removing})
        if more:
            raise apt.Unmet(
                f"{host.name}: packages are left as they are: {', '.join(more[:5])} would be removed, too",
                "declare those `absent`, too, if nobody needs them",
            )
    return removing


def _gone(moves: tuple[apt.Move, ...]) -> set[str]:
    return {move.name for move in moves if not move.after}


def _simulated(host: Host, install: list[str], removing: list[str]) -> tuple[apt.Move, ...]:
    work = apt.simulate(install, removing)
    try:
        return apt.moves(apt.carry_out(host, work))
    except apt.UnknownPackage:
        # What the machine knows of its repositories may be old, or nothing yet.
        apt.carry_out(host, apt.refresh())
        return apt.moves(apt.carry_out(host, work))


def _installed(host: Host, install: list[str], removing: list[str]) -> None:
    work = apt.install(install, removing)
    try:
        apt.carry_out(host, work)
    except apt.RepositoryUnreachable:
        # An index that is old names files that are not there any more.
        apt.carry_out(host, apt.refresh())
        apt.carry_out(host, work)


PACKAGES = PackagesType()
