"""Declared hosts → placements: who is which machine, and how it is reached. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from swarmctl.backends import ways
from swarmctl.backends.base import Placement, PoolRequest
from swarmctl.backends.ssh.address import PORT
from swarmctl.backends.ssh.spec import FirstJump, Jump, SshHost, SshSpec
from swarmctl.hosts import public_keys

_MINE = ("key", "certificate")
"""Of a way: what belongs to whoever logs in, and not to the machine."""


def place(stack: str, pools: Sequence[PoolRequest], previous: Mapping[str, Mapping[str, Any]]) -> list[Placement]:
    """Every declared host, as it is declared. What is `previous` decides which of its host keys it is known by, and of
    one that counts as silent where others reach it."""
    return list(_placed(stack, pools, previous))


def _placed(stack: str, pools: Iterable[PoolRequest], previous: Mapping[str, Mapping[str, Any]]) -> Iterator[Placement]:
    for pool in pools:
        spec: SshSpec = pool.spec
        for host in spec.hosts:
            name = pool.names.get(host.name, host.name)
            way = {"backend": "ssh", "stack": stack, "node": name, **_way(spec, host)}
            underlay, endpoint = _reached(_proved(way, previous.get(name, {})), nat=spec.nat)
            listens = sorted({*(host.listens or spec.listens or ())})
            yield Placement(
                pool=pool.pool,
                key=host.name,
                name=name,
                labels={**pool.labels, **host.labels},
                inputs=_inputs(pool.region, way, previous.get(name, {}), listens, spec.managed_from),
                underlay=underlay,
                host=way,
                endpoint=endpoint,
                mtu=spec.mtu,
                managed_ports=tuple(listens or [way.get("port", PORT)]),
                managed_from=tuple(spec.managed_from or ()),
                state=host.state or pool.state,
            )


def _way(spec: SshSpec, host: SshHost) -> dict[str, Any]:
    """What `Address.load` reads; what has its usual value is left out."""
    mine = {"key": host.key, "certificate": host.certificate}
    if host.key is None:
        mine = {"key": spec.key, "certificate": host.certificate or spec.certificate}
    user, port, jump = host.user or spec.user, host.port or spec.port, host.jump or spec.jump
    way: dict[str, Any] = {"address": host.address, "user": user, "hostKeys": list(host.host_keys)}
    if port != PORT:
        way["port"] = port
    way |= {name: value for name, value in mine.items() if value is not None}
    if jump is not None:
        way["jump"] = _jump(jump, user, mine)
    return way


def _jump(jump: FirstJump, user: str, mine: Mapping[str, str | None]) -> dict[str, Any]:
    if jump.key is not None:
        mine = {"key": jump.key, "certificate": jump.certificate}
    elif jump.certificate is not None:
        mine = {**mine, "certificate": jump.certificate}
    way: dict[str, Any] = {"address": jump.address, "user": jump.user or user, "hostKeys": list(jump.host_keys)}
    if jump.port != PORT:
        way["port"] = jump.port
    way |= {name: value for name, value in mine.items() if value is not None}
    if isinstance(jump, Jump) and jump.jump is not None:
        way["jump"] = _jump(jump.jump, way["user"], mine)
    return way


def _inputs(
    region: str,
    way: Mapping[str, Any],
    before: Mapping[str, Any],
    listens: Sequence[int],
    managed_from: Sequence[str] | None,
) -> dict[str, Any]:
    """Without the user's keys: a plan must not differ between two computers that log in with other ones."""
    inputs = {
        "backend": "ssh",
        "host": ways.name(way),
        "region": region,
        **{name: way[name] for name in ways.RECORDED if name in way},
        "knownBy": known_by(way["hostKeys"], before),
    }
    if "jump" in inputs:
        inputs["jump"] = _without_keys(inputs["jump"])
    if listens:
        inputs["listens"] = list(listens)
    if managed_from:
        inputs["managedFrom"] = list(managed_from)
    return inputs


def _without_keys(way: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in way.items() if name not in _MINE}
    return kept | {"jump": _without_keys(way["jump"])} if "jump" in way else kept


def known_by(host_keys: Sequence[str], before: Mapping[str, Any]) -> str:
    """By which fingerprint it is this machine and no other: the one it had, as long as any of the host keys that it
    had is still declared; a key that is added, or an old one that is taken away, make no other machine of it."""
    kept = set(host_keys) & set(before.get("hostKeys") or ())
    if kept and before.get("knownBy"):
        return str(before["knownBy"])
    return public_keys.fingerprint(host_keys[0]) if host_keys else ""


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two ways lead to one machine: they have a host key in common."""
    return bool(set(one["hostKeys"]) & set(other["hostKeys"]))


def same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether only one machine can stand where two ways lead."""

    def spot(way: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple((part["address"], part.get("port", PORT)) for part in ways.parts(way))

    return spot(one) == spot(other)


def _proved(way: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """The address that others are told: of a machine that does not answer at the declared one, that it was applied
    with. Nobody has seen it at the new one, which may be a slip of the pen."""
    address = before.get("address") if ways.on_silent({"host": way}) else None
    return str(address or way["address"])


def _reached(address: str, *, nat: bool) -> tuple[tuple[str, ...], str | None]:
    """Underlay addresses and endpoint, as `Placement` has them."""
    try:
        found = ip_address(address)
    except ValueError:
        return (), None if nat else address.lower()
    if found.is_loopback or found.is_link_local:  # leads here from here alone, such as a port that is passed on
        return (), None
    return (str(found),), None if nat else ""
