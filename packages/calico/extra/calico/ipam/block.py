"""Blocks as values: who owns one, what is free in it, and each change as a new block. No I/O.

An ordinal is an address's place in its block. Free ordinals are taken from the head of `unallocated` and come back at
its tail, so that the address that was free longest is used first. Two allocations with the same handle and notes share
an entry of `attributes`; an entry goes with its last allocation, and those behind it move up.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from calico.ipam.errors import IpamError
from calico.model.formats import parse_cidr, parse_ip
from calico.model.ipam import AllocationAttribute, Block

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_OWNER = "host:"
RESERVED_HANDLE = "windows-reserved-IPAM-handle"
"""Holds the addresses Windows keeps for itself in each block; they do not make a block used."""


def parse_address(text: str) -> Address:
    """The address a user or a caller gave; raise IpamError when it is none."""
    address = parse_ip(text)
    if address is None:
        raise IpamError(f"invalid IP address specified: {text}")
    return address


def parse_network(text: str) -> Network:
    """The network a user or a caller gave; raise IpamError when it is none."""
    found = parse_cidr(text)
    if found is None:
        raise IpamError(f"invalid CIDR specified: {text}")
    return found[1]


def fresh(cidr: str, host: str) -> Block:
    """The block of a network nobody has allocated from, owned by `host`."""
    size = ip_network(cidr).num_addresses
    return Block(cidr, _OWNER + host, (None,) * size, tuple(range(size)))


def owner(block: Block) -> str:
    """The host a block belongs to; empty when it has none."""
    affinity = block.affinity or ""
    return affinity.removeprefix(_OWNER) if affinity.startswith(_OWNER) else ""


def block_of(address: Address, prefix: int) -> str:
    """The block of `prefix` bits that holds an address, as keys and values spell it."""
    return str(ip_network((address, prefix), strict=False))


def address_at(cidr: str, ordinal: int) -> str:
    """The text of the address at a place in a block."""
    return str(ip_address(cidr.partition("/")[0]) + ordinal)


def ordinal_of(cidr: str, address: Address) -> int:
    """The place of an address in a block that holds it."""
    return int(address) - int(ip_address(cidr.partition("/")[0]))


def attribute_at(block: Block, ordinal: int) -> AllocationAttribute | None:
    """Who holds the address at a place; None when it is free."""
    index = block.allocations[ordinal]
    return None if index is None else (block.attributes or ())[index]


def allocated(block: Block) -> Iterator[tuple[int, AllocationAttribute]]:
    """Every ordinal in use, with who holds it."""
    attributes = block.attributes or ()
    for ordinal, index in enumerate(block.allocations):
        if index is not None:
            yield ordinal, attributes[index]


def is_empty(block: Block) -> bool:
    """Whether no address of the block is in use."""
    return all(attribute.handle_id == RESERVED_HANDLE for _, attribute in allocated(block))


def first_free(block: Block, count: int) -> tuple[int, ...]:
    """Up to `count` ordinals to take next. An ordinal that is listed free and yet in use is left alone."""
    found: list[int] = []
    for ordinal in block.unallocated:
        if len(found) == count:
            break
        if ordinal < len(block.allocations) and block.allocations[ordinal] is None:
            found.append(ordinal)
    return tuple(found)


def take(block: Block, ordinals: Collection[int], attribute: AllocationAttribute) -> Block:
    """The block with free `ordinals` allocated."""
    if not ordinals:
        return block
    attributes = block.attributes or ()
    index = attributes.index(attribute) if attribute in attributes else len(attributes)
    allocations = list(block.allocations)
    for ordinal in ordinals:
        allocations[ordinal] = index
    return block._replace(
        allocations=tuple(allocations),
        unallocated=tuple(ordinal for ordinal in block.unallocated if ordinal not in ordinals),
        attributes=attributes if index < len(attributes) else (*attributes, attribute),
    )


def give_back(block: Block, ordinals: Iterable[int]) -> Block:
    """The block with allocated `ordinals` free."""
    freed = tuple(dict.fromkeys(ordinals))
    allocations = list(block.allocations)
    for ordinal in freed:
        allocations[ordinal] = None
    used = sorted({index for index in allocations if index is not None})
    place = {index: at for at, index in enumerate(used)}
    attributes = block.attributes or ()
    return block._replace(
        allocations=tuple(None if index is None else place[index] for index in allocations),
        unallocated=(*block.unallocated, *freed),
        attributes=tuple(attributes[index] for index in used),
    )


def held_by(block: Block, handle: str) -> tuple[int, ...]:
    """The ordinals a handle holds."""
    return tuple(ordinal for ordinal, attribute in allocated(block) if attribute.handle_id == handle)


def handle_counts(block: Block, ordinals: Iterable[int] | None = None) -> Counter[str]:
    """How many addresses each handle holds in the block, or among `ordinals` of it."""
    wanted = None if ordinals is None else set(ordinals)
    return Counter(
        attribute.handle_id
        for ordinal, attribute in allocated(block)
        if attribute.handle_id is not None and (wanted is None or ordinal in wanted)
    )


def flaw(block: Block, cidr: str) -> str:
    """What is wrong inside a block that stands under the key of `cidr`; empty when it adds up."""
    size = ip_network(cidr).num_addresses
    if block.cidr != cidr:
        return f"its value speaks of {block.cidr or 'no network'}"
    if len(block.allocations) != size:
        return f"it has {len(block.allocations)} places for {size} addresses"
    attributes = block.attributes or ()
    if any(index is not None and not 0 <= index < len(attributes) for index in block.allocations):
        return "an allocation points to no attribute"
    return ""


def disorder(block: Block) -> str:
    """What the list of free addresses has wrong; empty when it is exactly the free ones, once each."""
    free = {ordinal for ordinal, index in enumerate(block.allocations) if index is None}
    listed = Counter(block.unallocated)
    if twice := sorted(ordinal for ordinal, times in listed.items() if times > 1):
        return f"{address_at(block.cidr, twice[0])} is listed free twice"
    if used := sorted(set(listed) - free):
        return f"{address_at(block.cidr, used[0])} is listed free though it is in use"
    if lost := sorted(free - set(listed)):
        return f"{address_at(block.cidr, lost[0])} is neither in use nor listed free"
    return ""


def with_handle_change(counts: dict[str, int], cidr: str, change: int) -> dict[str, int]:
    """A handle's addresses per block after `change` more (or, below zero, fewer) in one of them."""
    left = counts.get(cidr, 0) + change
    rest = {one: count for one, count in counts.items() if one != cidr}
    return dict(sorted({**rest, cidr: left}.items())) if left > 0 else rest
