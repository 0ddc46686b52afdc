"""The decision table: each row, and a model of etcd in which masters are killed between and after any steps."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcos_etcd.datadir import Identity
from dcos_etcd.plan import (
    PATIENCE,
    AddLearner,
    Member,
    RemoveMember,
    SetAside,
    Situation,
    Start,
    StartAdded,
    StartNew,
    View,
    Wait,
    plan_join,
)


def url(address: str) -> str:
    return f"https://{address}:2380"


def member(number: int, address: str, *, started: bool = True, learner: bool = False) -> Member:
    return Member(number, f"etcd-{address}" if started else "", url(address), learner)


A, B, C = member(1, "10.0.0.1"), member(2, "10.0.0.2"), member(3, "10.0.0.3")
UNSTARTED = member(2, "10.0.0.2", started=False, learner=True)
OURS = Identity(2, 7)


def seen(
    *views: View, data: Identity | None = None, was: bool = False, first: bool = False, **more: object
) -> Situation:
    """What the master at 10.0.0.2 sees."""
    return Situation(url("10.0.0.2"), data, was, first, views, **more)  # type: ignore[arg-type]


def view(*members: Member, cluster: int = 7, quorum: bool = True, at: str = "10.0.0.1") -> View:
    return View(at, cluster, members, quorum)


@pytest.mark.parametrize(
    ("situation", "step"),
    [
        (seen(first=True), StartNew()),
        (seen(view(A)), AddLearner("10.0.0.1")),
        (seen(view(A), first=True), AddLearner("10.0.0.1")),
        (seen(view(A, UNSTARTED)), StartAdded((A, UNSTARTED))),
        (seen(view(A, UNSTARTED, quorum=False)), StartAdded((A, UNSTARTED))),
        (seen(view(A, B, C)), RemoveMember("10.0.0.1", B, "its data is gone")),
        (seen(data=OURS), Start()),
        (seen(view(A, B), data=OURS), Start()),
        (seen(view(A, quorum=False), data=OURS), Start()),
        (seen(view(A, C, cluster=8), view(A, B, at="10.0.0.3"), data=OURS), Start()),
        (
            seen(view(A, member(4, "10.0.0.3", learner=True)), silent=frozenset({"10.0.0.3"}), waited=PATIENCE + 1),
            RemoveMember("10.0.0.1", member(4, "10.0.0.3", learner=True), "it began to join and does not answer"),
        ),
    ],
)
def test_row(situation: Situation, step: object) -> None:
    assert plan_join(situation) == step


@pytest.mark.parametrize(
    ("situation", "reason"),
    [
        (seen(), "no other master's etcd answers yet"),
        (seen(was=True, first=True), "data is gone"),
        (seen(view(A, C, quorum=False)), "has no majority"),
        (seen(view(A, B, quorum=False)), "has no majority"),
        (seen(view(A, member(4, "10.0.0.3", learner=True))), "etcd-10.0.0.3 is joining"),
        (seen(view(A, member(4, "10.0.0.3", learner=True)), waited=PATIENCE + 1), "etcd-10.0.0.3 is joining"),
        (seen(view(A), view(C, cluster=8, at="10.0.0.3")), "two clusters answer"),
    ],
)
def test_row_that_waits(situation: Situation, reason: str) -> None:
    step = plan_join(situation)
    assert isinstance(step, Wait)
    assert reason in step.reason


def test_data_of_a_removed_member_is_set_aside_only_when_a_majority_says_so() -> None:
    assert isinstance(plan_join(seen(view(A, C), data=OURS)), SetAside)


def test_data_of_another_cluster_starts_and_says_so() -> None:
    step = plan_join(seen(view(A, cluster=8), data=OURS))
    assert isinstance(step, Start)
    assert "dcos-etcdctl rejoin" in step.warning


@dataclass
class Node:
    """A master of the model: its data, what it remembers, and whether its etcd runs."""

    address: str
    data: Identity | None = None
    was_member: bool = False
    runs: bool = False


@dataclass
class Cluster:
    """Masters and the membership they agree on, as etcd keeps it: one learner at a time, a majority for each change."""

    nodes: list[Node]
    members: list[Member] = field(default_factory=list)
    founded: int = 0
    next_id: int = 1
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By address: the learner it saw last, and for how many turns."""

    def has_quorum(self) -> bool:
        voters = [each for each in self.members if not each.is_learner]
        running = sum(self._is_up(each) for each in voters)
        return bool(voters) and running * 2 > len(voters)

    def turn(self, node: Node) -> None:
        """One step of a master's discovery, or of settling where its etcd runs."""
        if node.runs:
            self._settle(node)
            return
        match plan_join(self._observe(node)):
            case StartNew():
                self.founded += 1
                node.data, node.runs = Identity(self.next_id, self.founded), True
                self.members = [Member(self.next_id, f"etcd-{node.address}", url(node.address), False)]
                self.next_id += 1
            case StartAdded(members):
                assert sorted(members) == sorted(self.members), "etcd refuses to start with another list"
                own = next(each for each in self.members if each.peer_url == url(node.address))
                node.data, node.runs = Identity(own.id, self.founded), True
            case Start():
                node.runs = True
            case AddLearner():
                assert self.has_quorum()
                assert not any(each.is_learner for each in self.members)
                self.members.append(Member(self.next_id, "", url(node.address), True))
                self.next_id += 1
            case RemoveMember(_, removed, _):
                assert self.has_quorum()
                self.members.remove(removed)
            case SetAside():
                node.data = None

    def _settle(self, node: Node) -> None:
        index = next((i for i, each in enumerate(self.members) if node.data and each.id == node.data.member_id), None)
        if index is None:
            node.runs = False  # etcd ends where it has been removed
        elif self.has_quorum():
            self.members[index] = self.members[index]._replace(name=f"etcd-{node.address}", is_learner=False)
            node.was_member = True

    def _observe(self, node: Node) -> Situation:
        others = [each for each in self.nodes if each is not node]
        views = tuple(
            View(each.address, self.founded, tuple(self.members), self.has_quorum())
            for each in others
            if any(self._is_up(m) and m.peer_url == url(each.address) and not m.is_learner for m in self.members)
        )
        silent = frozenset(each.address for each in others if not each.runs)
        first = node is self.nodes[0]
        return Situation(url(node.address), node.data, node.was_member, first, views, silent, self._waited(node))

    def _waited(self, node: Node) -> float:
        learner = next((each.id for each in self.members if each.is_learner), 0)
        before, turns = self.seen.get(node.address, (0, 0))
        self.seen[node.address] = (learner, turns + 1 if learner == before else 0)
        return self.seen[node.address][1] * PATIENCE / 4

    def _is_up(self, each: Member) -> bool:
        return any(node.runs and node.data and node.data.member_id == each.id for node in self.nodes)


@given(st.integers(0, 10_000), st.integers(1, 60), st.sampled_from([1, 3, 5]))
def test_a_cluster_forms_whoever_is_killed_after_any_step(seed: int, turns: int, size: int) -> None:
    chance = random.Random(seed)
    cluster = Cluster([Node(f"10.0.0.{number}") for number in range(1, size + 1)])
    for _ in range(turns):
        node = chance.choice(cluster.nodes)
        cluster.turn(node)
        if chance.random() < 0.3:
            chance.choice(cluster.nodes).runs = False
    for _ in range(20):
        for node in cluster.nodes:
            cluster.turn(node)
    assert cluster.founded == 1
    assert sorted(each.peer_url for each in cluster.members) == sorted(url(node.address) for node in cluster.nodes)
    assert not any(each.is_learner for each in cluster.members)
    assert all(node.runs for node in cluster.nodes)


@given(st.integers(0, 10_000))
def test_any_one_may_lose_its_data_and_come_back(seed: int) -> None:
    chance = random.Random(seed)
    cluster = Cluster([Node(f"10.0.0.{number}") for number in range(1, 4)])
    for _ in range(10):
        for node in cluster.nodes:
            cluster.turn(node)
    lost = chance.choice(cluster.nodes)
    lost.data, lost.runs, lost.was_member = None, False, chance.random() < 0.5
    for _ in range(10):
        cluster.turn(chance.choice(cluster.nodes))
        lost.runs = lost.runs and chance.random() < 0.7
    for _ in range(20):
        for node in cluster.nodes:
            cluster.turn(node)
    assert cluster.founded == 1
    assert len(cluster.members) == 3
    assert cluster.has_quorum()
