"""What changes between two configurations: files, services, and what a running cluster feels.

Pure. Files are compared as rendered, services by the unit table that the node's planner reads too, and consequences are
known parameter by parameter.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gen.files import RenderedFile
from gen.units import unit_table

Change = Literal["added", "removed", "changed"]
Action = Literal["start", "stop", "restart", "reload"]


class FileChange(NamedTuple):
    """A rendered file that differs; `old` or `new` is None where there is none."""

    path: str
    change: Change
    old: bytes | None
    new: bytes | None

    def unified(self) -> str:
        """The difference as text, without a line for what both have."""
        old, new = (((text or b"").decode(errors="replace")).splitlines() for text in (self.old, self.new))
        before, after = ("/dev/null" if text is None else self.path for text in (self.old, self.new))
        return "\n".join(difflib.unified_diff(old, new, before, after, lineterm="", n=1))


class ServiceChange(NamedTuple):
    """What happens to a unit on the nodes with `roles`, and because of which files."""

    unit: str
    action: Action
    roles: tuple[str, ...]
    because: tuple[str, ...]


class Consequence(NamedTuple):
    """A changed parameter that a running cluster feels. `disruptive`: traffic or clients are cut off, or nodes with the
    old and the new configuration do not reach each other."""

    parameter: str
    old: Any
    new: Any
    disruptive: bool
    text: str


class Difference(NamedTuple):
    """Everything `gen diff` tells."""

    files: tuple[FileChange, ...]
    services: tuple[ServiceChange, ...]
    consequences: tuple[Consequence, ...]


class Side(NamedTuple):
    """One configuration: its values and what `gen.render.render` makes of them."""

    values: Mapping[str, Any]
    files: Sequence[RenderedFile]


def compare(old: Side, new: Side) -> Difference:
    """What changes from `old` to `new`."""
    files = tuple(_file_changes(old.files, new.files))
    return Difference(files, tuple(_service_changes(old, new, files)), tuple(_consequences(old.values, new.values)))


def _file_changes(old: Sequence[RenderedFile], new: Sequence[RenderedFile]) -> list[FileChange]:
    before, after = ({file.path: file for file in files} for files in (old, new))
    changes = []
    for path in sorted(before.keys() | after.keys()):
        one, other = before.get(path), after.get(path)
        if one is None and other is not None:
            changes.append(FileChange(path, "added", None, other.content))
        elif other is None and one is not None:
            changes.append(FileChange(path, "removed", one.content, None))
        elif one is not None and other is not None and one != other:
            changes.append(FileChange(path, "changed", one.content, other.content))
    return changes


def _service_changes(old: Side, new: Side, changes: Sequence[FileChange]) -> list[ServiceChange]:
    before, after = (unit_table({file.path for file in side.files}) for side in (old, new))
    changed = {change.path for change in changes}
    found = []
    for unit in sorted(before.keys() | after.keys()):
        if unit not in after:
            found.append(ServiceChange(unit, "stop", tuple(before[unit]["roles"]), ()))
        elif unit not in before:
            found.append(ServiceChange(unit, "start", tuple(after[unit]["roles"]), ()))
        elif change := _of_running(unit, after[unit], changed):
            found.append(change)
    return found


def _of_running(unit: str, row: Mapping[str, Any], changed: set[str]) -> ServiceChange | None:
    """A changed unit file always means restart; of what else changed, the strongest wish counts."""
    asked = {path: "restart" for path in changed if path.endswith(f"/{unit}")}
    asked |= {path: effect for path, effect in row["files"].items() if path in changed}
    wishes: tuple[Action, ...] = ("restart", "reload")
    for wish in wishes:
        because = tuple(sorted(path for path, effect in asked.items() if effect == wish))
        if because:
            return ServiceChange(unit, wish, tuple(row["roles"]), because)
    return None


# ---------------------------------------------------------------------------------------------- consequences

_Feels = Callable[[Any, Any], tuple[bool, str]]


def _always(disruptive: bool, text: str) -> _Feels:
    return lambda _old, _new: (disruptive, text)


def _enabled(_old: Any, new: Any) -> tuple[bool, str]:
    if new:
        return False, "Calico is installed: workloads started from now on can use the network calico"
    return True, (
        "Calico is removed: workloads on the network calico lose their network, policy is no longer enforced, "
        "and etcd stops; move the workloads away first"
    )


def _tls(_old: Any, new: Any) -> tuple[bool, str]:
    change = "to TLS; every node needs certificates first (gen pki)" if new else "to plain HTTP, readable on the way"
    return True, (
        f"etcd's members and clients change {change}; until all masters are changed there is no quorum, and clients of "
        "the other kind fail; policy and routes stay as they are meanwhile"
    )


_MTU = "existing containers keep their MTU until they are started again; full-size packets may be lost until all agree"

_FEELS: dict[str, _Feels] = {
    "calico_enabled": _enabled,
    "calico_network_cidr": _always(
        True,
        "an existing cluster keeps its pool: the default pool is made only where there is none, so containers stay in "
        "the old network; to move, create a pool of the new network with calicoctl, disable the old one, start the "
        "containers again, then delete it",
    ),
    "calico_vxlan_enabled": _always(
        True,
        "the encapsulation changes: nodes with the old and the new one do not reach each other's containers until all "
        "are changed, and the existing pool keeps its mode until calicoctl changes it; plan an interruption",
    ),
    "calico_vxlan_port": _always(
        True, "nodes with the old and the new port do not reach each other's containers until all are changed"
    ),
    "calico_vxlan_vni": _always(
        True, "nodes with the old and the new VNI do not reach each other's containers until all are changed"
    ),
    "calico_vxlan_mtu": _always(True, f"the VXLAN device's MTU changes at once; {_MTU}"),
    "calico_ipinip_mtu": _always(True, f"the IP-in-IP device's MTU changes at once; {_MTU}"),
    "calico_veth_mtu": _always(False, "containers started from now on have the new MTU; running ones keep theirs"),
    "calico_etcd_tls": _tls,
    "calico_etcd_discovery": _always(
        False, "members that exist stay members; it matters when a master joins or is replaced"
    ),
    "calico_docker_network_scope": _always(
        True, "Docker networks of the other scope are not seen any more: recreate them and the containers on them"
    ),
    "master_list": _always(
        True,
        "etcd's members are not changed by this: replace masters one at a time, so that a majority always runs; "
        "clients restart to learn the new endpoints",
    ),
    "master_discovery": _always(False, "etcd's clients find the masters in another way and restart once"),
    "ip_detect_contents": _always(
        True, "a node whose address comes out differently is another node to Calico and etcd: compare before and after"
    ),
    "bootstrap_url": _always(False, "nodes fetch from the new address from now on; its port joins the failsafe ports"),
    "dcos_overlay_network": _always(
        True, "the overlay's master keeps what it has recorded: a changed subnet needs its replicated log removed"
    ),
    "dcos_overlay_mtu": _always(False, "containers started from now on have the new MTU; running ones keep theirs"),
}

_BEHIND: dict[str, tuple[str, ...]] = {
    "calico_vxlan_enabled": ("calico_vxlan_port", "calico_vxlan_vni", "calico_vxlan_mtu", "calico_ipinip_mtu"),
    "dcos_overlay_enable": ("dcos_overlay_network", "dcos_overlay_mtu"),
}
"""A flag that changes speaks for these parameters too."""


def _consequences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Consequence]:
    changed = {name for name in _FEELS if old.get(name) != new.get(name)}
    if "calico_enabled" in changed:
        changed -= {name for name in changed if name.startswith("calico_")} - {"calico_enabled"}
    for flag, names in _BEHIND.items():
        if old.get(flag) != new.get(flag):
            changed -= set(names)
    return [
        Consequence(name, old.get(name), new.get(name), *feels(old.get(name), new.get(name)))
        for name, feels in _FEELS.items()
        if name in changed and _matters(name, old, new)
    ]


def _matters(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the flags before it make the parameter matter on either side."""
    from gen.parameters import TABLE

    return TABLE[name].applies(old) or TABLE[name].applies(new)
