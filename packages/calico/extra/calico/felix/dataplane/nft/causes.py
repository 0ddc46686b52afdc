"""Why a packet is dropped, where it is counted, and the chains that do both."""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Literal, NamedTuple

from calico.felix.dataplane.nft.names import DROPS, Place
from calico.felix.dataplane.nft.words import joined
from calico.netlink.nftables.expressions import (
    DROP,
    META_IIFNAME,
    META_OIFNAME,
    count_in,
    immediate,
    meta,
    slot,
    verdict,
)
from calico.netlink.nftables.objects import INTERFACE, MARK, Chain, Rule, Set

Side = Literal["in", "out"]
"""By which interface the packet is counted: the one it came in by, or the one it leaves by."""

DROPS_SET = Set((INTERFACE, MARK), dynamic=True, size=65535)
_OUT, _HOST = 0x100, 0x200


class Cause(IntEnum):
    """The cause of a drop; the numbers are in the kernel's keys."""

    POLICY = 1
    PROFILE = 2
    SPOOFED = 3
    UNKNOWN_INTERFACE = 4
    ADMIN_DOWN = 5
    INVALID = 6
    ENCAPSULATED = 7
    TO_HOST = 8
    TUNNEL = 9
    NO_ADDRESS = 10

    @property
    def label(self) -> str:
        """For metrics and people."""
        return self.name.lower().replace("_", "-")


class Drop(NamedTuple):
    """A way to drop: the cause, by which interface it is counted, and whether that is a workload's or a host's."""

    cause: Cause
    side: Side
    place: Place = "workload"

    @property
    def chain(self) -> str:
        """The chain that counts and drops."""
        return f"{'h' if self.place == 'host' else ''}drop-{self.side}-{self.cause.label}"

    @property
    def direction(self) -> str:
        """Of the traffic, as the endpoint sees it: `ingress` or `egress`."""
        return "ingress" if (self.side == "out") == (self.place == "workload") else "egress"

    @property
    def code(self) -> int:
        """The second field of the counter's key."""
        return self.cause | (_OUT if self.side == "out" else 0) | (_HOST if self.place == "host" else 0)


def drop_of(code: int) -> Drop:
    """The inverse of `Drop.code`. Raises ValueError where the number is none of ours."""
    return Drop(Cause(code & 0xFF), "out" if code & _OUT else "in", "host" if code & _HOST else "workload")


_EITHER_SIDE = (Cause.POLICY, Cause.PROFILE, Cause.INVALID)
_WORKLOAD_OUT = (*_EITHER_SIDE, Cause.UNKNOWN_INTERFACE, Cause.ADMIN_DOWN, Cause.NO_ADDRESS)
_WORKLOAD_IN = (*_WORKLOAD_OUT, Cause.SPOOFED, Cause.ENCAPSULATED, Cause.TO_HOST)

DROP_CHAINS = (
    *(Drop(cause, "in") for cause in _WORKLOAD_IN),
    *(Drop(cause, "out") for cause in _WORKLOAD_OUT),
    *(Drop(cause, side, "host") for cause in _EITHER_SIDE for side in ("in", "out")),
    Drop(Cause.TUNNEL, "in", "host"),
)


def drop_chains() -> Iterator[tuple[str, Chain]]:
    """The chains of all ways to drop.

    Dropping is a rule of its own: one that counts ends where the counter's set is full.
    """
    for drop in DROP_CHAINS:
        key = (
            meta(META_OIFNAME if drop.side == "out" else META_IIFNAME),
            immediate(struct.pack("=I", drop.code), slot(4)),
            count_in(DROPS),
        )
        yield drop.chain, Chain((Rule(key), Rule(joined((verdict(DROP),)))))
