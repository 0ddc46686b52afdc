"""Felix' figures for Prometheus: upstream's names for what exists here, and ours for nftables and the network.

Dashboards written for upstream find their names; what has no meaning here (iptables' locks, XDP) is left out.
"""

import os
import resource
import time
from collections.abc import Mapping

from calico.daemon.metrics import Counter, Gauge, Registry
from calico.felix.calc.graph import Statistics
from calico.felix.dataplane.nft.tables import Drops

_CLUSTER = ("hosts", "workload_endpoints", "host_endpoints", "policies", "profiles")


class Figures:
    """Everything felix counts. `registry.before` may be set by whoever knows how to ask the kernel."""

    def __init__(self, hostname: str) -> None:
        registry = self.registry = Registry()
        self.local_endpoints = registry.gauge("felix_active_local_endpoints", "Endpoints on this host.")
        self.local_policies = registry.gauge("felix_active_local_policies", "Policies that select one of them.")
        self.local_selectors = registry.gauge("felix_active_local_selectors", "IP sets that rules ask for.")
        registry.gauge("felix_active_local_tags", "Tags, which v3 does not have.")
        self.cluster = {
            name: registry.gauge(f"felix_cluster_num_{name}", f"{name.replace('_', ' ').capitalize()} of the cluster.")
            for name in _CLUSTER
        }
        self.output_events = registry.counter("felix_calc_graph_output_events", "Values given to the dataplane.")
        self.update_time = registry.summary("felix_calc_graph_update_time_seconds", "Time to calculate an update.")
        self.updates = registry.counter(
            "felix_calc_graph_updates_processed", "Updates of the datastore by kind of key.", ("type",)
        )
        registry.gauge("felix_host", "This host's name, as a label.", ("host",)).set(1, hostname)
        self.batch_size = registry.summary("felix_int_dataplane_msg_batch_size", "Updates applied together.")
        self.apply_time = registry.summary("felix_int_dataplane_apply_time_seconds", "Time of an apply.")
        self.failures = registry.counter("felix_int_dataplane_failures", "Applies that failed and are tried again.")
        self.resync_state = registry.gauge(
            "felix_resync_state", "1 waiting for the datastore, 2 reading it, 3 in sync."
        )
        self.resyncs = registry.gauge("felix_resyncs_started", "Complete readings of the datastore.")
        self.problems = registry.gauge("felix_problems", "Complaints that stand, see calico-felix --check.")
        self.undecodable = registry.gauge("felix_resources_refused", "Resources that cannot be read or are not valid.")
        self.config_problems = registry.gauge("felix_config_problems", "Parameters that are not taken as they stand.")
        self.writes = registry.counter("felix_dataplane_writes", "Requests that changed the kernel.")
        self.repairs = registry.counter("felix_dataplane_repairs", "Foreign changes that were undone.")
        self.lost = registry.gauge(
            "felix_netlink_notifications_lost", "Times interfaces were listed for a full buffer."
        )
        self.drops = registry.counter(
            "felix_dropped_packets",
            "Dropped packets by interface, and the endpoint behind it.",
            ("ip_version", "interface", "endpoint", "direction", "cause"),
        )
        self.nft = Nftables(registry)
        self._process = Process(registry)

    def read_process(self) -> None:
        """Bring the figures of the process up to date."""
        self._process.read()

    def count(self, statistics: Statistics) -> None:
        """How much there is."""
        self.local_endpoints.set(statistics.active_endpoints)
        self.local_policies.set(statistics.active_policies)
        self.local_selectors.set(statistics.active_sets)
        amounts = (
            statistics.hosts,
            statistics.workloads,
            statistics.host_endpoints,
            statistics.policies,
            statistics.profiles,
        )
        for gauge, amount in zip(self.cluster.values(), amounts, strict=True):
            gauge.set(amount)


class Nftables:
    """The packet filter's own numbers, by the names it gives them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._gauges: dict[str, Gauge] = {}

    def show(self, numbers: Mapping[str, float]) -> None:
        """Take its present numbers in."""
        for name, value in numbers.items():
            if name not in self._gauges:
                self._gauges[name] = self._registry.gauge(f"felix_nft_{name}", f"nftables: {name.replace('_', ' ')}.")
            self._gauges[name].set(value)


class Process:
    """The standard figures of a process."""

    def __init__(self, registry: Registry) -> None:
        self._cpu: Counter = registry.counter("process_cpu_seconds_total", "User and system time in seconds.")
        self._memory = registry.gauge("process_resident_memory_bytes", "Resident memory.")
        self._files = registry.gauge("process_open_fds", "Open file descriptors.")
        registry.gauge("process_start_time_seconds", "When the process started, since 1970.").set(time.time())
        self._seen = 0.0

    def read(self) -> None:
        """Ask the kernel."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        total = usage.ru_utime + usage.ru_stime
        self._cpu.add(total - self._seen)
        self._seen = total
        self._memory.set(_resident())
        self._files.set(len(os.listdir("/proc/self/fd")))


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def drop_labels(drop: Drops, endpoint: str) -> tuple[str, ...]:
    """The labels of dropped packets; `endpoint` is `namespace/name`, empty where the interface is nobody's."""
    return (str(drop.version), drop.interface, endpoint, drop.direction, drop.cause)
