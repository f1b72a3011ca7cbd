"""Every mistake in a text is told with its code and its exact place."""

from __future__ import annotations

import pytest

from swarmctl.diagnostics import Diagnostic, Severity
from swarmctl.documents import codes
from swarmctl.documents.document import Document
from swarmctl.documents.parser import parse
from swarmctl.documents.text import decode

BROKEN = [
    ("second colon in a value", "note: see: the wiki\n", "SW1015@1:7-1:20"),
    ("second colon behind a comment sign", "a: b: c # d\n", "SW1015@1:4-1:8"),
    ("second colon in a list item", "- a: b: c\n", "SW1015@1:6-1:10"),
    ("brackets as a key behind a value", "a: [a, b]: c\n", "SW1015@1:4-1:13"),
    ("at sign", "owner: @infra\n", "SW1015@1:8-1:14"),
    ("backtick", "a: `x\n", "SW1015@1:4-1:6"),
    ("percent sign", "rate: %5\n", "SW1015@1:7-1:9"),
    ("lone asterisk", "names: *\n", "SW1015@1:8-1:9"),
    ("lone ampersand", "a: & b\n", "SW1015@1:4-1:7"),
    ("tab as indentation", "spec:\n\tregion: eu\n", "SW1011@2:1-2:2"),
    ("tab after spaces", "spec:\n  a: 1\n  \tb: 2\n", "SW1011@3:3-3:4"),
    ("tab in the first line", "\ta: 1\n", "SW1011@1:1-1:2"),
    ("tab in an empty line", "a: 1\n\t\nb: 2\n", "SW1011@2:1-2:2"),
    ("double quote never closed", 'region: "eu\nname: x\n', "SW1012@1:9-1:12"),
    ("single quote never closed", "a: 1\nregion: 'eu\n", "SW1012@2:9-2:12"),
    ("quote closed by the next document", 'a: "foo\n---\nb: 1\n', "SW1012@1:4-1:8"),
    ("quote closed by the next quote", "a: 'foo\nb: 'x'\n", "SW1012@2:5-2:7"),
    ("quote inside single quotes", "note: 'it's late'\n", "SW1012@1:11-1:18"),
    ("text behind double quotes", 'a: "x" y\n', "SW1012@1:8-1:9"),
    ("unknown escape", 'pattern: "\\d+"\n', "SW1017@1:11-1:13"),
    ("incomplete hexadecimal escape", 'a: "\\x4"\n', "SW1017@1:5-1:7"),
    ("impossible character escape", 'a: "\\ud800"\n', "SW1017@1:5-1:7"),
    ("list bracket never closed", "ports: [6379, 9100\nname: x\n", "SW1013@1:8-1:9"),
    ("list bracket never closed before a block list", "a: [1, 2\nb:\n  - x\n", "SW1013@1:4-1:5"),
    ("list bracket at the end of the file", "kind: [a,\n", "SW1013@1:7-1:8"),
    ("brace never closed", "labels: {role: worker\nname: x\n", "SW1013@1:9-1:10"),
    ("brace at the end of the file", "labels: {role: worker\n", "SW1013@1:9-1:10"),
    ("comma missing in a mapping", 'a: {x: "1" y: 2}\n', "SW1013@1:12-1:13"),
    ("comma missing in a list", 'a: ["x" "y"]\n', "SW1013@1:9-1:10"),
    ("comma missing in a later line", 'a: [\n  "x"\n  "y"\n]\n', "SW1013@3:3-3:4"),
    ("bracket never opened", "a: ]\n", "SW1013@1:4-1:5"),
    ("brace never opened", "a: }\n", "SW1013@1:4-1:5"),
    ("brace closed twice", "labels: {role: worker}}\n", "SW1013@1:23-1:24"),
    ("bracket closed twice", "a: [1, 2]]\n", "SW1013@1:10-1:11"),
    ("two commas", "a: {a: 1,, b: 2}\n", "SW1013@1:10-1:11"),
    ("leading comma", "a: [, b]\n", "SW1013@1:5-1:6"),
    ("key indented too far", "spec:\n  region: eu\n    lab: x\n", "SW1014@3:5-3:8"),
    ("key between two levels", "a:\n    b: 1\n  c: 2\n", "SW1014@3:3-3:7"),
    ("key between list and item", "a:\n  - x: 1\n   y: 2\n", "SW1014@3:4-3:8"),
    ("key in the column of the dashes", "- a\nb: c\n", "SW1014@2:1-2:5"),
    ("list in the column of keys with values", "a: 1\n- b\n", "SW1014@2:1-2:4"),
    ("key left of the list", "a:\n  - b\n c: d\n", "SW1014@3:2-3:6"),
    ("key under a plain item", "b:\n - x\n - y\n  z: 1\n", "SW1014@4:3-4:4"),
    ("colon missing", "spec:\n  region eu\n  lab: x\n", "SW1016@2:3-2:12"),
    ("colon missing in the first line", "kind\nname: x\n", "SW1016@1:1-1:5"),
    ("colon missing in the last line", "kind: x\nname\n", "SW1016@2:1-2:5"),
    ("space missing after the colon", "spec:\n  region:eu\n  lab: x\n", "SW1016@2:3-2:12"),
    ("space missing after the colon in braces", "labels: {role:worker, tier: gpu}\n", "SW1016@1:10-1:21"),
    ("nothing after the colon in brackets", "a: [b:]\n", "SW1016@1:6-1:7"),
    ("no key before the colon", ": x\n", "SW1021@1:1-1:2"),
    ("no key before the colon in braces", "a: {: x}\n", "SW1021@1:5-1:6"),
    ("list in the line of its key", "a: - b\n", "SW1010@1:4-1:7"),
    ("text behind a block sign", "note: | text\n  more\n", "SW1010@1:9-1:13"),
    ("text behind a quoted key", "'a' b: 1\n", "SW1010@1:5-1:9"),
    ("two anchors", "a: &x &y b\n", "SW1010@1:7-1:11"),
    ("mapping in the line of the dashes", "--- a: 1\n", "SW1010@1:1-1:9"),
    ("text behind the end of a document", "a: 1\n...\nb: 2\n", "SW1010@3:1-3:5"),
    ("complex key mark", "a: ? b\n", "SW1010@1:4-1:5"),
    ("older YAML", "%YAML 1.1\n---\na: 1\n", "SW1018@1:1-1:10"),
    ("newer YAML", "%YAML 1.3\n---\na: 1\n", "SW1018@1:1-1:10"),
    ("tag directive", "%TAG ! x:\n---\na: 1\n", "SW1018@1:1-1:10"),
    ("unknown directive", "%FOO bar\n---\na: 1\n", "SW1018@1:1-1:9"),
    ("duplicate key", "spec:\n  region: a\n  region: b\n", "SW1020@3:3-3:9"),
    ("duplicate key three times", "a: 1\na: 2\na: 3\n", "SW1020@2:1-2:2 SW1020@3:1-3:2"),
    ("duplicate key in braces", "a: {b: 1, b: 2}\n", "SW1020@1:11-1:12"),
    ("duplicate key, once in quotes", 'a: 1\n"a": 2\n', "SW1020@2:1-2:4"),
    ("number as a key", "labels:\n  8080: http\n", "SW1021@2:3-2:7"),
    ("truth value as a key", "labels: {true: x}\n", "SW1021@1:10-1:14"),
    ("null as a key", "~: x\n", "SW1021@1:1-1:2"),
    ("fraction as a key", "1.10: x\n", "SW1021@1:1-1:5"),
    ("list as a key", "? [a]\n: b\n", "SW1021@1:3-1:6"),
    ("mapping as a key", "a: {{b: c}: d}\n", "SW1021@1:4-1:12"),
    ("alias as a key", "a: &x b\n*x : c\n", "SW1021@2:1-2:3"),
    ("template as a value", "name: {{ name }}\n", "SW1021@1:7-1:17"),
    ("template as a key", "{{ name }}: 1\n", "SW1021@1:1-1:11"),
    ("merge key", "a: &a {b: 1}\nc:\n  <<: *a\n", "SW1022@3:3-3:5"),
    ("custom tag", "a: !vault x\n", "SW1023@1:4-1:10"),
    ("core tag", "version: !!str 1.34\n", "SW1023@1:10-1:15"),
    ("tag on a mapping", "a: !!python/object:os.system {b: c}\n", "SW1023@1:4-1:29"),
    ("tag on a list", "a: !list [b]\n", "SW1023@1:4-1:9"),
    ("verbatim tag", "a: !<tag:x> b\n", "SW1023@1:4-1:12"),
    ("undefined tag handle", "a: !e!x b\n", "SW1023@1:4-1:8"),
    ("bare tag", "a: ! b\n", "SW1023@1:4-1:5"),
    ("broken tag", 'a: !x"y\n', "SW1023@1:4-1:8"),
    ("unknown alias", "a: *none\n", "SW1024@1:4-1:9"),
    ("alias to itself", "a: &a [*a]\n", "SW1024@1:8-1:10"),
    ("alias of another document", "a: &x 1\n---\nb: *x\n", "SW1024@3:4-3:6"),
    ("infinity", "limit: .inf\n", "SW1027@1:8-1:12"),
    ("negative infinity", "limit: -.Inf\n", "SW1027@1:8-1:13"),
    ("not a number", "limit: .NaN\n", "SW1027@1:8-1:12"),
    ("fraction out of range", "a: 1e999\n", "SW1027@1:4-1:9"),
    ("whole number out of range", "id: 123456789012345678901\n", "SW1027@1:5-1:26"),
    ("hexadecimal out of range", "id: 0x1ffffffffffffffff\n", "SW1027@1:5-1:24"),
    ("yes", "required: yes\n", "SW1030@1:11-1:14"),
    ("Norway", "country: no\n", "SW1030@1:10-1:12"),
    ("on as a key", "on: push\n", "SW1030@1:1-1:3"),
    ("off in a list", "- off\n", "SW1030@1:3-1:6"),
    ("y as a value", "a: y\n", "SW1030@1:4-1:5"),
    ("octal of older YAML", "mode: 0644\n", "SW1031@1:7-1:11"),
    ("leading zero, no octal", "id: 089\n", "SW1031@1:5-1:8"),
    ("sexagesimal", "at: 12:30:45\n", "SW1031@1:5-1:13"),
    ("underscores", "count: 1_000\n", "SW1031@1:8-1:13"),
    ("binary of older YAML", "mask: 0b1010\n", "SW1031@1:7-1:13"),
    ("exponent without a point", "commit: 12e5\n", "SW1031@1:9-1:13"),
    ("date", "expires: 2026-01-31\n", "SW1032@1:10-1:20"),
    ("time stamp", "at: 2026-01-31T12:00:00Z\n", "SW1032@1:5-1:25"),
    ("version that loses its zero", "version: 1.10\n", "SW1033@1:10-1:14"),
    ("text over two lines", "regions:\n  - eu\n    - us\n", "SW1034@2:5-3:9"),
    ("CRLF before the place", "a: 1\r\nb: 2\r\nb: 3\r\n", "SW1020@3:1-3:2"),
    ("old Mac line breaks", "a: 1\rb: 2\rb: 3\r", "SW1020@3:1-3:2"),
    ("wide characters before the place", "日本: @x\n", "SW1015@1:5-1:7"),
    ("characters beyond the BMP before the place", "a: {😀: @x}\n", "SW1015@1:8-1:10"),
    ("byte order mark", "\ufeffa: 1\na: 2\n", "SW1020@2:1-2:2"),
    ("two broken documents", "a: [\n---\nb: @\n---\nc: 1\nc: 2\n", "SW1013@1:4-1:5 SW1015@3:4-3:5 SW1020@6:1-6:2"),
    ("an anchor and a trap", "a: &x no\n", "SW1030@1:4-1:9"),
]
"""What is wrong, the text, and what is found: `code@line:column-line:column`, the end just past the last character."""


def read(text: str) -> tuple[list[Document], list[Diagnostic]]:
    source, problems = decode("broken.yaml", text.encode())
    documents, found, _ = parse(source)
    return documents, [*problems, *found]


def place(diagnostic: Diagnostic) -> str:
    where = diagnostic.range
    assert where is not None
    assert where.file == "broken.yaml"
    return f"{diagnostic.code.id}@{where.start.line}:{where.start.column}-{where.end.line}:{where.end.column}"


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_mistake_is_found_where_it_is(text: str, expected: str) -> None:
    assert [place(each) for each in read(text)[1]] == expected.split()


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_every_mistake_comes_with_a_mend(text: str, expected: str) -> None:
    for diagnostic in read(text)[1]:
        assert diagnostic.help
        assert not diagnostic.message.endswith(".")


MOVABLE = [case for case in BROKEN if not case[1].startswith(("%", "\ufeff", "---")) and "\r" not in case[1]]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in MOVABLE], ids=[case[0] for case in MOVABLE])
def test_places_count_from_the_beginning_of_the_file(text: str, expected: str) -> None:
    shifted = [place(each) for each in read(f"kind: é\n---\n{text}")[1]]
    moved = [
        code + "@" + "-".join(f"{int(line) + 2}:{column}" for line, column in (p.split(":") for p in span.split("-")))
        for code, span in (each.split("@") for each in expected.split())
    ]
    assert shifted == moved


@pytest.mark.parametrize(
    ("text", "message", "help"),
    [
        ("spec:\n  region eu\n  lab: x\n", "there is no colon in this line", "write `region: eu`"),
        ("spec:\n  region:eu\n  lab: x\n", "a space is missing after the colon", "write `region: eu`"),
        ("note: see: the wiki\n", "a second colon", 'quote the value: "see: the wiki"'),
        ("owner: @infra\n", "a value cannot start with `@`", 'quote it: "@infra"'),
        ('a: @"x"\n', "a value cannot start with `@`", "quote it: '@\"x\"'"),
        ("note: 'it's late'\n", "text stands behind the closing quote", "write '' for a quote"),
        ("required: yes\n", "true for readers of YAML 1.1", 'write "yes" for the text, or true where'),
        ("mode: 0644\n", "the number 644 here, and 420 for readers of YAML 1.1", "0o"),
        ("version: 1.10\n", "the number 1.1", 'write "1.10"'),
        ("a: 12e5\n", "the number 1200000.0 here, and text", 'write "12e5"'),
        ("a: !!str 1\n", "`!!str`", "quote the value"),
        ("a: *b\n", "`*b` stands for nothing", "quote the text"),
        ("a: &b [*b]\n", "inside the value that it names", "write the value out"),
        ("8080: x\n", "the key `8080` is a number", 'quote it: "8080"'),
        ("a: {b:1}\n", "a space is missing", "write `b: 1`"),
        ("a: {{ b }}\n", "templates", "write the value itself"),
    ],
)
def test_message_and_mend_fit_the_text(text: str, message: str, help: str) -> None:
    [diagnostic] = read(text)[1]
    assert message in diagnostic.message
    assert help in diagnostic.help


def test_traps_of_older_yaml_are_warnings_and_all_else_is_an_error() -> None:
    warnings = {each.code.id for case in BROKEN for each in read(case[1])[1] if each.severity is Severity.WARNING}
    errors = {each.code.id for case in BROKEN for each in read(case[1])[1] if each.severity is Severity.ERROR}
    assert warnings == {"SW1030", "SW1031", "SW1032", "SW1033", "SW1034"}
    assert not errors & warnings


def test_a_duplicate_key_names_both_places() -> None:
    [diagnostic] = read("spec:\n  region: a\n  mtu: 1\n  region: b\n")[1]
    [first] = diagnostic.related
    assert (first.range.start.line, first.range.start.column, first.range.end.column) == (2, 3, 9)
    assert diagnostic.label == "also in line 2"


def test_a_broken_document_does_not_hide_the_next_one() -> None:
    documents, found = read("a: 1\n---\nb: [\n---\nc: 3\n")
    assert [each.data for each in documents] == [{"a": 1}, {"c": 3}]
    assert documents[1].positions.value(("c",)).start.line == 5
    assert len(found) == 1


def test_a_refused_key_leaves_nothing_behind() -> None:
    documents, _ = read("a:\n  ? [x]\n  : 1\n  b: 2\n")
    assert documents[0].data == {"a": {"b": 2}}


def test_codes_are_unique_explained_and_all_listed() -> None:
    listed = [value for value in vars(codes).values() if isinstance(value, codes.Code)]
    ids = [code.id for code in listed]
    assert len(set(ids)) == len(ids)
    for code in listed:
        assert "1001" <= code.id[2:] <= "1099"
        assert code.title[0].islower() or code.title.startswith("YAML")
        assert "Wrong" in code.explanation
        assert "Right" in code.explanation
    assert {each.code.id for case in BROKEN for each in read(case[1])[1]} <= set(ids)
