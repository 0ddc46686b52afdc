"""confd for ever: threads follow the datastore, another renders, applies and looks after BIRD.

Nothing is rendered before the stream is complete. Changes that come while BIRD is being told are taken together: a
thousand nodes that start at once cost a few configurations, not a thousand. What could not be applied is tried again
every few seconds.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from calico.confd import passwords
from calico.confd.apply import CONFIG, Applier, Outcome
from calico.confd.cluster import Cluster, Gathering, decoders
from calico.confd.control import SOCKET, ControlError
from calico.confd.health import Figures, SessionLog, Standing
from calico.confd.plan import Password, Plan, Settings, plan
from calico.confd.render import render
from calico.confd.sessions import Running, SessionState, read_running
from calico.daemon.log import fields
from calico.daemon.notify import Notifier
from calico.datastore.store import Store
from calico.datastore.syncer import InSync, Syncer, Update
from calico.model.problems import Problem

TICK = 1.0
RETRY, AGAIN = 1.0, 5.0
LOOK = 5.0
_GATHER = 0.02
_log = logging.getLogger(__name__)


class Options(NamedTuple):
    """Where things are."""

    settings: Settings
    bird: str
    config: str = CONFIG
    control_socket: str = SOCKET
    password_directory: str = passwords.DIRECTORY


class Follower:
    """The stream of the datastore as the newest whole state. `run` is for one thread; the rest may be used by any.

    Each prefix has a watch of its own: a common one would bring every endpoint of the cluster to every node's confd.
    """

    def __init__(self, store: Store, node: str) -> None:
        self._syncers = [Syncer(store, {prefix: decoder}) for prefix, decoder in decoders(node).items()]
        self._lock = threading.Lock()
        self._gathering = Gathering()
        self._whole: set[int] = set()
        self.changed = threading.Event()
        """Something changed since this was cleared last."""
        self.synced = threading.Event()
        """The state has been whole once."""

    @property
    def in_sync(self) -> bool:
        """Whether etcd delivers at the moment."""
        return all(syncer.in_sync for syncer in self._syncers)

    @property
    def error(self) -> str:
        """Why it does not; empty while it does."""
        return next((syncer.last_error for syncer in self._syncers if syncer.last_error), "")

    def run(self) -> None:
        """Follow the streams until `stop`; raises what ends one of them."""
        failure: list[BaseException] = []
        threads = [
            threading.Thread(
                target=_guarded(partial(self._follow, index), failure), name=f"follower-{index}", daemon=True
            )
            for index in range(len(self._syncers))
        ]
        for thread in threads:
            thread.start()
        while not failure and any(thread.is_alive() for thread in threads):
            threads[0].join(TICK)
        if failure:
            self.stop()
            raise failure[0]

    def _follow(self, index: int) -> None:
        for batch in self._syncers[index].batches(TICK):
            with self._lock:
                changes = [self._gathering.on_update(one) for one in batch if isinstance(one, Update)]
                if is_whole := any(isinstance(one, InSync) for one in batch):
                    self._whole.add(index)
                    if len(self._whole) == len(self._syncers):
                        self.synced.set()
            if is_whole or any(changes):
                self.changed.set()

    def stop(self) -> None:
        """End `run`."""
        for syncer in self._syncers:
            syncer.stop()
        self.changed.set()

    def cluster(self) -> Cluster:
        """The state as of now."""
        reason = "it is left as it is; write it anew with calicoctl"
        keys = sorted(key for syncer in self._syncers for key in syncer.broken_keys)
        broken = tuple((key, reason) for key in keys)
        with self._lock:
            return self._gathering.cluster(broken)


class Confd:
    """Renders, applies, watches. Everything but `stop` belongs to the thread that calls `run` or `once`."""

    def __init__(self, options: Options, store: Store, notifier: Notifier | None = None) -> None:
        self._options = options
        self.follower = Follower(store, options.settings.node)
        self.figures = Figures()
        self._notifier = notifier or Notifier("", "")
        self._applier = Applier(options.config, options.bird, options.control_socket)
        self._sessions = SessionLog()
        self._stopped = threading.Event()
        self._problems: tuple[Problem, ...] = ()
        self._passwords: dict[str, Password] = {}
        self._outcome = Outcome(error="not told yet")
        self._standing = Standing(waiting="the datastore is being read")
        self._next_apply = self._next_look = 0.0
        self.heartbeat = time.monotonic()
        """When the loop came round last."""

    @property
    def is_ready(self) -> bool:
        """Whether BIRD runs with what the datastore says."""
        return self.follower.in_sync and not self._standing.waiting and not self._standing.error

    def stop(self) -> None:
        """End `run`, from any thread or a signal handler."""
        self._stopped.set()
        self.follower.stop()

    def refresh(self) -> None:
        """Look at everything anew (SIGHUP)."""
        self._next_apply = 0.0
        self.follower.changed.set()

    def run(self) -> None:
        """Until `stop`. A follower that fails is the end: its exception goes on."""
        failure: list[BaseException] = []
        thread = threading.Thread(target=_guarded(self.follower.run, failure), name="follower", daemon=True)
        thread.start()
        self._notifier.ready(self._standing.status)
        while not self._stopped.is_set():
            self.follower.changed.wait(TICK)
            if failure:
                raise failure[0]
            self._round(time.monotonic())
        self._notifier.stopping()
        thread.join(TICK)

    def _round(self, now: float) -> None:
        self.heartbeat = now
        self._notifier.alive()
        self.figures.in_sync.set(self.follower.in_sync)
        if not self.follower.synced.is_set():
            self.follower.changed.clear()
            self._stand(Standing(waiting=self.follower.error or "the datastore is being read"))
            return
        if self.follower.changed.is_set() or now >= self._next_apply:
            self._stopped.wait(_GATHER)
            self.follower.changed.clear()
            self._apply()
            self._next_apply = time.monotonic() + (RETRY if self._outcome.error else AGAIN)
        if now >= self._next_look:
            self._next_look = now + LOOK
            self._look(now)

    def _apply(self) -> None:
        """Have BIRD run with the state as it is now."""
        found = self.plan()
        outcome = self._applier.apply(render(found.configuration))
        self._report(found.problems)
        self.figures.renders.add()
        self.figures.writes.add(outcome.written)
        self.figures.reloads.add(outcome.reloaded)
        self.figures.failures.add(bool(outcome.error))
        if outcome.error and outcome.error != self._outcome.error:
            _log.error("BIRD does not run with the newest configuration %s", fields(reason=outcome.error))
        if outcome.written or outcome.reloaded:
            self._next_look = 0.0
        self._outcome = outcome
        sessions = () if outcome.error else self._standing.sessions
        away = self.follower.error
        self._stand(Standing(error=outcome.error, away=away, problems=len(found.problems), sessions=sessions))

    def plan(self) -> Plan:
        """What the state as it is now asks for."""
        cluster = self.follower.cluster()
        secrets = passwords.read(self._options.password_directory, passwords.wanted(cluster))
        return plan(cluster, self._options.settings, secrets)

    def _report(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems:
            if problem not in self._problems:
                _log.warning("left out %s", problem)
        for problem in self._problems:
            if problem not in problems:
                _log.info("mended %s", problem.where)
        self._problems = problems
        self.figures.problems.set(len(problems))

    def _look(self, now: float) -> None:
        """Ask BIRD how its sessions are."""
        try:
            sessions: list[SessionState] = self.figures.observe(read_running(self._options.control_socket))
        except ControlError as error:
            self.figures.bird_up.set(0)
            self.figures.observe(Running())
            self._stand(self._standing._replace(error=str(error), sessions=()))
            return
        self.figures.bird_up.set(1)
        self._sessions.follow(sessions, now)
        self._stand(self._standing._replace(error=self._outcome.error, sessions=tuple(sessions)))

    def _stand(self, standing: Standing) -> None:
        self._standing = standing
        self._notifier.status(standing.status)

    def once(self, patience: float) -> tuple[Plan, Outcome] | None:
        """Render and apply one time, when everything was read; None when that takes longer than `patience` seconds."""
        found = self.read_once(patience)
        return None if found is None else (found, self._applier.apply(render(found.configuration)))

    def read_once(self, patience: float) -> Plan | None:
        """What the datastore asks for, read one time."""
        threading.Thread(target=self.follower.run, name="follower", daemon=True).start()
        is_whole = self.follower.synced.wait(patience)
        found = self.plan() if is_whole else None
        self.follower.stop()
        return found


def _guarded(work: Callable[[], None], failure: list[BaseException]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except BaseException as error:
            failure.append(error)

    return run
