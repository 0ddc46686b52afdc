"""What a table holds, what changes in it, and the transaction that makes the change.

`Book` is the desired content of one table. It is written to as things come and go, and remembers what that changed;
`take` gives the changes, and forgets them.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain as joined
from typing import NamedTuple

from calico.netlink.nftables.objects import VERDICT, Base, Chain, Element, Operation, Set, Table


class Delta(NamedTuple):
    """What changes in a table. A chain's `None` before: it is not there; after: it goes.

    `added` and `removed` elements are of sets that stay; a set that comes whole (`created`) has all of its own in
    `added`, and one that is made anew (`replaced`) too.
    """

    chains: Mapping[str, tuple[bool, Chain | None]]
    created: Mapping[str, Set]
    replaced: Mapping[str, Set]
    gone: frozenset[str]
    added: Mapping[str, set[Element]]
    removed: Mapping[str, set[Element]]
    rebased: frozenset[str] = frozenset()
    """Chains that are at another hook or priority: the kernel has to make them anew."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return not any(self)


class Book:
    """The desired content of one table, and what differs from what was taken last.

    What comes and goes between two `take`s leaves no trace. A chain or set that is put as it stands is no change.
    """

    def __init__(self) -> None:
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, Set] = {}
        self.elements: dict[str, set[Element]] = {}
        self._forget()

    def _forget(self) -> None:
        self._chains: dict[str, bool] = {}
        self._created: set[str] = set()
        self._replaced: set[str] = set()
        self._gone: set[str] = set()
        self._added: dict[str, set[Element]] = {}
        self._removed: dict[str, set[Element]] = {}

    def put_chain(self, name: str, chain: Chain) -> None:
        """Let a chain be so."""
        before = self.chains.get(name)
        if before == chain:
            return
        self._chains.setdefault(name, before is not None)
        self.chains[name] = chain

    def write_again(self, name: str) -> None:
        """Have a chain's rules written though they are the same: a set that they refer to is made anew."""
        if name in self.chains:
            self._chains.setdefault(name, True)

    def drop_chain(self, name: str) -> None:
        """Let a chain not be."""
        if self.chains.pop(name, None) is not None and not self._chains.setdefault(name, True):
            del self._chains[name]

    def put_set(self, name: str, kind: Set, elements: Iterable[Element] = ()) -> None:
        """Let a set be of this kind and hold these elements. One of another kind is made anew."""
        before = self.sets.get(name)
        if before is None:
            self._created.add(name)
            if name in self._gone:
                self._gone.discard(name)
                self._created.discard(name)
                self._replaced.add(name)
        elif before == kind:
            self._fill(name, set(elements))
            return
        elif name not in self._created:
            self._replaced.add(name)
        self.sets[name] = kind
        self.elements[name] = set(elements)
        self._added.pop(name, None)
        self._removed.pop(name, None)

    def _fill(self, name: str, wanted: set[Element]) -> None:
        self.add_elements(name, wanted - self.elements[name])
        self.remove_elements(name, self.elements[name] - wanted)

    def drop_set(self, name: str) -> None:
        """Let a set not be."""
        if self.sets.pop(name, None) is None:
            return
        del self.elements[name]
        self._added.pop(name, None)
        self._removed.pop(name, None)
        self._replaced.discard(name)
        if name in self._created:
            self._created.discard(name)
        else:
            self._gone.add(name)

    def add_elements(self, name: str, elements: Iterable[Element]) -> None:
        """Let a set hold these, too."""
        self._move(name, elements, self._added, self._removed, adding=True)

    def remove_elements(self, name: str, elements: Iterable[Element]) -> None:
        """Let a set hold these no more."""
        self._move(name, elements, self._removed, self._added, adding=False)

    def _move(
        self,
        name: str,
        elements: Iterable[Element],
        here: dict[str, set[Element]],
        opposite: dict[str, set[Element]],
        *,
        adding: bool,
    ) -> None:
        content = self.elements[name]
        is_new = name in self._created or name in self._replaced
        taken_back = opposite.get(name, set())
        for element in elements:
            if (element in content) == adding:
                continue
            (content.add if adding else content.discard)(element)
            if is_new:
                continue
            if element in taken_back:
                taken_back.discard(element)
            else:
                here.setdefault(name, set()).add(element)

    def take(self) -> Delta:
        """What changed since the last time."""
        whole = {name: self.elements[name] for name in joined(self._created, self._replaced) if self.elements[name]}
        delta = Delta(
            {name: (existed, self.chains.get(name)) for name, existed in self._chains.items()},
            {name: self.sets[name] for name in self._created},
            {name: self.sets[name] for name in self._replaced},
            frozenset(self._gone),
            whole | {name: some for name, some in self._added.items() if some},
            {name: some for name, some in self._removed.items() if some},
        )
        self._forget()
        return delta


class FoundChain(NamedTuple):
    """A chain as it was read: what its rules are called, by their comments."""

    base: Base | None
    comments: tuple[str, ...]


class FoundSet(NamedTuple):
    """A set as it was read."""

    flags: int
    key_length: int
    value_length: int
    elements: set[Element]


class Found(NamedTuple):
    """A table as it was read from the kernel."""

    chains: Mapping[str, FoundChain]
    sets: Mapping[str, FoundSet]


def difference(found: Found, book: Book, uncompared: frozenset[str]) -> Delta:
    """What has to change so that what was `found` becomes what the book says.

    The elements of `uncompared` sets are the packet path's own. When a set has to be made anew, all chains are written
    again: which of those that were found refer to it, nothing tells.
    """
    sets = _compare_sets(found, book)
    again = bool(sets.replaced)
    chains: dict[str, tuple[bool, Chain | None]] = {
        name: (name in found.chains, chain)
        for name, chain in book.chains.items()
        if again or not _is_chain(found.chains.get(name), chain)
    }
    chains.update((name, (True, None)) for name in found.chains if name not in book.chains)
    added, removed = {}, {}
    for name, wanted in book.elements.items():
        if name in sets.created or name in sets.replaced:
            added[name] = wanted
        elif name not in uncompared:
            added[name] = wanted - found.sets[name].elements
            removed[name] = found.sets[name].elements - wanted
    return sets._replace(
        chains=chains,
        rebased=frozenset(
            name
            for name, chain in book.chains.items()
            if name in found.chains and found.chains[name].base != chain.base
        ),
        added={name: some for name, some in added.items() if some},
        removed={name: some for name, some in removed.items() if some},
    )


def _compare_sets(found: Found, book: Book) -> Delta:
    created = {name: kind for name, kind in book.sets.items() if name not in found.sets}
    replaced = {
        name: kind for name, kind in book.sets.items() if name in found.sets and not _is_set(found.sets[name], kind)
    }
    return Delta({}, created, replaced, frozenset(found.sets) - frozenset(book.sets), {}, {})


def _is_chain(found: FoundChain | None, chain: Chain) -> bool:
    return (
        found is not None and found.base == chain.base and found.comments == tuple(rule.comment for rule in chain.rules)
    )


def _is_set(found: FoundSet, kind: Set) -> bool:
    value_length = kind.value.length if kind.value and kind.value is not VERDICT else found.value_length
    return (found.flags, found.key_length, found.value_length) == (kind.flags, kind.key_length, value_length)


def plan(table: Table, delta: Delta, kinds: Mapping[str, Set]) -> Iterator[Operation]:
    """The messages of a change, in the order that the kernel can follow.

    What refers to what goes is taken away first (elements with verdicts, rules), then chains and sets go, then they
    come, filled, and what refers to them comes last. Within a transaction nothing of it is seen by a packet.
    """
    yield from _take_away(table, delta)
    for name, kind in (*delta.created.items(), *delta.replaced.items()):
        yield table.add_set(name, kind)
    for name, (existed, chain) in delta.chains.items():
        if chain is not None and (not existed or name in delta.rebased):
            yield table.add_chain(name, chain.base)
    verdicts = {name for name in delta.added if kinds[name].value is VERDICT}
    for name, elements in delta.added.items():
        if name not in verdicts:
            yield from table.add_elements(name, _ordered(elements))
    for name, (_, chain) in delta.chains.items():
        if chain is not None:
            yield from table.add_rules(name, chain.rules)
    for name in verdicts:
        yield from table.add_elements(name, delta.added[name])


def _take_away(table: Table, delta: Delta) -> Iterator[Operation]:
    for name, elements in delta.removed.items():
        yield from table.delete_elements(name, elements)
    existing = [(name, chain) for name, (existed, chain) in delta.chains.items() if existed]
    for name, _ in existing:
        yield table.flush_chain(name)
    for name, chain in existing:
        if chain is None or name in delta.rebased:
            yield table.delete_chain(name)
    for name in (*delta.gone, *delta.replaced):
        yield table.delete_set(name)


def _ordered(elements: set[Element]) -> Iterable[Element]:
    """Intervals are quickest to build in order, where there are many."""
    return elements if len(elements) < 3 else sorted(elements, key=lambda one: one.key)
