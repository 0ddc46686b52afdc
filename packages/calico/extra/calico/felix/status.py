"""What felix reports of itself and its endpoints to etcd, in a thread of its own: the datastore may be slow or away."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from calico.daemon.log import fields
from calico.datastore.errors import DatastoreError
from calico.datastore.store import Delete, Put, Store, listing
from calico.felix.config.settings import Settings
from calico.felix.desired import WorkloadId
from calico.model.keys import (
    HOST_ENDPOINT_STATUS,
    STATUS,
    FelixStatusKey,
    HostEndpointStatusKey,
    WorkloadStatusKey,
)

_log = logging.getLogger(__name__)
_FIRST_REPORT = 10.0
_RELIST = 180


class ReportSettings(NamedTuple):
    """Who reports, how often; 0 seconds: not at all."""

    hostname: str
    region: str = ""
    interval: float = 30.0
    ttl: float = 90.0
    endpoints: bool = False
    delay: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> "ReportSettings":
        """What the configuration says."""
        return cls(
            settings.hostname,
            settings.openstack_region,
            settings.reporting_interval,
            settings.reporting_ttl,
            settings.endpoint_reporting_enabled,
            settings.endpoint_reporting_delay,
        )


def workload_key(settings: ReportSettings, identity: WorkloadId) -> str:
    """Where a workload's status stands."""
    host, region = settings.hostname, settings.region
    return WorkloadStatusKey(host, identity.orchestrator, identity.workload, identity.endpoint, region).path


def host_endpoint_key(settings: ReportSettings, name: str) -> str:
    """Where a host endpoint's status stands."""
    return HostEndpointStatusKey(settings.hostname, name).path


class Reporter:
    """Keeps the keys of this host's status as they should be, at most one endpoint's key each `delay`.

    `wanted` gives, when asked, the status of every endpoint by key. An etcd that is away is waited for.
    """

    def __init__(
        self,
        settings: ReportSettings,
        store: Store,
        wanted: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._store, self._wanted, self._clock = settings, store, wanted, clock
        self._started = clock()
        self._next_report = self._started + min(_FIRST_REPORT, settings.interval or _FIRST_REPORT)
        self._is_first = True
        self._known: dict[str, str] | None = None
        self._next_listing = 0.0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Report until `stop`."""
        if self._settings.interval or self._settings.endpoints:
            threading.Thread(target=self._run, name="status", daemon=True).start()

    def stop(self) -> None:
        """End, soon."""
        self._stopped.set()

    def _run(self) -> None:
        pause = self._settings.delay if self._settings.endpoints else 1.0
        while not self._stopped.wait(max(pause, 0.1)):
            try:
                self.step()
            except DatastoreError as error:
                _log.warning("status not reported %s", fields(error=error))
                self._known = None
                self._stopped.wait(5.0)

    def step(self) -> None:
        """Report what is due: felix itself, and one endpoint. Raises DatastoreError."""
        now = self._clock()
        if self._settings.interval and now >= self._next_report:
            self._report(now)
            self._next_report = now + self._settings.interval
        if self._settings.endpoints:
            self._report_endpoint(now)

    def _report(self, now: float) -> None:
        host, region = self._settings.hostname, self._settings.region
        value = json.dumps(
            {
                "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "uptime": round(now - self._started, 3),
                "first_update": self._is_first,
            }
        ).encode()
        lease = self._store.grant(max(1, int(self._settings.ttl)))
        keys = (FelixStatusKey(host, False, region).path, FelixStatusKey(host, True, region).path)
        self._store.commit([], [Put(keys[0], value, lease), Put(keys[1], value)])
        self._is_first = False

    def _report_endpoint(self, now: float) -> None:
        """Write the first key that differs. What is there is read at the start, and anew every 180 delays."""
        if self._known is None or now >= self._next_listing:
            self._known = self._stored()
            self._next_listing = now + max(self._settings.delay, 0.1) * _RELIST
        wanted, known = self._wanted(), self._known
        key = next((key for key in sorted(wanted.keys() | known.keys()) if wanted.get(key) != known.get(key)), None)
        if key is None:
            return
        if (status := wanted.get(key)) is None:
            self._store.commit([], [Delete(key)])
            del known[key]
        else:
            self._store.commit([], [Put(key, json.dumps({"status": status}).encode())])
            known[key] = status

    def _stored(self) -> dict[str, str]:
        host, region = self._settings.hostname, self._settings.region
        of_region = f"{STATUS}region-{region}" if region else f"{STATUS}no-region"
        found = {}
        for prefix in (f"{of_region}/host/{host}/workload/", f"{HOST_ENDPOINT_STATUS}{host}/endpoint/"):
            for item in listing(self._store, prefix).items:
                try:
                    found[item.key] = str(json.loads(item.value)["status"])
                except (ValueError, KeyError, TypeError):
                    found[item.key] = ""
        return found
