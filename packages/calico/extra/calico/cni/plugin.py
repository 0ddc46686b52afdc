"""`Plugin`: what the plugins `calico` and `calico-ipam` do. One engine, in the agent or in the plugin's own process.

ADD gives out the address, makes the interface, and writes the WorkloadEndpoint last; DEL takes them back from the other
end. The handle and the interface's name follow from the container's id alone, so DEL finds what an ADD left that died
on the way, and a second ADD takes up where the first ended.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError, ResourceError
from calico.client.resources import Client
from calico.cni import results, veth
from calico.cni.conf import IPAM_TYPE, Attachment, Call
from calico.cni.errors import BAD_CONFIG, BAD_ENVIRONMENT, FAILED, TRY_AGAIN, UNAVAILABLE, UNSUPPORTED, CniError
from calico.cni.nodename import NODENAME_FILE, node_name
from calico.daemon.log import fields
from calico.datastore.errors import DatastoreError
from calico.datastore.store import Store, listing
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.check import FOREIGN_PLUGIN
from calico.ipam.errors import AlreadyAllocatedError, IpamError
from calico.ipam.errors import NotFoundError as NotAllocatedError
from calico.ipam.inventory import Inventory
from calico.model.formats import parse_cidr, parse_ip
from calico.model.keys import HANDLES, list_prefix
from calico.model.metadata import Metadata
from calico.model.problems import ModelError
from calico.model.profile import ProfileSpec
from calico.model.resource import Resource, prepare, validate
from calico.model.rule import EntityRule, Rule
from calico.model.workloadendpoint import Identity, WorkloadEndpointSpec, is_under
from calico.netlink.message import NetlinkError

log = logging.getLogger(__name__)

ORCHESTRATOR = "cni"
CALICO_TYPE = "calico"
_NAMESPACE = "default"
_ATTEMPTS = 10

Endpoint = Resource[WorkloadEndpointSpec]


class Delegate(NamedTuple):
    """Another IPAM plugin than ours: it is called as CNI says, with the same input."""

    add: Callable[[Call], tuple[str, ...]]
    delete: Callable[[Call], None]


class Plugin:
    """The engine over one datastore. Threads may share it; calls for one container come one after the other.

    `delegate` runs an IPAM plugin of another type, where that can be.
    """

    def __init__(
        self,
        store: Store,
        inventory: Inventory | None = None,
        nodename_file: Path = NODENAME_FILE,
        delegate: Delegate | None = None,
    ) -> None:
        self.store = store
        self.ipam = Ipam(store, inventory)
        self.client = Client(store, self.ipam)
        self._nodename_file, self._delegate = nodename_file, delegate
        self._containers = _Locks()
        self._allocating = threading.Lock()

    def run(self, call: Call) -> dict[str, Any] | None:
        """Carry out a call; what to print, if anything. Raise CniError."""
        if call.command == "VERSION":
            return results.supported(call.conf.cni_version)
        try:
            with self._containers.of(call.attachment.container_id):
                return self._run(call)
        except DatastoreError as error:
            code = UNAVAILABLE if call.command == "STATUS" else TRY_AGAIN
            raise CniError(f"the datastore cannot be used: {error}", code) from error
        except (IpamError, ResourceError, veth.WiringError) as error:
            raise CniError(str(error)) from error
        except ModelError as error:
            raise CniError("; ".join(str(one) for one in error.problems)) from error
        except NetlinkError as error:
            raise CniError(f"the kernel refused: {error.strerror or error}") from error

    def _run(self, call: Call) -> dict[str, Any] | None:
        node = node_name(call.conf.nodename, call.conf.nodename_is_optional, self._nodename_file)
        if call.plugin == IPAM_TYPE:
            return self._run_ipam(call, node)
        self._check_ready(call)
        match call.command:
            case "ADD":
                return self._add(call, node)
            case "DEL":
                self._delete(call, node)
            case "CHECK":
                self._check(call, node)
            case "GC":
                self._collect(call, node)
        return None

    def _check_ready(self, call: Call) -> None:
        """Raise CniError while the datastore is not to be written to, as during a migration."""
        code = UNAVAILABLE if call.command == "STATUS" else TRY_AGAIN
        try:
            information = self.client.get("ClusterInformation", "default")
        except NotFoundError as error:
            text = f"error getting ClusterInformation: {error}: dcos-calico-node writes it when it first starts"
            raise CniError(text, code) from None
        if not information.spec.datastore_ready:
            raise CniError("Calico is currently not ready to process requests", code)

    # -- ADD -------------------------------------------------------------------------------------------------------

    def _add(self, call: Call, node: str) -> dict[str, Any]:
        wanted = _endpoint(call, node)
        _check_endpoint(wanted)
        if call.namespace < 0:
            raise CniError(f"failed to open netns {call.namespace_path!r}: it does not exist", BAD_ENVIRONMENT)
        if veth.is_own_namespace(call.namespace):
            raise CniError(f"CNI_NETNS {call.namespace_path!r}: is the host's own network namespace", BAD_ENVIRONMENT)
        existing = self._endpoints(call, node)
        endpoint = self._add_again(call, existing[0]) if existing else self._add_new(call, node, wanted)
        return results.result(call.conf.cni_version, endpoint.spec.ip_networks, endpoint.spec.interface_name)

    def _endpoints(self, call: Call, node: str) -> list[Endpoint]:
        """The endpoints that a container has, whatever interface they are of; that of this call's first."""
        identity = Identity(node, ORCHESTRATOR, call.attachment.container_id, "")
        items = listing(self.store, list_prefix("WorkloadEndpoint", _namespace(call)) + identity.name()).items
        names = [item.key.rpartition("/")[2] for item in items]
        mine = [name for name in names if is_under(name, identity)]
        found = [self.client.get("WorkloadEndpoint", name, _namespace(call)) for name in mine]
        return sorted(found, key=lambda one: one.spec.endpoint != call.attachment.interface)

    def _add_again(self, call: Call, endpoint: Endpoint) -> Endpoint:
        """ADD for a container that has an endpoint: add the network's profile, and make the interface if it is gone."""
        self._ensure_profile(call)
        for _ in range(_ATTEMPTS):
            spec = endpoint.spec
            if spec.endpoint == call.attachment.interface:
                spec = spec._replace(mac=self._ensure_interface(call, spec))
            if call.conf.profile not in spec.profiles:
                spec = spec._replace(profiles=(*spec.profiles, call.conf.profile))
            if spec == endpoint.spec:
                return endpoint
            with suppress(ConflictError):
                return self.client.replace(endpoint._replace(spec=spec))
            endpoint = self.client.get("WorkloadEndpoint", endpoint.metadata.name, endpoint.metadata.namespace)
        raise ConflictError(endpoint.id)

    def _ensure_interface(self, call: Call, spec: WorkloadEndpointSpec) -> str:
        """The MAC address of an endpoint's interface, made anew when the container does not have it (any more)."""
        wiring = _wiring(call, spec.ip_networks)
        if not veth.problems(call.namespace, wiring):
            return spec.mac
        return veth.attach(call.namespace, wiring)

    def _add_new(self, call: Call, node: str, wanted: Endpoint) -> Endpoint:
        if call.conf.addresses_without_ipam:
            text = "requested feature is not supported for this runtime: ip_addrs_no_ipam"
            raise CniError(text, BAD_CONFIG)
        try:
            networks = self._addresses(call, node)
            if not networks:
                raise CniError("IPAM plugin returned missing IP config")
            mac = veth.attach(call.namespace, _wiring(call, networks))
            spec = wanted.spec._replace(ip_networks=networks, mac=mac)
            self._ensure_profile(call)
            endpoint = self._write(wanted._replace(spec=spec))
        except BaseException:
            self._undo(call, wanted)
            raise
        log.info("added %s", _said(call, addresses=",".join(networks)))
        return endpoint

    def _write(self, endpoint: Endpoint) -> Endpoint:
        try:
            return self.client.create(endpoint)
        except AlreadyExistsError:  # a lost answer to an earlier attempt
            return self.client.replace(endpoint)

    def _undo(self, call: Call, endpoint: Endpoint) -> None:
        """Take back what an ADD that failed did. What cannot be taken back now, DEL finds."""
        steps: tuple[Callable[[], object], ...] = (
            lambda: veth.detach(veth.Owner(*call.attachment)),
            lambda: self._delete_endpoint(_with_name(endpoint)),
            lambda: self._release(call),
        )
        for step in steps:
            try:
                step()
            except (CniError, DatastoreError, IpamError, ResourceError, OSError) as error:
                log.warning("left behind until DEL or GC %s", _said(call, error=error))
                if isinstance(error, DatastoreError):
                    return  # it does not answer; another wait would make the runtime wait too

    def _ensure_profile(self, call: Call) -> None:
        """The network's profile, as upstream makes it: what has the profile's label may reach its endpoints."""
        if call.conf.policy_type:
            return
        name = call.conf.profile
        try:
            self.client.get("Profile", name)
        except NotFoundError:
            ingress = Rule("Allow", source=EntityRule(selector=f"has({name})"))
            with suppress(AlreadyExistsError):
                spec = ProfileSpec((ingress,), (Rule("Allow"),), {name: ""})
                self.client.create(Resource("Profile", Metadata(name), spec))

    # -- DEL, CHECK, GC --------------------------------------------------------------------------------------------

    def _delete(self, call: Call, node: str) -> None:
        """The interface first, the address last: nobody else gets it while anything of the container's has it."""
        identity = Identity(node, ORCHESTRATOR, *call.attachment)
        with _beside(lambda: veth.detach(veth.Owner(*call.attachment))):
            self._delete_endpoint(
                Resource("WorkloadEndpoint", Metadata(identity.name(), namespace=_namespace(call)), None)
            )
        self._release(call)
        log.info("deleted %s", _said(call))

    def _delete_endpoint(self, endpoint: Resource[Any]) -> None:
        with suppress(NotFoundError):
            self.client.delete("WorkloadEndpoint", endpoint.metadata.name, endpoint.metadata.namespace)

    def _check(self, call: Call, node: str) -> None:
        identity = Identity(node, ORCHESTRATOR, *call.attachment)
        try:
            endpoint: Endpoint = self.client.get("WorkloadEndpoint", identity.name(), _namespace(call))
        except NotFoundError as error:
            raise CniError(f"{error}: ADD did not end, or somebody deleted it") from None
        networks = endpoint.spec.ip_networks
        wrong = [
            f"prevResult has {address}, the endpoint {', '.join(networks) or 'no address'}"
            for address in call.conf.previous_addresses
            if address.partition("/")[0] not in {one.partition("/")[0] for one in networks}
        ]
        if call.namespace < 0:
            wrong.append(f"netns {call.namespace_path!r} does not exist")
        else:
            wrong += veth.problems(call.namespace, _wiring(call, networks))
        if wrong:
            raise CniError("; ".join(wrong))

    def _collect(self, call: Call, node: str) -> None:
        """Take back what containers of this network left on this node that are not among those the runtime knows."""
        if call.conf.valid_attachments is None:
            raise CniError("cni.dev/valid-attachments: must be given for GC", BAD_CONFIG)
        valid = {one.container_id for one in call.conf.valid_attachments}
        left = self._holders(call, node) - valid
        has_handles = call.conf.ipam.type == IPAM_TYPE
        for endpoint in self.client.list("WorkloadEndpoint", _namespace(call)).items:
            spec: WorkloadEndpointSpec = endpoint.spec
            is_ours = (spec.node, spec.orchestrator) == (node, ORCHESTRATOR) and call.conf.profile in spec.profiles
            # Networks may share a profile; the handle of a container's addresses is of one network alone.
            if is_ours and spec.container_id not in valid and (spec.container_id in left or not has_handles):
                gone = call._replace(attachment=Attachment(spec.container_id, spec.endpoint))
                self._delete(gone, node)
                left.discard(spec.container_id)
        for container in left:
            gone = call._replace(attachment=Attachment(container, ""))
            veth.detach(veth.Owner(container))
            self._release(gone)
            log.info("released what was left behind %s", _said(gone))

    def _holders(self, call: Call, node: str) -> set[str]:
        """The containers of this network that hold addresses on this node, with an endpoint or without."""
        prefix = f"{HANDLES}{call.conf.name}."
        found = set()
        for item in listing(self.store, prefix).items:
            container = item.key.removeprefix(prefix)
            if "." in container:
                continue  # of a network whose name goes on
            with suppress(NotAllocatedError):
                held = self.ipam.held_by(f"{call.conf.name}.{container}")
                holders = [self.ipam.holder_of(one.address) for one in held]
                if any((one.secondary or {}).get("node") == node for one in holders):
                    found.add(container)
        return found

    # -- addresses -------------------------------------------------------------------------------------------------

    def _addresses(self, call: Call, node: str) -> tuple[str, ...]:
        if call.conf.ipam.type == IPAM_TYPE:
            return self._assign(call, node)
        if self._delegate is None:
            raise CniError(f"ipam.type {call.conf.ipam.type!r}: must be {IPAM_TYPE}", BAD_CONFIG)
        # Whatever network the other plugin's addresses are of, an endpoint has them alone.
        return tuple(_single(address.partition("/")[0]) for address in self._delegate.add(call))

    def _release(self, call: Call) -> None:
        if call.conf.ipam.type in (IPAM_TYPE, ""):
            self._release_handles(call)
        elif self._delegate is not None:
            self._delegate.delete(call)

    def _assign(self, call: Call, node: str) -> tuple[str, ...]:
        """The container's addresses: those its handle holds since an earlier ADD, or new ones."""
        handle, notes = _handle(call), _notes(call, node)
        ipam = call.conf.ipam
        with self._allocating:  # on one node all want the same block
            if address := call.arguments.get("IP"):
                return (self._assign_chosen(address, node, handle, notes),)
            pools4 = tuple(self._pool(name, 4) for name in ipam.ipv4_pools)
            pools6 = tuple(self._pool(name, 6) for name in ipam.ipv6_pools)
            request = Request(
                node, int(ipam.assign_ipv4), int(ipam.assign_ipv6), handle, notes, ipv4_pools=pools4, ipv6_pools=pools6
            )
            if held := self._held(handle):
                if len(held) == request.ipv4 + request.ipv6:
                    return held
                self.ipam.release_handle(handle)
            given = self.ipam.auto_assign(request)
        for family, wanted, got in ((4, request.ipv4, given.ipv4), (6, request.ipv6, given.ipv6)):
            if len(got) < wanted:
                with suppress(NotAllocatedError):
                    self.ipam.release_handle(handle)
                text = f"failed to request {wanted} IPv{family} addresses. IPAM allocated only {len(got)}"
                raise CniError(f"{text}: {'; '.join(given.shortages)}")
        return tuple(_single(one.address) for one in (*given.ipv4, *given.ipv6))

    def _held(self, handle: str) -> tuple[str, ...]:
        try:
            return tuple(_single(one.address) for one in self.ipam.held_by(handle))
        except NotAllocatedError:
            return ()

    def _assign_chosen(self, text: str, node: str, handle: str, notes: dict[str, str]) -> str:
        address = parse_ip(text)
        if address is None:
            raise CniError(f"CNI_ARGS IP={text}: is not an address", BAD_ENVIRONMENT)
        try:
            return _single(self.ipam.assign_ip(str(address), node, handle, notes).address)
        except AlreadyAllocatedError:
            if _single(str(address)) in self._held(handle):
                return _single(str(address))
            raise

    def _pool(self, text: str, family: int) -> str:
        """The CIDR of a pool that is named by it, or by its name."""
        cidr = text
        if "/" not in text:
            try:
                cidr = self.client.get("IPPool", text).spec.cidr
            except NotFoundError as error:
                raise CniError(f'error parsing pool "{text}": {error}', BAD_CONFIG) from None
        parsed = parse_cidr(cidr)
        if parsed is None:
            raise CniError(f'error parsing pool "{text}": it is neither a network nor the name of a pool', BAD_CONFIG)
        if parsed[1].version != family:
            raise CniError(f'"{parsed[0]}" isn\'t a IPv{family} address', BAD_CONFIG)
        return str(parsed[1])

    def _release_handles(self, call: Call) -> None:
        """Free the container's addresses, by its handle and by the one of versions before 3."""
        for handle in (_handle(call), call.attachment.container_id):
            with suppress(NotAllocatedError):
                self.ipam.release_handle(handle)

    # -- calico-ipam by itself -------------------------------------------------------------------------------------

    def _run_ipam(self, call: Call, node: str) -> dict[str, Any] | None:
        match call.command:
            case "ADD":
                _check_container(call)
                return results.result(call.conf.cni_version, self._assign(call, node))
            case "DEL":
                self._release_handles(call)
            case "CHECK":
                if not self._held(_handle(call)):
                    raise CniError(f"no address is allocated to {_handle(call)}", FAILED)
            case "GC" | "STATUS":
                return None
            case _:
                raise CniError(f"{call.command}: is not for an IPAM plugin", UNSUPPORTED)
        return None


# -- what follows from a call alone ------------------------------------------------------------------------------------


def _namespace(call: Call) -> str:
    return call.arguments.get("CNI_TEST_NAMESPACE", _NAMESPACE)


def _handle(call: Call) -> str:
    return f"{call.conf.name}.{call.attachment.container_id}"


def _notes(call: Call, node: str) -> dict[str, str]:
    """What an allocation says of its holder. An address for another plugin names it: no endpoint will have it."""
    return {"node": node} if call.conf.type in (CALICO_TYPE, "") else {"node": node, FOREIGN_PLUGIN: call.conf.type}


def _single(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _wiring(call: Call, networks: tuple[str, ...]) -> veth.Wiring:
    return veth.Wiring(
        veth.Owner(*call.attachment),
        veth.host_interface(call.attachment.container_id),
        call.attachment.interface,
        call.conf.mtu,
        veth.parse(networks),
        call.conf.allow_ip_forwarding,
    )


def _endpoint(call: Call, node: str) -> Endpoint:
    """The endpoint that an ADD makes, but for its addresses."""
    spec = WorkloadEndpointSpec(
        orchestrator=ORCHESTRATOR,
        node=node,
        container_id=call.attachment.container_id,
        endpoint=call.attachment.interface,
        profiles=(call.conf.profile,),
        interface_name=veth.host_interface(call.attachment.container_id),
    )
    return Resource("WorkloadEndpoint", Metadata(namespace=_namespace(call), labels=call.conf.labels), spec)


def _with_name(endpoint: Endpoint) -> Endpoint:
    prepared: Endpoint = prepare(endpoint)
    return prepared


def _check_endpoint(endpoint: Endpoint) -> None:
    """Raise CniError for an id, an interface or a label that no endpoint can have, before anything is done."""
    if problems := validate(_with_name(endpoint)):
        raise CniError("; ".join(f"{'.'.join(map(str, one.path))}: {one.message}" for one in problems), BAD_CONFIG)


def _check_container(call: Call) -> None:
    _check_endpoint(_endpoint(call, "node"))


def _said(call: Call, **more: object) -> str:
    return fields(
        network=call.conf.name, container=call.attachment.container_id, interface=call.attachment.interface, **more
    )


# -- threads -----------------------------------------------------------------------------------------------------------


class _Locks:
    """A lock for each name that is in use."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Hold the lock of `name`; a call without one waits for nobody."""
        if not name:
            yield
            return
        with self._guard:
            lock, users = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks[name]
                if users == 1:
                    del self._locks[name]
                else:
                    self._locks[name] = (lock, users - 1)


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` in another thread meanwhile, and have ended it, for good or ill, on the way out."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="beside")
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]
