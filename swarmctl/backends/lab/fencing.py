"""Fences in a lab. The machine of all its nodes is this one, so the records stand beside the marks: one in each node's
folder for what is done in the node, one in the lab's for what makes and removes nodes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from swarmctl.backends.base import Fence, ForeignStack, Owner
from swarmctl.backends.lab.inside import fence as records
from swarmctl.backends.lab.marks import Lab
from swarmctl.hosts import fence as fences


@contextmanager
def held(folder: Path, fence: Fence | None, machine: str) -> Iterator[None]:
    """Keep newer runs off the folder for the block. Raises `Fenced`, `ForeignStack`, `StillChanging`.

    Nothing happens without a fence, and where the folder does not exist (any more): then there is nothing to guard.
    """
    if fence is None:
        yield
        return
    descriptor = _hold(folder, fence, machine)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _hold(folder: Path, fence: Fence, machine: str) -> int:
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return -1
    try:
        return records.hold(opened, *_words(fence), fences.WAIT)
    except FileNotFoundError:
        return -1
    except records.Refused as refused:
        raise fences.refused(fence, machine, *_said(refused)) from None
    finally:
        os.close(opened)


def _words(fence: Fence) -> tuple[str, int, str]:
    stack, _, owner = fence.lines().splitlines()
    return stack, fence.token, owner


def _said(refused: records.Refused) -> tuple[int, str, int, str]:
    return refused.status, refused.stack, refused.token, refused.owner


@contextmanager
def request(folder: Path, fence: Fence, limit: float, stdin: bytes) -> Iterator[dict[str, Any]]:
    """What `inside/` needs to compare by itself, in the process that makes the change; `limit` in seconds ends that.

    All of its input goes along: it would hold the lock and wait for a caller that is stopped.

    Raises FileNotFoundError when the folder does not exist (any more).
    """
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        words = _words(fence)
        about = {"wait": fences.WAIT, "limit": limit, "nonce": secrets.token_hex(8)}
        yield {"folder": opened, "words": words, "stdin": stdin, **about}
    finally:
        os.close(opened)


def require_own(lab: Lab, name: str = "") -> None:
    """Raises `ForeignStack` when the lab's folder, or the folder of its node `name`, is another stack's."""
    found = lab.fabric().get("stack", lab.stack)
    if name and found == lab.stack:
        found = _stack_of(lab.record(name), lab)
    if found != lab.stack:
        raise ForeignStack(
            f"{lab.node(name) if name else lab.folder} belongs to the stack {found}, not to {lab.stack}, and was not "
            "touched",
            "a folder of the lab was copied or moved by hand: put it back, or remove it",
        )


def owner(lab: Lab, name: str) -> Owner:
    """What the marks of a node say."""
    try:
        opened = os.open(lab.node(name), os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return Owner(lab.stack)  # found by its processes alone, which carry the tag of this very lab
    try:
        stack, token, who = records.read(opened)
    finally:
        os.close(opened)
    return Owner(stack or _stack_of(lab.record(name), lab), who, token)


def greatest_token(lab: Lab) -> int:
    """The greatest token in the lab's own record and those of its nodes; 0 when there is none of this stack's."""
    greatest = 0
    for folder in (lab.folder, *(lab.node(name) for name in lab.names())):
        try:
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # removed just now, or there is no lab
        try:
            stack, token, _ = records.read(opened)
        finally:
            os.close(opened)
        if stack == lab.stack:
            greatest = max(greatest, token)
    return greatest


def _stack_of(record: Mapping[str, Any], lab: Lab) -> str:
    return str(record.get("inputs", {}).get("host", {}).get("stack", lab.stack))
