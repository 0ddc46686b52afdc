"""`Tables`: the packet filter of this host, made true and kept true."""

import errno
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from calico.felix.dataplane.nft.causes import drop_of
from calico.felix.dataplane.nft.cleanup import remove_tables
from calico.felix.dataplane.nft.content import Delta, Found, FoundChain, FoundSet, Plan, difference, plan
from calico.felix.dataplane.nft.family import V4, V6
from calico.felix.dataplane.nft.foreign import Neighbours
from calico.felix.dataplane.nft.guard import guard_operations
from calico.felix.dataplane.nft.names import DROPS, GUARD_TABLE
from calico.felix.dataplane.nft.rendering import Rendering
from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.desired import Changes
from calico.netlink.message import string
from calico.netlink.nftables.objects import SET_INTERVAL, Operation, Table
from calico.netlink.nftables.transactions import DumpedElement, DumpedSet, Nfnetlink, TransactionError, intervals
from calico.netlink.socket import Netlink, TimeoutExpiredError

_UNCOMPARED = frozenset({DROPS})
_BROKEN = -1
_NOTHING = Found({}, {})
# Counters of drops, of some 65,000 that fit
_COUNTERS = 16_000
# Another program may write between our reading and our writing, an answer may be lost, again and again. What counts is
# that the kernel refuses what we want.
_ATTEMPTS, _REFUSALS = 8, 2
# Reasons that say nothing of what was refused: tried again, it may pass.
_PASSING = frozenset(
    {errno.ERESTART, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EINTR, errno.EPERM, errno.EACCES}
)


class DataplaneError(Exception):
    """The kernel does not take what is desired. What is in it is as it was; the wish is kept."""


class Applied(NamedTuple):
    """What a call wrote: messages and bytes, none where nothing differed. `repaired`: after reading all of it."""

    messages: int = 0
    octets: int = 0
    repaired: bool = False


class Drops(NamedTuple):
    """Packets dropped since the counter came into being, by interface, `direction` of the traffic and cause."""

    version: int
    interface: str
    direction: str
    cause: str
    packets: int
    octets: int


class _FamilyTable:
    """One family: what is desired of it, and the table it is written to."""

    def __init__(self, rendering: Rendering, name: str, prefixes: tuple[str, ...]) -> None:
        self.prefixes = prefixes
        self.rendering = rendering
        self.book = rendering.book
        self.table = Table(rendering.family.number, name)
        self.guard = Table(rendering.family.number, GUARD_TABLE)


class Tables:
    """Our tables in the kernel of the socket's network namespace.

    **Safety.** What packets meet changes in one transaction over both families, so that they meet the old rules or the
    new ones; what these refer to is in the kernel before, and what those referred to goes behind (`content.Plan`). A
    transaction that is refused leaves the old rules. Nothing is ever flushed in one step and filled in the next, and
    nothing is taken down when the process ends. An interface with one of our prefixes is dropped unless an element
    names it, and that element comes when the chains it leads to are there.

    **What is known.** The books of the families hold what is desired. As long as nobody else writes to our tables they
    are also what is in the kernel, and a change costs its own difference only. `_in_doubt` says that this is not so: at
    the start, after a refusal, after a missing answer. Then our tables are read, and the difference is written; the
    transaction carries the ruleset's generation, so that nobody writes in between.

    **Retries.** A refused difference is followed by a reading and a second one. What is refused then of a policy or
    profile denies from there on, and holds up nothing else; for anything else a transaction deletes our tables and
    makes them anew, with the guard's beside them until all is there. When that fails too, `DataplaneError` is
    raised; the next call begins by reading. The books keep the wish, whatever happened.
    """

    def __init__(self, netlink: Netlink, settings: NftSettings) -> None:
        self._nft = Nfnetlink(netlink)
        self._settings = settings
        families = (V4, V6) if settings.ipv6 else (V4,)
        self._families = [
            _FamilyTable(Rendering(family, settings), settings.table, settings.interface_prefixes)
            for family in families
        ]
        self._in_doubt = True
        self._generation = 0
        self._last_error: OSError = OSError()
        self._neighbours = Neighbours(self._nft, settings)
        self._obstacles: list[str] = []
        self._counters = 0
        self._counts = {
            "transactions": 0,
            "messages": 0,
            "octets": 0,
            "failures": 0,
            "repairs": 0,
            "replacements": 0,
        }

    def apply(self, changes: Changes) -> Applied:
        """Take changes in and make them true. Raises DataplaneError; `apply(Changes())` tries again."""
        for one in self._families:
            one.rendering.update(changes)
        return self._write()

    def set_interfaces(self, interfaces: Mapping[str, frozenset[str]]) -> Applied:
        """Know the host's interfaces and their addresses, for host endpoints. Raises DataplaneError."""
        for one in self._families:
            one.rendering.set_interfaces(interfaces)
        return Applied() if self._in_doubt else self._write()

    def check(self) -> list[str]:
        """Look whether our tables are as we left them, and repair them; a line for each thing that was not.

        Looks after the accepts in other people's tables, too. Two questions to the kernel while nobody wrote to any
        table. Raises DataplaneError.
        """
        self.watch()
        self._forget_counters()
        if self._in_doubt:
            self._write()
            return []
        try:
            if self._nft.generation() == self._generation:
                return []
            generation, differences = self._differences()
        except OSError as error:
            self._fail(error)
            raise DataplaneError(f"our nftables tables cannot be read: {error}") from error
        lines = [line for one in differences for line in one.lines()]
        if not lines:
            self._generation = generation
        else:
            self._in_doubt = True
            self._reconcile()
        return lines

    def compare(self, changes: Changes) -> list[str]:
        """Take changes in and say what in the kernel differs, a line for each thing; nothing is written.

        Raises DataplaneError where the kernel cannot be read.
        """
        for one in self._families:
            one.rendering.update(changes)
        try:
            _, differences = self._differences()
        except OSError as error:
            raise DataplaneError(f"our nftables tables cannot be read: {error}") from error
        return [line for one in differences for line in one.lines()]

    def problems(self) -> list[str]:
        """What cannot be made true as it is desired, and denies instead; tables of others that drop; a line each."""
        ours = {line for one in self._families for line in one.rendering.problems.values()}
        return [*sorted(ours), *self._obstacles]

    def metrics(self) -> dict[str, int]:
        """Numbers of what was written and of what there is."""
        return {
            **self._counts,
            "chains": sum(len(one.book.chains) for one in self._families),
            "rules": sum(len(chain.rules) for one in self._families for chain in one.book.chains.values()),
            "sets": sum(len(one.book.sets) for one in self._families),
            "elements": sum(len(some) for one in self._families for some in one.book.elements.values()),
            "groups": sum(one.rendering.workloads.groups for one in self._families),
        }

    def drops(self) -> list[Drops]:
        """The counters of dropped packets, as they are in the kernel now. Raises OSError."""
        report: list[Drops] = []
        for one in self._families:
            dumped = self._nft.elements(one.table, DROPS)
            report += [_drops(one.rendering.family.version, element) for element in dumped]
        self._counters = len(report)
        return sorted(report)

    def cleanup(self) -> list[str]:
        """Remove what is ours and the guard's; what it was. What is desired is kept: `apply` brings it back."""
        self._in_doubt = True
        return remove_tables(self._nft.netlink, self._settings.table)

    def watch(self) -> bool:
        """Look at the others' tables, and put our accepts where they are missing. Nothing of ours depends on it.

        Whether somebody took our tables away, or put them to sleep: then `check` should not wait for its time.
        """
        try:
            self._obstacles = self._neighbours.check()
            return not self._in_doubt and self._are_gone()
        except OSError as error:
            self._obstacles = [f"the tables of others cannot be looked after: {error}"]
            return False

    def _are_gone(self) -> bool:
        if self._nft.generation() == self._generation:
            return False
        return not {(one.table.family, one.table.name) for one in self._families}.issubset(self._nft.tables(awake=True))

    def _forget_counters(self) -> None:
        """Where interfaces come and go for long, drop counters of those that have gone fill their set."""
        if self._counters < _COUNTERS or self._in_doubt:
            return
        self._counters = 0
        with suppress(OSError):
            for one in self._families:
                dumped = [dumped.element for dumped in self._nft.elements(one.table, DROPS)]
                gone = [element for element in dumped if not one.rendering.knows(string(element.key[:16]))]
                self._commit([*one.table.delete_elements(DROPS, gone)])

    def _write(self) -> Applied:
        deltas = [(one, one.book.take()) for one in self._families]
        if not self._in_doubt:
            plans = [plan(one.table, delta, one.book.sets) for one, delta in deltas]
            try:
                return self._carry_out(plans)
            except OSError as error:
                self._fail(error)
        return self._reconcile()

    def _fail(self, error: OSError) -> None:
        self._counts["failures"] += 1
        self._in_doubt = True
        self._last_error = error

    def _carry_out(self, plans: Sequence[Plan], generation: int | None = None) -> Applied:
        """The transactions of plans, those of all families in one; `generation` is the one before the first."""
        messages = octets = 0
        for step in zip(*plans, strict=True):
            operations = [operation for part in step for operation in part]
            applied = self._commit(operations, generation)
            if operations and generation is not None:
                generation = _next(generation)
            messages, octets = messages + applied.messages, octets + applied.octets
        return Applied(messages, octets)

    def _commit(self, operations: Sequence[Operation], generation: int | None = None) -> Applied:
        if not operations:
            return Applied()
        octets = self._nft.commit(operations, generation)
        self._generation = _next(self._generation if generation is None else generation)
        self._counts["transactions"] += 1
        self._counts["messages"] += len(operations)
        self._counts["octets"] += octets
        return Applied(len(operations), octets)

    def _reconcile(self) -> Applied:
        """Read, and write what differs. When that is refused twice the policy in question denies; where it is none, our
        tables are replaced as a whole.

        So too when others write faster than we read, up to the last attempt: what is written then depends on nothing
        that was read.
        """
        refused = 0
        for attempt in range(1, _ATTEMPTS + 1):
            is_last = attempt == _ATTEMPTS
            try:
                return self._reconcile_once(anew=refused > 1 or is_last, bound=not is_last)
            except TimeoutExpiredError as error:
                self._fail(error)
                break
            except OSError as error:
                self._fail(error)
                refused += isinstance(error, TransactionError) and error.errno != errno.ERESTART
                if refused == _REFUSALS and self._refuse(error):
                    refused = 0
                elif refused > _REFUSALS:
                    break
        raise DataplaneError(f"the kernel does not take our nftables tables: {self._last_error}") from self._last_error

    def _refuse(self, error: OSError) -> bool:
        """Let the policy that the kernel refuses deny, so that it holds up no other; whether it was a policy."""
        operation = error.operation if isinstance(error, TransactionError) else None
        if operation is None or error.errno in _PASSING:
            return False
        family, reason = operation.payload[0], str(error.strerror)
        return any(one.rendering.refuse(operation.name, reason) for one in self._families if one.table.family == family)

    def _reconcile_once(self, *, anew: bool, bound: bool) -> Applied:
        """`bound`: refused where anybody wrote since the reading."""
        generation, differences = self._differences(anew=anew)
        for one in self._families:
            one.book.take()
        applied = self._carry_out([one.plan() for one in differences], generation if bound else None)
        if not applied.messages:
            self._generation = generation
        self._in_doubt = False
        self.watch()
        self._counts["repairs"] += bool(applied.messages)
        self._counts["replacements"] += any(one.replaced for one in differences)
        return applied._replace(repaired=True)

    def _differences(self, *, anew: bool = False) -> tuple[int, list["_Difference"]]:
        """The generation, and what differs of each family. `anew`: as if nothing of what is there were any good."""
        generation = self._nft.generation()
        names, awake = self._nft.tables(), self._nft.tables(awake=True)
        differences = []
        for one in self._families:
            exists = (one.table.family, one.table.name) in names
            found = self._read(one.table) if exists and not anew else _NOTHING
            one.rendering.use_intervals(name for name, kind in found.sets.items() if kind.flags & SET_INTERVAL)
            delta = difference(found, one.book, _UNCOMPARED)
            replaced = exists and (anew or bool(delta.incompatible))
            if delta.incompatible:
                delta = difference(_NOTHING, one.book, _UNCOMPARED)._replace(incompatible=delta.incompatible)
            guarded = (one.guard.family, one.guard.name) in names
            dormant = exists and (one.table.family, one.table.name) not in awake
            differences.append(_Difference(one, delta, exists, replaced, guarded, dormant))
        return generation, differences

    def _read(self, table: Table) -> Found:
        comments: dict[str, list[str]] = {}
        for rule in self._nft.rules(table):
            comments.setdefault(rule.chain, []).append(rule.comment)
        chains = {
            # One that drops by policy is none of ours, whatever it is called.
            chain.name: FoundChain(None if chain.drops else chain.base, tuple(comments.get(chain.name, ())))
            for chain in self._nft.chains(table)
        }
        return Found(chains, {one.name: self._read_set(table, one) for one in self._nft.sets(table)})

    def _read_set(self, table: Table, dumped: DumpedSet) -> FoundSet:
        if dumped.name in _UNCOMPARED:
            return FoundSet(dumped.flags, dumped.key_length, dumped.value_length, set())
        elements = self._nft.elements(table, dumped.name)
        if not dumped.flags & SET_INTERVAL:
            whole = {one.element for one in elements}
            return FoundSet(dumped.flags, dumped.key_length, dumped.value_length, whole)
        try:
            return FoundSet(dumped.flags, dumped.key_length, dumped.value_length, intervals(elements))
        except ValueError:
            return FoundSet(_BROKEN, dumped.key_length, dumped.value_length, set())


class _Difference(NamedTuple):
    """What has to change in one family.

    `replaced`: the table is deleted and made anew. `guarded`: the guard goes. `dormant`: the table is woken.
    """

    of: _FamilyTable
    delta: Delta
    exists: bool
    replaced: bool
    guarded: bool
    dormant: bool

    def plan(self) -> Plan:
        """What makes it true."""
        table, guard = self.of.table, self.of.guard
        before, switch, after = plan(table, self.delta, self.of.book.sets)
        if self.replaced:
            # One transaction, for the old table is to stay where the new one is refused. What is new in it may be empty
            # at first (see Plan): the guard stands until all of it is there.
            raised = [] if self.guarded else guard_operations(self.of.rendering.family, self.of.prefixes)
            return Plan([], [table.delete(), table.create(), *raised, *before, *switch], [guard.delete()])
        if not self.exists:
            before.insert(0, table.create())
        if self.dormant:
            switch.insert(0, table.create())
        return Plan(before, [*switch, guard.delete()] if self.guarded else switch, after)

    def lines(self) -> list[str]:
        """What differs, for people."""
        table, delta = self.of.table, self.delta
        if not self.exists:
            return [f"{table} is not there"]
        if delta.incompatible:
            return [f"{table} set {name} is of another kind" for name in sorted(delta.incompatible)]
        lines = [
            f"{table} chain {name} " + _fate(existed, chain is not None)
            for name, (existed, chain) in delta.chains.items()
        ]
        lines += [f"{table} set {name} is not there" for name in delta.created]
        lines += [f"{table} set {name} is not ours" for name in delta.gone]
        changed = {*delta.added, *delta.removed} - {*delta.created}
        for name in sorted(changed):
            missing, foreign = len(delta.added.get(name, ())), len(delta.removed.get(name, ()))
            lines.append(f"{table} set {name}: {missing} elements missing, {foreign} that are not ours")
        if self.dormant:
            lines.append(f"{table} is dormant")
        if self.guarded:
            lines.append(f"{self.of.guard} is there beside ours")
        return lines


def _fate(existed: bool, wanted: bool) -> str:
    if not wanted:
        return "is not ours"
    return "has other rules" if existed else "is not there"


def _next(generation: int) -> int:
    """The kernel's numbers go round and leave 0 out."""
    return (generation + 1) & 0xFFFFFFFF or 1


def _drops(version: int, dumped: DumpedElement) -> Drops:
    interface, code = string(dumped.element.key[:16]), struct.unpack("=I", dumped.element.key[16:20])[0]
    try:
        drop = drop_of(code)
    except ValueError:
        return Drops(version, interface, "", f"unknown-{code}", dumped.packets, dumped.octets)
    return Drops(version, interface, drop.direction, drop.cause.label, dumped.packets, dumped.octets)
