"""What a table holds, what changes in it, and the transaction that makes the change.

`Book` is the desired content of one table. It is written to as things come and go, and remembers what that changed;
`take` gives the changes, and forgets them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from calico.netlink.nftables.objects import VERDICT, Base, Chain, Element, Operation, Set, Table


class Delta(NamedTuple):
    """What changes in a table. A chain's `False`: it is not there before; `None`: it goes.

    A set that comes (`created`) has all its elements in `added`.
    """

    chains: Mapping[str, tuple[bool, Chain | None]]
    created: Mapping[str, Set]
    gone: frozenset[str]
    added: Mapping[str, set[Element]]
    removed: Mapping[str, set[Element]]
    rebased: frozenset[str] = frozenset()
    """Chains that are at another hook or priority: the kernel has to make them anew."""
    incompatible: frozenset[str] = frozenset()
    """Sets that are there under our names and are something else: the whole table has to be made anew."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return not any(self)


class _Dropped(NamedTuple):
    """A set that goes, as it was: it may come back before the change is taken."""

    kind: Set
    elements: set[Element]
    added: set[Element]
    removed: set[Element]


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
        self._dropped: dict[str, _Dropped] = {}
        self._added: dict[str, set[Element]] = {}
        self._removed: dict[str, set[Element]] = {}

    def put_chain(self, name: str, chain: Chain) -> None:
        """Let a chain be so."""
        before = self.chains.get(name)
        if before == chain:
            return
        self._chains.setdefault(name, before is not None)
        self.chains[name] = chain

    def drop_chain(self, name: str) -> None:
        """Let a chain not be."""
        if self.chains.pop(name, None) is not None and not self._chains.setdefault(name, True):
            del self._chains[name]

    def put_set(self, name: str, kind: Set, elements: Iterable[Element] = ()) -> None:
        """Let a set hold these elements. One name is always of one kind."""
        if name in self._dropped:
            dropped = self._dropped.pop(name)
            self.sets[name], self.elements[name] = dropped.kind, dropped.elements
            self._added[name], self._removed[name] = dropped.added, dropped.removed
        if name not in self.sets:
            self._created.add(name)
            self.sets[name], self.elements[name] = kind, set()
        if self.sets[name] != kind:
            raise ValueError(f"set {name} is of another kind")
        wanted = set(elements)
        self.remove_elements(name, self.elements[name] - wanted)
        self.add_elements(name, wanted - self.elements[name])

    def drop_set(self, name: str) -> None:
        """Let a set not be."""
        kind = self.sets.pop(name, None)
        if kind is None:
            return
        elements = self.elements.pop(name)
        added, removed = self._added.pop(name, set()), self._removed.pop(name, set())
        if name in self._created:
            self._created.discard(name)
        else:
            self._dropped[name] = _Dropped(kind, elements, added, removed)

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
        is_new = name in self._created
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
        whole = {name: self.elements[name] for name in self._created if self.elements[name]}
        delta = Delta(
            {name: (existed, self.chains.get(name)) for name, existed in self._chains.items()},
            {name: self.sets[name] for name in self._created},
            frozenset(self._dropped),
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

    The elements of `uncompared` sets are the packet path's own.
    """
    chains: dict[str, tuple[bool, Chain | None]] = {
        name: (name in found.chains, chain)
        for name, chain in book.chains.items()
        if not _is_chain(found.chains.get(name), chain)
    }
    chains.update((name, (True, None)) for name in found.chains if name not in book.chains)
    added, removed = {}, {}
    for name, wanted in book.elements.items():
        if name not in uncompared or name not in found.sets:
            there = found.sets[name].elements if name in found.sets else set()
            added[name], removed[name] = wanted - there, there - wanted
    return Delta(
        chains,
        {name: kind for name, kind in book.sets.items() if name not in found.sets},
        frozenset(found.sets) - frozenset(book.sets),
        {name: some for name, some in added.items() if some},
        {name: some for name, some in removed.items() if some},
        frozenset(
            name for name, (existed, chain) in chains.items() if existed and chain and _is_rebased(found, name, chain)
        ),
        frozenset(
            name for name, kind in book.sets.items() if name in found.sets and not _is_set(found.sets[name], kind)
        ),
    )


def _is_rebased(found: Found, name: str, chain: Chain) -> bool:
    return found.chains[name].base != chain.base


def _is_chain(found: FoundChain | None, chain: Chain) -> bool:
    return (
        found is not None and found.base == chain.base and found.comments == tuple(rule.comment for rule in chain.rules)
    )


def _is_set(found: FoundSet, kind: Set) -> bool:
    value_length = kind.value.length if kind.value and kind.value is not VERDICT else found.value_length
    return (found.flags, found.key_length, found.value_length) == (kind.flags, kind.key_length, value_length)


class Plan(NamedTuple):
    """The messages of a change, in three transactions, of which any may be empty.

    Packets meet a change in the second alone: the first makes what nothing refers to yet, the third takes away what
    nothing refers to any more.

    The kernel switches the rules of a table at one instant. But an interval set that is new has its elements only some
    time behind that instant; a chain that is new is empty for a packet that was under way; and such a packet may look
    an interface up before the instant and what it found behind it. Hence nothing that rules come to refer to may be
    younger than they are, and nothing that they referred to may go with them.
    """

    before: list[Operation]
    switch: list[Operation]
    after: list[Operation]


def plan(table: Table, delta: Delta, kinds: Mapping[str, Set]) -> Plan:
    """The plan of a change; `kinds` are the sets that there will be."""
    verdicts = {name for name in (*delta.added, *delta.removed) if name in kinds and kinds[name].value is VERDICT}
    moved = {name: _moved(delta.added.get(name, set()), delta.removed.get(name, set())) for name in verdicts}
    return Plan(
        [*_before(table, delta, moved)],
        [*_switch(table, delta, moved)],
        [*_after(table, delta, moved)],
    )


def _moved(added: set[Element], removed: set[Element]) -> frozenset[bytes]:
    """The keys of a verdict map that lead to another chain: the old element goes where the new one comes."""
    return frozenset(one.key for one in added) & frozenset(one.key for one in removed)


def _before(table: Table, delta: Delta, moved: Mapping[str, frozenset[bytes]]) -> Iterator[Operation]:
    for name, kind in delta.created.items():
        yield table.add_set(name, kind)
    new = [(name, chain) for name, (existed, chain) in delta.chains.items() if not existed and chain and not chain.base]
    for name, _ in new:
        yield table.add_chain(name)
    for name, elements in delta.added.items():
        if name in delta.created and name not in moved:
            yield from table.add_elements(name, _ordered(elements))
    for name, chain in new:
        yield from table.add_rules(name, chain.rules)
    for name, keys in moved.items():
        yield from table.add_elements(name, [one for one in delta.added.get(name, ()) if one.key not in keys])


def _switch(table: Table, delta: Delta, moved: Mapping[str, frozenset[bytes]]) -> Iterator[Operation]:
    for name, elements in delta.removed.items():
        yield from table.delete_elements(name, _chosen(elements, moved.get(name)))
    for name, (existed, chain) in delta.chains.items():
        if existed and (chain or name in delta.rebased):
            yield table.flush_chain(name)
        if name in delta.rebased:
            yield table.delete_chain(name)
        if chain and chain.base and (not existed or name in delta.rebased):
            yield table.add_chain(name, chain.base)
    for name, elements in delta.added.items():
        if name not in delta.created or name in moved:
            yield from table.add_elements(name, _ordered(_chosen(elements, moved.get(name))))
    for name, (existed, chain) in delta.chains.items():
        if chain and (existed or chain.base):
            yield from table.add_rules(name, chain.rules)


def _after(table: Table, delta: Delta, moved: Mapping[str, frozenset[bytes]]) -> Iterator[Operation]:
    for name, keys in moved.items():
        yield from table.delete_elements(name, [one for one in delta.removed.get(name, ()) if one.key not in keys])
    dead = [name for name, (existed, chain) in delta.chains.items() if existed and chain is None]
    for name in dead:
        yield table.flush_chain(name)
    for name in dead:
        yield table.delete_chain(name)
    for name in delta.gone:
        yield table.delete_set(name)


def _chosen(elements: set[Element], moved: frozenset[bytes] | None) -> set[Element]:
    """Of a verdict map only the elements that lead elsewhere; of other sets all."""
    return elements if moved is None else {one for one in elements if one.key in moved}


def _ordered(elements: set[Element]) -> Iterable[Element]:
    """Intervals are quickest to build in order, where there are many."""
    return elements if len(elements) < 3 else sorted(elements, key=lambda one: one.key)
