"""The parts of a parsed selector: what each matches, how it is written, and what a matching endpoint must carry.

Matching follows one rule for a label that is missing: every positive test fails and its negation (`!=`, `not in`)
holds. The canonical text always puts parentheses around `&&` and `||`, so that equal selectors have equal text.

`alternatives` serves the index. A `Requirement` is a set of (label, value) pairs of which a matching endpoint carries
at least one; value None means any value. A node lists requirements that each hold for all its matches; none at all
means that endpoints without any label may match. An empty requirement can never be met.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

Labels = Mapping[str, str]
Test = Callable[[Labels], bool]
"""A node made ready to run: a function of the labels, several times faster than walking the nodes."""
Pair = tuple[str, str | None]
Requirement = tuple[Pair, ...]


def quoted(value: str) -> str:
    """A value as selectors write it; no value holds both kinds of quotes."""
    return f"'{value}'" if '"' in value else f'"{value}"'


class All(NamedTuple):
    """`all()`: everything."""

    def test(self) -> Test:
        return lambda labels: True

    def canonical(self) -> str:
        return "all()"

    def labels(self) -> Iterator[str]:
        return iter(())

    def alternatives(self) -> list[Requirement]:
        return []

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return self


class Has(NamedTuple):
    """`has(label)`: the label is there, with any value."""

    label: str

    def test(self) -> Test:
        label = self.label
        return lambda labels: label in labels

    def canonical(self) -> str:
        return f"has({self.label})"

    def labels(self) -> Iterator[str]:
        yield self.label

    def alternatives(self) -> list[Requirement]:
        return [((self.label, None),)]

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return Has(rename(self.label))


class Equal(NamedTuple):
    """`label == "value"`."""

    label: str
    value: str

    def test(self) -> Test:
        label, value = self
        return lambda labels: labels.get(label) == value

    def canonical(self) -> str:
        return f"{self.label} == {quoted(self.value)}"

    def labels(self) -> Iterator[str]:
        yield self.label

    def alternatives(self) -> list[Requirement]:
        return [((self.label, self.value),)]

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return Equal(rename(self.label), self.value)


class NotEqual(NamedTuple):
    """`label != "value"`: also true where the label is missing."""

    label: str
    value: str

    def test(self) -> Test:
        label, value = self
        return lambda labels: labels.get(label) != value

    def canonical(self) -> str:
        return f"{self.label} != {quoted(self.value)}"

    def labels(self) -> Iterator[str]:
        yield self.label

    def alternatives(self) -> list[Requirement]:
        return []

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return NotEqual(rename(self.label), self.value)


class Part(NamedTuple):
    """`label contains`, `starts with` or `ends with "value"`; `how` is the operator."""

    label: str
    how: str
    value: str

    def test(self) -> Test:
        label, how, value = self
        if how == "contains":
            return lambda labels: label in labels and value in labels[label]
        if how == "starts with":
            return lambda labels: label in labels and labels[label].startswith(value)
        return lambda labels: label in labels and labels[label].endswith(value)

    def canonical(self) -> str:
        return f"{self.label} {self.how} {quoted(self.value)}"

    def labels(self) -> Iterator[str]:
        yield self.label

    def alternatives(self) -> list[Requirement]:
        return [((self.label, None),)]

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return Part(rename(self.label), self.how, self.value)


class In(NamedTuple):
    """`label in {"value", ...}`: never true of the empty set."""

    label: str
    values: frozenset[str]

    def test(self) -> Test:
        label, values = self
        return lambda labels: labels.get(label) in values

    def canonical(self) -> str:
        return f"{self.label} in {_set(self.values)}"

    def labels(self) -> Iterator[str]:
        yield self.label

    def alternatives(self) -> list[Requirement]:
        return [tuple((self.label, value) for value in self.values)]

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return In(rename(self.label), self.values)


class NotIn(NamedTuple):
    """`label not in {"value", ...}`: also true where the label is missing."""

    label: str
    values: frozenset[str]

    def test(self) -> Test:
        label, values = self
        return lambda labels: labels.get(label) not in values

    def canonical(self) -> str:
        return f"{self.label} not in {_set(self.values)}"

    def labels(self) -> Iterator[str]:
        yield self.label

    def alternatives(self) -> list[Requirement]:
        return []

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return NotIn(rename(self.label), self.values)


class Not(NamedTuple):
    """`!operand`; the operand is never itself a Not."""

    operand: "Node"

    def test(self) -> Test:
        operand = self.operand.test()
        return lambda labels: not operand(labels)

    def canonical(self) -> str:
        return f"!{self.operand.canonical()}"

    def labels(self) -> Iterator[str]:
        return self.operand.labels()

    def alternatives(self) -> list[Requirement]:
        return []

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return Not(self.operand.renamed(rename))


class And(NamedTuple):
    """`(operand && operand ...)`: two or more."""

    operands: "tuple[Node, ...]"

    def test(self) -> Test:
        first, *rest = [operand.test() for operand in self.operands]
        return _both(first, rest)

    def canonical(self) -> str:
        return f"({' && '.join([operand.canonical() for operand in self.operands])})"

    def labels(self) -> Iterator[str]:
        for operand in self.operands:
            yield from operand.labels()

    def alternatives(self) -> list[Requirement]:
        return [requirement for operand in self.operands for requirement in operand.alternatives()]

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return And(tuple(operand.renamed(rename) for operand in self.operands))


class Or(NamedTuple):
    """`(operand || operand ...)`: two or more."""

    operands: "tuple[Node, ...]"

    def test(self) -> Test:
        first, *rest = [operand.test() for operand in self.operands]
        return _either(first, rest)

    def canonical(self) -> str:
        return f"({' || '.join([operand.canonical() for operand in self.operands])})"

    def labels(self) -> Iterator[str]:
        for operand in self.operands:
            yield from operand.labels()

    def alternatives(self) -> list[Requirement]:
        chosen: set[Pair] = set()
        for operand in self.operands:
            requirements = operand.alternatives()
            if not requirements:
                return []
            narrowest = min(requirements, key=_weight)
            chosen.update(narrowest)
        return [tuple(chosen)]

    def renamed(self, rename: Callable[[str], str]) -> "Node":
        return Or(tuple(operand.renamed(rename) for operand in self.operands))


def _both(first: Test, rest: list[Test]) -> Test:
    """One test after the other, as nested pairs halved in the middle: a chain of a hundred is seven calls deep."""
    if not rest:
        return first
    middle = (len(rest) + 1) // 2
    left, right = _both(first, rest[: middle - 1]), _both(rest[middle - 1], rest[middle:])
    return lambda labels: left(labels) and right(labels)


def _either(first: Test, rest: list[Test]) -> Test:
    """As `_both`, for alternatives."""
    if not rest:
        return first
    middle = (len(rest) + 1) // 2
    left, right = _either(first, rest[: middle - 1]), _either(rest[middle - 1], rest[middle:])
    return lambda labels: left(labels) or right(labels)


Node = All | Has | Equal | NotEqual | Part | In | NotIn | Not | And | Or


def _set(values: frozenset[str]) -> str:
    return "{" + ", ".join(map(quoted, sorted(values))) + "}"


def _weight(requirement: Requirement) -> tuple[int, int]:
    """How little a requirement narrows: first by pairs that any value meets, then by length."""
    return sum(value is None for _, value in requirement), len(requirement)
