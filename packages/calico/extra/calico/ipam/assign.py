"""Giving out addresses: from the host's own blocks, from new ones, and as a last resort from anybody's.

Each step is one transaction over everything it concerns (block, handle, claim) that also relies on the pool and the
node standing as they were read. Where its answer is lost the addresses are not used: IndeterminateError passes through,
and releasing the handle frees whatever was taken.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from ipaddress import ip_network
from typing import NamedTuple, TypeVar

from calico.datastore import log
from calico.datastore.errors import DatastoreError
from calico.datastore.store import Guard, listing
from calico.ipam import affinity, values
from calico.ipam import block as blocks
from calico.ipam.block import Address
from calico.ipam.context import Context
from calico.ipam.errors import (
    AffinityError,
    AlreadyAllocatedError,
    IpamError,
    NotEmptyError,
    NotFoundError,
    UnreadableError,
)
from calico.ipam.inventory import Host, Pool, choose, covering, holding
from calico.ipam.release import Claim, release_claims
from calico.ipam.space import Space, in_walking_order, start_of
from calico.ipam.values import CONFIRMED
from calico.ipam.view import View
from calico.model.formats import parse_cidr
from calico.model.ipam import AllocationAttribute, Block, IPAMConfig
from calico.model.keys import BLOCKS, IPAM_CONFIG, AffinityKey, BlockKey, HandleKey

T = TypeVar("T")


class Request(NamedTuple):
    """How many addresses of each family, for which host and on whose behalf.

    `ipv4_pools` and `ipv6_pools` are CIDRs of pools; empty leaves the choice to the pools' node selectors.
    `max_blocks_per_host` 0 is no limit.
    """

    host: str
    ipv4: int = 0
    ipv6: int = 0
    handle: str | None = None
    attributes: Mapping[str, str] | None = None
    ipv4_pools: tuple[str, ...] = ()
    ipv6_pools: tuple[str, ...] = ()
    max_blocks_per_host: int = 0


class Assigned(NamedTuple):
    """An address, and the block it is of."""

    address: str
    block: str

    @property
    def network(self) -> str:
        """The address with its block's prefix length, as upstream answers."""
        return f"{self.address}/{self.block.partition('/')[2]}"


class Assignment(NamedTuple):
    """What was given out. It may be less than asked for, and `shortages` then says why, a line for each family."""

    ipv4: tuple[Assigned, ...] = ()
    ipv6: tuple[Assigned, ...] = ()
    shortages: tuple[str, ...] = ()


class _ChangedError(Exception):
    """A pool, the node or the configuration is not as it was when the decision was made: decide again."""


def auto_assign(context: Context, request: Request) -> Assignment:
    """Give out addresses. All that was taken is given back when an error ends it; see Assignment for too few."""
    found: dict[int, list[Assigned]] = {4: [], 6: []}
    shortages = []
    wanted = {4: (request.ipv4, request.ipv4_pools), 6: (request.ipv6, request.ipv6_pools)}
    for family, (_, requested) in wanted.items():
        _check_family(family, requested)
    try:
        for family, (count, requested) in wanted.items():
            if count > 0 and (text := _assign(context, request, family, count, requested, found[family])):
                shortages.append(f"IPv{family}: {len(found[family])} of {count} addresses: {text}")
    except (DatastoreError, IpamError):
        _give_back(context, request, [*found[4], *found[6]])
        raise
    return Assignment(tuple(found[4]), tuple(found[6]), tuple(shortages))


def _check_family(family: int, requested: tuple[str, ...]) -> None:
    other = 10 - family
    if any(parsed[1].version == other for parsed in map(parse_cidr, requested) if parsed):
        raise IpamError(f"provided IPv{family} IPPools list contains one or more IPv{other} IPPools")


def _assign(
    context: Context, request: Request, family: int, count: int, requested: tuple[str, ...], found: list[Assigned]
) -> str:
    """Fill `found` up to `count`; why it is not full, or nothing. Begins anew when pools or node change under it."""
    for _ in context.attempts(f"node {request.host}: pools keep changing"):
        host, pools, chosen = _decide(context, request.host, partial(choose, family=family, requested=requested))
        search = _Search(context, request, host, pools, chosen)
        try:
            return search.fill(found, count)
        except _ChangedError:
            context.inventory.refresh()
    raise AssertionError("attempts end in ContentionError")


def _decide(
    context: Context, name: str, decide: Callable[[tuple[Pool, ...], Host], T]
) -> tuple[Host, tuple[Pool, ...], T]:
    """The host, the pools, and what `decide` makes of them: a refusal by what there is now, not by what was."""

    def decided() -> tuple[Host, tuple[Pool, ...], T]:
        host = context.inventory.host(name)
        if host is None:
            raise NotFoundError(f"resource does not exist: Node({name}); start dcos-calico-node on it first")
        pools = context.inventory.pools()
        return host, pools, decide(pools, host)

    try:
        return decided()
    except NotFoundError:
        context.inventory.refresh()
        return decided()


def _give_back(context: Context, request: Request, taken: list[Assigned]) -> None:
    if taken:
        attribute = _attribute(request.handle, request.attributes)
        with suppress(DatastoreError, IpamError):  # `check` names what stays behind
            release_claims(context, [Claim(one.address, attribute) for one in taken])


def _attribute(handle: str | None, attributes: Mapping[str, str] | None) -> AllocationAttribute:
    return AllocationAttribute(handle or None, dict(attributes) if attributes else None)


class _Taker:
    """Writes allocations of one handle."""

    def __init__(self, context: Context, host: Host, attribute: AllocationAttribute) -> None:
        self.context, self.host, self.attribute = context, host, attribute
        self.view = View(context.store)
        self.relied_on = [host.guard]

    def config(self) -> IPAMConfig:
        """IPAM's configuration, on which all that is written from now on relies."""
        self.relied_on.append(self.view.guard(IPAM_CONFIG))
        return values.read_config(self.view.item(IPAM_CONFIG))

    def allocate(
        self, pool: Pool, block: Block, ordinals: tuple[int, ...], claims: Mapping[str, bytes | None] | None = None
    ) -> bool:
        """Write a block with these free ordinals taken, its handle, and `claims`, together; False when it was changed.

        Raise _ChangedError when the pool, the node or the configuration were.
        """
        writes: dict[str, bytes | None] = dict(claims or {})
        writes[BlockKey(block.cidr).path] = values.write_block(blocks.take(block, ordinals, self.attribute))
        if self.attribute.handle_id is not None and ordinals:
            key = HandleKey(self.attribute.handle_id).path
            self.view.guess_absent(key)  # most are new, and the commit finds out
            item = self.view.item(key)
            counts = dict(values.read_handle(item).block) if item else {}
            writes[key] = values.write_handle(blocks.with_handle_change(counts, block.cidr, len(ordinals)))
        return self.commit(pool, writes)

    def commit(self, pool: Pool, writes: Mapping[str, bytes | None], also: tuple[Guard, ...] = ()) -> bool:
        """Commit while the pool and whatever else was relied on stand as they were read; see allocate."""
        relied_on = (pool.guard, *self.relied_on)
        if self.view.commit(writes, (*relied_on, *also)):
            return True
        changed = not all(self.view.holds(guard) for guard in relied_on)
        self.view.forget(*(guard.key for guard in relied_on))
        if changed:
            raise _ChangedError
        return False


class _Search(_Taker):
    """One family's addresses for one request, from the chosen pools."""

    def __init__(
        self, context: Context, request: Request, host: Host, pools: tuple[Pool, ...], chosen: tuple[Pool, ...]
    ) -> None:
        super().__init__(context, host, _attribute(request.handle, request.attributes))
        self.pools, self.chosen, self.limit = pools, chosen, request.max_blocks_per_host
        self.family = chosen[0].network.version
        self.owned = 0
        self.found: list[Assigned] = []
        self.count = 0

    @property
    def missing(self) -> int:
        """How many addresses are still to be found."""
        return self.count - len(self.found)

    def fill(self, found: list[Assigned], count: int) -> str:
        """Add to `found` until it holds `count`; why it does not, or nothing."""
        self.found, self.count = found, count
        self._from_own_blocks()
        if not self.missing:
            return ""
        config = self.config()
        existing = listing(self.context.store, f"{BLOCKS}ipv{self.family}/block/").items
        self.view.learn(existing)
        cidrs = [cidr for item in existing if (cidr := values.block_cidr(item))]
        if config.auto_allocate_blocks and self._from_new_blocks(cidrs):
            return "cannot allocate new block due to per host block limit"
        if self.missing and not config.strict_affinity:
            self._from_any_block(cidrs)
        return self._shortage(config.auto_allocate_blocks, config.strict_affinity) if self.missing else ""

    def _shortage(self, auto: bool, strict: bool) -> str:
        pools = ", ".join(pool.title for pool in self.chosen)
        what = f"no block of {pools} is free"
        if not auto:
            what = "the node's blocks are full, and AutoAllocateBlocks is off"
        elif strict:
            what += ", and StrictAffinity keeps the node from other nodes' blocks"
        else:
            what = f"every address of {pools} is in use"
        return f"{what}; see what `calicoctl ipam check` finds unused, or add an IPPool"

    # -- the host's own blocks -------------------------------------------------------------------------------------

    def _from_own_blocks(self) -> None:
        claims = affinity.of_host(self.context, self.host.name, self.family)
        self.view.learn(claims)
        own = []
        for cidr in (key.cidr for item in claims if (key := values.affinity_key(item))):
            pool = covering(self.chosen, ip_network(cidr))
            if pool:
                own.append((pool, cidr))
            else:
                self._release_unselected(cidr)
        self.view.load(*(BlockKey(cidr).path for _, cidr in own))
        for pool, cidr in own:
            # what cannot be used must not stand in the way of what can
            with suppress(UnreadableError):
                usable = self._adopt(pool, cidr)
                self.owned += usable
                if usable and self.missing:
                    self._take(pool, cidr, own=True)

    def _release_unselected(self, cidr: str) -> None:
        """Give up an empty block of a pool that does not select the node any more."""
        pool = covering(self.pools, ip_network(cidr))
        if pool and not pool.disabled and not pool.selects(self.host.labels):
            with suppress(NotEmptyError, UnreadableError):
                affinity.release(self.context, self.host.name, cidr, require_empty=True)

    def _adopt(self, pool: Pool, cidr: str) -> bool:
        """Make a claim and its block agree, whatever an interrupted writer left; whether the block is the host's."""
        claim_key, block_key = AffinityKey(self.host.name, cidr).path, BlockKey(cidr).path
        for _ in self.context.attempts(f"block {cidr}"):
            claim = self.view.item(claim_key)
            if claim is None:
                return False
            block = affinity.read(self.view, cidr)
            ours = block is not None and blocks.owner(block) == self.host.name
            if ours and values.read_affinity(claim).state == CONFIRMED:
                return True
            writes: dict[str, bytes | None] = {claim_key: values.write_affinity(CONFIRMED)}
            if ours and block is not None:
                writes[block_key] = values.write_block(block)  # a new revision: a release under way must fail
            elif block is None and int(cidr.partition("/")[2]) == pool.block_size:
                writes[block_key] = values.write_block(blocks.fresh(cidr, self.host.name))
            else:
                writes = {claim_key: None}
            if self.commit(pool, writes, (self.view.guard(block_key),)):
                return block_key in writes
        raise AssertionError("attempts end in ContentionError")

    def _take(self, pool: Pool, cidr: str, own: bool) -> None:
        """Take what is missing out of an existing block, as far as it goes; `own`: only while it is the host's."""
        for _ in self.context.attempts(f"block {cidr}"):
            block = affinity.read(self.view, cidr)
            if block is None or (own and blocks.owner(block) != self.host.name):
                return
            ordinals = blocks.first_free(block, self.missing)
            if not ordinals:
                return
            if self.allocate(pool, block, ordinals):
                self._note(cidr, ordinals)
                return

    def _note(self, cidr: str, ordinals: tuple[int, ...]) -> None:
        self.found += [Assigned(blocks.address_at(cidr, ordinal), cidr) for ordinal in ordinals]

    # -- new blocks ------------------------------------------------------------------------------------------------

    def _from_new_blocks(self, existing: list[str]) -> bool:
        """Claim blocks that nobody has, each with the addresses taken from it; whether the limit ended it."""
        space = Space(existing)
        while self.missing:
            if self.limit and self.owned >= self.limit:
                return True
            if not self._claim_one(space):
                return False
            self.owned += 1
        return False

    def _claim_one(self, space: Space) -> bool:
        """Claim one more block and take what is missing from it; False when no block is free."""
        overtaken = False
        for _ in self.context.attempts("claiming a block"):
            found = self._next_free(space, at_random=overtaken)
            if found is None:
                return False
            pool, cidr = found
            claim_key, block_key = AffinityKey(self.host.name, cidr).path, BlockKey(cidr).path
            block = blocks.fresh(cidr, self.host.name)
            ordinals = blocks.first_free(block, self.missing)
            self.view.guess_absent(claim_key)
            self.view.guess_absent(block_key)
            if self.allocate(pool, block, ordinals, {claim_key: values.write_affinity(CONFIRMED)}):
                space.take(cidr)
                self._note(cidr, ordinals)
                return True
            if self.view.item(block_key) is not None:
                space.take(cidr)
                overtaken = True
        raise AssertionError("attempts end in ContentionError")

    def _next_free(self, space: Space, at_random: bool) -> tuple[Pool, str] | None:
        for pool in self.chosen:
            start = start_of(pool, self.host.name, self.context.chance)
            if at_random:
                start = self.context.chance.getrandbits(127)
            if cidr := space.first_free(pool, start):
                return pool, cidr
        return None

    # -- others' blocks --------------------------------------------------------------------------------------------

    def _from_any_block(self, existing: list[str]) -> None:
        for pool in self.chosen:
            inside = [cidr for cidr in existing if covering((pool,), ip_network(cidr))]
            for cidr in in_walking_order(inside, pool, start_of(pool, self.host.name, self.context.chance)):
                if not self.missing:
                    return
                try:
                    self._take(pool, cidr, own=False)
                except UnreadableError as error:
                    log.warning("left out: %s", error)


def assign_ip(
    context: Context,
    address: Address,
    host: str,
    handle: str | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Assigned:
    """Give out one address that the caller chose, claiming its block for `host` when nobody has it.

    Raise AlreadyAllocatedError, AffinityError (strict affinity; overlapping blocks) or NotFoundError (no such pool or
    node).
    """
    for _ in context.attempts(f"address {address}"):
        node, _, pool = _decide(context, host, lambda pools, _: _pool_of(pools, address))
        try:
            return _OneAddress(context, node, _attribute(handle, attributes)).assign(pool, address)
        except _ChangedError:
            context.inventory.refresh()
    raise AssertionError("attempts end in ContentionError")


def _pool_of(pools: tuple[Pool, ...], address: Address) -> Pool:
    pool = holding((one for one in pools if not one.disabled), address)
    if pool is None:
        raise NotFoundError(f"The provided IP address is not in a configured pool: {address}")
    return pool


class _OneAddress(_Taker):
    """One chosen address."""

    def assign(self, pool: Pool, address: Address) -> Assigned:
        """Take it; see assign_ip."""
        cidr = blocks.block_of(address, pool.block_size)
        ordinal = blocks.ordinal_of(cidr, address)
        strict = self.config().strict_affinity
        for _ in self.context.attempts(f"address {address}"):
            block = affinity.read(self.view, cidr)
            claims: dict[str, bytes | None] = {}
            if block is None:
                self._check_overlap(cidr)
                block = blocks.fresh(cidr, self.host.name)
                claims[AffinityKey(self.host.name, cidr).path] = values.write_affinity(CONFIRMED)
            if block.allocations[ordinal] is not None:
                raise AlreadyAllocatedError(f"resource already exists: {address}")
            if strict and blocks.owner(block) != self.host.name:
                raise AffinityError(_strict_refusal(block))
            if self.allocate(pool, block, (ordinal,), claims):
                return Assigned(str(address), cidr)
        raise AssertionError("attempts end in ContentionError")

    def _check_overlap(self, cidr: str) -> None:
        network = ip_network(cidr)
        for item in listing(self.context.store, f"{BLOCKS}ipv{network.version}/block/").items:
            other = values.block_cidr(item)
            if other and other != cidr and ip_network(other).overlaps(network):
                hint = "an earlier pool left it; release its addresses first"
                raise AffinityError(f"block {cidr} overlaps the existing block {other}: {hint}")


def _strict_refusal(block: Block) -> str:
    if blocks.owner(block):
        return f"Block host affinity does not match: {block.cidr} is {blocks.owner(block)}'s, and StrictAffinity is on"
    return f"Attempt to assign from block {block.cidr} with no affinity"
