"""Joining: observe, take the one step that `plan` names, observe again, until etcd may start. Then, when it runs,
settle: take the vote, make the users, remember the members.
"""

import sys
import time
from collections.abc import Callable

from dcos_etcd.client import Client
from dcos_etcd.datadir import read_identity, set_aside
from dcos_etcd.errors import EtcdError
from dcos_etcd.files import read_memory, remember, write_initial
from dcos_etcd.plan import (
    AddLearner,
    Member,
    RemoveMember,
    SetAside,
    Situation,
    Start,
    StartAdded,
    StartNew,
    Step,
    View,
    Wait,
    plan_join,
)
from dcos_etcd.registry import Registry
from dcos_etcd.settings import Settings
from dcos_etcd.users import ensure_users

_PAUSE = 1.0
_USERS_DEADLINE = 60.0


class Log:
    """One line for each new thing to say; what is said again and again while waiting is said once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, line: str) -> None:
        """Say it, unless it was the last thing said."""
        if line != self._last:
            print(f"etcd-discovery: {line}", file=sys.stderr, flush=True)
        self._last = line


class Joiner:
    """Brings this node to where etcd may start. Safe to interrupt at any instant, and to run again."""

    def __init__(self, settings: Settings, client: Client, registry: Registry, log: Callable[[str], None]) -> None:
        self._settings, self._client, self._registry, self._log = settings, client, registry, log
        self._learner, self._since = 0, time.monotonic()

    def join(self) -> None:
        """Return when etcd may start; waits as long as it takes. EtcdError when only an operator can help."""
        while not self._turn():
            time.sleep(_PAUSE)

    def _turn(self) -> bool:
        if read_identity(self._settings.data) is not None:
            # A restart must need nobody: not ZooKeeper, not the other masters.
            return self._act(plan_join(self._observe(self._known_peers(), may_found=False)))
        try:
            with self._registry.locked():
                step = plan_join(self._observe(self._registry.nodes(), self._registry.may_found()))
                return self._act(step)
        except EtcdError as error:
            if error.status != 3:
                raise
            self._log(str(error))
            return False

    def _known_peers(self) -> tuple[str, ...]:
        return (*self._settings.masters, *read_memory(self._settings.state).peers)

    def _observe(self, nodes: tuple[str, ...], may_found: bool) -> Situation:
        others = tuple(dict.fromkeys(node for node in nodes if node != self._settings.address))
        views, silent = self._client.views(others)
        return Situation(
            peer_url=self._settings.peer_url,
            data=read_identity(self._settings.data),
            was_member=bool(read_memory(self._settings.state).clusters),
            may_found=may_found,
            views=views,
            silent=silent,
            waited=self._waited_for(views),
        )

    def _waited_for(self, views: tuple[View, ...]) -> float:
        """For how long the same learner has been there."""
        learner = next((member.id for view in views for member in view.members if member.is_learner), 0)
        if learner != self._learner:
            self._learner, self._since = learner, time.monotonic()
        return time.monotonic() - self._since

    def _act(self, step: Step) -> bool:
        """Take the step; True when etcd may start."""
        match step:
            case Start(warning):
                if warning:
                    self._log(warning)
                return True
            case StartNew():
                self._log("nobody has begun: this master founds the cluster")
                self._registry.add()
                own = Member(0, self._settings.name, self._settings.peer_url, False)
                write_initial(self._settings.state, "new", [own])
                return True
            case StartAdded(members):
                self._registry.add()
                write_initial(self._settings.state, "existing", members)
                return True
            case AddLearner(via):
                self._log(f"asking {via} to add this master")
                self._add_learner(via)
            case RemoveMember(via, member, reason):
                self._log(f"asking {via} to remove {member.label}: {reason}")
                self._client.root(via, "member", "remove", f"{member.id:x}")
            case SetAside(reason):
                kept = set_aside(self._settings.data, "removed")
                self._log(f"{reason}; it is in {kept} now, and this master joins anew")
            case Wait(reason):
                self._log(reason)
        return False

    def _add_learner(self, via: str) -> None:
        name, url = self._settings.name, self._settings.peer_url
        self._client.root(via, "member", "add", name, "--learner", f"--peer-urls={url}")


def settle(settings: Settings, client: Client, registry: Registry, log: Callable[[str], None]) -> None:
    """Finish what only a running etcd allows; waits as long as it takes. EtcdError when the users cannot be made."""
    while not _promoted(settings, client, registry, log):
        time.sleep(_PAUSE / 2)
    if settings.tls:
        _users(settings, client, log)


def _users(settings: Settings, client: Client, log: Callable[[str], None]) -> None:
    """Another master may do the same at the same time, and a leader may change: try again for a while."""
    deadline = time.monotonic() + _USERS_DEADLINE
    while True:
        try:
            ensure_users(client, settings.address, log)
            return
        except EtcdError as error:
            if error.status != 3 or time.monotonic() > deadline:
                raise
            log(f"etcd's users: {error}")
        time.sleep(_PAUSE)


def _promoted(settings: Settings, client: Client, registry: Registry, log: Callable[[str], None]) -> bool:
    """Whether this member runs and has its vote; asks for it where not."""
    try:
        status = client.status(settings.address)
        if status.is_learner:
            _promote(settings, client, status.member_id)
            return False
        cluster_id, members = client.members(settings.address)
    except EtcdError as error:
        log(f"waiting: {error}")
        return False
    remember(settings.state, cluster_id, (member.address for member in members))
    return bool(status.leader)


def _promote(settings: Settings, client: Client, member_id: int) -> None:
    """Ask a member with a vote; EtcdError with the last answer while none agrees: it is not in step yet."""
    failure = EtcdError(settings.name, "no other member is known", status=3)
    for address in _voters(settings):
        try:
            client.root(address, "member", "promote", f"{member_id:x}")
        except EtcdError as error:
            failure = error
        else:
            return
    raise failure


def _voters(settings: Settings) -> tuple[str, ...]:
    """Who may have a vote: the members this node was started with, and the list."""
    try:
        nodes = (settings.state / "initial-nodes").read_text().strip()
    except FileNotFoundError:
        nodes = ""
    urls = (entry.partition("=")[2] for entry in nodes.split(",") if entry)
    addresses = [Member(0, "", url, False).address for url in urls]
    return tuple(dict.fromkeys(each for each in (*addresses, *settings.masters) if each != settings.address))
