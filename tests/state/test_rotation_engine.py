"""The real engine takes a rotated state with the new passphrase, and refuses it with the old one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from swarmctl.state.checkpoint import SECRET, SIGNATURE, salt
from swarmctl.state.migration import checkpoint_file
from swarmctl.state.passphrase import Crypter
from swarmctl.state.rotation import rotate
from swarmctl.state.store import Store
from tests.state.published import leased

pytestmark = pytest.mark.integration
BASE = "urn:pulumi:lab::swarmctl"
STACK = {"urn": f"{BASE}::pulumi:pulumi:Stack::swarmctl-lab", "type": "pulumi:pulumi:Stack", "custom": False}
VALUE = {"key": ["a secret", 1]}


class Pulumi:
    """The engine with a store of its own."""

    def __init__(self, folder: Path, engine: Path, passphrase: str) -> None:
        self.folder, self.engine = folder, engine
        for part in ("home", "state/.pulumi", "project"):
            (folder / part).mkdir(parents=True)
        (folder / "state/.pulumi/meta.yaml").write_text("version: 1\n")
        (folder / "project/Pulumi.yaml").write_text("name: swarmctl\nruntime: swarmctl\n")
        (folder / "passphrase").write_text(passphrase)

    @property
    def checkpoint(self) -> Path:
        return checkpoint_file(self.folder / "state", "lab")

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PULUMI_HOME": str(self.folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{self.folder}/state?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.folder / "passphrase"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        return subprocess.run(
            [str(self.engine), *arguments, "--non-interactive"],
            cwd=self.folder / "project",
            env=environment,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            timeout=60,
        )

    def export(self) -> Any:
        done = self.run("stack", "export", "--show-secrets", "--stack", "lab")
        return json.loads(done.stdout)["deployment"] if done.returncode == 0 else done.stderr


@pytest.fixture
def made(tmp_path: Path, engine: Path) -> Pulumi:
    """A state with a secret in it, encrypted by the engine itself."""
    pulumi = Pulumi(tmp_path / "old", engine, "the old one")
    assert pulumi.run("stack", "init", "lab").returncode == 0
    settings = (pulumi.folder / "project/Pulumi.lab.yaml").read_text()
    secret = {SIGNATURE: SECRET, "plaintext": json.dumps(VALUE)}
    deployment = {
        "manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""},
        "secrets_providers": {
            "type": "passphrase",
            "state": {"salt": settings.removeprefix("encryptionsalt: ").strip()},
        },
        "resources": [STACK | {"outputs": {"secret": secret, "plain": 1}}],
    }
    done = pulumi.run("stack", "import", stdin=json.dumps({"version": 3, "deployment": deployment}))
    assert done.returncode == 0, done.stderr
    return pulumi


def test_a_rotated_state_is_the_engines_with_the_new_passphrase_alone(
    made: Pulumi, tmp_path: Path, engine: Path
) -> None:
    store = Store("lab", f"file://{tmp_path}")
    store.passphrase_file().write_text("the old one")
    document = json.loads(made.checkpoint.read_bytes())
    assert salt(document)
    store.publish(leased(store, 7), 0, document, applied=None)

    assert rotate(store, leased(store, 8)).secrets == 1
    found = store.load()
    assert found is not None
    new = store.passphrase_file().read_text()

    for name, passphrase, fits in (("new", new, True), ("wrong", "the old one", False)):
        pulumi = Pulumi(tmp_path / name, engine, passphrase)
        pulumi.checkpoint.parent.mkdir(parents=True)
        pulumi.checkpoint.write_text(json.dumps(found.checkpoint))
        (pulumi.folder / "project/Pulumi.lab.yaml").write_text(f"encryptionsalt: {salt(found.checkpoint)}\n")
        exported = pulumi.export()
        if fits:
            shown = exported["resources"][0]["outputs"]
            assert json.loads(shown["secret"]["plaintext"]) == VALUE
            assert shown["plain"] == 1
        else:
            assert "incorrect passphrase" in exported


def test_what_the_engine_has_encrypted_we_decrypt_and_the_other_way_round(made: Pulumi) -> None:
    document = json.loads(made.checkpoint.read_bytes())
    crypter = Crypter.of("the old one", salt(document))
    outputs = document["checkpoint"]["latest"]["resources"][0]["outputs"]
    assert json.loads(crypter.decrypt(outputs["secret"]["ciphertext"])) == VALUE

    outputs["secret"]["ciphertext"] = crypter.encrypt('"another"')
    made.checkpoint.write_text(json.dumps(document))
    assert json.loads(made.export()["resources"][0]["outputs"]["secret"]["plaintext"]) == "another"
