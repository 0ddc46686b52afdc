"""Taking back what a container had, in the order that leaves nothing dangling: endpoint, interfaces, addresses."""

import logging
from contextlib import suppress

from calico.client.errors import NotFoundError
from calico.daemon.log import fields
from calico.libnetwork.addresses import Addresses
from calico.libnetwork.endpoints import Endpoints
from calico.libnetwork.links import Links

_log = logging.getLogger(__name__)


class Releasing:
    """What is done when an endpoint, or only its address, is given up. A step that is done already is no error."""

    def __init__(self, endpoints: Endpoints, addresses: Addresses, links: Links) -> None:
        self._endpoints, self._addresses, self._links = endpoints, addresses, links

    def address(self, address: str) -> None:
        """Free an address. After a CreateEndpoint that failed half way the engine asks for this, and nothing else."""
        if owner := self._endpoints.having(address):
            _log.info("endpoint deleted with its address: %s", fields(id=owner[:12], address=address))
            self.endpoint(owner)
        self._addresses.give_back(address)

    def endpoint(self, identity: str, addresses: tuple[str, ...] = ()) -> None:
        """Delete an endpoint that has no container any more, and free `addresses`."""
        self._links.unplug(identity)
        with suppress(NotFoundError):
            self._endpoints.delete(identity)
        for address in addresses:
            self._addresses.give_back(address)
