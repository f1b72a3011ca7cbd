"""What machines say of their packages is untrusted, and nothing but names and versions gets into a command."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts import packages
from swarmctl.hosts.packages import faults
from swarmctl.hosts.packages.reading import parse

LINES = b"""@ apt amd64
ii \tnvidia-imex\tamd64\t595.91.07-1ubuntu1
hi \tlibc6\ti386\t2.36-9
iU \tdcgm\tall\t1:4.6.0-1
rc \tgone\tamd64\t1.0
iHR\tlibbroken\tamd64\t1.0
ii \tbad name\tamd64\t1.0
ii \tg++\tamd64\t4:12.2.0-3
ii \tnoversion\tamd64\t$(id)
@ end
"""


def test_what_is_there_what_is_held_and_what_is_broken() -> None:
    found = parse(LINES, "n1")
    assert found.installed == {
        "nvidia-imex": "595.91.07-1ubuntu1",
        "libc6:i386": "2.36-9",
        "dcgm": "1:4.6.0-1",
        "libbroken": "1.0",
        "g++": "4:12.2.0-3",
    }
    assert found.held == {"libc6:i386"}
    assert found.broken == ("dcgm", "libbroken")
    assert not found.interrupted
    assert parse(LINES.replace(b"@ end", b"@ interrupted\n@ end"), "n1").interrupted


def test_other_managers_are_told_and_a_reading_that_was_cut_off_is_none() -> None:
    assert parse(b"@ dnf x86_64\n@ end\n", "n1").manager == "dnf"
    assert parse(b"@ none\n@ end\n", "n1").manager == ""
    for cut in (b"", LINES[:-6], b"sh: not found\n"):
        with pytest.raises(WorldUnreadable):
            parse(cut, "n1")


@given(st.binary(max_size=400))
def test_noise_never_gets_past_the_parser(noise: bytes) -> None:
    found = parse(b"@ apt amd64\n" + noise + b"\n@ end\n", "n1")
    assert all(faults.NAME.fullmatch(name) for name in found.installed)
    error = faults.fault("n1", "installing x", 100, noise.decode("latin-1"), noise.decode("latin-1"))
    assert error is not None
    assert len(error.message) < 600
    assert "\n" not in error.message


@pytest.mark.parametrize(
    "wanted", ["a b", "x; id", "-o=x", "x=1 2", "x=$(id)", "../x.deb", "/tmp/a b.deb", "", "x=*", "X", "name-", "name+"]
)
def test_what_is_no_package_is_never_put_into_a_command(wanted: str) -> None:
    with pytest.raises(ValueError, match="not a package"):
        packages.install([wanted])


@pytest.mark.parametrize(
    "work",
    [
        packages.refresh("/etc/apt/sources.list.d/a.list"),
        packages.simulate(["a1=1-*"], ["b1"]),
        packages.download(["a1=1"], "/var/cache/x"),
        packages.install(["/a/b.deb"]),
        packages.hold(["a1"]),
        packages.unhold(["a1"]),
        packages.purge(["a1"]),
        packages.mend(),
    ],
)
def test_every_script_is_one_command_that_a_shell_reads_whole(work: packages.Work) -> None:
    assert work.script.startswith("{\n")
    assert work.script.endswith("\n} </dev/null\n")
    checked = subprocess.run(["sh", "-n"], input=work.script.encode(), check=False, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    cut = subprocess.run(["sh", "-eu", "-s"], input=work.script[:-15].encode(), check=False, capture_output=True)
    assert cut.returncode != 0, "half of it does nothing"
    assert not cut.stdout


def test_what_is_done_is_told_by_the_names_of_packages() -> None:
    files = ["/var/a/libx-1_1%3a2.0_all.deb", "/var/a/perl%5fx_1-1_noarch.rpm"]
    assert packages.install([*files, "g++=4.0"]).what == "installing libx-1, perl_x, g++"
    assert packages.download(["a1=1", "b1=1", "c1=1", "d1", "e1"], "/x").what == "fetching a1, b1, c1 and 2 more"


def test_what_to_do_about_a_file_that_is_another_has_nothing_to_do_with_keys() -> None:
    for words, hint in (("Hash Sum mismatch", "whether the mirror is whole"), ("BADSIG", "declare its fingerprint")):
        error = faults.fault("n1", "installing x", 100, "", f"E: Failed to fetch http://a/b.deb  {words}\n")
        assert isinstance(error, packages.BadSignature)
        assert hint in error.hint


def test_unknown_failures_keep_the_last_words() -> None:
    error = faults.fault("n1", "installing x", 100, "", "Reading…\nE: Something\x1b[31m new\n")
    assert error is not None
    assert error.message == "n1: installing x failed: E: Something?[31m new"
    assert faults.fault("n1", "installing x", 0, "", "W: old news") is None
