"""The calculation: one suite of states for the graph and its slow twin, every way into them, and random histories."""

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from calico.datastore.syncer import Update
from calico.felix.calc.graph import Graph
from calico.felix.calc.inputs import decode
from calico.felix.calc.sets import IpSets
from calico.felix.desired import Changes, HostEndpoint, PolicyList, Route
from calico.felix.state import State
from calico.selector.parser import parse, unique_id
from tests.unit.felix import documents
from tests.unit.felix.documents import Item, policy, stored, workload
from tests.unit.felix.slow_graph import SlowGraph
from tests.unit.felix.states import STATES, StateCase

AnyGraph = Any  # the two share a contract, not a type


def _value(item: Item) -> Any:
    """What the syncer makes of an item: nothing, where it is not valid."""
    try:
        return decode(item[0], stored(item[1]))
    except ValueError:
        return None


def _updates(before: Iterable[Item], after: Iterable[Item]) -> Iterator[Update]:
    """What leads from one datastore to another, and no more."""
    old, now = dict(before), dict(after)
    for key in old.keys() - now.keys():
        yield Update(key, None, 1)
    for key, document in now.items():
        if old.get(key) != document:
            yield Update(key, _value((key, document)), 1)


class _Follower:
    """A graph, and the dataplane that takes its changes, which it checks for sense."""

    def __init__(self, graph: AnyGraph) -> None:
        self.graph, self.state = graph, State()

    def take(self, updates: Iterable[Update]) -> None:
        self.graph.update(updates)
        self.flush()

    def flush(self) -> None:
        changes: Changes = self.graph.flush()
        _make_sense(self.state, changes)
        self.state.apply(changes)
        assert _referents(self.state) == self.state.sets.keys(), "a set is there if and only if a rule uses it"
        assert self.graph.flush().is_empty


def _make_sense(state: State, changes: Changes) -> None:
    """Nothing is told that is not so."""
    assert not changes.sets_created.keys() & state.sets.keys()
    for uid, change in changes.sets_changed.items():
        assert change.added or change.removed
        assert not change.added & state.sets[uid].members
        assert change.removed <= state.sets[uid].members
    for name in ("policies", "profiles", "workloads", "host_endpoints", "routes", "vteps", "pools", "hosts"):
        known: Mapping[Any, Any] = getattr(state, name)
        for key, value in getattr(changes, name).items():
            assert known.get(key) != value


def _referents(state: State) -> set[str]:
    rules = [found for one in state.policies.values() for found in (*one.inbound, *one.outbound)]
    rules += [found for one in state.profiles.values() for found in (*one.inbound, *one.outbound)]
    sides = [side for found in rules for side in (found.source, found.destination)]
    return {uid for side in sides for uid in (*side.sets, *side.not_sets, *side.port_sets, *side.not_port_sets)}


def _uid(key: str | tuple[str, str, str]) -> str:
    if isinstance(key, str):
        return parse(key).uid
    return unique_id("n", f"{parse(key[0]).uid},{key[1]},{key[2]}")


def _words(listed: PolicyList) -> str:
    return f"{' '.join(one.name for one in listed.ingress)} / {' '.join(one.name for one in listed.egress)}".strip()


def _route(route: Route) -> str:
    words = [route.kind, route.node, route.node_address or "-"]
    words += [route.encapsulation] * (route.encapsulation != "none") + ["nat"] * route.nat_outgoing
    return " ".join(words + ["same"] * route.same_subnet + ["borrowed"] * route.borrowed)


def _host_words(endpoint: HostEndpoint) -> str:
    lists = (endpoint.normal, endpoint.untracked, endpoint.pre_dnat, endpoint.forward)
    return " | ".join(map(_words, lists))


def _seen(state: State) -> dict[str, Any]:
    """A state, in the words of `states`."""
    workloads = {key.endpoint: _words(one.policies) for key, one in state.workloads.items()}
    hosts = {name: _host_words(one) for name, one in state.host_endpoints.items()}
    return {
        "sets": {uid: set(found.members) for uid, found in state.sets.items()},
        "lists": workloads | hosts,
        "policies": sorted(one.name for one in state.policies),
        "profiles": sorted(("!" if one.missing else "") + name for name, one in state.profiles.items()),
        "routes": {cidr: _route(one) for cidr, one in state.routes.items() if one.kind != "pool"},
        "vteps": {name: f"{one.address} {one.node_address}" for name, one in state.vteps.items()},
    }


def _expected(case: StateCase) -> dict[str, Any]:
    expects = dict(case.expects)
    if "sets" in expects:
        expects["sets"] = {_uid(key): members for key, members in expects["sets"].items()}
    if "profiles" in expects:
        expects["profiles"] = sorted(expects["profiles"])
    return expects


def _settled(items: Iterable[Item]) -> State:
    """The whole state that follows of a datastore, by the slow twin."""
    twin = SlowGraph("a")
    twin.update(_updates((), items))
    return twin.state()


def test_there_are_states_enough_and_all_differ() -> None:
    assert len(STATES) >= 80
    assert len({case.name for case in STATES}) == len(STATES)
    assert len({repr(sorted(map(repr, case.items))) for case in STATES}) == len(STATES)


@pytest.mark.parametrize("make", [Graph, SlowGraph])
@pytest.mark.parametrize("case", STATES, ids=[case.name for case in STATES])
def test_a_state_is_what_it_was_worked_out_to_be(make: Any, case: StateCase) -> None:
    follower = _Follower(make("a"))
    follower.take(_updates((), case.items))
    expected = _expected(case)
    assert {name: value for name, value in _seen(follower.state).items() if name in expected} == expected
    assert follower.state == _settled(case.items)


def _through(steps: Iterable[tuple[Iterable[Item], Iterable[Item]]], follower: _Follower) -> None:
    for before, after in steps:
        follower.take(_updates(before, after))
        assert follower.state == _settled(after)


_ALL = [case.items for case in STATES]
_WAYS = {
    "in order": [(), *_ALL, ()],
    "reversed": [(), *reversed(_ALL), ()],
    "through empty": [(), *(items for state in _ALL for items in (state, ())), ()],
    "every other": [(), *_ALL[::2], *_ALL[1::2], ()],
}


@pytest.mark.parametrize("make", [Graph, SlowGraph])
@pytest.mark.parametrize("way", _WAYS)
def test_the_states_one_after_another(make: Any, way: str) -> None:
    follower = _Follower(make("a"))
    steps = _WAYS[way]
    _through(pairwise(steps), follower)
    assert follower.state == _settled(())


@pytest.mark.parametrize("make", [Graph, SlowGraph])
@pytest.mark.parametrize("reverse", [False, True])
def test_one_update_at_a_time(make: Any, reverse: bool) -> None:
    """Flushed after each; the state is right whenever all of a step's updates are in."""
    follower = _Follower(make("a"))
    for before, after in zip([(), *_ALL], [*_ALL, ()], strict=True):
        updates = list(_updates(before, after))
        for update in reversed(updates) if reverse else updates:
            follower.take([update])
        assert follower.state == _settled(after)


@pytest.mark.parametrize("make", [Graph, SlowGraph])
@pytest.mark.parametrize("size", [2, 7, len(_ALL)])
def test_several_states_in_one_flush(make: Any, size: int) -> None:
    """Squashed: what came and went between two flushes leaves no trace."""
    follower = _Follower(make("a"))
    before: tuple[Item, ...] = ()
    for start in range(0, len(_ALL), size):
        for after in _ALL[start : start + size]:
            follower.graph.update(_updates(before, after))
            before = after
        follower.flush()
        assert follower.state == _settled(before)


def test_a_graph_from_which_everything_went_holds_on_to_nothing() -> None:
    graph = Graph("a")
    graph.flush()
    empty = _held(graph)
    for before, after in zip([(), *_ALL], [*_ALL, ()], strict=True):
        graph.update(_updates(before, after))
        graph.flush()
    assert _held(graph) == empty


def _held(value: Any, depth: int = 0) -> int:
    """How many things are in all the containers of an object of ours."""
    if isinstance(value, dict):
        return len(value) + sum(_held(one, depth + 1) for one in value.values())
    if isinstance(value, set | list):
        return len(value)
    if type(value).__module__.startswith("calico.") and hasattr(value, "__dict__") and depth < 6:
        return sum(_held(one, depth + 1) for one in vars(value).values())
    return 0


def test_routes_of_all_workloads_where_they_are_asked_for() -> None:
    for make in (Graph, SlowGraph):
        follower = _Follower(make("a", "WorkloadIPs"))
        for items in (*_ALL, ()):
            follower.graph.update([Update(key, None, 1) for key in {key for state in _ALL for key, _ in state}])
            follower.take(_updates((), items))
            twin = SlowGraph("a", "WorkloadIPs")
            twin.update(_updates((), items))
            assert follower.state == twin.state()


_ITEMS: dict[str, list[Any]] = {}
for _case in STATES:
    for _item in _case.items:
        _found = _value(_item)
        if _found not in _ITEMS.setdefault(_item[0], [None]):
            _ITEMS[_item[0]].append(_found)
_CHANGES = [Update(key, value, 1) for key, values in _ITEMS.items() for value in values]
_NUMBERS = st.lists(st.integers(0, len(_CHANGES) - 1), min_size=1, max_size=12)


class Twins(RuleBasedStateMachine):
    """Both graphs live through the same history; at every flush they tell the same."""

    @initialize(source=st.sampled_from(["CalicoIPAM", "WorkloadIPs"]))
    def begin(self, source: str) -> None:
        self.fast, self.slow, self.state = Graph("a", source), SlowGraph("a", source), State()

    @rule(numbers=_NUMBERS)
    def update(self, numbers: list[int]) -> None:
        updates = [_CHANGES[number] for number in numbers]
        self.fast.update(updates)
        self.slow.update(updates)

    @rule()
    def flush(self) -> None:
        fast, slow = self.fast.flush(), self.slow.flush()
        assert fast == slow
        _make_sense(self.state, fast)
        self.state.apply(fast)

    def teardown(self) -> None:
        self.flush()
        assert self.state == self.slow.state()


TestTwins = Twins.TestCase
TestTwins.settings = settings(
    max_examples=1000 if os.environ.get("DCOS_CALICO_SOAK") else 60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_a_change_of_one_endpoint_touches_only_what_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of an update grows with what it touches: of a thousand sets, the two it leaves and enters."""
    touched: list[str] = []
    graph = Graph("a")
    for number in range(1000):
        source = {"selector": f"app == 'a{number}'"}
        item = policy(
            f"p{number}", f"group == 'g{number % 50}'", types=["Ingress"], ingress=[documents.rule(source=source)]
        )
        graph.update(_updates((), [item]))
    graph.update(_updates((), [workload("a", f"g{at}", "10.9.9.9", labels={"group": f"g{at}"}) for at in range(50)]))
    graph.update(_updates((), [workload("b", "x", "10.0.0.1", labels={"app": "a1"})]))
    assert len(graph.flush().sets_created) == 1000
    for name in ("_add", "_remove"):
        method = getattr(IpSets, name)

        def counted(self: IpSets, uid: str, contributor: Any, method: Any = method) -> None:
            touched.append(uid)
            method(self, uid, contributor)

        monkeypatch.setattr(IpSets, name, counted)
    graph.update(_updates((), [workload("b", "x", "10.0.0.1", labels={"app": "a2"})]))
    assert len(graph.flush().sets_changed) == len(touched) == 2
