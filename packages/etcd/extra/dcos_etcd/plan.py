"""The decision table of joining: what a master sees, and the one step that follows from it. Pure.

The executor (`join`) observes, takes the step, and observes again until the step is a start. Nothing is remembered
between two steps but what etcd, the data directory and the registry hold, so a process that dies after any step goes on
where the next observation finds it. docs/explanation/etcd.md has the table in words.
"""

from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from dcos_etcd.datadir import Identity
from dcos_etcd.settings import member_name

PATIENCE = 60.0
"""Seconds a learner that does not answer may keep others from joining; etcd allows one learner at a time."""


class Member(NamedTuple):
    """A member as etcd lists it; `name` is empty until it has started once."""

    id: int
    name: str
    peer_url: str
    is_learner: bool

    @property
    def address(self) -> str:
        """The host in its peer URL."""
        return urlsplit(self.peer_url).hostname or ""

    @property
    def label(self) -> str:
        """Its name; one that has not started will have this one."""
        return self.name or member_name(self.address)


class View(NamedTuple):
    """What the master at `address` says. `has_quorum`: it just answered a read that needs one."""

    address: str
    cluster_id: int
    members: tuple[Member, ...]
    has_quorum: bool


@dataclass(frozen=True)
class Situation:
    """All that a decision depends on. `views` and `silent` are of the other masters only."""

    peer_url: str
    data: Identity | None
    was_member: bool
    """Something here says that this node had data once: it must never found a cluster again."""
    may_found: bool
    """This is the master that begins: the first of the list, or the only one in the registry."""
    views: tuple[View, ...] = ()
    silent: frozenset[str] = field(default_factory=frozenset)
    """Masters whose etcd does not answer."""
    waited: float = 0.0
    """Seconds for which the same learner has been in the way."""


class Start(NamedTuple):
    """Start etcd on the data that is here. `warning` is for the log."""

    warning: str = ""


class StartNew(NamedTuple):
    """Found the cluster, alone."""


class StartAdded(NamedTuple):
    """Start etcd without data: it is a member already, and these are all of them."""

    members: tuple[Member, ...]


class AddLearner(NamedTuple):
    """Ask the master at `via` to add this node: without a vote until it has the data."""

    via: str


class RemoveMember(NamedTuple):
    """Ask the master at `via` to remove a member."""

    via: str
    member: Member
    reason: str


class SetAside(NamedTuple):
    """Rename the data directory: the cluster has removed the member it belongs to."""

    reason: str


class Wait(NamedTuple):
    """Nothing can be done now; look again."""

    reason: str


Step = Start | StartNew | StartAdded | AddLearner | RemoveMember | SetAside | Wait


def plan_join(seen: Situation) -> Step:
    """The next step of the master that sees this."""
    if seen.data is not None:
        return _with_data(seen, seen.data)
    clusters = {view.cluster_id for view in seen.views}
    if len(clusters) > 1:
        named = ", ".join(sorted(f"{view.cluster_id:x} at {view.address}" for view in seen.views))
        return Wait(f"two clusters answer ({named}); stop etcd on the masters of the wrong one")
    if not clusters:
        return _alone(seen)
    return _without_data(seen)


def _with_data(seen: Situation, data: Identity) -> Step:
    ours = [view for view in seen.views if view.cluster_id == data.cluster_id]
    for view in ours:
        if view.has_quorum and not any(member.id == data.member_id for member in view.members):
            return SetAside(f"the cluster at {view.address} has removed the member this data belongs to")
    foreign = [view for view in seen.views if view.cluster_id != data.cluster_id]
    if foreign and not ours:
        other = foreign[0]
        return Start(
            f"the data here is of cluster {data.cluster_id:x}, and {other.address} is in {other.cluster_id:x}; "
            "if that is the right one, run dcos-etcdctl rejoin here"
        )
    return Start()


def _alone(seen: Situation) -> Step:
    if seen.was_member:
        return Wait(
            "this master's data is gone and no other master's etcd answers; start the others, or restore a backup "
            "(dcos-etcdctl restore)"
        )
    if seen.may_found:
        return StartNew()
    return Wait("no other master's etcd answers yet; the first one founds the cluster")


def _without_data(seen: Situation) -> Step:
    view = max(seen.views, key=lambda each: each.has_quorum)
    own = next((member for member in view.members if member.peer_url == seen.peer_url), None)
    if own is not None and not own.name:
        return StartAdded(view.members)
    if not view.has_quorum:
        return Wait(
            f"the etcd at {view.address} has no majority; start the other masters, or if they are lost for good run "
            "dcos-etcdctl recover there"
        )
    if own is not None:
        return RemoveMember(view.address, own, "its data is gone")
    learner = next((member for member in view.members if member.is_learner), None)
    if learner is None:
        return AddLearner(view.address)
    if learner.address in seen.silent and seen.waited > PATIENCE:
        return RemoveMember(view.address, learner, "it began to join and does not answer")
    return Wait(f"{learner.label} is joining; one joins at a time")
