"""What every test gets: an environment of its own, tests in order of their cost, and the real engine on request."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # how long an example takes tells of the machine, not of the code

REAL_CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
"""Where `make test` put the engine and wireguard-go."""

KEPT = ("PATH", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")
"""Variables that tests may see; none of them changes what swarmctl prints."""
KEPT_PREFIXES = ("GO", "PYTEST_", "PYTHON", "COV_", "http", "https", "no_proxy", "HTTP", "HTTPS", "NO_PROXY", "PIP_")
PLAIN = {"NO_COLOR": "1", "COLUMNS": "100", "LC_ALL": "C.UTF-8"}

_homes = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: what is broken shows in seconds, not after the labs."""
    items.sort(key=_cost)


def _cost(item: pytest.Item) -> int:
    if item.get_closest_marker("integration"):
        return 2
    return 1 if item.get_closest_marker("slow") else 0


@pytest.fixture(scope="session", autouse=True)
def _heard_signals() -> Iterator[None]:
    """What runs in the background (`nohup make test &`) ignores Ctrl-C and the end of its terminal, and so would all
    that it starts; the tests send both. A handler of ours is not inherited: what is started has the usual ones."""
    ignored = [it for it in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM) if signal.getsignal(it) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda number, frame: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder below which every test has its own home."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def environment(request: pytest.FixtureRequest, homes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scrub the environment: no CI, no colours, no terminal's width, no folders of the user's. Returns the new home.

    Integration tests keep the real cache, where the engine and the tools are, and nothing else of the user's.
    """
    home = homes / str(next(_homes))
    integration = request.node.get_closest_marker("integration") is not None
    engine = os.environ.get("SWARMCTL_ENGINE")
    real_home = os.environ.get("HOME", "/")
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(KEPT_PREFIXES):
            monkeypatch.delenv(name)
    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)
    # Go keeps its own caches below HOME; a build in a test must not start from nothing.
    monkeypatch.setenv("HOME", real_home if integration else str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", REAL_CACHE if integration else str(home / "cache"))
    if integration and engine:
        monkeypatch.setenv("SWARMCTL_ENGINE", engine)
    return home


@pytest.fixture
def engine(environment: Path) -> Iterator[Path]:
    """The real engine's path; SWARMCTL_ENGINE names it. `make test` has put it there: it is not made by a test."""
    from swarmctl.engine.install import locate

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", REAL_CACHE)
        found = locate()
        patch.setenv("SWARMCTL_ENGINE", str(found.path))
        yield found.path
