"""`swarm:securitypolicy:Firewall`: one node's nftables table, compared rule by rule, replaced in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


class FirewallType:
    """How it is made, read, changed and removed; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Rule by rule."""
        return differences(old, new)

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Put the table there as a whole, in one transaction, unless it is there like that already."""
        table = _table(hosts.facts(inputs["host"]), inputs["node"])
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
            table = _table(hosts.facts(inputs["host"]), inputs["node"])
        except HostGone:
            return None
        if table is None or table.owner not in ("", inputs["policy"]):
            return None
        return Observed({**inputs, "policy": table.owner, "chains": dict(table.chains), "rules": dict(table.rules)}, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Take the table away, unless another policy has put its own there."""
        try:
            table = _table(hosts.facts(inputs["host"]), inputs["node"])
            if table is not None and table.owner in ("", inputs["policy"]):
                self._transaction(hosts, inputs, firewall.render_removal())
        except HostGone:
            return

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """One line per rule and per chain."""
        effects: list[Effect] = []
        for what in ("chains", "rules"):
            word = what.removesuffix("s")
            before, after = _part(old, what), _part(new, what)
            for name in sorted({*before, *after}, key=firewall.order):
                if name not in after:
                    effects.append(Effect(ChangeKind.DELETE, f"{word} {name}: {before[name]}"))
                elif name not in before:
                    effects.append(Effect(ChangeKind.ADD, f"{word} {name}: {after[name]}"))
                elif after[name] != before[name]:
                    effects.append(Effect(ChangeKind.UPDATE, f"{word} {name}: {_changed(before[name], after[name])}"))
        return effects

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """What is closed that was open."""
        if old is None:
            return Impact()
        if new is None:
            return Impact(f"{old['node']} has no firewall of swarmctl's any more")
        before, after = _part(old, "rules"), _part(new, "rules")
        closed: dict[str, None] = {}
        for name, text in before.items():
            if name.startswith("flow:") and name in after:
                gone = [source for source in firewall.sources(text) if source not in firewall.sources(after[name])]
                if gone:
                    closed[f"{_port(text)} for {_some(gone)}"] = None
            elif name.startswith("flow:"):
                closed[f"{_port(text)} for {_some(firewall.sources(text))}"] = None
        return Impact(f"closes {', '.join(closed)}" if closed else "")

    def _transaction(self, hosts: Hosts, inputs: Mapping[str, Json], text: str) -> None:
        host = hosts.open(inputs["host"])
        try:
            host.run(NFT, stdin=text.encode())
        finally:
            hosts.changed(inputs["host"])


def _table(facts: Facts, node: str) -> nft.Table | None:
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


def _changed(before: Json, after: Json) -> str:
    """What is different: only the sources where only they are."""
    if UNKNOWN in (before, after):
        return "(known after apply)"
    old, new = firewall.sources(before), firewall.sources(after)
    if before.replace(firewall.canonical(old or ["-"]), "") != after.replace(firewall.canonical(new or ["-"]), ""):
        return f"{before} → {after}"
    gone = [f"-{source}" for source in old if source not in new]
    return " ".join(["sources", *gone, *(f"+{source}" for source in new if source not in old)])


def _port(text: str) -> str:
    words = text.split()
    at = words.index("dport") if "dport" in words else -1
    return f"{words[at - 1]}/{words[at + 1]}" if at > 0 else "traffic"


def _some(addresses: Sequence[str]) -> str:
    return ", ".join(addresses) if len(addresses) <= 3 else f"{len(addresses)} addresses"


FIREWALL = FirewallType()
