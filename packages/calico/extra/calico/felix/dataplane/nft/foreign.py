"""Other people's tables: who drops what our policy allows, and the accepts that we put where they are ours to put.

An accept in our table ends our base chain only; a packet then meets those of other tables, and a drop in any of them is
final. Docker sets the policy of iptables' FORWARD chain to drop.
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from calico.felix.dataplane.nft.family import V4, V6
from calico.felix.dataplane.nft.names import GUARD_TABLE
from calico.felix.dataplane.nft.settings import IPIP_DEVICE, VXLAN_DEVICE, NftSettings
from calico.felix.dataplane.nft.words import accept, interface, joined
from calico.netlink.message import attribute_map, attributes, string
from calico.netlink.nftables.expressions import DROP, counter
from calico.netlink.nftables.objects import FORWARD, INET, INPUT, Operation, Rule, Table
from calico.netlink.nftables.transactions import DumpedChain, DumpedRule, Nfnetlink

_MARK = "dcos-calico: allowed by policy"
_IPTABLES = "filter"
_DOCKER_USER, _FORWARD_CHAIN = "DOCKER-USER", "FORWARD"
_LEGACY = {4: "ip_tables_names", 6: "ip6_tables_names"}
_HOOKS = {FORWARD: "forward", INPUT: "input"}
_FAMILIES = {V4.number: "ip", V6.number: "ip6", INET: "inet"}
_PASSIVE = frozenset({"counter", "log"})
_ATTEMPTS = 3


class Obstacle(NamedTuple):
    """A base chain of somebody else's that ends in a drop: where, and how. `ours_to_fix`: we put accepts before it."""

    family: int
    table: str
    chain: str
    hook: int
    how: str
    ours_to_fix: bool

    def __str__(self) -> str:
        where = f"table {_FAMILIES.get(self.family, self.family)} {self.table} chain {self.chain}"
        text = f"{where} (hook {_HOOKS[self.hook]}) {self.how} what no rule of it accepts"
        if self.ours_to_fix:
            return f"{text}; accepts for workloads are in place"
        return f"{text}; allow workload traffic there, our accept does not override it"


class Neighbours:
    """The other tables of the namespace.

    `check` puts our accepts into iptables' own FORWARD (DOCKER-USER, where there is one) while that ends in a drop,
    once, and finds them again by their comment. It asks one question while nobody wrote to any table. What it cannot
    mend it reports, and leaves alone. Raises OSError.

    The accepts are for what comes in by a workload's interface or leaves by one, and for what leaves by a tunnel. Of
    that, our own table has dropped what policy does not allow. What a tunnel brings for others than workloads (Docker's
    bridges) stays theirs to decide.
    """

    def __init__(self, nft: Nfnetlink, settings: NftSettings, proc: Path = Path("/proc/self/net")) -> None:
        self._nft = nft
        self._settings = settings
        self._proc = proc
        self._generation = -1
        self._obstacles: list[Obstacle] = []

    def check(self) -> list[str]:
        """Look, and mend what is ours to mend; a line for each table that drops all the same."""
        if self._nft.generation() != self._generation:
            self._look()
        return [*(str(one) for one in self._obstacles if not one.ours_to_fix), *self._legacy()]

    def compare(self) -> tuple[list[str], list[str]]:
        """Where our accepts are missing, and what drops all the same; nothing is written."""
        chains = list(self._nft.chains())
        found = list(self._find(chains))
        missing = [one for one in found if one.ours_to_fix and any(True for _ in self._accepts(one, chains))]
        rest = [str(one) for one in found if not one.ours_to_fix]
        where = {(one.family, one.table, one.chain): _FAMILIES.get(one.family, "") for one in missing}
        lines = [f"table {name} {table} chain {chain} lacks our accepts" for (_, table, chain), name in where.items()]
        return lines, [*rest, *self._legacy()]

    @property
    def mended(self) -> list[str]:
        """A line for each chain that has our accepts, as of the last look."""
        return [str(one) for one in self._obstacles if one.ours_to_fix]

    def _look(self) -> None:
        for _ in range(_ATTEMPTS):
            generation = self._nft.generation()
            chains = list(self._nft.chains())
            self._obstacles = list(self._find(chains))
            operations = [
                operation
                for obstacle in self._obstacles
                if obstacle.ours_to_fix
                for operation in self._accepts(obstacle, chains)
            ]
            try:
                self._nft.commit(operations, generation)
            except OSError as error:
                if error.errno != errno.ERESTART:
                    raise
                continue
            self._generation = generation if not operations else -1
            return

    def _find(self, chains: Sequence[DumpedChain]) -> Iterator[Obstacle]:
        for chain in chains:
            if chain.base is None or chain.base.hook not in _HOOKS or chain.family not in _FAMILIES:
                continue
            if chain.table in {self._settings.table, GUARD_TABLE}:
                continue
            if how := self._how(chain):
                ours = (chain.table, chain.name) == (_IPTABLES, _FORWARD_CHAIN) and chain.family != INET
                yield Obstacle(chain.family, chain.table, chain.name, chain.base.hook, how, ours)

    def _how(self, chain: DumpedChain) -> str:
        """In what way a base chain drops at its end; empty where it does not."""
        if chain.drops:
            return "drops by policy"
        last = list(self._nft.rules(Table(chain.family, chain.table), chain.name))[-1:]
        return f"{how}s" if last and (how := _unconditional(last[0])) else ""

    def _accepts(self, obstacle: Obstacle, chains: Sequence[DumpedChain]) -> Iterator[Operation]:
        """What puts those accepts in that are not there yet."""
        table = Table(obstacle.family, obstacle.table)
        there = {(one.family, one.table, one.name) for one in chains}
        has_docker = (obstacle.family, obstacle.table, _DOCKER_USER) in there
        chain = _DOCKER_USER if has_docker else obstacle.chain
        present = {rule.comment for rule in self._nft.rules(table, chain)}
        for rule in self._rules():
            if rule.comment not in present:
                yield from table.add_rule(chain, rule, f"rule of chain {chain}", at_top=True)

    def _rules(self) -> list[Rule]:
        """In the form that iptables itself gives its rules, so that it can show them."""
        settings = self._settings
        ways = [interface(f"{prefix}+", out=out) for prefix in settings.interface_prefixes for out in (False, True)]
        tunnels = {VXLAN_DEVICE: settings.vxlan_enabled, IPIP_DEVICE: settings.ipip_enabled}
        ways += [interface(device, out=True) for device, enabled in tunnels.items() if enabled]
        return [Rule(joined(way, (counter(),), accept), _MARK) for way in ways]

    def _legacy(self) -> list[str]:
        """iptables-legacy has tables of its own that netlink does not show."""
        lines = []
        for version, name in _LEGACY.items():
            if _IPTABLES in _words(self._proc / name):
                program = "iptables-legacy" if version == 4 else "ip6tables-legacy"
                lines.append(
                    f"the filter table of {program} is in use and cannot be seen from here; where its FORWARD chain "
                    f"drops (`{program} -S FORWARD`), workloads need an accept there"
                )
        return lines


class Accepts(NamedTuple):
    """Our accepts in a chain of iptables', by the kernel's numbers."""

    table: Table
    chain: str
    handles: tuple[int, ...]

    def __str__(self) -> str:
        return f"{len(self.handles)} accepts in {self.table} chain {self.chain}"

    def removal(self) -> list[Operation]:
        """What takes them out."""
        return [self.table.delete_rule(self.chain, handle) for handle in self.handles]


def our_accepts(nft: Nfnetlink) -> list[Accepts]:
    """What we put into others' chains. Raises OSError."""
    found = []
    for chain in nft.chains():
        if chain.table == _IPTABLES and chain.name in {_DOCKER_USER, _FORWARD_CHAIN}:
            table = Table(chain.family, chain.table)
            handles = tuple(rule.handle for rule in nft.rules(table, chain.name) if _MARK in rule.comment)
            found += [Accepts(table, chain.name, handles)] if handles else []
    return found


def _unconditional(rule: DumpedRule) -> str:
    """`drop` or `reject` where a rule does so whatever the packet; else empty."""
    expressions = [attribute_map(value) for _, value in attributes(rule.expressions)]
    names = [string(one[1]) for one in expressions]
    if not names or not _PASSIVE.issuperset(names[:-1]):
        return ""
    if names[-1] == "reject":
        return "reject"
    return "drop" if names[-1] == "immediate" and _is_drop(expressions[-1]) else ""


def _is_drop(expression: Mapping[int, bytes]) -> bool:
    data = attribute_map(attribute_map(expression[2]).get(2, b""))
    verdict = attribute_map(data.get(2, b""))
    return 1 in verdict and int.from_bytes(verdict[1], "big") == DROP


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
