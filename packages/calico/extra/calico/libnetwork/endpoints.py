"""A container's interface as a WorkloadEndpoint: made at CreateEndpoint, labelled when the container is known.

Names and members are upstream's: orchestrator and workload are `libnetwork`, the endpoint is the engine's id.
"""

import logging
from collections.abc import Mapping
from ipaddress import ip_interface
from threading import Lock
from typing import Any, NamedTuple

from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError
from calico.client.resources import Client
from calico.client.values import read
from calico.daemon.log import fields
from calico.datastore.store import listing
from calico.model import formats
from calico.model.keys import list_prefix
from calico.model.metadata import Metadata
from calico.model.problems import ModelError
from calico.model.profile import ProfileSpec
from calico.model.resource import Resource, with_metadata
from calico.model.rule import EntityRule, Rule
from calico.model.workloadendpoint import Identity, WorkloadEndpointSpec, is_under

LABEL_PREFIX = "org.projectcalico.label."
_ORCHESTRATOR = "libnetwork"
_ATTEMPTS = 10

_log = logging.getLogger(__name__)


class Endpoint(NamedTuple):
    """What the plugin needs of a container's interface. `networks` are its addresses with their prefix lengths."""

    id: str
    networks: tuple[str, ...]
    profile: str
    interface: str
    mac: str
    labels: Mapping[str, str] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, bare."""
        return tuple(str(ip_interface(network).ip) for network in self.networks)

    @property
    def has_v6(self) -> bool:
        """Whether one of them is IPv6."""
        return any(":" in network for network in self.networks)


def labels_among(pairs: Mapping[str, Any]) -> dict[str, str]:
    """The endpoint's labels that a container's labels, or a connection's options, hold under our prefix.

    One that Calico cannot store is left out and logged: it must not keep a container from its network.
    """
    found = {}
    for name, value in pairs.items():
        if name.startswith(LABEL_PREFIX) and isinstance(value, str):
            key = name.removeprefix(LABEL_PREFIX)
            if problem := formats.label(key, value):
                _log.warning("label left out: %s", fields(label=key, value=value, problem=problem))
            else:
                found[key] = value
    return found


class Endpoints:
    """The WorkloadEndpoints of a node's Docker containers.

    Raises DatastoreError, ModelError and calico.client's errors.
    """

    def __init__(self, client: Client, node: str, namespace: str) -> None:
        self._client, self._node, self._namespace = client, node, namespace
        self._lock = Lock()
        self._known: dict[str, Endpoint] = {}
        self._is_loaded = False
        self._profiles: set[str] = set()

    def name_of(self, endpoint: str) -> str:
        """The resource's name."""
        return Identity(self._node, _ORCHESTRATOR, _ORCHESTRATOR, endpoint).name()

    def create(self, endpoint: Endpoint) -> None:
        """Store a new endpoint. One that is stored just so already is what an interrupted attempt left."""
        spec = WorkloadEndpointSpec(
            orchestrator=_ORCHESTRATOR,
            workload=_ORCHESTRATOR,
            node=self._node,
            endpoint=endpoint.id,
            ip_networks=endpoint.networks,
            profiles=(endpoint.profile,),
            interface_name=endpoint.interface,
            mac=endpoint.mac,
        )
        metadata = Metadata(self.name_of(endpoint.id), namespace=self._namespace, labels=endpoint.labels)
        try:
            self._client.create(Resource("WorkloadEndpoint", metadata, spec))
        except AlreadyExistsError:
            stored = self._client.get("WorkloadEndpoint", metadata.name, self._namespace)
            if stored.spec != spec:
                raise
        self._know(endpoint)

    def get(self, endpoint: str) -> Endpoint | None:
        """An endpoint of this node; None when there is none."""
        with self._lock:
            if known := self._known.get(endpoint):
                return known
        try:
            found = _read(self._client.get("WorkloadEndpoint", self.name_of(endpoint), self._namespace))
        except NotFoundError:
            return None
        self._know(found)
        return found

    def delete(self, endpoint: str) -> None:
        """Delete an endpoint. Raise NotFoundError when there is none."""
        with self._lock:
            self._known.pop(endpoint, None)
        self._client.delete("WorkloadEndpoint", self.name_of(endpoint), self._namespace)

    def having(self, address: str) -> str:
        """The endpoint of this node that has an address; empty when none has."""
        if not self._is_loaded:
            self.all()
        with self._lock:
            return next((one.id for one in self._known.values() if address in one.addresses), "")

    def all(self) -> dict[str, Endpoint]:
        """Every endpoint of this node, read from the datastore."""
        name = self.name_of("x").removesuffix("x")
        under = Identity(self._node, _ORCHESTRATOR, _ORCHESTRATOR, "")
        found = {}
        for item in listing(self._client.store, list_prefix("WorkloadEndpoint", self._namespace) + name).items:
            try:
                resource = read(item)
            except ModelError as error:
                _log.warning("cannot be read: %s", error)
                continue
            if is_under(resource.metadata.name, under):
                found[resource.spec.endpoint] = _read(resource)
        with self._lock:
            self._known.update(found)
            self._is_loaded = True
        return found

    def add_labels(self, endpoint: str, labels: Mapping[str, str]) -> bool:
        """Give an endpoint labels beside those it has; False when it is not there any more."""
        for _ in range(_ATTEMPTS):
            try:
                stored = self._client.get("WorkloadEndpoint", self.name_of(endpoint), self._namespace)
                wanted = {**stored.metadata.labels, **labels}
                if wanted != stored.metadata.labels:
                    self._client.update(with_metadata(stored, labels=wanted))
                return True
            except ConflictError:
                continue
            except NotFoundError:
                return False
        raise ConflictError(self.name_of(endpoint))

    def ensure_profile(self, name: str) -> None:
        """Create a profile that lets its own members in and everything out, unless one of that name is there."""
        if name in self._profiles:
            return
        inbound = Rule("Allow", source=EntityRule(selector=f"has({name})"))
        profile = Resource("Profile", Metadata(name), ProfileSpec((inbound,), (Rule("Allow"),)))
        try:
            self._client.get("Profile", name)
        except NotFoundError:
            try:
                self._client.create(profile)
                _log.info("profile created: %s", fields(profile=name))
            except AlreadyExistsError:
                pass  # another node was faster
        self._profiles.add(name)

    def forget_profiles(self) -> None:
        """Look again whether profiles are there: somebody may have deleted one."""
        self._profiles.clear()

    def _know(self, endpoint: Endpoint) -> None:
        with self._lock:
            self._known[endpoint.id] = endpoint


def _read(resource: Resource[Any]) -> Endpoint:
    spec = resource.spec
    profile = spec.profiles[0] if spec.profiles else ""
    return Endpoint(
        spec.endpoint, spec.ip_networks, profile, spec.interface_name, spec.mac, dict(resource.metadata.labels)
    )
