"""`Daemon`: the loop that brings the datastore into the kernel.

    etcd --Feed--> updates --Graph--> Changes --Dataplane--> kernel
                      \\--Configuration--> Settings

One thread does all of it but reading etcd, serving HTTP and reporting status. A single change goes through at once;
what arrives while one is worked on goes through together afterwards.

States: *waiting* until the stream is in sync and the cluster's record says `datastoreReady`; nothing is written to the
kernel before. *Running*, for as long as the configuration stands, whatever becomes of etcd. *Leaving*: a change of
configuration that only a new process can take, SIGHUP, or a cluster that is not ready any more: the loop goes on for 2
seconds and ends with 129, and the next process finds the kernel as it was left.
"""

import contextlib
import gc
import logging
import select
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from calico.daemon import log
from calico.daemon.log import fields
from calico.daemon.metrics import Endpoint, health_page, metrics_page
from calico.daemon.notify import Notifier
from calico.datastore.store import Store
from calico.datastore.syncer import InSync, Syncer, Update
from calico.felix import configuration, live, wiring
from calico.felix.calc.graph import Graph
from calico.felix.calc.inputs import DECODERS
from calico.felix.config.parameters import Effect
from calico.felix.config.resolve import Resolved, differing, effect
from calico.felix.config.settings import Settings
from calico.felix.configuration import Configuration
from calico.felix.dataplane.dataplane import Dataplane, Outcome
from calico.felix.dataplane.network import Network
from calico.felix.dataplane.nft.tables import Drops, Tables
from calico.felix.desired import Changes, HostEndpoint, Workload, WorkloadId
from calico.felix.endpoints import host_endpoint_statuses, workload_statuses
from calico.felix.feed import Delivery, Feed
from calico.felix.figures import Figures, drop_labels
from calico.felix.mailbox import Mailbox
from calico.felix.status import Reporter, ReportSettings, host_endpoint_key, workload_key
from calico.netlink.socket import NETLINK_NETFILTER, Netlink

_log = logging.getLogger(__name__)

RESTART = 129
"""Upstream's exit status for "start me again with the new configuration"."""

_LEAVE_AFTER = 2.0
_LIVE_WITHIN = 20.0
_SERVE_AGAIN = 10.0
_LONGEST_WAIT = 5.0


class Context(NamedTuple):
    """What a daemon is given: where it keeps what a restart should find, how it reaches etcd, and whom it tells."""

    directory: Path
    store: Store
    report_store: Store
    notifier: Notifier


class Running(NamedTuple):
    """What there is once the first state is known."""

    settings: Settings
    graph: Graph
    dataplane: Dataplane
    tables: Tables
    reporter: Reporter


class Daemon:
    """The felix of one host. `run` returns the exit status; `leave` and `stop` may be called by signal handlers."""

    def __init__(self, config: Configuration, context: Context) -> None:
        self._config, self._context = config, context
        self._feed = Feed(Syncer(context.store, {**DECODERS, **configuration.DECODERS}))
        self._mailbox = Mailbox()
        self._figures = Figures(config.hostname)
        self._figures.registry.before = self._read_figures
        self._early: dict[str, Update] = {}
        self._is_in_sync = False
        self._running: Running | None = None
        self._leave_at = 0.0
        self._exit: int | None = None
        self._beat = time.monotonic()
        self._hang_at = 0.0
        self._servers: dict[str, Endpoint] = {}
        self._serve_at = 0.0
        self._workloads: dict[WorkloadId, Workload] = {}
        self._host_endpoints: dict[str, HostEndpoint] = {}
        self._unsettled: set[WorkloadId] = set()
        self._dropped: dict[tuple[str, ...], int] = {}
        self._statuses: Mapping[str, str] = {}
        self._config_problems: tuple[str, ...] = ()
        self._applied = threading.Condition()
        self._delivered = self._revision = 0

    # -- from outside ----------------------------------------------------------------------------------------------

    def leave(self, why: str) -> None:
        """End with 129 in a little while."""
        if not self._leave_at:
            _log.info("restarting %s", fields(why=why))
            self._leave_at = time.monotonic() + _LEAVE_AFTER
            self._mailbox.wake()

    def stop(self) -> None:
        """End with 0 at the next turn. The kernel stays as it is."""
        self._exit = 0
        self._mailbox.wake()

    @property
    def is_live(self) -> bool:
        """Whether the loop turns."""
        return time.monotonic() - self._beat <= _LIVE_WITHIN

    @property
    def is_ready(self) -> bool:
        """Whether the kernel is what the datastore wants, or the datastore is not to be used yet."""
        if self._running is None:
            return self.is_live and self._is_in_sync and not self._config.is_ready
        return self.is_live and self._running.dataplane.is_good

    # -- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Turn until there is a reason to end."""
        resolved = self._config.resolve()
        self._serve(resolved.settings)
        self._feed.start()
        server = live.LiveServer(self._context.directory / live.SOCKET, self._answers())
        self._context.notifier.ready("waiting for the datastore")
        try:
            while self._exit is None:
                self._turn()
                self._wait()
        finally:
            self._context.notifier.stopping()
            server.close()
            self._close()
        return self._exit

    def _close(self) -> None:
        self._feed.stop()
        for endpoint in self._servers.values():
            endpoint.close()
        if self._running is not None:
            self._running.reporter.stop()
            self._running.dataplane.close()

    def _wait(self) -> None:
        """Until something comes, or something is due."""
        poll = select.poll()
        poll.register(self._feed, select.POLLIN)
        poll.register(self._mailbox, select.POLLIN)
        if self._running is not None:
            poll.register(self._running.dataplane, select.POLLIN)
        due = [self._leave_at, self._serve_at, self._hang_at]
        due += [self._running.dataplane.next_due()] if self._running is not None else []
        until = min((one for one in due if one), default=0.0)
        longest = min(_LONGEST_WAIT, self._context.notifier.interval or _LONGEST_WAIT)
        wait = min(longest, max(0.0, until - time.monotonic())) if until else longest
        poll.poll(wait * 1000 + 1)

    def _turn(self) -> None:
        self._beat = now = time.monotonic()
        self._context.notifier.alive()
        self._hang_if_asked(now)
        self._mailbox.serve()
        deliveries = self._feed.take()
        is_reconfigured = sum(self._take(delivery) for delivery in deliveries) > 0
        if self._running is None:
            self._try_to_start()
        else:
            if is_reconfigured:
                self._reconfigure(self._running)
            self._advance(self._running, deliveries)
        if self._serve_at and now >= self._serve_at:
            self._serve(self._running.settings if self._running else self._config.resolve().settings)
        self._tell()
        if self._leave_at and now >= self._leave_at:
            self._exit = RESTART

    def _take(self, delivery: Delivery) -> bool:
        """Take a delivery in; whether it concerns the configuration."""
        is_reconfigured = False
        updates: list[Update] = []
        for item in delivery.items:
            if isinstance(item, InSync):
                self._is_in_sync = True
                continue
            is_reconfigured |= self._config.update(item)
            self._figures.updates.add(1, _kind(item.key))
            updates.append(item)
        self._delivered = delivery.revision
        if self._running is None:
            self._keep(updates)
        elif updates:
            started = time.perf_counter()
            self._running.graph.update(updates)
            self._figures.update_time.observe(time.perf_counter() - started)
        return is_reconfigured

    def _keep(self, updates: list[Update]) -> None:
        """Remember them until there is a graph: what a key holds, and nothing of keys that are gone."""
        for update in updates:
            self._early.pop(update.key, None)
            if update.value is not None:
                self._early[update.key] = update

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _try_to_start(self) -> None:
        if not self._is_in_sync or not self._config.is_ready:
            return
        resolved = self._config.resolve()
        self._complain(resolved)
        settings = resolved.settings
        log.configure(log.LEVELS.get(settings.log_severity_screen.lower(), logging.INFO))
        self._serve(settings)
        started = time.perf_counter()
        graph = Graph(settings.hostname, settings.route_source)
        graph.update(self._early.values())
        self._early = {}
        changes = graph.flush()
        self._context.notifier.alive()
        self._figures.update_time.observe(time.perf_counter() - started)
        self._running = self._start(settings, graph)
        self._note(changes)
        began = time.perf_counter()
        outcome = self._running.dataplane.start(changes)
        self._count(changes, outcome, time.perf_counter() - began)
        self._settled(self._running)
        self._running.reporter.start()
        gc.freeze()  # what stands now will mostly stay: collections need not look at it
        hang = settings.debug_simulate_dataplane_hang_after or settings.debug_simulate_calc_graph_hang_after
        self._hang_at = time.monotonic() + hang if hang else 0.0
        _log.info(
            "in sync %s",
            fields(
                revision=self._revision,
                endpoints=len(self._workloads),
                writes=outcome.writes,
                calculated=f"{began - started:.3f}s",
                applied=f"{time.perf_counter() - began:.3f}s",
            ),
        )

    def _start(self, settings: Settings, graph: Graph) -> Running:
        network = Network(wiring.network_settings(settings, self._context.directory))
        netlink = Netlink(NETLINK_NETFILTER, settings.netlink_timeout)
        tables = Tables(netlink, wiring.nft_settings(settings))
        dataplane = Dataplane(tables, network, wiring.intervals(settings), is_excluded=wiring.exclusion(settings))
        report = ReportSettings.of(settings)
        reporter = Reporter(report, self._context.report_store, lambda: self._statuses)
        return Running(settings, graph, dataplane, tables, reporter)

    def _complain(self, resolved: Resolved) -> None:
        problems = tuple(map(str, resolved.problems))
        for line in problems:
            if line not in self._config_problems:
                _log.warning("configuration: %s", line)
        self._config_problems = problems
        self._figures.config_problems.set(len(problems))

    # -- running ---------------------------------------------------------------------------------------------------

    def _reconfigure(self, running: Running) -> None:
        """The configuration may have changed: take it, or make way for a process that can."""
        if not self._config.is_ready:
            self.leave("the cluster's record does not say datastoreReady any more")
            return
        resolved = self._config.resolve()
        self._complain(resolved)
        asked = effect(running.settings, resolved.settings)
        if asked is Effect.RESTART:
            names = sorted(parameter.name for parameter in differing(running.settings, resolved.settings))
            self.leave(f"changed: {', '.join(names)}")
        elif asked is Effect.IN_PLACE:
            self._take_in_place(running, resolved.settings)

    def _take_in_place(self, running: Running, settings: Settings) -> None:
        log.configure(log.LEVELS.get(settings.log_severity_screen.lower(), logging.INFO))
        running.dataplane.intervals = wiring.intervals(settings)
        self._running = running._replace(settings=settings)

    def _advance(self, running: Running, deliveries: list[Delivery]) -> None:
        """Bring what came into the kernel, and do what is due."""
        is_touched = any(delivery.items for delivery in deliveries)
        changes = running.graph.flush() if is_touched else Changes()
        self._note(changes)
        began = time.perf_counter()
        outcome = running.dataplane.turn(changes)
        if is_touched or outcome != Outcome():
            self._count(changes, outcome, time.perf_counter() - began)
            self._figures.batch_size.observe(sum(len(delivery.items) for delivery in deliveries))
        if self._unsettled or self._revision != self._delivered:
            self._settled(running)
        if is_touched or outcome.writes or running.settings.endpoint_reporting_enabled:
            self._update_statuses(running)

    def _note(self, changes: Changes) -> None:
        _merge(self._workloads, changes.workloads)
        _merge(self._host_endpoints, changes.host_endpoints)
        self._unsettled.update(changes.workloads)

    def _settled(self, running: Running) -> None:
        """Say how far the kernel is."""
        if not running.dataplane.is_good:
            return
        self._unsettled.clear()
        with self._applied:
            self._revision = self._delivered
            self._applied.notify_all()

    def _count(self, changes: Changes, outcome: Outcome, seconds: float) -> None:
        figures = self._figures
        figures.apply_time.observe(seconds)
        figures.failures.add(len(outcome.failures))
        figures.writes.add(outcome.writes)
        figures.repairs.add(outcome.repaired)
        figures.output_events.add(sum(map(len, changes)))

    def _update_statuses(self, running: Running) -> None:
        """What the reporter should make true in etcd."""
        if not running.settings.endpoint_reporting_enabled:
            return
        settings, interfaces = ReportSettings.of(running.settings), running.dataplane.network.monitor.interfaces
        is_failing = not running.dataplane.is_good
        workloads = workload_statuses(self._workloads, interfaces, self._unsettled if is_failing else ())
        prefixes = running.settings.interface_prefixes
        hosts = host_endpoint_statuses(self._host_endpoints, interfaces, prefixes, is_failing)
        self._statuses = {
            **{workload_key(settings, identity): status for identity, status in workloads.items()},
            **{host_endpoint_key(settings, name): status for name, status in hosts.items()},
        }

    # -- telling ---------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """One line for `systemctl status`."""
        syncer = self._feed.syncer
        if self._leave_at:
            said = "restarting for a new configuration"
        elif self._running is None:
            waits = "ClusterInformation default to say datastoreReady" if self._is_in_sync else "the datastore"
            said = f"waiting for {waits}" + (f": {syncer.last_error}" if syncer.last_error else "")
        else:
            problems = self._running.dataplane.problems
            said = f"{len(self._workloads)} local endpoints; "
            said += f"in sync with {syncer.member}" if syncer.in_sync else f"datastore away: {syncer.last_error}"
            said += f"; {len(problems)} problems, first: {problems[0]}" if problems else ""
        self._context.notifier.status(said)

    def _read_figures(self) -> None:
        """Before the figures are shown: in the HTTP server's thread."""
        figures, syncer = self._figures, self._feed.syncer
        figures.resync_state.set(3 if syncer.in_sync else 2 if not syncer.last_error else 1)
        figures.resyncs.set(syncer.listings)
        figures.undecodable.set(len(syncer.broken_keys))
        figures.read_process()
        if self._running is not None:
            with contextlib.suppress(TimeoutError):  # a loop that is busy leaves the last ones
                self._mailbox.call(self._read_kernel_figures)

    def _read_kernel_figures(self) -> None:
        running, figures = self._running, self._figures
        if running is None:
            return
        figures.count(running.graph.statistics())
        figures.problems.set(len(running.dataplane.problems))
        figures.lost.set(running.dataplane.network.monitor.lost)
        figures.nft.show(running.tables.metrics())
        with contextlib.suppress(OSError):  # no table, no drops: it may be what the other figures are about
            self._count_drops(running.tables.drops())

    def _count_drops(self, drops: list[Drops]) -> None:
        """Bring the counters up to the kernel's, which begin anew when a table is replaced or an interface goes."""
        names = {workload.interface: workload.name for workload in self._workloads.values()}
        seen = {drop_labels(drop, names.get(drop.interface, "")): drop.packets for drop in drops}
        for labels, packets in seen.items():
            self._figures.drops.add(max(0, packets - self._dropped.get(labels, 0)), *labels)
        for labels in self._dropped.keys() - seen.keys():
            self._figures.drops.forget(*labels)
        self._dropped = seen

    def _serve(self, settings: Settings) -> None:
        """Open the HTTP ports that the configuration asks for; a port that is taken is tried again."""
        self._serve_at = 0.0
        health = {"/readiness": health_page(lambda: self.is_ready), "/liveness": health_page(lambda: self.is_live)}
        metrics = {"/metrics": metrics_page(self._figures.registry)}
        for name, is_on, host, port, pages in (
            ("health", settings.health_enabled, settings.health_host, settings.health_port, health),
            (
                "metrics",
                settings.prometheus_metrics_enabled,
                settings.prometheus_metrics_host,
                settings.prometheus_metrics_port,
                metrics,
            ),
        ):
            if not is_on or name in self._servers:
                continue
            try:
                self._servers[name] = Endpoint(host, port, pages)
            except OSError as error:
                _log.warning("cannot serve %s", fields(what=name, host=host, port=port, error=error))
                self._serve_at = time.monotonic() + _SERVE_AGAIN

    def _hang_if_asked(self, now: float) -> None:
        """For tests of the watchdog: DebugSimulate...HangAfter."""
        if self._hang_at and now >= self._hang_at:
            _log.error("hanging, as the configuration asks (DebugSimulate...HangAfter)")
            threading.Event().wait()

    # -- questions -------------------------------------------------------------------------------------------------

    def _answers(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        return {
            "state": lambda _: self._mailbox.call(self._state),
            "applied": self._wait_applied,
            "drops": lambda _: self._mailbox.call(self._drops),
        }

    def _state(self) -> dict[str, Any]:
        running, syncer = self._running, self._feed.syncer
        return {
            "revision": self._revision,
            "in_sync": syncer.in_sync,
            "ready": self.is_ready,
            "endpoints": len(self._workloads),
            "problems": list(running.dataplane.problems) if running else [],
            "configuration": list(self._config_problems),
            "refused": sorted(syncer.broken_keys),
        }

    def _wait_applied(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Once the kernel is what the datastore wanted at `revision`, or after `timeout` seconds."""
        wanted, timeout = int(question.get("revision", 0)), min(60.0, float(question.get("timeout", 10.0)))
        with self._applied:
            is_there = self._applied.wait_for(lambda: self._revision >= wanted, timeout)
        return {"revision": self._revision, "applied": is_there}

    def _drops(self) -> list[Any]:
        return [list(drop) for drop in self._running.tables.drops()] if self._running else []


def _merge(kept: dict[Any, Any], differing_: Mapping[Any, Any]) -> None:
    for key, value in differing_.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value


def _kind(key: str) -> str:
    """What kind of key it is, for a metric's label: `workloadendpoints`, `ipam`."""
    parts = key.split("/", 6)
    return parts[5] if len(parts) > 5 and parts[2] == "resources" else parts[2] if len(parts) > 2 else key
