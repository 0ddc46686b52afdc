"""The values IPAM keeps in etcd: blocks, affinities, handles and its configuration.

They are plain JSON without kind or metadata. Readers ignore members they do not know (`strictAffinity` of older
writers among them) and take null for an empty list.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from calico.model.problems import Path, Report
from calico.model.schema import FLAG, INTEGER, TEXT, Codec, Integer, Listing, Member, Struct, TextMap


class AllocationAttribute(NamedTuple):
    """Who holds addresses: a handle, and notes such as node and pod."""

    handle_id: str | None = None
    secondary: Mapping[str, str] | None = None


class Block(NamedTuple):
    """An allocation block.

    `allocations[n]` is an index into `attributes` for the n-th address of the network, or None where it is free;
    `unallocated` lists the free ones in the order they are given out. `attributes` is None in a fresh block.
    """

    cidr: str = ""
    affinity: str | None = None
    allocations: tuple[int | None, ...] = ()
    unallocated: tuple[int, ...] = ()
    attributes: tuple[AllocationAttribute, ...] | None = None
    deleted: bool = False


class Affinity(NamedTuple):
    """A host's claim on a block: `pending`, `confirmed` or `pendingDeletion`; empty, in old data, is confirmed."""

    state: str = ""
    deleted: bool = False


class Handle(NamedTuple):
    """How many addresses a handle holds in each block."""

    block: Mapping[str, int] = {}
    deleted: bool = False


class IPAMConfig(NamedTuple):
    """Absent from etcd it stands for not strict, with automatic blocks."""

    strict_affinity: bool = False
    auto_allocate_blocks: bool = False


class _Slot(Codec):
    """An index, or null."""

    __slots__ = ()

    def decode(self, value: Any, path: Path, report: Report) -> int | None:
        return None if value is None else INTEGER.decode(value, path, report)


class _Counts(Codec):
    """A mapping of CIDR to number of addresses."""

    __slots__ = ()
    zero: Mapping[str, int] = {}
    name = "a mapping"

    def decode(self, value: Any, path: Path, report: Report) -> Mapping[str, int]:
        if not isinstance(value, Mapping):
            return dict(self.wrong(value, path, report))
        return {cidr: INTEGER.decode(count, (*path, cidr), report) for cidr, count in value.items()}

    def encode(self, value: Any) -> dict[str, int]:
        return dict(value)


_ATTRIBUTE = Struct(
    AllocationAttribute,
    (
        Member("handle_id", TEXT, optional=True, always=True),
        Member("secondary", TextMap(), optional=True, always=True),
    ),
)
BLOCK = Struct(
    Block,
    (
        Member("cidr", TEXT, always=True),
        Member("affinity", TEXT, optional=True, always=True),
        Member("allocations", Listing(_Slot()), always=True),
        Member("unallocated", Listing(Integer(least=0)), always=True),
        Member("attributes", Listing(_ATTRIBUTE), optional=True, always=True),
        Member("deleted", FLAG, always=True),
    ),
)
AFFINITY = Struct(Affinity, (Member("state", TEXT, always=True), Member("deleted", FLAG, always=True)))
HANDLE = Struct(Handle, (Member("block", _Counts(), always=True), Member("deleted", FLAG, always=True)))
CONFIG = Struct(IPAMConfig, (Member("strict_affinity", FLAG), Member("auto_allocate_blocks", FLAG)))
