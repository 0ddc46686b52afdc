"""How full the pools are, and which addresses a node borrowed from another's block. Pure functions over a snapshot."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import NamedTuple

from calico.ipam import block as blocks
from calico.ipam import values
from calico.ipam.errors import UnreadableError
from calico.ipam.inventory import Pool, covering
from calico.ipam.snapshot import Snapshot
from calico.model.ipam import Block
from calico.model.keys import BLOCKS


class BlockUsage(NamedTuple):
    """A block: how many addresses it has, and how many are free."""

    cidr: str
    capacity: int
    free: int


class PoolUsage(NamedTuple):
    """A pool and its blocks; `pool` is None for the blocks that are of none."""

    pool: Pool | None
    blocks: tuple[BlockUsage, ...]

    @property
    def in_use(self) -> int:
        """How many addresses are allocated."""
        return sum(one.capacity - one.free for one in self.blocks)


class Borrowed(NamedTuple):
    """An address on another node than its block's owner; `owner` is empty for a block that nobody owns.

    `allocated_to` is what holds it: a pod for `kind` "pod", otherwise empty.
    """

    address: str
    node: str
    block: str
    owner: str
    kind: str
    allocated_to: str


def readable_blocks(snapshot: Snapshot) -> Iterator[Block]:
    """The blocks of a snapshot; broken ones, which `check` names, are left out."""
    for item in snapshot.ipam:
        if item.key.startswith(BLOCKS):
            try:
                yield values.read_block(item)
            except UnreadableError:
                continue


def utilization(snapshot: Snapshot) -> tuple[PoolUsage, ...]:
    """Every pool, in the order of names, with its blocks in the order of their keys; last those of no pool, if any."""
    by_pool: dict[str, list[BlockUsage]] = {}
    orphans = []
    for block in readable_blocks(snapshot):
        usage = BlockUsage(block.cidr, len(block.allocations), len(block.unallocated))
        pool = covering(snapshot.pools, ip_network(block.cidr))
        if pool:
            by_pool.setdefault(pool.name, []).append(usage)
        else:
            orphans.append(usage)
    found = tuple(PoolUsage(pool, tuple(by_pool.get(pool.name, ()))) for pool in snapshot.pools)
    return (*found, PoolUsage(None, tuple(orphans))) if orphans else found


def borrowed(snapshot: Snapshot) -> tuple[tuple[Borrowed, ...], int]:
    """The borrowed addresses, and how many allocations do not say which node they are on."""
    found, untold = [], 0
    for block in readable_blocks(snapshot):
        for ordinal, holder in blocks.allocated(block):
            notes = holder.secondary or {}
            node, owner = notes.get("node"), blocks.owner(block)
            if node is None:
                untold += 1
            elif node != owner:
                pod = notes.get("pod")
                kind = "pod" if pod is not None else notes.get("type", "")
                to = f"{notes.get('namespace', '')}/{pod}" if pod is not None else ""
                found.append(Borrowed(blocks.address_at(block.cidr, ordinal), node, block.cidr, owner, kind, to))
    return tuple(found), untold
