"""Which columns `calicoctl get` shows of each kind, and how a cell is written.

A resource here is its JSON form, so that showing one needs no typed value. Columns, headings and cell formats are
upstream's (v3.14); custom columns may name any heading of the kind.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Resource = Mapping[str, Any]
Cell = Callable[[Resource, "Context"], str]


class Context(NamedTuple):
    """What a cell needs beside its resource: the cluster's AS number, from BGPConfiguration `default` or 64512."""

    as_number: int = 64512


class ColumnError(Exception):
    """A custom column that the kind does not have."""


class _Columns(NamedTuple):
    cells: Mapping[str, Cell]
    narrow: Sequence[str]
    wide: Sequence[str]


def _at(resource: Resource, *path: str) -> Any:
    value: Any = resource
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(*path: str, absent: str = "") -> Cell:
    def cell(resource: Resource, _context: Context) -> str:
        return _go(_at(resource, *path), absent)

    return cell


def _list(*path: str, longest: int = 0) -> Cell:
    def cell(resource: Resource, _context: Context) -> str:
        joined = ",".join(map(str, _at(resource, *path) or ()))
        return joined[: longest - 3] + "..." if longest and len(joined) > longest else joined

    return cell


def _go(value: Any, absent: str = "") -> str:
    """How Go's `%v` writes `value`."""
    if value is None or value == "":
        return absent
    if isinstance(value, bool):
        return "true" if value else "false"
    return _go_float(value) if isinstance(value, float) else str(value)


def _go_float(value: float) -> str:
    """Go's `%v` of a float64: the shortest digits that read back, with an exponent below -4 or from 6 up."""
    digits = repr(value)
    exponent = int(f"{value:.16e}".partition("e")[2])
    if -4 <= exponent < 6 or value == 0:
        return digits.removesuffix(".0")
    figures = digits.partition("e")[0].replace(".", "").strip("-0") or "0"
    mantissa = figures[0] + ("." + figures[1:] if len(figures) > 1 else "")
    return f"{'-' if value < 0 else ''}{mantissa}e{exponent:+03d}"


def _flag(*path: str) -> Cell:
    def cell(resource: Resource, _context: Context) -> str:
        return "true" if _at(resource, *path) else "false"

    return cell


def _pairs(*path: str) -> Cell:
    def cell(resource: Resource, _context: Context) -> str:
        return ",".join(f"{key}={value}" for key, value in sorted((_at(resource, *path) or {}).items()))

    return cell


def _order(resource: Resource, _context: Context) -> str:
    order = _at(resource, "spec", "order")
    return "<nil>" if order is None else _go(float(order))


def _peer_node(resource: Resource, _context: Context) -> str:
    spec = resource.get("spec") or {}
    return spec.get("node") or spec.get("nodeSelector") or "(global)"


def _node_as_number(resource: Resource, context: Context) -> str:
    bgp = _at(resource, "spec", "bgp")
    if bgp is None:
        return ""
    return str(bgp["asNumber"]) if bgp.get("asNumber") else f"({context.as_number})"


def _workload(resource: Resource, _context: Context) -> str:
    spec = resource.get("spec") or {}
    return spec.get("pod") or spec.get("workload") or ""


def _nats(resource: Resource, _context: Context) -> str:
    pairs = _at(resource, "spec", "ipNATs") or ()
    return ",".join(f"{pair.get('internalIP')}/{pair.get('externalIP')}" for pair in pairs)


_NAME = {"NAME": _text("metadata", "name")}
_POLICY = _Columns(
    {**_NAME, "ORDER": _order, "SELECTOR": _text("spec", "selector")}, ("NAME",), ("NAME", "ORDER", "SELECTOR")
)
_SET = _Columns({**_NAME, "NETS": _list("spec", "nets", longest=80)}, ("NAME",), ("NAME", "NETS"))
_ONLY_NAME = _Columns(_NAME, ("NAME",), ("NAME",))


def _same(cells: Mapping[str, Cell]) -> _Columns:
    return _Columns(cells, tuple(cells), tuple(cells))


_KINDS: Mapping[str, _Columns] = {
    "BGPConfiguration": _same(
        {
            **_NAME,
            "LOGSEVERITY": _text("spec", "logSeverityScreen", absent="-"),
            "MESHENABLED": _text("spec", "nodeToNodeMeshEnabled", absent="-"),
            "ASNUMBER": _text("spec", "asNumber", absent="-"),
        }
    ),
    "BGPPeer": _same(
        {**_NAME, "PEERIP": _text("spec", "peerIP"), "NODE": _peer_node, "ASN": _text("spec", "asNumber", absent="0")}
    ),
    "ClusterInformation": _same(
        {
            **_NAME,
            "CLUSTERGUID": _text("spec", "clusterGUID"),
            "CLUSTERTYPE": _text("spec", "clusterType"),
            "CALICOVERSION": _text("spec", "calicoVersion"),
            "DATASTOREREADY": _text("spec", "datastoreReady", absent="<nil>"),
        }
    ),
    "FelixConfiguration": _ONLY_NAME,
    "KubeControllersConfiguration": _ONLY_NAME,
    "GlobalNetworkPolicy": _POLICY,
    "NetworkPolicy": _POLICY,
    "GlobalNetworkSet": _SET,
    "NetworkSet": _SET,
    "HostEndpoint": _Columns(
        {
            **_NAME,
            "NODE": _text("spec", "node"),
            "INTERFACE": _text("spec", "interfaceName"),
            "IPS": _list("spec", "expectedIPs"),
            "PROFILES": _list("spec", "profiles"),
        },
        ("NAME", "NODE"),
        ("NAME", "NODE", "INTERFACE", "IPS", "PROFILES"),
    ),
    "IPPool": _Columns(
        {
            **_NAME,
            "CIDR": _text("spec", "cidr"),
            "NAT": _flag("spec", "natOutgoing"),
            "IPIPMODE": _text("spec", "ipipMode"),
            "VXLANMODE": _text("spec", "vxlanMode"),
            "DISABLED": _flag("spec", "disabled"),
            "SELECTOR": _text("spec", "nodeSelector"),
        },
        ("NAME", "CIDR", "SELECTOR"),
        ("NAME", "CIDR", "NAT", "IPIPMODE", "VXLANMODE", "DISABLED", "SELECTOR"),
    ),
    "Node": _Columns(
        {
            **_NAME,
            "ASN": _node_as_number,
            "IPV4": _text("spec", "bgp", "ipv4Address"),
            "IPV6": _text("spec", "bgp", "ipv6Address"),
        },
        ("NAME",),
        ("NAME", "ASN", "IPV4", "IPV6"),
    ),
    "Profile": _Columns({**_NAME, "LABELS": _pairs("spec", "labelsToApply")}, ("NAME",), ("NAME", "LABELS")),
    "WorkloadEndpoint": _Columns(
        {
            **_NAME,
            "WORKLOAD": _workload,
            "NODE": _text("spec", "node"),
            "NETWORKS": _list("spec", "ipNetworks"),
            "INTERFACE": _text("spec", "interfaceName"),
            "PROFILES": _list("spec", "profiles"),
            "NATS": _nats,
            "ORCHESTRATOR": _text("spec", "orchestrator"),
        },
        ("WORKLOAD", "NODE", "NETWORKS", "INTERFACE"),
        ("NAME", "WORKLOAD", "NODE", "NETWORKS", "INTERFACE", "PROFILES", "NATS"),
    ),
}
_NAMESPACED = ("NetworkPolicy", "NetworkSet", "WorkloadEndpoint")


def headings(kind: str, wide: bool = False, namespace: bool = False) -> list[str]:
    """The headings of `kind` for `-o ps` or `-o wide`; `namespace` puts NAMESPACE first where the kind has one."""
    columns = _KINDS[kind]
    first = ["NAMESPACE"] if namespace and kind in _NAMESPACED else []
    return first + list(columns.wide if wide else columns.narrow)


def custom(kind: str, wanted: Sequence[str]) -> list[str]:
    """`wanted` as headings of `kind`; raises ColumnError for one it does not have."""
    known = [*_KINDS[kind].cells, *(["NAMESPACE"] if kind in _NAMESPACED else [])]
    for name in wanted:
        if name.upper() not in known:
            raise ColumnError(f"Unknown heading {name}, valid values are: {', '.join(sorted(known))}.")
    return [name.upper() for name in wanted]


def rows(kind: str, resources: Sequence[Resource], names: Sequence[str], context: Context) -> list[list[str]]:
    """The table of `resources` (all of `kind`) with headings `names`, heading row first."""
    cells: Mapping[str, Cell] = {**_KINDS[kind].cells, "NAMESPACE": _text("metadata", "namespace")}
    return [list(names), *([cells[name](resource, context) for name in names] for resource in resources)]
