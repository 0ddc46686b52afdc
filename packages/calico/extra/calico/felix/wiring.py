"""What each half of the dataplane is told of felix' configuration."""

import re
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

from calico.felix.config.settings import Settings
from calico.felix.dataplane import network
from calico.felix.dataplane.dataplane import Intervals
from calico.felix.dataplane.nft.settings import NftSettings, ProtoPort
from calico.felix.dataplane.routes import RouteSettings
from calico.felix.dataplane.tunnels import TunnelSettings


def network_settings(settings: Settings, directory: Path) -> network.Settings:
    """For routes, tunnels and interfaces; `directory` is where a restarted felix finds what it noted."""
    source = settings.device_route_source_address
    return network.Settings(
        RouteSettings(
            settings.hostname,
            settings.interface_prefixes,
            settings.device_route_protocol,
            IPv4Address(source) if source else None,
            settings.remove_external_routes,
            settings.ipv6_support,
            settings.vxlan_enabled,
            settings.ipip_enabled,
        ),
        TunnelSettings(
            settings.vxlan_enabled,
            settings.vxlan_vni,
            settings.vxlan_port,
            settings.vxlan_mtu,
            settings.ipip_enabled,
            settings.ipip_mtu,
        ),
        directory / "felix-sysctls",
        settings.netlink_timeout,
    )


def intervals(settings: Settings) -> Intervals:
    """How often each half is compared with the kernel: sets and tables are one question here."""
    asked = [one for one in (settings.iptables_refresh_interval, settings.ipsets_refresh_interval) if one]
    return Intervals(min(asked, default=0.0), settings.route_refresh_interval)


def exclusion(settings: Settings) -> Callable[[str], bool]:
    """Whether an interface's name is one that host endpoints have nothing to do with."""
    patterns = [re.compile(one) for one in settings.interface_exclude]
    return lambda name: any(pattern.search(name) for pattern in patterns)


def nft_settings(settings: Settings) -> NftSettings:
    """For the packet filter. The tunnels' own masquerade waits for no address: without one there is no device."""
    return NftSettings(
        ipv6=settings.ipv6_support,
        interface_prefixes=settings.interface_prefixes,
        mark_mask=settings.mark_mask,
        insert=settings.chain_insert_mode == "insert",
        endpoint_to_host=settings.default_endpoint_to_host_action,
        check_invalid=not settings.disable_conntrack_invalid_check,
        log_prefix=settings.log_prefix,
        vxlan_enabled=settings.vxlan_enabled,
        vxlan_port=settings.vxlan_port,
        vxlan_vni=settings.vxlan_vni,
        vxlan_address="any",
        ipip_enabled=settings.ipip_enabled,
        ipip_address="any",
        failsafe_inbound=tuple(ProtoPort(*one) for one in settings.failsafe_inbound),
        failsafe_outbound=tuple(ProtoPort(*one) for one in settings.failsafe_outbound),
        nat_ports=settings.nat_port_range,
        nat_address=settings.nat_outgoing_address,
        nat_interface=settings.nat_outgoing_interface_filter,
        external_nodes=settings.external_nodes,
    )
