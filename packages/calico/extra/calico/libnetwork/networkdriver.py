"""The remote network driver: networks, endpoints, and the pair of interfaces each container gets."""

import logging
from collections.abc import Mapping
from typing import Any

from calico.client.errors import NotFoundError, ResourceError
from calico.daemon.log import fields
from calico.datastore.errors import DatastoreError
from calico.ipam.errors import IpamError
from calico.ipam.inventory import Pool
from calico.libnetwork.addresses import Addresses
from calico.libnetwork.endpoints import Endpoint, Endpoints, labels_among
from calico.libnetwork.errors import DriverError
from calico.libnetwork.ipamdriver import NO_SUCH_POOL
from calico.libnetwork.journal import Call
from calico.libnetwork.links import Links, Pair, mac_of
from calico.libnetwork.networks import Networks
from calico.libnetwork.options import read_network
from calico.libnetwork.releasing import Releasing
from calico.libnetwork.server import Handler
from calico.model.formats import parse_cidr_or_ip
from calico.model.problems import ModelError
from calico.model.registry import Definition
from calico.netlink.route import mac_bytes

_NEXT_HOP, _CONNECTED = 0, 1  # libnetwork's kinds of routes
_PROBLEMS = (DatastoreError, IpamError, ResourceError, ModelError, OSError)

_log = logging.getLogger(__name__)


class NetworkDriver:
    """The calls of `calico.sock`. `prefix` begins the names of interfaces inside containers."""

    def __init__(
        self,
        networks: Networks,
        endpoints: Endpoints,
        addresses: Addresses,
        links: Links,
        scope: str,
        prefix: str,
        create_profiles: bool,
    ) -> None:
        self._networks, self._endpoints, self._addresses, self._links = networks, endpoints, addresses, links
        self._releasing = Releasing(endpoints, addresses, links)
        self._scope, self._prefix, self._create_profiles = scope, prefix, create_profiles

    def handlers(self) -> dict[str, Handler]:
        """Every call by its name."""
        calls = {
            "CreateNetwork": self.create_network,
            "DeleteNetwork": self.delete_network,
            "CreateEndpoint": self.create_endpoint,
            "DeleteEndpoint": self.delete_endpoint,
            "Join": self.join,
            "Leave": self.leave,
        }
        nothing = [
            "FreeNetwork",
            "DiscoverNew",
            "DiscoverDelete",
            "ProgramExternalConnectivity",
            "RevokeExternalConnectivity",
        ]
        return {
            "Plugin.Activate": lambda _request, _call: {"Implements": ["NetworkDriver"]},
            "NetworkDriver.GetCapabilities": lambda _request, _call: {"Scope": self._scope, "ConnectivityScope": ""},
            "NetworkDriver.AllocateNetwork": lambda _request, _call: {"Options": None},
            "NetworkDriver.EndpointOperInfo": lambda _request, _call: None,
            **{f"NetworkDriver.{name}": (lambda _request, _call: {}) for name in nothing},
            **{f"NetworkDriver.{name}": _refusing(call) for name, call in calls.items()},
        }

    # -- networks --------------------------------------------------------------------------------------------------

    def create_network(self, request: Mapping[str, Any], _call: Call) -> dict[str, Any]:
        """Remember what the engine's new network is."""
        identity = _identity(request, "NetworkID")
        definition = read_network(request)
        self._networks.create(identity, definition)
        _log.info("network created: %s", fields(id=identity[:12], subnets=",".join(definition.subnets)))
        return {}

    def delete_network(self, request: Mapping[str, Any], _call: Call) -> dict[str, Any]:
        """The engine's network is gone."""
        identity = _identity(request, "NetworkID")
        self._networks.delete(identity)
        _log.info("network deleted: %s", fields(id=identity[:12]))
        return {}

    # -- endpoints -------------------------------------------------------------------------------------------------

    def create_endpoint(self, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """Store the container's WorkloadEndpoint. The answer repeats nothing: the engine takes that for a change."""
        identity, interface = _identity(request, "EndpointID"), request.get("Interface") or {}
        networks = _addresses_of(interface)
        if not networks:
            raise DriverError("No address assigned for endpoint")
        definition, pool = self._network(_identity(request, "NetworkID"))
        profile = definition.profile or pool.name
        if self._create_profiles:
            self._endpoints.ensure_profile(profile)
        mac = _mac(interface.get("MacAddress") or "") or mac_of(identity)
        labels = labels_among(request.get("Options") or {})
        endpoint = Endpoint(identity, networks, profile, self._links.name_of(identity), mac, labels)
        for address in endpoint.addresses:
            self._addresses.hold(address, call.token)
        self._endpoints.create(endpoint)
        _log.info("endpoint created: %s", fields(id=identity[:12], addresses=",".join(networks), profile=profile))
        return {"Interface": {"Address": "", "AddressIPv6": "", "MacAddress": ""}}

    def delete_endpoint(self, request: Mapping[str, Any], _call: Call) -> dict[str, Any]:
        """Delete the container's WorkloadEndpoint, and its interfaces where a Leave never came."""
        identity = _identity(request, "EndpointID")
        self._links.unplug(identity)
        self._endpoints.delete(identity)
        _log.info("endpoint deleted: %s", fields(id=identity[:12]))
        return {}

    def join(self, request: Mapping[str, Any], _call: Call) -> dict[str, Any]:
        """Make the pair of interfaces. The container's end has the endpoint's MAC address from the start."""
        identity, sandbox = _identity(request, "EndpointID"), str(request.get("SandboxKey", ""))
        endpoint = self._endpoints.get(identity)
        if endpoint is None:
            raise NotFoundError(f"WorkloadEndpoint({self._endpoints.name_of(identity)})")
        pair = self._links.plug(identity, sandbox.replace(" ", ""), endpoint.mac, endpoint.has_v6)
        return {
            "InterfaceName": {"SrcName": pair.peer, "DstPrefix": self._prefix},
            "Gateway": pair.gateway if any("." in network for network in endpoint.networks) else "",
            "GatewayIPv6": pair.gateway_v6 if endpoint.has_v6 else "",
            "StaticRoutes": self._routes(request.get("NetworkID", ""), endpoint, pair),
            "DisableGatewayService": False,
        }

    def leave(self, request: Mapping[str, Any], _call: Call) -> dict[str, Any]:
        """Delete the pair of interfaces."""
        self._links.unplug(_identity(request, "EndpointID"))
        return {}

    # -- how -------------------------------------------------------------------------------------------------------

    def _routes(self, network: str, endpoint: Endpoint, pair: Pair) -> list[dict[str, Any]]:
        """The gateways, and the network's own subnets through them.

        The subnets matter to a container with a second network, whose default route may lead elsewhere. Where another
        network of the node shares one they are left out: the engine refuses an address that an existing route covers.
        """
        found = []
        for version, length, gateway in ((4, 32, pair.gateway), (6, 128, pair.gateway_v6)):
            mark = "." if version == 4 else ":"
            if any(mark in one for one in endpoint.networks):
                found.append(_route(f"{gateway}/{length}", _CONNECTED, ""))
                found += [_route(subnet, _NEXT_HOP, gateway) for subnet in self._own_subnets(network) if mark in subnet]
        return found

    def _own_subnets(self, network: str) -> list[str]:
        definition = self._networks.find(network)
        subnets = definition.subnets if definition else ()
        return [one for one in subnets if not one.endswith("/0") and self._networks.sharing(one) <= 1]

    def _network(self, identity: str) -> tuple[Definition, Pool]:
        """A network and the first pool it is over."""
        definition = self._networks.find(identity)
        if definition is not None:
            for _ in range(2):
                for pool in self._addresses.pools():
                    if str(pool.network) in definition.subnets:
                        return definition, pool
                self._addresses.refresh()
        raise DriverError(NO_SUCH_POOL)


def _refusing(call: Handler) -> Handler:
    """A call whose expected failures are refusals, in the words of what failed."""

    def handle(request: Mapping[str, Any], record: Call) -> Any:
        try:
            return call(request, record)
        except _PROBLEMS as error:
            raise DriverError(str(error)) from None

    return handle


def _identity(request: Mapping[str, Any], member: str) -> str:
    value = request.get(member)
    if not isinstance(value, str) or not value.isalnum():
        raise DriverError(f"{member} is {value!r}; it must be an id of the engine")
    return value


def _addresses_of(interface: Mapping[str, Any]) -> tuple[str, ...]:
    """IPv4 as a /32 whatever the engine's prefix, IPv6 as given."""
    found = []
    if text := interface.get("Address"):
        found.append(f"{_parsed(text)[0]}/32")
    if text := interface.get("AddressIPv6"):
        address, network = _parsed(text)
        found.append(f"{address}/{network.prefixlen}")
    return tuple(found)


def _parsed(text: str) -> Any:
    parsed = parse_cidr_or_ip(text)
    if parsed is None:
        raise DriverError(f"Invalid IP address - {text}")
    return parsed


def _mac(text: str) -> str:
    if not text:
        return ""
    try:
        return mac_bytes(text.lower()).hex(":")
    except ValueError as error:
        raise DriverError(str(error)) from None


def _route(destination: str, kind: int, next_hop: str) -> dict[str, Any]:
    return {"Destination": destination, "RouteType": kind, "NextHop": next_hop}
