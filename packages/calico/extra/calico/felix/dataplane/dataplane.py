"""`Dataplane`: both halves, the packet filter and the network, driven by one loop.

A change goes to the packet filter first and then to the network, so that nothing is reachable before its policy holds.
What fails is tried again by itself, after a pause that grows from 0.1 to 10 seconds; once the packet filter has stood,
each half goes on without the other. Timers lead to a comparison with the kernel.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from calico.daemon.log import fields
from calico.felix.dataplane.network import Network
from calico.felix.dataplane.nft.tables import DataplaneError
from calico.felix.desired import Changes

_log = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


class Applied(Protocol):
    """What one call did to the packet filter: messages that changed the kernel."""

    @property
    def messages(self) -> int:
        """How many."""


class PacketFilter(Protocol):
    """What the packet filter does for the dataplane. When it raises DataplaneError, what it was given is kept.

    `set_interfaces` before the first `apply` writes nothing: a restart must not pass through a state without them.
    """

    def apply(self, changes: Changes) -> Applied:
        """Take changes in and make the kernel what is wanted."""

    def set_interfaces(self, interfaces: Mapping[str, frozenset[str]]) -> Applied:
        """The host's interfaces and their addresses, for host endpoints."""

    def check(self) -> list[str]:
        """Undo what others changed; what that was."""

    def watch(self) -> bool:
        """Look after our accepts in the packet filters of other programs, at the price of one question or two.

        Whether ours is gone, so that `check` should not wait for its time.
        """

    def problems(self) -> list[str]:
        """What denies though it should not: policies that cannot be rendered, tables of others that drop."""


class Intervals(NamedTuple):
    """Seconds between two comparisons with the kernel; 0: never. `others`: looks at other programs' packet filters.

    When Docker starts it drops what workloads send until our accepts are in its chains again.
    """

    filter: float = 10.0
    network: float = 90.0
    others: float = 2.0


class Outcome(NamedTuple):
    """What a turn did. `writes`: requests that changed the kernel. `failures` are new ones, to be tried again."""

    writes: int = 0
    repaired: int = 0
    failures: tuple[str, ...] = ()


class Dataplane:
    """Owns the packet filter and the network. Used by one thread.

    `start` is given everything as one `Changes`; nothing is written before. `turn` does whatever is due, and never
    raises for what the kernel refuses. `problems` are the complaints that stand now.
    """

    def __init__(
        self,
        packet_filter: PacketFilter,
        network: Network,
        intervals: Intervals,
        clock: Callable[[], float] = time.monotonic,
        is_excluded: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._filter, self.network, self._clock = packet_filter, network, clock
        self._is_excluded = is_excluded
        self.intervals = intervals
        self._changes: list[Changes] = []
        self._filter_retry, self._network_retry = _Retry(clock), _Retry(clock)
        self._filter_check = self._network_check = self._others_check = 0.0
        self._interfaces: Mapping[str, frozenset[str]] | None = None
        self._interfaces_due = self._network_due = self._is_lost = False
        self._is_started = self._has_filter = False
        self._filter_states: tuple[str, ...] = ()
        self.states: tuple[str, ...] = ()
        """Complaints about the node's configuration."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as it should be at the moment."""
        return (*self._filter_retry.problems, *self._network_retry.problems, *self._filter_states, *self.states)

    @property
    def is_good(self) -> bool:
        """Whether the kernel is what is wanted, as far as is known."""
        return self._is_started and not self._filter_retry.problems and not self._network_retry.problems

    def fileno(self) -> int:
        """For poll: readable when interfaces changed."""
        return self.network.monitor.fileno()

    def start(self, changes: Changes) -> Outcome:
        """Make the kernel what is wanted for the first time."""
        self.network.load_interfaces()
        self._is_started = self._interfaces_due = True
        self._filter_check = self._after(self.intervals.filter)
        self._network_check = self._after(self.intervals.network)
        self._others_check = self._after(self.intervals.others)
        self._take(changes)
        return self.turn()

    def turn(self, changes: Changes | None = None) -> Outcome:
        """Do what is due: changes, interfaces that changed, what failed before, comparisons."""
        if not self._is_started:
            return Outcome()
        if changes is not None and not changes.is_empty:
            self._take(changes)
        self._look_at_interfaces()
        outcome = self._turn_filter()
        if self._has_filter:
            outcome = _sum(outcome, self._turn_network())
        self._turn_others()
        return outcome

    def _look_at_interfaces(self) -> None:
        """Take the notifications that wait. Where that fails they may be lost: all is read again, once that works."""
        try:
            is_changed = bool(self.network.refresh_interfaces())
        except OSError as error:
            self.network.resync()
            self._is_lost = True
            self._network_retry.failed((f"interfaces: {error}",))
            return
        if is_changed:
            self._interfaces_due = self._network_due = True

    def _take(self, changes: Changes) -> None:
        self._changes.append(changes)
        self.network.on_changes(changes)
        self._network_due = True

    def next_due(self) -> float:
        """When, by the clock, `turn` has something to do though nothing changes."""
        due = [self._others_check] if self.intervals.others else []
        if self._filter_retry.due:  # a half that fails waits for its next attempt, whatever else is due
            due.append(self._filter_retry.due)
        elif self.intervals.filter:
            due.append(self._filter_check)
        if self._network_retry.due:
            due.append(self._network_retry.due)
        elif self._has_filter:
            due += [self._network_check] if self.intervals.network else []
            due += [self.network.next_due]
        return min((one for one in due if one), default=0.0)

    def close(self) -> None:
        """Give the sockets back. The kernel stays as it is."""
        self.network.close()

    # -- the packet filter -----------------------------------------------------------------------------------------

    def _turn_filter(self) -> Outcome:
        is_waiting = self._filter_retry.is_waiting
        is_due = self.intervals.filter and self._clock() >= self._filter_check and not is_waiting
        if not (self._changes or self._interfaces_due or is_due or self._filter_retry.is_due):
            return Outcome()
        try:
            writes = self._write_filter()
            repaired = self._filter.check() if is_due else []
        except (OSError, DataplaneError) as error:
            return Outcome(failures=self._filter_retry.failed((f"packet filter: {error}",)))
        if is_due:
            self._filter_check = self._after(self.intervals.filter)
        for line in repaired:
            _log.warning("repaired what others changed %s", fields(what=line))
        self._filter_retry.succeeded()
        self._has_filter = True
        self._note(tuple(self._filter.problems()))
        return Outcome(writes, len(repaired))

    def _turn_others(self) -> None:
        """Look whether others let pass what policy allows; while ours does not stand there is nothing to let pass."""
        if not self.intervals.others or self._clock() < self._others_check:
            return
        self._others_check = self._after(self.intervals.others)
        if self._filter_retry.problems:
            return
        if self._filter.watch() and self.intervals.filter:
            self._filter_check = self._clock()
        self._note(tuple(self._filter.problems()))

    def _note(self, states: tuple[str, ...]) -> None:
        """Log what the packet filter complains about, once."""
        for line in states:
            if line not in self._filter_states:
                _log.warning("%s", line)
        self._filter_states = states

    def _write_filter(self) -> int:
        """Hand over what is new. What was handed over is kept there, whether its write succeeds or not."""
        writes, is_retry = 0, self._filter_retry.is_due
        if self._interfaces_due:
            self._interfaces_due = False
            writes += self._hand_over_interfaces()
        while self._changes or is_retry:
            changes, is_retry = self._changes.pop(0) if self._changes else Changes(), False
            writes += self._filter.apply(changes).messages
        return writes

    def _hand_over_interfaces(self) -> int:
        found = self.network.host_interfaces()
        interfaces = {name: addresses for name, addresses in found.items() if not self._is_excluded(name)}
        if interfaces == self._interfaces:
            return 0
        self._interfaces = interfaces
        return self._filter.set_interfaces(interfaces).messages

    # -- the network -----------------------------------------------------------------------------------------------

    def _turn_network(self) -> Outcome:
        now = self._clock()
        is_due = (self.intervals.network and now >= self._network_check) or 0 < self.network.next_due <= now
        is_due = is_due and not self._network_retry.is_waiting
        if is_due:
            self.network.resync()
            self._network_check = self._after(self.intervals.network)
        is_retry = self._network_retry.is_due
        if not (is_due or self._network_due or is_retry):
            return Outcome()
        self._network_due = False
        report = self.network.apply()
        if is_due or is_retry or self._is_lost:  # the interfaces were read again, too
            self._interfaces_due, self._is_lost = True, False
        if report.states != self.states:
            for line in sorted(set(report.states) - set(self.states)):
                _log.warning("%s", line)
            self.states = report.states
        if report.retry:
            return Outcome(report.writes, report.repaired, self._network_retry.failed(report.retry))
        self._network_retry.succeeded()
        return Outcome(report.writes, report.repaired)

    def _after(self, seconds: float) -> float:
        """A moment some `seconds` from now, up to a tenth later, so that nodes do not move in step."""
        return self._clock() + seconds * random.uniform(1.0, 1.1)


def _sum(one: Outcome, other: Outcome) -> Outcome:
    return Outcome(one.writes + other.writes, one.repaired + other.repaired, one.failures + other.failures)


class _Retry:
    """When to try again what failed, and what it was."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pause = _FIRST_PAUSE
        self.due = 0.0
        self.problems: tuple[str, ...] = ()

    @property
    def is_due(self) -> bool:
        return 0 < self.due <= self._clock()

    @property
    def is_waiting(self) -> bool:
        return self.due > self._clock()

    def failed(self, problems: tuple[str, ...]) -> tuple[str, ...]:
        """Once more; the problems, which are logged when they are new."""
        for line in problems:
            if line not in self.problems:
                _log.error("%s", line)
        self.problems = problems
        self.due = self._clock() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return problems

    def succeeded(self) -> None:
        """It is done."""
        if self.problems:
            _log.info("what failed before is done %s", fields(problems=len(self.problems)))
        self._pause, self.due, self.problems = _FIRST_PAUSE, 0.0, ()
