"""WorkloadEndpoint: a container's interface. Its name is made of its node, orchestrator, workload and endpoint."""

from typing import NamedTuple

from calico.model import formats
from calico.model.endpoint import PORTS, PROFILES, EndpointPort
from calico.model.metadata import Metadata
from calico.model.problems import Path, Report
from calico.model.resource import Definition, Resource, with_metadata
from calico.model.schema import Listing, Member, Struct, Text


class IPNAT(NamedTuple):
    """An address of the endpoint and the one it is reached at."""

    internal_ip: str = ""
    external_ip: str = ""


class WorkloadEndpointSpec(NamedTuple):
    """Which of `pod`, `container_id` and `workload` names the workload depends on `orchestrator`."""

    orchestrator: str = ""
    workload: str = ""
    node: str = ""
    container_id: str = ""
    pod: str = ""
    endpoint: str = ""
    ip_networks: tuple[str, ...] = ()
    ip_nats: tuple[IPNAT, ...] = ()
    ipv4_gateway: str = ""
    ipv6_gateway: str = ""
    profiles: tuple[str, ...] = ()
    interface_name: str = ""
    mac: str = ""
    ports: tuple[EndpointPort, ...] = ()


class Identity(NamedTuple):
    """The four parts of an endpoint's name; empty ones at the end are open, as a prefix for listing."""

    node: str
    orchestrator: str
    workload: str
    endpoint: str

    def name(self) -> str:
        """The parts joined by single dashes, with every dash of their own doubled; up to the first open one.

        A name that is not complete ends in a dash. It is a prefix of more than it means (`pod-` of `pod--1`): check
        what it finds with `identity`.
        """
        given: list[str] = []
        for part in self:
            if not part:
                return "".join(f"{one}-" for one in given)
            given.append(part.replace("-", "--"))
        return "-".join(given)


def identity(name: str) -> Identity | None:
    """The parts of a complete endpoint name; None when it is none."""
    parts, start, at = [], 0, 1
    while at < len(name):
        if name[at] != "-":
            at += 1
        elif name[at + 1 : at + 2] == "-":
            at += 2
        else:
            parts.append(name[start:at])
            start, at = at + 1, at + 2
    parts.append(name[start:])
    if len(parts) != 4 or not all(parts):
        return None
    found = Identity(*(part.replace("--", "-") for part in parts))
    return found if found.name() == name else None


_WORKLOAD_MEMBERS = {"k8s": "pod", "cni": "containerID"}


def identity_of(spec: WorkloadEndpointSpec) -> Identity:
    """The parts an endpoint's name is made of; a part that is not given is empty."""
    workload = {"k8s": spec.pod, "cni": spec.container_id, "libnetwork": "libnetwork"}.get(
        spec.orchestrator, spec.workload
    )
    return Identity(spec.node, spec.orchestrator, workload, spec.endpoint)


def is_under(name: str, prefix: Identity) -> bool:
    """Whether a complete endpoint name has all the parts given in `prefix`."""
    found = identity(name)
    return found is not None and all(not part or part == given for part, given in zip(prefix, found, strict=True))


def _nat_rule(nat: IPNAT, path: Path, report: Report) -> None:
    internal, external = formats.parse_ip(nat.internal_ip), formats.parse_ip(nat.external_ip)
    if internal and external and internal.version != external.version:
        report.add((*path, "externalIP"), f"mismatched IP versions: {internal} and {external}")


def _rule(spec: WorkloadEndpointSpec, path: Path, report: Report) -> None:
    networks = [formats.parse_cidr_or_ip(network) for network in spec.ip_networks]
    for index, network in enumerate(networks):
        if network and network[1].prefixlen != network[1].max_prefixlen:
            report.add((*path, "ipNetworks", index), f"{network[1]}: IP network contains multiple addresses")
    for index, nat in enumerate(spec.ip_nats):
        inside = formats.parse_ip(nat.internal_ip)
        if inside and not any(network and inside in network[1] for network in networks):
            report.add((*path, "ipNATs", index, "internalIP"), f"{inside}: NAT is not in the endpoint networks")


_ADDRESS = Text(formats.ip)
SPEC = Struct(
    WorkloadEndpointSpec,
    (
        Member("orchestrator", Text(formats.name)),
        Member("workload", Text(formats.name)),
        Member("node", Text(formats.name)),
        Member("containerID", Text(formats.container_id)),
        Member("pod", Text(formats.name)),
        Member("endpoint", Text(formats.name)),
        Member("ipNetworks", Listing(Text(formats.net))),
        Member(
            "ipNATs",
            Listing(
                Struct(
                    IPNAT,
                    (
                        Member("internalIP", _ADDRESS, always=True, required=True),
                        Member("externalIP", _ADDRESS, always=True, required=True),
                    ),
                    _nat_rule,
                )
            ),
        ),
        Member("ipv4Gateway", Text(formats.ipv4)),
        Member("ipv6Gateway", Text(formats.ipv6)),
        Member("profiles", PROFILES),
        Member("interfaceName", Text(formats.interface), required=True),
        Member("mac", Text(formats.mac)),
        Member("ports", PORTS),
    ),
    _rule,
)


def _prepare(resource: Resource[WorkloadEndpointSpec]) -> Resource[WorkloadEndpointSpec]:
    if resource.metadata.name or not all(identity_of(resource.spec)):
        return resource
    return with_metadata(resource, name=identity_of(resource.spec).name())


def _check(resource: Resource[WorkloadEndpointSpec], report: Report) -> None:
    parts = identity_of(resource.spec)
    for member, part in parts._asdict().items():
        name = _WORKLOAD_MEMBERS.get(parts.orchestrator, member) if member == "workload" else member
        if not part:
            report.add(("spec", name), "must be given: the endpoint's name is made of it")
    if all(parts) and resource.metadata.name != parts.name():
        _report_name(resource.metadata, parts, report)


def _report_name(metadata: Metadata, parts: Identity, report: Report) -> None:
    message = f"{metadata.name!r} does not match the endpoint's own members; expected name {parts.name()}"
    report.add(("metadata", "name"), message, "or leave the name out")


DEFINITION = Definition(SPEC, formats.name, prepare=_prepare, check=_check)
