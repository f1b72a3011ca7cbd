"""One mistake in a document: one diagnostic, at the exact token, that says how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.declarations.stacks import HEAD, diagnose, spec, told

CIDRS = "  cidrs: [10.1.0.0/16]\n"
FLOW = "  network:\n    flows:\n      - {{name: a, ports: {ports}}}\n"


@pytest.mark.parametrize(
    ("body", "code", "line", "column", "help"),
    [
        pytest.param(CIDRS + "  listen_port: 5\n", "SW2101", 6, 3, "`listenPort`", id="snake-case"),
        pytest.param(CIDRS + "  listen-port: 5\n", "SW2101", 6, 3, "`listenPort`", id="kebab-case"),
        pytest.param(CIDRS + "  listnPort: 5\n", "SW2101", 6, 3, "`listenPort`", id="misspelt"),
        pytest.param(CIDRS + "  xyzzy: 5\n", "SW2101", 6, 3, "known here: `addresses`, `adopt`, `cidrs`", id="unknown"),
        pytest.param("  cidr: [10.1.0.0/16]\n", "SW2101", 5, 3, "`cidrs`", id="unknown-also-explains-missing"),
        pytest.param(CIDRS + "  listenPort: '5'\n", "SW2103", 6, 15, "quotes: `5`", id="text-for-number"),
        pytest.param(CIDRS + "  listenPort: 5.5\n", "SW2103", 6, 15, "`6`", id="fraction"),
        pytest.param(CIDRS + "  listenPort: 5.0\n", "SW2103", 6, 15, "`5`", id="whole-fraction"),
        pytest.param(CIDRS + "  listenPort: true\n", "SW2103", 6, 15, "", id="boolean-for-number"),
        pytest.param(CIDRS + "  listenPort: .inf\n", "SW1027", 6, 15, "", id="infinity"),
        pytest.param(CIDRS + "  listenPort:\n", "SW2103", 6, 3, "leave it out", id="null"),
        pytest.param("  cidrs: 10.1.0.0/16\n", "SW2103", 5, 10, "`[10.1.0.0/16]`", id="no-list"),
        pytest.param(CIDRS + "  topology: {full: }\n", "SW2103", 6, 14, "`full: {}`", id="empty-choice"),
        pytest.param(CIDRS + "  topology: full\n", "SW2103", 6, 13, "`full`, `hubs`", id="text-for-choice"),
        pytest.param(CIDRS + "  mtu: 70000\n", "SW2104", 6, 8, "576 and 65455", id="too-great"),
        pytest.param(CIDRS + f"  mtu: {10**40}\n", "SW1027", 6, 8, "", id="beyond-64-bits"),
        pytest.param(CIDRS + "  interface: WG0\n", "SW2105", 6, 14, "`wg0`", id="form"),
        pytest.param(CIDRS + '  interface: "wg\\n"\n', "SW2105", 6, 14, "", id="line-break-at-the-end"),
        pytest.param(CIDRS + "  topology: {}\n", "SW2107", 6, 3, "`full`, `hubs`", id="no-choice"),
        pytest.param("  cidrs: []\n", "SW2108", 5, 10, "cidrs: [10.88", id="empty-list"),
        pytest.param("  mtu: 1420\n", "SW2102", 4, 1, "cidrs: [10.88", id="missing"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_once_at_its_token_with_a_mend(
    tmp_path: Path, body: str, code: str, line: int, column: int, help: str
) -> None:
    found = diagnose(tmp_path, spec("Mesh", "backbone", body), without=("Mesh",))

    assert told(found) == [(code, line, column)]
    assert help in found[0].help


@pytest.mark.parametrize(("keys", "codes"), [("ssh-ed25519 AAAA", ["SW2103"]), ("[]", ["SW3240"]), ("7", ["SW2103"])])
def test_host_keys_that_are_no_list_are_not_called_missing(tmp_path: Path, keys: str, codes: list[str]) -> None:
    pool = f"  ssh:\n    hosts:\n      - {{name: a, address: 192.0.2.1, hostKeys: {keys}}}\n"
    assert [code for code, *_ in told(diagnose(tmp_path, spec("NodePool", "metal", pool)))] == codes


@pytest.mark.parametrize(
    ("ports", "code", "column"),
    [
        ("[0]", "SW2104", 27),
        ("[80, 65536]", "SW2104", 31),
        ('["80"]', "SW2105", 27),
        ("[80, http]", "SW2105", 31),
        ("[80, 1.5]", "SW2103", 31),
        ("[[80]]", "SW2103", 27),
        ("[80, null]", "SW2103", 31),
        ("80", "SW2103", 26),
    ],
)
def test_a_port_that_is_none_is_one_error_at_the_item(tmp_path: Path, ports: str, code: str, column: int) -> None:
    found = diagnose(
        tmp_path, spec("SecurityPolicy", "baseline", FLOW.format(ports=ports)), without=("SecurityPolicy",)
    )

    assert told(found) == [(code, 7, column)]


def test_an_unknown_enum_value_is_told_with_those_allowed(tmp_path: Path) -> None:
    policy = spec("SecurityPolicy", "baseline", "  network: {flows: [{name: a, ports: [1], protocol: tpc}]}\n")
    (found,) = diagnose(tmp_path, policy, without=("SecurityPolicy",))

    assert found.code.id == "SW2106"
    assert found.help == "did you mean `tcp`? allowed: `tcp`, `udp`"


def test_fields_that_lost_their_indentation_are_one_error_each_and_nothing_follows_from_them(tmp_path: Path) -> None:
    text = HEAD + "kind: Cluster\nmetadata: {name: core}\nspec:\nmesh: backbone\nsecurityPolicy: baseline\n"
    found = diagnose(tmp_path, text, without=("Cluster",))

    assert told(found) == [("SW2101", 5, 1), ("SW2101", 6, 1)]
    assert all("belongs under `spec`: indent it further" in one.help for one in found)


def test_a_field_that_is_indented_too_far_is_sent_back_out(tmp_path: Path) -> None:
    text = spec("NodePool", "workers", "  lab:\n    count: 1\n    region: eu\n")
    (found,) = diagnose(tmp_path, text, without=("NodePool",))

    assert (found.code.id, found.help.partition(";")[0]) == ("SW2101", "`region` belongs under `spec`: indent it less")


def test_a_misspelt_backend_is_one_error(tmp_path: Path) -> None:
    found = diagnose(tmp_path, spec("NodePool", "workers", "  lap: {count: 1}\n"), without=("NodePool",))

    assert told(found) == [("SW2101", 5, 3)]
    assert "did you mean `lab`?" in found[0].help


def test_count_and_hosts_exclude_each_other_and_one_is_needed(tmp_path: Path) -> None:
    both = diagnose(
        tmp_path,
        spec("NodePool", "workers", "  lab: {count: 1, hosts: [{name: a}]}\n"),
        spec("NodePool", "none", "  lab: {}\n"),
        without=("NodePool",),
    )

    assert told(both) == [("SW2107", 5, 19), ("SW2107", 11, 3)]


def test_labels_are_text_with_plain_keys(tmp_path: Path) -> None:
    text = (
        HEAD
        + 'kind: NodePool\nmetadata: {name: workers, labels: {gen: 1.10, "a b": x, c: "x y"}}\n'
        + "spec: {lab: {count: 1}}\n"
    )
    found = diagnose(tmp_path, text, without=("NodePool",))

    assert told(errors := [one for one in found if one.severity == "error"]) == [
        ("SW2103", 3, 41), ("SW2105", 3, 47), ("SW2105", 3, 60),
    ]  # fmt: skip
    assert errors[0].help == 'put it in quotes: `"1.10"`'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("- kind: Mesh\n", "SW2001"),
        ("just text\n", "SW2001"),
        ("kind: Mesh\nmetadata: {name: x}\nspec: {oops: 1}\n", "SW2002"),
        ("apiversion: swarmctl/v1alpha1\nkind: Mesh\n", "SW2002"),
        ("apiVersion: v1\nkind: Mesh\nspec: {oops: 1}\n", "SW2002"),
        ("apiVersion: 1\nkind: Mesh\n", "SW2002"),
        (HEAD + "metadata: {name: x}\nspec: {oops: 1}\n", "SW2003"),
        (HEAD + "kind: Mehs\nmetadata: {name: x}\nspec: {oops: 1}\n", "SW2003"),
        (HEAD + "kind: [Mesh]\n", "SW2003"),
        (HEAD + "kind:\n", "SW2003"),
    ],
)
def test_a_document_without_known_kind_is_one_error_and_is_not_looked_into(
    tmp_path: Path, text: str, code: str
) -> None:
    assert [one.code.id for one in diagnose(tmp_path, text)] == [code]


def test_a_misspelt_kind_is_named(tmp_path: Path) -> None:
    (found,) = diagnose(tmp_path, HEAD + "kind: Nodepool\nmetadata: {name: x}\n")

    assert "did you mean `NodePool`?" in found.help


def test_what_no_message_fits_is_still_told(tmp_path: Path) -> None:
    from swarmctl.declarations.messages import not_taken
    from swarmctl.documents import read_folder

    (tmp_path / "a.yaml").write_text("a: {b: 1}\n")
    document = read_folder(tmp_path).documents[0]
    found = not_taken(document, ("a", "b"), "it breaks `multipleOf` of the schema")

    assert told([found]) == [("SW2109", 1, 8)]
    assert found.message == "`a.b` is not valid: it breaks `multipleOf` of the schema"
