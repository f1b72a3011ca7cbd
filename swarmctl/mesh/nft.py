"""nft's JSON listing → the canonical form of `firewall`: rules as lines of nft's language, by name. Pure.

Covers the statements that swarmctl writes; a statement somebody else put there appears as its JSON, which is
enough to see that it is there and to take it away. Grammar: libnftables-json(5).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarmctl.mesh.firewall import FAMILY, OWNER, TABLE, canonical, chain, order


@dataclass(frozen=True, slots=True)
class Table:
    """The table as a host has it."""

    owner: str
    """The policy it was made for; empty when nothing says so."""
    chains: Mapping[str, str]
    rules: Mapping[str, str]
    """By name; rules without a name of ours are called `unnamed:1` and so on. `order` and `flags` are no rules but say
    what is wrong with all of them."""


def parse(listing: Any) -> Table | None:
    """The swarmctl table in the output of `nft -j list ruleset`; None when there is none.

    Raises ValueError, KeyError or TypeError when the listing is not shaped as nft's is.
    """
    items = [item for item in listing["nftables"] if _ours(item)]
    if not any("table" in item for item in items):
        return None
    owner, chains = "", {}
    for found in (item["chain"] for item in items if "chain" in item):
        if found["name"].startswith(OWNER) and "hook" not in found:
            owner = found["name"].removeprefix(OWNER)
        else:
            chains[found["name"]] = _chain(found)
    rules: dict[str, str] = {}
    places: dict[str, list[str]] = {}
    for rule in (item["rule"] for item in items if "rule" in item):
        name = _name(rule, rules)
        rules[name] = _statements(rule["expr"])
        if rule["chain"] != chain(name):
            rules[name] = f"in chain {rule['chain']}: {rules[name]}"
        places.setdefault(rule["chain"], []).append(name)
    if any(names != sorted(names, key=order) for names in places.values()):
        rules["order"] = "rules stand in another order"
    if any(item["table"].get("flags") for item in items if "table" in item):
        # We set none. That there are some is all that can be told: nft 1.0.6 lists the table's name in their place.
        rules["flags"] = "the table has flags and may be switched off as a whole"
    return Table(owner, chains, rules)


def _ours(item: Mapping[str, Any]) -> bool:
    ((kind, body),) = item.items()
    name = body.get("name") if kind == "table" else body.get("table")
    return body.get("family") == FAMILY and name == TABLE and kind in ("table", "chain", "rule")


def _chain(found: Mapping[str, Any]) -> str:
    if "hook" not in found:
        return "plain"
    return f"{found['type']} hook {found['hook']} priority {found['prio']} policy {found['policy']}"


def _name(rule: Mapping[str, Any], taken: Mapping[str, str]) -> str:
    wanted = str(rule.get("comment") or "unnamed:1")
    stem, _, ordinal = wanted.rpartition(":") if "comment" not in rule else (wanted, "", "1")
    number = int(ordinal)
    while wanted in taken:
        number += 1
        wanted = f"{stem}:{number}"
    return wanted


def _statements(expressions: Any) -> str:
    return " ".join(_statement(expression) for expression in expressions)


def _statement(expression: Mapping[str, Any]) -> str:
    ((kind, body),) = expression.items()
    if kind in ("accept", "drop") and body is None:
        return str(kind)
    if kind == "match" and body["op"] in ("==", "in", "!=") and (left := _left(body["left"])):
        negation = "!= " if body["op"] == "!=" else ""
        return f"{left} {negation}{_right(left, body['right'])}"
    if kind == "limit" and {"rate", "per", "burst"} == body.keys() - {"inv"}:
        over = "over " if body.get("inv") else ""
        return f"limit rate {over}{body['rate']}/{body['per']} burst {body['burst']} packets"
    return json.dumps(expression, sort_keys=True)


def _left(left: Mapping[str, Any]) -> str:
    ((kind, body),) = left.items()
    if kind == "payload" and {"protocol", "field"} == body.keys():
        return f"{body['protocol']} {body['field']}"
    if kind == "meta":
        return str(body["key"])
    if kind == "ct" and body.keys() == {"key"}:
        return f"ct {body['key']}"
    return ""


def _right(left: str, right: Any) -> str:
    if left == "ct state":
        states = right["set"] if isinstance(right, Mapping) else right
        return ",".join(sorted(states)) if isinstance(states, list) else str(states)
    if isinstance(right, Mapping) and "set" in right:
        return canonical(_value(left, element) for element in right["set"])
    return _value(left, right)


def _value(left: str, value: Any) -> str:
    if isinstance(value, Mapping) and "range" in value:
        low, high = value["range"]
        return f"{low}-{high}"
    if isinstance(value, Mapping) and "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    if left.endswith("ifname"):
        return f'"{value}"'
    if left == "icmp code" and value == 4:
        return "frag-needed"  # RFC 1191; some versions of nft list the number
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
