"""A model that is none, and a source that has none: told once, with what may have been meant."""

from __future__ import annotations

import pytest

from swarmctl.gpu.catalogue import Vendor
from swarmctl.gpu.declared import impossible
from swarmctl.gpu.model import Source, Wanted


@pytest.mark.parametrize(
    ("vendor", "model", "mend"),
    [
        ("nvidia", "H1000", "such as `H100"),
        ("nvidia", "L4OS", "such as `L40S"),
        ("amd", "MI300XX", "`MI300X`"),
        ("nvidia", "MI300X", "it is a card of amd's: write `vendor: amd`"),
        ("amd", "H100-SXM5", "it is a card of nvidia's: write `vendor: nvidia`"),
    ],
)
def test_a_wrong_model_is_told_what_it_may_be(vendor: Vendor, model: str, mend: str) -> None:
    (refusal,) = impossible(Wanted(vendor, model))
    assert refusal.code == "model-unknown"
    assert mend in refusal.mend


@pytest.mark.parametrize("model", ["", "MI300X"])
def test_amd_s_driver_in_an_archive_is_refused_once(model: str) -> None:
    assert [one.code for one in impossible(Wanted("amd", model, source=Source.DISTRIBUTION))] == ["source-refused"]
