"""The stubs come without the SDK, and the SDK still works beside them."""

from __future__ import annotations

import subprocess
import sys

import pytest


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_stubs_does_not_run_the_sdk() -> None:
    code = "import sys, swarmctl.provider.protocol; print([m for m in sys.modules if m.startswith('pulumi')])"

    modules = python(code)

    assert "pulumi.runtime.proto.provider_pb2" in modules
    assert "'pulumi'" not in modules
    assert "'pulumi.runtime'" not in modules


@pytest.mark.slow
def test_the_sdk_is_whole_when_it_is_imported_later() -> None:
    code = (
        "from swarmctl.provider import protocol\n"
        "import pulumi\n"
        "from pulumi.runtime.proto import provider_pb2\n"
        "print(pulumi.Output.__name__, provider_pb2 is protocol.provider_pb2)"
    )

    assert python(code) == "Output True"
