"""What confd says of BIRD: a status line for systemd, lines for the log, figures for Prometheus.

A session that just begins is no news. One that has not come up a while after its configuration was loaded, or was lost,
is reported once, with the cause and what to do, and once more when the cause changes or it is well again.
"""

import logging
from collections.abc import Iterable
from typing import NamedTuple

from calico.confd.sessions import Running, SessionState, next_step
from calico.daemon.log import fields
from calico.daemon.metrics import Registry

PATIENCE = 30.0
_MOST_LINES = 10
_log = logging.getLogger(__name__)


class Standing(NamedTuple):
    """Where things stand. `waiting` is why nothing was rendered yet, `error` why BIRD does not run with what was,
    `away` why etcd does not answer; `problems` is how many parts of the datastore were left out."""

    waiting: str = ""
    error: str = ""
    away: str = ""
    problems: int = 0
    sessions: tuple[SessionState, ...] = ()

    @property
    def status(self) -> str:
        """One line for `systemctl status`."""
        if self.waiting:
            return f"nothing rendered yet: {self.waiting}"
        left_out = f"; {self.problems} problems, see the log" if self.problems else ""
        left_out += f"; etcd is away: {self.away}" if self.away else ""
        if self.error:
            return f"BIRD is not ready: {self.error}{left_out}"
        poor = [session for session in self.sessions if not session.is_established]
        text = f"{len(self.sessions) - len(poor)} of {len(self.sessions)} sessions established"
        if poor:
            others = f" ({len(poor) - 1} more: calicoctl node status)" if poor[1:] else ""
            text += f"; {poor[0].address} {poor[0].reason}: {next_step(poor[0])}{others}"
        return text + left_out


class SessionLog:
    """Follows sessions and says what changed, once. `now` is in seconds of any clock."""

    def __init__(self) -> None:
        self._poor_since: dict[str, float] = {}
        self._told: dict[str, str] = {}

    def follow(self, sessions: Iterable[SessionState], now: float) -> None:
        """Take in how the sessions are, and log what is news."""
        poor = {session.name: session for session in sessions if not session.is_established}
        for name in [name for name in self._poor_since if name not in poor]:
            del self._poor_since[name]
            if self._told.pop(name, None) is not None:
                _log.info("BGP session is well again, or gone %s", fields(session=name))
        news = [session for session in poor.values() if self._is_news(session, now)]
        for session in news[:_MOST_LINES]:
            _log.warning(
                "BGP session is not established %s",
                fields(session=session.name, reason=session.reason, next_step=next_step(session)),
            )
        if news[_MOST_LINES:]:
            _log.warning("and %d sessions more: calicoctl node status", len(news) - _MOST_LINES)
        self._told.update({session.name: session.error for session in news})

    def _is_news(self, session: SessionState, now: float) -> bool:
        since = self._poor_since.setdefault(session.name, now)
        return now - since >= PATIENCE and self._told.get(session.name) != session.error


class Figures:
    """confd's metrics."""

    def __init__(self) -> None:
        self.registry = registry = Registry()
        self.in_sync = registry.gauge("calico_confd_in_sync", "1 while etcd delivers and everything was read.")
        self.problems = registry.gauge("calico_confd_problems", "Parts of the datastore left out because of errors.")
        self.renders = registry.counter("calico_confd_renders_total", "Configurations computed.")
        self.writes = registry.counter("calico_confd_writes_total", "Configurations written because they differed.")
        self.reloads = registry.counter("calico_confd_reloads_total", "Times BIRD accepted a configuration.")
        self.failures = registry.counter(
            "calico_confd_failures_total", "Times a configuration was refused or BIRD could not be told."
        )
        self.bird_up = registry.gauge("calico_bird_up", "1 while BIRD answers on its control socket.")
        self._sessions = registry.gauge("calico_bgp_sessions", "BGP sessions.", ("family", "type", "state"))
        self._up = registry.gauge("calico_bgp_session_up", "1 while a session is established.", ("peer", "type"))
        self._routes = registry.gauge("calico_bgp_routes", "Routes of a session.", ("peer", "type", "direction"))
        self._kernel = registry.gauge("calico_bird_kernel_routes", "Routes BIRD has in the kernel.", ("family",))

    def observe(self, running: Running) -> list[SessionState]:
        """Take in what BIRD runs; its sessions."""
        sessions = running.sessions
        counts: dict[tuple[str, ...], float] = {}
        for session in sessions:
            key = (f"ipv{session.version}", session.kind, session.info.lower())
            counts[key] = counts.get(key, 0) + 1
        self._sessions.replace(counts)
        self._up.replace({(one.address, one.kind): float(one.is_established) for one in sessions})
        self._routes.replace(
            {
                (one.address, one.kind, direction): float(getattr(one, direction))
                for one in sessions
                for direction in ("imported", "exported", "preferred")
            }
        )
        kernels = {one.name: one.routes.get("exported", 0) for one in running.protocols if one.proto == "Kernel"}
        self._kernel.replace({(name.replace("kernel", "ipv"),): float(count) for name, count in kernels.items()})
        return sessions
