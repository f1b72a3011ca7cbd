"""What needs no machine: scripts, unit files, and how answers are read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from swarmctl.backends.base import ServiceStatus
from swarmctl.backends.ssh import answers, files, services, shell
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.session import Outcome
from swarmctl.backends.ssh.transport import Limits

ADDRESS = Address("192.0.2.1", "ann", ())


def test_the_line_for_the_login_shell_has_nothing_that_shells_disagree_on() -> None:
    script = shell.script(["a'b", "!\\`"], "n", 3, sudo=True)
    for line in (shell.by_stdin(script, "n"), shell.by_argument(script)):
        inside = line.removeprefix("exec /bin/sh -c '").removesuffix("'")
        assert not set(inside) & set("'!\\`\n")
    with pytest.raises(ValueError, match="NUL"):
        shell.script(["a\0"], "n", None, sudo=False)
    with pytest.raises(ValueError, match="are the most"):
        shell.by_argument(b"x" * (1 << 20))


def test_a_mark_counts_only_with_the_nonce() -> None:
    assert shell.after_begin(b"hello@swarmctl-ssh right begin\nout", "right") == b"out"
    assert shell.after_begin(b"@swarmctl-ssh wrong begin\nout", "right") is None
    assert shell.refusal(b"@swarmctl-ssh wrong no-sudo\n", "right") == ""


@pytest.mark.parametrize("status", [None, 1])
def test_what_a_machine_says_instead_is_shown_as_one_printable_line(status: int | None) -> None:
    outcome = Outcome(status, b"", b"\x1b[31mred\xff\n" + b"x" * 9000)
    error = answers.not_begun("m1", ADDRESS, "true", "nonce", outcome)
    assert error.message.isprintable()
    assert len(error.message) < 700


def test_unit_files_take_every_argument_as_it_is() -> None:
    text = services.unit("one", ["/bin/sh", "-c", 'echo "$HOME" %i \\\n; x'])
    assert 'ExecStart=:"/bin/sh" "-c" "echo \\"$HOME\\" %%i \\\\\\n; x"' in text.splitlines()
    assert "Environment=PATH=" + shell.PATH in text


def test_lists_and_logs_that_a_machine_could_not_have_written_are_left_out() -> None:
    found = services.listed(b"one 12\ntwo 0\n../x 3\nthree -1\nfour 99999999999999\n\xff 1\n")
    assert found == [ServiceStatus("one", True, 12), ServiceStatus("two", False)]
    assert services.lines(b"before\nn a.log\nline\nn b.log\nother\n", "n") == [("a", "line"), ("b", "other")]


@pytest.mark.parametrize("path", ["relative", "/a\0", "/a/", "/", "/a/.."])
def test_paths_that_name_no_file(path: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        files.put(path, 0o644, 0)


@pytest.mark.parametrize("name", ["", "-x", "a/b", "A", "x" * 65])
def test_names_that_no_service_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="not a service name"):
        services.stop(name)


def test_jumps_in_order() -> None:
    about = {"user": "a", "hostKeys": ["ssh-ed25519 x"]}
    jump = {"address": "b", "jump": {"address": "c", **about}, **about}
    loaded = Address.load({"address": "::1", "port": 2222, "jump": jump, **about})
    assert [it.host for it in loaded.jumps] == ["c", "b"]
    assert str(loaded) == "a@[::1]:2222"


def test_the_library_is_imported_without_starting_anything() -> None:
    """It looks for libraries by running a compiler, which would be given this process's environment."""
    program = (
        "import sys\nsys.addaudithook(lambda event, args: sys.exit(3) if event == 'subprocess.Popen' else None)\n"
        "import swarmctl.backends.ssh.host\nassert 'asyncssh' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_sessions_that_are_over_and_still_counted_leave_room_for_as_many() -> None:
    assert 2 * Limits().commands_per_host <= 10, "MaxSessions of sshd_config(5), by default"
