"""A signed dnf repository of a test's own packages, made on the node that uses it: the programs for that are there."""

from __future__ import annotations

from collections.abc import Iterable

from swarmctl.backends.base import Host
from tests.debian.repository import Key

from .build import Rpm, rounds, specification

PLACE = "/srv/repository"
MAKE = r"""
cd /srv/making
for spec in *.spec; do
  target=${spec#*.}
  rpmbuild --quiet -bb --target "${target%.spec}" --define "_topdir /srv/making" --define "_rpmdir $0" \
    --define "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" "$spec" >rpmbuild.log 2>&1 || {
    cat rpmbuild.log >&2; exit 1; }
done
"""
SIGN = """
export GNUPGHOME=/srv/making/keys
mkdir -p -m 700 $GNUPGHOME
gpg --batch --quiet --import
rpmsign --addsign --define "__gpg /usr/bin/gpg" --define "_gpg_name $1" $2 >/dev/null
gpgconf --kill all
rm -rf /srv/making
"""


class Repository:
    """Packages in one folder of a node."""

    def __init__(self, host: Host, key: Key, place: str = PLACE) -> None:
        self.host = host
        self.key = key
        self.place = place

    def add(self, *packages: Rpm, key: Key | None = None, modules: str = "") -> None:
        """Build and sign them, and write the index; `modules` is what it says of modules."""
        self._sh(f"rm -rf /srv/making; mkdir -p /srv/making {self.place}")
        for number, some in enumerate(rounds(packages)):
            self.host.put(f"/srv/making/{number}.{some[0].architecture}.spec", specification(some).encode())
        self.host.run(["sh", "-euc", MAKE, self.place], timeout=120)
        self._signed([f"{self.place}/{package.file}" for package in packages], key or self.key)
        self.index(modules)

    def index(self, modules: str = "") -> None:
        """Write the index anew."""
        self.host.put(f"{self.place}/key.asc", self.key.public)
        self._sh(f"cd {self.place} && rm -rf repodata && createrepo_c --quiet --no-database .")
        if modules:
            self.host.put("/srv/modules.yaml", modules.encode())
            self._sh(f"modifyrepo_c --mdtype=modules /srv/modules.yaml {self.place}/repodata >/dev/null")

    def take(self, standin: Rpm) -> None:
        """Install one that is made for this node alone, past dnf."""
        self.host.run(["rpm", "-i", "--nodeps", f"{self.place}/{standin.file}"])

    def use(self, name: str, url: str = "", more: str = "") -> None:
        """Have the node take packages from it as the repository `name`."""
        key = f"/etc/pki/rpm-gpg/RPM-GPG-KEY-{name}"
        self.host.put(key, self.key.public)
        lines = (f"[{name}]", f"name={name}", f"baseurl={url or f'file://{self.place}'}", f"gpgkey=file://{key}")
        text = "\n".join((*lines, "gpgcheck=1", "skip_if_unavailable=0", more))
        self.host.put(f"/etc/yum.repos.d/{name}.repo", f"{text}\n".encode())

    def _signed(self, files: Iterable[str], key: Key) -> None:
        secret = key.gpg("--armor", "--export-secret-keys")
        self.host.run(["sh", "-euc", SIGN, "sign", key.fingerprint, " ".join(files)], stdin=secret, timeout=120)

    def _sh(self, script: str) -> None:
        self.host.run(["sh", "-euc", script], timeout=60)
