"""A folder is read whole, in order, and whatever stands in it leads to documents or diagnostics, never to a crash."""

from __future__ import annotations

import gc
import json
import os
import random
import socket
import time
from pathlib import Path

import pytest

from swarmctl.diagnostics import Diagnostic
from swarmctl.documents import Reading, parser, read_folder, reading
from swarmctl.documents.document import Document, Source
from swarmctl.documents.parser import parse
from swarmctl.documents.text import LINE_BREAK, decode
from swarmctl.errors import NoDocuments
from swarmctl.reports.diagnostics import render_text


@pytest.fixture(autouse=True)
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, content: str | bytes = "a: 1\n") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())


def read() -> Reading:
    return read_folder(Path())


def only(result: Reading) -> Diagnostic:
    [diagnostic] = result.diagnostics
    return diagnostic


def test_files_are_sorted_and_hidden_ones_left_out() -> None:
    for path in ("b.yaml", "a/z.yml", "a/b/c.yaml", ".git/x.yaml", ".hidden.yaml", "README.md", "c.YAML", "d.yaml.bak"):
        write(path, f"path: {path}\n")
    assert [each.source.display for each in read().documents] == ["a/b/c.yaml", "a/z.yml", "b.yaml"]


def test_paths_outside_of_the_current_folder_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("stack/a.yaml")
    write("elsewhere/x")
    monkeypatch.chdir(tmp_path / "elsewhere")
    [document] = read_folder(tmp_path / "stack").documents
    assert document.source.display == str(tmp_path / "stack" / "a.yaml")
    [document] = read_folder(Path("../stack")).documents
    assert document.source.display == str(tmp_path / "stack" / "a.yaml")


@pytest.mark.parametrize("files", [{}, {"readme.md": "x"}, {"a.yaml": ""}, {"a.yaml": "---\n# only comments\n---\n"}])
def test_nothing_to_read_is_an_error_of_its_own(files: dict[str, str]) -> None:
    for path, content in files.items():
        write(path, content)
    with pytest.raises(NoDocuments) as caught:
        read()
    assert caught.value.exit_code == 3
    assert "init" in caught.value.hint


def test_links_are_followed_and_circles_do_not_matter() -> None:
    write("real/a.yaml")
    os.symlink("real/a.yaml", "b.yaml")
    os.symlink("..", "real/up")
    assert sorted(each.source.display for each in read().documents) == ["b.yaml", "real/a.yaml"]


def test_one_bad_file_does_not_hide_the_others() -> None:
    write("a.yaml", "a: [\n")
    write("b.yaml", b"\x7fELF\0\0\0")
    write("c.yaml")
    result = read()
    assert [each.source.display for each in result.documents] == ["c.yaml"]
    assert [each.code.id for each in result.diagnostics] == ["SW1013", "SW1004"]
    assert not result.whole


def test_a_link_that_leads_nowhere() -> None:
    os.symlink("nowhere.yaml", "a.yaml")
    diagnostic = only(read())
    assert diagnostic.code.id == "SW1001"
    assert "leads nowhere" in diagnostic.message


def test_a_link_to_itself() -> None:
    os.symlink("a.yaml", "a.yaml")
    assert only(read()).code.id == "SW1001"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission() -> None:
    write("a.yaml")
    os.chmod("a.yaml", 0)
    assert "Permission denied" in only(read()).message


def test_an_error_of_the_system_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.yaml")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", "a.yaml")

    monkeypatch.setattr(reading.os, "open", refuse)
    diagnostic = only(read())
    assert (diagnostic.code.id, diagnostic.message) == ("SW1001", "this cannot be read: Permission denied")


def test_a_folder_with_the_name_of_a_file() -> None:
    write("a.yaml/b.yaml")
    diagnostic = only(read())
    assert diagnostic.code.id == "SW1002"
    assert diagnostic.range is not None
    assert diagnostic.range.file == "a.yaml"


def test_a_pipe_does_not_block() -> None:
    os.mkfifo("a.yaml")
    assert "a pipe" in only(read()).message


def test_a_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.yaml")
        assert only(read()).code.id in ("SW1001", "SW1002")


def test_a_device_is_refused() -> None:
    os.symlink("/dev/zero", "a.yaml")
    assert "a device" in only(read()).message


def test_a_large_file_is_refused_unread() -> None:
    with open("a.yaml", "wb") as file:
        file.truncate(50 << 20)
    started = time.process_time()
    diagnostic = only(read())
    assert time.process_time() - started < 0.1
    assert diagnostic.code.id == "SW1003"
    assert "50.0 MiB" in diagnostic.message


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_FILES", 3)
    for name in "abcde":
        write(f"{name}.yaml")
    assert [each.code.id for each in read().diagnostics] == ["SW1003"]


def test_too_much_in_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_STACK", 12)
    for name in "abcde":
        write(f"{name}.yaml")
    result = read()
    assert len(result.documents) == 2
    assert only(result).code.id == "SW1003"


@pytest.mark.parametrize(
    ("content", "code", "line", "column"),
    [
        (b"\0\0\0", "SW1004", 1, 1),
        (b"a: 1\nb: \0\n", "SW1004", 1, 1),
        ("a: 1\n".encode("utf-16-le"), "SW1004", 1, 1),
        (b"a: 1\nname: caf\xe9\n", "SW1004", 2, 10),
        ("é: ".encode() + b"\xff\xfe\n", "SW1004", 1, 4),
        (b"\xff\xfea\0:", "SW1004", 1, 2),
        (b"a: 1\nb: \x1b[31mred\n", "SW1005", 2, 4),
        ("a: 1\n  b: x\u2028y\n".encode(), "SW1005", 2, 7),
        ("a: x\u202ey\n".encode(), "SW1005", 1, 5),
        ("a: 1\n\ufeffb: 2\n".encode(), "SW1005", 2, 1),
        (b"a: \x7f\n", "SW1005", 1, 4),
        ("a: \u0085\n".encode(), "SW1005", 1, 4),
    ],
)
def test_what_is_not_text_is_refused_with_its_place(content: bytes, code: str, line: int, column: int) -> None:
    write("a.yaml", content)
    diagnostic = only(read())
    assert diagnostic.range is not None
    assert (diagnostic.code.id, diagnostic.range.start.line, diagnostic.range.start.column) == (code, line, column)


@pytest.mark.parametrize("character", ["\x1b", "\u2028", "\u202e", "\x85"])
def test_a_refused_character_comes_with_its_escape(character: str) -> None:
    write("a.yaml", f'a: "{character}"\n')
    diagnostic = only(read())
    escape = diagnostic.help.rpartition(" ")[2]
    assert diagnostic.help.isprintable()
    write("a.yaml", f"a: {escape}\n")
    assert read().documents[0].data == {"a": character}


def test_file_names_that_are_not_text_can_be_shown() -> None:
    with open(b"\xff\x1b.yaml", "wb") as file:
        file.write(b"a: [\n")
    diagnostic = only(read())
    assert diagnostic.range is not None
    assert diagnostic.range.file.encode()


def bomb(levels: int) -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (bomb(10), "SW1025"),
        ("[" * 50_000, "SW1026"),
        ("{a: " * 50_000, "SW1026"),
        ("- " * 50_000, "SW1026"),
        ("".join(f"{' ' * n}a:\n" for n in range(1_000)), "SW1026"),
        ("l0: &l0 [x]\n" + "".join(f"l{n}: &l{n} [*l{n - 1}]\n" for n in range(1, 200)), "SW1026"),
        ("a: &a [*a]\n", "SW1024"),
        ("a: &a {b: &b [*a, *b]}\n", "SW1024"),
        ("'" * 50_001, "SW1012"),
        ('"\\' * 50_000, "SW1017"),
        ("? " * 50_000, "SW1026"),
        ("a" * 100_000 + ": " + "b" * 100_000 + ": c", "SW1016"),
        ("&a " * 50_000, "SW1010"),
    ],
)
def test_hostile_text_is_refused_quickly(text: str, code: str) -> None:
    started = time.process_time()
    documents, found, _ = parse(Source("x", text))
    assert time.process_time() - started < 1
    assert {each.code.id for each in found} == {code}
    assert len(json.dumps([each.data for each in documents])) < 1_000


def test_ordinary_aliases_are_fine() -> None:
    documents, found, _ = parse(Source("x", bomb(3)))
    assert not found
    assert len(json.dumps(documents[0].data)) > 1_000


@pytest.mark.parametrize("text", ["- a\n" * 2_000, "[" + "a," * 2_000 + "]", "---\na: 1\n" * 2_000])
def test_the_number_of_values_is_limited(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "MAX_VALUES", 1_000)
    _, found, whole = parse(Source("x", text))
    assert [each.code.id for each in found] == ["SW1003"]
    assert not whole


def test_the_collector_runs_again_afterwards() -> None:
    write("a.yaml", "a: [\n")
    read()
    assert gc.isenabled()


def test_no_bytes_whatever_end_in_an_exception() -> None:
    chance = random.Random(7)
    good = (
        "spec:\n  cidrs: [10.88.0.0/16, \"fd88::/64\"]  # é\n  flows:\n    - {name: 'x', to: {}}\n---\nb: &a |\n  c\n"
    )
    alphabet = "a:b -[]{}'\"\n\t#&*!|>%@`?,<~0.é日\r\\"

    def mutate() -> bytes:
        kind = chance.randrange(4)
        if kind == 0:
            return bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
        if kind == 1:
            return "".join(chance.choices(alphabet, k=chance.randrange(80))).encode()
        if kind == 2:
            return good.encode()[: chance.randrange(len(good))]
        letters = list(good)
        for _ in range(chance.randrange(1, 6)):
            letters[chance.randrange(len(letters))] = chance.choice(["", *alphabet])
        return "".join(letters).encode()

    for _ in range(1_500):
        data = mutate()
        source, found = decode("x.yaml", data)
        documents: list[Document] = []
        if not found:
            documents, found, whole = parse(source)
            assert whole or found
        for diagnostic in found:
            assert diagnostic.range is not None
            assert 1 <= diagnostic.range.start.line <= len(LINE_BREAK.split(source.text)), data
            assert diagnostic.range.start <= diagnostic.range.end, data
        for document in documents:
            document.positions.value(("spec", "flows", 0, "to"))
            json.dumps(document.data)
        assert render_text(found, {"x.yaml": source.text}, color=False).replace("\n", "").isprintable()


def test_a_link_that_leads_to_itself_is_told_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "d" / "good.yaml").write_text("a: 1\n")
    reading = read_folder(tmp_path)

    assert [(one.code.id, one.range and one.range.file) for one in reading.diagnostics] == [("SW1001", "d/loop.yaml")]
    assert len(reading.documents) == 1


def test_bytes_in_file_names_are_shown_as_bytes(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.yaml"))).write_text("a: 1\n")

    assert list(read_folder(tmp_path).sources) == ["a\\xff.yaml"]


def test_a_folder_with_one_file_called_like_a_store_s_is_read(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "lock").write_text("")
    (tmp_path / "d" / "a.yaml").write_text("a: 1\n")

    assert len(read_folder(tmp_path).documents) == 1
