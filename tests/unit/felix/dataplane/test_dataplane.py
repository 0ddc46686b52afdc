"""Both halves driven by one loop: order, retries, timers, what is left alone. The halves are stand-ins."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from calico.felix.dataplane.dataplane import Dataplane, Intervals, Outcome
from calico.felix.dataplane.network import Network, Report
from calico.felix.dataplane.nft.tables import DataplaneError
from calico.felix.desired import Changes, Pool
from calico.netlink.socket import TimeoutExpiredError

ONE = Changes(pools={"10.0.0.0/16": Pool("none", False, False)})
ETH0 = {"eth0": frozenset({"10.9.0.1"})}


class Applied(NamedTuple):
    messages: int = 1


class World:
    """A packet filter, a network and a clock that note what is asked of them, in order."""

    def __init__(self) -> None:
        self.now, self.calls = 100.0, list[str]()
        self.failing, self.refused = False, tuple[str, ...]()
        self.interfaces: dict[str, frozenset[str]] = dict(ETH0)
        self.is_changed = self.is_stuck = self.is_gone = False
        self.next_due = 0.0
        self.obstacles: list[str] = []
        self.dataplane = Dataplane(
            cast(Any, self),
            cast(Network, _Network(self)),
            Intervals(10.0, 90.0),
            lambda: self.now,
            lambda name: name == "kube0",
        )

    def apply(self, changes: Changes) -> Applied:
        self.calls.append("filter" if not changes.is_empty else "filter again")
        if self.failing:
            raise DataplaneError("the kernel says no")
        return Applied()

    def set_interfaces(self, interfaces: Mapping[str, frozenset[str]]) -> Applied:
        self.calls.append("interfaces " + ",".join(sorted(interfaces)))
        return Applied(0)

    def check(self) -> list[str]:
        self.calls.append("check")
        return []

    def watch(self) -> bool:
        self.calls.append("others")
        return self.is_gone

    def problems(self) -> list[str]:
        return self.obstacles

    def turn(self, changes: Changes | None = None) -> tuple[Outcome, list[str]]:
        self.calls.clear()
        return self.dataplane.turn(changes), list(self.calls)

    def start(self) -> list[str]:
        self.calls.clear()
        self.dataplane.start(ONE)
        return list(self.calls)


class _Network:
    def __init__(self, world: World) -> None:
        self._world = world
        self._is_resync = False

    @property
    def next_due(self) -> float:
        return self._world.next_due

    def load_interfaces(self) -> None:
        self._world.calls.append("load")

    def on_changes(self, changes: Changes) -> None:
        pass

    def refresh_interfaces(self) -> frozenset[str]:
        if self._world.is_stuck:
            raise TimeoutExpiredError(10.0)
        changed, self._world.is_changed = self._world.is_changed, False
        return frozenset({"eth0"}) if changed else frozenset()

    def host_interfaces(self) -> dict[str, frozenset[str]]:
        return dict(self._world.interfaces)

    def resync(self) -> None:
        self._is_resync = True

    def apply(self) -> Report:
        self._world.calls.append("network, all of it" if self._is_resync else "network")
        self._is_resync = False
        return Report(1, 0, self._world.refused)


def test_a_start_knows_the_interfaces_before_it_writes_and_policy_comes_before_routes() -> None:
    assert World().start() == ["load", "interfaces eth0", "filter", "network"]


def test_before_the_start_nothing_is_done() -> None:
    world = World()
    assert world.turn(ONE) == (Outcome(), [])


def test_a_change_goes_to_both_halves_and_a_turn_without_one_does_nothing() -> None:
    world = World()
    world.start()
    assert world.turn(ONE) == (Outcome(2), ["filter", "network"])
    assert world.turn() == (Outcome(), [])
    assert world.turn(Changes()) == (Outcome(), [])


def test_excluded_interfaces_are_not_the_filter_s_business_and_others_only_when_they_differ() -> None:
    world = World()
    world.start()
    world.interfaces["kube0"], world.is_changed = frozenset(), True
    assert world.turn()[1] == ["network"]
    world.interfaces["eth1"], world.is_changed = frozenset(), True
    assert world.turn()[1] == ["interfaces eth0,eth1", "network"]


def test_a_filter_that_fails_is_tried_again_with_growing_pauses_and_the_network_goes_on() -> None:
    world = World()
    world.start()
    world.failing = True
    outcome, calls = world.turn(ONE)
    assert (outcome.failures, calls) == (("packet filter: the kernel says no",), ["filter", "network"])
    assert not world.dataplane.is_good
    pauses = []
    for _ in range(9):
        pauses.append(round(world.dataplane.next_due() - world.now, 1))
        world.now = world.dataplane._filter_retry.due
        assert "filter again" in world.turn()[1]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(pauses) <= 10.0
    world.failing = False
    world.now += 11
    world.turn()
    assert world.dataplane.is_good
    assert not world.dataplane.problems


def test_before_a_packet_filter_has_stood_nothing_is_made_reachable() -> None:
    world = World()
    world.failing = True
    assert "network" not in world.start()
    world.now += 100
    assert "network" not in world.turn(ONE)[1]
    assert world.dataplane.next_due() > world.now
    world.failing = False
    assert world.turn(ONE)[1][-1].startswith("network")


def test_nothing_is_due_at_once_while_a_half_fails() -> None:
    """Else the loop would turn without a pause."""
    world = World()
    world.start()
    world.failing, world.refused, world.next_due = True, ("no",), world.now + 1
    world.now += 1000
    for _ in range(30):
        world.turn(ONE)
        assert world.dataplane.next_due() > world.now
        world.now = world.dataplane.next_due()


def test_a_change_while_the_filter_fails_is_not_lost_and_not_given_twice() -> None:
    world = World()
    world.start()
    world.failing = True
    world.turn(ONE)
    world.failing = False
    assert world.turn(ONE)[1][0] == "filter"
    assert world.dataplane.is_good


def test_a_network_that_is_refused_is_tried_again() -> None:
    world = World()
    world.start()
    world.refused = ("route 10.0.0.1/32: no",)
    assert world.turn(ONE)[0].failures == world.refused
    assert world.turn()[1] == []
    world.now += 0.11
    world.refused = ()
    assert world.turn()[1] == ["network"]
    assert world.dataplane.is_good


def test_interfaces_that_cannot_be_listed_are_listed_later_and_host_endpoints_hear_of_them() -> None:
    world = World()
    world.start()
    world.is_stuck = True
    assert world.turn()[1] == []
    assert not world.dataplane.is_good
    world.is_stuck = False
    world.interfaces["eth1"] = frozenset({"10.9.1.1"})
    assert world.turn(ONE)[1] == ["filter", "network, all of it"]
    assert world.turn()[1] == ["interfaces eth0,eth1"]
    assert world.dataplane.is_good


def test_timers() -> None:
    world = World()
    world.start()
    world.now += 9.9
    assert "check" not in world.turn()[1]
    world.now += 2
    assert "check" in world.turn()[1]
    world.now += 90
    assert "network, all of it" in world.turn()[1]


def test_a_filter_that_is_gone_is_checked_at_once() -> None:
    world = World()
    world.start()
    world.now, world.is_gone = world.now + 2.3, True
    assert world.turn()[1] == ["others"]
    assert world.dataplane.next_due() == world.now
    assert world.turn()[1] == ["check"]
    world.is_gone = False
    assert world.turn()[1] == []


def test_the_end_of_a_route_s_grace_is_a_reason_to_read_everything() -> None:
    world = World()
    world.start()
    world.next_due = world.now + 1
    assert world.dataplane.next_due() == world.now + 1
    world.now += 1
    assert "network, all of it" in world.turn()[1]


def test_a_timer_that_is_off() -> None:
    world = World()
    world.dataplane.intervals = Intervals(0.0, 0.0, 0.0)
    world.start()
    world.now += 10**6
    assert world.turn()[1] == []
    assert world.dataplane.next_due() == 0.0


def test_what_other_programs_drop_is_a_problem_as_long_as_it_lasts() -> None:
    world = World()
    world.obstacles = ["table ip filter chain FORWARD drops"]
    world.start()
    assert world.dataplane.problems == ("table ip filter chain FORWARD drops",)
    assert world.dataplane.is_good
    world.obstacles = []
    world.now += 3
    assert world.turn()[1] == ["others"]
    assert not world.dataplane.problems
