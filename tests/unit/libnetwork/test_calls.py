"""Every call of the two drivers, as bodies in and bodies out, over a datastore in memory and a kernel that is none."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from calico.client.resources import Client
from calico.datastore.memory import MemoryStore
from calico.ipam.allocator import Ipam
from calico.ipam.check import Use, check
from calico.ipam.snapshot import take_snapshot
from calico.libnetwork.addresses import Addresses
from calico.libnetwork.endpoints import Endpoints
from calico.libnetwork.engine import Engine, EngineAwayError
from calico.libnetwork.errors import DriverError
from calico.libnetwork.ipamdriver import IpamDriver
from calico.libnetwork.journal import Call
from calico.libnetwork.links import Links, Pair, mac_of
from calico.libnetwork.networkdriver import NetworkDriver
from calico.libnetwork.networks import GlobalNetworks, LocalNetworks, Networks
from calico.libnetwork.releasing import Releasing
from calico.libnetwork.server import Handler
from calico.model.ippool import IPPoolSpec
from calico.model.metadata import Metadata
from calico.model.node import NodeSpec
from calico.model.registry import Definition, Entry, Record
from calico.model.resource import Resource

NETWORK, ENDPOINT = "a" * 64, "0123456789abcdef" * 4
POOL, POOL_V6 = "172.29.0.0/16", "fd80:1::/112"
IPV4 = {"AddressSpace": "CalicoLocalAddressSpace", "Gateway": "0.0.0.0/0", "Pool": POOL}
IPV6 = {"AddressSpace": "CalicoLocalAddressSpace", "Gateway": "::/0", "Pool": POOL_V6}
DEFAULT = Entry("calico", Definition((POOL,), "calico"))
NO_ADDRESSES = {"Address": "", "AddressIPv6": "", "MacAddress": ""}


class NoLinks(Links):
    """Pairs that are only written down."""

    def __init__(self) -> None:
        super().__init__("cali", 1450)
        self.pairs: dict[str, tuple[Pair, str]] = {}

    def plug(self, endpoint: str, sandbox: str, mac: str, with_v6: bool) -> Pair:
        taken = {pair.place for pair, _ in self.pairs.values() if pair.sandbox == sandbox}
        place = next(number for number in range(1, 9) if number not in taken)
        pair = Pair(self.name_of(endpoint), f"temp{endpoint[:11]}", endpoint, sandbox, place)
        self.pairs[endpoint] = (pair, mac)
        return pair

    def unplug(self, endpoint: str) -> bool:
        return self.pairs.pop(endpoint, None) is not None

    def plugged(self) -> dict[str, Pair]:
        return {endpoint: pair for endpoint, (pair, _) in self.pairs.items()}


class NoEngine(Engine):
    """An engine that is away."""

    def network(self, name: str) -> Any:
        raise EngineAwayError(name)


class Plugin:
    """Both drivers on one store."""

    def __init__(self, scope: str = "local", node: str = "10.0.0.1", store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.client = Client(self.store, Ipam(self.store))
        self.links = NoLinks()
        addresses, endpoints = Addresses(self.store, node), Endpoints(self.client, node, "default")
        self.rooms = (endpoints, addresses, self.links)
        networks: Networks = GlobalNetworks(self.client)
        if scope == "local":
            networks = LocalNetworks(self.store, NoEngine(""), node, DEFAULT, lambda: None)
        self.networks = networks
        network = NetworkDriver(networks, endpoints, addresses, self.links, scope, "cali", True)
        ipam = IpamDriver(networks, addresses, Releasing(endpoints, addresses, self.links))
        self._handlers: dict[str, Handler] = {**network.handlers(), **ipam.handlers()}
        if store is None:
            self.client.create(Resource("Node", Metadata(node), NodeSpec()))
            self.client.create(Resource("IPPool", Metadata("main"), IPPoolSpec(cidr=POOL)))
            self.client.create(Resource("IPPool", Metadata("six"), IPPoolSpec(cidr=POOL_V6, block_size=122)))

    def __call__(self, call: str, token: str = "t", again: bool = False, /, **request: Any) -> Any:
        return self._handlers[call](request, Call(token, b"", again))

    def refusal(self, call: str, **request: Any) -> str:
        with pytest.raises(DriverError) as caught:
            self(call, **request)
        return str(caught.value)

    def start(self, endpoint: str = ENDPOINT, network: str = NETWORK, **interface: str) -> Mapping[str, Any]:
        """A container's start, up to Join's answer."""
        if not interface:
            taken = self("IpamDriver.RequestAddress", endpoint[:32], PoolID="main", Address="")
            interface = {"Address": taken["Address"]}
        both = {"NetworkID": network, "EndpointID": endpoint, "Options": {}}
        self("NetworkDriver.CreateEndpoint", **both, Interface={**NO_ADDRESSES, **interface})
        joined: Mapping[str, Any] = self("NetworkDriver.Join", **both, SandboxKey="/var/run/docker/netns/x")
        return joined

    def endpoint(self, endpoint: str = ENDPOINT) -> Any:
        return self.client.get("WorkloadEndpoint", f"10.0.0.1-libnetwork-libnetwork-{endpoint}", "default")


@pytest.fixture
def plugin() -> Plugin:
    return Plugin()


@pytest.fixture
def connected(plugin: Plugin) -> Iterator[Plugin]:
    """With a network; at the end everything adds up."""
    create(plugin)
    yield plugin
    report = check(take_snapshot(plugin.store))
    assert (report.findings, report.of(Use.LEAKED, Use.UNKNOWN)) == ((), ())


def create(plugin: Plugin, identity: str = NETWORK, **options: Any) -> Any:
    given = {"com.docker.network.enable_ipv6": False, "com.docker.network.generic": options}
    return plugin("NetworkDriver.CreateNetwork", NetworkID=identity, Options=given, IPv4Data=[IPV4], IPv6Data=[])


# -- what needs nothing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("NetworkDriver.GetCapabilities", {"Scope": "local", "ConnectivityScope": ""}),
        ("NetworkDriver.AllocateNetwork", {"Options": None}),
        ("NetworkDriver.FreeNetwork", {}),
        ("NetworkDriver.EndpointOperInfo", None),
        ("NetworkDriver.DiscoverNew", {}),
        ("NetworkDriver.DiscoverDelete", {}),
        ("NetworkDriver.ProgramExternalConnectivity", {}),
        ("NetworkDriver.RevokeExternalConnectivity", {}),
        ("IpamDriver.GetCapabilities", {"RequiresMACAddress": False}),
        (
            "IpamDriver.GetDefaultAddressSpaces",
            {
                "LocalDefaultAddressSpace": "CalicoLocalAddressSpace",
                "GlobalDefaultAddressSpace": "CalicoGlobalAddressSpace",
            },
        ),
        ("IpamDriver.ReleasePool", {}),
    ],
)
def test_calls_with_one_answer(plugin: Plugin, call: str, answer: Any) -> None:
    assert plugin(call) == answer


def test_the_scope_is_as_configured() -> None:
    assert Plugin("global")("NetworkDriver.GetCapabilities")["Scope"] == "global"


# -- pools and addresses -------------------------------------------------------------------------------------------


def test_pools(plugin: Plugin) -> None:
    def pool(**request: Any) -> Any:
        return plugin("IpamDriver.RequestPool", **{"AddressSpace": "", "SubPool": "", "Options": {}, **request})

    gateway = "com.docker.network.gateway"
    assert pool(Pool=POOL, V6=False) == {"PoolID": "main", "Pool": POOL, "Data": {gateway: "0.0.0.0/0"}}
    assert pool(Pool=POOL_V6, V6=True) == {"PoolID": "six", "Pool": POOL_V6, "Data": {gateway: "::/0"}}
    assert pool(Pool="", V6=False) == {
        "PoolID": "CalicoPoolIPv4",
        "Pool": "0.0.0.0/0",
        "Data": {gateway: "0.0.0.0/0"},
    }
    assert pool(Pool="", V6=True) == {"PoolID": "CalicoPoolIPv6", "Pool": "::/0", "Data": {gateway: "::/0"}}
    assert pool(Pool="172.29.3.4/16")["PoolID"] == "main"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"Pool": "nonsense"}, "Invalid CIDR"),
        ({"Pool": "172.29.0.0/17"}, "The requested subnet must match the CIDR of a configured Calico IP Pool."),
        ({"Pool": POOL, "SubPool": "172.29.1.0/24"}, "Calico IPAM does not support sub pool configuration on"),
        ({"Pool": POOL, "Options": {"a": "b"}}, "Arbitrary options are not supported"),
    ],
)
def test_pools_that_are_refused(plugin: Plugin, request_: dict[str, Any], text: str) -> None:
    assert plugin.refusal("IpamDriver.RequestPool", **request_).startswith(text)


def test_a_pool_made_a_moment_ago_is_found(plugin: Plugin) -> None:
    plugin("IpamDriver.RequestPool", Pool=POOL)
    plugin.client.create(Resource("IPPool", Metadata("new"), IPPoolSpec(cidr="10.5.0.0/16")))
    assert plugin("IpamDriver.RequestPool", Pool="10.5.0.0/16")["PoolID"] == "new"


def test_addresses(plugin: Plugin) -> None:
    found = plugin("IpamDriver.RequestAddress", "one", PoolID="main", Address="", Options=None)
    assert re.fullmatch(r"172\.29\.\d+\.\d+/32", found["Address"])
    assert found["Data"] is None
    (one,) = check(take_snapshot(plugin.store)).allocations
    assert (one.holder.handle_id, one.holder.secondary) == ("libnetwork.10.0.0.1.one", {"node": "10.0.0.1"})
    six = plugin("IpamDriver.RequestAddress", "two", PoolID="CalicoPoolIPv6", Address="", Options={})
    assert re.fullmatch(r"fd80:1::[0-9a-f:]*/128", six["Address"])
    own = plugin("IpamDriver.RequestAddress", "three", PoolID="main", Address="172.29.9.9")
    assert own["Address"] == "172.29.9.9/32"
    for each in (found, six, own):
        assert plugin("IpamDriver.ReleaseAddress", PoolID="main", Address=each["Address"].partition("/")[0]) == {}
    assert check(take_snapshot(plugin.store)).allocations == ()


def test_an_address_that_was_taken_before_the_plugin_died_is_answered_again(plugin: Plugin) -> None:
    first = plugin("IpamDriver.RequestAddress", "one", PoolID="main", Address="")
    successor = Plugin(store=plugin.store)
    assert successor("IpamDriver.RequestAddress", "one", True, PoolID="main", Address="") == first
    assert successor("IpamDriver.RequestAddress", "two", True, PoolID="main", Address="") != first
    assert len(check(take_snapshot(plugin.store)).allocations) == 2


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"PoolID": "nowhere", "Address": ""}, "Invalid Pool - nowhere"),
        ({}, "Invalid Pool - "),
        ({"PoolID": "main", "Address": "1.2.3"}, "Invalid IP address - 1.2.3"),
        ({"PoolID": "main", "Address": "9.9.9.9"}, "The provided IP address is not in a configured pool: 9.9.9.9"),
        (
            {"PoolID": "main", "Options": {"RequestAddressType": "com.docker.network.gateway"}},
            "Calico IPAM does not support specifying a gateway.",
        ),
    ],
)
def test_addresses_that_are_refused(plugin: Plugin, request_: dict[str, Any], text: str) -> None:
    assert plugin.refusal("IpamDriver.RequestAddress", **request_) == text


def test_a_pool_that_was_migrated_is_stood_in_for_by_its_successor(plugin: Plugin) -> None:
    """Containers of the network `calico` alone: what other networks are over is not to be mixed."""
    networks = LocalNetworks(plugin.store, NoEngine(""), "10.0.0.1", DEFAULT, lambda: None)
    driver = IpamDriver(networks, Addresses(plugin.store, "10.0.0.1"), Releasing(*plugin.rooms))
    ask = driver.handlers()["IpamDriver.RequestAddress"]
    with pytest.raises(DriverError, match="Invalid Pool - gone"):
        ask({"PoolID": "gone"}, Call("t"))
    networks.write(Record("10.0.0.1", "id", Definition(("10.9.0.0/16",), "calico"), "calico"))
    assert ask({"PoolID": "gone"}, Call("u"))["Address"].startswith("172.29.")
    with pytest.raises(DriverError, match="Invalid Pool - "):
        ask({}, Call("v"))


def test_giving_back_what_nobody_has_is_no_error(plugin: Plugin) -> None:
    for address in ("0.0.0.0", "172.29.1.1", "9.9.9.9", "::", ""):
        assert plugin("IpamDriver.ReleaseAddress", PoolID="main", Address=address) == {}


def test_upstreams_addresses_are_given_back_and_other_nodes_are_not(plugin: Plugin) -> None:
    ipam = Ipam(plugin.store)
    plugin.client.create(Resource("Node", Metadata("other"), NodeSpec()))
    ipam.assign_ip("172.29.1.1", "10.0.0.1")
    ipam.assign_ip("172.29.1.2", "other", "libnetwork.other.x", {"node": "other"})
    for address in ("172.29.1.1", "172.29.1.2"):
        plugin("IpamDriver.ReleaseAddress", PoolID="main", Address=address)
    assert [one.address for one in check(take_snapshot(plugin.store)).allocations] == ["172.29.1.2"]


# -- networks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"colour": "red"}, "Could not parse options: Unknown option 'colour'"),
        # Nothing here would keep such a network's containers in.
        (
            {"com.docker.network.internal": True},
            "Could not parse options: Unknown option 'com.docker.network.internal'",
        ),
        (
            {"org.projectcalico.profile": 1, "size": 2},
            "Could not parse options: Expecting option 'org.projectcalico.profile' to be string, Unknown option 'size'",
        ),
        (
            {"com.docker.network.enable_ipv6": "yes"},
            "Could not parse options: Expecting option 'com.docker.network.enable_ipv6' to be boolean",
        ),
    ],
)
def test_options_that_are_refused(plugin: Plugin, options: dict[str, Any], text: str) -> None:
    for given in (options, {"com.docker.network.generic": options}):
        request = {"NetworkID": NETWORK, "Options": given, "IPv4Data": [IPV4], "IPv6Data": None}
        assert plugin.refusal("NetworkDriver.CreateNetwork", **request) == text


def test_what_newer_engines_send_is_taken(plugin: Plugin) -> None:
    options = {"com.docker.network.enable_ipv4": True, "com.docker.network.enable_ipv6": True}
    request = {"NetworkID": NETWORK, "Options": options, "IPv4Data": [IPV4], "IPv6Data": [IPV6], "Hints": {"a": 1}}
    assert plugin("NetworkDriver.CreateNetwork", **request) == {}


@pytest.mark.parametrize(
    ("family", "text"),
    [
        (
            {"IPv4Data": [{**IPV4, "Gateway": "172.29.0.1/16"}]},
            "Non-Calico IPAM driver is used. Note: Docker before 1.12.3 is unsupported",
        ),
        ({"IPv6Data": [{**IPV6, "AddressSpace": "LocalDefault"}]}, "Non-Calico IPAM driver is used"),
        ({"IPv4Data": [{**IPV4, "AuxAddresses": {"a": "172.29.1.1"}}]}, "Calico does not support auxiliary addresses"),
    ],
)
def test_other_ipam_is_refused(plugin: Plugin, family: dict[str, Any], text: str) -> None:
    assert plugin.refusal("NetworkDriver.CreateNetwork", NetworkID=NETWORK, **family).startswith(text)


def test_an_id_that_is_none_is_refused(plugin: Plugin) -> None:
    for value in (None, "", "../x", 3):
        assert "must be an id" in plugin.refusal("NetworkDriver.DeleteNetwork", NetworkID=value)


def test_deleting_a_network_nobody_knows_is_no_error(plugin: Plugin) -> None:
    assert plugin("NetworkDriver.DeleteNetwork", NetworkID=NETWORK) == {}


def test_local_networks_never_write_at_a_pool(connected: Plugin) -> None:
    assert connected.client.get("IPPool", "main").metadata.annotations == {}


def test_global_networks_are_noted_at_every_pool_and_cleared_from_all() -> None:
    plugin = Plugin("global")
    request = {"Options": {"org.projectcalico.profile": "web"}, "IPv4Data": [IPV4], "IPv6Data": [IPV6]}
    plugin("NetworkDriver.CreateNetwork", NetworkID=NETWORK, **request)
    wanted = {"org.projectcalico.label.network.ID": NETWORK, "org.projectcalico.label.profile": "web"}
    pools = [plugin.client.get("IPPool", name) for name in ("main", "six")]
    assert [pool.metadata.annotations for pool in pools] == [wanted, wanted]
    plugin.start()
    assert plugin.endpoint().spec.profiles == ("web",)
    plugin("NetworkDriver.DeleteNetwork", NetworkID=NETWORK)
    pools = [plugin.client.get("IPPool", name) for name in ("main", "six")]
    assert [pool.metadata.annotations for pool in pools] == [{}, {}]


# -- endpoints -----------------------------------------------------------------------------------------------------


def test_an_endpoint_is_what_upstream_makes_of_it(plugin: Plugin) -> None:
    create(plugin, **{"org.projectcalico.profile": "web"})
    answer = plugin.start(Address="172.29.1.1/16", AddressIPv6="fd80:1::5/128", MacAddress="02:42:0A:00:00:01")
    spec = plugin.endpoint().spec
    assert (spec.node, spec.orchestrator, spec.workload, spec.endpoint) == (
        "10.0.0.1",
        "libnetwork",
        "libnetwork",
        ENDPOINT,
    )
    assert spec.ip_networks == ("172.29.1.1/32", "fd80:1::5/128")
    assert (spec.interface_name, spec.mac, spec.profiles) == ("cali0123456789a", "02:42:0a:00:00:01", ("web",))
    assert plugin.links.pairs[ENDPOINT][1] == "02:42:0a:00:00:01"
    rule = plugin.client.get("Profile", "web").spec
    assert (rule.ingress[0].source.selector, rule.egress[0].action) == ("has(web)", "Allow")
    gateway = "fe80::ecee:eeff:feee:eeee"
    assert answer == {
        "InterfaceName": {"SrcName": "temp0123456789a", "DstPrefix": "cali"},
        "Gateway": "169.254.1.1",
        "GatewayIPv6": gateway,
        "StaticRoutes": [
            {"Destination": "169.254.1.1/32", "RouteType": 1, "NextHop": ""},
            {"Destination": POOL, "RouteType": 0, "NextHop": "169.254.1.1"},
            {"Destination": f"{gateway}/128", "RouteType": 1, "NextHop": ""},
        ],
        "DisableGatewayService": False,
    }


def test_without_a_profile_the_pools_name_is_taken(connected: Plugin) -> None:
    connected.start()
    assert connected.endpoint().spec.profiles == ("main",)


def test_a_profile_that_is_there_is_left_alone(connected: Plugin) -> None:
    from calico.model.profile import ProfileSpec

    connected.client.create(Resource("Profile", Metadata("main"), ProfileSpec()))
    connected.start()
    assert connected.client.get("Profile", "main").spec == ProfileSpec()


def test_a_mac_address_is_the_same_from_the_start(connected: Plugin) -> None:
    connected.start()
    assert connected.endpoint().spec.mac == connected.links.pairs[ENDPOINT][1] == mac_of(ENDPOINT)
    assert int(mac_of(ENDPOINT)[:2], 16) & 3 == 2  # locally administered, one station's


def test_the_answer_to_create_endpoint_changes_nothing(connected: Plugin) -> None:
    address = connected("IpamDriver.RequestAddress", PoolID="main", Address="")["Address"]
    request = {"NetworkID": NETWORK, "EndpointID": ENDPOINT, "Interface": {"Address": address}}
    answer = connected("NetworkDriver.CreateEndpoint", **request)
    assert answer == {"Interface": NO_ADDRESSES}
    assert connected("NetworkDriver.CreateEndpoint", **request) == answer  # asked twice, it is there once
    other = {**request, "Interface": {"Address": address, "MacAddress": "02:00:00:00:00:01"}}
    assert "already exists" in connected.refusal("NetworkDriver.CreateEndpoint", **other)


def test_labels_among_the_options(connected: Plugin) -> None:
    address = connected("IpamDriver.RequestAddress", PoolID="main", Address="")["Address"]
    options = {
        "org.projectcalico.label.role": "web",
        "org.projectcalico.label.long": "x" * 64,
        "com.docker.network.portmap": [],
    }
    request = {"NetworkID": NETWORK, "EndpointID": ENDPOINT, "Interface": {"Address": address}, "Options": options}
    connected("NetworkDriver.CreateEndpoint", **request)
    labels = connected.endpoint().metadata.labels
    assert labels["role"] == "web"
    assert "long" not in labels


def test_endpoints_that_are_refused(plugin: Plugin) -> None:
    request = {"NetworkID": NETWORK, "EndpointID": ENDPOINT, "Interface": NO_ADDRESSES}
    assert plugin.refusal("NetworkDriver.CreateEndpoint", **request) == "No address assigned for endpoint"
    request["Interface"] = {"Address": "172.29.1.1/32"}
    no_pool = "The requested subnet must match the CIDR of a configured Calico IP Pool."
    assert plugin.refusal("NetworkDriver.CreateEndpoint", **request) == no_pool
    nowhere = {**IPV4, "Pool": "0.0.0.0/0"}  # `docker network create` without --subnet
    plugin("NetworkDriver.CreateNetwork", NetworkID=NETWORK, Options={}, IPv4Data=[nowhere])
    assert plugin.refusal("NetworkDriver.CreateEndpoint", **request) == no_pool


def test_an_address_of_another_node_is_refused(connected: Plugin) -> None:
    connected.client.create(Resource("Node", Metadata("other"), NodeSpec()))
    Ipam(connected.store).assign_ip("172.29.1.1", "other", "h", {"node": "other"})
    request = {"NetworkID": NETWORK, "EndpointID": ENDPOINT, "Interface": {"Address": "172.29.1.1/32"}}
    assert connected.refusal("NetworkDriver.CreateEndpoint", **request) == "address 172.29.1.1 is in use on node other"
    Ipam(connected.store).release_handle("h")


def test_a_second_network_of_a_container_has_another_gateway(connected: Plugin) -> None:
    connected.client.create(Resource("IPPool", Metadata("second"), IPPoolSpec(cidr="10.5.0.0/16")))
    data = [{**IPV4, "Pool": "10.5.0.0/16"}]
    connected("NetworkDriver.CreateNetwork", NetworkID="b" * 64, Options={}, IPv4Data=data)
    connected.start()
    answer = connected.start("e" * 64, "b" * 64, Address="10.5.0.1/32")
    assert answer["Gateway"] == "169.254.1.2"
    assert [route["Destination"] for route in answer["StaticRoutes"]] == ["169.254.1.2/32", "10.5.0.0/16"]


def test_networks_that_share_a_subnet_have_no_route_to_it(connected: Plugin) -> None:
    create(connected, "b" * 64)
    answer = connected.start()
    assert [route["Destination"] for route in answer["StaticRoutes"]] == ["169.254.1.1/32"]


def test_joining_what_is_not_there_is_refused(connected: Plugin) -> None:
    request = {"NetworkID": NETWORK, "EndpointID": ENDPOINT, "SandboxKey": "x"}
    assert "does not exist" in connected.refusal("NetworkDriver.Join", **request)


def test_an_end(connected: Plugin) -> None:
    connected.start()
    (network,) = connected.endpoint().spec.ip_networks
    both = {"NetworkID": NETWORK, "EndpointID": ENDPOINT}
    assert connected("NetworkDriver.Leave", **both) == {}
    assert connected.links.pairs == {}
    assert connected("NetworkDriver.Leave", **both) == {}
    assert connected("NetworkDriver.DeleteEndpoint", **both) == {}
    assert "does not exist" in connected.refusal("NetworkDriver.DeleteEndpoint", **both)
    connected("IpamDriver.ReleaseAddress", PoolID="main", Address=network.partition("/")[0])


def test_an_address_that_is_given_back_takes_its_endpoint_along(connected: Plugin) -> None:
    """What an engine does after a CreateEndpoint of which it heard no answer; and a plugin that did not make it."""
    connected.start()
    (network,) = connected.endpoint().spec.ip_networks
    successor = Plugin(store=connected.store)
    successor.links.pairs = connected.links.pairs
    successor("IpamDriver.ReleaseAddress", PoolID="main", Address=network.partition("/")[0])
    assert connected.client.list("WorkloadEndpoint").items == ()
    assert connected.links.pairs == {}
    assert check(take_snapshot(connected.store)).allocations == ()
