"""Everything that may move between plan and apply, one thing at a time. Each must be refused, for its own reason."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from swarmctl.graph.model import Address, Graph, Ref
from swarmctl.kinds import resource_type
from swarmctl.plans import checks
from swarmctl.state.model import PlanMark
from tests.plans.reality import Reality, Thing
from tests.plans.sealing import laid_out, sealed

Json = Any
Place = tuple[str | int, ...]
READ_BACK = {
    "swarm:mesh:Interface": (
        "state",
        "addresses",
        "listenPort",
        "mtu",
        "keyMode",
        "key",
        "keyGeneration",
        "forwarding",
    ),
    # The interfaces tell the same of each key.
    "swarm:mesh:Rotation": (),
    "swarm:mesh:Peers": ("peers",),
    "swarm:securitypolicy:Firewall": ("policy", "chains", "rules"),
    "swarm:nodepool:Machine": ("address", "gateway", "mtu", "region"),
}
"""Inputs that the world has a say in, by type."""


@dataclass(frozen=True)
class Mutation:
    """One thing that moves."""

    name: str
    move: Callable[[Reality, Path], None]
    reason: str
    """A regular expression for why it is refused."""


def leaves(value: Json, at: Place = ()) -> Iterator[Place]:
    """Where every value is that has no parts."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*at, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, (*at, index))
    else:
        yield at


def other(value: Json) -> Json:
    """A value of the same sort that is another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1")
    return {"unknown": "nodepool/workers[9].identity"} if value is None else [*value, "more"]


def moved(document: Json, place: Place) -> Json:
    """A copy with another value at this place."""
    made = json.loads(json.dumps(document))
    holder = made
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = other(holder[place[-1]])
    return made


def shape(place: Place) -> str:
    """The place without what tells items of a list, peers and rules apart."""
    words = ["[]" if isinstance(key, int) else key for key in place]
    return ".".join(words[:5])


def of_every_shape(document: Json, each: int) -> list[Place]:
    """So many places of every sort."""
    found: dict[str, list[Place]] = {}
    for place in leaves(document):
        found.setdefault(shape(place), []).append(place)
    dice = random.Random(4)
    return [place for places in found.values() for place in dice.sample(places, min(each, len(places)))]


# The plan file.


def file_bytes(text: bytes) -> Iterator[Mutation]:
    """Single bytes, wherever they are."""
    dice = random.Random(4)
    for at in sorted(dice.sample(range(len(text)), 150)):
        byte = dice.choice([it for it in b'"{},:019aZ \n\x00\xff' if it != text[at]])
        changed = text[:at] + bytes([byte]) + text[at + 1 :]
        yield Mutation(
            f"byte {at} becomes {byte:#04x}",
            _content(changed),
            "changed after it was|is not a saved plan|it has no|has the schema|has no schema",
        )


def file_layout(text: bytes) -> Iterator[Mutation]:
    """The same content, written in another way, cut off, or with something around it."""
    document = json.loads(text)
    twice = text.replace(b'  "nodes"', b'  "nodes": [],\n  "nodes"', 1)
    ways = {
        "cut off in the middle": text[: len(text) // 2],
        "cut off at the end": text[:-2],
        "nothing": b"",
        "a byte order mark": b"\xef\xbb\xbf" + text,
        "a blank after it": text + b" ",
        "a second document": text + text,
        "no line break at the end": text[:-1],
        "line breaks of Windows": text.replace(b"\n", b"\r\n"),
        "tabs": text.replace(b"  ", b"\t"),
        "one line": json.dumps(document).encode(),
        "another order": laid_out(document).replace('  "changes"', '  "z": 0,\n  "changes"').encode(),
        "a field twice": twice,
        "escaped": text.replace(b'"stack": "l', b'"stack": "\\u006c', 1),
        "UTF-16": text.decode().encode("utf-16"),
    }
    for name, content in ways.items():
        assert content != text, name
        yield Mutation(name, _content(content), "changed after it was|is not a saved plan|not saved by")


def file_fields(text: bytes) -> Iterator[Mutation]:
    """Every sort of field, with the layout as it should be."""
    document = json.loads(text)
    for place in of_every_shape(document, 1):
        content = laid_out(moved(document, place)).encode()
        yield Mutation(
            f"field {place}", _content(content), "changed after it was|has the schema|createdAt, expiresAt: "
        )
    for field in document:
        content = laid_out({key: value for key, value in document.items() if key != field}).encode()
        yield Mutation(f"no {field}", _content(content), "changed after it was|has no schema|not saved by")


def forged(text: bytes, folder: Path) -> Iterator[Mutation]:
    """Every sort of field, with digest, id and signature that fit: by a key that nobody declared."""
    document = json.loads(text)
    for place in _forgeable(document, 1):
        content = sealed(moved(document, place), folder / "foreign").encode()
        yield Mutation(f"signed by a stranger: {place}", _content(content), "signature: |not saved by|has the schema")


def lying(text: bytes, reality: Reality) -> Iterator[Mutation]:
    """The same, by the very key that the plan was signed with: what it says is still compared with what is there."""
    document = json.loads(text)
    for place in _forgeable(document, 2):
        if place[0] in ("notes", "worldRead", "unfenced", "createdAt", "expiresAt"):
            continue
        content = sealed(moved(document, place), reality.signing_key()).encode()
        reason = (
            "--target|the plan is stale|the world has moved|not saved by|has the schema|is for the stack|the plan is of"
        )
        yield Mutation(f"signed, and untrue: {place}", _content(content), reason)


def _forgeable(document: Json, each: int) -> list[Place]:
    return [place for place in of_every_shape(document, each) if place[0] not in ("digest", "id", "signature")]


def _content(content: bytes) -> Callable[[Reality, Path], None]:
    return lambda reality, file: _write(file, content)


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


# What it was made from.


def declarations(reality: Reality) -> Iterator[Mutation]:
    """One byte of every word of the declarations, keys and values; comments and blanks are no declarations."""
    for file in sorted(reality.folder.glob("*.yaml")):
        text = file.read_text()
        for document in yaml.compose_all(text):
            for node in _scalars(document):
                at = node.end_mark.index - (2 if node.style else 1)
                byte = "1" if text[at] != "1" else "2"
                changed = text[:at] + byte + text[at + 1 :]
                word = text[node.start_mark.index : node.end_mark.index]
                yield Mutation(
                    f"{file.name}:{node.start_mark.line + 1} {word}",
                    lambda reality, plan, file=file.name, changed=changed: _write(  # type: ignore[misc]
                        reality.folder / file, changed.encode()
                    ),
                    "declarations: |is for the stack|the declarations are not valid",
                )


def _scalars(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    else:
        for key, value in node.value:
            yield from _scalars(key)
            yield from _scalars(value)


def state(reality: Reality) -> Iterator[Mutation]:
    """What is recorded: a value of every resource's inputs and outputs, resources, how often it was written."""
    dice = random.Random(4)
    reason = "state: "
    for address, thing in reality.recorded.items():
        place = dice.choice([it for it in leaves(thing.inputs) if it[0] not in ("host", "node")])
        yield Mutation(f"{address}: {place}", _record(address, lambda it, place=place: _set(it.inputs, place)), reason)
        for name in thing.outputs:
            yield Mutation(
                f"{address}: {name}", _record(address, lambda it, name=name: _set(it.outputs, (name,))), reason
            )
        if "peers" in address:
            yield Mutation(f"{address} is not recorded", lambda reality, file, a=address: _forget(reality, a), reason)
    for step in (1, -1, 100):
        yield Mutation(f"generation {step:+}", lambda reality, file, n=step: _generation(reality, n), reason)
    yield Mutation("nothing is recorded", lambda reality, file: reality.recorded.clear(), reason)
    yield Mutation("no state", lambda reality, file: _generation(reality, -reality.generation), reason)


def _record(address: str, change: Callable[..., None]) -> Callable[[Reality, Path], None]:
    return lambda reality, file: change(reality.recorded[address])


def _forget(reality: Reality, address: str) -> None:
    del reality.recorded[address]


def _generation(reality: Reality, step: int) -> None:
    reality.generation += step


def _set(holder: Json, place: Place) -> None:
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = other(holder[place[-1]])


def versions() -> Iterator[Mutation]:
    """Of every tool that has a say."""
    for version in ("3.259.1", "3.258.0", "4.0.0", ""):
        yield Mutation(
            f"engine {version}",
            lambda reality, file, v=version: setattr(reality.engine, "version", v),
            "versions: .*engine",
        )
    for name, where in (
        ("swarmctl", "swarmctl.__version__"),
        ("provider", "swarmctl.__version__"),
        ("declarations", "swarmctl.kinds.API_VERSION"),
        ("plan", "swarmctl.plans.encode.SCHEMA"),
    ):
        yield Mutation(
            f"{name} of another version",
            lambda reality, file, where=where: reality.patch.setattr(where, "swarmctl/other"),  # type: ignore[misc]
            f"versions: .*{name}|has the schema",
        )


def clock(made: datetime) -> Iterator[Mutation]:
    """Whichever way it goes."""
    day = timedelta(hours=24)
    for after in (day, day + timedelta(milliseconds=1), 2 * day, 400 * day, 5000 * day):
        yield Mutation(
            f"{after} later", lambda reality, file, it=made + after: reality.clock(it), "clock: it expired at"
        )
    early = checks.SKEW + timedelta(milliseconds=1)
    for before in (early, timedelta(hours=1), day, 400 * day, 15000 * day):
        yield Mutation(
            f"{before} earlier", lambda reality, file, it=made - before: reality.clock(it), "clock: it was made at"
        )


# The world.


def world(reality: Reality) -> Iterator[Mutation]:
    """What is on the machines: every property that is read back, peers and rules that are gone or new, and machines."""
    dice = random.Random(4)
    reason = "the world has moved"
    for address, thing in reality.world.items():
        for name in READ_BACK[thing.type]:
            if name not in thing.inputs:
                continue
            places = list(leaves(thing.inputs[name], (name,)))
            for place in dice.sample(places, 1):
                named = f"{reason}(.|\n)*{re.escape(address)}: "
                yield _there(address, f"{place}", lambda it, place=place: _set(it.inputs, place), named)
    for address, thing in reality.world.items():
        for name in ("peers", "rules", "chains"):
            if name in thing.inputs:
                key = dice.choice(sorted(thing.inputs[name]))
                yield _there(address, f"no {name} {key}", lambda it, n=name, k=key: it.inputs[n].pop(k), reason)
                one = copy.deepcopy(thing.inputs[name][key])
                yield _there(
                    address,
                    f"{name}: one more",
                    lambda it, n=name, one=one: it.inputs[n].update({"stranger": one}),
                    reason,
                )
    for address in reality.world:
        yield Mutation(f"{address} is gone", lambda reality, file, a=address: _gone(reality, a), reason)
    for address, thing in reality.world.items():
        for name in thing.outputs:
            yield _there(address, f"another {name}", lambda it, n=name: _set(it.outputs, (n,)), reason)
    yield Mutation(
        "a machine that nobody knows", lambda reality, file: reality.strays.append(("lab", "stray-0")), reason
    )


def appeared(reality: Reality) -> Iterator[Mutation]:
    """What the plan makes is there already, by itself or with what it stands on, whatever else it waits for."""
    graph = reality.compiled().graph
    for address, resource in graph.resources.items():
        if str(address) in reality.recorded:
            continue
        machine = [ref.address for ref in resource.refs() if ref.property == "identity"]
        reason = rf"the world has moved(.|\n)*{re.escape(str(address))}: create of .* adopt of"
        yield Mutation(
            f"{address} is there",
            lambda reality, file, places=[*machine, address]: _appear(reality, graph, places),  # type: ignore[misc]
            reason,
        )


def _appear(reality: Reality, graph: Graph, places: list[Address]) -> None:
    for address in places:
        resource = graph.resources[address]
        outputs = dict.fromkeys(resource_type(resource.type).outputs(), "there")
        reality.world[str(address)] = Thing(resource.type, plain(resource.inputs), outputs)


def plain(value: Json) -> Json:
    """With some value in the place of every reference."""
    if isinstance(value, Ref):
        return "of nobody"
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _there(address: str, name: str, change: Callable[..., object], reason: str) -> Mutation:
    def move(reality: Reality, file: Path) -> None:
        thing: Thing = reality.world[address]
        change(thing)

    return Mutation(f"{address}: {name}", move, reason)


def _gone(reality: Reality, address: str) -> None:
    """The resource, and with a machine all that is on it."""
    gone = reality.world.pop(address)
    if gone.type == "swarm:nodepool:Machine":
        for other_, thing in list(reality.world.items()):
            if thing.inputs.get("node") == gone.inputs["node"]:
                del reality.world[other_]


def marks(identifier: str) -> Iterator[Mutation]:
    """It was carried out already, and nothing else has moved: what it healed has drifted again."""
    yield Mutation("finished", lambda reality, file: _mark(reality, identifier), "was carried out already")


def _mark(reality: Reality, identifier: str) -> None:
    reality.marks = (PlanMark(identifier, finished=True),)
