"""FelixConfiguration: felix's settings for all nodes (`default`) or one (`node.<name>`), and their internal names."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from calico.model import formats
from calico.model.problems import Path, Report
from calico.model.resource import Definition
from calico.model.scalars import DURATION, PORT, Port
from calico.model.schema import FLAG, INTEGER, TEXT, Choice, Integer, Listing, Member, Struct, Text


class ProtoPort(NamedTuple):
    """A port that the failsafe rules keep open."""

    protocol: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"{self.protocol.lower()}:{self.port}"


class RouteTableRange(NamedTuple):
    """The kernel routing tables felix may use."""

    min: int = 0
    max: int = 0

    def __str__(self) -> str:
        return f"{self.min}-{self.max}"


class FelixConfigurationSpec(NamedTuple):
    """Every setting of v3.14. None and "" leave felix's own default; durations are in nanoseconds.

    An empty list of failsafe ports is a setting of its own: no failsafes.
    """

    use_internal_dataplane_driver: bool | None = None
    dataplane_driver: str = ""
    ipv6_support: bool | None = None
    route_refresh_interval: int | None = None
    iptables_refresh_interval: int | None = None
    iptables_post_write_check_interval: int | None = None
    iptables_lock_file_path: str = ""
    iptables_lock_timeout: int | None = None
    iptables_lock_probe_interval: int | None = None
    ipsets_refresh_interval: int | None = None
    max_ipset_size: int | None = None
    iptables_backend: str | None = None
    xdp_refresh_interval: int | None = None
    netlink_timeout: int | None = None
    metadata_addr: str = ""
    metadata_port: int | None = None
    openstack_region: str = ""
    interface_prefix: str = ""
    interface_exclude: str = ""
    chain_insert_mode: str = ""
    default_endpoint_to_host_action: str = ""
    iptables_filter_allow_action: str = ""
    iptables_mangle_allow_action: str = ""
    log_prefix: str = ""
    log_file_path: str = ""
    log_severity_file: str = ""
    log_severity_screen: str = ""
    log_severity_sys: str = ""
    ipip_enabled: bool | None = None
    ipip_mtu: int | None = None
    vxlan_enabled: bool | None = None
    vxlan_mtu: int | None = None
    vxlan_port: int | None = None
    vxlan_vni: int | None = None
    reporting_interval: int | None = None
    reporting_ttl: int | None = None
    endpoint_reporting_enabled: bool | None = None
    endpoint_reporting_delay: int | None = None
    iptables_mark_mask: int | None = None
    disable_conntrack_invalid_check: bool | None = None
    health_enabled: bool | None = None
    health_host: str | None = None
    health_port: int | None = None
    prometheus_metrics_enabled: bool | None = None
    prometheus_metrics_host: str = ""
    prometheus_metrics_port: int | None = None
    prometheus_go_metrics_enabled: bool | None = None
    prometheus_process_metrics_enabled: bool | None = None
    failsafe_inbound_host_ports: tuple[ProtoPort, ...] | None = None
    failsafe_outbound_host_ports: tuple[ProtoPort, ...] | None = None
    kube_node_port_ranges: tuple[Port, ...] | None = None
    policy_sync_path_prefix: str = ""
    usage_reporting_enabled: bool | None = None
    usage_reporting_initial_delay: int | None = None
    usage_reporting_interval: int | None = None
    nat_port_range: Port | None = None
    nat_outgoing_address: str = ""
    device_route_source_address: str = ""
    device_route_protocol: int | None = None
    remove_external_routes: bool | None = None
    external_nodes_list: tuple[str, ...] | None = None
    debug_memory_profile_path: str = ""
    debug_disable_log_dropping: bool | None = None
    debug_simulate_calc_graph_hang_after: int | None = None
    debug_simulate_dataplane_hang_after: int | None = None
    iptables_nat_outgoing_interface_filter: str = ""
    sidecar_acceleration_enabled: bool | None = None
    xdp_enabled: bool | None = None
    generic_xdp_enabled: bool | None = None
    bpf_enabled: bool | None = None
    bpf_disable_unprivileged: bool | None = None
    bpf_log_level: str = ""
    bpf_data_iface_pattern: str = ""
    bpf_connect_time_load_balancing_enabled: bool | None = None
    bpf_external_service_mode: str = ""
    bpf_kube_proxy_iptables_cleanup_enabled: bool | None = None
    bpf_kube_proxy_min_sync_period: int | None = None
    route_source: str = ""
    route_table_range: RouteTableRange | None = None
    wireguard_enabled: bool | None = None
    wireguard_listening_port: int | None = None
    wireguard_routing_rule_priority: int | None = None
    wireguard_interface_name: str = ""
    wireguard_mtu: int | None = None


def _between(least: int, most: int) -> Integer:
    return Integer(lambda value: "" if least <= value <= most else f"must be {least} to {most}")


def _tables_rule(tables: RouteTableRange, path: Path, report: Report) -> None:
    if not 1 <= tables.min <= tables.max <= 250:
        report.add(path, f"{tables}: must be a range of route table indices within 1..250")


def _failsafe_protocol(text: str) -> str:
    """Any case will do: upstream does not check it here, and felix reads it in lower case."""
    return "" if text.upper() in ("TCP", "UDP", "SCTP") else "is none of TCP, UDP, SCTP"


def _rule(spec: FelixConfigurationSpec, path: Path, report: Report) -> None:
    ranges = spec.kube_node_port_ranges or ()
    if len(ranges) > 7:
        report.add((*path, "kubeNodePortRanges"), f"node port ranges list is too long (max 7): {len(ranges)}")
    for index, ports in enumerate(ranges):
        if ports.name:
            report.add((*path, "kubeNodePortRanges", index), f"{ports.name!r}: node port ranges must be numbers")


_ACCEPT = Choice("Accept", "Return")
_LOG_LEVEL = Choice("Debug", "Info", "Warning", "Error", "Fatal")
_PROTO_PORTS = Listing(
    Struct(
        ProtoPort,
        (
            Member("protocol", Text(_failsafe_protocol), always=True, required=True),
            Member("port", Integer(least=0, most=65535), always=True, required=True),
        ),
    )
)
_ROUTE_TABLES = Struct(
    RouteTableRange, (Member("min", INTEGER, always=True), Member("max", INTEGER, always=True)), _tables_rule
)
SPEC = Struct(
    FelixConfigurationSpec,
    (
        Member("useInternalDataplaneDriver", FLAG, optional=True),
        Member("dataplaneDriver", TEXT),
        Member("ipv6Support", FLAG, optional=True),
        Member("routeRefreshInterval", DURATION, optional=True),
        Member("iptablesRefreshInterval", DURATION, optional=True),
        Member("iptablesPostWriteCheckInterval", DURATION, optional=True),
        Member("iptablesLockFilePath", TEXT),
        Member("iptablesLockTimeout", DURATION, optional=True),
        Member("iptablesLockProbeInterval", DURATION, optional=True),
        Member("ipsetsRefreshInterval", DURATION, optional=True),
        Member("maxIpsetSize", INTEGER, optional=True),
        Member("iptablesBackend", Choice("", "Legacy", "NFT"), optional=True),
        Member("xdpRefreshInterval", DURATION, optional=True),
        Member("netlinkTimeout", DURATION, optional=True),
        Member("metadataAddr", TEXT),
        Member("metadataPort", INTEGER, optional=True),
        Member("openstackRegion", Text(formats.region)),
        Member("interfacePrefix", TEXT),
        Member("interfaceExclude", TEXT),
        Member("chainInsertMode", TEXT),
        Member("defaultEndpointToHostAction", Choice("Drop", "Accept", "Return")),
        Member("iptablesFilterAllowAction", _ACCEPT),
        Member("iptablesMangleAllowAction", _ACCEPT),
        Member("logPrefix", TEXT),
        Member("logFilePath", TEXT),
        Member("logSeverityFile", _LOG_LEVEL),
        Member("logSeverityScreen", _LOG_LEVEL),
        Member("logSeveritySys", _LOG_LEVEL),
        Member("ipipEnabled", FLAG, optional=True),
        Member("ipipMTU", INTEGER, optional=True),
        Member("vxlanEnabled", FLAG, optional=True),
        Member("vxlanMTU", INTEGER, optional=True),
        Member("vxlanPort", INTEGER, optional=True),
        Member("vxlanVNI", INTEGER, optional=True),
        Member("reportingInterval", DURATION, optional=True),
        Member("reportingTTL", DURATION, optional=True),
        Member("endpointReportingEnabled", FLAG, optional=True),
        Member("endpointReportingDelay", DURATION, optional=True),
        Member("iptablesMarkMask", Integer(least=0, most=(1 << 32) - 1), optional=True),
        Member("disableConntrackInvalidCheck", FLAG, optional=True),
        Member("healthEnabled", FLAG, optional=True),
        Member("healthHost", TEXT, optional=True),
        Member("healthPort", INTEGER, optional=True),
        Member("prometheusMetricsEnabled", FLAG, optional=True),
        Member("prometheusMetricsHost", Text(formats.listen_host)),
        Member("prometheusMetricsPort", INTEGER, optional=True),
        Member("prometheusGoMetricsEnabled", FLAG, optional=True),
        Member("prometheusProcessMetricsEnabled", FLAG, optional=True),
        Member("failsafeInboundHostPorts", _PROTO_PORTS, optional=True),
        Member("failsafeOutboundHostPorts", _PROTO_PORTS, optional=True),
        Member("kubeNodePortRanges", Listing(PORT), optional=True),
        Member("policySyncPathPrefix", TEXT),
        Member("usageReportingEnabled", FLAG, optional=True),
        Member("usageReportingInitialDelay", DURATION, optional=True),
        Member("usageReportingInterval", DURATION, optional=True),
        Member("natPortRange", PORT, optional=True),
        Member("natOutgoingAddress", Text(formats.ipv4)),
        Member("deviceRouteSourceAddress", Text(formats.ipv4)),
        Member("deviceRouteProtocol", INTEGER, optional=True),
        Member("removeExternalRoutes", FLAG, optional=True),
        Member("externalNodesList", Listing(Text(formats.cidrv4)), optional=True),
        Member("debugMemoryProfilePath", TEXT),
        Member("debugDisableLogDropping", FLAG, optional=True),
        Member("debugSimulateCalcGraphHangAfter", DURATION, optional=True),
        Member("debugSimulateDataplaneHangAfter", DURATION, optional=True),
        Member("iptablesNATOutgoingInterfaceFilter", Text(formats.interface_filter)),
        Member("sidecarAccelerationEnabled", FLAG, optional=True),
        Member("xdpEnabled", FLAG, optional=True),
        Member("genericXDPEnabled", FLAG, optional=True),
        Member("bpfEnabled", FLAG, optional=True),
        Member("bpfDisableUnprivileged", FLAG, optional=True),
        Member("bpfLogLevel", Choice("Debug", "Info", "Off"), always=True),
        Member("bpfDataIfacePattern", Text(formats.regex)),
        Member("bpfConnectTimeLoadBalancingEnabled", FLAG, optional=True),
        Member("bpfExternalServiceMode", Choice("Tunnel", "DSR")),
        Member("bpfKubeProxyIptablesCleanupEnabled", FLAG, optional=True),
        Member("bpfKubeProxyMinSyncPeriod", DURATION, optional=True),
        Member("routeSource", Choice("WorkloadIPs", "CalicoIPAM")),
        Member("routeTableRange", _ROUTE_TABLES, optional=True),
        Member("wireguardEnabled", FLAG, optional=True),
        Member("wireguardListeningPort", _between(1, 65535), optional=True),
        Member("wireguardRoutingRulePriority", _between(1, 32765), optional=True),
        Member("wireguardInterfaceName", Text(formats.interface)),
        Member("wireguardMTU", INTEGER, optional=True),
    ),
    _rule,
)

DEFINITION = Definition(SPEC, formats.name)

ITEM_NAMES = {
    "iptablesPostWriteCheckInterval": "IptablesPostWriteCheckIntervalSecs",
    "iptablesLockTimeout": "IptablesLockTimeoutSecs",
    "iptablesLockProbeInterval": "IptablesLockProbeIntervalMillis",
    "xdpRefreshInterval": "XDPRefreshInterval",
    "netlinkTimeout": "NetlinkTimeoutSecs",
    "ipipEnabled": "IpInIpEnabled",
    "ipipMTU": "IpInIpMtu",
    "vxlanEnabled": "VXLANEnabled",
    "vxlanMTU": "VXLANMTU",
    "vxlanPort": "VXLANPort",
    "vxlanVNI": "VXLANVNI",
    "reportingInterval": "ReportingIntervalSecs",
    "reportingTTL": "ReportingTTLSecs",
    "endpointReportingDelay": "EndpointReportingDelaySecs",
    "usageReportingInitialDelay": "UsageReportingInitialDelaySecs",
    "usageReportingInterval": "UsageReportingIntervalSecs",
    "natPortRange": "NATPortRange",
    "natOutgoingAddress": "NATOutgoingAddress",
    "externalNodesList": "ExternalNodesCIDRList",
    "xdpEnabled": "XDPEnabled",
    "bpfEnabled": "BPFEnabled",
    "bpfDisableUnprivileged": "BPFDisableUnprivileged",
    "bpfLogLevel": "BPFLogLevel",
    "bpfDataIfacePattern": "BPFDataIfacePattern",
    "bpfConnectTimeLoadBalancingEnabled": "BPFConnectTimeLoadBalancingEnabled",
    "bpfExternalServiceMode": "BPFExternalServiceMode",
    "bpfKubeProxyIptablesCleanupEnabled": "BPFKubeProxyIptablesCleanupEnabled",
    "bpfKubeProxyMinSyncPeriod": "BPFKubeProxyMinSyncPeriod",
}
"""The internal name of a setting where it is not the member's with an upper-case first letter."""


def item_name(member: str) -> str:
    """The name felix itself gives the setting of a member (`IpInIpEnabled` of `ipipEnabled`)."""
    return ITEM_NAMES.get(member) or member[0].upper() + member[1:]


def items(spec: FelixConfigurationSpec) -> Iterator[tuple[str, str]]:
    """The settings that are given, by internal name, as the text felix reads."""
    for member, value, default in zip(SPEC.members, spec, SPEC.defaults, strict=True):
        if value != default:
            yield item_name(member.name), _item_text(member, value)


def _item_text(member: Member, value: Any) -> str:
    if member.codec is DURATION:
        return _decimal(value, 10**6 if item_name(member.name).endswith("Millis") else 10**9)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple) and not isinstance(value, Port | RouteTableRange):
        return ",".join(map(str, value)) or ("none" if member.codec is _PROTO_PORTS else "")
    return str(value)


def _decimal(nanoseconds: int, unit: int) -> str:
    whole, rest = divmod(abs(nanoseconds), unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return ("-" if nanoseconds < 0 else "") + (f"{whole}.{digits}" if digits else str(whole))
