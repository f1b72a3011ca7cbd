"""A machine's driver, brought to what is decided: fetched first, installed, loaded, verified, else the old one back.

Nothing is remembered but on the machine: what was installed before is written there (`Places.manifest`) before
anything changes, and is removed when the new driver is verified. So a turn that was cut off anywhere is taken up by
the next one, which knows from that file what to go back to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swarmctl.backends.base import CommandFailed
from swarmctl.backends.reboot import CannotReboot, Unconfirmed, reboot
from swarmctl.errors import SwarmError
from swarmctl.gpu.lockstep import contrary, mismatches, upstream
from swarmctl.hosts import packages
from swarmctl.hosts.packages import dnf
from swarmctl.kinds.base import Hosts
from swarmctl.kinds.node_pool.accelerators import dividing, headers, manifest, scripts, verify
from swarmctl.kinds.node_pool.accelerators.errors import (
    DriverBroken,
    DriverImpossible,
    DriverRolledBack,
    DriverUnverified,
    DriverWaits,
)
from swarmctl.kinds.node_pool.accelerators.machine import RESTART, Machine, is_file_of
from swarmctl.kinds.node_pool.accelerators.reading import plain
from swarmctl.kinds.node_pool.accelerators.services import DAEMONS, EXPORTER, counters_script
from swarmctl.kinds.node_pool.accelerators.verify import Problem
from swarmctl.kinds.node_pool.draining.service import DrainFailed
from swarmctl.kinds.node_pool.draining.turn import Turn


def bring(hosts: Hosts, inputs: Mapping[str, Any], service: Turn) -> None:
    """Make the machine what `inputs` say, out of service where that is in the way of its work.

    Raises the errors of `errors`, `PackagesFailed`, `DrainFailed`, what `Host.run` raises.
    """
    machine = Machine(hosts, inputs)
    try:
        _bring(machine, inputs, service)
    except DriverImpossible as error:
        raise service.back_after(error) from None
    except DriverRolledBack as error:
        raise service.back_after(error, works=True) from None
    except (DriverUnverified, DriverBroken, CommandFailed, packages.PackagesFailed) as error:
        raise service.stays_after(error) from None
    try:
        service.back()
    except DrainFailed as error:
        raise DrainFailed(f"{error.message}; its driver is changed and verified", error.hint) from None


def _bring(machine: Machine, inputs: Mapping[str, Any], service: Turn) -> None:
    if (seen := machine.seen()).hangs:
        # Whatever talks to the card hangs next, unloading its module included: a restart alone mends that.
        raise DriverImpossible(f"{machine.name}: {seen.failure}; its driver is left as it is", verify.HANGS)
    _mend(machine)
    if inputs["repository"]:
        machine.alone(inputs["repository"])
        machine.trust(inputs["repository"])
    _not_held(machine, inputs)
    _pin(machine, inputs["pin"], inputs["version"])
    moves = _planned(machine, inputs)
    unloaded = _is_stale(machine, inputs)
    stale = bool(moves) or unloaded
    if unloaded or any("dkms" in move.name and move.after for move in moves):
        headers.bring(machine)
    if not moves and not machine.seen().unverified:
        machine.script(f"rm -rf {machine.places.new} {machine.places.way}\n")  # of a change that was not begun
    way = _fetch(machine, moves) if moves else ""
    if stale or dividing.is_otherwise(machine, inputs):
        service.leave()
        _idle(machine)
        service.begin()
    if way:
        at = machine.places
        machine.put(f"{at.way}/{at.manifest.rpartition('/')[2]}", way.encode())
        machine.script(f"rm -rf {at.old}\nmv {at.way} {at.old}\n")
    before = machine.installed().installed
    ran = sorted(machine.seen().running) or inputs["services"]  # none where an earlier run has stopped them
    if stale:
        machine.put(machine.places.unverified, b"")
    try:
        if stale:
            machine.stop()
        if moves:
            files = [file for file in machine.files(machine.places.new) if any(_is_new(move, file) for move in moves)]
            machine.work(machine.tools.install(files, [move.name for move in moves if not move.after]))
        _settle(machine, inputs, reload=stale)
        problem = verify.problem(machine, inputs)
        if problem is None and dividing.is_otherwise(machine, inputs):
            dividing.divide(machine, inputs, inputs["mig"])
            problem = verify.problem(machine, inputs)
    except (packages.PackagesFailed, CommandFailed, DriverUnverified) as error:
        if moves and machine.installed().installed == before:
            machine.start([unit for unit in inputs["services"] if _has(machine, unit)])
            raise service.back_after(error) from None
        problem = Problem(error.message.removeprefix(f"{machine.name}: "), error.hint)
    if problem is not None:
        _back(machine, inputs, problem, ran)
    machine.script(scripts.keep(machine.places))
    machine.divide_at_start(inputs["mig"])
    if not moves:
        _keep_as_it_is(machine, inputs)


def _keep_as_it_is(machine: Machine, inputs: Mapping[str, Any]) -> None:
    """Have the files of a driver that was there already, as the way back from a later one.

    AMD's releases have a repository each, so they could not be fetched any more when another one is declared.
    """
    at, there = machine.places, machine.installed().installed
    kept = machine.files(at.current)
    wanted = [f"{name}={there[name]}" for name in inputs["packages"] if name in there]
    missing = [one for one in wanted if not any(is_file_of(one, file) for file in kept)]
    try:
        if missing:
            machine.work(machine.tools.download(missing, at.current))
    except packages.PackagesFailed:
        pass  # the driver works; who changes it is told that there would be no way back


def _mend(machine: Machine) -> None:
    tools, there = machine.tools, machine.installed()
    if there.interrupted or there.broken:
        machine.work(tools.mend())


def _not_held(machine: Machine, inputs: Mapping[str, Any]) -> None:
    """What others hold at another version is theirs to release; what we have held before, we release ourselves.

    Raises DriverImpossible.
    """
    there = machine.installed()
    held = {name: there.installed[name] for name in there.held if name in there.installed}
    wrong = [*contrary(inputs["packages"], held)]
    if inputs["vendor"] == "nvidia":
        wrong += [(name, version, inputs["version"]) for name, version in mismatches(inputs["version"], held)]
    if not wrong or machine.is_ours():
        return
    name, version, wanted = wrong[0]
    unhold = "dnf versionlock delete" if there.manager == "dnf" else "apt-mark unhold"
    driver = wanted == inputs["version"]
    declare = f", or declare version {version[:40]}" if driver else ""
    raise DriverImpossible(
        f"{machine.name}: {name} is held at {version[:40]}, and must be {wanted}{' as the driver' if driver else ''}",
        f"release the hold there (`{unhold} {name}`){declare}; nothing was changed",
    )


def _pin(machine: Machine, wanted: str, version: str) -> None:
    """Have the package manager keep to the branch, and apt to the version.

    Of the packages that keep apt to a branch only that one is there, since another would be in the way.
    """
    if machine.installed().manager == "dnf":
        if wanted and wanted not in machine.installed().streams:
            machine.work(dnf.enable(wanted))
        return
    machine.prefer(version)
    there = machine.installed().installed
    pins = machine.vendor.pins
    if others := [name for name in there if pins and pins.fullmatch(name) and name != wanted]:
        machine.work(packages.purge(others))
    if wanted and wanted not in there:
        machine.work(packages.install([wanted]))


def _planned(machine: Machine, inputs: Mapping[str, Any]) -> list[packages.Move]:
    wanted, removed = _wanted(machine, inputs), _in_the_way(machine, inputs)
    moves = machine.planned(wanted, removed)
    after = {**machine.installed().installed, **{move.name: move.after for move in moves}}
    if other := machine.vendor.same_build(after):
        name = other.partition("=")[0]
        moves = machine.planned([other, *(one for one in wanted if one.partition("=")[0] != name)], removed)
    return moves


def _wanted(machine: Machine, inputs: Mapping[str, Any]) -> list[str]:
    # Epochs are apt's; those of NVIDIA's packages for dnf are others, and not known at plan time.
    dnfs = machine.installed().manager == "dnf"
    versions = {name: upstream(it) if dnfs else it for name, it in inputs["packages"].items()}
    return [f"{name}={version}-*" if version else name for name, version in versions.items()]


def _in_the_way(machine: Machine, inputs: Mapping[str, Any]) -> list[str]:
    """Kernel modules of the driver's that are not to be: of another flavour or branch. Held, they stay."""
    there = machine.installed().installed
    return sorted(
        name for name in there if "dkms" in name and machine.vendor.is_drivers(name) and name not in inputs["packages"]
    )


def _is_stale(machine: Machine, inputs: Mapping[str, Any]) -> bool:
    """Whether another module is loaded than is installed, or an earlier turn did not come to its end."""
    seen = machine.seen()
    other = seen.flavour not in ("", inputs["kernelModule"])
    return seen.loaded != inputs["version"] or other or seen.unverified


def _idle(machine: Machine) -> None:
    """Nothing may compute on the cards: its work would be lost. Raises DriverImpossible."""
    lines = [line.split(",")[0] for line in machine.script(machine.vendor.busy(), check=False).text.splitlines()]
    pids = [pid for pid in lines if pid.isdecimal()]
    if pids:
        raise DriverImpossible(
            f"{machine.name}: the driver can't be changed while {len(pids)} "
            f"process{'es compute' if len(pids) > 1 else ' computes'} on the cards ({', '.join(pids[:5])})",
            "drain the machine, then apply again; the driver is as it was",
        )


def _fetch(machine: Machine, moves: list[packages.Move]) -> str:
    """Have all files there, those of the way back among them, before anything is stopped; returns that way's
    manifest, empty where there is none to be laid."""
    machine.fetch([f"{move.name}={move.after}" for move in moves if move.after], machine.places.new)
    seen = machine.seen()
    if seen.unverified or not seen.answers:
        return ""  # the way back is laid already, or leads nowhere: what is there does not work
    try:
        machine.fetch([f"{move.name}={move.before}" for move in moves if move.before], machine.places.way)
    except packages.PackagesFailed as error:
        raise DriverImpossible(
            f"{machine.name}: there would be no way back from an upgrade: {error.message}",
            "put the old packages back into the repository; nothing was changed",
        ) from None
    held = machine.installed().held
    lines = "".join(f"{move.name}={move.before}{manifest.HELD if move.name in held else ''}\n" for move in moves)
    return f"{seen.answers}\n{lines}"


def _is_new(move: packages.Move, file: str) -> bool:
    return bool(move.after) and is_file_of(f"{move.name}={move.after}", file)


def _settle(machine: Machine, inputs: Mapping[str, Any], *, reload: bool) -> None:
    """All but the packages and MIG."""
    machine.work(machine.tools.hold(inputs["held"]))
    machine.load_at_start(inputs["modules"])
    if inputs["counters"]:
        if "changed" in machine.script(counters_script(inputs["counters"])).text:
            machine.end(EXPORTER)
    if reload:
        load(machine, inputs["version"], inputs["kernelModule"], inputs["modules"])
    seen = machine.seen()
    if reload and any(card.mig for card in seen.cards):
        dividing.divide(machine, inputs, {})  # whole cards alone can be diagnosed
        return
    machine.start(inputs["services"])
    if inputs["cdi"] and (seen.cdi != inputs["cdi"] or reload):
        machine.script(machine.vendor.cdi())


def load(machine: Machine, version: str, flavour: str, modules: list[str]) -> None:
    """Have that kernel module loaded; where the old one can't be unloaded, by a restart of the machine.

    Raises DriverUnverified when neither can be, DriverWaits when it may not be restarted now, and what `reboot` raises.
    """
    if not (stays := _loaded(machine, version, flavour, modules)):
        return
    try:
        reboot(machine.host, timeout=RESTART)
    except Unconfirmed as error:
        raise DriverWaits(error.message, "apply again: it goes on from there") from None
    except CannotReboot as error:
        raise DriverUnverified(
            f"{machine.name}: the kernel module {stays} is in use and can't be unloaded, and "
            f"{error.message.removeprefix('and ')}",
            "end what uses the cards, or restart the machine; then apply again",
        ) from None
    machine.changed()
    if stays := _loaded(machine, version, flavour, modules):
        raise DriverUnverified(
            f"{machine.name}: the machine was restarted, and the kernel module {stays} was loaded again",
            "see what loads it so early (`lsinitramfs`), then apply again",
        )


def _loaded(machine: Machine, version: str, flavour: str, modules: list[str]) -> str:
    """Have it loaded; returns which module is in its way and can't go."""
    try:
        # An initramfs that is made anew takes a minute or two.
        said = machine.script(machine.vendor.reload(version, flavour, modules), timeout=600).text
        return next((plain(line[6:]) for line in said.splitlines() if line.startswith("stays ")), "")
    except CommandFailed:
        signing = machine.seen().signing
        if signing.enrolled is not False:
            raise
        raise DriverUnverified(
            f"{machine.name}: the firmware does not take the kernel module: nobody has confirmed the key that signs it",
            f"{signing.by_hand(machine.name)}; then apply again",
        ) from None


def _back(machine: Machine, inputs: Mapping[str, Any], problem: Problem, ran: Sequence[str]) -> None:
    """Bring the old driver back, and say what happened; `ran` are units that ran before. Always raises."""
    new = f"{inputs['vendor']} driver {inputs['version']}"
    before = manifest.parse(machine.host.get(machine.places.manifest) or b"")
    if before is None:
        goes_on = _goes_on(machine, ran)
        raise DriverUnverified(
            f"{machine.name}: {new} is installed and not verified: {problem.text}{goes_on}",
            problem.hint or "mend that on the machine, then apply again",
        )
    version, there, held = before
    try:
        _restore(machine, inputs, version, there, held)
    except SwarmError as error:
        again = error.message.removeprefix(f"{machine.name}: ")
        raise DriverBroken(
            f"{machine.name}: {new} was installed and does not work: {problem.text}; going back to {version} failed, "
            f"too: {again}{_goes_on(machine, ran)}",
            "see what is wrong on the machine, then apply again: it goes on from there",
        ) from None
    raise DriverRolledBack(
        f"{machine.name}: {new} was installed and does not work: {problem.text}; {version} is back and verified",
        problem.hint or f"see what is wrong with {inputs['version']} there, or declare {version}; then apply again",
    )


def _goes_on(machine: Machine, ran: Sequence[str]) -> str:
    """Where a driver answers all the same, such as the old one whose module never left the kernel, have what ran before
    run again: without Fabric Manager no program on the cards works. Never where versions differ: it would stop with an
    error, and what asks libraries of another version as well. Returns a clause for whoever is told of the failure."""
    try:
        machine.changed()
        seen, there = machine.seen(), machine.installed().installed
        units = [unit for unit in ran if _has(machine, unit)]
        stopped = {unit for unit in units if DAEMONS[unit].argv} - seen.running
        if not stopped or not seen.loaded or seen.answers != seen.loaded:
            return ""
        if seen.fabric not in ("", seen.loaded) or mismatches(seen.loaded, there):
            return ""
        machine.start(units)
        if stopped - machine.seen().running:
            return ""
    except SwarmError:
        return ""  # what failed before is what is told
    return f"; {seen.loaded} is loaded and answers, so that what ran beside it runs again"


def _restore(
    machine: Machine, inputs: Mapping[str, Any], version: str, before: Mapping[str, str], held: Sequence[str]
) -> None:
    """Install what was there, and see that it works. Raises SwarmError."""
    machine.stop()
    there = machine.installed()
    if there.interrupted or there.broken:
        try:
            machine.work(machine.tools.mend())
        except packages.PackagesFailed:
            pass  # the package that can't be configured is about to be replaced
    added = [name for name, was in before.items() if not was and name in machine.installed().installed]
    files = machine.files(machine.places.old)
    chosen = [file for file in files if any(was and is_file_of(f"{name}={was}", file) for name, was in before.items())]
    if there.manager == "apt":
        machine.prefer(version)
    machine.work(machine.tools.install(chosen, added))
    # What was held, and no more: a package that is held and that nobody names is in the way of every later driver.
    if held:
        machine.work(machine.tools.hold(held))
    load(machine, version, manifest.flavour(before) or inputs["kernelModule"], inputs["modules"])
    machine.start([unit for unit in inputs["services"] if _has(machine, unit)])
    if inputs["cdi"]:
        machine.script(machine.vendor.cdi())
    problem = verify.problem(machine, {**inputs, "version": version, "answers": version})
    if problem is not None:
        raise DriverUnverified(f"{machine.name}: {problem.text}")
    if dividing.is_otherwise(machine, inputs):
        dividing.divide(machine, inputs, inputs["mig"])
    machine.divide_at_start(inputs["mig"])
    at = machine.places
    machine.script(f"mkdir -p {at.current}\nrm -rf {at.old} {at.new} {at.unverified}\n")


def _has(machine: Machine, unit: str) -> bool:
    """Whether the program of a unit is there: an older driver may have come without it."""
    argv = DAEMONS[unit].argv
    return not argv or machine.host.run(["test", "-x", argv[0]], check=False).returncode == 0
