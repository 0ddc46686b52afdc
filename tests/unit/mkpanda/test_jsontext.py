"""Files people edit: what is refused, and that a replacement touches nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgpanda.build.jsontext import parse_object, replace_values
from pkgpanda.errors import PandaError

_text = st.text(max_size=8)
_other = st.recursive(
    st.none() | st.booleans() | st.integers() | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_sources = st.dictionaries(_text, st.dictionaries(_text, _other, max_size=4), max_size=3)


@given(st.dictionaries(_text, _other, max_size=3), _sources, st.sampled_from([None, 1, "\t"]), st.booleans(), st.data())
def test_a_replaced_value_is_the_only_change(
    members: dict[str, Any], sources: dict[str, Any], indent: Any, ascii_: bool, data: st.DataObject
) -> None:
    document = {**members, "sources": sources}
    strings = [(name, key) for name, inner in sources.items() for key, value in inner.items() if isinstance(value, str)]
    chosen = data.draw(st.lists(st.sampled_from(strings), unique=True)) if strings else []
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_)
    changes: dict[tuple[str, ...], str] = {("sources", *path): f"new {index}" for index, path in enumerate(chosen)}
    renewed = json.loads(replace_values(text, changes))
    for (_, name, key), value in changes.items():
        document["sources"][name][key] = value
    assert renewed == document
    assert replace_values(text, {}) == text


def test_the_words_around_a_replacement_stay() -> None:
    text = '{"a": {"b":  "x" ,\n"c": ["b", {"b": "x"}]}, "b": "x"}\n'
    assert replace_values(text, {("a", "b"): "é\n"}) == text.replace('"x" ,', '"é\\n" ,')


@pytest.mark.parametrize(
    "text,says",
    [
        ("[]", "f: is not a JSON object"),
        ('{"a": 1,}', "f:1:9: is not JSON"),
        ('{\n  "a" 1}', "f:2:7: is not JSON"),
        ('{"a": {"b": 1, "b": 2}}', "f: has the key 'b' twice"),
        ('{"a": -Infinity}', "f: holds -Infinity"),
        (" ", "f:1:2: is not JSON"),
    ],
)
def test_what_is_no_object_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(PandaError) as caught:
        parse_object(text, "f")
    assert str(caught.value).startswith(says)


def test_an_empty_file_is_an_empty_object_as_upstream_has_it() -> None:
    assert parse_object("", "f") == {}


@given(st.text())
def test_no_text_is_a_traceback(text: str) -> None:
    try:
        parse_object(text, "f")
    except PandaError as error:
        assert "\n" not in str(error)
