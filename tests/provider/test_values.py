"""Plain data goes through a Struct and comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.kinds.base import UNKNOWN
from swarmctl.provider.protocol import struct_pb2
from swarmctl.provider.values import OUTPUT, from_struct, to_struct
from swarmctl.state.checkpoint import SECRET, SIGNATURE, UNKNOWN_VALUE

scalars = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), values, max_size=4))
def test_plain_data_comes_back_equal(data: dict[str, Any]) -> None:
    wire = struct_pb2.Struct.FromString(to_struct(data).SerializeToString())

    assert from_struct(wire) == data


def test_whole_numbers_come_back_as_integers() -> None:
    assert [type(value) for value in from_struct(to_struct({"a": [51820, 1.5, True]}))["a"]] == [int, float, bool]


def test_an_integer_that_a_double_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.b\[1\]: 9007199254740993 is too large"):
        to_struct({"a": {"b": [1, 2**53 + 1]}})


def test_what_is_no_plain_data_is_refused() -> None:
    with pytest.raises(ValueError, match="a: a set is no plain data"):
        to_struct({"a": {1}})


def test_a_null_in_a_mapping_is_left_out_and_one_in_a_list_is_kept() -> None:
    assert from_struct(to_struct({"a": None, "b": {"c": None}, "d": [None, 1], "e": {}, "f": []})) == {
        "b": {},
        "d": [None, 1],
        "e": {},
        "f": [],
    }


def test_unknown_values_go_as_the_engine_writes_them_and_come_back() -> None:
    wire = to_struct({"a": [UNKNOWN]})

    assert wire.fields["a"].list_value.values[0].string_value == UNKNOWN_VALUE
    assert from_struct(wire)["a"][0] is UNKNOWN


def test_secrets_and_outputs_are_what_they_hold() -> None:
    wire = to_struct(
        {
            "secret": {SIGNATURE: SECRET, "value": {"k": 1}},
            "output": {SIGNATURE: OUTPUT, "value": "v"},
            "unknown": {SIGNATURE: OUTPUT},
        }
    )

    assert from_struct(wire) == {"secret": {"k": 1}, "output": "v", "unknown": UNKNOWN}
