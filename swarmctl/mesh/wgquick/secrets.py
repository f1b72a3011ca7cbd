"""What may be shown of files of wg-quick(8): all but keys that may be private or preshared, wherever they stand.

A key may stand where none belongs: after a misspelt name, in a command, in a comment, or where a public one should be.
So everything that looks like a key is hidden unless some `PublicKey` is it, and no private or preshared one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from swarmctl.diagnostics import Diagnostic

_KEY = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
"""32 bytes in base64 are 43 characters and `=`; some may have been lost."""
_NAMED = re.compile(r"(?im)^([^\S\n]*(?:private|preshared)[^\S\n]*key[^\S\n]*=?[^\S\n]*)([^\s#=][^\r\n]*)")
_PUBLIC = re.compile(r"(?im)^[^\S\n]*publickey[^\S\n]*=[^\S\n]*([A-Za-z0-9+/]{43}=)")
_SECRET = re.compile(r"(?im)^[^\S\n]*p?r[a-z]*[^\S\n]*key\b.*$")
"""Lines of private and preshared keys, also when their names are misspelt; `PublicKey` is not among them."""


class Hidden:
    """Hides what is secret in files and in what is said about them."""

    def __init__(self, texts: Iterable[str], known: Iterable[str] = ()) -> None:
        """`texts`: of all files; `known`: public keys beside those that stand in them."""
        texts = list(texts)
        public = {*known, *(found for text in texts for found in _PUBLIC.findall(text))}
        secret = {key for text in texts for line in _SECRET.findall(text) for key in _KEY.findall(line)}
        self._public = public - secret

    def text(self, text: str) -> str:
        """The text without such keys; all else stays where it was."""
        text = _NAMED.sub(lambda found: found[1] + "•" * len(found[2]), text)
        return _KEY.sub(lambda found: found[0] if found[0] in self._public else "•" * len(found[0]), text)

    def diagnostics(self, found: Iterable[Diagnostic]) -> list[Diagnostic]:
        """The same of what is told."""
        return [
            replace(
                one,
                message=self.text(one.message),
                label=self.text(one.label),
                help=self.text(one.help),
                related=tuple(replace(it, message=self.text(it.message)) for it in one.related),
            )
            for one in found
        ]
