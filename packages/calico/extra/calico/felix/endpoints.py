"""How the endpoints of this host are: `up`, `down` or `error`, for the status reported to etcd. Pure."""

from collections.abc import Collection, Mapping
from typing import Literal

from calico.felix.dataplane.hostendpoints import resolve
from calico.felix.dataplane.interfaces import Interfaces
from calico.felix.desired import HostEndpoint, Workload, WorkloadId

Status = Literal["up", "down", "error"]


def workload_statuses(
    workloads: Mapping[WorkloadId, Workload], interfaces: Interfaces, failing: Collection[WorkloadId] = ()
) -> dict[WorkloadId, Status]:
    """Of each workload. `failing`: those whose last change is not in the kernel yet."""
    return {
        identity: "error" if identity in failing else _status(workload.active, workload.interface, interfaces)
        for identity, workload in workloads.items()
    }


def host_endpoint_statuses(
    endpoints: Mapping[str, HostEndpoint], interfaces: Interfaces, prefixes: tuple[str, ...], is_failing: bool = False
) -> dict[str, Status]:
    """Of each host endpoint: up when an interface it applies to is."""
    resolution = resolve(endpoints, interfaces, prefixes)
    found: dict[str, Status] = {}
    for name in endpoints:
        applies = [interface for interface, owner in resolution.by_interface.items() if owner == name]
        is_up = any(_status(True, interface, interfaces) == "up" for interface in applies)
        found[name] = "up" if is_up or name == resolution.every else "down"
    return dict.fromkeys(found, "error") if is_failing else found


def _status(is_active: bool, interface: str, interfaces: Interfaces) -> Status:
    found = interfaces.get(interface)
    return "up" if is_active and found is not None and found.link.is_running else "down"
