"""`swarmctl import wireguard`: files of wg-quick become declarations, and nothing is lost without a word."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from swarmctl import cli
from swarmctl.errors import InvalidDeclaration, UsageError
from swarmctl.mesh.wgquick.nodes import _public_half as public_half
from swarmctl.operations.import_wireguard import Imported, import_wireguard
from swarmctl.operations.validate import validate
from tests.declarations.stacks import told


def private(number: int) -> str:
    return base64.b64encode(bytes([number] * 32)).decode()


def public(number: int) -> str:
    return public_half(private(number))


def peer(number: int, *lines: str, allowed: str = "", endpoint: str = "") -> str:
    return "\n".join(
        [
            "[Peer]",
            f"PublicKey = {public(number)}",
            f"AllowedIPs = {allowed or f'10.9.0.{number}/32'}",
            *([f"Endpoint = {endpoint or f'203.0.113.{number}:51820'}"] if endpoint != "none" else []),
            *lines,
            "",
        ]
    )


def config(number: int, *peers: str, lines: Sequence[str] = (), address: str = "", port: str = "51820") -> str:
    head = ["[Interface]", f"PrivateKey = {private(number)}", f"Address = {address or f'10.9.0.{number}/24'}"]
    return "\n".join([*head, *([f"ListenPort = {port}"] if port else []), *lines, "", *peers])


FULL = {f"n-{a - 1}": config(a, *(peer(b) for b in (1, 2, 3) if b != a)) for a in (1, 2, 3)}
Import = Callable[..., Imported]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    (tmp_path / "stack").mkdir()
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path / "files")

    def imported(files: Mapping[str, str], *, mode: int = 0o600, **more: object) -> Imported:
        paths = []
        for name, text in files.items():
            path = tmp_path / "files" / f"{name}.conf"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(mode)
            paths.append(path)
        return import_wireguard(paths, tmp_path / "stack", **more)  # type: ignore[arg-type]

    return imported


def mesh(imported: Imported) -> dict[str, object]:
    document = yaml.safe_load(imported.files["mesh.yaml"])
    assert document["kind"] == "Mesh"
    spec: dict[str, object] = document["spec"]
    return spec


def wrong(run: Import, files: Mapping[str, str], **more: object) -> list[tuple[str, int, int]]:
    with pytest.raises(InvalidDeclaration) as refused:
        run(files, **more)
    assert all(one.label and one.help for one in refused.value.diagnostics)
    assert private(1) not in str(refused.value.sources)
    return told(list(refused.value.diagnostics))


def test_a_full_mesh_comes_without_a_word(run: Import) -> None:
    found = run(FULL)
    assert found.diagnostics == ()
    assert mesh(found) == {
        "cidrs": ["10.9.0.0/24"],
        "adopt": True,
        "topology": {"full": {}},
        "mtu": 1420,
        "addresses": [{"node": f"n-{number}", "addresses": [f"10.9.0.{number + 1}"]} for number in range(3)],
        "endpoints": [{"node": f"n-{number}", "host": f"203.0.113.{number + 1}"} for number in range(3)],
    }


@pytest.mark.parametrize(
    ("mode", "who"), [(0o644, "everybody"), (0o640, "others"), (0o620, "others"), (0o602, "others"), (0o700, "")]
)
def test_a_key_that_others_can_get_at_is_a_finding(run: Import, mode: int, who: str) -> None:
    found = run({"n-0": FULL["n-0"]}, mode=mode).diagnostics
    said = [one.message for one in found if one.code.id == "SW3604"]
    assert said == (
        [f"`n-0.conf` has the mode {mode:04o}, and a private key in it: {who} on this machine can read it"]
        if who
        else []
    )


def test_no_private_key_is_in_what_comes_of_it(run: Import) -> None:
    found = run(FULL, mode=0o644)
    (one,) = found.diagnostics
    assert (one.code.id, len(one.related)) == ("SW3604", 2)
    assert "mode 0644" in one.message
    assert one.message.endswith("; and 2 more like it")
    assert "chmod 0600" in one.help
    assert not any(private(number) in repr(found) for number in (1, 2, 3))


def test_what_is_written_is_a_stack_that_validates(run: Import, tmp_path: Path) -> None:
    found = run(FULL, out=tmp_path / "new")
    assert {path.name for path in found.written} == {"mesh.yaml", "pools.yaml", "stack.yaml"}
    assert validate(tmp_path / "new").diagnostics == ()
    with pytest.raises(UsageError, match="there already"):
        run(FULL, out=tmp_path / "new")


def test_hub_and_spoke_with_a_spoke_behind_nat(run: Import) -> None:
    hub = config(1, peer(2), peer(3, endpoint="none"))
    whole = "10.9.0.0/24"
    near = config(2, peer(1, allowed=whole))
    far = config(3, peer(1, "PersistentKeepalive = 25", allowed=whole), port="")
    found = run({"hub": hub, "near": near, "far": far})
    spec = mesh(found)
    assert spec["topology"] == {"hubs": {"select": {"role": "hub"}}}
    assert {"node": "far", "host": "none"} in spec["endpoints"]  # type: ignore[operator]
    assert "persistentKeepalive" not in spec
    # It chose a port by itself: from now on it has the one of all.
    assert [(one.code.id, one.message.partition(":")[0]) for one in found.diagnostics] == [
        ("SW3611", "the port of `far` changes")
    ]


def test_any_other_shape_is_links(run: Import) -> None:
    chain = {
        "a": config(1, peer(2, allowed="10.9.0.2/32, 10.9.0.3/32, 10.9.0.4/32")),
        "b": config(2, peer(1), peer(3, allowed="10.9.0.3/32, 10.9.0.4/32")),
        "c": config(3, peer(2, allowed="10.9.0.2/32, 10.9.0.1/32"), peer(4)),
        "d": config(4, peer(3, allowed="10.9.0.3/32, 10.9.0.2/32, 10.9.0.1/32")),
    }
    spec = mesh(run(chain))
    assert spec["topology"] == {
        "links": [{"between": [{"node": one}, {"node": other}]} for one, other in ("ab", "bc", "cd")]
    }


def test_dual_stack_dns_names_ports_and_keepalive(run: Import) -> None:
    def one(a: int) -> str:
        others = (
            peer(b, "PersistentKeepalive = 15", allowed=f"10.9.0.{b}, fd09::{b}", endpoint=f"VPN{b}.example.net:{b}")
            for b in (1, 2)
            if b != a
        )
        return config(a, *others, address=f"10.9.0.{a}/16, fd09::{a}/64", port="7000", lines=["MTU = 1380"])

    spec = mesh(run({f"x{a}": one(a) for a in (1, 2)}))
    assert spec["cidrs"] == ["10.9.0.0/16", "fd09::/64"]
    assert (spec["listenPort"], spec["mtu"], spec["persistentKeepalive"]) == (7000, 1380, 15)
    assert spec["endpoints"] == [{"node": f"x{a}", "host": f"vpn{a}.example.net", "port": a} for a in (1, 2)]


def test_nodes_are_called_by_comment_file_or_folder(run: Import) -> None:
    files = {
        "n-0/wg0": FULL["n-0"],
        "n-1/etc/wireguard/wg0": FULL["n-1"],
        "wg0": "# Name = Third Node\n" + FULL["n-2"],
    }
    found = run(files)
    assert (found.nodes, found.interface) == (("n-0", "n-1", "third-node"), "wg0")
    assert ("SW3612", 1, 1) in wrong(run, {"a/n-0": FULL["n-0"], "b/n-0": FULL["n-1"]})


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("PostUp = sysctl -w net.ipv4.ip_forward=1", 5),
        ("dns = 10.9.0.1", 5),
        ("Table = off", 5),
        ("FwMark = 51820", 5),
        ("SaveConfig = true", 5),
    ],
)
def test_what_has_no_word_is_told_item_by_item(run: Import, line: str, place: int) -> None:
    files = {**FULL, "n-0": FULL["n-0"].replace("ListenPort = 51820\n", f"ListenPort = 51820\n{line}\n")}
    found = run(files)
    assert told(list(found.diagnostics)) == [("SW3610", place, 1)]
    assert found.diagnostics[0].help


def test_networks_behind_peers_and_preshared_keys_are_told(run: Import) -> None:
    psk = base64.b64encode(bytes(range(32))).decode()
    extra = peer(2, f"PresharedKey = {psk}", allowed="10.9.0.2/32, 192.168.7.0/24")
    found = run({**FULL, "n-0": config(1, extra, peer(3))})
    assert {code for code, _, _ in told(list(found.diagnostics))} >= {"SW3610"}
    assert "`192.168.7.0/24` behind a peer of `n-0` is not imported" in [one.message for one in found.diagnostics]
    changes = "the preshared key of the peer `n-1` on `n-0` changes: the file's → made by the nodes; and 5 more like it"
    # The network behind a peer is told once, and not as a change, too.
    assert len(found.diagnostics) == 2
    assert changes in [one.message for one in found.diagnostics]
    assert mesh(found)["keys"] == {"presharedKeys": "generated"}
    assert psk not in repr(found)


def test_unequal_ports_and_mtus_change_and_are_told(run: Import) -> None:
    odd = FULL["n-2"].replace("51820\n\n", "51999\nMTU = 1300\n\n", 1)
    found = run({**FULL, "n-2": odd})
    assert told(list(found.diagnostics)) == [("SW3611", 4, 14), ("SW3611", 5, 7)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ListenPort = 51820", "ListenPort = 0", ("SW3603", 4, 14)),
        ("ListenPort = 51820", "ListenPrt = 51820", ("SW3602", 4, 1)),
        ("ListenPort = 51820", "ListenPort 51820", ("SW3601", 4, 1)),
        ("[Peer]", "[Pear]", ("SW3601", 6, 1)),
        ("Endpoint = 203.0.113.2:51820", "Endpoint = 203.0.113.2", ("SW3603", 9, 12)),
        ("Endpoint = 203.0.113.2:51820", "PersistentKeepalive = 70000", ("SW3603", 9, 23)),
        ("AllowedIPs = 10.9.0.2/32", "AllowedIPs = 10.9.0.1/32, 10.9.0.300/32", ("SW3603", 8, 27)),
        ("Endpoint = 203.0.113.2:51820", "Endpoint = 10.9.0.2:51820", ("SW3608", 9, 12)),
        ("AllowedIPs = 10.9.0.2/32", "AllowedIPs = 10.9.0.3/32", ("SW3607", 13, 14)),
        (public(3), public(2), ("SW3606", 12, 13)),
        (public(3), private(3)[:-2], ("SW3603", 12, 13)),
        (private(1), private(3), ("SW3606", 2, 14)),
        (private(1), private(9), ("SW3605", 2, 14)),
        ("10.9.0.1/24", "10.9.0.3/24", ("SW3607", 3, 11)),
        ("10.9.0.1/24", "172.16.0.1/24", ("SW3613", 3, 11)),
        ("Address = 10.9.0.1/24", "Address = ten", ("SW3603", 3, 11)),
    ],
)
def test_mistakes_are_told_with_their_place(run: Import, old: str, new: str, expected: tuple[str, int, int]) -> None:
    found = wrong(run, {**FULL, "n-0": FULL["n-0"].replace(old, new, 1)})
    assert expected in found


def test_a_peer_without_its_file_and_half_a_tunnel_are_warnings(run: Import) -> None:
    found = run({name: FULL[name] for name in ("n-0", "n-1")})
    assert told(list(found.diagnostics)) == [("SW3609", 12, 13)]
    assert [(place.range.file, place.range.start.line) for place in found.diagnostics[0].related] == [("n-1.conf", 12)]
    half = run({**FULL, "n-0": config(1, peer(2))})
    assert "`n-0` does not have `n-2` as its peer" in [one.message for one in half.diagnostics]
    assert mesh(half)["topology"] == {"full": {}}


def test_a_key_in_a_file_of_its_own_is_known_from_the_others(run: Import) -> None:
    without = FULL["n-0"].replace(f"PrivateKey = {private(1)}\n", "PostUp = wg set %i private-key /etc/key\n")
    found = run({**FULL, "n-0": without})
    assert [one.code.id for one in found.diagnostics] == ["SW3610"]
    assert mesh(found)["topology"] == {"full": {}}


def test_into_a_stack_that_has_the_machines_comes_the_mesh_alone(run: Import, tmp_path: Path) -> None:
    new = run(FULL, out=tmp_path / "stack")
    (tmp_path / "stack" / "mesh.yaml").unlink()
    assert "pools.yaml" in new.files
    found = run(FULL, out=tmp_path / "stack")
    assert list(found.files) == ["mesh.yaml"]
    assert validate(tmp_path / "stack").diagnostics == ()
    # It is there now: printed all the same, but not written beside it.
    assert list(run(FULL).files) == ["mesh.yaml"]
    with pytest.raises(UsageError, match="declares a Mesh"):
        run(FULL, out=tmp_path / "other")
    assert wrong(run, {**FULL, "stranger": config(7)}) == [("SW3612", 1, 1)]


def test_the_command_prints_declarations_and_says_the_rest_beside_them(
    run: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(FULL)
    files = [str(path) for path in sorted((tmp_path / "files").glob("*.conf"))]
    assert cli.run(["-C", str(tmp_path / "stack"), "import", "wireguard", *files]) == 0
    said = capsys.readouterr()
    assert [document["kind"] for document in yaml.safe_load_all(said.out)] == [
        "Mesh", "Stack", "Cluster", "SecurityPolicy", "NodePool",
    ]  # fmt: skip
    assert "3 nodes, full mesh" in said.err
    Path(files[0]).write_text("[Interface]\nPrivateKey = nonsense\n")
    assert cli.run(["-C", str(tmp_path / "stack"), "import", "wireguard", *files]) == 4
    assert "nonsense" not in "".join(capsys.readouterr())
    assert cli.run(["-C", str(tmp_path / "stack"), "import", "wireguard", str(tmp_path / "none")]) == 2


def test_what_is_alike_is_told_once_with_the_first_places(run: Import) -> None:
    """A hub with three spokes and preshared keys."""
    psk = f"PresharedKey = {base64.b64encode(bytes(range(32))).decode()}"
    whole = "10.9.0.0/24"
    spokes = {f"s-{a}": config(a, peer(9, psk, allowed=f"{whole}, 192.168.50.0/24")) for a in (1, 2, 3)}
    found = run({"hub": config(9, *(peer(a, psk) for a in (1, 2, 3))), **spokes})
    assert [(one.code.id, one.message) for one in found.diagnostics] == [
        ("SW3610", "`192.168.50.0/24` behind a peer of `s-1` is not imported; and 2 more like it"),
        ("SW3611", "the preshared key of the peer `s-1` on `hub` changes: the file's → made by the nodes; and 5 more "
                   "like it"),
    ]  # fmt: skip
    assert [len(one.related) for one in found.diagnostics] == [2, 2]
    assert "as nodes; or keep a tunnel of your own" in found.diagnostics[0].help
    assert "`keys: {presharedKeys: generated}`" in found.diagnostics[1].help


def test_everything_into_one_tunnel_is_told_once(run: Import) -> None:
    found = run({"a": config(1, peer(2, allowed="0.0.0.0/0")), "b": config(2, peer(1))})
    assert [one.message for one in found.diagnostics] == ["`0.0.0.0/0` behind a peer of `a` is not imported"]


def test_a_keepalive_at_one_end_is_told_with_what_can_be_done(run: Import) -> None:
    found = run({"a": config(1, peer(2, "PersistentKeepalive = 21")), "b": config(2, peer(1))})
    assert [one.message for one in found.diagnostics] == ["the keepalive of the peer `b` on `a` changes: 21 s → 0 s"]
    assert "write `persistentKeepalive: 25`" in found.diagnostics[0].help


def test_all_mistakes_of_all_files_come_at_once(run: Import, tmp_path: Path) -> None:
    files = {
        "n-0": FULL["n-0"].replace("Endpoint = 203.0.113.2:51820", "PersistentKeepalive = 70000"),
        "n-1": FULL["n-1"].replace(public(3), public(1)),
        "n-2": FULL["n-2"].replace("203.0.113.1", "10.9.0.1"),
    }
    assert wrong(run, files) == [("SW3603", 9, 23), ("SW3606", 12, 13), ("SW3608", 9, 12)]
    # A key that is none does not make a missing counterpart of its peer, nor a file without address a foreign network.
    lost = {**FULL, "n-0": FULL["n-0"].replace(public(2), "none"), "n-1": FULL["n-1"].replace("10.9.0.2/24", "ten")}
    assert wrong(run, lost) == [("SW3603", 7, 13), ("SW3603", 3, 11)]
    run(FULL, out=tmp_path / "stack")
    assert wrong(run, {**files, "stranger": config(7)})[-1] == ("SW3612", 1, 1)


def six(number: int) -> str:
    return f"[2001:db8::{number}]:51820"


def test_a_mesh_over_ipv6_is_imported_and_what_the_machines_lack_is_told(run: Import, tmp_path: Path) -> None:
    both = {"a": config(1, peer(2, endpoint=six(2))), "b": config(2, peer(1, endpoint=six(1)))}
    found = run(both, out=tmp_path / "new")
    assert mesh(found)["endpoints"] == [{"node": name, "host": f"2001:db8::{it}"} for name, it in (("a", 1), ("b", 2))]
    (one,) = found.diagnostics
    assert (one.code.id, one.severity, told([one])) == ("SW3137", "warning", [("SW3137", 9, 12)])
    assert one.range is not None
    assert one.range.file == "b.conf"  # where the endpoint of `a` is written
    assert one.message == "the endpoints of `a`, `b` are IPv6, which machines of `lab` don't have by themselves"
    assert {one.code.id for one in validate(tmp_path / "new").diagnostics} == {"SW3137"}
    assert not any(one.severity == "error" for one in validate(tmp_path / "new").diagnostics)


def test_a_hub_with_ipv6_alone_is_imported_as_its_files_have_it(run: Import, tmp_path: Path) -> None:
    hub = config(9, *(peer(a, endpoint="none") for a in (1, 2)))
    keep = "PersistentKeepalive = 25"
    spokes = {f"s-{a}": config(a, peer(9, keep, allowed="10.9.0.0/24", endpoint=six(9))) for a in (1, 2)}
    found = run({"hub": hub, **spokes}, out=tmp_path / "new")
    assert {"node": "hub", "host": "2001:db8::9"} in mesh(found)["endpoints"]  # type: ignore[operator]
    assert [(one.code.id, one.severity) for one in found.diagnostics] == [("SW3137", "warning")]
    assert "`swarmctl validate` refuses it until" in found.diagnostics[0].help
    assert [one.code.id for one in validate(tmp_path / "new").diagnostics] == ["SW3137"]
