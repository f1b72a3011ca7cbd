"""`swarm:securitypolicy:Firewall`: one node's nftables table, compared rule by rule, replaced in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarmctl.backends import ways
from swarmctl.backends.base import HostGone
from swarmctl.errors import WorldUnreadable
from swarmctl.graph.model import Json
from swarmctl.hosts import guard, startup
from swarmctl.hosts.facts import Facts
from swarmctl.kinds.base import (
    CONFIRM_WITHIN,
    UNKNOWN,
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
)
from swarmctl.kinds.security_policy import words
from swarmctl.kinds.security_policy.taken import taken
from swarmctl.mesh import isolation, nft, transaction

_ISOLATED = (
    "{} is isolated: only its management gets in, and nothing out but answers to it; it leaves its meshes, and nothing "
    "else on it is changed"
)
NFT = ("nft", "-f", "-")
STARTUP_PART = "file.startup-firewall"
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
        """Put the table there in one transaction, unless it is there like that already; its counters go on counting."""
        facts = hosts.facts(inputs["host"])
        found = table_of(facts, inputs["node"])
        wanted = declared(inputs)
        keep = startup.put(facts.startup, startup.FIREWALL, transaction.render(wanted))
        if found != wanted:
            text = transaction.transaction(wanted, found)
            # In place of another policy's, too.
            if found is not None and taken(_inputs(found), _inputs(wanted)):
                script = guard.heredoc("nft -f -", text) + keep
                files = {STARTUP_PART: startup.FIREWALL} if keep else {}
                change = guard.Change("firewall", inputs.get(CONFIRM_WITHIN, 60), script, files)
                hosts.guarded(inputs["host"], change)
            else:
                self._transaction(hosts, inputs, text, keep)
        elif keep:
            self._transaction(hosts, inputs, "", keep)
        return {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """The same: connections that are let in already live on, nft changes from one table to the other at once."""
        return self.create(hosts, new)

    def guarded(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
        """What it may close."""
        return taken(old, new)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the node has it; None when the table is gone or another policy's."""
        try:
            facts = hosts.facts(inputs["host"])
            table = table_of(facts, inputs["node"])
        except HostGone:
            return None
        if table is None or table.owner not in ("", inputs["policy"]):
            return None
        seen: dict[str, Json] = {
            "policy": table.owner,
            "chains": table.chains,
            "rules": table.rules,
            "sets": table.sets,
        }
        if wrong := startup.wrong(facts.startup, startup.FIREWALL, transaction.render(declared(inputs))):
            seen[startup.PROPERTY] = wrong
        return Observed({**inputs, **seen}, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Take the table away, unless another policy has put its own there."""
        try:
            facts = hosts.facts(inputs["host"])
            table = table_of(facts, inputs["node"])
            if table is not None and table.owner not in ("", inputs["policy"]):
                return
            removal = startup.remove(facts.startup, [startup.FIREWALL])
            if table is not None or removal:
                self._transaction(hosts, inputs, transaction.render_removal(), removal)
        except HostGone:
            return

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """One line per rule and per chain, and per set whose addresses change."""
        if old is not None and new is not None and any(change.replace for change in self.diff(old, new)):
            old = None  # the old one is gone with its machine
        mended = startup.mended("the firewall", (old or {}).get(startup.PROPERTY)) if new is not None else ""
        return words.effects(old, new) + ([Effect(ChangeKind.UPDATE, mended)] if mended else [])

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """What is closed that was open, and what will be."""
        if new is not None and isolation.is_shut(new["chains"]):
            was = old is not None and isolation.is_shut(old["chains"])
            return Impact("" if was else _ISOLATED.format(new["node"]))
        if old is None and new is not None:
            # A machine that is made in the same run has nothing that could be closed.
            fresh = new["machine"] is UNKNOWN
            return Impact("" if fresh else f"{new['node']} begins to drop what no rule lets in, on all its networks")
        if old is None:
            return Impact()
        if new is None:
            if ways.is_lost(old["host"]):
                return Impact()
            return Impact(f"{old['node']} has no firewall of swarmctl's any more")
        return Impact(words.closed(old, new))

    def _transaction(self, hosts: Hosts, inputs: Mapping[str, Json], text: str, more: str = "") -> None:
        """Have nft do what `text` says, then the shell what `more` does."""
        host = hosts.open(inputs["host"])
        script = (guard.heredoc("nft -f -", text) if text else "") + more
        try:
            if more:
                host.run(["sh", "-eu", "-s"], stdin=script.encode(), timeout=60.0)
            else:
                host.run(NFT, stdin=text.encode())
        finally:
            hosts.changed(inputs["host"])


def declared(inputs: Mapping[str, Json]) -> nft.Table:
    """The table that the inputs describe."""
    return nft.Table(inputs["policy"], inputs["chains"], inputs["rules"], inputs.get("sets", {}))


def _inputs(table: nft.Table) -> Mapping[str, Json]:
    return {"chains": table.chains, "rules": table.rules, "sets": table.sets}


def table_of(facts: Facts, node: str) -> nft.Table | None:
    """The table of swarmctl's, None when there is none. Raises `WorldUnreadable`."""
    try:
        return nft.parse(facts.nftables)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorldUnreadable(
            f"the firewall of {node} cannot be read: {type(error).__name__}: {error}",
            f"look at what `swarmctl exec {node} -- nft -j list ruleset` prints",
        ) from error


FIREWALL = FirewallType()
