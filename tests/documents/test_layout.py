"""The one way to lay out a text: what it looks like, and that nothing it says or comments on is lost."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from swarmctl.diagnostics import Severity
from swarmctl.documents.document import Source
from swarmctl.documents.layout import CannotLayOut, lay_out
from swarmctl.documents.parser import parse

CASES = {
    "indentation": (
        "spec:\n     lab:\n            count: 2\n     region:    eu\n",
        "spec:\n  lab:\n    count: 2\n  region: eu\n",
    ),
    "dashes stand inside of their key": ("a:\n- b\n-   c\n", "a:\n  - b\n  - c\n"),
    "mappings and lists in lists": (
        "a:\n  -\n     b: 1\n     c: 2\n  - - x\n    -   y\n  -\n  - d:\n    - e\n",
        "a:\n  - b: 1\n    c: 2\n  - - x\n    - y\n  -\n  - d:\n      - e\n",
    ),
    "values come into the line of their key": ("a:\n  b\nc:\n\n    'd'\n", "a: b\nc: 'd'\n"),
    "blanks in brackets": ("a: { x:  1,y:   [ 1,2 , 3 ], }\nb: [ ]\n", "a: {x: 1, y: [1, 2, 3]}\nb: []\n"),
    "empty values": ("a: \nb: {c: , d: }\n- \n"[:-3], "a:\nb: {c: , d: }\n"),
    "brackets over several lines": (
        "a: {x: 1,\n  y: [1,\n 2]}\n",
        "a: {\n    x: 1,\n    y: [\n      1,\n      2\n    ]\n  }\n",
    ),
    "brackets over several lines in a list": ("- [a,\n b]\n", "- [\n    a,\n    b\n  ]\n"),
    "blank lines": ("\n\na: 1\n\n\n\nb: 2\n\nc:\n\n  d: 1\n\n\n", "a: 1\n\nb: 2\n\nc:\n  d: 1\n"),
    "the envelope's order": (
        "spec: {}\nkind: A\nother: 1\nmetadata: {name: x}\napiVersion: v\n",
        "apiVersion: v\nkind: A\nmetadata: {name: x}\nspec: {}\nother: 1\n",
    ),
    "the envelope's order, comments with their keys": (
        "# the file\n\n# why\nkind: A  # kind\n\n# v\n# w\napiVersion: v\nspec:\n  a: 1\n  # in spec\n# end\n",
        "# the file\n\n# v\n# w\napiVersion: v\n# why\nkind: A  # kind\nspec:\n  a: 1\n  # in spec\n# end\n",
    ),
    "the modeline stays first": (
        "# yaml-language-server: $schema=x\nkind: A\napiVersion: v\n",
        "# yaml-language-server: $schema=x\napiVersion: v\nkind: A\n",
    ),
    "only the envelope is ordered": ("spec:\n  kind: 1\n  apiVersion: 2\n", "spec:\n  kind: 1\n  apiVersion: 2\n"),
    "documents": ("---\na: 1\n\n---   \n\n# two\nb: 2\n...\n---\n---\n", "a: 1\n---\n# two\nb: 2\n"),
    "a comment behind the dashes": ("--- # one\na: 1\n--- # two\nb: 2\n", "# one\na: 1\n---\n# two\nb: 2\n"),
    "comments take the column of what they are about": (
        "spec:\n        # a\n   a: 1\n   # list\n   list:\n   # x\n   - x\n      # end of list\n# more\nmore: 1\n",
        "spec:\n  # a\n  a: 1\n  # list\n  list:\n    # x\n    - x\n    # end of list\n# more\nmore: 1\n",
    ),
    "comments at the end of a block stay inside": (
        "a:\n    b:\n        c: 1\n        # in b\n    # in a\n# outside\nd: 1\n",
        "a:\n  b:\n    c: 1\n    # in b\n  # in a\n# outside\nd: 1\n",
    ),
    "comments of adjacent lines stand in one column": (
        "a: 1 # one\nlonger: 2      # two\n\nb: 3         # three\n",
        "a: 1       # one\nlonger: 2  # two\n\nb: 3  # three\n",
    ),
    "comments far apart stand behind their lines": (
        f"a: 1 # one\nb: {'x' * 60} # two\n",
        f"a: 1  # one\nb: {'x' * 60}  # two\n",
    ),
    "comments in brackets": (
        "a: [1, # one\n # about two\n 2 # two\n , 3]\n",
        "a: [\n    1,  # one\n    # about two\n    2,  # two\n    3\n  ]\n",
    ),
    "comments behind keys and dashes": ("a: # x\n  - # y\n    b: 1\n", "a:   # x\n  -  # y\n    b: 1\n"),
    "a hash that is no comment": ("a: x#y\nb: '# z'\n", "a: x#y\nb: '# z'\n"),
    "block text keeps its own indentation": (
        "a: |\n      one\n        two\n\n      three\nb: >-  # folded\n    x\n",
        "a: |\n  one\n    two\n\n  three\nb: >-  # folded\n  x\n",
    ),
    "block text that declares its indentation": (
        "a:\n     b: |2\n          x\n         y\n",
        "a:\n  b: |2\n       x\n      y\n",
    ),
    "empty lines that count": ("a: |+\n  x\n\n\nb: |\n  y\n\n\nc: 1\n", "a: |+\n  x\n\n\nb: |\n  y\n\nc: 1\n"),
    "text over several lines": (
        "a: one\n       two\nb: \"x\n\n      y \\\n    z\"\n",
        "a: one\n  two\nb: \"x\n\n  y \\\n  z\"\n",
    ),
    "scalars are copied as they are": (
        "a: 010\nb: 1.10\nc: 0x1F\nd: ~\ne: 'it''s'\nf: \"\\u00e9\"\ng: 1e3\nh: no\n",
        "a: 010\nb: 1.10\nc: 0x1F\nd: ~\ne: 'it''s'\nf: \"\\u00e9\"\ng: 1e3\nh: no\n",
    ),
    "anchors and aliases": (
        "a:   &x\n      b: 1\nc: *x\nd: [*x,&y 2]\ne:\n- &z\n  f: 1\n",
        "a: &x\n  b: 1\nc: *x\nd: [*x, &y 2]\ne:\n  - &z\n    f: 1\n",
    ),
    "line breaks and the last one": ("a: 1\r\nb: 2\r\n\r\nc: |\r\n  x\r\n  y", "a: 1\nb: 2\n\nc: |-\n  x\n  y\n"),
    "blanks at the ends of lines": ("a: 1   \nb:  \t\n  c: 2 \n", "a: 1\nb:\n  c: 2\n"),
}  # fmt: skip


def meaning(text: str) -> list[str]:
    documents, found, _ = parse(Source("x", text))
    assert not [each for each in found if each.severity is Severity.ERROR], text
    return [
        json.dumps(dict(sorted(each.data.items())) if isinstance(each.data, dict) else each.data) for each in documents
    ]


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
def test_layout(before: str, after: str) -> None:
    assert lay_out(before).text == after


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
def test_laying_out_again_changes_nothing_and_the_meaning_stays(before: str, after: str) -> None:
    assert lay_out(after).text == after
    assert meaning(before) == meaning(after)


def test_all_comments_are_counted() -> None:
    assert lay_out("# a\nx: 1 # b\n--- # c\ny: [ # d\n# e\n1]\n# f").comments == [
        "# a",
        "# b",
        "# c",
        "# d",
        "# e",
        "# f",
    ]


def test_explicit_keys_are_left_alone() -> None:
    with pytest.raises(CannotLayOut, match=r"\?"):
        lay_out("? a\n: b\n")


def test_whatever_is_valid_keeps_its_meaning_and_its_comments() -> None:
    chance = random.Random(11)
    texts = [before for before, _ in CASES.values()]
    tried = 0
    for _ in range(300):
        letters = list(chance.choice(texts) + "---\n" + chance.choice(texts))
        for _ in range(chance.randrange(5)):
            letters[chance.randrange(len(letters))] = chance.choice(
                ["", " ", "\n", "-", "- ", "\n  ", " # c\n", "a", ": "]
            )
        text = "".join(letters)
        _, found, _ = parse(Source("x", text))
        if any(each.severity is Severity.ERROR for each in found):
            continue
        try:
            laid = lay_out(text)
        except CannotLayOut:
            continue
        tried += 1
        assert meaning(laid.text) == meaning(text), text
        again = lay_out(laid.text)
        assert again.text == laid.text, text
        assert Counter(again.comments) == Counter(laid.comments), text
    assert tried > 80
