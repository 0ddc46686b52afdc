"""What has to hold between parameters: one pure function for each rule, from `Facts` to findings, in one table."""

from collections.abc import Callable, Iterator

from gen.checks import cluster, networks, overlay, tunnels
from gen.checks.facts import Facts
from gen.problems import Finding

CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    cluster.masters,
    cluster.masters_are_needed,
    cluster.nodes_are_unique,
    cluster.resolvers,
    cluster.one_ip_detect,
    cluster.ipv6_flags,
    networks.cidr_left_out,
    networks.calico_overlaps,
    networks.overlay_overlaps,
    networks.other_overlaps,
    networks.pool_size,
    networks.l4lb_order,
    tunnels.vni_of_overlay,
    tunnels.ports,
    tunnels.tunnel_mtu,
    tunnels.veth_mtu,
    overlay.subnets,
    overlay.names_are_unique,
    overlay.names_are_free,
    overlay.default_names,
)
"""Every cross check; the order is that of equal problems in a report."""
