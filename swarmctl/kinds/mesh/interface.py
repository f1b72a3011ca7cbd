"""`swarm:mesh:Interface`: a WireGuard interface on one node, its key made there and its addresses.

The private key is made by the node's own shell, goes from file to kernel by path, and is never printed. Inputs that
are measured and not chosen: `state` (up, down, gone, hung), `key` (installed, another, none, rotating, or "made
YYYY-MM-DD" when that is longer ago than `rotateEvery` seconds), `keyMode`. What is there only when something is wrong:
`fwmark`, `routes` of the mesh that lead elsewhere or are missing, `startup` (gone, another: what brings it back after a
restart), and as `exposed` what lies beside the key and others can read.

`keyGeneration` counts the rotations that were asked for. Keys are rotated by `swarm:mesh:Rotation`, which interfaces
depend on; here only the public half is told anew, and what was not done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_interface
from shlex import quote

from swarmctl.backends.base import CommandFailed, Completed, Host, HostGone
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json
from swarmctl.hosts import startup
from swarmctl.hosts.facts import Facts
from swarmctl.hosts.guard import Change
from swarmctl.kinds.base import (
    CONFIRM_WITHIN,
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
    words,
)
from swarmctl.kinds.mesh import interface_adoption as adoption
from swarmctl.kinds.mesh import interface_routes as routes
from swarmctl.kinds.mesh import key_files, marks, startup_files, taken
from swarmctl.kinds.mesh.interface_adoption import ADOPT, COPY_KEY
from swarmctl.kinds.mesh.interface_words import NOTES, changed, describe
from swarmctl.kinds.mesh.link import WAIT, explained, service, start
from swarmctl.kinds.mesh.rotation import due, second
from swarmctl.mesh.names import key_folder, mesh_of, next_interface

REPLACE = {
    "machine": "it goes away with its machine",
    "interface": "an interface that is up cannot be renamed",
}
FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
DISRUPTIVE = {"listenPort", "state", "key", "addresses"}
LOST = ("gone", "hung")
"""States in which the interface is started anew."""

MAKE_KEY = """
umask 077
folder=$(dirname "$key")
mkdir -p "$folder"
chmod 0700 "$folder"
if ! wg pubkey <"$key" >/dev/null 2>&1; then
  rm -f "$folder/.private.key.new" "$folder/adopted"
  wg genkey >"$folder/.private.key.new"
  sync "$folder/.private.key.new"
  mv "$folder/.private.key.new" "$key"
  sync "$folder"
fi
chmod 0600 "$key"
"""
MOVE_KEY = """
before=$(dirname "$before")
folder=$(dirname "$key")
if [ -e "$before" ]; then
  rm -rf "$folder"
  mv "$before" "$folder"
  sync "$(dirname "$folder")"
fi
"""
"""Into the folder of the mesh's new name, in one step; where it was done before, nothing is left to do."""
PRINT_PUBLIC_KEY = 'wg pubkey <"$key"; stat -c %Y "$key"\n'
NOTE_GENERATION = """
umask 077
printf '%s\\n' "$generation" >"${key%/*}/.generation.new"
mv "${key%/*}/.generation.new" "${key%/*}/generation"
"""


class TakenByOther(SwarmError):
    """The node has an interface of that name which is not swarmctl's."""


class InterfaceType:
    """How it is made, read, changed and removed; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """The public key: all that ever leaves the node of the pair."""
        return ("publicKey",)

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Property by property; another interface name makes it anew. What only explains others makes no difference."""
        return [change for change in differences(old, new, replace=REPLACE) if change.path[0] not in (NOTES, ADOPT)]

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Make it, or adopt what an earlier run left; a stranger's only where that is declared, else TakenByOther."""
        facts = hosts.facts(inputs["host"])
        name = inputs["interface"]
        link, wireguard = facts.interfaces.get(name), facts.wireguard.get(name)
        stranger = wireguard is None or bool(wireguard.public_key)
        ours = link is None or bool(marks.of_mesh(link, marks.ALIAS)) or adoption.may(facts, inputs)
        if stranger and not ours:
            raise TakenByOther(
                f"{inputs['node']} already has an interface {name} that swarmctl did not make",
                "choose another name with the mesh's field `interface`, or remove that interface; one of WireGuard is "
                "taken over where the mesh has `adopt: true`",
            )
        return self._converge(hosts, inputs, facts)

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """Set what differs on the node, and nothing else; the key stays the same, also where its file moves."""
        if old["keyPath"] != new["keyPath"]:
            try:
                _run(hosts.open(new["host"]), f"before={quote(old['keyPath'])}\n{_head(new)}{MOVE_KEY}")
            finally:
                hosts.changed(new["host"])
        facts = hosts.facts(new["host"])
        due.require_done(facts, old, new)
        if old.get("forwarding") is True and not new["forwarding"]:
            return self._converge(hosts, new, facts, stop_forwarding=True, guard=bool(self.guarded(old, new)))
        return self._converge(hosts, new, facts, guard=bool(self.guarded(old, new)))

    def renews(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[str]:
        """The public key, where the private one has been rotated."""
        return ("publicKey",) if due.renewed(old, new) else ()

    def guarded(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
        """What it may take away."""
        return taken.by_interface(old, new)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the node has it. None when the node or the key is gone: both mean a new key, which others must learn.

        A running interface that is to be adopted has its key, if not in our file yet.
        """
        try:
            facts = hosts.facts(inputs["host"])
        except HostGone:
            return None
        key = facts.public_keys.get(inputs["keyPath"])
        if key is not None:
            return Observed(observe(facts, inputs), due.outputs(key, due.made(facts, inputs["keyPath"])))
        if key := adoption.found(facts, inputs):
            copied = {"keyMode": inputs["keyMode"], "key": due.INSTALLED}
            return Observed({**observe(facts, inputs), **copied}, {"publicKey": key})
        return None

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Take the interface, its process and the key away, unless another mesh has taken the interface over.

        Raises ValueError for a key that lies elsewhere than in the folder of a mesh, and removes nothing.
        """
        folder = key_folder(inputs["keyPath"])
        try:
            facts = hosts.facts(inputs["host"])
            host = hosts.open(inputs["host"])
            link = facts.interfaces.get(inputs["interface"])
            second.remove(hosts, {**inputs, "nextInterface": next_interface(inputs["interface"])})
            if link is None or link.alias in ("", _alias(inputs)):
                files = [startup.interface(inputs["interface"]), startup.peers(inputs["interface"])]
                if forget := startup.remove(facts.startup, files):
                    _run(host, forget)
                host.stop_service(service(inputs["interface"]))
                # A link of the kernel's stays, one of a process went with it.
                name = quote(inputs["interface"])
                _run(host, f"if ip link show {name} >/dev/null 2>&1; then ip link del {name}; fi\n")
                if inputs["forwarding"]:
                    _run(host, "".join(_set_forwarding(inputs, on=False)))
            if not any(it.alias == _alias(inputs) and it is not link for it in facts.interfaces.values()):
                # Another interface with the same mark has its key there, too.
                _run(host, key_files.wipe(folder))
        except HostGone:
            return
        hosts.changed(inputs["host"])

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """One line when it comes or goes, one per property when it changes."""
        if old is None or new is None:
            action, inputs = (ChangeKind.ADD, new) if new is not None else (ChangeKind.DELETE, old)
            return [Effect(action, describe(inputs, made=new is not None))] if inputs is not None else []
        changes = self.diff(old, new)
        if any(change.replace for change in changes):
            return [*self.effects(old, None), *self.effects(None, new)]
        return [
            Effect(ChangeKind.UPDATE, f"interface {words(new['interface'])}: {changed(change, old, new)}")
            for change in changes
            if change.path[0] not in ("host", "node")
        ]

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """What it does to the tunnels of the node."""
        if old is None:
            return Impact()
        if new is None:
            return Impact(f"tunnels of {old['node']} close")
        changed = self.diff(old, new)
        if any(change.replace for change in changed):
            return Impact(adoption.replaced(old, new))
        if any(change.path[0] == "addresses" for change in changed):
            return Impact(f"connections of {new['node']} over the old addresses end, its tunnels re-handshake")
        harmless = ("key",) if due.rotation(old) else ()
        if any(change.path[0] in DISRUPTIVE and change.path[0] not in harmless for change in changed):
            return Impact(f"tunnels of {new['node']} re-handshake")
        return Impact()

    def _converge(
        self,
        hosts: Hosts,
        inputs: Mapping[str, Json],
        facts: Facts,
        *,
        stop_forwarding: bool = False,
        guard: bool = False,
    ) -> Mapping[str, Json]:
        """From the facts to the inputs, doing only what is missing; returns the outputs."""
        seen = observe(facts, inputs)
        public, made = facts.public_keys.get(inputs["keyPath"], ""), due.made(facts, inputs["keyPath"])
        missing = public == "" or seen["keyMode"] != inputs["keyMode"]
        if seen["state"] in LOST or missing:
            host = hosts.open(inputs["host"])
            copy = COPY_KEY if missing and adoption.wanted(inputs) else ""
            script = _head(inputs) + copy + (MAKE_KEY if missing else "") + PRINT_PUBLIC_KEY
            try:
                public, made = [*_run(host, script).text.split(), "", ""][:2]
                if seen["state"] in LOST:
                    start(host, inputs["interface"])
            finally:
                hosts.changed(inputs["host"])
        commands = _settings(facts, inputs, seen, public)
        if int(inputs.get("keyGeneration") or 0) != (0 if public == "" else due.generation(facts, inputs["keyPath"])):
            # A new key has been through all of them; a state that was lost or restored counts otherwise.
            commands.append(f"generation={int(inputs.get('keyGeneration') or 0)}\n{NOTE_GENERATION}")
        if stop_forwarding:
            commands += _set_forwarding(inputs, on=False)
        path, text = _startup(inputs)
        if keep := startup.put(facts.startup, path, text):
            commands.append(keep)
        if commands:
            host = hosts.open(inputs["host"])
            try:
                script = _head(inputs) + WAIT + "".join(commands)
                if guard:
                    files = {startup_files.part(path): path} if keep else {}
                    change = Change(f"interface.{inputs['interface']}", inputs.get(CONFIRM_WITHIN, 60), script, files)
                    hosts.guarded(inputs["host"], change)
                else:
                    _run(host, script)
            except CommandFailed as error:
                raise explained(error, host, inputs["interface"]) from None
            finally:
                hosts.changed(inputs["host"])
        return due.outputs(public, made)


def observe(facts: Facts, inputs: Mapping[str, Json]) -> dict[str, Json]:
    """The inputs as the node has them."""
    name = inputs["interface"]
    link, wireguard = facts.interfaces.get(name), facts.wireguard.get(name)
    seen = dict(inputs)
    seen["keyMode"] = facts.key_files.get(inputs["keyPath"], "none")
    if beside := key_files.exposed(facts, inputs["keyPath"]):
        seen["exposed"] = beside
    if "keyGeneration" in inputs:
        seen["keyGeneration"] = due.generation(facts, inputs["keyPath"])
    if wrong := startup.wrong(facts.startup, *_startup(inputs)):
        seen[startup.PROPERTY] = wrong
    if link is None or wireguard is None:
        seen["state"] = "hung" if name in facts.hung else "gone"
        return seen
    seen["state"] = "up" if link.up else "down"
    seen["mtu"] = link.mtu
    seen["listenPort"] = wireguard.listen_port
    seen["addresses"] = same_order(link.addresses, inputs["addresses"])
    seen["key"] = due.measured(facts, inputs["keyPath"], int(inputs.get("rotateEvery") or 0))
    # While it is rotated, the interface has the one or the other.
    if seen["key"] != due.ROTATING and wireguard.public_key != facts.public_keys.get(inputs["keyPath"]):
        seen["key"] = "another" if wireguard.public_key else "none"
    if wireguard.fwmark != "off":
        seen["fwmark"] = wireguard.fwmark
    if link.up and (astray := [*map(routes.in_words, routes.strays(facts, inputs)), *routes.missing(facts, inputs)]):
        seen["routes"] = astray
    if inputs["forwarding"]:
        # Off is not measured: a node that is no hub may have other reasons to forward, and the firewall forbids it.
        seen["forwarding"] = all(facts.sysctl.get(key) == "1" for key in _forwarding_keys(inputs))
    return seen


def _startup(inputs: Mapping[str, Json]) -> tuple[str, str]:
    """The file that brings it back after a restart, and what is in there."""
    return startup.interface(inputs["interface"]), startup_files.interface(inputs, _forwarding_keys(inputs))


def same_order(found: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """`found` in the order of `wanted`, the rest behind it: what has no order must not differ by it."""
    return [item for item in wanted if item in found] + sorted(item for item in found if item not in wanted)


def _settings(facts: Facts, inputs: Mapping[str, Json], seen: Mapping[str, Json], public: str) -> list[str]:
    """The commands that set what differs; peers and sessions are not touched."""
    gone = seen["state"] in LOST
    name = inputs["interface"]
    link, wireguard = facts.interfaces.get(name), facts.wireguard.get(name)
    commands: list[str] = []
    if gone or wireguard is None or wireguard.public_key != public:
        commands.append('wg set "$interface" private-key "$key"\n')
    if gone or seen["listenPort"] != inputs["listenPort"]:
        commands.append(f'wg set "$interface" listen-port {int(inputs["listenPort"])}\n')
    if gone or link is None or link.alias != _alias(inputs):
        commands.append(f'ip link set dev "$interface" alias {quote(_alias(inputs))}\n')
    if gone or seen["mtu"] != inputs["mtu"]:
        commands.append(f'ip link set dev "$interface" mtu {int(inputs["mtu"])}\n')
    if gone or seen["state"] != "up":
        commands.append('ip link set dev "$interface" up\n')
    if not gone and wireguard is not None and wireguard.fwmark != "off":
        commands.append('wg set "$interface" fwmark off\n')
    if seen.get("exposed"):
        commands.append(key_files.CLOSE)
    present = [] if gone else seen["addresses"]
    # Removed first: with a primary address the kernel drops the others of its network too.
    commands += [f'ip addr del {quote(a)} dev "$interface"\n' for a in present if a not in inputs["addresses"]]
    if any(":" in address and address not in present for address in inputs["addresses"]):
        switch = '"/proc/sys/net/ipv6/conf/$interface/disable_ipv6"'
        commands.append(f'if [ "$(cat {switch})" != 0 ]; then echo 0 >{switch}; fi\n')
    for address in (a for a in inputs["addresses"] if a not in present):
        commands.append(f'ip addr add {quote(address)} dev "$interface"{" nodad" if ":" in address else ""}\n')
    # A route that is gone already is as it should be.
    commands += [
        f"ip -{6 if ':' in route.network else 4} route del {quote(route.kind)} {' '.join(map(quote, rest))} || :\n"
        for route in routes.strays(facts, inputs)
        for rest in [routes.in_words(route).split()[1:]]
    ]
    if not gone:
        for address in map(ip_interface, inputs["addresses"]):
            if f"none for {address.network}" in seen.get("routes", ()):
                own = f"scope link src {address.ip}" if address.version == 4 else "metric 256"
                route = f'{address.network} dev "$interface" proto kernel {own}'
                commands.append(f"ip -{address.version} route replace {route}\n")
    if inputs["forwarding"] and not all(facts.sysctl.get(key) == "1" for key in _forwarding_keys(inputs)):
        commands += _set_forwarding(inputs, on=True)
    return commands


def _forwarding_keys(inputs: Mapping[str, Json]) -> list[str]:
    return [FORWARDING[family] for family in sorted({6 if ":" in text else 4 for text in inputs["addresses"]})]


def _set_forwarding(inputs: Mapping[str, Json], *, on: bool) -> list[str]:
    # Redirects would go nowhere, and use up the kernel's budget of ICMP for those who wait for other answers.
    quiet = 'for at in all "$interface"; do echo 0 >"/proc/sys/net/ipv4/conf/$at/send_redirects"; done\n'
    switches = [f"echo {int(on)} >/proc/sys/{key.replace('.', '/')}\n" for key in _forwarding_keys(inputs)]
    return [*switches, quiet] if on else switches


def _head(inputs: Mapping[str, Json]) -> str:
    key_folder(inputs["keyPath"])
    return f"interface={quote(inputs['interface'])}\nkey={quote(inputs['keyPath'])}\n"


def _run(host: Host, script: str) -> Completed:
    return host.run(["sh", "-eu", "-s"], stdin=script.encode(), timeout=60.0)


def _alias(inputs: Mapping[str, Json]) -> str:
    return f"{marks.ALIAS}{mesh_of(inputs['keyPath'])}"
