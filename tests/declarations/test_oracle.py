"""Types and schema give one verdict, and the schema's validator the same as another implementation of the standard."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import swarmctl.kinds
from swarmctl.declarations.schemas import KindSchema, shipped
from swarmctl.declarations.typed import doubtful, typed
from swarmctl.documents import read_folder
from swarmctl.documents.document import Document

ODD = (None, True, -1, 0, 7.5, 10**40, "", "x", "UPPER", "9", "x\n", "10-5", [], ["x"], [1], {}, {"x": "y"}, {"x": 1})
KINDS = swarmctl.kinds.registry()
GOOD = sorted(Path(swarmctl.kinds.__path__[0]).glob("*/examples/good/*.yaml"))


def changed(data: Any) -> Iterator[Any]:
    """`data` with one value replaced, one field added, or one taken away, at every place."""
    if isinstance(data, dict):
        yield {**data, "oddity": 1}
        for key, value in data.items():
            yield {other: item for other, item in data.items() if other != key}
            yield from ({**data, key: odd} for odd in ODD)
            yield from ({**data, key: inner} for inner in changed(value))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            for inner in itertools.chain(ODD, changed(value)):
                yield [*data[:index], inner, *data[index + 1 :]]


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Document]]:
    """One or more valid documents per kind."""
    found: dict[str, list[Document]] = {}
    for folder in sorted({path.parent for path in GOOD}):
        for document in read_folder(folder).documents:
            known = found.setdefault(document.data["kind"], [])  # type: ignore[index]
            if all(other.data["spec"] != document.data["spec"] for other in known):  # type: ignore[index]
                known.append(document)
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_types_and_schema_give_one_verdict(kind: str, samples: dict[str, list[Document]]) -> None:
    validator = KindSchema(shipped(kind)).validator
    seen = 0
    for sample in samples[kind]:
        for data in itertools.chain([sample.data], changed(copy.deepcopy(sample.data))):
            if (
                not isinstance(data, dict)
                or data.get("kind") != kind
                or data.get("apiVersion") != sample.data["apiVersion"]
            ):  # type: ignore[index]
                continue  # told before the schema is asked
            if doubtful(data):
                continue  # there the schema is asked anyway
            seen += 1
            document = Document(sample.source, data, sample.positions)
            assert (typed(document, KINDS[kind]) is not None) == validator.is_valid(data), data
    assert seen > 50


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_validator_agrees_with_the_reference_implementation(kind: str, samples: dict[str, list[Document]]) -> None:
    schema = shipped(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    reference = jsonschema.Draft202012Validator(schema)
    validator = KindSchema(schema).validator
    for data in itertools.islice(changed(samples[kind][0].data), 0, None, 3):
        if not doubtful(data):  # Python's `$` lets a last line break pass; the standard's does not
            assert validator.is_valid(data) == reference.is_valid(data), data
