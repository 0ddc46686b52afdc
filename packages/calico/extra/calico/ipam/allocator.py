"""`Ipam`: the operations on addresses, blocks and affinities, over one datastore."""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from calico.datastore.store import Store
from calico.ipam import affinity, assign, release, values
from calico.ipam import block as blocks
from calico.ipam.assign import Assigned, Assignment, Request
from calico.ipam.context import Context, context
from calico.ipam.errors import IpamError, NotFoundError
from calico.ipam.inventory import Inventory, holding
from calico.ipam.release import Claim
from calico.ipam.view import MOST_ATTEMPTS, View
from calico.model.ipam import AllocationAttribute, IPAMConfig
from calico.model.keys import IPAM_CONFIG, BlockKey, HandleKey


class Held(NamedTuple):
    """An address of a handle, and the block it is of."""

    address: str
    block: str


class Ipam:
    """Addresses of a cluster. It keeps nothing between calls, so threads and processes may share a datastore freely.

    Every method may raise DatastoreError, and IndeterminateError where a lost answer leaves open whether it was done.
    It is also what `calico.client` takes as `allocations`.
    """

    def __init__(
        self,
        store: Store,
        inventory: Inventory | None = None,
        chance: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
        most_attempts: int = MOST_ATTEMPTS,
    ) -> None:
        self.context: Context = context(store, inventory, chance, sleep, most_attempts)

    # -- giving out ------------------------------------------------------------------------------------------------

    def auto_assign(self, request: Request) -> Assignment:
        """Give out addresses out of the pools that select the host, or those requested. See Request and Assignment."""
        return assign.auto_assign(self.context, request)

    def assign_ip(
        self, address: str, host: str, handle: str | None = None, attributes: Mapping[str, str] | None = None
    ) -> Assigned:
        """Give out one chosen address. See assign.assign_ip."""
        return assign.assign_ip(self.context, blocks.parse_address(address), host, handle, attributes)

    # -- taking back -----------------------------------------------------------------------------------------------

    def release_ips(self, addresses: Iterable[str]) -> tuple[str, ...]:
        """Free addresses, whoever holds them; those that were not allocated."""
        return release.release_ips(self.context, addresses)

    def release_claims(self, claims: Iterable[Claim]) -> tuple[str, ...]:
        """Free addresses from the holders named; those that were free or another's. Safe to repeat."""
        return release.release_claims(self.context, claims)

    def release_handle(self, handle: str) -> tuple[str, ...]:
        """Free every address of a handle; the addresses. Raise NotFoundError."""
        return release.release_handle(self.context, handle)

    def repair_handle(self, key: str) -> bool:
        """Make a handle, named by its key, say what the blocks say; whether it was wrong and nobody changed it."""
        return release.repair_handle(self.context, key)

    def annotate(self, address: str, handle: str, notes: Mapping[str, str]) -> bool:
        """Add to what an allocation says of its holder. See release.annotate."""
        return release.annotate(self.context, blocks.parse_address(address), handle, notes)

    # -- looking ---------------------------------------------------------------------------------------------------

    def held_by(self, handle: str) -> tuple[Held, ...]:
        """The addresses of a handle. Raise NotFoundError."""
        view = View(self.context.store)
        item = view.item(HandleKey(handle).path)
        if item is None:
            raise NotFoundError(f"resource does not exist: IPAMHandle({handle})")
        cidrs = tuple(values.read_handle(item).block)
        view.load(*(BlockKey(cidr).path for cidr in cidrs))
        found = []
        for cidr in cidrs:
            block = affinity.read(view, cidr)
            ordinals = blocks.held_by(block, handle) if block else ()
            found += [Held(blocks.address_at(cidr, ordinal), cidr) for ordinal in ordinals]
        return tuple(found)

    def holder_of(self, address: str) -> AllocationAttribute:
        """Who holds an address. Raise NotFoundError when it is free, or of no pool."""
        wanted = blocks.parse_address(address)
        pool = holding(self.context.inventory.pools(), wanted)
        if pool is None:
            raise NotFoundError(f"No valid IPPool: {address} is in none")
        cidr = blocks.block_of(wanted, pool.block_size)
        block = affinity.read(View(self.context.store), cidr)
        holder = blocks.attribute_at(block, blocks.ordinal_of(cidr, wanted)) if block else None
        if holder is None:
            raise NotFoundError(f"resource does not exist: {address} is not assigned")
        return holder

    # -- claims on blocks ------------------------------------------------------------------------------------------

    def release_affinity(self, host: str, cidr: str, require_empty: bool = False) -> bool:
        """Give up a host's claim on a block. See affinity.release."""
        return affinity.release(self.context, host, cidr, require_empty)

    def release_host_affinities(self, host: str) -> tuple[str, ...]:
        """Give up every claim of a host; the blocks. Addresses stay allocated."""
        return affinity.release_host(self.context, host)

    def release_pool_affinities(self, cidr: str) -> tuple[str, ...]:
        """Give up every claim inside a network; the blocks. Addresses stay allocated."""
        return affinity.release_inside(self.context, blocks.parse_network(cidr))

    # -- what calico.client asks for -------------------------------------------------------------------------------

    def release_pool(self, cidr: str) -> None:
        """Give up every claim inside a disabled pool.

        There is no allocation to wait for: one that read the pool as enabled fails, since it relies on that revision.
        """
        self.context.inventory.refresh()
        self.release_pool_affinities(cidr)

    def release_addresses(self, addresses: tuple[str, ...]) -> None:
        """Free addresses where they are allocated."""
        self.release_ips(addresses)

    def release_node(self, node: str) -> None:
        """Give up a node's claims."""
        self.release_host_affinities(node)

    # -- configuration ---------------------------------------------------------------------------------------------

    def config(self) -> IPAMConfig:
        """The configuration, or what stands for it where none is stored."""
        return values.read_config(View(self.context.store).item(IPAM_CONFIG))

    def set_config(self, config: IPAMConfig) -> bool:
        """Store the configuration; whether it changed. Raise IpamError for one that allows no allocation."""
        if not config.strict_affinity and not config.auto_allocate_blocks:
            raise IpamError("Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time")
        view = View(self.context.store)
        for _ in self.context.attempts("the IPAM configuration"):
            if values.read_config(view.item(IPAM_CONFIG)) == config:
                return False
            if view.commit({IPAM_CONFIG: values.write_config(config)}):
                return True
        raise AssertionError("attempts end in ContentionError")
