"""Workloads of one family: which one has an interface, its group, its addresses, its floating addresses."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from calico.felix.dataplane.nft.bodies import Body
from calico.felix.dataplane.nft.causes import Cause, Drop, Side
from calico.felix.dataplane.nft.content import Book
from calico.felix.dataplane.nft.family import Family
from calico.felix.dataplane.nft.names import (
    ADDRESSLESS_GROUP,
    DOWN_GROUP,
    ENDPOINTS,
    FLOATING,
    FROM_ADDRESSLESS,
    FROM_GROUPS,
    HAIRPIN,
    SOURCES,
    TO_ADDRESSLESS,
    TO_GROUPS,
    digest_number,
)
from calico.felix.dataplane.nft.words import interface_key
from calico.felix.desired import Workload, WorkloadId
from calico.netlink.nftables.objects import INTERFACE, MARK, VERDICT, Element, Set


class Group(NamedTuple):
    """What workloads with the same lists have in common: what applies to what they send, and to what they get."""

    egress: Body
    ingress: Body

    @property
    def number(self) -> int:
        """A hash of the content: the same after a restart."""
        return digest_number(self.egress.chain, self.ingress.chain)


def is_interface_name(name: str) -> bool:
    """Whether an interface may be called so: 1 to 15 bytes (IFNAMSIZ) without slash and white space."""
    return 0 < len(name.encode()) < 16 and not any(letter in "/\0" or letter.isspace() for letter in name)


def _group_of(workload: Workload) -> Group:
    policies, profiles = workload.policies, workload.profiles
    return Group(
        Body("normal", "out", "workload", policies.egress, profiles),
        Body("normal", "in", "workload", policies.ingress, profiles),
    )


class Workloads:
    """The workloads of the host, in the book of one family.

    Two that claim one interface: the one with the lower id has it, the other when that has gone. So it is with floating
    addresses. `update` is to be followed by what brings the chains of `groups` about.
    """

    def __init__(self, family: Family, book: Book) -> None:
        self._family = family
        self._book = book
        self._known: dict[WorkloadId, Workload] = {}
        self._claims: dict[str, set[WorkloadId]] = {}
        self._floating: dict[str, set[tuple[WorkloadId, str]]] = {}
        self._groups: dict[Group, int] = {}
        self._numbers: dict[Group, int] = {}
        self._taken = {0, DOWN_GROUP, ADDRESSLESS_GROUP}
        self._hairpins: dict[str, set[str]] = {}
        self._declare()

    def _declare(self) -> None:
        book, address = self._book, self._family.address
        book.put_set(ENDPOINTS, Set((INTERFACE,), MARK))
        book.put_set(SOURCES, Set((INTERFACE, address)))
        down, addressless = _group_key(DOWN_GROUP), _group_key(ADDRESSLESS_GROUP)
        ways: tuple[tuple[str, Side, str], ...] = (
            (FROM_GROUPS, "in", FROM_ADDRESSLESS),
            (TO_GROUPS, "out", TO_ADDRESSLESS),
        )
        for name, side, chain in ways:
            drop = Drop(Cause.ADMIN_DOWN, side).chain
            book.put_set(name, Set((MARK,), VERDICT), [Element(down, drop), Element(addressless, chain)])
        book.put_set(FLOATING, Set((address,), address))
        book.put_set(HAIRPIN, Set((address, address), address))

    @property
    def groups(self) -> int:
        """How many distinct lists there are."""
        return len(self._groups)

    def has_interface(self, name: str) -> bool:
        """Whether a workload has this interface."""
        return name in self._claims

    def refusal(self, workload: Workload) -> str:
        """Why the kernel could not hold what a workload says; empty where it can."""
        if not is_interface_name(workload.interface):
            return f"the kernel knows no interface {workload.interface!r}"
        internal = (one.internal for one in workload.nat if self._family.owns(one.internal))
        for address in (*self._addresses(workload), *internal):
            try:
                self._family.pack(address)
            except (OSError, ValueError):
                return f"{address!r} is no address"
        return ""

    def update(self, identity: WorkloadId, workload: Workload | None) -> tuple[list[Body], list[Body]]:
        """Put, change or take away one; the bodies that are needed from now on, and those that are not any more."""
        before = self._known.get(identity)
        if before == workload:
            return [], []
        touched = {one.interface for one in (before, workload) if one}
        old = {name: self._holder(name) for name in touched}
        self._set(identity, before, workload)
        needed: list[Body] = []
        unneeded: list[Body] = []
        for name in touched:
            self._switch(name, old[name], self._holder(name), needed, unneeded)
        return needed, unneeded

    def _set(self, identity: WorkloadId, before: Workload | None, workload: Workload | None) -> None:
        if before:
            self._claims[before.interface].discard(identity)
            if not self._claims[before.interface]:
                del self._claims[before.interface]
            del self._known[identity]
        if workload:
            self._known[identity] = workload
            self._claims.setdefault(workload.interface, set()).add(identity)

    def _holder(self, interface: str) -> tuple[WorkloadId, Workload] | None:
        claims = self._claims.get(interface)
        if not claims:
            return None
        identity = min(claims)
        return identity, self._known[identity]

    def _switch(
        self,
        interface: str,
        old: tuple[WorkloadId, Workload] | None,
        new: tuple[WorkloadId, Workload] | None,
        needed: list[Body],
        unneeded: list[Body],
    ) -> None:
        """Let an interface be of another workload, or the same with other properties. What is common does not move."""
        before = set(self._elements(interface, old[1])) if old else set()
        if new and (group := self._group_of(new[1])):
            needed += self._hold(group)
        after = set(self._elements(interface, new[1])) if new else set()
        for name, element in before - after:
            self._book.remove_elements(name, [element])
        for name, element in after - before:
            self._book.add_elements(name, [element])
        if old and (group := self._group_of(old[1])):
            unneeded += self._release(group)
        if old:
            self._float(*old, gone=True)
        if new:
            self._float(*new, gone=False)

    def _elements(self, interface: str, workload: Workload) -> Iterator[tuple[str, Element]]:
        key = interface_key(interface)
        yield ENDPOINTS, Element(key, _group_key(self._number_of(workload)))
        for address in self._addresses(workload) if workload.active else ():
            yield SOURCES, Element(key + self._family.pack(address))

    def _group_of(self, workload: Workload) -> Group | None:
        """The group of a workload; None while it is administratively down, or has no address of the family.

        Most clusters have no IPv6: its table then holds none of their policies.
        """
        return _group_of(workload) if workload.active and any(self._addresses(workload)) else None

    def _number_of(self, workload: Workload) -> int:
        if group := self._group_of(workload):
            return self._numbers[group]
        return ADDRESSLESS_GROUP if workload.active else DOWN_GROUP

    def _addresses(self, workload: Workload) -> Iterator[str]:
        """What it may send as: its addresses, and the floating ones that lead to it."""
        yield from workload.addresses6 if self._family.version == 6 else workload.addresses4
        yield from (one.external for one in workload.nat if self._family.owns(one.external))

    def _hold(self, group: Group) -> list[Body]:
        self._groups[group] = self._groups.get(group, 0) + 1
        if self._groups[group] > 1:
            return []
        number = group.number
        while number in self._taken:
            number = (number + 1) & 0xFFFFFFFF
        self._taken.add(number)
        self._numbers[group] = number
        key = _group_key(number)
        self._book.add_elements(FROM_GROUPS, [Element(key, group.egress.chain)])
        self._book.add_elements(TO_GROUPS, [Element(key, group.ingress.chain)])
        return [group.egress, group.ingress]

    def _release(self, group: Group) -> list[Body]:
        self._groups[group] -= 1
        if self._groups[group]:
            return []
        del self._groups[group]
        number = self._numbers.pop(group)
        self._taken.discard(number)
        key = _group_key(number)
        self._book.remove_elements(FROM_GROUPS, [Element(key, group.egress.chain)])
        self._book.remove_elements(TO_GROUPS, [Element(key, group.ingress.chain)])
        return [group.egress, group.ingress]

    def _float(self, identity: WorkloadId, workload: Workload, *, gone: bool) -> None:
        """Floating addresses lead to the workload while it is up."""
        if not workload.active:
            return
        for external, internal in workload.nat:
            if self._family.owns(external) and self._family.owns(internal):
                before = self._target(external)
                claims = self._floating.setdefault(external, set())
                (claims.discard if gone else claims.add)((identity, internal))
                if not claims:
                    del self._floating[external]
                self._lead(external, before, self._target(external))

    def _target(self, external: str) -> str | None:
        claims = self._floating.get(external)
        return min(claims)[1] if claims else None

    def _lead(self, external: str, before: str | None, after: str | None) -> None:
        if before == after:
            return
        key = self._family.pack(external)
        if before is not None:
            self._book.remove_elements(FLOATING, [Element(key, self._family.pack(before))])
            self._hairpin(before, external, gone=True)
        if after is not None:
            self._book.add_elements(FLOATING, [Element(key, self._family.pack(after))])
            self._hairpin(after, external, gone=False)

    def _hairpin(self, internal: str, external: str, *, gone: bool) -> None:
        """A workload that reaches itself by a floating address sees the lowest of them as the other end."""
        pack = self._family.pack
        externals = self._hairpins.setdefault(internal, set())
        before = min(externals) if externals else None
        (externals.discard if gone else externals.add)(external)
        after = min(externals) if externals else None
        if not externals:
            del self._hairpins[internal]
        if before != after:
            key = pack(internal) * 2
            if before is not None:
                self._book.remove_elements(HAIRPIN, [Element(key, pack(before))])
            if after is not None:
                self._book.add_elements(HAIRPIN, [Element(key, pack(after))])


def _group_key(number: int) -> bytes:
    return struct.pack("=I", number)
