"""`swarm:securitypolicy:Firewall`: one node's nftables table, compared rule by rule, replaced in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from swarmctl.backends.base import HostGone
from swarmctl.errors import WorldUnreadable
from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts
from swarmctl.kinds.base import (
    UNKNOWN,
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
)
from swarmctl.mesh import firewall, nft

NFT = ("nft", "-f", "-")
REPLACE = {"machine": "it goes away with its machine"}


class FirewallType:
    """How it is made, read, changed and removed; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Rule by rule."""
        return differences(old, new, replace=REPLACE)

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Put the table there as a whole, in one transaction, unless it is there like that already."""
        table = table_of(hosts.facts(inputs["host"]), inputs["node"])
        if table != nft.Table(inputs["policy"], inputs["chains"], inputs["rules"]):
            text = firewall.render(inputs["policy"], inputs["chains"], inputs["rules"])
            self._transaction(hosts, inputs, text)
        return {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """The same: connections that are let in already live on, nft changes from one table to the other at once."""
        return self.create(hosts, new)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the node has it; None when the table is gone or another policy's."""
        try:
            table = table_of(hosts.facts(inputs["host"]), inputs["node"])
        except HostGone:
            return None
        if table is None or table.owner not in ("", inputs["policy"]):
            return None
        return Observed({**inputs, "policy": table.owner, "chains": dict(table.chains), "rules": dict(table.rules)}, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Take the table away, unless another policy has put its own there."""
        try:
            table = table_of(hosts.facts(inputs["host"]), inputs["node"])
            if table is not None and table.owner in ("", inputs["policy"]):
                self._transaction(hosts, inputs, firewall.render_removal())
        except HostGone:
            return

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """One line per rule and per chain."""
        if old is not None and new is not None and any(change.replace for change in self.diff(old, new)):
            old = None  # the old one is gone with its machine
        effects = [
            Effect(kind, f"{_chain_words(name, before)} → {_policy(after)}" if before and after else words)
            for name, kind, before, after in _steps(old, new, "chains")
            for words in [_chain_words(name, after or before)]
        ]
        for name, kind, before, after in sorted(_steps(old, new, "rules"), key=lambda step: _interest(step[0])):
            words = _changed(before, after) if before and after else in_words(after or before)
            effects.append(Effect(kind, f"rule {name}: {words}"))
        return effects

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """What is closed that was open."""
        if old is None:
            return Impact()
        if new is None:
            return Impact(f"{old['node']} has no firewall of swarmctl's any more")
        before, after = _flows(_part(old, "rules")), _flows(_part(new, "rules"))
        closed: dict[str, list[str]] = {}
        for protocol, ports, source in before:
            open_still = [still for kind, still, who in after if (kind, who) == (protocol, source)]
            for first, last in _uncovered(ports, open_still):
                port = f"{protocol}/{first}" if first == last else f"{protocol}/{first}-{last}"
                closed.setdefault(port, []).append(source)
        words = [f"{port} for {_some(sources)}" for port, sources in closed.items()]
        return Impact(f"closes {', '.join(words)}" if words else "")

    def _transaction(self, hosts: Hosts, inputs: Mapping[str, Json], text: str) -> None:
        host = hosts.open(inputs["host"])
        try:
            host.run(NFT, stdin=text.encode())
        finally:
            hosts.changed(inputs["host"])


def table_of(facts: Facts, node: str) -> nft.Table | None:
    """The table of swarmctl's, None when there is none. Raises `WorldUnreadable`."""
    try:
        return nft.parse(facts.nftables)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorldUnreadable(
            f"the firewall of {node} cannot be read: {type(error).__name__}: {error}",
            f"look at what `swarmctl exec {node} -- nft -j list ruleset` prints",
        ) from error


def _part(inputs: Mapping[str, Json] | None, name: str) -> Mapping[str, str]:
    part = inputs.get(name) if inputs is not None else None
    return part if isinstance(part, Mapping) else {}


def _steps(
    old: Mapping[str, Json] | None, new: Mapping[str, Json] | None, part: str
) -> Iterator[tuple[str, ChangeKind, str, str]]:
    """What differs of `part`: name, what happens, text before and after, empty where there is none."""
    before, after = _part(old, part), _part(new, part)
    for name in sorted({*before, *after}, key=firewall.order):
        pair = (before.get(name, ""), after.get(name, ""))
        if name not in after:
            yield name, ChangeKind.DELETE, *pair
        elif name not in before:
            yield name, ChangeKind.ADD, *pair
        elif pair[0] != pair[1]:
            yield name, ChangeKind.UPDATE, *pair


def in_words(text: Json) -> str:
    """A rule for people: `tcp/6379 from 10.88.0.9, 10.88.3.4 on wg0`. What it doesn't know stays as it is."""
    words = "(known after apply)" if text is UNKNOWN else str(text)
    for pattern, plain in WORDS:
        words = pattern.sub(plain, words)
    return words


WORDS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r'^iifname "lo" accept$', "everything from the node itself"),
        (r'^iifname "([^"]+)" oifname "\1" accept$', r"everything that goes on from \1 to \1"),
        (
            r'^oifname != \{ "lo", "([^"]+)" \} ip6? daddr (.*) drop$',
            r"what goes to \2 by another way than \1: dropped",
        ),
        (r'^iifname "([^"]+)" (.*) accept$', r"\2 on \1"),
        (r'^iifname != "([^"]+)" (.*) accept$', r"\2 outside of \1"),
        (r'^iifname "([^"]+)" (.*) drop$', r"\2 on \1: dropped"),
        (r'^iifname != "([^"]+)" (.*) drop$', r"\2 outside of \1: dropped"),
        (r"^(.*) accept$", r"\1"),
        (r"^(.*) drop$", r"\1: dropped"),
        (r"\bip6? saddr (\{ [^}]* \}|\S+) (.*?)( limit| on | outside|$)", r"\2 from \1\3"),
        (r"\{ ([^}]*) \}", r"\1"),
        (r"\b(tcp|udp) dport ", r"\1/"),
        (r"\bct state (\S+)", r"connections that are \1"),
        (r"\b(icmp|icmpv6) type ", r"\1 "),
        (r" limit rate over (\S+)/(\S+) burst \d+ packets", r" over \1 a \2"),
        (r" limit rate (\S+)/(\S+) burst \d+ packets", r", at most \1 a \2,"),
    )
)


def _chain_words(name: str, text: Json) -> str:
    return f"{name}: {_policy(text)} by default" if name in firewall.CHAINS else f"chain {name}: {_policy(text)}"


_FIRST = ("flow", "wireguard", "no-plaintext", "through", "mesh", "path-mtu")
"""Rules that a reader looks for first, by the first word of their names; what every firewall has comes after."""


def _interest(name: str) -> int:
    word = name.partition(":")[0]
    return _FIRST.index(word) if word in _FIRST else len(_FIRST)


def _policy(text: Json) -> str:
    return "(known after apply)" if text is UNKNOWN else str(text).rpartition(" policy ")[2]


def _changed(before: Json, after: Json) -> str:
    """What is different: only the sources where only they are."""
    if before is UNKNOWN or after is UNKNOWN:
        return "(known after apply)"
    old, new = firewall.sources(before), firewall.sources(after)
    if _without(before, old) != _without(after, new):
        return f"{in_words(before)} → {in_words(after)}"
    gone = [f"-{source}" for source in old if source not in new]
    return " ".join(["from", *gone, *(f"+{source}" for source in new if source not in old)])


def _without(text: str, sources: Sequence[str]) -> str:
    return text.replace(f"saddr {firewall.canonical(sources)} ", "") if sources else text


Ports = tuple[int, int]
"""First and last port."""


def _flows(rules: Mapping[str, str]) -> list[tuple[str, Ports, str]]:
    """What the rules of flows let in: protocol, ports and source address."""
    found = []
    for name, text in rules.items():
        words = text.split()
        if name.startswith("flow:") and "dport" in words:
            at = words.index("dport")
            first, _, last = words[at + 1].partition("-")
            ports = (int(first), int(last or first))
            found += [(words[at - 1], ports, source) for source in firewall.sources(text)]
    return found


def _uncovered(ports: Ports, others: Sequence[Ports]) -> list[Ports]:
    """What is left of `ports` without `others`."""
    first, left = ports[0], []
    for other_first, other_last in sorted(others):
        if other_first > first:
            left.append((first, min(other_first - 1, ports[1])))
        first = max(first, other_last + 1)
    return [(low, high) for low, high in [*left, (first, ports[1])] if low <= high]


def _some(addresses: Sequence[str]) -> str:
    return ", ".join(addresses) if len(addresses) <= 3 else f"{len(addresses)} addresses"


FIREWALL = FirewallType()
