"""Whatever is read ends in documents or in one kind of error; what is written reads back as itself."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.calicoctl.documents import DocumentError, parse
from calico.calicoctl.output.text import to_json, to_yaml

from .conftest import Calicoctl

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
_WORDS = st.sampled_from(
    ["yes", "n", "null", "~", "1", "1.5", "0x10", "1e3", "2020-01-01", "", "-", "a: b", "#", "*x", "=", "<<"]
)
_SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT | _WORDS
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(st.sampled_from(["spec", "data", "a"]), _VALUES, min_size=1))
def test_yaml_and_json_read_back_as_they_were(value: dict[str, Any]) -> None:
    assert [document.data for document in parse(to_yaml(value), "f")] == [value]
    assert [document.data for document in parse(to_json(value), "f")] == [value]


@given(st.text("abk:{}[]-+*&!|>'\"%@#~? \n\t,\x85", max_size=60))
def test_any_text_is_documents_or_an_error_with_its_place(text: str) -> None:
    try:
        parse(text, "f")
    except DocumentError as error:
        assert all(line.startswith("f:") for line in str(error).splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 3000 + "]" * 3000,
        "a: " + "[" * 100_000 + "]" * 100_000,
        "a:\n" + "- " * 100_000 + "x",
        json.dumps({"a": "["}) + "{" * 5000,
    ],
    ids=["flow", "deep flow", "block", "brackets in text"],
)
def test_deep_nesting_is_an_error_not_a_crash(text: str) -> None:
    with pytest.raises(DocumentError, match=r"f:[0-9]+: error parsing document: "):
        parse(text, "f")


def test_bytes_on_the_command_line_that_are_no_text(calicoctl: Calicoctl) -> None:
    result = calicoctl("get", "pool", "\udcff")
    assert result.code == 1
    assert "calicoctl get pool \\udcff" in result.out
    assert "not UTF-8" in result.err


def test_a_patch_that_is_nested_too_deeply(calicoctl: Calicoctl) -> None:
    result = calicoctl("patch", "pool", "a", "-p", '{"a":' * 20_000)
    assert (result.code, result.err) == (1, "the patch is nested too deeply\n")
