"""What follows from an engine's networks, the registry and the records: each row of the table in libnetwork.md."""

from typing import Any

from calico.libnetwork.endpoints import Endpoint
from calico.libnetwork.engine import EngineEndpoint, EngineNetwork
from calico.libnetwork.links import Pair
from calico.libnetwork.plan import (
    CreateNetwork,
    DropEntry,
    DropRecord,
    Leftovers,
    PutEntry,
    PutRecord,
    RemoveNetwork,
    Say,
    Sightings,
    SpreadRemoval,
    World,
    plan_leftovers,
    plan_networks,
    plan_repairs,
)
from calico.model.registry import Definition, Entry, Record, read, write_entry, write_record

NET = Definition(("10.0.0.0/16",), "web")
OTHER = Definition(("10.1.0.0/16",), "web")
CONTAINER = EngineEndpoint("e", "c", ("10.0.0.1/32",), "")


def engine(name: str = "net", identity: str = "id", driver: str = "calico", *endpoints: EngineEndpoint) -> Any:
    options = {"org.projectcalico.profile": "web"}
    return EngineNetwork(identity, name, driver, ("10.0.0.0/16",), options, False, {}, endpoints, "local")


def record(name: str = "net", identity: str = "id", node: str = "n", **changes: Any) -> Record:
    return Record(node, identity, NET, name)._replace(**changes)


def world(**changes: Any) -> World:
    """A cluster in which the network `net` is as it should be."""
    common: dict[str, Any] = {
        "node": "n",
        "engine": [engine()],
        "entries": {"net": Entry("net", NET, revision=7)},
        "records": [record(), record(identity="far", node="m")],
        "nodes": {"n", "m"},
        "subnets": {"10.0.0.0/16", "10.1.0.0/16"},
        "open": {"10.0.0.0/16", "10.1.0.0/16"},
    }
    return World(**{**common, **changes})


def test_nothing_is_to_be_done_where_all_agrees() -> None:
    assert plan_networks(world()) == []


def test_every_agent_has_the_default_network() -> None:
    default = Entry("calico", OTHER)
    assert plan_networks(world(default=default)) == [PutEntry(default)]
    entries = {"net": Entry("net", NET), "calico": default}
    assert plan_networks(world(default=default, entries=entries)) == [CreateNetwork("calico", OTHER)]


def test_the_default_network_moves_when_its_pool_is_closed_and_the_configured_one_open() -> None:
    entries = {"net": Entry("net", NET, revision=4)}
    default = Entry("net", OTHER)
    moved = [PutEntry(Entry("net", OTHER, revision=4))]
    assert plan_networks(world(default=default, entries=entries)) == []
    assert plan_networks(world(default=default, entries=entries, open={"10.1.0.0/16"})) == moved
    assert plan_networks(world(default=default, entries=entries, open=set())) == []


def test_a_network_that_is_new_becomes_the_clusters() -> None:
    for records in ([], [record(name="")]):
        assert plan_networks(world(records=records, entries={})) == [
            PutRecord(record(), Entry("net", NET)),
        ]


def test_a_network_that_the_cluster_has_is_only_noted() -> None:
    assert plan_networks(world(records=[])) == [PutRecord(record())]


def test_another_network_of_that_name_stays_the_nodes_own() -> None:
    entries = {"net": Entry("net", OTHER)}
    assert plan_networks(world(records=[], entries=entries)) == [PutRecord(record(private=True))]
    assert plan_networks(world(records=[record(private=True)], entries=entries)) == []


def test_a_record_of_another_name_is_corrected() -> None:
    assert plan_networks(world(records=[record(name="wrong")])) == [PutRecord(record())]


def test_a_network_that_is_being_removed_goes_when_no_container_is_on_it() -> None:
    entries = {"net": Entry("net", NET, removing=True)}
    assert plan_networks(world(entries=entries)) == [RemoveNetwork("id", "net")]
    for busy in (world(engine=[engine("net", "id", "calico", CONTAINER)]), world(used={"id"})):
        (said,) = plan_networks(busy._replace(entries=entries))
        assert isinstance(said, Say)


def test_a_network_that_is_created_anew_while_it_is_removed_is_there_again() -> None:
    entries = {"net": Entry("net", NET, removing=True, revision=9)}
    records = [record(identity="far", node="m")]
    assert plan_networks(world(entries=entries, records=records)) == [
        PutRecord(record(), Entry("net", NET, revision=9))
    ]


def test_a_network_the_cluster_forgot_goes() -> None:
    assert plan_networks(world(entries={})) == [RemoveNetwork("id", "net")]


def test_a_network_of_another_definition_is_made_anew() -> None:
    entries = {"net": Entry("net", OTHER)}
    leaving = record(leaving=True)
    assert plan_networks(world(entries=entries)) == [PutRecord(leaving), RemoveNetwork("id", "net")]
    assert plan_networks(world(entries=entries, records=[leaving])) == [RemoveNetwork("id", "net")]
    assert plan_networks(world(entries=entries, records=[], engine=[])) == [CreateNetwork("net", OTHER)]


def test_a_network_waits_for_its_pools() -> None:
    (said,) = plan_networks(world(records=[], engine=[], subnets={"10.1.0.0/16"}))
    assert isinstance(said, Say)
    assert "waits for an IPPool over 10.0.0.0/16" in said.text


def test_a_name_that_another_driver_has_is_said() -> None:
    (said,) = plan_networks(world(records=[], engine=[engine(driver="bridge")]))
    assert isinstance(said, Say)
    assert "bridge" in said.text


def test_an_engine_that_lost_its_networks_gets_them_back() -> None:
    assert plan_networks(world(engine=[])) == [DropRecord(record()), CreateNetwork("net", NET)]


def test_a_removal_spreads_once_it_is_settled() -> None:
    gone = world(engine=[], records=[record(removed=True)])
    assert plan_networks(gone._replace(is_settled=False)) == []
    assert plan_networks(gone) == [SpreadRemoval(record(removed=True), Entry("net", NET, revision=7))]


def test_what_was_pruned_comes_back() -> None:
    gone = world(engine=[], records=[record(removed=True)], is_settled=False, pruned={"id"})
    assert plan_networks(gone) == [SpreadRemoval(record(removed=True), None)]


def test_a_removal_that_came_to_nothing_is_taken_back() -> None:
    assert plan_networks(world(records=[record(removed=True)])) == [PutRecord(record())]


def test_a_removed_network_is_forgotten_when_no_node_has_it() -> None:
    entry = Entry("net", NET, removing=True, revision=3)
    away = world(engine=[], records=[record(identity="far", node="m")], entries={"net": entry})
    assert plan_networks(away) == []
    for others in ([], [record(identity="far", node="m", private=True)]):
        assert plan_networks(away._replace(records=others)) == [DropEntry(entry)]


def test_a_node_that_is_gone_is_not_waited_for() -> None:
    entry, lost = Entry("net", NET, removing=True, revision=3), record(identity="far", node="gone")
    gone = world(engine=[], records=[lost], entries={"net": entry})
    assert plan_networks(gone) == [DropRecord(lost), DropEntry(entry)]


def test_what_cannot_be_read_is_left_alone() -> None:
    assert plan_networks(world(entries={}, unreadable={"net"})) == []
    default = Entry("net", NET)
    assert plan_networks(world(entries={}, unreadable={"net"}, default=default)) == []


def test_values_come_back_from_the_datastore_as_they_were_written() -> None:
    entry = Entry("net", Definition(("10.0.0.0/16", "fd00::/64"), "web", True, {"a": "b"}), True, 5)
    assert read("/calico/dcos-calico/v1/docker/network/net", write_entry(entry), 5) == entry
    one = Record("n", "id", entry.definition, "net", private=True, leaving=True, removed=True, revision=6)
    assert read(one.key, write_record(one), 6) == one
    assert read("/calico/dcos-calico/v1/docker/else", b"{}", 1) is None


# -- endpoints -----------------------------------------------------------------------------------------------------


def test_leftovers_are_what_the_engine_does_not_know() -> None:
    endpoints = {one: Endpoint(one, (f"10.0.0.{number}/32",), "web", "cali", "") for number, one in enumerate("ab")}
    pairs = {one: Pair("cali", "temp", one, "s", 1) for one in "bc"}
    connected = {"a": EngineEndpoint("a", "c", ("10.0.0.9/16",), "")}
    handles = {"used": ("10.0.0.9",), "free": ("10.0.0.8",)}
    assert plan_leftovers(connected, endpoints, pairs, handles) == Leftovers(
        frozenset("b"), frozenset("bc"), frozenset({"free"})
    )


def test_repairs_are_of_running_containers_alone() -> None:
    pairs = {one: Pair("cali", "temp", one, "s", 1) for one in "ab"}
    connected = {one: EngineEndpoint(one, "c", ("10.0.0.1/32",), "") for one in "abc"}
    known = {"a": Endpoint("a", ("10.0.0.1/32",), "web", "cali", "")}
    assert plan_repairs(connected, known, pairs) == frozenset("b")


def test_only_what_is_seen_at_every_look_counts() -> None:
    sightings = Sightings()
    assert sightings.long_seen({"a", "b"}, 0, 10) == []
    assert sightings.long_seen({"a"}, 5, 10) == []
    assert sightings.long_seen({"a", "b"}, 10, 10) == ["a"]
    assert sightings.next_due(10) == 10
    assert sightings.long_seen({"b"}, 20, 10) == ["b"]
    assert sightings.long_seen(set(), 21, 10) == []
    assert sightings.next_due(10) is None
