"""Real packages of rpm's kind, built by rpmbuild: many from one specification, since each run takes half a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rpm:
    """One version of a package."""

    name: str
    version: str
    """With epoch where it has one: `3:595.91.07-1.el9`."""
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Path → text. What stands in a folder of programs can be executed."""
    scripts: Mapping[str, str] = field(default_factory=dict)
    """`pre`, `post`, `preun`, `postun` → shell program."""
    architecture: str = "noarch"

    @property
    def file(self) -> str:
        """As rpmbuild names it: an epoch is no part of that."""
        return f"{self.name}-{self.version.rpartition(':')[2]}.{self.architecture}.rpm"


HEAD = """
%global _build_id_links none
%global __os_install_post %{nil}
Name: unused
Version: 1
Release: 1
Summary: packages of a test
License: none
{arch}
AutoReqProv: no
%description
Packages of a test.
"""


def specification(packages: Iterable[Rpm]) -> str:
    """For `rpmbuild -bb`; no name and no path is there twice, and all are of one architecture."""
    parts, install = [], ["%install"]
    head = HEAD
    for package in packages:
        head = HEAD.replace("{arch}", "BuildArch: noarch" if package.architecture == "noarch" else "")
        parts.append(_package(package))
        for path, text in package.files.items():
            mode = "755" if "bin/" in path else "644"
            install.append(f"mkdir -p $RPM_BUILD_ROOT/$(dirname '{path}')")
            install.append(f"cat >$RPM_BUILD_ROOT'{path}' <<'END OF FILE'\n{text.rstrip()}\nEND OF FILE")
            install.append(f"chmod {mode} $RPM_BUILD_ROOT'{path}'")
    return "\n".join([head, *install, *parts]) + "\n"


def rounds(packages: Iterable[Rpm]) -> list[list[Rpm]]:
    """The packages in as few specifications as they fit into."""
    made: list[list[Rpm]] = []
    for package in packages:
        for some in made:
            taken = {other.name for other in some} | {path for other in some for path in other.files}
            if some[0].architecture == package.architecture and not taken & {package.name, *package.files}:
                some.append(package)
                break
        else:
            made.append([package])
    return made


def _package(package: Rpm) -> str:
    epoch, _, rest = package.version.rpartition(":")
    version, _, release = rest.partition("-")
    lines = [
        f"%package -n {package.name}",
        f"Version: {version}",
        f"Release: {release}",
        *([f"Epoch: {epoch}"] if epoch else []),
        "Summary: package of a test",
        "AutoReqProv: no",
        *(f"Requires: {one}" for one in package.requires),
        *(f"Provides: {one}" for one in package.provides),
        *(f"Conflicts: {one}" for one in package.conflicts),
        f"%description -n {package.name}",
        "Package of a test.",
        f"%files -n {package.name}",
        *(f'"{path}"' for path in package.files),
    ]
    for when, script in package.scripts.items():
        lines += [f"%{when} -n {package.name}", script]
    return "\n".join(lines) + "\n"
