"""What a change of a firewall means, in words: its rules, the addresses in its sets, and what it closes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from swarmctl.graph.model import Json
from swarmctl.kinds.base import UNKNOWN, ChangeKind, Effect
from swarmctl.kinds.security_policy.openings import openings, uncovered
from swarmctl.kinds.security_policy.spec import moment
from swarmctl.mesh import firewall

MOST = 8
"""Addresses that are told one by one; of more only the first ones are, and how many there are."""
Inputs = Mapping[str, Json]

_UNTIL = re.compile(r" meta time < (\d+)")
_AFTER = re.compile(r" meta time >= (\d+)")
_SET = re.compile(r"@([A-Za-z0-9-]+)\.(ip6?)\b")
_SILENT = re.compile(r' counter name "[^"]*"| ct direction (?:original|reply)')
_BOTH = re.compile(r'\{ ("lo", )?"([^"]+)", "\2-n" \}')
WORDS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r'^iifname "lo" accept$', "everything from the node itself"),
        (r'^oifname "lo" accept$', "everything to the node itself"),
        (r"^ip6? daddr (.*) tcp sport (.*) tcp flags ack accept$", r"answers of tcp/\2 to \1"),
        (r"^tcp sport (.*) tcp flags ack accept$", r"answers of tcp/\1"),
        (r'^iifname "([^"]+)" drop$', r"everything else on \1: dropped and counted"),
        (
            r'^iifname "([^"]+)" oifname "\1" ip6? saddr (\S+) ip6? daddr \2 accept$',
            r"everything that goes on from \2 to \2 on \1",
        ),
        (r'^iifname "([^"]+)" oifname "\1" accept$', r"everything that goes on from \1 to \1"),
        (
            r'^oifname != \{ "lo", "([^"]+)" \} ip6? daddr (.*) drop$',
            r"what goes to \2 by another way than \1: dropped",
        ),
        (r'^oifname "([^"]+)" (icmp\S*) type (\S+) drop$', r"\2 \3 sent on \1: dropped"),
        (r'^oifname "([^"]+)" ip6? daddr (.*) (\S+) sport (\S+) (accept|drop)$', r"answers of \3/\4 to \2 on \1 \5"),
        (r"^(answers .*) accept$", r"\1"),
        (r"^(answers .*) drop$", r"\1: dropped"),
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
_FIRST = ("flow", "wireguard", "no-plaintext", "through", "mesh", "path-mtu")
"""Rules that a reader looks for first, by the first word of their names; what every firewall has comes after."""


def effects(old: Inputs | None, new: Inputs | None) -> list[Effect]:
    """One line per rule and per chain, and per set whose addresses change."""
    found = [
        Effect(kind, f"{_chain_words(name, before)} → {_policy(after)}" if before and after else words)
        for name, kind, before, after in _steps(old, new, "chains")
        for words in [_chain_words(name, after or before)]
    ]
    found += [Effect(ChangeKind.UPDATE, line) for line in _set_lines(_part(old, "sets"), _part(new, "sets"))]
    for name, kind, before, after in sorted(_steps(old, new, "rules"), key=lambda step: _interest(step[0])):
        if before and after:
            words = f"{in_words(before, _part(old, 'sets'))} → {in_words(after, _part(new, 'sets'))}"
        else:
            words = in_words(after or before, _part(new if after else old, "sets"))
        found.append(Effect(kind, f"rule {name}: {words}"))
    return found


def in_words(text: Json, sets: Mapping[str, Json]) -> str:
    """A rule for people: `tcp/6379 from 10.88.0.9, 10.88.3.4 on wg0 until …`. What it doesn't know stays as it is."""
    if text is UNKNOWN:
        return "(known after apply)"
    words = _BOTH.sub(lambda match: f'{{ "lo", "{match[2]}" }}' if match[1] else f'"{match[2]}"', str(text))
    until, after = _UNTIL.search(words), _AFTER.search(words)
    words = _SILENT.sub("", _AFTER.sub("", _UNTIL.sub("", words)))
    words = _SET.sub(lambda match: _listed(_addresses(sets, match[1], match[2]) or [match[0]]), words)
    for pattern, plain in WORDS:
        words = pattern.sub(plain, words)
    if until:
        words += f" until {moment(int(until[1]))}"
    return f"{words} from {moment(int(after[1]))} on" if after else words


def closed(old: Inputs, new: Inputs) -> str:
    """What is closed that was open, and what ends that did not, or later; empty when nothing is."""
    shut: dict[str, list[str]] = {}
    ending: dict[tuple[str, str], list[str]] = {}
    after = openings(_part(new, "rules"), _part(new, "sets"))
    for before in openings(_part(old, "rules"), _part(old, "sets")):
        for port, source, end in uncovered(before, after):
            if end is None:
                shut.setdefault(port, []).append(source)
            else:
                ending.setdefault((port, moment(end)), []).append(source)
    words = [f"closes {', '.join(f'{port} for {_some(who)}' for port, who in shut.items())}"] if shut else []
    words += [f"ends {port} for {_some(who)} at {end}" for (port, end), who in ending.items()]
    return ", ".join(words)


def _part(inputs: Inputs | None, name: str) -> Mapping[str, Json]:
    part = inputs.get(name) if inputs is not None else None
    return part if isinstance(part, Mapping) else {}


def _steps(old: Inputs | None, new: Inputs | None, part: str) -> Iterator[tuple[str, ChangeKind, str, str]]:
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


def _set_lines(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    """Addresses that come and go, of sets that are there before and after; what rules say of others says it all."""
    for name in sorted(old.keys() & new.keys()):
        before, after = _all(old[name]), _all(new[name])
        if UNKNOWN in (before, after):
            yield f"{_set_name(name)}: (known after apply)"
        elif before != after:
            stay = {*before} & {*after}
            gone = [f"-{address}" for address in before if address not in stay]
            come = [f"+{address}" for address in after if address not in stay]
            yield f"{_set_name(name)}: from {' '.join(_shortened([*gone, *come]))}"


def _all(families: Json) -> Json:
    if not isinstance(families, Mapping) or UNKNOWN in families.values():
        return UNKNOWN
    return [address for family in sorted(families) for address in families[family]]


def _set_name(name: str) -> str:
    return "wireguard" if name == firewall.PEERS else name.replace("-", " ", 1)


def _addresses(sets: Mapping[str, Json], name: str, family: str) -> Sequence[str]:
    families = sets.get(name, {})
    return families.get(family, ()) if isinstance(families, Mapping) else ()


def _listed(addresses: Sequence[str]) -> str:
    texts = _shortened(addresses)
    return texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"


def _shortened(texts: Sequence[str]) -> Sequence[str]:
    return texts if len(texts) <= MOST else [*texts[:MOST], f"… and {len(texts) - MOST:,} more"]


def _some(addresses: Sequence[str]) -> str:
    return ", ".join(addresses) if len(addresses) <= 3 else f"{len(addresses):,} addresses"


def _chain_words(name: str, text: Json) -> str:
    return f"{name}: {_policy(text)} by default" if name in firewall.CHAINS else f"chain {name}: {_policy(text)}"


def _interest(name: str) -> int:
    word = name.partition(":")[0]
    return _FIRST.index(word) if word in _FIRST else len(_FIRST)


def _policy(text: Json) -> str:
    return "(known after apply)" if text is UNKNOWN else str(text).rpartition(" policy ")[2]
