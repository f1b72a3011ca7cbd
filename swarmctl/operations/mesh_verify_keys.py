"""Who can read the keys of a mesh, and whom its interfaces accept: two checks of `mesh verify`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.graph.model import MeshMember
from swarmctl.hosts.facts import Facts, Peer
from swarmctl.mesh.compiler import single
from swarmctl.operations.mesh_verify_model import Check, Finding, Name, Verdict
from swarmctl.operations.mesh_verify_seen import Mesh, Wanted

KEY_MODE = "0600"


def key_files(mesh: Mesh) -> Check:
    """Private keys, those that follow or were before, preshared ones, what opens them, copies, and their folders."""
    findings: list[Finding] = []
    count = 0
    for member, wanted, facts in mesh.facts():
        count += 1
        path, mode = wanted.key_path, facts.key_files.get(wanted.key_path)
        if mode != KEY_MODE:
            text = f"{path} is missing" if mode is None else f"{path} has the mode {mode}, not {KEY_MODE}"
            findings.append(Finding(member.node, text))
        if facts.exposed is None:
            text = f"what lies beside {path} could not be looked at: no find(1) there that prints modes"
            findings.append(Finding(member.node, text, Verdict.UNMEASURED))
        findings += [
            Finding(member.node, f"{it.path} {it.text}")
            for it in facts.exposed or ()
            if it.path != path or it.kind == "l" or it.owner  # its mode is told above
        ]
    return Check(Name.KEY_FILES, count, f"{count} private keys can be read by root alone", tuple(findings))


def peers(mesh: Mesh) -> Check:
    """Whether every peer of every WireGuard interface is a declared one."""
    count = 0
    findings: list[Finding] = []
    known = {member.node: (member, wanted, facts) for member, wanted, facts in mesh.facts()}
    for member, wanted, facts in known.values():
        accepted = {key for peer in member.peers if peer in known for key in _keys(*known[peer])}
        retired = {key: peer for peer in member.peers if peer in known if (key := _retired(*known[peer]))}
        for interface in (member.interface, member.next_interface):
            wireguard = facts.wireguard.get(interface)
            for key, peer in wireguard.peers.items() if wireguard else ():
                count += 1
                owner = retired.get(key, "")
                if key in accepted or (owner and (_rotating(*known[owner]) or _rotating(member, wanted, facts))):
                    continue
                if owner:
                    findings.append(
                        Finding(member.node, f"{interface} has a peer with a retired key of {owner}: {key}")
                    )
                elif not _unreadable(mesh, member, wanted, peer, first=interface == member.interface):
                    findings.append(Finding(member.node, f"{interface} has a peer that nobody declared: {key}"))
        findings += _others(member, facts)
    return Check(Name.PEERS, count or len(mesh.members) == 1, f"{count} peers, all of them declared", tuple(findings))


def _keys(member: MeshMember, wanted: Wanted, facts: Facts) -> set[str]:
    """The public keys that a node has, or is about to have."""
    found = {
        wireguard.public_key
        for interface in (member.interface, member.next_interface)
        if (wireguard := facts.wireguard.get(interface)) is not None
    }
    found.add(facts.public_keys.get(wanted.key_path, ""))
    if (trail := facts.key_trails.get(wanted.key_path)) is not None:
        found.add(trail.next_key)
    return found - {""}


def _retired(member: MeshMember, wanted: Wanted, facts: Facts) -> str:
    """The key that a node had before; empty when it has its first."""
    trail = facts.key_trails.get(wanted.key_path)
    return trail.previous_key if trail is not None else ""


def _rotating(member: MeshMember, wanted: Wanted, facts: Facts) -> bool:
    """Whether a rotation goes on at a node: only then may others still know it by the key before."""
    trail = facts.key_trails.get(wanted.key_path)
    return member.next_interface in facts.wireguard or (trail is not None and bool(trail.next_key))


def _unreadable(mesh: Mesh, member: MeshMember, wanted: Wanted, found: Peer, *, first: bool) -> bool:
    """Whether a peer is as one is declared whose node can't be read, so that its key can't be compared."""
    return any(
        mesh.readings[other.node].facts is None
        and other.node in member.peers
        and _as_declared(wanted, other, found, first)
        for other in mesh.members
    )


def _as_declared(wanted: Wanted, other: MeshMember, found: Peer, first: bool) -> bool:
    """In all that is declared of it, apart from networks that the failover agent may have moved."""
    declared = wanted.peers.get(other.node, {})
    own = set(single(other.addresses))
    allowed = set(declared.get("allowedIps", own))
    moving = {net for group in wanted.groups if other.node in group["via"] for net in group["networks"]}
    differing = allowed ^ set(found.allowed_ips)
    # While a key is rotated keepalives are others, on the second interface.
    keepalive = declared.get("persistentKeepalive", found.keepalive)
    return (
        bool(found.allowed_ips)
        and differing <= (moving | own if moving else set())
        and (not first or keepalive == found.keepalive)
    )


def _others(member: MeshMember, facts: Facts) -> Iterator[Finding]:
    """WireGuard interfaces that no mesh declares: who is accepted there is in no declaration."""
    own = (member.interface, member.next_interface)
    for name, wireguard in facts.wireguard.items():
        if name not in own and wireguard.peers:
            first, more = next(iter(wireguard.peers)), len(wireguard.peers) - 1
            text = f"{name}, a WireGuard interface that no mesh declares, has a peer: {first}"
            yield Finding(member.node, text + (f" and {more} more" if more else ""))
    for name in sorted(facts.hung.difference(own)):
        yield Finding(member.node, f"the peers of {name} can't be read: it does not answer", Verdict.UNMEASURED)
