"""`calico-guard`: nothing from or to a workload's interface before felix knows it.

After a boot, container runtimes may start workloads before felix has read the datastore. Until then a table of its
own, `calico-guard` in both families, drops whatever comes in by or leaves by an interface with our prefix. felix takes
it away in the transaction that brings its own tables. Where those are already there, the guard has nothing to do: they
drop unknown interfaces themselves.
"""

import errno
import os
import sys
from collections.abc import Mapping, Sequence

from calico.felix.dataplane.nft.family import V4, V6, Family
from calico.felix.dataplane.nft.names import GUARD_TABLE
from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.dataplane.nft.words import interface, joined
from calico.netlink.nftables.expressions import DROP, verdict
from calico.netlink.nftables.objects import FORWARD, OUTPUT, PREROUTING, Base, Chain, Operation, Rule, Table
from calico.netlink.nftables.transactions import Nfnetlink
from calico.netlink.socket import NETLINK_NETFILTER, Netlink

_HOOKS = (("from-workload", PREROUTING, -300, False), ("to-workload", FORWARD, 0, True), ("to-local", OUTPUT, 0, True))


def guard_chains(prefixes: Sequence[str]) -> dict[str, Chain]:
    """What the guard's table holds, in either family."""
    chains = {}
    for name, hook, priority, out in _HOOKS:
        rules = tuple(Rule(joined(interface(f"{prefix}+", out=out), (verdict(DROP),))) for prefix in prefixes)
        chains[name] = Chain(rules, Base("filter", hook, priority))
    return chains


def set_guard(netlink: Netlink, prefixes: Sequence[str], table: str = NftSettings().table) -> bool:
    """Put the guard in place where neither it nor felix' own table is; whether it was. Raises OSError.

    The transaction is bound to the ruleset that was looked at: felix may have come in between, and then has its table.
    """
    nft = Nfnetlink(netlink)
    for _ in range(_ATTEMPTS):
        generation = nft.generation()
        present = set(nft.tables())
        missing = [
            family for family in (V4, V6) if not present & {(family.number, table), (family.number, GUARD_TABLE)}
        ]
        try:
            nft.commit([one for family in missing for one in guard_operations(family, prefixes)], generation)
        except OSError as error:
            if error.errno != errno.ERESTART:
                raise
            continue
        return bool(missing)
    raise OSError(errno.ERESTART, f"{GUARD_TABLE}: other programs keep changing the ruleset")


_ATTEMPTS = 50


def guard_operations(family: Family, prefixes: Sequence[str]) -> list[Operation]:
    """What puts the guard in place in a family."""
    table = Table(family.number, GUARD_TABLE)
    operations = [table.create()]
    for name, chain in guard_chains(prefixes).items():
        operations += [table.add_chain(name, chain.base), *table.add_rules(name, chain.rules)]
    return operations


def prefixes_from(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The prefixes of workloads' interfaces: felix' InterfacePrefix, as its environment may have it."""
    for name, value in environment.items():
        if name.lower() == "felix_interfaceprefix" and value.strip():
            return tuple(filter(None, (one.strip() for one in value.split(","))))
    return NftSettings().interface_prefixes


def main() -> int:
    """Set the guard. Exit 0: it stands, or felix' table does; 3: the kernel refused."""
    try:
        with Netlink(NETLINK_NETFILTER) as netlink:
            was_set = set_guard(netlink, prefixes_from(os.environ))
    except OSError as error:
        print(f"calico-guard: cannot drop unknown workloads' traffic: {error}", file=sys.stderr)
        return 3
    what = "unknown workload interfaces are dropped until felix runs" if was_set else "a table of ours is already there"
    print(f"calico-guard: {what}", file=sys.stderr)
    return 0
