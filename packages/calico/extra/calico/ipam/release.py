"""Taking addresses back, by address or by handle. The block and the handles change in one transaction.

An address is freed only from the holder it was seen with: when it changes hands between two attempts, the new holder
keeps it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from calico.datastore.errors import IndeterminateError
from calico.datastore.store import listing
from calico.ipam import affinity, values
from calico.ipam import block as blocks
from calico.ipam.block import Address
from calico.ipam.context import Context
from calico.ipam.errors import NotEmptyError, NotFoundError
from calico.ipam.inventory import Pool, covering
from calico.ipam.view import View
from calico.model.ipam import AllocationAttribute, Block
from calico.model.keys import BLOCKS, HANDLES, BlockKey, HandleKey

_AT_ONCE = 60
"""Addresses of one transaction: each may bring a handle of its own."""


class Claim(NamedTuple):
    """An address to free. With `holder`, only while it is exactly that holder's."""

    address: str
    holder: AllocationAttribute | None = None


def release_ips(context: Context, addresses: Iterable[str]) -> tuple[str, ...]:
    """Free addresses, whoever holds them; those that were not allocated.

    Raise IndeterminateError where an answer is lost: to ask again could free what somebody got meanwhile.
    """
    return release_claims(context, [Claim(one) for one in dict.fromkeys(addresses)])


def release_claims(context: Context, claims: Iterable[Claim]) -> tuple[str, ...]:
    """Free addresses; those that were free, or another's, already."""
    claims = tuple(claims)
    pools = context.inventory.pools()
    view = View(context.store)
    by_block: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_block[_find_block(context, view, pools, blocks.parse_address(claim.address))].append(claim)
    left = {claim.address for claim in by_block.pop("", ())}
    for cidr, some in by_block.items():
        for start in range(0, len(some), _AT_ONCE):
            left.update(_release_from(context, view, cidr, some[start : start + _AT_ONCE]))
        release_if_unselected(context, view, pools, cidr)
    return tuple(claim.address for claim in claims if claim.address in left)


def _find_block(context: Context, view: View, pools: tuple[Pool, ...], address: Address) -> str:
    """The block that holds an address: of its pool's size, or whichever there is; empty when there is none."""
    for pool in pools:
        if address in pool.network:
            cidr = blocks.block_of(address, pool.block_size)
            if view.item(BlockKey(cidr).path):
                return cidr
    for item in listing(context.store, f"{BLOCKS}ipv{address.version}/block/").items:
        cidr = values.block_cidr(item)
        if cidr and address in ip_network(cidr):
            return cidr
    return ""


def _release_from(context: Context, view: View, cidr: str, claims: list[Claim]) -> list[str]:
    """Free what is claimed in one block; the addresses that were free, or another's."""
    wanted = {blocks.ordinal_of(cidr, ip_address(claim.address)): claim.holder for claim in claims}
    every_holder_given = None not in wanted.values()
    seen: dict[int, AllocationAttribute] | None = None
    gone: set[int] = set()
    for _ in context.attempts(f"block {cidr}"):
        block = affinity.read(view, cidr)
        if seen is None:
            seen = _seen(block, wanted)
        freed = [ordinal for ordinal, holder in seen.items() if block and _holder(block, ordinal) == holder]
        gone.update(freed)
        try:
            if block is None or not freed or commit_release(view, block, freed):
                break
        except IndeterminateError:
            if not every_holder_given or any(holder.handle_id is None for holder in seen.values()):
                raise
    return [claim.address for claim in claims if blocks.ordinal_of(cidr, ip_address(claim.address)) not in gone]


def _holder(block: Block, ordinal: int) -> AllocationAttribute | None:
    return blocks.attribute_at(block, ordinal)


def _seen(block: Block | None, wanted: dict[int, AllocationAttribute | None]) -> dict[int, AllocationAttribute]:
    """Who holds each wanted address now, where that is who should."""
    found = {}
    for ordinal, holder in wanted.items():
        now = _holder(block, ordinal) if block else None
        if now is not None and holder in (None, now):
            found[ordinal] = now
    return found


def commit_release(view: View, block: Block, ordinals: Iterable[int]) -> bool:
    """Write a block with these ordinals free, or delete it when nobody owns or uses it, and its handles."""
    ordinals = list(ordinals)
    counts = blocks.handle_counts(block, ordinals)
    view.load(*(HandleKey(handle).path for handle in counts))
    return view.commit({**_without(block, ordinals), **_handles_less(view, block.cidr, counts)})


def _without(block: Block, ordinals: list[int]) -> dict[str, bytes | None]:
    left = blocks.give_back(block, ordinals)
    gone = not blocks.owner(left) and blocks.is_empty(left)
    return {BlockKey(block.cidr).path: None if gone else values.write_block(left)}


def _handles_less(view: View, cidr: str, counts: Counter[str]) -> dict[str, bytes | None]:
    writes: dict[str, bytes | None] = {}
    for handle, count in counts.items():
        key = HandleKey(handle).path
        if item := view.item(key):
            left = blocks.with_handle_change(dict(values.read_handle(item).block), cidr, -count)
            writes[key] = values.write_handle(left) if left else None
    return writes


def release_if_unselected(context: Context, view: View, pools: tuple[Pool, ...], cidr: str) -> None:
    """Give up an empty block whose pool does not select its host any more."""
    block = affinity.read(view, cidr)
    pool = covering(pools, ip_network(cidr))
    host = context.inventory.host(blocks.owner(block)) if block and blocks.owner(block) and pool else None
    if pool and host and not pool.selects(host.labels):
        with suppress(NotEmptyError):
            affinity.release(context, host.name, cidr, require_empty=True)


def release_handle(context: Context, handle: str) -> tuple[str, ...]:
    """Free every address of a handle, and the handle; the addresses. Raise NotFoundError when there is none.

    Safe to repeat after any error: nobody else's addresses carry the handle.
    """
    view = View(context.store)
    key = HandleKey(handle).path
    item = view.item(key)
    if item is None:
        raise NotFoundError(f"resource does not exist: IPAMHandle({handle})")
    pools = context.inventory.pools()
    freed: list[str] = []
    for cidr in values.read_handle(item).block:
        freed += _release_handle_from(context, view, handle, cidr)
        release_if_unselected(context, view, pools, cidr)
    return tuple(freed)


def _release_handle_from(context: Context, view: View, handle: str, cidr: str) -> list[str]:
    """Free a handle's addresses in one block and strike the block from the handle, whatever its count there said."""
    key, block_key = HandleKey(handle).path, BlockKey(cidr).path
    freed: set[int] = set()
    for _ in context.attempts(f"handle {handle}"):
        view.load(key, block_key)
        block, item = affinity.read(view, cidr), view.item(key)
        ordinals = list(blocks.held_by(block, handle)) if block else []
        writes = _without(block, ordinals) if block and ordinals else {}
        if item is not None:
            left = {one: count for one, count in values.read_handle(item).block.items() if one != cidr}
            writes[key] = values.write_handle(left) if left else None
        freed.update(ordinals)
        try:
            if not writes or view.commit(writes, [view.guard(block_key)]):
                break
        except IndeterminateError:
            continue  # done or not, reading tells, and nobody else's addresses carry the handle
    return [blocks.address_at(cidr, ordinal) for ordinal in sorted(freed)]


def annotate(context: Context, address: Address, handle: str, notes: Mapping[str, str]) -> bool:
    """Add to what an address's allocation says of its holder; False when the address is not of that handle any more."""
    view = View(context.store)
    cidr = _find_block(context, view, context.inventory.pools(), address)
    for _ in context.attempts(f"address {address}"):
        block = affinity.read(view, cidr) if cidr else None
        ordinal = blocks.ordinal_of(cidr, address) if block else 0
        holder = _holder(block, ordinal) if block else None
        if block is None or holder is None or holder.handle_id != handle:
            return False
        wanted = holder._replace(secondary={**(holder.secondary or {}), **notes})
        changed = blocks.take(blocks.give_back(block, (ordinal,)), (ordinal,), wanted)
        if wanted == holder or view.commit({BlockKey(cidr).path: values.write_block(changed)}):
            return True
    raise AssertionError("attempts end in ContentionError")


def repair_handle(context: Context, key: str) -> bool:
    """Write into a handle what the blocks say; False when that is so already, or while the handle is being changed.

    All is read as of one revision, and each of our writers changes the handle together with the block.
    """
    found = listing(context.store, BLOCKS)
    view = View(context.store)
    view.learn(context.store.get(key, found.revision).items)
    view.guess_absent(key)
    item, handle = view.item(key), key.removeprefix(HANDLES)
    real: dict[str, int] = {}
    for one in found.items:
        block = values.read_block(one)
        if count := blocks.handle_counts(block)[handle]:
            real[block.cidr] = count
    if (dict(values.read_handle(item).block) if item else {}) == real and (item is None) == (not real):
        return False
    return view.commit({key: values.write_handle(real) if real else None})
