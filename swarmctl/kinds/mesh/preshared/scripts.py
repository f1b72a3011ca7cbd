"""What is run on the nodes to make, seal and open preshared keys, and what that prints. Pure.

Keys go from file to program through standard streams, never through arguments. All that a node prints is its age
recipient, sealed keys, and SHA-256 of keys: of 256 random bits that tells nothing but whether two are the same. What
one node prints is pasted into the script of another, so every line is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from shlex import quote

from swarmctl.kinds.mesh.preshared.files import name, path

AGE = "age"
"""The program, and its package; age-keygen comes with it."""
LONGEST = 2000
"""Characters of a sealed key; it takes about 350."""

HEAD = r"""
umask 077
export LC_ALL=C
for program in age age-keygen wg; do
  command -v "$program" >/dev/null || { echo "$program is not installed on this node" >&2; exit 1; }
done
[ -d "${folder%/*}" ] || { echo "${folder%/*} is not there" >&2; exit 1; }
mkdir -p "$folder/$own"
chmod 0700 "$folder" "$folder/$own"
cd "$folder"
good() { [ -f "$1" ] && wg pubkey <"$1" >/dev/null 2>&1; }
digest() { sum=$(sha256sum <"$1") && printf '%s' "${sum%% *}"; }
"""
IDENTITY = r"""
if ! age-keygen -y identity >/dev/null 2>&1; then
  rm -f .identity.new
  age-keygen -o .identity.new 2>/dev/null
  sync .identity.new
  mv .identity.new identity
  sync .
fi
chmod 0600 identity
printf '@ recipient %s\n' "$(age-keygen -y identity)"
"""
SEAL = r"""
seal() {
  file=$own/$1
  if ! good "$file"; then
    rm -f "$file"
    file=$file.next
    if ! good "$file"; then
      wg genpsk >"$own/.new" && mv "$own/.new" "$file" || return 1
      fresh="$fresh $file"
    fi
  fi
  chmod 0600 "$file"
  sealed=$(age -a -r "$2" <"$file") && printf '@ sealed %s %s\n%s\n' "$1" "$(digest "$file")" "$sealed"
}
fresh=
"""
OPEN = r"""
open() {
  rm -f "$own/.new"
  said=$(age -d -i identity 2>&1 >"$own/.new") && good "$own/.new" && mv "$own/.new" "$own/$1" &&
    printf '@ opened %s %s\n' "$1" "$(digest "$own/$1")" && return
  rm -f "$own/.new"
  printf '@ refused %s %s\n' "$1" "$(printf '%s' "${said:-it is no key}" | tail -n 1 | cut -c -200)"
}
"""
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_SEALED = re.compile(
    r"-----BEGIN AGE ENCRYPTED FILE-----\n(?:[A-Za-z0-9+/]{1,64}={0,2}\n)+-----END AGE ENCRYPTED FILE-----\n?"
)
_DIGEST = re.compile(r"[0-9a-f]{64}")


def head(folder: str, own: str) -> str:
    """What all of them begin with; `own` is the node's public key."""
    return f"folder={quote(folder)}\nown={quote(name(own))}\n{HEAD}"


def seal(recipients: Mapping[str, str]) -> str:
    """Make what is missing and seal all, to the recipients by the public key of the peer."""
    calls = "".join(f"seal {quote(name(peer))} {quote(to)}\n" for peer, to in recipients.items())
    # All at once: each call waits for the disk.
    return f'{SEAL}{calls}[ -z "$fresh" ] || sync $fresh "$own"\n'


def open_(sealed: Mapping[str, str]) -> str:
    """Open what came from the peers with these public keys, and put it where it is used from."""
    calls = "".join(f"open {quote(name(peer))} <<'END'\n{text}\nEND\n" for peer, text in sealed.items())
    return f'{OPEN}{calls}sync "$own"/* "$own"\n'


def settle(peers: Iterable[str]) -> str:
    """Put keys that the other end has where they are used from."""
    moves = "".join(f'mv "$own"/{quote(name(peer))}.next "$own"/{quote(name(peer))}\n' for peer in peers)
    return f'{moves}sync "$own"\n'


def use(interface: str, folder: str, own: str, peers: Iterable[str]) -> str:
    """Give WireGuard what is in place for these peers, which it has."""
    words = " ".join(f"peer {quote(peer)} preshared-key {quote(path(folder, own, peer))}" for peer in peers)
    return f"wg set {quote(interface)} {words}\n"


def forget(paths: Iterable[str]) -> str:
    """Remove keys of tunnels that are no more, and folders that are empty then."""
    words = [quote(path) for path in paths]
    folders = sorted({quote(path.rpartition("/")[0]) for path in paths})
    return f'rm -f {" ".join(words)}\nfor one in {" ".join(folders)}; do rmdir "$one" 2>/dev/null || :; done\n'


def recipient(printed: str) -> str:
    """The node's age recipient; empty when it printed none."""
    found = [line.removeprefix("@ recipient ") for line in printed.splitlines() if line.startswith("@ recipient ")]
    return found[0] if found and _RECIPIENT.fullmatch(found[0]) else ""


def sealed(printed: str) -> dict[str, tuple[str, str]]:
    """By peer, as in paths: digest of the key, and the sealed key."""
    found = {}
    for chunk in f"\n{printed}".split("\n@ sealed ")[1:]:
        first, _, text = chunk.partition("\n")
        peer, _, digest = first.partition(" ")
        if _DIGEST.fullmatch(digest) and len(text) <= LONGEST and _SEALED.fullmatch(text.rstrip("\n") + "\n"):
            found[peer] = (digest, text.rstrip("\n"))
    return found


def opened(printed: str) -> dict[str, str]:
    """Digests by peer, as in paths."""
    lines = (line.split() for line in printed.splitlines() if line.startswith("@ opened "))
    return {words[2]: words[3] for words in lines if len(words) == 4 and _DIGEST.fullmatch(words[3])}


def refused(printed: str) -> dict[str, str]:
    """Why keys could not be opened, by peer, as in paths."""
    lines = (line.split(" ", 3) for line in printed.splitlines() if line.startswith("@ refused "))
    return {words[2]: words[3][:200] for words in lines if len(words) == 4}
