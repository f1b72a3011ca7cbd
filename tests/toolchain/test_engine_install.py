"""Getting the engine: every way that works, and what is said about every way that doesn't."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl import toolchain
from swarmctl.engine import download, install
from swarmctl.plans.events import Downloaded, Event
from tests.toolchain import releases as fakes

VERSION = fakes.VERSION
MAJOR, MINOR, PATCH = map(int, VERSION.split("."))
GOOD = fakes.archive(("pulumi/pulumi-language-x", b"no"), ("pulumi/pulumi", fakes.program(VERSION)))


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH without engine and without Go: an own folder first, then only the shell's tools."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "cat", "sleep"):
        (folder / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def server(bare: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fakes.Releases]:
    """A release server that swarmctl is pointed to."""
    with fakes.serve() as releases:
        monkeypatch.setenv("SWARMCTL_ENGINE_URL", releases.url + "/sdk/")
        yield releases


def ignore(_event: Event) -> None:
    return


def failure() -> install.EngineMissing:
    with pytest.raises(install.EngineMissing) as raised:
        install.install(ignore)
    return raised.value


def nothing_kept() -> bool:
    """No engine and no temporary file is left in the cache."""
    return [path.name for path in install.kept().parent.iterdir() if path.suffix != ".lock"] == []


def test_nothing_there_names_every_way_tried(bare: Path) -> None:
    with pytest.raises(install.EngineMissing) as raised:
        install.locate()
    assert [line.partition(":")[0] for line in raised.value.details] == ["configured", "PATH", "cache"]
    assert "swarmctl engine install" in raised.value.hint


@pytest.mark.parametrize("version", [VERSION, f"{MAJOR}.{MINOR}.{PATCH + 1}", f"{MAJOR}.{MINOR + 7}.0"])
def test_an_engine_on_path_that_fits_is_used(bare: Path, version: str) -> None:
    path = fakes.executable(bare / "pulumi", fakes.program(version))
    assert install.locate() == install.Engine(path, version, "PATH")


@pytest.mark.parametrize(
    "version", [f"{MAJOR}.{MINOR - 1}.9", f"{MAJOR + 1}.0.0", f"{MAJOR - 1}.999.0", f"{VERSION}-alpha.1", "x", ""]
)
def test_an_engine_on_path_that_does_not_fit_is_skipped_with_the_reason(bare: Path, version: str) -> None:
    fakes.executable(bare / "pulumi", fakes.program(version))
    with pytest.raises(install.EngineMissing) as raised:
        install.locate()
    assert any(line.startswith("PATH:") and repr(version)[1:-1] in line for line in raised.value.details)


def test_what_a_version_check_said_is_remembered_until_the_file_changes(bare: Path) -> None:
    log = bare / "log"
    counting = fakes.program(VERSION).replace(b"echo", f"echo >> '{log}'; echo".encode())
    path = fakes.executable(bare / "pulumi", counting)
    for _ in range(3):
        install.locate()
    assert log.read_text().count("\n") == 1
    path.unlink()
    fakes.executable(path, fakes.program("1.0.0"))
    with pytest.raises(install.EngineMissing):
        install.locate()


def test_a_configured_engine_comes_first_and_is_never_replaced(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes.executable(bare / "pulumi", fakes.program(VERSION))
    mine = fakes.executable(bare / "mine", fakes.program(VERSION))
    monkeypatch.setenv("SWARMCTL_ENGINE", str(mine))
    assert install.locate() == install.Engine(mine, VERSION, "configured")
    monkeypatch.setenv("SWARMCTL_ENGINE", "~nosuchuser/pulumi")
    with pytest.raises(install.EngineMissing, match="SWARMCTL_ENGINE names an engine that can't be used"):
        install.locate()
    monkeypatch.setenv("SWARMCTL_ENGINE", str(bare / "gone"))
    for get in (install.locate, lambda: install.install(ignore)):
        with pytest.raises(install.EngineMissing, match="gone"):
            get()


def test_the_release_is_downloaded_checked_and_kept(server: fakes.Releases) -> None:
    server.publish(GOOD)
    events: list[Event] = []
    engine = install.install(events.append)
    assert engine == install.Engine(install.kept(), VERSION, "download")
    assert subprocess.check_output([engine.path, "version"], text=True).strip() == f"v{VERSION}"
    progress = [event for event in events if isinstance(event, Downloaded)]
    assert (progress[-1].done, progress[-1].total) == (len(GOOD), len(GOOD))

    server.asked.clear()
    assert install.install(ignore).source == "cache"
    assert server.asked == []


@pytest.mark.parametrize("content", [b"\x7fELF" + bytes(1000), b"", fakes.program("3.1.0")])
def test_a_kept_engine_that_is_broken_is_told_and_got_anew(server: fakes.Releases, content: bytes) -> None:
    server.publish(GOOD)
    install.install(ignore)
    install.locate()
    install.kept().write_bytes(content)
    with pytest.raises(install.EngineMissing) as raised:
        install.locate()
    assert any(line.startswith(f"cache: {install.kept()}") for line in raised.value.details)

    assert install.install(ignore).source == "download"
    assert install.locate() == install.Engine(install.kept(), VERSION, "cache")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("pulumi/other", b"x")], "holds no pulumi/pulumi"),
        ([("pulumi/pulumi", None)], "not a plain file"),
        ([("pulumi/pulumi", fakes.program("3.1.0"))], "'3.1.0'"),
        ([("pulumi/pulumi", b"\x7fELF nonsense")], "can't be run"),
        ([("../../evil", b"x"), ("/tmp/evil", b"x")], "holds no pulumi/pulumi"),
    ],
)
def test_an_archive_with_something_else_in_it_is_refused(
    server: fakes.Releases, members: list[tuple[str, bytes | None]], reason: str
) -> None:
    server.publish(fakes.archive(*members))
    assert any(reason in line for line in failure().details)
    assert nothing_kept()


def test_no_other_member_of_the_archive_touches_the_disk(server: fakes.Releases, tmp_path: Path) -> None:
    server.publish(fakes.archive(("../../../evil", b"x"), ("pulumi/pulumi", fakes.program(VERSION))))
    assert install.install(ignore).source == "download"
    assert not list(tmp_path.parent.rglob("evil"))
    assert not list(install.kept().parents[3].rglob("evil"))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"cut": 40}, "ended after 40 of"),
        ({"stall": 1.0}, "timed out"),
        ({"redirect": "http://example.invalid/x"}, "not an https address"),
        ({"files": {}}, "answered 404"),
    ],
)
def test_a_download_that_goes_wrong_leaves_nothing_and_says_why(
    server: fakes.Releases, monkeypatch: pytest.MonkeyPatch, fault: dict[str, object], reason: str
) -> None:
    monkeypatch.setattr(download, "STALL_TIMEOUT", 0.2)
    server.publish(GOOD)
    for name, value in fault.items():
        setattr(server, name, value)
    details = failure().details
    assert any(line.startswith("download:") and reason in line for line in details), details
    assert any(line.startswith("build:") and "go is not on PATH" in line for line in details)
    assert nothing_kept()


def test_a_wrong_sum_is_refused(server: fakes.Releases) -> None:
    server.publish(GOOD, sha256="ab" * 32)
    assert any("ab" * 32 in line for line in failure().details)
    assert nothing_kept()


def test_an_archive_that_is_not_listed_is_refused(server: fakes.Releases) -> None:
    server.publish(GOOD)
    server.files[fakes.SUMS] = b"nothing here\n"
    assert any("lists no SHA-256 sum" in line for line in failure().details)
    assert fakes.ARCHIVE not in server.asked


def test_a_download_that_is_too_large_is_given_up(server: fakes.Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_ARCHIVE_LIMIT", 100)
    server.publish(GOOD)
    assert any("is larger than" in line for line in failure().details)


def test_an_archive_that_unpacks_to_too_much_is_given_up(
    server: fakes.Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_UNPACKED_LIMIT", 1000)
    server.publish(fakes.archive(("bomb", bytes(2000)), ("pulumi/pulumi", fakes.program(VERSION))))
    assert any("unpacks to more than" in line for line in failure().details)


def test_a_mirror_without_tls_is_refused(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARMCTL_ENGINE_URL", "http://mirror.invalid/sdk")
    assert any("not an https address" in line for line in failure().details)


def test_without_a_download_the_pinned_engine_is_built(server: fakes.Releases, bare: Path) -> None:
    log = bare / "log"
    fakes.fake_go(bare, builds=fakes.program(VERSION), log=log)
    events: list[Event] = []
    engine = install.install(events.append)
    assert engine == install.Engine(install.kept(), VERSION, "build")
    assert f"-X {toolchain.PULUMI.version_variable}=v{VERSION}" in log.read_text()
    progress = [event for event in events if isinstance(event, Downloaded)]
    assert [event.done for event in progress if event.total == 3] == [1, 2, 3]


def test_what_can_be_downloaded_is_not_built(server: fakes.Releases, bare: Path) -> None:
    log = bare / "log"
    fakes.fake_go(bare, builds=fakes.program(VERSION), log=log)
    server.publish(GOOD)
    engine = install.install(ignore)
    assert engine == install.Engine(install.kept(), VERSION, "download")
    assert server.asked.count(fakes.ARCHIVE) == 1
    assert not log.exists(), "Go was not even asked"


def test_a_build_that_fails_shows_its_last_lines(server: fakes.Releases, bare: Path) -> None:
    fakes.fake_go(bare, status=3)
    details = failure().details
    assert any(line.startswith("download:") for line in details)
    assert any("go build ended with status 3" in line for line in details)
    assert any("no route to the module proxy" in line for line in details)
    assert nothing_kept()


def test_a_build_of_another_version_is_refused(server: fakes.Releases, bare: Path) -> None:
    fakes.fake_go(bare, builds=fakes.program("3.1.0"))
    assert any("'3.1.0'" in line for line in failure().details)
    assert nothing_kept()


def test_two_at_once_fetch_it_once(server: fakes.Releases) -> None:
    server.publish(GOOD)
    server.stall = 0.5
    script = "from swarmctl.engine import install; print(install.install(lambda event: None).path)"
    command = [sys.executable, "-c", script]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for _ in range(3)]
    outputs = {run.communicate(timeout=30)[0].strip() for run in runs}
    assert outputs == {str(install.kept())}
    assert server.asked.count(fakes.ARCHIVE) == 1


def test_what_a_killed_run_left_is_swept_away(server: fakes.Releases) -> None:
    left = install.kept().parent / ".pulumi-abcd"
    left.mkdir(parents=True)
    (left / "pulumi").write_bytes(b"half")
    server.publish(GOOD)
    install.install(ignore)
    assert not left.exists()


def test_the_pinned_engine_is_the_one_of_the_pinned_sdk() -> None:
    from importlib.metadata import version

    assert version("pulumi") == VERSION
