"""Every key and value knows its line and column, whatever stands around it."""

from __future__ import annotations

import pytest

from swarmctl.diagnostics import Range
from swarmctl.documents.document import Document, Path
from swarmctl.documents.parser import parse
from swarmctl.documents.text import decode

TEXT = """\
# a comment
kind: NodePool
spec:
  region:   # left out
  ssh:
    hosts:
      - name: n1
        address: 203.0.113.10
      -
      - {name: n2, ports: [22, "23"]}
  note: |
    first
    second

  # a comment between
  labels: &labels {tier: gpu}
more: *labels
"""


def read(text: str, encoding: str = "utf-8") -> Document:
    source, problems = decode("x.yaml", text.encode(encoding))
    documents, found, _ = parse(source)
    assert not [*problems, *found]
    return documents[0]


def span(place: Range) -> str:
    return f"{place.start.line}:{place.start.column}-{place.end.line}:{place.end.column}"


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ((), "2:1-17:14", "2:1-17:14"),
        (("kind",), "2:1-2:5", "2:7-2:15"),
        (("spec",), "3:1-3:5", "4:3-16:30"),
        (("spec", "region"), "4:3-4:9", "4:3-4:9"),
        (("spec", "ssh", "hosts"), "6:5-6:10", "7:7-10:38"),
        (("spec", "ssh", "hosts", 0), "7:9-8:30", "7:9-8:30"),
        (("spec", "ssh", "hosts", 0, "address"), "8:9-8:16", "8:18-8:30"),
        (("spec", "ssh", "hosts", 1), "9:7-9:8", "9:7-9:8"),
        (("spec", "ssh", "hosts", 2), "10:9-10:38", "10:9-10:38"),
        (("spec", "ssh", "hosts", 2, "ports", 1), "10:32-10:36", "10:32-10:36"),
        (("spec", "note"), "11:3-11:7", "11:9-13:11"),
        (("spec", "labels"), "16:3-16:9", "16:11-16:30"),
        (("more",), "17:1-17:5", "17:7-17:14"),
        # Behind an alias there is only the place where the value is written.
        (("more", "tier"), "16:20-16:24", "16:26-16:29"),
        # What is missing has the place of the nearest thing around it.
        (("spec", "none"), "3:1-3:5", "4:3-16:30"),
        (("kind", "none", 3), "2:1-2:5", "2:7-2:15"),
        (("spec", "ssh", "hosts", 7), "6:5-6:10", "7:7-10:38"),
        (("none",), "2:1-17:14", "2:1-17:14"),
    ],
)
def test_key_and_value(path: Path, key: str, value: str) -> None:
    positions = read(TEXT).positions
    assert span(positions.key(path)) == key
    assert span(positions.value(path)) == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_encoding_and_line_breaks_do_not_move_anything(encoding: str, line_break: str) -> None:
    document = read(f"日本: a{line_break}é😀: {{k: '😀', z: end}}{line_break}", encoding)
    assert document.data == {"日本": "a", "é😀": {"k": "😀", "z": "end"}}
    assert span(document.positions.key(("日本",))) == "1:1-1:3"
    assert span(document.positions.value(("é😀", "k"))) == "2:9-2:12"
    assert span(document.positions.value(("é😀", "z"))) == "2:17-2:20"


def test_documents_of_one_file_keep_their_lines() -> None:
    source, _ = decode("x.yaml", b"a: 1\n---\n# nothing\n---\nb: [x]\n...\n---\nc: 2\n")
    documents, _, _ = parse(source)
    assert [each.data for each in documents] == [{"a": 1}, {"b": ["x"]}, {"c": 2}]
    assert [span(each.positions.value(())) for each in documents] == ["1:1-1:5", "5:1-5:7", "8:1-8:5"]
