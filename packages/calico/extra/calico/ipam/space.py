"""Which blocks of a pool nobody has: the walk that finds a host its next one. No I/O.

A host begins at a place drawn from its name, so that a hundred nodes that start together begin at a hundred places and
each comes back to its own. After losing a block to another host it goes on at random. Blocks of another size, left by
an earlier pool, count as taken wherever they overlap.
"""

import random
from bisect import bisect_right, insort
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from calico.ipam.block import Network
from calico.ipam.inventory import Pool


def _fnv1(text: str) -> int:
    """FNV-1, 32 bits: what v3.14 seeds a host's walk with."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = value * 0x01000193 & 0xFFFFFFFF ^ byte
    return value


def block_count(pool: Pool) -> int:
    """How many blocks a pool is cut into."""
    return 1 << max(0, pool.block_size - pool.network.prefixlen)


def start_of(pool: Pool, host: str, chance: random.Random) -> int:
    """The block a host looks at first. Where a block is a single address hosts have no place of their own."""
    single = pool.block_size == pool.network.max_prefixlen
    return (chance if single else random.Random(_fnv1(host))).randrange(block_count(pool))


class Space:
    """The addresses of one family that blocks take up."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        spans = sorted((_span(ip_network(cidr)) for cidr in cidrs), key=lambda span: (span[0], -span[1]))
        self._spans: list[tuple[int, int]] = []
        for span in spans:
            if not self._spans or span[1] > self._spans[-1][1]:  # two blocks are apart, or one is within the other
                self._spans.append(span)

    def take(self, cidr: str) -> None:
        """A free block was taken, by us or by somebody else."""
        insort(self._spans, _span(ip_network(cidr)))

    def is_free(self, first: int, last: int) -> bool:
        """Whether no block touches these addresses."""
        at = bisect_right(self._spans, (last, 1 << 128))
        return at == 0 or self._spans[at - 1][1] < first

    def first_free(self, pool: Pool, start: int) -> str:
        """The first free block of a pool from `start` on, round its end; empty when there is none."""
        base, count = int(pool.network.network_address), block_count(pool)
        size = 1 << (pool.network.max_prefixlen - pool.block_size)
        make = type(pool.network.network_address)
        for step in range(count):
            first = base + (start + step) % count * size
            if self.is_free(first, first + size - 1):
                return f"{make(first)}/{pool.block_size}"
        return ""


def in_walking_order(cidrs: Iterable[str], pool: Pool, start: int) -> list[str]:
    """Existing blocks of a pool in the order in which a walk from `start` meets them."""
    base = int(pool.network.network_address)
    begin = start << (pool.network.max_prefixlen - pool.block_size)
    return sorted(cidrs, key=lambda cidr: (_first(cidr) - base - begin) % pool.network.num_addresses)


def _first(cidr: str) -> int:
    return int(ip_address(cidr.partition("/")[0]))


def _span(network: Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)
