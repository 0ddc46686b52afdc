"""The table of felix' parameters: upstream's names, types and flags, and what a change of each asks of a running felix.

Parameters that mean nothing here (iptables' lock, XDP, BPF, WireGuard, Typha, usage reports and the like) are in the
table all the same, so that a configuration written for upstream raises no complaint; their values are not looked at.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from calico.felix.config import kinds
from calico.felix.config.settings import Settings


class Effect(Enum):
    """What a change of a parameter asks."""

    NOTHING = "nothing"
    IN_PLACE = "in place"
    """The running felix takes the new value."""
    RESTART = "restart"
    """Felix exits with 129 and is started again, which changes nothing in the kernel but what differs."""


class Parameter(NamedTuple):
    """One parameter. `field` is its member of `Settings`, empty where it means nothing here.

    `local`: not taken from the datastore. `required`: a value that cannot be read is an error, where others fall back
    to the default. `non_zero`: may not be `none`.
    """

    name: str
    field: str = ""
    parse: kinds.Parse = kinds.plain
    effect: Effect = Effect.RESTART
    zero: Any = ""
    local: bool = False
    required: bool = False
    non_zero: bool = False

    @property
    def default(self) -> Any:
        """Its value where nobody gives one."""
        return getattr(_DEFAULTS, self.field) if self.field else ""


_DEFAULTS = Settings()
_PORT = kinds.between(0, 65535)
_MTU = kinds.between(68, 65535)
_LEVEL = kinds.one_of("DEBUG", "INFO", "WARNING", "ERROR", "FATAL")


def _flag(name: str, field: str, effect: Effect = Effect.RESTART) -> Parameter:
    return Parameter(name, field, kinds.flag, effect, False)


def _number(name: str, field: str, parse: kinds.Parse, non_zero: bool = False) -> Parameter:
    return Parameter(name, field, parse, zero=0, non_zero=non_zero)


def _seconds(name: str, field: str, effect: Effect = Effect.IN_PLACE) -> Parameter:
    return Parameter(name, field, kinds.seconds, effect, 0.0)


def _word(name: str, field: str, *words: str) -> Parameter:
    return Parameter(name, field, kinds.one_of(*words), required=True, non_zero=True)


def _list(name: str, field: str, parse: kinds.Parse, required: bool = False, non_zero: bool = False) -> Parameter:
    return Parameter(name, field, parse, zero=(), required=required, non_zero=non_zero)


def _told(name: str, field: str, parse: kinds.Parse = kinds.plain, effect: Effect = Effect.IN_PLACE) -> Parameter:
    return Parameter(name, field, parse, effect)


_USED = (
    Parameter("FelixHostname", "hostname", kinds.hostname, local=True, non_zero=True),
    _flag("Ipv6Support", "ipv6_support"),
    _seconds("RouteRefreshInterval", "route_refresh_interval"),
    Parameter("DeviceRouteSourceAddress", "device_route_source_address", kinds.ipv4),
    _number("DeviceRouteProtocol", "device_route_protocol", kinds.between(0, 255)),
    _flag("RemoveExternalRoutes", "remove_external_routes"),
    _seconds("IptablesRefreshInterval", "iptables_refresh_interval"),
    _seconds("IpsetsRefreshInterval", "ipsets_refresh_interval"),
    _seconds("NetlinkTimeoutSecs", "netlink_timeout", Effect.RESTART),
    Parameter("OpenstackRegion", "openstack_region", kinds.matching(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", "a region")),
    _list("InterfacePrefix", "interface_prefixes", kinds.interfaces, required=True, non_zero=True),
    _list("InterfaceExclude", "interface_exclude", kinds.excluded),
    _word("ChainInsertMode", "chain_insert_mode", "insert", "append"),
    _word("DefaultEndpointToHostAction", "default_endpoint_to_host_action", "DROP", "RETURN", "ACCEPT"),
    Parameter("LogPrefix", "log_prefix"),
    _told("LogSeverityScreen", "log_severity_screen", _LEVEL),
    _flag("VXLANEnabled", "vxlan_enabled"),
    _number("VXLANPort", "vxlan_port", kinds.between(1, 65535), non_zero=True),
    _number("VXLANVNI", "vxlan_vni", kinds.between(1, (1 << 24) - 1), non_zero=True),
    _number("VXLANMTU", "vxlan_mtu", _MTU, non_zero=True),
    _told("IPv4VXLANTunnelAddr", "vxlan_tunnel_address", kinds.ipv4),
    _told("VXLANTunnelMACAddr", "vxlan_tunnel_mac", kinds.mac),
    _flag("IpInIpEnabled", "ipip_enabled"),
    _number("IpInIpMtu", "ipip_mtu", _MTU, non_zero=True),
    _told("IpInIpTunnelAddr", "ipip_tunnel_address", kinds.ipv4),
    _seconds("ReportingIntervalSecs", "reporting_interval", Effect.RESTART),
    _seconds("ReportingTTLSecs", "reporting_ttl", Effect.RESTART),
    _flag("EndpointReportingEnabled", "endpoint_reporting_enabled"),
    _seconds("EndpointReportingDelaySecs", "endpoint_reporting_delay", Effect.RESTART),
    Parameter("IptablesMarkMask", "mark_mask", kinds.mark_mask, zero=0, required=True, non_zero=True),
    _flag("DisableConntrackInvalidCheck", "disable_conntrack_invalid_check"),
    _flag("HealthEnabled", "health_enabled"),
    Parameter("HealthHost", "health_host"),
    _number("HealthPort", "health_port", _PORT),
    _flag("PrometheusMetricsEnabled", "prometheus_metrics_enabled"),
    Parameter("PrometheusMetricsHost", "prometheus_metrics_host"),
    _number("PrometheusMetricsPort", "prometheus_metrics_port", _PORT),
    _list("FailsafeInboundHostPorts", "failsafe_inbound", kinds.ports, required=True),
    _list("FailsafeOutboundHostPorts", "failsafe_outbound", kinds.ports, required=True),
    Parameter("NATPortRange", "nat_port_range", kinds.port_range, zero=None),
    Parameter("NATOutgoingAddress", "nat_outgoing_address", kinds.ipv4),
    Parameter(
        "IptablesNATOutgoingInterfaceFilter",
        "nat_outgoing_interface_filter",
        kinds.matching(r"[a-zA-Z0-9:._+-]{1,15}", "an interface filter of at most 15 characters"),
    ),
    _told("ClusterGUID", "cluster_guid"),
    _told("ClusterType", "cluster_type"),
    _told("CalicoVersion", "calico_version"),
    _list("ExternalNodesCIDRList", "external_nodes", kinds.networks4, required=True),
    Parameter("RouteSource", "route_source", kinds.one_of("WorkloadIPs", "CalicoIPAM"), non_zero=True),
    _seconds("DebugSimulateCalcGraphHangAfter", "debug_simulate_calc_graph_hang_after", Effect.RESTART),
    _seconds("DebugSimulateDataplaneHangAfter", "debug_simulate_dataplane_hang_after", Effect.RESTART),
)

_IGNORED_LOCAL = """
    DatastoreType EtcdAddr EtcdScheme EtcdKeyFile EtcdCertFile EtcdCaFile EtcdEndpoints TyphaAddr TyphaK8sServiceName
    TyphaK8sNamespace TyphaReadTimeout TyphaWriteTimeout TyphaKeyFile TyphaCertFile TyphaCAFile TyphaCN TyphaURISAN
"""
_IGNORED = """
    UseInternalDataplaneDriver DataplaneDriver IgnoreLooseRPF IptablesBackend IptablesPostWriteCheckIntervalSecs
    IptablesFilterAllowAction IptablesMangleAllowAction MaxIpsetSize DebugDisableLogDropping
    IptablesLockFilePath IptablesLockTimeoutSecs IptablesLockProbeIntervalMillis XDPRefreshInterval MetadataAddr
    MetadataPort LogFilePath LogSeverityFile LogSeveritySys PrometheusGoMetricsEnabled PrometheusProcessMetricsEnabled
    KubeNodePortRanges UsageReportingEnabled UsageReportingInitialDelaySecs UsageReportingIntervalSecs
    DebugMemoryProfilePath DebugCPUProfilePath DebugPanicAfter PolicySyncPathPrefix SidecarAccelerationEnabled
    XDPEnabled GenericXDPEnabled BPFEnabled BPFDisableUnprivileged BPFLogLevel BPFDataIfacePattern
    BPFConnectTimeLoadBalancingEnabled BPFExternalServiceMode BPFKubeProxyIptablesCleanupEnabled
    BPFKubeProxyMinSyncPeriod RouteTableRange WireguardEnabled WireguardListeningPort WireguardRoutingRulePriority
    WireguardInterfaceName WireguardMTU
"""

PARAMETERS = (
    *_USED,
    *(Parameter(name, effect=Effect.NOTHING, local=True) for name in _IGNORED_LOCAL.split()),
    *(Parameter(name, effect=Effect.NOTHING) for name in _IGNORED.split()),
)
BY_NAME: Mapping[str, Parameter] = {parameter.name.lower(): parameter for parameter in PARAMETERS}
"""By the name in lower case: names are taken in any case."""
