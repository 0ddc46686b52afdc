"""The label index: one suite for the fast one and its slow twin, and both side by side under random histories."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from calico.selector.index import Change, LabelIndex
from calico.selector.parser import Selector, parse
from tests.unit.selector.slow_index import SlowIndex
from tests.unit.selector.test_parser import NODES

Index = Any  # the two share a contract, not a type


@pytest.fixture(params=[LabelIndex, SlowIndex])
def index(request: pytest.FixtureRequest) -> Index:
    return request.param()


def test_a_match_begins_and_ends_with_the_endpoint(index: Index) -> None:
    assert index.set_selector("s", parse("a == 'b'")) == []
    assert index.set_endpoint("e", {"a": "b"}) == [Change("s", "e", True)]
    assert index.matches("s") == {"e"}
    assert index.matched_by("e") == {"s"}
    assert index.remove_endpoint("e") == [Change("s", "e", False)]
    assert index.matches("s") == frozenset()


def test_a_match_begins_and_ends_with_the_selector(index: Index) -> None:
    index.set_endpoint("e", {"a": "b"})
    assert index.set_selector("s", parse("has(a)")) == [Change("s", "e", True)]
    assert index.set_selector("s", parse("!has(a)")) == [Change("s", "e", False)]
    assert index.set_selector("s", parse("all()")) == [Change("s", "e", True)]
    assert index.remove_selector("s") == [Change("s", "e", False)]
    assert index.matched_by("e") == frozenset()


def test_nothing_is_reported_that_did_not_change(index: Index) -> None:
    index.set_selector("s", parse("has(a)"))
    index.set_endpoint("e", {"a": "b"})
    assert index.set_endpoint("e", {"a": "c"}) == []
    assert index.set_endpoint("e", {"a": "c", "x": "y"}) == []
    assert index.set_selector("s", parse("a in {'c'}")) == []
    assert index.set_profile("p", {"a": "z"}) == []


def test_labels_are_inherited_and_ones_own_win(index: Index) -> None:
    index.set_selector("s", parse("a == 'profile'"))
    assert index.set_endpoint("plain", {}, ["p"]) == []
    assert index.set_endpoint("own", {"a": "own"}, ["p"]) == []
    assert index.set_profile("p", {"a": "profile"}) == [Change("s", "plain", True)]
    assert index.labels("own") == {"a": "own"}
    assert index.set_endpoint("own", {}, ["p"]) == [Change("s", "own", True)]
    assert sorted(index.remove_profile("p")) == [Change("s", "own", False), Change("s", "plain", False)]


def test_the_first_profile_wins(index: Index) -> None:
    index.set_selector("s", parse("a == '1'"))
    index.set_profile("one", {"a": "1"})
    index.set_profile("two", {"a": "2"})
    assert index.set_endpoint("e", {}, ["two", "one"]) == []
    assert index.set_endpoint("e", {}, ["one", "two"]) == [Change("s", "e", True)]
    assert index.remove_profile("one") == [Change("s", "e", False)]
    assert index.labels("e") == {"a": "2"}


def test_a_label_that_goes_away_can_begin_a_match(index: Index) -> None:
    index.set_selector("s", parse("a != 'b'"))
    index.set_endpoint("e", {"a": "b"})
    assert index.set_endpoint("e", {}) == [Change("s", "e", True)]


def test_what_is_not_there_matches_nothing(index: Index) -> None:
    assert index.matches("x") == index.matched_by("x") == frozenset()
    assert index.labels("x") == {}
    assert index.remove_endpoint("x") == index.remove_selector("x") == index.remove_profile("x") == []


_KEYS = st.sampled_from(["1", "2", "3", "4"])
_LABEL_MAPS = st.dictionaries(st.sampled_from(["a", "b", "in"]), st.sampled_from(["", "x", "y"]))
_SELECTORS = NODES.map(Selector) | st.sampled_from(
    [
        parse(text)
        for text in (
            "a == 'x'",
            "a == 'x' && b == 'y'",
            "a in {'x', 'y'} || in == ''",
            "has(a) && !has(b)",
            "a in {}",
            "has(in) && a in {}",
            "a in {} || b == 'x'",
            "b starts with 'x' && a != 'y'",
            "!(a == 'x' || has(b))",
        )
    ]
)


class Twins(RuleBasedStateMachine):
    """Both indexes live through the same history; they report the same changes and agree on the matches."""

    @initialize()
    def begin(self) -> None:
        self.fast: LabelIndex[str, str, str] = LabelIndex()
        self.slow = SlowIndex()

    def _both(self, method: str, *arguments: Any) -> None:
        fast = getattr(self.fast, method)(*arguments)
        assert len(fast) == len(set(fast))
        assert sorted(fast) == sorted(getattr(self.slow, method)(*arguments))

    @rule(key=_KEYS, selector=_SELECTORS)
    def set_selector(self, key: str, selector: Selector) -> None:
        self._both("set_selector", key, selector)

    @rule(key=_KEYS)
    def remove_selector(self, key: str) -> None:
        self._both("remove_selector", key)

    @rule(key=_KEYS, labels=_LABEL_MAPS, profiles=st.lists(_KEYS, max_size=3))
    def set_endpoint(self, key: str, labels: dict[str, str], profiles: list[str]) -> None:
        self._both("set_endpoint", key, labels, profiles)

    @rule(key=_KEYS)
    def remove_endpoint(self, key: str) -> None:
        self._both("remove_endpoint", key)

    @rule(key=_KEYS, labels=_LABEL_MAPS)
    def set_profile(self, key: str, labels: dict[str, str]) -> None:
        self._both("set_profile", key, labels)

    @rule(key=_KEYS)
    def remove_profile(self, key: str) -> None:
        self._both("remove_profile", key)

    @invariant()
    def agree(self) -> None:
        for key in ("1", "2", "3", "4"):
            assert self.fast.matches(key) == self.slow.matches(key)
            assert self.fast.matched_by(key) == self.slow.matched_by(key)
            assert self.fast.labels(key) == self.slow.labels(key)

    def teardown(self) -> None:
        """An index from which everything was removed holds on to nothing."""
        for key in ("1", "2", "3", "4"):
            for what in ("selector", "endpoint", "profile"):
                getattr(self.fast, f"remove_{what}")(key)
        held = {name: value for name, value in vars(self.fast).items() if name != "_unfiled"}
        assert not any(held.values()), held
        assert not self.fast._unfiled.all
        assert not self.fast._unfiled.by_label


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


class _Counting(Selector):
    """A selector that notes each time it is evaluated."""

    def __init__(self, text: str, evaluated: list[str]) -> None:
        super().__init__(parse(text).root)
        matches = self.matches

        def counted(labels: Mapping[str, str]) -> bool:
            evaluated.append(text)
            return matches(labels)

        self.matches = counted


def test_a_change_evaluates_only_selectors_that_it_can_affect() -> None:
    """The cost of an update grows with what it touches: of 1000 selectors those that can change, or none."""
    index: LabelIndex[int, int, str] = LabelIndex()
    evaluated: list[str] = []
    for number in range(1000):
        index.set_selector(number, _Counting(f"app == 'a{number % 100}' && env == 'prod'", evaluated))
    index.set_endpoint(1, {"app": "a1", "env": "prod", "zone": "z"})
    evaluated.clear()
    changes = index.set_endpoint(1, {"app": "a2", "env": "prod", "zone": "z"})
    assert len(changes) == 20
    assert len(evaluated) < 40
    evaluated.clear()
    index.set_endpoint(1, {"app": "a2", "env": "prod", "zone": "y"})
    assert evaluated == []
