"""Becomes the engine, with the provider beside it. Run as a script (`python -I -S launch.py`, see `command`), it
imports nothing of ours.

A process of its own sets what the engine shall have from its first moment on, as code between fork and exec in a
process with threads cannot: when the parent dies, even by kill -9, the engine gets the signal of Ctrl-C, on which it
finishes what it has begun, writes its state and ends.

The provider is started here, not by the engine, which starts one for every stage of a run and waits for each: this one
gets ready while the engine does, and what it has read of the hosts in one stage it still knows in the next. It is a
child of the engine all the same, and ends with it.
"""

import ctypes
import os
import resource
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2)"""
PORT_VARIABLE = "SWARMCTL_PROVIDER_PORT"
"""Tells the provider on which port of this machine the engine expects it."""
STARTER_VARIABLE = "SWARMCTL_STARTER"
"""Tells the provider the process id of the swarmctl that the engine works for."""
SECRETS_VARIABLE = "SWARMCTL_SECRETS"
"""Names the inherited descriptor with the secrets of the declarations; see kinds/secrets.py."""


def command(parent: int, provider: list[str], engine: list[str]) -> list[str]:
    """The command line that becomes `engine`, if its parent is still `parent`, with `provider` as its child."""
    return [sys.executable, "-I", "-S", __file__, str(parent), str(len(provider)), *provider, *engine]


def main(parent: int, provider: list[str], engine: list[str]) -> None:
    """Start the provider, become the engine."""
    die_with(parent, signal.SIGINT)
    # Memory may hold what must not get onto a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Python ignores it, and what is ignored stays so after exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    port = reserve_port()
    itself = os.getpid()
    secrets = os.environ.pop(SECRETS_VARIABLE, "")
    if os.fork() == 0:
        # By now, not when the provider is ready to ask for it: whenever the engine ends, it ends.
        die_with(itself, signal.SIGKILL)
        told = {PORT_VARIABLE: str(port), STARTER_VARIABLE: str(parent)}
        become(provider, told | ({SECRETS_VARIABLE: secrets} if secrets else {}))
    if secrets:  # for the provider alone
        os.close(int(secrets))
    # What the engine writes holds the state; the provider makes files that others are to read, on nodes.
    os.umask(0o077)
    become(engine, {"PULUMI_DEBUG_PROVIDERS": f"swarm:{port}"})


def become(command: list[str], environment: dict[str, str]) -> None:
    """Turn into `command`; what keeps it from starting is told in one line."""
    try:
        os.execve(command[0], command, {**os.environ, **environment})
    except OSError as error:
        print(f"{command[0]} can't be started: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127)


def die_with(parent: int, how: signal.Signals) -> None:
    """Get the signal `how` when the parent ends, now and after exec; end at once when it has ended already."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, how) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        os._exit(1)


def reserve_port() -> int:
    """A free port that stays ours as long as the engine runs: a bound socket that does not listen keeps it from all
    but sockets that ask to share it, and these have to belong to the same user (socket(7), SO_REUSEPORT)."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    os.set_inheritable(held.detach(), True)
    return port


if __name__ == "__main__":
    count = 3 + int(sys.argv[2])
    main(int(sys.argv[1]), sys.argv[3:count], sys.argv[count:])
