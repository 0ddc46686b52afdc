"""What the cluster looks like: its members, what is wrong with it, and the room its deleted keys take."""

from collections.abc import Callable
from typing import Any, NamedTuple

from dcos_etcd.client import Client, Status
from dcos_etcd.errors import EtcdError
from dcos_etcd.plan import Member
from dcos_etcd.settings import Settings


class Row(NamedTuple):
    """A member and, where it answers, what it says of itself."""

    member: Member
    status: Status | None

    def as_json(self) -> dict[str, Any]:
        """The row for a program."""
        member, status = self.member, self.status
        return {
            "id": f"{member.id:x}",
            "name": member.label,
            "address": member.address,
            "state": state_of(self),
            "version": status.version if status else None,
            "size": status.size if status else None,
        }


def state_of(row: Row) -> str:
    """One word on a member."""
    if row.status is None:
        return "silent" if row.member.name else "unstarted"
    if row.member.is_learner:
        return "learner"
    return "leader" if row.status.leader == row.member.id else "follower"


def list_members(settings: Settings, client: Client) -> list[Row]:
    """The members by name; EtcdError when this node's etcd does not answer."""
    _, members = client.members(settings.address)
    statuses = client.statuses([member.address for member in members])
    rows = (Row(member, statuses[member.address]) for member in members)
    return sorted(rows, key=lambda row: row.member.label)


def diagnose(settings: Settings, client: Client) -> list[str]:
    """What is wrong, a line each; nothing when all is well."""
    try:
        rows = list_members(settings, client)
    except EtcdError as error:
        return [f"{error} (see journalctl -u dcos-etcd)"]
    problems = []
    if not client.has_quorum(settings.address):
        problems.append("no majority answers; start the other masters, or see dcos-etcdctl recover --help")
    for row in rows:
        if row.status is None:
            problems.append(
                f"{row.member.label} does not answer; start it, or remove it: dcos-etcdctl members --remove"
            )
        elif row.status.leader == 0:
            problems.append(f"{row.member.label} has no leader")
    clusters = {row.status.cluster_id for row in rows if row.status}
    if len(clusters) > 1:
        problems.append(f"masters are in different clusters: {', '.join(sorted(f'{each:x}' for each in clusters))}")
    listed = set(settings.masters) if settings.discovery == "static" else {row.member.address for row in rows}
    problems += [
        f"{row.member.label} is in no master_list; remove it: dcos-etcdctl members --remove {row.member.address}"
        for row in rows
        if row.member.address not in listed
    ]
    return problems


def defrag(settings: Settings, client: Client, say: Callable[[str], None]) -> list[tuple[str, int, int]]:
    """Give back the room of deleted keys, one member after another, the leader last: name, bytes before and after."""
    rows = [row for row in list_members(settings, client) if row.status]
    done = []
    for row in sorted(rows, key=lambda row: state_of(row) == "leader"):
        say(f"{row.member.label} ({state_of(row)})")
        client.root(row.member.address, "defrag", timeout=600)
        before = row.status.size if row.status else 0
        done.append((row.member.label, before, client.status(row.member.address).size))
    return done
