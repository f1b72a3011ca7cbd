"""The second interface of a node, where a rotation has left one."""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.backends.base import HostGone
from swarmctl.graph.model import Json
from swarmctl.kinds.base import Hosts
from swarmctl.kinds.mesh.link import stop
from swarmctl.kinds.mesh.rotation import scripts
from swarmctl.kinds.mesh.rotation.survey import Survey


def remove(hosts: Hosts, inputs: Mapping[str, Json]) -> None:
    """Take the second interface of one node away; nothing happens where there is none, or no machine."""
    try:
        facts = hosts.facts(inputs["host"])
        link = facts.interfaces.get(inputs["nextInterface"])
        if link is None or not (link.alias == "" or link.alias.startswith(scripts.ALIAS)):
            return
        host = hosts.open(inputs["host"])
        try:
            stop(host, inputs["nextInterface"])
            script = scripts.head(Survey(inputs, {})) + scripts.DROP
            host.run(["sh", "-eu", "-s"], stdin=script.encode(), timeout=60.0)
        finally:
            hosts.changed(inputs["host"])
    except HostGone:
        return
