"""docs/reference/felix.md, from the table: `python -m calico.felix.config.page > docs/reference/felix.md`."""

from collections.abc import Iterator
from typing import Any

from calico.felix.config.kinds import ProtoPort
from calico.felix.config.parameters import PARAMETERS, Parameter
from calico.model.felixconfiguration import SPEC, item_name

_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}

MEANINGS = {
    "FelixHostname": "the name of this node in the datastore",
    "Ipv6Support": "whether felix looks after IPv6; without it nobody polices IPv6",
    "RouteRefreshInterval": "how often routes and devices are compared with the kernel",
    "DeviceRouteSourceAddress": "source address of routes to workloads",
    "DeviceRouteProtocol": "protocol number of our routes",
    "RemoveExternalRoutes": "whether routes of others on workloads' interfaces are removed",
    "IptablesRefreshInterval": "how often the nftables tables are compared with the kernel; 0: never",
    "IpsetsRefreshInterval": "as IptablesRefreshInterval; the shorter counts",
    "NetlinkTimeoutSecs": "how long the kernel may take to answer",
    "OpenstackRegion": "part of the keys of status reports",
    "InterfacePrefix": "beginnings of workloads' interface names",
    "InterfaceExclude": "interfaces (or /patterns/) that no host endpoint by address can match",
    "ChainInsertMode": "before other tables' rules, or behind them",
    "DefaultEndpointToHostAction": "what becomes of what a workload sends to its host, once its own policy allows it",
    "LogPrefix": "beginning of the kernel's log line of a Log rule",
    "LogSeverityScreen": "least severity of felix' own log lines",
    "VXLANEnabled": "set by itself when a pool with VXLAN is made",
    "VXLANPort": "UDP port of the tunnel, shared with the DC/OS overlay",
    "VXLANVNI": "VXLAN network id",
    "VXLANMTU": "MTU of vxlan.calico",
    "IPv4VXLANTunnelAddr": "this node's address on the tunnel; the node agent keeps it in the Node",
    "VXLANTunnelMACAddr": "MAC address of vxlan.calico; derived from the node's name where it is not given",
    "IpInIpEnabled": "set by itself when a pool with IPIP is made",
    "IpInIpMtu": "MTU of tunl0",
    "IpInIpTunnelAddr": "this node's address on the tunnel; the node agent keeps it in the Node",
    "ReportingIntervalSecs": "how often felix reports itself in etcd; 0: never",
    "ReportingTTLSecs": "how long a report outlives felix",
    "EndpointReportingEnabled": "whether felix reports each endpoint in etcd",
    "EndpointReportingDelaySecs": "least time between such reports",
    "IptablesMarkMask": "packet mark bits that are ours; two are used",
    "DisableConntrackInvalidCheck": "whether packets that connection tracking calls invalid pass",
    "HealthEnabled": "whether /readiness and /liveness are served",
    "HealthHost": "address of the health pages",
    "HealthPort": "port of the health pages",
    "PrometheusMetricsEnabled": "whether /metrics is served",
    "PrometheusMetricsHost": "address of the metrics page; empty: all",
    "PrometheusMetricsPort": "port of the metrics page",
    "FailsafeInboundHostPorts": "what host endpoints let in whatever their policy",
    "FailsafeOutboundHostPorts": "what host endpoints let out whatever their policy",
    "NATPortRange": "source ports of translated connections",
    "NATOutgoingAddress": "source address of translated connections, instead of the outgoing interface's",
    "IptablesNATOutgoingInterfaceFilter": "translate only what leaves by this interface; may end in +",
    "ClusterGUID": "of ClusterInformation",
    "ClusterType": "of ClusterInformation",
    "CalicoVersion": "of ClusterInformation",
    "ExternalNodesCIDRList": "tunnel packets are taken from here, too",
    "RouteSource": "whether routes follow IPAM's blocks or the endpoints",
    "DebugSimulateCalcGraphHangAfter": "for tests of the watchdog",
    "DebugSimulateDataplaneHangAfter": "for tests of the watchdog",
}
_HEADER = """\
# Felix' parameters

Generated from the table that felix reads them by (`calico/felix/config/parameters.py`).

The strongest source first: a variable `FELIX_<Name>` of the environment; `Name = value` in `/etc/calico/felix.cfg` (on
nodes of the bundle `/opt/mesosphere/etc/calico/felix.cfg`); FelixConfiguration `node.<hostname>` and this Node's tunnel
addresses; FelixConfiguration `default` and ClusterInformation. Names are taken in any case. In a FelixConfiguration the
member has the name given below; an annotation `config.projectcalico.org/<Name>` gives any parameter, and wins.

- `none` stands for the zero value: off, 0, an empty list. Parameters marked * take no `none`.
- A value that cannot be read leaves the default in force, with a line in the log that names its source. Where the
  parameter is marked ! that would be dangerous: from the environment or the file felix does not start with it; from the
  datastore it is refused, and a weaker source counts.
- One member of a FelixConfiguration that cannot be read takes nothing from the others.
- A name nobody knows is told and ignored.
- Times are in seconds here, and durations such as `90s` in a FelixConfiguration.

What a change in the datastore does: *in place*, the running felix takes it; *restart*, felix exits with status 129 and
is started again, which changes in the kernel only what differs and interrupts no traffic.

| parameter | member | default | a change | |
|---|---|---|---|---|
"""
_FOOTER = """
Accepted and without meaning here, since they are of another dataplane or another system (where etcd is, the variables
`ETCD_*` say):
"""


def markdown() -> str:
    """The page."""
    return f"{_HEADER}{''.join(_rows())}{_FOOTER}{', '.join(_ignored())}.\n"


def _rows() -> Iterator[str]:
    members = {item_name(member.name): member.name for member in SPEC.members}
    for parameter in PARAMETERS:
        if parameter.field:
            marks = "*" * parameter.non_zero + "!" * parameter.required
            member = f"`{members[parameter.name]}`" if parameter.name in members else ""
            cells = (f"{parameter.name}{marks}", member, _shown(parameter), parameter.effect.value)
            yield f"| {' | '.join(cells)} | {MEANINGS[parameter.name]} |\n"


def _shown(parameter: Parameter) -> str:
    value: Any = parameter.default
    if isinstance(value, bool):
        return "true" if value else "false"
    if parameter.name == "IptablesMarkMask":
        return f"`{value:#x}`"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        words = [f"{_PROTOCOLS[one.protocol]}:{one.port}" if isinstance(one, ProtoPort) else str(one) for one in value]
        return f"`{','.join(words)}`" if words else ""
    return str(value or "")


def _ignored() -> list[str]:
    return [parameter.name for parameter in PARAMETERS if not parameter.field]


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
