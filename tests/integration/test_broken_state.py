"""A recorded state that can't be read any more: after a power cut, a full disk, a careless hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def lab(tmp_path: Path, engine: object) -> Iterator[labs.Lab]:
    lab = labs.make(tmp_path)
    lab("apply", "--yes")
    yield lab
    lab("destroy", "--yes")
    labs.assert_nothing_left(lab)


def published(lab: labs.Lab) -> Path:
    (found,) = lab.data.glob("stacks/*/state.json")
    return found


def test_the_state_before_serves_everyone_until_apply_or_destroy_puts_it_right(lab: labs.Lab) -> None:
    before = {node["name"]: node["addresses"] for node in lab.nodes()}
    lab.edit("network.yaml", "ports: [7946]", "ports: [7946, 8500]")
    lab("apply", "--yes")  # so that there is one before
    file = published(lab)
    for content in (b"", file.read_bytes()[:5000]):
        file.write_bytes(content)
        for look in (("plan",), ("drift",), ("status", "--no-probe"), ("graph",), ("exec", "workers-0", "true")):
            if content and look != ("plan",):
                continue
            run = lab(*look, code=None)
            assert run.code in (0, 21), run.err
            assert "not readable" in run.err, look
            assert "swarmctl apply" in run.err
        assert file.read_bytes() == content, "looking changes nothing"

        assert "kept in" in lab("apply", "--yes").err
        assert content in [aside.read_bytes() for aside in file.parent.glob("*.broken-*")]
        assert "not readable" not in lab("plan", "--detailed-exitcode", code=0).err
        assert {node["name"]: node["addresses"] for node in lab.nodes()} == before

    file.write_bytes(b"")
    assert "kept in" in lab("destroy", "--yes").err
    labs.assert_nothing_left(lab)
    lab("apply", "--yes")


def test_with_no_readable_state_at_all_destroy_goes_by_the_marks(lab: labs.Lab) -> None:
    file = published(lab)
    for broken in (file, *file.parent.glob("backups/*")):
        broken.write_bytes(b'{"trunc')
    for command in (("plan",), ("apply", "--yes"), ("status",)):
        run = lab(*command, code=1)
        assert f"({file}), and there is no earlier one" in run.err
        assert "swarmctl state restore FILE" in run.err
    assert file.read_bytes() == b'{"trunc'

    run = lab("destroy", "--yes")
    assert "stack's mark" in run.err
    assert "workers-0" in run.out
    labs.assert_nothing_left(lab)
    assert "Nothing to destroy" in lab("destroy", "--yes").out
