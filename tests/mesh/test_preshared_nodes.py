"""Preshared keys on real namespaces, real WireGuard and real age, with traffic between all pairs."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from swarmctl import toolchain
from swarmctl.backends.base import HostUnreachable
from swarmctl.kinds.mesh.peers import PresharedKeyMissing
from swarmctl.kinds.mesh.preshared.resource import PresharedKeysType
from tests.mesh.builder import FakeBackend, compiled, lab
from tests.mesh.namespaces import Network, possible
from tests.mesh.rotating import FOLDER, OPEN, Killed, Rotated

WIREGUARD_GO = toolchain.wireguard_go()
NAMES = ("control-0", "workers-0", "workers-1")
GENERATED = {"keys": {"presharedKeys": "generated"}}
PHASES = ("recipients", "seal", "open", "settle", "forget")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.xdist_group("rotation"),
    pytest.mark.skipif(bool(possible()), reason=possible() or "possible"),
    pytest.mark.skipif(WIREGUARD_GO is None, reason="there is no wireguard-go, neither installed nor built"),
    pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed"),
]


@pytest.fixture(scope="module", autouse=True)
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("bin")
    (folder / "wireguard-go").symlink_to(str(WIREGUARD_GO))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
        backend = FakeBackend()
        patch.setattr("swarmctl.backends.load", lambda name: backend)
        yield


class Shared(Rotated):
    """A mesh whose preshared keys come, change and go."""

    def declare(self, mesh: Mapping[str, Any] | None, preshared: PresharedKeysType | None = None) -> None:
        self.inventory = lab(control=1, workers=2, mesh=mesh, flows=OPEN)
        self.preshared = preshared or PresharedKeysType()
        self.apply(compiled(self.inventory, self._recorded()), self.quick())
        gone = [address for address in self.inputs if address.endswith("[preshared]") and not mesh]
        for address in gone:
            self.preshared.delete(self.nodes, self.inputs.pop(address))

    def secrets(self) -> dict[frozenset[str], set[str]]:
        """What both ends of every tunnel have as its key, by their names; the nodes are asked, not swarmctl."""
        owners = {key: name for name, key in self.keys().items()}
        found: dict[frozenset[str], set[str]] = {}
        for name, node in self.nodes.nodes.items():
            for line in node.sh("wg show wg0 preshared-keys").splitlines():
                peer, secret = line.split()
                found.setdefault(frozenset((name, owners[peer])), set()).add(secret)
        return found

    def files(self) -> set[str]:
        """Modes and kinds of all that is there of them."""
        script = f"find {FOLDER}/psk -printf '%y %m %u\\n' 2>/dev/null | sort -u"
        return {line for node in self.nodes.nodes.values() for line in node.sh(script).splitlines()}


@pytest.fixture
def nodes() -> Iterator[Network]:
    made = Network(NAMES)
    yield made
    made.close()


@pytest.fixture
def mesh(nodes: Network) -> Shared:
    return Shared(nodes, workers=2)


def of_each(mesh: Shared) -> list[str]:
    """The keys, one per tunnel: the same at both ends, and another on every tunnel."""
    found = mesh.secrets()
    assert len(found) == 3
    assert all(len(secrets) == 1 for secrets in found.values()), found
    keys = [secret for secrets in found.values() for secret in secrets]
    assert len({*keys}) == 3
    assert "(none)" not in keys
    return keys


def test_they_come_are_rotated_and_go_without_a_lost_packet(mesh: Shared) -> None:
    with mesh.traffic() as traffic:
        traffic.measure()
        mesh.declare(GENERATED)
        first = of_each(mesh)
        assert mesh.drift() == {}
        assert mesh.files() == {"d 700 root", "f 600 root"}
        mesh.rotate("workers-0")
        second = of_each(mesh)
        assert len({*first, *second}) == 5, "two of three tunnels end at the node whose key was rotated"
        assert mesh.drift() == {}
        mesh.rotate()
        assert not {*second} & {*of_each(mesh)}
        mesh.declare(None)
        assert {secret for secrets in mesh.secrets().values() for secret in secrets} == {"(none)"}
        assert mesh.files() == set()
        assert mesh.drift() == {}
        report = traffic.stop()
    print(report)
    assert report.lost == 0, (report, report.losing())


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("node", ["control-0", "workers-1"])
def test_cut_off_in_any_phase_nothing_is_lost_and_the_next_run_heals(mesh: Shared, phase: str, node: str) -> None:
    mesh.declare(GENERATED)
    before = of_each(mesh)
    fallen = []

    def kill(now: str, where: str) -> None:
        if (now, where) == (phase, node):
            fallen.append(now)
            raise Killed

    with mesh.traffic() as traffic:
        traffic.measure()
        mesh.preshared = PresharedKeysType(hook=kill)
        try:
            mesh.rotate()
        except Killed:
            assert of_each(mesh) == before or len({*of_each(mesh)}) == 3, "what is in use is the same on both ends"
        mesh.preshared = PresharedKeysType()
        mesh.declare(GENERATED)
        report = traffic.stop()
    assert fallen or (phase, node) in {("recipients", "control-0"), ("seal", "workers-1"), ("open", "control-0"),
                                       ("settle", "workers-1")}  # fmt: skip
    assert report.lost == 0, report.losing()
    assert not {*before} & {*of_each(mesh)}
    assert mesh.drift() == {}


def test_one_end_that_has_another_or_none_is_drift_and_healed(mesh: Shared) -> None:
    mesh.declare(GENERATED)
    node, keys = mesh.nodes.nodes["workers-1"], mesh.keys()
    node.sh(f"wg set wg0 peer {keys['control-0']} preshared-key /dev/null")
    node.sh(f"wg genpsk >/run/x; wg set wg0 peer {keys['workers-0']} preshared-key /run/x")
    assert mesh.drift() == {
        "mesh/backbone[workers-1/peers]": ["peers.control-0.presharedKey", "peers.workers-0.presharedKey"]
    }
    mesh.declare(GENERATED)
    of_each(mesh)
    node.sh(f"rm {FOLDER}/psk/*/*; echo garbage >{FOLDER}/psk/identity")
    assert mesh.drift().keys() == {"mesh/backbone[preshared]", "mesh/backbone[workers-1/peers]"}
    mesh.declare(GENERATED)
    of_each(mesh)
    assert mesh.drift() == {}
    maker = mesh.nodes.nodes["control-0"]
    maker.sh(f"for one in {FOLDER}/psk/*/*; do echo garbage >$one; done")
    assert mesh.drift()["mesh/backbone[preshared]"] == ["nodes.control-0.without"]
    mesh.declare(GENERATED)
    of_each(mesh)
    assert mesh.drift() == {}


def test_a_node_without_age_is_named_and_its_tunnels_stay_as_they_are(mesh: Shared) -> None:
    node = mesh.nodes.nodes["workers-1"]
    age = shutil.which("age")
    node.sh(f"mount --bind /dev/null {age}")
    with pytest.raises(PresharedKeyMissing) as raised:
        mesh.declare(GENERATED)
    assert "workers-1" in raised.value.message
    found = mesh.secrets()
    assert found[frozenset(("control-0", "workers-1"))] == {"(none)"}
    node.sh(f"umount {age}")
    mesh.declare(GENERATED)
    of_each(mesh)


def test_a_maker_that_is_lost_at_the_end_leaves_both_ends_as_they_are(mesh: Shared) -> None:
    def lose(phase: str, node: str) -> None:
        if (phase, node) == ("settle", "control-0"):
            raise HostUnreachable("control-0 does not answer")

    with pytest.raises(PresharedKeyMissing) as raised:
        mesh.declare(GENERATED, PresharedKeysType(hook=lose))
    assert "does not answer" in raised.value.message
    assert {*mesh.secrets()[frozenset(("control-0", "workers-1"))]} == {"(none)"}
    mesh.declare(GENERATED)
    of_each(mesh)
    assert mesh.drift() == {}


def test_no_key_is_told_to_anybody(mesh: Shared) -> None:
    told: list[bytes] = []
    for node in mesh.nodes.nodes.values():
        run = node.run

        def listening(argv, *, run=run, **options):  # type: ignore[no-untyped-def]
            done = run(argv, **options)
            told.append(done.stdout + done.stderr)
            return done

        node.run = listening  # type: ignore[method-assign]
        node.commands.clear()
        node.inputs.clear()
    mesh.declare(GENERATED)
    mesh.rotate()
    mesh.nodes.forget()
    mesh.drift()
    for node in mesh.nodes.nodes.values():
        told += [repr(node.commands).encode(), *node.inputs]
    del node
    said = b"\n".join(told)
    for other in mesh.nodes.nodes.values():
        del other.run
    for secret in of_each(mesh):
        raw = base64.b64decode(secret)
        for form in (secret.encode(), raw, raw.hex().encode()):
            assert form not in said
    assert b"AGE-SECRET-KEY" not in said
    assert b"BEGIN AGE ENCRYPTED FILE" in said, "what is sealed went through here"
