"""nft's JSON listing → the canonical form of `firewall`: rules as lines of nft's language, by name. Pure.

Covers the statements that swarmctl writes; a statement somebody else put there appears as its JSON, which is
enough to see that it is there and to take it away. Grammar: libnftables-json(5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from swarmctl.mesh.firewall import CHAINS, DENIED, FAMILY, OWNER, PEERS, TABLE, by_family, canonical, chain, order

TYPES: Mapping[str, str] = {"ip": "ipv4_addr", "ip6": "ipv6_addr"}
"""What is in a set, by the family at the end of its name."""
_OURS = {
    "table": re.compile(TABLE),
    "chain": re.compile(rf"{'|'.join(CHAINS)}|{OWNER}[a-z0-9-]+"),
    "set": re.compile(rf"({PEERS}|flow-[a-z0-9-]+)\.ip6?"),
    "counter": re.compile(rf"{DENIED}|flow-[a-z0-9-]+"),
}
"""Names of what swarmctl puts into its table, beside rules."""


@dataclass(frozen=True, slots=True)
class Counter:
    """What a counter has seen."""

    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """The table as a host has it."""

    owner: str
    """The policy it was made for; empty when nothing says so."""
    chains: Mapping[str, str]
    rules: Mapping[str, str]
    """By name; rules without a name of ours are called `unnamed:1` and so on. `order` and `flags` are no rules but say
    what is wrong with all of them."""
    sets: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """Name → nft's word for the family → addresses in their order."""
    counters: Mapping[str, Counter] = field(default_factory=dict, compare=False)
    """By name. What they have seen is no difference between tables."""
    foreign: bool = field(default=False, compare=False)
    """Whether there is something in it that only goes with the whole table."""


def parse(listing: Any) -> Table | None:
    """The swarmctl table in the output of `nft -j list ruleset`, with times in UTC; None when there is none.

    Raises ValueError, KeyError or TypeError when the listing is not shaped as nft's is.
    """
    found = [next(iter(item.items())) for item in listing["nftables"] if _ours(item)]
    tables = [body for kind, body in found if kind == "table"]
    if not tables:
        return None
    owner, chains = "", {}
    for body in (body for kind, body in found if kind == "chain"):
        if body["name"].startswith(OWNER) and "hook" not in body and not owner:
            owner = body["name"].removeprefix(OWNER)
        else:
            chains[body["name"]] = _chain(body)
    rules = _rules([body for kind, body in found if kind == "rule"])
    # We set none. That there are some is all that can be told: nft 1.0.6 lists the table's name in their place.
    if flags := any(body.get("flags") for body in tables):
        rules["flags"] = "the table has flags and may be switched off as a whole"
    sets, odd = _sets([body for kind, body in found if kind == "set"])
    foreign = any(
        kind not in _OURS or not _OURS[kind].fullmatch(body["name"]) for kind, body in found if kind != "rule"
    )
    return Table(
        owner,
        chains,
        rules,
        sets,
        {body["name"]: Counter(int(body["packets"]), int(body["bytes"])) for kind, body in found if kind == "counter"},
        foreign=flags or odd or foreign,
    )


def _rules(listed: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    rules: dict[str, str] = {}
    places: dict[str, list[str]] = {}
    for rule in listed:
        name = _name(rule, rules)
        rules[name] = _statements(rule["expr"])
        if rule["chain"] != chain(name):
            rules[name] = f"in chain {rule['chain']}: {rules[name]}"
        places.setdefault(rule["chain"], []).append(name)
    if any(names != sorted(names, key=order) for names in places.values()):
        rules["order"] = "rules stand in another order"
    return rules


def _sets(listed: Sequence[Mapping[str, Any]]) -> tuple[dict[str, dict[str, list[str]]], bool]:
    """The sets by name and family, and whether there are some that are none of ours."""
    sets: dict[str, dict[str, list[str]]] = {}
    odd = False
    for found in listed:
        name, _, family = found["name"].rpartition(".")
        elements = found.get("elem", [])
        plain = all(isinstance(element, str) for element in elements)
        if not plain or found["type"] != TYPES.get(family) or found.get("flags"):
            odd, texts = True, [json.dumps(found.get(key), sort_keys=True) for key in ("type", "flags", "elem")]
        else:
            texts = [text for addresses in by_family(elements).values() for text in addresses]
        sets.setdefault(name or found["name"], {})[family if name else ""] = texts
    return sets, odd


def _ours(item: Mapping[str, Any]) -> bool:
    ((kind, body),) = item.items()
    name = body.get("name") if kind == "table" else body.get("table")
    return kind != "metainfo" and body.get("family") == FAMILY and name == TABLE


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


_OPERATORS = {"==": "", "in": "", "!=": "!= ", "<": "< ", ">=": ">= "}


def _statement(expression: Mapping[str, Any]) -> str:
    ((kind, body),) = expression.items()
    if kind in ("accept", "drop") and body is None:
        return str(kind)
    if kind == "counter" and isinstance(body, str):
        return f'counter name "{body}"'
    if kind == "match" and body["op"] in _OPERATORS and (left := _left(body["left"])):
        return f"{left} {_OPERATORS[body['op']]}{_right(left, body['right'])}"
    if kind == "limit" and {"rate", "per", "burst"} == body.keys() - {"inv"}:
        over = "over " if body.get("inv") else ""
        return f"limit rate {over}{body['rate']}/{body['per']} burst {body['burst']} packets"
    return json.dumps(expression, sort_keys=True)


def _left(left: Mapping[str, Any]) -> str:
    ((kind, body),) = left.items()
    if kind == "payload" and {"protocol", "field"} == body.keys():
        return f"{body['protocol']} {body['field']}"
    if kind == "meta":
        return "meta time" if body["key"] == "time" else str(body["key"])
    if kind == "ct" and body.keys() == {"key"}:
        return f"ct {body['key']}"
    return ""


def _right(left: str, right: Any) -> str:
    if left == "meta time" and isinstance(right, str):
        return f"{datetime.strptime(right, '%Y-%m-%d %H:%M:%S').replace(tzinfo=UTC).timestamp():.0f}"
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
