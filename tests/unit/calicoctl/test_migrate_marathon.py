"""Marathon's definitions from the overlay to Calico: one case a shape, the rest of each untouched."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico.calicoctl.migration import jsontext, marathon
from calico.calicoctl.migration.values import Wish, edited

from .definitions import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_definition(case: Case) -> None:
    change = marathon.migrate(case.before, Wish())
    assert change.after == case.after
    is_open = [str(finding) for finding in change.findings if finding.is_open]
    told = [str(finding) for finding in change.findings if not finding.is_open]
    assert len(is_open) == len(case.decide) and all(any(words in each for each in is_open) for words in case.decide)
    assert len(told) == len(case.told) and all(any(words in each for each in told) for words in case.told)
    json.loads(change.after.lstrip("\ufeff"))


def test_there_are_at_least_thirty_and_of_every_kind() -> None:
    assert len(CASES) >= 30
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(bool(case.changes) for case in CASES) >= 20
    assert sum(not case.changes for case in CASES) >= 8


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_second_time_changes_nothing(case: Case) -> None:
    once = marathon.migrate(case.before, Wish()).after
    assert marathon.migrate(once, Wish()).after == once


def test_from_and_to_any_network() -> None:
    text = '{"id": "/a", "networks": [{"name": "red"}, {"name": "blue"}, {"mode": "container"}]}'
    wish = Wish(frozenset({"red"}), "calico-2")
    assert marathon.migrate(text, wish).after == text.replace("red", "calico-2"), "no name means dcos, and nothing else"


def test_host_ports_may_be_given_up() -> None:
    case = next(case for case in CASES if case.name == "docker-host-port")
    change = marathon.migrate(case.before, Wish(host_ports=True))
    assert '"name": "calico"' in change.after and change.findings == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "ends too early"),
        ("{", "ends too early"),
        ('{"a": 1,}', "line 1, column 9"),
        ('{"a": 1} x', "behind its end"),
        ('{"a": 1, "a": 2}', "twice"),
        ("{a: 1}", "double quotes"),
        ('{"a" 1}', "should be ':'"),
        ('{"a": 01}', "line 1"),
        ('{"a": "x\ny"}', "control character"),
        ("[1 2]", "should be ','"),
        ("[" * 300, "nested too deeply"),
        ('{"a": tru}', "is no JSON value"),
        ('{"a": ' + "1" * 5000 + "}", "line 1, column 7: is a number of too many digits"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(jsontext.NotJson, match=told):
        jsontext.parse(text)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def _spaced(text: str, seed: int) -> str:
    """The same JSON with other space between its signs."""
    chance = random.Random(seed)
    pieces, is_inside, is_escaped = [], False, False
    for character in text:
        is_sign = not is_inside and character in "{}[],:"
        pieces += [chance.choice(" \n\t"), character, chance.choice(" \r")] if is_sign else [character]
        if character == '"' and not is_escaped:
            is_inside = not is_inside
        is_escaped = is_inside and character == "\\" and not is_escaped
    return "".join(pieces)


@given(_VALUES, st.integers())
def test_any_json_is_read_as_the_standard_library_reads_it(value: Any, seed: int) -> None:
    text = _spaced(json.dumps(value), seed)
    assert jsontext.plain(jsontext.parse(text)) == json.loads(text)


@settings(max_examples=50)
@given(_VALUES, st.integers(), st.text())
def test_a_replaced_string_is_the_only_thing_that_changes(value: Any, seed: int, new: str) -> None:
    text = _spaced(json.dumps({"a": value, "b": "x"}), seed)
    node = jsontext.parse(text)
    after = edited(text, [jsontext.replace(node.members["b"], new)])
    assert json.loads(after) == {"a": value, "b": new}
    assert after.startswith(text[: node.members["b"].start])


@given(_VALUES, st.integers(), st.text(), st.text())
def test_an_inserted_member_is_the_only_one_more(value: Any, seed: int, key: str, new: str) -> None:
    document = {"a": value, "b": {"c": 1}} if seed % 2 else {}
    if key in document:
        return
    text = _spaced(json.dumps(document), seed)
    after = edited(text, [jsontext.insert(text, jsontext.parse(text), key, new)])
    assert json.loads(after) == {**document, key: new}
