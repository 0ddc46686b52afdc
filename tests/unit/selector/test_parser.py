"""The selector language: matching, canonical text and id, errors; against a grammar written independently."""

import re
from collections.abc import Mapping
from typing import Any

import lark
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calico.selector.nodes import All, And, Equal, Has, In, Node, Not, NotEqual, NotIn, Or, Part
from calico.selector.parser import Selector, SelectorError, parse
from tests.unit.selector import cases


@pytest.mark.parametrize(("text", "labels", "expected"), cases.MATCHES)
def test_a_selector_matches_the_labels_it_should(text: str, labels: dict[str, str], expected: bool) -> None:
    assert parse(text).matches(labels) is expected
    assert parse(parse(text).canonical).matches(labels) is expected


@pytest.mark.parametrize(("text", "canonical"), cases.CANONICAL)
def test_a_selector_has_one_canonical_text(text: str, canonical: str) -> None:
    assert parse(text).canonical == canonical
    assert parse(canonical).canonical == canonical
    assert parse(text) == parse(canonical)
    assert parse(text).uid == parse(canonical).uid


@pytest.mark.parametrize(("text", "column", "message"), cases.REFUSED)
def test_a_selector_is_refused_at_the_column_that_is_wrong(text: str, column: int, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse(text)
    assert (caught.value.column, message in str(caught.value)) == (column, True), str(caught.value)
    shown, caret = caught.value.caret.split("\n")
    assert len(shown) == len(text)
    assert caret.index("^") == column - 1


@pytest.mark.parametrize(("text", "uid"), cases.IDS)
def test_the_id_is_upstreams(text: str, uid: str) -> None:
    assert parse(text).uid == uid
    assert re.fullmatch(r"s:[A-Za-z0-9_-]{38}", uid)


@pytest.mark.parametrize(("text", "expected"), cases.PREFIXED)
def test_a_prefix_goes_before_every_label_and_nothing_else(text: str, expected: str) -> None:
    assert parse(text).prefixed("pcns.").canonical == expected


@pytest.mark.parametrize(
    ("accepted", "refused"), [rule[1:] for rule in cases.RULES], ids=[rule[0] for rule in cases.RULES]
)
def test_every_rule_accepts_and_refuses(accepted: list[str], refused: list[str]) -> None:
    for text in accepted:
        assert parse(parse(text).canonical) == parse(text)
    for text in refused:
        with pytest.raises(SelectorError):
            parse(text)


def test_there_are_as_many_cases_as_promised_and_every_rule_has_both_kinds() -> None:
    assert cases.count() >= 200
    assert [name for name, accepted, refused in cases.RULES if not accepted or not refused] == []
    assert len(cases.table()) == len(cases.RULES)


_LABELS = st.sampled_from(["a", "b", "in", "not", "has", "all", "contains", "x/y.z-_"])
_VALUES = st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), max_size=3) | st.text(
    st.characters(exclude_characters='"', exclude_categories=["Cs"]), max_size=3
)
_SETS = st.frozensets(_VALUES, max_size=3)
_TESTS: st.SearchStrategy[Node] = (
    st.just(All())
    | st.builds(Has, _LABELS)
    | st.builds(Equal, _LABELS, _VALUES)
    | st.builds(NotEqual, _LABELS, _VALUES)
    | st.builds(Part, _LABELS, st.sampled_from(["contains", "starts with", "ends with"]), _VALUES)
    | st.builds(In, _LABELS, _SETS)
    | st.builds(NotIn, _LABELS, _SETS)
)


def _nested(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return several.map(And) | several.map(Or) | inner.filter(lambda node: not isinstance(node, Not)).map(Not)


NODES = st.recursive(_TESTS, _nested, max_leaves=12)


@given(NODES)
def test_reading_a_canonical_text_gives_the_same_selector(node: Node) -> None:
    canonical = Selector(node).canonical
    assert parse(canonical).canonical == canonical


@given(NODES, st.dictionaries(_LABELS, _VALUES))
def test_a_required_pair_is_there_whenever_the_selector_matches(node: Node, labels: dict[str, str]) -> None:
    if node.test()(labels):
        for requirement in node.alternatives():
            assert any(
                labels.get(label) == value if value is not None else label in labels for label, value in requirement
            )


_GRAMMAR = r"""
    start: [either]
    either: both ("||" both)*
    both: operation ("&&" operation)*
    operation: NOT* operand
    operand: HAS -> has
        | ALL -> all
        | LABEL COMPARE STRING -> compare
        | LABEL MEMBER "{" [STRING ("," STRING)* [","]] "}" -> member
        | "(" either ")" -> group
    NOT: "!"
    HAS.5: /has\([\t\n\f\r ]*[a-zA-Z0-9_.\/-]{1,512}[\t\n\f\r ]*\)/
    ALL.5: /all\([\t\n\f\r ]*\)/
    COMPARE.4: "==" | "!=" | "contains" | /starts[\t\n\f\r ]*with/ | /ends[\t\n\f\r ]*with/
    MEMBER.4: /not[\t\n\f\r ]*in(?![a-zA-Z0-9_])/ | /in(?![a-zA-Z0-9_])/
    LABEL.1: /[a-zA-Z0-9_.\/-]{1,512}/
    STRING: /'[^']*'/ | /"[^"]*"/
    %ignore /[ \t]+/
"""


class _Meaning(lark.Transformer[Any, Any]):
    """Evaluates a parse tree of the oracle's grammar against fixed labels."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        super().__init__()
        self.labels = labels

    def start(self, children: list[Any]) -> bool:
        return children[0] is None or bool(children[0])

    def either(self, children: list[bool]) -> bool:
        return any(children)

    def both(self, children: list[bool]) -> bool:
        return all(children)

    def operation(self, children: list[Any]) -> bool:
        return bool(children[-1]) ^ (len(children) % 2 == 0)

    def has(self, children: list[str]) -> bool:
        return children[0][4:-1].strip() in self.labels

    def all(self, _children: list[str]) -> bool:
        return True

    def group(self, children: list[bool]) -> bool:
        return children[0]

    def compare(self, children: list[str]) -> bool:
        label, operator, string = children
        found, value = self.labels.get(label), string[1:-1]
        if operator == "!=":
            return found != value
        if found is None:
            return False
        word = "".join(operator.split())
        tests = {
            "==": found == value,
            "contains": value in found,
            "startswith": found.startswith(value),
            "endswith": found.endswith(value),
        }
        return tests[word]

    def member(self, children: list[Any]) -> bool:
        label, operator, *strings = children
        inside = self.labels.get(label) in [string[1:-1] for string in strings if string is not None]
        return inside if operator == "in" else not inside


ORACLE = lark.Lark(_GRAMMAR, parser="lalr", lexer="contextual", maybe_placeholders=True)

_PIECES = st.sampled_from(
    [
        *("a", "b", "in", "not", "has", "all", "contains", "starts", "ends", "with"),
        *("==", "!=", "&&", "||", "!", "(", ")", "{", "}", ",", "has(", "=", "\t", "  "),
        *("'a'", '"b"', "''", "has(a)", "all()", "has( b )", "not in", "starts with", "ends with"),
        *("a == 'a'", "b in {'b'}", "&& has(a)", "|| b != 'a'", "(a == 'a')", "in in {'a', }"),
    ]
)


def _oracle(text: str, labels: Mapping[str, str]) -> bool | None:
    try:
        return bool(_Meaning(labels).transform(ORACLE.parse(text)))
    except lark.exceptions.LarkError:
        return None


def _ours(text: str, labels: Mapping[str, str]) -> bool | None:
    try:
        return parse(text).matches(labels)
    except SelectorError:
        return None


@settings(max_examples=400, deadline=None)
@given(
    st.lists(_PIECES, max_size=9).map(" ".join),
    st.dictionaries(st.sampled_from(["a", "b", "in", "not"]), st.sampled_from(["a", "b", ""])),
)
@example("!!a == 'a' && (b in {'b',} || !has(in))", {"a": "a"})
@example("a in{'a' , 'b'}", {"a": "b"})
def test_the_grammar_written_down_separately_agrees(text: str, labels: dict[str, str]) -> None:
    assert _ours(text, labels) == _oracle(text, labels)


@settings(max_examples=200, deadline=None)
@given(NODES, st.dictionaries(_LABELS, _VALUES))
def test_the_grammar_reads_every_canonical_text_as_we_do(node: Node, labels: dict[str, str]) -> None:
    text = Selector(node).canonical
    assert _oracle(text, labels) is node.test()(labels)


@given(st.text(max_size=30))
def test_any_text_is_either_read_or_refused_at_a_column_of_it(text: str) -> None:
    try:
        parse(text)
    except SelectorError as error:
        assert 1 <= error.column <= len(text) + 1
