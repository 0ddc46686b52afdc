"""The remote IPAM driver: pools are IPPools, and every address has a handle and its node."""

from collections.abc import Mapping
from typing import Any

from calico.datastore.errors import DatastoreError
from calico.ipam.errors import IpamError
from calico.ipam.inventory import Pool
from calico.libnetwork.addresses import Addresses
from calico.libnetwork.errors import DriverError
from calico.libnetwork.journal import Call
from calico.libnetwork.networks import Networks
from calico.libnetwork.options import ADDRESS_SPACE_GLOBAL, ADDRESS_SPACE_LOCAL
from calico.libnetwork.releasing import Releasing
from calico.libnetwork.server import Handler
from calico.model.formats import parse_cidr, parse_cidr_or_ip

NO_SUCH_POOL = "The requested subnet must match the CIDR of a configured Calico IP Pool."
_ANY_POOL = {"CalicoPoolIPv4": 4, "CalicoPoolIPv6": 6}
_GATEWAY = "com.docker.network.gateway"


class IpamDriver:
    """The calls of `calico-ipam.sock`."""

    def __init__(self, networks: Networks, addresses: Addresses, releasing: Releasing) -> None:
        self._networks, self._addresses, self._releasing = networks, addresses, releasing

    def handlers(self) -> dict[str, Handler]:
        """Every call by its name."""
        return {
            "Plugin.Activate": lambda _request, _call: {"Implements": ["IpamDriver"]},
            "IpamDriver.GetCapabilities": lambda _request, _call: {"RequiresMACAddress": False},
            "IpamDriver.GetDefaultAddressSpaces": lambda _request, _call: {
                "LocalDefaultAddressSpace": ADDRESS_SPACE_LOCAL,
                "GlobalDefaultAddressSpace": ADDRESS_SPACE_GLOBAL,
            },
            "IpamDriver.RequestPool": self.request_pool,
            "IpamDriver.ReleasePool": lambda _request, _call: {},
            "IpamDriver.RequestAddress": self.request_address,
            "IpamDriver.ReleaseAddress": self.release_address,
        }

    def request_pool(self, request: Mapping[str, Any], _call: Call) -> dict[str, Any]:
        """The IPPool of exactly that CIDR; without one, whichever pool there is when an address is asked for."""
        if request.get("SubPool"):
            raise DriverError(
                "Calico IPAM does not support sub pool configuration on 'docker network create'. Calico IP Pools should"
                " be configured first and IP assignment is from those pre-configured pools."
            )
        if request.get("Options"):
            raise DriverError("Arbitrary options are not supported")
        family, everything = (6, "::/0") if request.get("V6") else (4, "0.0.0.0/0")
        identity, network = f"CalicoPoolIPv{family}", everything
        if wanted := request.get("Pool"):
            parsed = parse_cidr(wanted)
            if parsed is None:
                raise DriverError("Invalid CIDR")
            pool = self._pool_over(str(parsed[1]))
            identity, network = pool.name, str(pool.network)
        return {"PoolID": identity, "Pool": network, "Data": {_GATEWAY: everything}}

    def request_address(self, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """One address out of a pool, or the one that was asked for."""
        if (request.get("Options") or {}).get("RequestAddressType") == _GATEWAY:
            raise DriverError("Calico IPAM does not support specifying a gateway.")
        identity, wanted = request.get("PoolID", ""), request.get("Address", "")
        parsed = parse_cidr_or_ip(wanted) if wanted else None
        if wanted and parsed is None:
            raise DriverError(f"Invalid IP address - {wanted}")
        try:
            if parsed is not None:
                address = self._addresses.take(call.token, parsed[0].version, (), str(parsed[0]), call.again)
            elif identity in _ANY_POOL:
                address = self._addresses.take(call.token, _ANY_POOL[identity], (), "", call.again)
            else:
                pool = self._pool_for(identity)
                network = str(pool.network)
                address = self._addresses.take(call.token, pool.network.version, (network,), "", call.again)
        except (IpamError, DatastoreError) as error:
            raise DriverError(str(error)) from None
        return {"Address": f"{address}/{128 if ':' in address else 32}", "Data": None}

    def release_address(self, request: Mapping[str, Any], _call: Call) -> dict[str, Any]:
        """Free an address. The engine gives back the gateway too, which is nobody's."""
        parsed = parse_cidr_or_ip(request.get("Address", ""))
        if parsed is not None and not parsed[0].is_unspecified:
            try:
                self._releasing.address(str(parsed[0]))
            except (IpamError, DatastoreError) as error:
                raise DriverError(str(error)) from None
        return {}

    def _pool_for(self, name: str) -> Pool:
        """The pool of that name, or the one that took its place when the cluster moved to another network."""
        try:
            pool = self._pool_named(name)
        except DriverError:
            if not name or not (successors := self._networks.successors("")):
                raise
            return self._pool_over(successors[0])
        successors = self._networks.successors(str(pool.network)) if pool.disabled else ()
        return self._pool_over(successors[0]) if successors else pool

    def _pool_over(self, network: str) -> Pool:
        return self._look(lambda pool: str(pool.network) == network, NO_SUCH_POOL)

    def _pool_named(self, name: str) -> Pool:
        return self._look(lambda pool: pool.name == name, f"Invalid Pool - {name}")

    def _look(self, is_it: Any, refusal: str) -> Pool:
        """The pool wanted; the list of pools is read anew before one is missed."""
        try:
            for _ in range(2):
                for pool in self._addresses.pools():
                    if is_it(pool):
                        return pool
                self._addresses.refresh()
        except DatastoreError as error:
            raise DriverError(str(error)) from None
        raise DriverError(refusal)
