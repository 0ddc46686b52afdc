"""The daemon's parts: the feed, the mailbox, the configuration as it comes, statuses and their reporter."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from calico.daemon.notify import Notifier
from calico.datastore.memory import MemoryStore
from calico.datastore.store import listing, put
from calico.datastore.syncer import InSync, Syncer, Update
from calico.felix.calc.graph import Graph
from calico.felix.config.sources import decode_cluster_information, decode_felix_configuration
from calico.felix.configuration import Configuration, local_sources
from calico.felix.daemon import Context, Daemon
from calico.felix.desired import HostEndpoint, PolicyList, Workload, WorkloadId
from calico.felix.endpoints import host_endpoint_statuses, workload_statuses
from calico.felix.feed import Delivery, Feed
from calico.felix.mailbox import Mailbox
from calico.felix.status import Reporter, ReportSettings, host_endpoint_key, workload_key
from tests.unit.felix.dataplane.inputs import interface

# -- feed ----------------------------------------------------------------------------------------------------------


def _take(feed: Feed, count: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(200):
        found += [item for delivery in feed.take() for item in delivery.items]
        if len(found) >= count:
            return found
        threading.Event().wait(0.02)
    raise AssertionError(found)


def test_the_feed_gives_what_the_syncer_gives_and_how_far_it_is() -> None:
    store = MemoryStore()
    put(store, "/a/1", b"one")
    feed = Feed(Syncer(store, {"/a/": lambda key, raw, revision: raw.decode()}))
    feed.start()
    try:
        first = _take(feed, 2)
        assert isinstance(first[1], InSync)
        revision = put(store, "/a/2", b"two")
        assert _take(feed, 1) == [Update("/a/2", "two", revision)]
    finally:
        feed.stop()


def test_what_ends_the_feed_s_thread_is_raised_where_it_is_read() -> None:
    class Broken:
        def batches(self, tick: float) -> Iterator[list[Any]]:
            raise ValueError("broken")

        def stop(self) -> None:
            pass

    feed = Feed(Broken())  # type: ignore[arg-type]
    feed.start()
    with pytest.raises(ValueError, match="broken"):
        for _ in range(200):
            feed.take()
            threading.Event().wait(0.02)


# -- mailbox -------------------------------------------------------------------------------------------------------


def test_a_call_is_done_by_whoever_serves() -> None:
    mailbox = Mailbox()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(mailbox.call(threading.get_ident)))
    thread.start()
    while thread.is_alive():
        mailbox.serve()
        thread.join(0.01)
    assert found == [threading.get_ident()]


def test_what_a_call_raises_is_raised_to_the_caller() -> None:
    mailbox = Mailbox()
    errors: list[Exception] = []

    def caller() -> None:
        try:
            mailbox.call(lambda: 1 / 0)
        except ZeroDivisionError as error:
            errors.append(error)

    thread = threading.Thread(target=caller)
    thread.start()
    while thread.is_alive():
        mailbox.serve()
        thread.join(0.01)
    assert len(errors) == 1


def test_a_loop_that_hangs_is_not_waited_for_longer_than_asked() -> None:
    with pytest.raises(TimeoutError):
        Mailbox().call(lambda: None, timeout=0.01)


# -- configuration -------------------------------------------------------------------------------------------------

_PREFIX = "/calico/resources/v3/projectcalico.org"
_CLUSTER = f"{_PREFIX}/clusterinformations/default"


def _configuration(name: str, **spec: Any) -> Update:
    key = f"{_PREFIX}/felixconfigurations/{name}"
    return Update(key, decode_felix_configuration(key, json.dumps({"spec": spec}).encode()), 1)


def _cluster(**spec: Any) -> Update:
    return Update(_CLUSTER, decode_cluster_information(_CLUSTER, json.dumps({"spec": spec}).encode()), 1)


def _held(environment: dict[str, str] | None = None) -> Configuration:
    return Configuration(local_sources(environment or {"NODENAME": "here"}, "/nonexistent", Path("/nonexistent")))


def test_only_its_own_resources_concern_a_node() -> None:
    held = _held()
    assert held.update(_configuration("default", logPrefix="all"))
    assert held.update(_configuration("node.here", logPrefix="mine"))
    assert not held.update(_configuration("node.there", logPrefix="yours"))
    assert held.resolve().settings.log_prefix == "mine"
    held.update(Update(f"{_PREFIX}/felixconfigurations/node.here", None, 2))
    assert held.resolve().settings.log_prefix == "all"


def test_readiness_is_said_and_may_be_taken_back() -> None:
    held = _held()
    assert not held.is_ready
    held.update(_cluster(datastoreReady=True))
    assert held.is_ready
    held.update(_cluster())
    assert not held.is_ready
    held.update(Update(_CLUSTER, None, 3))
    assert not held.is_ready


@pytest.mark.parametrize(
    ("environment", "text", "name"),
    [
        ({"FELIX_FELIXHOSTNAME": "Given", "NODENAME": "other"}, "file", "Given"),
        ({"NODENAME": "10.0.0.1"}, "file", "10.0.0.1"),
        ({}, "From-File\n", "From-File"),
        ({}, "", "default"),
    ],
)
def test_a_node_s_name(environment: dict[str, str], text: str, name: str, tmp_path: Path) -> None:
    file = tmp_path / "nodename"
    if text:
        file.write_text(text)
    assert Configuration(local_sources(environment, "/nonexistent", file), "Default").hostname == name


# -- statuses ------------------------------------------------------------------------------------------------------

ONE, TWO = WorkloadId("cni", "default/one", "eth0"), WorkloadId("cni", "default/two", "eth0")


def _workload(name: str, active: bool = True) -> Workload:
    return Workload(name, "", (), (), (), active, (), PolicyList())


@pytest.mark.parametrize(
    ("is_active", "interfaces", "is_failing", "status"),
    [
        (True, {"cali1": interface(5, "cali1")}, False, "up"),
        (False, {"cali1": interface(5, "cali1")}, False, "down"),
        (True, {"cali1": interface(5, "cali1", up=False)}, False, "down"),
        (True, {}, False, "down"),
        (True, {"cali1": interface(5, "cali1")}, True, "error"),
    ],
)
def test_a_workload_s_status(is_active: bool, interfaces: Any, is_failing: bool, status: str) -> None:
    found = workload_statuses({ONE: _workload("cali1", is_active)}, interfaces, {ONE} if is_failing else ())
    assert found == {ONE: status}


def test_a_host_endpoint_s_status() -> None:
    endpoints = {
        "named": HostEndpoint("eth0", (), ()),
        "absent": HostEndpoint("eth9", (), ()),
        "every": HostEndpoint("*", (), ()),
    }
    interfaces = {"eth0": interface(2, "eth0")}
    found = host_endpoint_statuses(endpoints, interfaces, ("cali",))
    assert found == {"named": "up", "absent": "down", "every": "up"}
    assert set(host_endpoint_statuses(endpoints, interfaces, ("cali",), True).values()) == {"error"}


SETTINGS = ReportSettings("here", "", 30.0, 90.0, True, 1.0)


class Reporting:
    """A reporter, its store and its clock."""

    def __init__(self, settings: ReportSettings = SETTINGS) -> None:
        self.now, self.store, self.wanted = 0.0, MemoryStore(), dict[str, str]()
        self.reporter = Reporter(settings, self.store, lambda: self.wanted, lambda: self.now)

    def step(self, seconds: float = 1.0) -> dict[str, Any]:
        self.now += seconds
        self.reporter.step()
        return {item.key: json.loads(item.value) for item in listing(self.store, "/calico/felix/").items}


def test_felix_reports_itself_after_ten_seconds_and_then_at_every_interval() -> None:
    reporting = Reporting(SETTINGS._replace(endpoints=False))
    assert reporting.step(9.9) == {}
    found = reporting.step(0.2)
    status = found["/calico/felix/v2/no-region/host/here/status"]
    assert (status["first_update"], round(status["uptime"])) == (True, 10)
    assert found["/calico/felix/v2/no-region/host/here/last_reported_status"] == status
    assert reporting.step(29) == found
    assert not reporting.step(2)["/calico/felix/v2/no-region/host/here/status"]["first_update"]
    (item,) = reporting.store.get("/calico/felix/v2/no-region/host/here/status").items
    assert item.lease


def test_one_endpoint_at_a_time_and_what_is_gone_goes() -> None:
    reporting = Reporting(SETTINGS._replace(interval=0.0))
    stale = workload_key(SETTINGS, WorkloadId("cni", "default/gone%/x", "eth0"))
    assert stale.endswith("/default%2fgone%25%2fx/endpoint/eth0")
    put(reporting.store, stale, b'{"status": "up"}')
    reporting.wanted = {workload_key(SETTINGS, ONE): "up", host_endpoint_key(SETTINGS, "eth0"): "down"}
    counts = [len(reporting.step()) for _ in range(4)]
    assert counts in ([2, 1, 2, 2], [2, 3, 2, 2], [1, 0, 1, 2], [1, 2, 2, 2]), counts
    assert reporting.step() == {key: {"status": status} for key, status in reporting.wanted.items()}
    reporting.wanted = {}
    assert [len(reporting.step()) for _ in range(2)] == [1, 0]


def test_what_somebody_removed_is_put_back_after_a_while() -> None:
    from calico.datastore.store import remove

    reporting = Reporting(SETTINGS._replace(interval=0.0))
    key = workload_key(SETTINGS, ONE)
    reporting.wanted = {key: "up"}
    assert reporting.step() == {key: {"status": "up"}}
    remove(reporting.store, key)
    assert reporting.step() == {}
    assert reporting.step(180) == {key: {"status": "up"}}


def test_regions_have_keys_of_their_own() -> None:
    assert workload_key(SETTINGS._replace(region="one"), ONE).startswith("/calico/felix/v2/region-one/host/here/")


# -- figures -------------------------------------------------------------------------------------------------------


def test_the_figures_are_shown_while_there_is_no_table_to_count_drops_in(tmp_path: Path) -> None:
    def drops() -> list[Any]:
        raise FileNotFoundError("table ip calico")

    store = MemoryStore()
    daemon = Daemon(Configuration((), "here"), Context(tmp_path, store, store, Notifier("")))
    dataplane = SimpleNamespace(
        problems=("the kernel says no",), network=SimpleNamespace(monitor=SimpleNamespace(lost=0))
    )
    tables = SimpleNamespace(metrics=lambda: {"chains": 3}, drops=drops)
    daemon._running = cast(Any, SimpleNamespace(graph=Graph("here"), dataplane=dataplane, tables=tables))
    daemon._read_kernel_figures()
    assert daemon._figures.problems.get() == 1


def test_what_comes_before_the_start_is_kept_as_it_is_and_not_as_it_was(tmp_path: Path) -> None:
    store = MemoryStore()
    daemon = Daemon(Configuration((), "here"), Context(tmp_path, store, store, Notifier("")))
    for number in range(3):
        daemon._take(Delivery([Update("/calico/a", number, number), Update(f"/calico/{number}", "x", number)], number))
        daemon._take(Delivery([Update(f"/calico/{number}", None, number)], number))
    assert daemon._early == {"/calico/a": Update("/calico/a", 2, 2)}
