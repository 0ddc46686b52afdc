"""The members of IP sets as elements: addresses in a hash, networks in an interval set, named ports as triples."""

from collections.abc import Iterable
from typing import NamedTuple

from calico.felix.dataplane.nft.family import Family
from calico.felix.dataplane.nft.intervals import Networks, span_element
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
    """

    def __init__(
        self, family: Family, kind: SetKind, members: Iterable[str] = (), *, interval: bool | None = None
    ) -> None:
        self._family = family
        self.kind = kind
        own = [member for member in members if family.owns(_address_of(member))]
        self.interval = self.needs_intervals(own) if interval is None else interval
        self._own = set(own)
        self._networks = Networks(family.span(member) for member in own) if self.interval else Networks()

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
            return [self._span(span) for span in self._networks.outermost]
        return [self._single(member) for member in self._own]

    def needs_intervals(self, members: Iterable[str]) -> bool:
        """Whether one of these cannot be in a hash."""
        return self.kind == "net" and any(
            "/" in member and self._family.owns(member) and int(member.rpartition("/")[2]) != self._family.bits
            for member in members
        )

    def become_intervals(self) -> None:
        """Be an interval set from now on."""
        self.interval = True
        self._networks = Networks(self._family.span(member) for member in self._own)

    def change(self, added: Iterable[str], removed: Iterable[str]) -> ElementChange:
        """Let members come and go. What comes has to fit: see `needs_intervals`."""
        came = {member for member in added if self._family.owns(_address_of(member)) and member not in self._own}
        went = {member for member in removed if member in self._own}
        self._own -= went
        self._own |= came
        if self.interval:
            return self._change_networks(came, went)
        return ElementChange({self._single(one) for one in came}, {self._single(one) for one in went})

    def _change_networks(self, came: set[str], went: set[str]) -> ElementChange:
        change = ElementChange(set(), set())
        steps = [self._networks.remove(self._family.span(member)) for member in went]
        steps += [self._networks.add(self._family.span(member)) for member in came]
        for step in steps:
            for span in step.removed:
                _move(self._span(span), change.added, change.removed)
            for span in step.added:
                _move(self._span(span), change.removed, change.added)
        return change

    def _span(self, span: tuple[int, int]) -> Element:
        return span_element(self._family.address.length, *span)

    def _single(self, member: str) -> Element:
        if self.kind == "net":
            return Element(self._family.pack(member.partition("/")[0]))
        address, protocol, port = _parts(member)
        return Element(self._family.pack(address) + bytes((protocol, 0, 0, 0)) + port.to_bytes(2, "big") + b"\0\0")


def _move(element: Element, undone: set[Element], done: set[Element]) -> None:
    """Note an element as done, or take back what would be undone by it."""
    if element in undone:
        undone.discard(element)
    else:
        done.add(element)


def _address_of(member: str) -> str:
    return member.partition(",")[0]


def _parts(member: str) -> tuple[str, int, int]:
    """Address, protocol and port of a member of a named port's set, `10.0.0.1,tcp:80`."""
    address, _, rest = member.partition(",")
    protocol, _, port = rest.partition(":")
    number = _PROTOCOLS.get(protocol.lower())
    return address, int(protocol) if number is None else number, int(port)
