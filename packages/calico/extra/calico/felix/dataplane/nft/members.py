"""The members of IP sets as elements: addresses in a hash, networks in an interval set, named ports as triples."""

from collections.abc import Iterable
from typing import NamedTuple

from calico.felix.dataplane.nft.family import Family
from calico.felix.dataplane.nft.intervals import Networks, Span, span_element
from calico.felix.desired import SetKind
from calico.netlink.nftables.objects import PROTOCOL, SERVICE, Element, Set

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "udplite": 136}


class ElementChange(NamedTuple):
    """Elements that came and that went."""

    added: set[Element]
    removed: set[Element]


class Members:
    """The members of one IP set that are of one family.

    A set of addresses begins as a hash; `needs_intervals` tells before a change whether it has to become an interval
    set, which it then stays: going back would cost the same again, and the next network would ask for it again.

    What is no address, network or named port is left out, and is in `refused`: one bad member must not keep the others
    out of the kernel. Two ways to write the same are one element.
    """

    def __init__(
        self, family: Family, kind: SetKind, members: Iterable[str] = (), *, interval: bool | None = None
    ) -> None:
        self._family = family
        self.kind = kind
        self.refused: set[str] = set()
        self._own: dict[str, Span | Element] = {}
        self._counts: dict[Span | Element, int] = {}
        own = list(members)
        self.interval = self.needs_intervals(own) if interval is None else interval
        for member in own:
            if self._owns(member):
                self._take(member)
        self._networks = Networks(self._spans()) if self.interval else Networks()

    @property
    def definition(self) -> Set:
        """What the set is in the kernel."""
        if self.kind == "port":
            return Set((self._family.address, PROTOCOL, SERVICE))
        return Set((self._family.address,), interval=self.interval)

    @property
    def elements(self) -> Iterable[Element]:
        """All elements."""
        if self.interval:
            return [self._interval(span) for span in self._networks.outermost]
        return [self._single(one) for one in self._counts]

    def needs_intervals(self, members: Iterable[str]) -> bool:
        """Whether one of these cannot be in a hash."""
        whole = f"/{self._family.bits}"
        return self.kind == "net" and any(
            "/" in member and not member.endswith(whole) and self._family.owns(member) for member in members
        )

    def become_intervals(self) -> None:
        """Be an interval set from now on."""
        self.interval = True
        self._networks = Networks(self._spans())

    def change(self, added: Iterable[str], removed: Iterable[str]) -> ElementChange:
        """Let members come and go. What comes has to fit: see `needs_intervals`."""
        change = ElementChange(set(), set())
        for member in removed:
            self.refused.discard(member)
            if member in self._own and (key := self._drop(member)) is not None:
                self._leave(key, change)
        for member in added:
            if self._owns(member) and member not in self._own and (key := self._take(member)) is not None:
                self._enter(key, change)
        return change

    def _take(self, member: str) -> Span | Element | None:
        """Count a member in; what it is, when it is the first to be that."""
        try:
            key = self._parse(member)
        except (ValueError, OSError, OverflowError):
            self.refused.add(member)
            return None
        self._own[member] = key
        self._counts[key] = self._counts.get(key, 0) + 1
        return key if self._counts[key] == 1 else None

    def _drop(self, member: str) -> Span | Element | None:
        """Count a member out; what it was, when it was the last to be that."""
        key = self._own.pop(member)
        self._counts[key] -= 1
        if self._counts[key]:
            return None
        del self._counts[key]
        return key

    def _enter(self, key: Span | Element, change: ElementChange) -> None:
        if isinstance(key, Element) or not self.interval:
            _move(self._single(key), change.removed, change.added)
            return
        added, removed = self._networks.add(key)
        self._note(added, removed, change)

    def _leave(self, key: Span | Element, change: ElementChange) -> None:
        if isinstance(key, Element) or not self.interval:
            _move(self._single(key), change.added, change.removed)
            return
        added, removed = self._networks.remove(key)
        self._note(added, removed, change)

    def _note(self, added: Iterable[Span], removed: Iterable[Span], change: ElementChange) -> None:
        for span in removed:
            _move(self._interval(span), change.added, change.removed)
        for span in added:
            _move(self._interval(span), change.removed, change.added)

    def _owns(self, member: str) -> bool:
        return self._family.owns(member.partition(",")[0])

    def _parse(self, member: str) -> Span | Element:
        if self.kind == "net":
            return self._family.span(member)
        address, _, rest = member.partition(",")
        protocol, _, port = rest.partition(":")
        number = _PROTOCOLS.get(protocol.lower())
        known = int(protocol) if number is None else number
        return Element(self._family.pack(address) + bytes((known, 0, 0, 0)) + int(port).to_bytes(2, "big") + b"\0\0")

    def _spans(self) -> Iterable[Span]:
        return [one for one in self._counts if not isinstance(one, Element)]

    def _interval(self, span: Span) -> Element:
        return span_element(self._family.address.length, *span)

    def _single(self, key: Span | Element) -> Element:
        if isinstance(key, Element):
            return key
        return Element(key[0].to_bytes(self._family.address.length, "big"))


def _move(element: Element, undone: set[Element], done: set[Element]) -> None:
    """Note an element as done, or take back what would be undone by it."""
    if element in undone:
        undone.discard(element)
    else:
        done.add(element)
