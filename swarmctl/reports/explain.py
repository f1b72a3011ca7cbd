"""What `swarmctl explain` prints: text for people, `swarmctl/explain/v1` for programs."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from swarmctl.diagnostics import Code
from swarmctl.operations.explain import Contents, FieldLine, Subject

SCHEMA = "swarmctl/explain/v1"
WIDTH = 100


def render(found: Subject | Code | Contents) -> str:
    """The text form."""
    if isinstance(found, Code):
        return f"{found.id}: {found.title}\n\n{found.explanation.strip()}\n"
    return _contents(found) if isinstance(found, Contents) else _subject(found)


def to_json(found: Subject | Code | Contents) -> dict[str, Any]:
    """The published form; fields are only ever added."""
    if isinstance(found, Code):
        return {"schema": SCHEMA, "code": {"id": found.id, "title": found.title, "explanation": found.explanation}}
    if isinstance(found, Contents):
        return {"schema": SCHEMA, "kinds": dict(found.kinds), "codes": dict(found.codes)}
    return {
        "schema": SCHEMA,
        "subject": {
            "name": found.name,
            "type": found.type,
            "description": found.description,
            "required": found.required,
            "default": found.default,
            "constraints": list(found.constraints),
            "examples": list(found.examples),
            "fields": [
                {"name": line.name, "type": line.type, "required": line.required, "description": line.description}
                for line in found.fields
            ],
        },
    }


def _contents(found: Contents) -> str:
    kinds = _columns(found.kinds)
    codes = _columns(found.codes)
    tail = "`swarmctl explain KIND`, `swarmctl explain KIND.field` and `swarmctl explain CODE` say more."
    return f"Kinds\n{kinds}\n\nDiagnostic codes\n{codes}\n\n{tail}\n"


def _columns(rows: Any) -> str:
    width = max(map(len, rows), default=0)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows.items())


def _subject(found: Subject) -> str:
    lines = [f"{found.name} ({found.type}{', required' if found.required else ''})", ""]
    lines += [*textwrap.wrap(found.description, WIDTH), ""] if found.description else []
    facts = [("default", _yaml(found.default))] if found.default is not None else []
    facts += [("takes", words) for words in found.constraints]
    facts += [("example", f"{found.name.rpartition('.')[2]}: {_yaml(example)}") for example in found.examples]
    lines += [f"{name + ':':<9}{text}" for name, text in facts]
    lines += [""] if facts else []
    if found.fields:
        lines.append("Fields" if found.type != "document" else "Fields of spec")
        for line in found.fields:
            lines += _field(line)
        lines.append("")
    if found.document:
        lines += ["Example", *(f"  {line}".rstrip() for line in found.document.splitlines()), ""]
    return "\n".join(lines).rstrip() + "\n"


def _field(line: FieldLine) -> list[str]:
    head = f"  {line.name} ({line.type}{', required' if line.required else ''})"
    return [head, *textwrap.wrap(line.description, WIDTH, initial_indent="      ", subsequent_indent="      ")]


def _yaml(value: Any) -> str:
    from swarmctl.declarations.messages import flow

    return flow(value) if not isinstance(value, str) else value if value else json.dumps(value)
