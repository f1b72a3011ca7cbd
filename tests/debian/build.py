"""Real packages of Debian's kind: names, versions, dependencies and files as a test wants them, built by dpkg-deb."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Deb:
    """One version of a package."""

    name: str
    version: str
    depends: str = ""
    """As in a control file, such as `libnvidia-compute (= 595.91.07-1)`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path → text. What stands in a folder of programs can be executed."""
    scripts: Mapping[str, str] = field(default_factory=dict)
    """`preinst`, `postinst`, `prerm`, `postrm` → shell program, without its first line."""
    architecture: str = "all"
    more: Mapping[str, str] = field(default_factory=dict)
    """Further fields of the control file, such as `Conflicts`."""
    size: int = 0
    """Bytes of ballast, which no compression makes smaller."""

    @property
    def file(self) -> str:
        """As archives name it: a colon of the epoch is left out with the epoch."""
        return f"{self.name}_{self.version.partition(':')[2] or self.version}_{self.architecture}.deb"

    def control(self) -> dict[str, str]:
        """The fields of its control file."""
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "Nobody <nobody@example.invalid>",
            "Section": "misc",
            "Priority": "optional",
            "Description": "package of a test",
        }
        return fields | ({"Depends": self.depends} if self.depends else {}) | dict(self.more)


def build(package: Deb, folder: Path) -> Path:
    """Build it into `folder`; returns its path."""
    target = folder / package.file
    with tempfile.TemporaryDirectory() as made:
        root = Path(made) / "root"
        (root / "DEBIAN").mkdir(parents=True)
        root.chmod(0o755)
        text = "".join(f"{key}: {value}\n" for key, value in package.control().items())
        (root / "DEBIAN" / "control").write_text(text)
        for name, program in package.scripts.items():
            script = root / "DEBIAN" / name
            script.write_text(f"#!/bin/sh\nset -e\n{program}\n")
            script.chmod(0o755)
        for path, content in package.files.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            file.chmod(0o755 if "bin" in file.parent.name else 0o644)
        if package.size:
            ballast = root / "usr/share" / package.name / "ballast"
            ballast.parent.mkdir(parents=True, exist_ok=True)
            with open("/dev/urandom", "rb") as noise:
                ballast.write_bytes(noise.read(package.size))
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return target
