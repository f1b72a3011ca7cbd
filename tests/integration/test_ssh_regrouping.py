"""HostBaselines that are split or renamed, through the real engine and a real sshd: what stays declared stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.fleet import Fleet, fleet

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("ssh-regrouping")]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd/gxLSi2ZbVLR8Zt0HoLSF8CZ4jcTkBn0nsAuAy7Zb"
ACCOUNTS = "id a; id b; cat /home/a/work /home/b/work; stat -c '%n %i %U' /home/a /home/b; cat /home/[ab]/.ssh/a*"


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("regrouping"), ["n1"]) as made:
        yield made


def declare(metal: Fleet, **users: str) -> None:
    """Baselines by name, each with accounts by one letter, and one of them with a mount."""
    documents = []
    for baseline, names in users.items():
        accounts = "".join(f"    - {{name: {name}, authorizedKeys: [{KEY} {name}]}}\n" for name in names)
        mounts = "  mounts: [{path: /srv/kept, device: tmpfs, type: tmpfs}]\n" if "a" in names else ""
        documents.append(
            f"apiVersion: swarmctl/v1alpha1\nkind: HostBaseline\nmetadata: {{name: {baseline}}}\n"
            f"spec:\n  nodes: {{}}\n{mounts}  users:\n{accounts}"
        )
    (metal.stack / "baseline.yaml").write_text("---\n".join(documents))


def settled(metal: Fleet, accounts: str) -> None:
    """All is as it was, and nothing is left to be done."""
    assert metal.inside("n1", ACCOUNTS) == accounts
    assert metal.inside("n1", "cat /srv/kept/work") == "work\n", "it was not unmounted"
    metal("drift", code=0)
    assert "Nothing to change" in metal("apply", "--yes").out


def test_accounts_and_mounts_stay_when_their_baseline_is_renamed_split_and_joined(metal: Fleet) -> None:
    metal.inside("n1", "useradd -m -s /bin/bash b; mkdir /home/b/.ssh; echo theirs >/home/b/.ssh/authorized_keys")
    metal.inside("n1", "chown -R b: /home/b; [ ! -e /srv/kept ]")
    passwd, fstab = (metal.inside("n1", f"cat {path} 2>/dev/null || :") for path in ("/etc/passwd", "/etc/fstab"))
    declare(metal, old="ab")
    metal("apply", "--yes")
    for name in "ab":
        metal.inside("n1", f"echo {name} >/home/{name}/work; chown {name}: /home/{name}/work")
    metal.inside("n1", "echo work >/srv/kept/work")
    accounts = metal.inside("n1", ACCOUNTS)
    assert f"{KEY} a\n{KEY} b\n" in accounts

    declare(metal, aa="a", bb="b")
    metal("apply", "--yes")
    settled(metal, accounts)
    assert metal.inside("n1", "ls /var/lib/swarmctl/baseline").split() == ["aa", "bb"]

    declare(metal, aa="ab")
    metal("apply", "--yes")
    settled(metal, accounts)

    declare(metal, other="ab")
    said = " ".join(metal("plan").out.split())
    assert "record of the baseline aa: taken over by other" in said
    assert "to replace" not in said
    assert "disrupts nothing" in said
    metal("apply", "--yes")
    settled(metal, accounts)
    assert metal.inside("n1", "ls /var/lib/swarmctl/baseline").split() == ["other"]

    (metal.stack / "baseline.yaml").unlink()
    metal("apply", "--yes")
    assert metal.inside("n1", "cat /etc/passwd") == passwd
    assert metal.inside("n1", "cat /etc/fstab 2>/dev/null || :") == fstab
    assert metal.inside("n1", "cat /home/b/.ssh/authorized_keys; ls /srv | grep kept || :") == "theirs\n"
    assert metal.inside("n1", "ls /var/lib/swarmctl/baseline 2>/dev/null || :") == ""
    metal("drift", code=0)


def test_mounts_of_several_baselines_lie_within_each_other(metal: Fleet) -> None:
    def mounting(name: str, *paths: str) -> str:
        mounts = "".join(f"    - {{path: {path}, device: tmpfs, type: tmpfs}}\n" for path in paths)
        head = f"apiVersion: swarmctl/v1alpha1\nkind: HostBaseline\nmetadata: {{name: {name}}}\n"
        return f"{head}spec:\n  nodes: {{}}\n  mounts:\n{mounts}---\n"

    def mounted() -> list[str]:
        lines = metal.inside("n1", "cat /proc/mounts").splitlines()
        return [line.split()[1] for line in lines if " /srv/outer" in line]

    path = metal.stack / "baseline.yaml"
    inner, outer = mounting("aa", "/srv/outer/b"), mounting("bb", "/srv/outer")
    path.write_text(inner + outer)
    metal("apply", "--yes")
    assert mounted() == ["/srv/outer", "/srv/outer/b"]
    assert "Nothing to change" in metal("apply", "--yes").out
    metal.inside("n1", "echo work >/srv/outer/b/work")

    path.write_text(inner)
    metal("apply", "--yes")
    assert mounted() == ["/srv/outer/b"]
    assert "Nothing to change" in metal("apply", "--yes").out

    path.unlink()
    metal("apply", "--yes")
    assert metal.inside("n1", "ls -d /srv/outer 2>/dev/null || :") == ""

    path.write_text(inner + outer)
    metal("apply", "--yes")
    path.unlink()
    metal("apply", "--yes")
    assert mounted() == []
    assert metal.inside("n1", "ls -d /srv/outer 2>/dev/null || :") == ""
    metal("drift", code=0)
