"""`Settings`: the configuration in force, as one frozen value."""

from typing import Literal, NamedTuple

from calico.felix.config.kinds import ProtoPort

TCP, UDP = 6, 17
INBOUND = tuple(ProtoPort(*one) for one in ((TCP, 22), (UDP, 68), *((TCP, n) for n in (179, 2379, 2380, 6666, 6667))))
OUTBOUND = tuple(ProtoPort(*one) for one in ((UDP, 53), (UDP, 67), *((TCP, n) for n in (179, 2379, 2380, 6666, 6667))))


class Settings(NamedTuple):
    """What felix does by its configuration; the defaults are upstream's. Times are seconds; empty is "not set".

    `interface_exclude` are patterns to search a name for. `parameters.PARAMETERS` ties each field to its parameter.
    """

    hostname: str = ""
    ipv6_support: bool = True
    route_refresh_interval: float = 90.0
    device_route_source_address: str = ""
    device_route_protocol: int = 3
    remove_external_routes: bool = True
    iptables_refresh_interval: float = 90.0
    ipsets_refresh_interval: float = 10.0
    netlink_timeout: float = 10.0
    openstack_region: str = ""
    interface_prefixes: tuple[str, ...] = ("cali",)
    interface_exclude: tuple[str, ...] = ("^kube\\-ipvs0$",)
    chain_insert_mode: Literal["insert", "append"] = "insert"
    default_endpoint_to_host_action: Literal["DROP", "RETURN", "ACCEPT"] = "DROP"
    log_prefix: str = "calico-packet"
    log_severity_screen: str = "INFO"
    vxlan_enabled: bool = False
    vxlan_port: int = 4789
    vxlan_vni: int = 4096
    vxlan_mtu: int = 1410
    vxlan_tunnel_address: str = ""
    vxlan_tunnel_mac: str = ""
    ipip_enabled: bool = False
    ipip_mtu: int = 1440
    ipip_tunnel_address: str = ""
    reporting_interval: float = 30.0
    reporting_ttl: float = 90.0
    endpoint_reporting_enabled: bool = False
    endpoint_reporting_delay: float = 1.0
    mark_mask: int = 0xFFFF0000
    disable_conntrack_invalid_check: bool = False
    health_enabled: bool = False
    health_host: str = "localhost"
    health_port: int = 9099
    prometheus_metrics_enabled: bool = False
    prometheus_metrics_host: str = ""
    prometheus_metrics_port: int = 9091
    failsafe_inbound: tuple[ProtoPort, ...] = INBOUND
    failsafe_outbound: tuple[ProtoPort, ...] = OUTBOUND
    nat_port_range: tuple[int, int] | None = None
    nat_outgoing_address: str = ""
    nat_outgoing_interface_filter: str = ""
    cluster_guid: str = "baddecaf"
    cluster_type: str = ""
    calico_version: str = ""
    external_nodes: tuple[str, ...] = ()
    route_source: Literal["CalicoIPAM", "WorkloadIPs"] = "CalicoIPAM"
    debug_simulate_calc_graph_hang_after: float = 0.0
    debug_simulate_dataplane_hang_after: float = 0.0
