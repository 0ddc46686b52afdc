"""Affinities: hosts' claims on blocks, taken up, made consistent and given up.

A claim and its block change in one transaction, so that our own writers leave no claim half done. Others' may: a
claim counts only when it is confirmed **and** its block names the host, and whatever contradicts that is put right by
the host itself when it next allocates, or here.
"""

from ipaddress import ip_network

from calico.datastore import log
from calico.datastore.errors import IndeterminateError
from calico.datastore.store import KeyValue, listing
from calico.ipam import block as blocks
from calico.ipam import values
from calico.ipam.block import Network
from calico.ipam.context import Context
from calico.ipam.errors import NotEmptyError, UnreadableError
from calico.ipam.inventory import is_inside
from calico.ipam.view import View
from calico.model.ipam import Block
from calico.model.keys import BLOCKS, HOSTS, AffinityKey, BlockKey

_PASSES = 3


def of_host(context: Context, host: str, family: int) -> tuple[KeyValue, ...]:
    """The claims of a host, in the order of their keys."""
    return listing(context.store, f"{HOSTS}{host}/ipv{family}/block/").items


def read(view: View, cidr: str) -> Block | None:
    """A block as the view knows it; None where there is none."""
    item = view.item(BlockKey(cidr).path)
    return None if item is None else values.read_block(item)


def release(context: Context, host: str, cidr: str, require_empty: bool = False) -> bool:
    """Give up a host's claim on a block; the addresses in it stay. Whether there was anything to give up.

    An empty block goes too. Raise NotEmptyError for one in use when it must be empty. A claim on somebody else's block,
    or on none, is only a key to delete. Safe to repeat, and to be interrupted.
    """
    view, key = View(context.store), AffinityKey(host, cidr).path
    for _ in context.attempts(f"block {cidr}"):
        view.load(key, BlockKey(cidr).path)
        block = read(view, cidr)
        writes: dict[str, bytes | None] = {key: None} if view.item(key) else {}
        if block is not None and blocks.owner(block) == host:
            writes[BlockKey(cidr).path] = _without_owner(block, require_empty)
        if not writes:
            return False
        try:
            if view.commit(writes, [view.guard(BlockKey(cidr).path)]):
                return True
        except IndeterminateError:
            continue  # it was done or not: reading tells, and doing it twice is harmless
    raise AssertionError("attempts end in ContentionError")


def _without_owner(block: Block, require_empty: bool) -> bytes | None:
    if blocks.is_empty(block):
        return None
    if require_empty:
        raise NotEmptyError(f"block {block.cidr} is not empty")
    return values.write_block(block._replace(affinity=None))


def release_host(context: Context, host: str) -> tuple[str, ...]:
    """Give up every claim of a host, and every block that names it; the blocks. Their addresses stay allocated."""
    return _release_all(context, f"{HOSTS}{host}/", host, None)


def release_inside(context: Context, network: Network) -> tuple[str, ...]:
    """Give up every claim on blocks in a network, whoever's, and delete its blocks that are empty; the blocks."""
    return _release_all(context, HOSTS, "", network)


def _release_all(context: Context, prefix: str, host: str, network: Network | None) -> tuple[str, ...]:
    """Release what claims under `prefix` and blocks name, until a look around finds nothing more to do."""
    done: dict[str, None] = {}
    for _ in range(_PASSES):
        claims = _claims(context, prefix, host, network)
        found = [cidr for owner, cidr in claims if _release_readable(context, owner, cidr)]
        found += _delete_empty(context, network) if network else []
        done.update(dict.fromkeys(found))
        if not found:
            break
    return tuple(done)


def _release_readable(context: Context, host: str, cidr: str) -> bool:
    """As `release`; a broken block, which `check` names, must not keep the others."""
    try:
        return release(context, host, cidr)
    except UnreadableError as error:
        log.warning("left alone: %s", error)
        return False


def _claims(context: Context, prefix: str, host: str, network: Network | None) -> list[tuple[str, str]]:
    """Host and block of every claim under `prefix` and of every block with an owner; of one host, in one network."""
    keys = [key for item in listing(context.store, prefix).items if (key := values.affinity_key(item))]
    found = dict.fromkeys((key.host, key.cidr) for key in keys)
    for cidr, block in _blocks(context, network):
        if (owner := blocks.owner(block)) and host in ("", owner):
            found[owner, cidr] = None
    return [(owner, cidr) for owner, cidr in found if network is None or is_inside(ip_network(cidr), network)]


def _delete_empty(context: Context, network: Network) -> list[str]:
    """Delete blocks of a network that have neither owner nor addresses."""
    view, deleted = View(context.store), []
    for cidr, block in _blocks(context, network):
        key = BlockKey(cidr).path
        if is_inside(ip_network(cidr), network) and not blocks.owner(block) and blocks.is_empty(block):
            now = read(view, cidr)
            if now is not None and not blocks.owner(now) and blocks.is_empty(now) and view.commit({key: None}):
                deleted.append(cidr)
    return deleted


def _blocks(context: Context, network: Network | None) -> list[tuple[str, Block]]:
    """The blocks that can be read, of a network's family or of both."""
    found = []
    for item in listing(context.store, f"{BLOCKS}ipv{network.version}/" if network else BLOCKS).items:
        try:
            found.append((values.block_cidr(item), values.read_block(item)))
        except UnreadableError:
            continue  # `check` names it
    return found
