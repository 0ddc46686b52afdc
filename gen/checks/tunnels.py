"""Ports, network identifiers and MTUs of the tunnels."""

from collections.abc import Iterator

from gen.checks.facts import Facts
from gen.parameters import OVERLAY_VNI
from gen.problems import WARNING, Finding

UNDERLAY_MTU = 1500
_OVERHEAD = {"calico_vxlan_mtu": ("VXLAN", 50), "calico_ipinip_mtu": ("IP-in-IP", 20)}

OWN_PORTS = {
    179: "BGP",
    2181: "ZooKeeper",
    2379: "etcd's clients",
    2380: "etcd's members",
    2381: "etcd's metrics",
    62091: "Felix's metrics",
    62092: "confd's metrics",
}
"""Ports the bundle's own services listen on or talk to, whatever the configuration says."""

DCOS_PORTS = frozenset(
    {53, 80, 443, 1050, 5050, 5051, 7070, 8080, 8101, 8123, 8181, 9000, 9942, 9990, 36771, 41281, 46839}
    | {61001, 61053, 61091, 62020, 62080, 62501}
)
"""Ports of DC/OS's own services beside the bundle's."""


def vni_of_overlay(facts: Facts) -> Iterator[Finding]:
    """The DC/OS overlay's identifier on the shared port would mix the two networks."""
    if facts.has("calico_vxlan_vni") and facts.values["calico_vxlan_vni"] == OVERLAY_VNI:
        message = f"{OVERLAY_VNI} is the DC/OS overlay's network identifier"
        yield Finding((("calico_vxlan_vni",),), "vni-taken", message, "use another, such as the default 4096")


def ports(facts: Facts) -> Iterator[Finding]:
    """Configurable ports against those that are taken, and against each other."""
    vxlan, proxy = "calico_vxlan_port", "adminrouter_grpc_proxy_port"
    defaults = {vxlan: 64000, proxy: 12379}
    for name, default in defaults.items():
        if facts.has(name):
            yield from _taken(name, facts.values[name], default)
    if facts.has(vxlan, proxy) and facts.values[vxlan] == facts.values[proxy]:
        message = f"{vxlan} and {proxy} are both {facts.values[vxlan]}"
        yield Finding(((vxlan,), (proxy,)), "port-taken", message, "give each a port of its own")


def _taken(name: str, port: int, default: int) -> Iterator[Finding]:
    hint = f"use another, such as the default {default}"
    if owner := OWN_PORTS.get(port):
        yield Finding(((name,),), "port-taken", f"{port} is the port of {owner}", hint)
    elif port in DCOS_PORTS:
        yield Finding(((name,),), "port-taken", f"{port} is the port of a DC/OS service", hint, WARNING)


def tunnel_mtu(facts: Facts) -> Iterator[Finding]:
    """A tunnel's packets and its header in a 1500-byte underlay."""
    for name, (tunnel, overhead) in _OVERHEAD.items():
        if facts.is_set(name) and facts.values[name] > UNDERLAY_MTU - overhead:
            mtu = facts.values[name]
            message = (
                f"{mtu} and {overhead} bytes of {tunnel} header make {mtu + overhead}: "
                f"more than an underlay of {UNDERLAY_MTU} carries"
            )
            hint = f"use at most {UNDERLAY_MTU - overhead}, unless every link has an MTU of {mtu + overhead} or more"
            yield Finding(((name,),), "mtu", message, hint, WARNING)


def veth_mtu(facts: Facts) -> Iterator[Finding]:
    """A container's packets in the tunnel they leave through."""
    tunnel = "calico_vxlan_mtu" if facts.values["calico_vxlan_enabled"] is True else "calico_ipinip_mtu"
    if not facts.is_set("calico_veth_mtu") or not facts.has("calico_vxlan_enabled", tunnel):
        return
    mtu, fits = facts.values["calico_veth_mtu"], facts.values[tunnel]
    if mtu > fits:
        message = f"{mtu} is larger than the tunnel's {fits} ({tunnel}): large packets need fragmenting or are lost"
        yield Finding((("calico_veth_mtu",), (tunnel,)), "mtu", message, f"use at most {fits}", WARNING)
