"""Names of chains and sets: upstream's prefixes, and hashes where a name would not fit or would not be stable."""

import hashlib
from typing import Literal

Direction = Literal["in", "out"]
"""The rules' own: `in` are ingress rules, `out` egress rules."""

Place = Literal["workload", "host"]

ENDPOINTS, SOURCES, DROPS = "endpoints", "sources", "drops"
FROM_GROUPS, TO_GROUPS = "from-groups", "to-groups"
FLOATING, HAIRPIN = "floating", "hairpin"
ALL_POOLS, MASQUERADE_POOLS = "all-ipam-pools", "masq-ipam-pools"
ALL_HOSTS, ALL_VTEPS = "all-hosts-net", "all-vxlan-net"
GUARD_TABLE = "calico-guard"

FROM_WORKLOAD, TO_WORKLOAD, WORKLOAD_SOURCE, WORKLOAD_TO_HOST = (
    "from-workload",
    "to-workload",
    "workload-source",
    "workload-to-host",
)
FROM_ADDRESSLESS, TO_ADDRESSLESS = "from-addressless", "to-addressless"
DOWN_GROUP, ADDRESSLESS_GROUP = 1, 2

_LONGEST = 100


def ip_set(identity: str, *, interval: bool) -> str:
    """The set that holds an IP set of the calculation: upstream's id, with a `-` where nft allows no colon.

    When it becomes an interval set it is another set, with `.n` behind its name, so that both can be there at once.
    """
    return identity.replace(":", "-", 1) + (".n" if interval else "")


def content_set(*content: object) -> str:
    """The set of what one rule lists, named after what is in it."""
    return f"c-{digest(*content)}"


def policy_chain(name: str, direction: Direction, place: Place) -> str:
    """The chain of one direction of a policy."""
    return _bounded(f"{'h' if place == 'host' else ''}p{direction[0]}-", name)


def profile_chain(name: str, direction: Direction, place: Place) -> str:
    """The chain of one direction of a profile."""
    return _bounded(f"{'h' if place == 'host' else ''}pr{direction[0]}-", name)


def digest(*words: object) -> str:
    """Short, stable and unlikely to be anybody else's: 56 bits of what the words say."""
    return hashlib.blake2b(repr(words).encode(), digest_size=7).hexdigest()


def digest_number(*words: object) -> int:
    """32 bits of what the words say."""
    return int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=4).digest(), "big")


def _bounded(prefix: str, name: str) -> str:
    safe = all((letter.isalnum() and letter.isascii()) or letter in "._-/" for letter in name)
    if safe and len(name) <= _LONGEST:
        return prefix + name
    return f"{prefix}_{digest(name)}"
