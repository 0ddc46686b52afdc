"""The one table of parameters of `config.yaml`.

Validation, `gen schema`, `gen explain`, docs/reference/parameters.md and config/calico.yaml are all made from it; a
test keeps the two files equal to it. Defaults are native values: what `gen.validate.Report.values` holds when a key is
left out of the file.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, Literal, NamedTuple

from gen.problems import Path

Kind = Literal[
    "bool",
    "int",
    "string",
    "name",
    "url",
    "path",
    "script",
    "address4",
    "address6",
    "network4",
    "endpoints",
    "nodes",
    "resolvers",
    "keys",
    "overlay",
]
"""How a value is read: `gen.kinds` says what each accepts."""

DEFAULT_IP_DETECT = FilePath(__file__).parent / "ip-detect" / "default.sh"

MTU = (552, 65535)
"""An IPv4 host must take 576-byte datagrams; with DC/OS's margin for tunnels that makes 552, upstream's lower bound."""

OVERLAY_VNI = 1024
"""The VXLAN network identifier of the DC/OS overlay, fixed in its Mesos module."""


class Parameter(NamedTuple):
    """One key of `config.yaml`.

    `when` lists the flags, with the value each must have, under which the parameter matters: behind a flag that is off
    its problems are warnings. `required` parameters have no default; a `default` that is the empty string or list means
    "nothing". `example` is what config/calico.yaml shows, active rather than commented out.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    section: str
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    when: tuple[tuple[str, Any], ...] = ()
    since: str = "0.1"
    secret: bool = False
    required: bool = False
    example: Any = None

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the flags in `values` (defaults applied) make this parameter matter."""
        return all(values.get(flag, wanted) == wanted for flag, wanted in self.when)


DEFAULT_OVERLAY: dict[str, Any] = {
    "vtep_subnet": "44.128.0.0/20",
    "vtep_subnet6": "fd01:a::/64",
    "vtep_mac_oui": "70:B3:D5:00:00:00",
    "vtep_mtu": 1500,
    "overlays": [
        {"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24, "enabled": True},
        {"name": "dcos6", "subnet6": "fd01:b::/64", "prefix6": 80, "enabled": True},
    ],
}

_ON = (("calico_enabled", True),)
_VXLAN = (*_ON, ("calico_vxlan_enabled", True))
_IPIP = (*_ON, ("calico_vxlan_enabled", False))
_OVERLAY = (("dcos_overlay_enable", True),)
_IPV6 = (("enable_ipv6", True),)
_LB = (("enable_lb", True),)
_ZOOKEEPER = (*_ON, ("calico_etcd_discovery", "zookeeper"))

SECTIONS = {
    "cluster": "The cluster",
    "calico": "Calico",
    "datastore": "Calico's datastore and Docker",
    "overlay": "The DC/OS overlay",
    "services": "Load balancing, bridges and other DC/OS networking",
}
"""The sections of the table in the order they are shown, with their titles."""


def _cluster() -> tuple[Parameter, ...]:
    section = "cluster"
    return (
        Parameter(
            "cluster_name",
            "name",
            "",
            "the cluster's name, shown to people",
            section,
            required=True,
            example="dcos-calico",
        ),
        Parameter(
            "bootstrap_url",
            "url",
            "",
            "where nodes fetch the bundle: dist/ served over http, https, or file:// on each node",
            section,
            required=True,
            example="http://192.0.2.10:8000",
        ),
        Parameter(
            "release_keys",
            "keys",
            [],
            "public keys of which one must have signed what nodes install (release keygen makes them)",
            section,
        ),
        Parameter(
            "master_discovery",
            "string",
            "static",
            "how nodes find the masters: static (master_list) or by a load balancer's name",
            section,
            choices=("static", "master_http_loadbalancer"),
            example="static",
        ),
        Parameter(
            "master_list",
            "nodes",
            [],
            "IPv4 addresses of the masters, as ip-detect prints them: 1, 3, 5, 7 or 9 of them",
            section,
            example=["192.0.2.11"],
        ),
        Parameter("agent_list", "nodes", [], "IPv4 addresses of the private agents, where known", section),
        Parameter("public_agent_list", "nodes", [], "IPv4 addresses of the public agents, where known", section),
        Parameter(
            "resolvers",
            "resolvers",
            ["8.8.8.8", "8.8.4.4"],
            "upstream DNS servers: an address each, or address:port",
            section,
        ),
        Parameter(
            "ip_detect_contents",
            "script",
            None,
            "a script that prints the node's own IPv4 address (default: the interface of the default route)",
            section,
        ),
        Parameter(
            "ip_detect_filename",
            "path",
            "",
            "a file with that script instead, relative to the configuration file",
            section,
        ),
    )


def _calico() -> tuple[Parameter, ...]:
    section = "calico"
    return (
        Parameter(
            "calico_enabled", "bool", True, "install Calico networking and network policy", section, example=True
        ),
        Parameter(
            "calico_network_cidr",
            "network4",
            "172.29.0.0/16",
            "the IPv4 network containers get addresses from; it must overlap nothing else and is hard to change",
            section,
            when=_ON,
            example="172.29.0.0/16",
        ),
        Parameter(
            "calico_vxlan_enabled",
            "bool",
            True,
            "carry packets between nodes in VXLAN (true) or in IP-in-IP with BGP (false)",
            section,
            when=_ON,
        ),
        Parameter(
            "calico_vxlan_port",
            "int",
            64000,
            "UDP port of Calico's VXLAN; 64000 is shared with the DC/OS overlay",
            section,
            1025,
            65535,
            when=_VXLAN,
        ),
        Parameter(
            "calico_vxlan_vni",
            "int",
            4096,
            "VXLAN network identifier; 1024 belongs to the DC/OS overlay",
            section,
            1,
            16777215,
            when=_VXLAN,
        ),
        Parameter(
            "calico_vxlan_mtu",
            "int",
            1450,
            "MTU of the VXLAN device: the underlay's MTU less 50",
            section,
            *MTU,
            when=_VXLAN,
        ),
        Parameter(
            "calico_ipinip_mtu",
            "int",
            1480,
            "MTU of the IP-in-IP device: the underlay's MTU less 20",
            section,
            *MTU,
            when=_IPIP,
        ),
        Parameter("calico_veth_mtu", "int", 1500, "MTU of a container's interface", section, *MTU, when=_ON),
    )


def _datastore() -> tuple[Parameter, ...]:
    section = "datastore"
    return (
        Parameter(
            "calico_etcd_tls",
            "bool",
            True,
            "TLS with client certificates between everything and etcd (see gen pki)",
            section,
            when=_ON,
        ),
        Parameter(
            "calico_etcd_discovery",
            "string",
            "static",
            "how etcd members find one another: static (master_list) or through ZooKeeper",
            section,
            choices=("static", "zookeeper"),
            when=_ON,
        ),
        Parameter(
            "calico_etcd_zk_addr",
            "endpoints",
            "127.0.0.1:2181",
            "ZooKeeper for etcd's discovery: host:port, several separated by commas",
            section,
            when=_ZOOKEEPER,
        ),
        Parameter(
            "calico_docker_network_scope",
            "string",
            "local",
            "scope of the Docker network: local, or global for old Docker with a cluster store",
            section,
            choices=("local", "global"),
            when=_ON,
        ),
        Parameter(
            "adminrouter_grpc_proxy_port",
            "int",
            12379,
            "port of Admin Router's gRPC proxy to etcd",
            section,
            1,
            65535,
            when=_ON,
        ),
    )


def _overlay() -> tuple[Parameter, ...]:
    section = "overlay"
    return (
        Parameter("dcos_overlay_enable", "bool", True, "run the DC/OS overlay networks beside Calico", section),
        Parameter("dcos_overlay_mtu", "int", 1420, "MTU of the overlay's interfaces", section, *MTU, when=_OVERLAY),
        Parameter(
            "dcos_overlay_config_attempts",
            "int",
            4,
            "how often an agent tries to configure its overlays",
            section,
            0,
            10,
            when=_OVERLAY,
        ),
        Parameter(
            "dcos_overlay_network",
            "overlay",
            DEFAULT_OVERLAY,
            "the overlay networks and their tunnel endpoints: a mapping, or upstream's JSON string",
            section,
            when=_OVERLAY,
        ),
        Parameter(
            "dcos_overlay_network_default_name",
            "name",
            "dcos",
            "the overlay an IPv4 container gets when it names none",
            section,
            when=_OVERLAY,
        ),
        Parameter(
            "dcos_overlay_network6_default_name",
            "name",
            "dcos6",
            "the overlay an IPv6 container gets when it names none",
            section,
            when=(*_OVERLAY, *_IPV6),
        ),
    )


def _services() -> tuple[Parameter, ...]:
    section = "services"
    return (
        Parameter("enable_ipv6", "bool", True, "IPv6 in the DC/OS overlay and load balancer", section),
        Parameter("enable_lb", "bool", True, "layer-4 load balancing by dcos-net", section),
        Parameter(
            "dcos_l4lb_min_named_ip",
            "address4",
            "11.0.0.0",
            "first address of named virtual IPs",
            section,
            when=_LB,
        ),
        Parameter(
            "dcos_l4lb_max_named_ip",
            "address4",
            "11.255.255.255",
            "last address of named virtual IPs",
            section,
            when=_LB,
        ),
        Parameter(
            "dcos_l4lb_enable_ipv6",
            "bool",
            True,
            "named virtual IPs over IPv6 (default: as enable_ipv6)",
            section,
            when=_LB,
        ),
        Parameter(
            "dcos_l4lb_min_named_ip6",
            "address6",
            "fd01:c::",
            "first IPv6 address of named virtual IPs",
            section,
            when=(*_LB, *_IPV6),
        ),
        Parameter(
            "dcos_l4lb_max_named_ip6",
            "address6",
            "fd01:c::ffff:ffff:ffff:ffff",
            "last IPv6 address of named virtual IPs",
            section,
            when=(*_LB, *_IPV6),
        ),
        Parameter(
            "dcos_l4lb_enable_ipset", "bool", True, "match the load balancer's addresses with ipset", section, when=_LB
        ),
        Parameter(
            "dcos_ucr_default_bridge_subnet",
            "network4",
            "172.31.254.0/24",
            "IPv4 network of the UCR bridge on every agent",
            section,
        ),
        Parameter(
            "dcos_ucr_default_bridge_network_name", "name", "mesos-bridge", "name of the UCR bridge network", section
        ),
        Parameter(
            "dcos_cni_data_dir",
            "path",
            "/var/run/dcos/cni/networks",
            "where CNI plugins keep their state on agents",
            section,
        ),
        Parameter("dcos_net_rest_enable", "bool", True, "the HTTP API of dcos-net", section),
        Parameter("dcos_net_watchdog", "bool", True, "the watchdog of dcos-net", section),
        Parameter("dcos_net_cluster_identity", "bool", False, "a cluster identity shared by every dcos-net", section),
        Parameter(
            "dcos_net_push_ops_timeout",
            "int",
            1000,
            "milliseconds before dcos-net pushes changes",
            section,
            50,
            120000,
        ),
    )


TABLE: dict[str, Parameter] = {
    parameter.name: parameter for parameter in (*_cluster(), *_calico(), *_datastore(), *_overlay(), *_services())
}


def applies(paths: Iterable[Path], values: Mapping[str, Any]) -> bool:
    """Whether every parameter that `paths` lead into matters under the flags in `values`."""
    named = (str(path[0]) for path in paths if path)
    return all(TABLE[name].applies(values) for name in named if name in TABLE)


def defaults() -> dict[str, Any]:
    """A fresh copy of every parameter's default, the ip-detect script's text included."""
    values = {name: _fresh(parameter.default) for name, parameter in TABLE.items()}
    values["ip_detect_contents"] = DEFAULT_IP_DETECT.read_text(encoding="utf-8")
    return values


def _fresh(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _fresh(member) for key, member in value.items()}
    return [_fresh(member) for member in value] if isinstance(value, list) else value
