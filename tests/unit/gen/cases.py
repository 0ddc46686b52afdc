"""The rules of a configuration, each with texts it accepts and texts it refuses.

A text is added to a small valid configuration, whose keys it may replace (raw rules stand alone). An accepted text
has no problem at all; a refused one has exactly the problems written beside it: `severity path code`, separated by `;`.
"""

import json
from typing import Any, NamedTuple

from gen.parameters import DEFAULT_OVERLAY

BASE = {
    "cluster_name": "test",
    "bootstrap_url": "http://192.0.2.10:8000",
    "master_list": "[192.0.2.11]",
    "calico_network_cidr": "172.29.0.0/16",
}


class Rule(NamedTuple):
    """A rule: what it accepts, and what it refuses with which problems."""

    accepts: tuple[str, ...]
    refuses: tuple[tuple[str, str], ...]
    is_raw: bool = False


def whole(text: str) -> str:
    """`text` with the keys of BASE that it lacks before it."""
    given = {line.partition(":")[0] for line in text.splitlines()}
    return "".join(f"{key}: {value}\n" for key, value in BASE.items() if key not in given) + text + "\n"


def overlay(*overlays: dict[str, Any], without: tuple[str, ...] = (), **members: Any) -> str:
    """A `dcos_overlay_network` line: the default with members replaced or left out."""
    network = {**DEFAULT_OVERLAY, **members}
    if overlays:
        network["overlays"] = list(overlays)
    return "dcos_overlay_network: " + json.dumps({key: network[key] for key in network if key not in without})


def one(**members: Any) -> dict[str, Any]:
    """The overlay `dcos` with members replaced; None leaves one out."""
    made = {"name": "dcos", "subnet": "9.0.0.0/8", "prefix": 24, **members}
    return {key: value for key, value in made.items() if value is not None}


SIX = {"name": "dcos6", "subnet6": "fd01:b::/64", "prefix6": 80}
_NET = "dcos_overlay_network"
_FIRST = f"{_NET}.overlays[0]"
_SECOND = f"{_NET}.overlays[1]"
_CIDR = "calico_network_cidr"
_OVERLAY_FLAGS = "error dcos_overlay_enable overlap; error calico_enabled overlap"
_WARN_FLAGS = "warning dcos_overlay_enable overlap; warning calico_enabled overlap"
_ZERO_TEN = "[192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5]"
_IPIP = "calico_vxlan_enabled: false\n"
_OFF = "calico_enabled: false\n"


def _cidr(text: str, code: str) -> tuple[str, str]:
    return f"{_CIDR}: {text}", f"error {_CIDR} {code}"


def _both(text: str, other: str, extra: str = "") -> tuple[str, str]:
    more = f"; {extra}" if extra else ""
    return text, f"error {_CIDR} overlap; error {other} overlap{more}"


RULES: dict[str, Rule] = {
    "a flag is true or false, also as upstream's string": Rule(
        ("calico_enabled: true", 'calico_enabled: "true"', "calico_etcd_tls: false", "dcos_net_watchdog: 'false'"),
        (
            ("calico_enabled: 1", "error calico_enabled type"),
            ('calico_enabled: "True"', "error calico_enabled type"),
            ('calico_enabled: "yes"', "error calico_enabled type"),
            ('calico_enabled: " true"', "error calico_enabled type"),
            ("calico_enabled: [true]", "error calico_enabled type"),
            ("calico_enabled: {a: true}", "error calico_enabled type"),
            ("calico_enabled: ''", "error calico_enabled type"),
            ("calico_etcd_tls: maybe", "error calico_etcd_tls type"),
            ("enable_lb: y", "error enable_lb type"),
        ),
    ),
    "YAML 1.1's other words for true and false": Rule(
        ("cluster_name: 'yes'", "cluster_name: y"),
        (
            ("calico_enabled: yes", "error calico_enabled yaml"),
            ("calico_enabled: Off", "error calico_enabled yaml"),
            ("calico_enabled: ON", "error calico_enabled yaml"),
            ("cluster_name: no", "error cluster_name yaml"),
        ),
    ),
    "YAML 1.1's other numbers": Rule(
        ('cluster_name: "010"', "calico_vxlan_vni: 8", "cluster_name: 7"),
        (
            ("calico_vxlan_vni: 010", "error calico_vxlan_vni yaml"),
            ("calico_vxlan_vni: 0x10", "error calico_vxlan_vni yaml"),
            ("calico_vxlan_vni: 0b11", "error calico_vxlan_vni yaml"),
            ("calico_vxlan_mtu: 1_450", "error calico_vxlan_mtu yaml"),
            ("calico_vxlan_vni: 12:30:45", "error calico_vxlan_vni yaml"),
            ("calico_vxlan_vni: +5", "error calico_vxlan_vni yaml"),
            ("calico_vxlan_vni: 99999999999999999999", "error calico_vxlan_vni yaml"),
            (overlay().replace('"70:B3:D5:00:00:00"', "12:30:45:00:00:00"), f"error {_NET}.vtep_mac_oui yaml"),
        ),
    ),
    "no fractions": Rule(
        ("calico_vxlan_mtu: 1400",),
        (
            ("calico_vxlan_mtu: 1400.0", "error calico_vxlan_mtu yaml"),
            ("calico_vxlan_mtu: .inf", "error calico_vxlan_mtu yaml"),
            ("cluster_name: 1.5", "error cluster_name yaml"),
            ("cluster_name: 1:30.5", "error cluster_name yaml"),
        ),
    ),
    "no null": Rule(
        ("cluster_name: 'null'",),
        (
            ("cluster_name:", "error cluster_name yaml"),
            ("cluster_name: ~", "error cluster_name yaml"),
            ("calico_enabled: null", "error calico_enabled yaml"),
            ("resolvers: [8.8.8.8, ]\nagent_list:", "error agent_list yaml"),
            ("resolvers: [~]", "error resolvers[0] yaml"),
        ),
    ),
    "no dates": Rule(("cluster_name: '2026-01-01'",), (("cluster_name: 2026-01-01", "error cluster_name yaml"),)),
    "no tags of YAML": Rule(
        ("cluster_name: !!str 010", "calico_vxlan_vni: !!int 5"),
        (
            ("cluster_name: !secret x", "error cluster_name yaml"),
            ("cluster_name: !!binary aGk=", "error cluster_name yaml"),
            ("resolvers: !!set {8.8.8.8}", "error resolvers yaml"),
        ),
    ),
    "a number is decimal, also as upstream's string": Rule(
        ("calico_vxlan_mtu: 1400", 'calico_vxlan_mtu: "1400"', "dcos_overlay_config_attempts: '0'"),
        (
            ('calico_vxlan_mtu: " 1400"', "error calico_vxlan_mtu type"),
            ('calico_vxlan_mtu: "1400 "', "error calico_vxlan_mtu type"),
            ('calico_vxlan_mtu: "1_400"', "error calico_vxlan_mtu type"),
            ('calico_vxlan_mtu: "01400"', "error calico_vxlan_mtu type"),
            ('calico_vxlan_mtu: "+1400"', "error calico_vxlan_mtu type"),
            ('calico_vxlan_mtu: "0x578"', "error calico_vxlan_mtu type"),
            ('calico_vxlan_mtu: "1400.0"', "error calico_vxlan_mtu type"),
            ('calico_vxlan_mtu: "1e3"', "error calico_vxlan_mtu type"),
            ('calico_vxlan_mtu: ""', "error calico_vxlan_mtu type"),
            ("calico_vxlan_mtu: big", "error calico_vxlan_mtu type"),
            ("calico_vxlan_mtu: true", "error calico_vxlan_mtu type"),
            ("calico_vxlan_mtu: [1400]", "error calico_vxlan_mtu type"),
            ("calico_vxlan_mtu: {}", "error calico_vxlan_mtu type"),
        ),
    ),
    "digits are 0 to 9": Rule(
        ("calico_vxlan_mtu: 1400",),
        (
            ("calico_vxlan_mtu: \u0661\u0664\u0660\u0660", "error calico_vxlan_mtu digits"),
            ("calico_vxlan_port: '\uff16\uff14\uff10\uff10\uff10'", "error calico_vxlan_port digits"),
        ),
    ),
    "VXLAN port range": Rule(
        ("calico_vxlan_port: 1025", "calico_vxlan_port: 65535", "calico_vxlan_port: 64000", "calico_vxlan_port: 4789"),
        (
            ("calico_vxlan_port: 1024", "error calico_vxlan_port range"),
            ("calico_vxlan_port: 65536", "error calico_vxlan_port range"),
            ("calico_vxlan_port: -1", "error calico_vxlan_port range"),
            ("calico_vxlan_port: 0", "error calico_vxlan_port range"),
        ),
    ),
    "ports of the bundle's own services": Rule(
        ("calico_vxlan_port: 2378", "adminrouter_grpc_proxy_port: 12380"),
        (
            ("calico_vxlan_port: 2379", "error calico_vxlan_port port-taken"),
            ("calico_vxlan_port: 2380", "error calico_vxlan_port port-taken"),
            ("calico_vxlan_port: 2181", "error calico_vxlan_port port-taken"),
            ("calico_vxlan_port: 62091", "error calico_vxlan_port port-taken"),
            ("adminrouter_grpc_proxy_port: 2379", "error adminrouter_grpc_proxy_port port-taken"),
            ("adminrouter_grpc_proxy_port: 2381", "error adminrouter_grpc_proxy_port port-taken"),
            ("adminrouter_grpc_proxy_port: 179", "error adminrouter_grpc_proxy_port port-taken"),
        ),
    ),
    "ports of DC/OS's services warn": Rule(
        ("calico_vxlan_port: 5052",),
        (
            ("calico_vxlan_port: 5050", "warning calico_vxlan_port port-taken"),
            ("adminrouter_grpc_proxy_port: 61001", "warning adminrouter_grpc_proxy_port port-taken"),
        ),
    ),
    "two configurable ports differ": Rule(
        ("calico_vxlan_port: 12378",),
        (
            (
                "calico_vxlan_port: 12379",
                "error calico_vxlan_port port-taken; error adminrouter_grpc_proxy_port port-taken",
            ),
        ),
    ),
    "gRPC proxy port range": Rule(
        ("adminrouter_grpc_proxy_port: 1", "adminrouter_grpc_proxy_port: 65535"),
        (
            ("adminrouter_grpc_proxy_port: 0", "error adminrouter_grpc_proxy_port range"),
            ("adminrouter_grpc_proxy_port: 65536", "error adminrouter_grpc_proxy_port range"),
        ),
    ),
    "VNI range": Rule(
        ("calico_vxlan_vni: 1", "calico_vxlan_vni: 16777215"),
        (
            ("calico_vxlan_vni: 0", "error calico_vxlan_vni range"),
            ("calico_vxlan_vni: 16777216", "error calico_vxlan_vni range"),
        ),
    ),
    "the overlay's VNI": Rule(
        ("calico_vxlan_vni: 1023", "calico_vxlan_vni: 1025"),
        (
            ("calico_vxlan_vni: 1024", "error calico_vxlan_vni vni-taken"),
            ('calico_vxlan_vni: "1024"', "error calico_vxlan_vni vni-taken"),
        ),
    ),
    "MTU range": Rule(
        ("calico_vxlan_mtu: 552", "calico_veth_mtu: 552", "dcos_overlay_mtu: 65535", _IPIP + "calico_ipinip_mtu: 552"),
        (
            ("calico_vxlan_mtu: 551", "error calico_vxlan_mtu range"),
            ("calico_vxlan_mtu: 65536", "error calico_vxlan_mtu range"),
            ("calico_veth_mtu: 551", "error calico_veth_mtu range"),
            ("dcos_overlay_mtu: 551", "error dcos_overlay_mtu range"),
            (_IPIP + "calico_ipinip_mtu: 551", "error calico_ipinip_mtu range"),
            (overlay(vtep_mtu=551), f"error {_NET}.vtep_mtu range"),
            (overlay(vtep_mtu=70000), f"error {_NET}.vtep_mtu range"),
        ),
    ),
    "a tunnel MTU fits a 1500-byte underlay": Rule(
        ("calico_vxlan_mtu: 1450", _IPIP + "calico_ipinip_mtu: 1480"),
        (
            ("calico_vxlan_mtu: 1451", "warning calico_vxlan_mtu mtu"),
            ("calico_vxlan_mtu: 8950", "warning calico_vxlan_mtu mtu"),
            (_IPIP + "calico_ipinip_mtu: 1481", "warning calico_ipinip_mtu mtu"),
        ),
    ),
    "a veth MTU fits its tunnel": Rule(
        ("calico_veth_mtu: 1450", _IPIP + "calico_veth_mtu: 1480", "calico_vxlan_mtu: 1400\ncalico_veth_mtu: 1400"),
        (
            ("calico_veth_mtu: 1500", "warning calico_veth_mtu mtu; warning calico_vxlan_mtu mtu"),
            (_IPIP + "calico_veth_mtu: 1481", "warning calico_veth_mtu mtu; warning calico_ipinip_mtu mtu"),
            (
                "calico_vxlan_mtu: 1400\ncalico_veth_mtu: 1450",
                "warning calico_veth_mtu mtu; warning calico_vxlan_mtu mtu",
            ),
        ),
    ),
    "other ranges": Rule(
        ("dcos_overlay_config_attempts: 10", "dcos_net_push_ops_timeout: 50"),
        (
            ("dcos_overlay_config_attempts: 11", "error dcos_overlay_config_attempts range"),
            ("dcos_overlay_config_attempts: -1", "error dcos_overlay_config_attempts range"),
            ("dcos_net_push_ops_timeout: 49", "error dcos_net_push_ops_timeout range"),
            ("dcos_net_push_ops_timeout: 120001", "error dcos_net_push_ops_timeout range"),
        ),
    ),
    "values behind a flag that is off are checked, as warnings": Rule(
        (_OFF + "calico_vxlan_mtu: 1400", "enable_lb: false"),
        (
            (_OFF + "calico_vxlan_port: 1", "warning calico_vxlan_port range"),
            (_OFF + "calico_network_cidr: junk", "warning calico_network_cidr network"),
            (_IPIP + "calico_vxlan_vni: 1024", "warning calico_vxlan_vni vni-taken"),
            ("calico_ipinip_mtu: 1", "warning calico_ipinip_mtu range"),
            ("dcos_overlay_enable: false\ndcos_overlay_mtu: x", "warning dcos_overlay_mtu type"),
            ("dcos_overlay_enable: false\n" + overlay(one(name="")), f"warning {_FIRST}.name name-length"),
            ("enable_lb: false\ndcos_l4lb_min_named_ip: x", "warning dcos_l4lb_min_named_ip address"),
            ("calico_etcd_zk_addr: x", "warning calico_etcd_zk_addr endpoint"),
        ),
    ),
    "a network is ADDRESS/PREFIX": Rule(
        (f"{_CIDR}: 10.1.0.0/16", f'{_CIDR}: "10.1.0.0/16"', "dcos_ucr_default_bridge_subnet: 10.9.0.0/24"),
        (
            _cidr("10.1.2.3/16", "host-bits"),
            _cidr("10.1.0.0", "bare-address"),
            _cidr("' 10.1.0.0/16'", "whitespace"),
            _cidr("'10.1.0.0/16 '", "whitespace"),
            _cidr("10.1.0.0 / 16", "whitespace"),
            _cidr("10.1.0.0/255.255.0.0", "netmask"),
            _cidr("10.1.0.0/0.0.255.255", "netmask"),
            _cidr("10.1.0.0/016", "netmask"),
            _cidr("10.1.0.0/33", "prefix"),
            _cidr("10.1.0.0/x", "prefix"),
            _cidr("10.1.0.0/", "prefix"),
            _cidr("010.1.0.0/16", "network"),
            _cidr("10.1.0/16", "network"),
            _cidr("10.1.0.256/16", "network"),
            _cidr("junk", "network"),
            _cidr("''", "network"),
            _cidr("10.1.0.0/\u0661\u0666", "prefix"),
            _cidr("[10.1.0.0/16]", "type"),
            _cidr("10", "type"),
            ("dcos_ucr_default_bridge_subnet: 10.9.0.1/24", "error dcos_ucr_default_bridge_subnet host-bits"),
        ),
    ),
    "a network is of the right family": Rule(
        (overlay(vtep_subnet6="fd77::/64"),),
        (
            _cidr("'fd00::/64'", "family"),
            _cidr("'fd00::'", "family"),
            _cidr("'::/0'", "family"),
            ("dcos_ucr_default_bridge_subnet: '::/0'", "error dcos_ucr_default_bridge_subnet family"),
            (overlay(vtep_subnet="fd77::/64"), f"error {_NET}.vtep_subnet family"),
            (overlay(vtep_subnet6="10.7.0.0/16"), f"error {_NET}.vtep_subnet6 family"),
            (overlay(one(subnet="fd77::/64"), SIX), f"error {_FIRST}.subnet family"),
        ),
    ),
    "calico_network_cidr is chosen": Rule(
        (
            "cluster_name: a\nbootstrap_url: http://b\nmaster_list: [192.0.2.1]\ncalico_network_cidr: 10.0.0.0/16",
            "cluster_name: a\nbootstrap_url: http://b\nmaster_list: [192.0.2.1]\ncalico_enabled: false",
        ),
        (
            (
                "cluster_name: a\nbootstrap_url: http://b\nmaster_list: [192.0.2.1]",
                "warning calico_network_cidr default-network",
            ),
        ),
        is_raw=True,
    ),
    "Calico's network and the overlays": Rule(
        (f"{_CIDR}: 10.0.0.0/8", "dcos_overlay_enable: false\n" + f"{_CIDR}: 10.0.0.0/16"),
        (
            _both(f"{_CIDR}: 9.0.0.0/16", f"{_FIRST}.subnet", _OVERLAY_FLAGS),
            _both(f"{_CIDR}: 9.255.0.0/16", f"{_FIRST}.subnet", _OVERLAY_FLAGS),
            _both(f"{_CIDR}: 8.0.0.0/7\nresolvers: [1.1.1.1]", f"{_FIRST}.subnet", _OVERLAY_FLAGS),
            _both(f"{_CIDR}: 9.0.0.0/8", f"{_FIRST}.subnet", _OVERLAY_FLAGS),
            _both(overlay(one(subnet="172.29.128.0/17"), SIX), f"{_FIRST}.subnet", _OVERLAY_FLAGS),
            _both(overlay(one(), one(name="b", subnet="172.28.0.0/15"), SIX), f"{_SECOND}.subnet", _OVERLAY_FLAGS),
        ),
    ),
    "a disabled overlay over Calico's network warns": Rule(
        (overlay(one(), one(name="b", subnet="10.0.0.0/8", enabled=False), SIX),),
        (
            (
                overlay(one(), one(name="b", subnet="172.29.0.0/16", enabled=False), SIX),
                f"warning {_CIDR} overlap; warning {_SECOND}.subnet overlap; {_WARN_FLAGS}",
            ),
            (
                f"dcos_overlay_enable: false\n{_CIDR}: 9.0.0.0/16",
                f"warning {_CIDR} overlap; warning {_FIRST}.subnet overlap; {_WARN_FLAGS}",
            ),
            (
                f"{_OFF}{_CIDR}: 9.0.0.0/16",
                f"warning {_CIDR} overlap; warning {_FIRST}.subnet overlap; {_WARN_FLAGS}",
            ),
        ),
    ),
    "Calico's network and the rest of the cluster": Rule(
        (
            f"{_CIDR}: 172.30.0.0/16",
            "agent_list: [172.28.255.255, 172.30.0.0]",
            f"{_CIDR}: 172.16.0.0/16",
            f"{_CIDR}: 198.51.101.0/24",
        ),
        (
            _both(f"{_CIDR}: 44.128.0.0/16", f"{_NET}.vtep_subnet", _OVERLAY_FLAGS),
            _both(f"{_CIDR}: 11.5.0.0/16", "dcos_l4lb_min_named_ip", "error dcos_l4lb_max_named_ip overlap"),
            _both(f"{_CIDR}: 172.31.0.0/16", "dcos_ucr_default_bridge_subnet"),
            _both(f"{_CIDR}: 192.0.2.0/26", "master_list[0]", f"error {_CIDR} overlap; error bootstrap_url overlap"),
            _both("agent_list: [172.29.3.4]", "agent_list[0]"),
            _both("public_agent_list: [172.29.3.4]", "public_agent_list[0]"),
            _both("agent_list: [172.29.0.0]", "agent_list[0]"),
            _both("agent_list: [172.29.255.255]", "agent_list[0]"),
            _both("resolvers: [8.8.8.8, 172.29.3.4]", "resolvers[1]"),
            _both("resolvers: ['172.29.3.4:5353']", "resolvers[0]"),
            _both("bootstrap_url: http://172.29.3.4:80", "bootstrap_url"),
        ),
    ),
    "Calico's network and what is taken everywhere": Rule(
        (f"{_CIDR}: 1.0.0.0/16", f"{_CIDR}: 126.0.0.0/16", f"{_CIDR}: 172.18.0.0/16"),
        (
            _cidr("172.17.0.0/16", "overlap"),
            _cidr("172.17.128.0/20", "overlap"),
            _cidr("198.51.100.0/24", "overlap"),
            _cidr("198.51.0.0/16", "overlap"),
            _cidr("127.0.0.0/16", "overlap"),
            _cidr("169.254.0.0/16", "overlap"),
            _cidr("224.0.0.0/16", "overlap"),
            _cidr("239.1.0.0/16", "overlap"),
            _cidr("0.0.0.0/16", "overlap"),
        ),
    ),
    "a pool has a /26 at least": Rule(
        (f"{_CIDR}: 172.29.0.0/26",),
        (_cidr("172.29.0.0/27", "pool-size"), _cidr("172.29.0.0/32", "pool-size")),
    ),
    "a pool has a block for each node": Rule(
        (f"{_CIDR}: 172.29.0.0/25\nagent_list: [192.0.2.12]",),
        (
            (
                f"{_CIDR}: 172.29.0.0/25\nagent_list: [192.0.2.12]\npublic_agent_list: [192.0.2.13]",
                (
                    f"error {_CIDR} pool-size; error master_list pool-size; error agent_list pool-size; "
                    "error public_agent_list pool-size"
                ),
            ),
            (
                f"{_CIDR}: 172.29.0.0/24\nmaster_list: {_ZERO_TEN}",
                f"error {_CIDR} pool-size; error master_list pool-size",
            ),
        ),
    ),
    "overlays do not overlap": Rule(
        (overlay(one(), one(name="b", subnet="10.0.0.0/8"), SIX),),
        (
            (
                overlay(one(), one(name="b", subnet="9.1.0.0/16"), SIX),
                f"error {_FIRST}.subnet overlap; error {_SECOND}.subnet overlap",
            ),
            (
                overlay(one(), one(name="b", subnet="9.1.0.0/16", enabled=False), SIX),
                f"warning {_FIRST}.subnet overlap; warning {_SECOND}.subnet overlap",
            ),
            (
                overlay(one(), {"name": "b6", "subnet6": "fd01:b::/48", "prefix6": 80}, SIX),
                f"error {_SECOND}.subnet6 overlap; error {_NET}.overlays[2].subnet6 overlap",
            ),
        ),
    ),
    "IPv6 networks do not overlap": Rule(
        (overlay(vtep_subnet6="fd02::/64"),),
        (
            (
                overlay(vtep_subnet6="fd01:b::/96"),
                f"error {_SECOND}.subnet6 overlap; error {_NET}.vtep_subnet6 overlap",
            ),
            (
                overlay(vtep_subnet6="fd01:c::/64"),
                (
                    f"error {_NET}.vtep_subnet6 overlap; error dcos_l4lb_min_named_ip6 overlap; "
                    "error dcos_l4lb_max_named_ip6 overlap"
                ),
            ),
            (overlay(vtep_subnet6="fe80::/64"), f"error {_NET}.vtep_subnet6 overlap"),
            (overlay(vtep_subnet6="ff02::/64"), f"error {_NET}.vtep_subnet6 overlap"),
            (overlay(vtep_subnet6="::/64"), f"error {_NET}.vtep_subnet6 overlap"),
            ("resolvers: ['fd01:b::5']", f"warning {_SECOND}.subnet6 overlap; warning resolvers[0] overlap"),
        ),
    ),
    "other overlaps warn": Rule(
        ("dcos_ucr_default_bridge_subnet: 10.9.0.0/24",),
        (
            (
                "dcos_ucr_default_bridge_subnet: 9.9.0.0/24",
                f"warning {_FIRST}.subnet overlap; warning dcos_ucr_default_bridge_subnet overlap",
            ),
            ("dcos_ucr_default_bridge_subnet: 172.17.0.0/24", "warning dcos_ucr_default_bridge_subnet overlap"),
            ("master_list: [9.0.0.1]", f"warning {_FIRST}.subnet overlap; warning master_list[0] overlap"),
            (
                "resolvers: [11.0.0.5]",
                (
                    "warning dcos_l4lb_min_named_ip overlap; "
                    "warning dcos_l4lb_max_named_ip overlap; warning resolvers[0] overlap"
                ),
            ),
        ),
    ),
    "the overlay network is a mapping or its JSON": Rule(
        (overlay(), f"dcos_overlay_network: '{json.dumps(DEFAULT_OVERLAY)}'"),
        (
            ("dcos_overlay_network: nothing", f"error {_NET} type"),
            ("dcos_overlay_network: '{\"overlays\": '", f"error {_NET} type"),
            ('dcos_overlay_network: \'{"a": 1, "a": 2}\'', f"error {_NET} type"),
            ("dcos_overlay_network: '[]'", f"error {_NET} type"),
            ("dcos_overlay_network: []", f"error {_NET} type"),
            ("dcos_overlay_network: 5", f"error {_NET} type"),
            ("dcos_overlay_network: true", f"error {_NET} type"),
        ),
    ),
    "the overlay network is whole": Rule(
        (overlay(without=("vtep_mtu",)),),
        (
            (overlay(without=("vtep_subnet",)), f"error {_NET}.vtep_subnet missing"),
            (overlay(without=("vtep_subnet6",)), f"error {_NET}.vtep_subnet6 missing"),
            (overlay(without=("vtep_mac_oui",)), f"error {_NET}.vtep_mac_oui missing"),
            (overlay(without=("overlays",)), f"error {_NET}.overlays missing"),
            (overlay(overlays=[]), f"error {_NET}.overlays empty"),
            (overlay(one(name=None), SIX, one(subnet="10.0.0.0/8")), f"error {_FIRST}.name missing"),
        ),
    ),
    "types inside the overlay network": Rule(
        (
            overlay(one(prefix=26, enabled=False), one(name="b", subnet="10.0.0.0/8"), SIX)
            + "\ndcos_overlay_network_default_name: b",
        ),
        (
            (overlay(overlays={}), f"error {_NET}.overlays type"),
            (overlay(overlays="x"), f"error {_NET}.overlays type"),
            (overlay(overlays=["x"]), f"error {_FIRST} type"),
            (overlay(vtep_mtu="1500"), f"error {_NET}.vtep_mtu type"),
            (overlay(vtep_mtu=[]), f"error {_NET}.vtep_mtu type"),
            (overlay(vtep_subnet=5), f"error {_NET}.vtep_subnet type"),
            (overlay(one(name=5), SIX), f"error {_FIRST}.name type"),
            (overlay(one(prefix="24"), SIX), f"error {_FIRST}.prefix type"),
            (overlay(one(prefix=True), SIX), f"error {_FIRST}.prefix type"),
            (overlay(one(enabled=1), SIX), f"error {_FIRST}.enabled type"),
            (overlay(one(enabled="true"), SIX), f"error {_FIRST}.enabled type"),
        ),
    ),
    "unknown keys inside the overlay network": Rule(
        (overlay(),),
        (
            (overlay(vtep_subnt="44.0.0.0/8"), f"error {_NET}.vtep_subnt unknown-key"),
            (overlay(one(prefx=24), SIX), f"error {_FIRST}.prefx unknown-key"),
        ),
    ),
    "an agent's prefix lies inside its subnet": Rule(
        (overlay(one(prefix=8), SIX), overlay(one(prefix=32), SIX)),
        (
            (overlay(one(prefix=7), SIX), f"error {_FIRST}.prefix prefix; error {_FIRST}.subnet prefix"),
            (overlay(one(prefix=33), SIX), f"error {_FIRST}.prefix range"),
            (overlay(one(prefix=-1), SIX), f"error {_FIRST}.prefix range"),
            (overlay(one(prefix=None), SIX), f"error {_FIRST}.subnet missing"),
            (overlay(one(), {**SIX, "prefix6": 63}), f"error {_SECOND}.prefix6 prefix; error {_SECOND}.subnet6 prefix"),
            (overlay(one(), {**SIX, "prefix6": 129}), f"error {_SECOND}.prefix6 range"),
            (overlay(one(prefix6=80), SIX), f"error {_FIRST}.prefix6 prefix"),
        ),
    ),
    "an overlay has a subnet": Rule(
        (overlay(one(subnet6="fd01:d::/64", prefix6=80), SIX),),
        ((overlay(one(), {"name": "b"}, SIX), f"error {_SECOND} missing"),),
    ),
    "names of overlays": Rule(
        (overlay(one(), one(name="thirteen-char", subnet="10.0.0.0/8"), SIX),),
        (
            (overlay(one(name=""), SIX), f"error {_FIRST}.name name-length"),
            (overlay(one(name="fourteen-chars"), SIX), f"error {_FIRST}.name name-length"),
            (overlay(one(name="dc os"), SIX), f"error {_FIRST}.name name-characters"),
            (overlay(one(name="dc/os"), SIX), f"error {_FIRST}.name name-characters"),
            (overlay(one(name="dc\u00f6s"), SIX), f"error {_FIRST}.name name-characters"),
            (
                overlay(one(), one(subnet="10.0.0.0/8"), SIX),
                f"error {_FIRST}.name duplicate-name; error {_SECOND}.name duplicate-name",
            ),
        ),
    ),
    "the name of Calico's network": Rule(
        (overlay(one(), one(name="calico2", subnet="10.0.0.0/8"), SIX),),
        (
            (
                overlay(one(), one(name="calico", subnet="10.0.0.0/8"), SIX),
                f"error {_SECOND}.name reserved-name; error calico_enabled reserved-name",
            ),
        ),
    ),
    "the MAC prefix": Rule(
        (overlay(vtep_mac_oui="70:b3:d5:00:00:00"),),
        (
            (overlay(vtep_mac_oui="70:B3:D5"), f"error {_NET}.vtep_mac_oui mac"),
            (overlay(vtep_mac_oui="70-B3-D5-00-00-00"), f"error {_NET}.vtep_mac_oui mac"),
            (overlay(vtep_mac_oui="7G:B3:D5:00:00:00"), f"error {_NET}.vtep_mac_oui mac"),
            (overlay(vtep_mac_oui="71:B3:D5:00:00:00"), f"error {_NET}.vtep_mac_oui mac"),
        ),
    ),
    "default names are names of overlays": Rule(
        (
            overlay(one(name="b"), SIX) + "\ndcos_overlay_network_default_name: b",
            overlay(one()),
            "dcos_overlay_network6_default_name: dcos6",
        ),
        (
            (
                "dcos_overlay_network_default_name: other",
                f"error dcos_overlay_network_default_name no-such-overlay; error {_NET} no-such-overlay",
            ),
            (
                overlay(one(name="b"), SIX),
                f"error dcos_overlay_network_default_name no-such-overlay; error {_NET} no-such-overlay",
            ),
            (
                "dcos_overlay_network6_default_name: other",
                f"error dcos_overlay_network6_default_name no-such-overlay; error {_NET} no-such-overlay",
            ),
            (
                overlay(one(), {**SIX, "name": "b6"}),
                f"warning dcos_overlay_network6_default_name no-such-overlay; warning {_NET} no-such-overlay",
            ),
            (
                "dcos_overlay_network_default_name: dcos6",
                f"warning dcos_overlay_network_default_name no-such-overlay; warning {_NET} no-such-overlay",
            ),
            (
                overlay(one(enabled=False), SIX),
                f"warning dcos_overlay_network_default_name disabled-overlay; warning {_NET} disabled-overlay",
            ),
        ),
    ),
    "addresses": Rule(
        ("dcos_l4lb_min_named_ip: 11.0.0.5", "dcos_l4lb_min_named_ip6: 'FD01:C:0::5'"),
        (
            ("dcos_l4lb_min_named_ip: 11.0.0", "error dcos_l4lb_min_named_ip address"),
            ("dcos_l4lb_min_named_ip: 011.0.0.0", "error dcos_l4lb_min_named_ip address"),
            ("dcos_l4lb_min_named_ip: ' 11.0.0.0'", "error dcos_l4lb_min_named_ip whitespace"),
            ("dcos_l4lb_min_named_ip: 'fd01:c::'", "error dcos_l4lb_min_named_ip family"),
            ("dcos_l4lb_max_named_ip6: 11.0.0.0", "error dcos_l4lb_max_named_ip6 family"),
            ("dcos_l4lb_max_named_ip6: 'fd01:g::'", "error dcos_l4lb_max_named_ip6 address"),
            ("dcos_l4lb_max_named_ip6: 'fe80::1%eth0'", "error dcos_l4lb_max_named_ip6 address"),
        ),
    ),
    "ranges run upwards": Rule(
        ("dcos_l4lb_min_named_ip: 11.255.255.255",),
        (
            (
                "dcos_l4lb_min_named_ip: 12.0.0.0",
                "error dcos_l4lb_min_named_ip order; error dcos_l4lb_max_named_ip order",
            ),
            (
                "dcos_l4lb_max_named_ip6: 'fd01:b:ffff::'",
                "error dcos_l4lb_min_named_ip6 order; error dcos_l4lb_max_named_ip6 order",
            ),
        ),
    ),
    "IPv6 flags agree": Rule(
        ("enable_ipv6: false", "enable_ipv6: false\ndcos_l4lb_enable_ipv6: false"),
        (
            (
                "enable_ipv6: false\ndcos_l4lb_enable_ipv6: true",
                "error dcos_l4lb_enable_ipv6 ipv6; error enable_ipv6 ipv6",
            ),
        ),
    ),
    "words to choose from": Rule(
        (
            "calico_etcd_discovery: zookeeper",
            "calico_docker_network_scope: global",
            "master_discovery: master_http_loadbalancer",
        ),
        (
            ("calico_etcd_discovery: zk", "error calico_etcd_discovery choice"),
            ("calico_docker_network_scope: Local", "error calico_docker_network_scope choice"),
            ("calico_docker_network_scope: 5", "error calico_docker_network_scope type"),
            ("master_discovery: vrrp", "error master_discovery choice"),
        ),
    ),
    "required parameters": Rule(
        ("cluster_name: a\nbootstrap_url: http://b\nmaster_list: [192.0.2.1]\ncalico_network_cidr: 10.0.0.0/16",),
        (
            (
                "calico_network_cidr: 10.0.0.0/16",
                (
                    "error cluster_name missing; error bootstrap_url missing; error master_list missing; "
                    "error master_discovery missing; error calico_etcd_discovery missing"
                ),
            ),
            (
                "cluster_name: a\nbootstrap_url: http://b\nmaster_list: [192.0.2.1]",
                "warning calico_network_cidr default-network",
            ),
            (
                (
                    "cluster_name: a\nbootstrap_url: http://b\ncalico_network_cidr: 10.0.0.0/16\n"
                    "master_discovery: master_http_loadbalancer"
                ),
                "error master_list missing; error calico_etcd_discovery missing",
            ),
            (
                "cluster_name: a\nbootstrap_url: http://b\ncalico_enabled: false",
                "error master_list missing; error master_discovery missing",
            ),
        ),
        is_raw=True,
    ),
    "the cluster's name": Rule(
        ("cluster_name: My Cluster", "cluster_name: 5", "cluster_name: \u00fcber"),
        (
            ("cluster_name: ''", "error cluster_name empty"),
            ('cluster_name: "a\\nb"', "error cluster_name format"),
            ("cluster_name: ' a'", "error cluster_name whitespace"),
            ("cluster_name: true", "error cluster_name type"),
            ("cluster_name: [a]", "error cluster_name type"),
        ),
    ),
    "the bootstrap URL": Rule(
        (
            "bootstrap_url: https://boot.example.com/dcos/",
            "bootstrap_url: file:///opt/dcos",
            "bootstrap_url: 'http://[2001:db8::1]:80/x'",
        ),
        (
            ("bootstrap_url: boot.example.com", "error bootstrap_url url"),
            ("bootstrap_url: ftp://boot", "error bootstrap_url url"),
            ("bootstrap_url: 'http://'", "error bootstrap_url host"),
            ("bootstrap_url: http://boot:0", "error bootstrap_url port"),
            ("bootstrap_url: http://boot:99999", "error bootstrap_url port"),
            ("bootstrap_url: 'http://boot:'", "error bootstrap_url port"),
            ("bootstrap_url: http://192.0.2.300", "error bootstrap_url host"),
            ("bootstrap_url: http://me:pw@boot", "error bootstrap_url url"),
            ("bootstrap_url: http://boot/?a=b", "error bootstrap_url url"),
            ("bootstrap_url: 'http://boot/a b'", "error bootstrap_url url"),
            ("bootstrap_url: 'http://boot/$(id)'", "error bootstrap_url url"),
            ("bootstrap_url: file://host/x", "error bootstrap_url url"),
            ("bootstrap_url: ' http://boot'", "error bootstrap_url whitespace"),
        ),
    ),
    "how many masters": Rule(
        (f"master_list: {_ZERO_TEN}", "master_list: '[\"192.0.2.1\"]'", "master_list:\n- 192.0.2.1"),
        (
            ("master_list: []", "error master_list master-count"),
            ("master_list: [192.0.2.1, 192.0.2.2]", "error master_list master-count"),
            ("master_list: 192.0.2.1", "error master_list type"),
            ("master_list: '[192.0.2.1]'", "error master_list type"),
            ("master_list: {a: b}", "error master_list type"),
        ),
    ),
    "a node's address": Rule(
        ("agent_list: [192.0.2.12, 10.0.0.1]",),
        (
            ("master_list: [master1]", "error master_list[0] address"),
            ("master_list: ['2001:db8::1']", "error master_list[0] family"),
            ("agent_list: [192.0.2.1, 5]", "error agent_list[1] type"),
            ("agent_list: [127.0.0.1]", "error agent_list[0] node-address"),
            ("agent_list: [0.0.0.0]", "error agent_list[0] node-address"),
            ("agent_list: [224.0.0.1]", "error agent_list[0] node-address"),
            ("agent_list: [169.254.0.1]", "error agent_list[0] node-address"),
            ("agent_list: [255.255.255.255]", "error agent_list[0] node-address"),
            ("agent_list: [192.0.2.012]", "error agent_list[0] address"),
        ),
    ),
    "a node is listed once": Rule(
        ("agent_list: [192.0.2.12]\npublic_agent_list: [192.0.2.13]",),
        (
            ("agent_list: [192.0.2.11]", "error agent_list[0] duplicate-node; error master_list[0] duplicate-node"),
            (
                "agent_list: [192.0.2.12]\npublic_agent_list: [192.0.2.12]",
                "error public_agent_list[0] duplicate-node; error agent_list[0] duplicate-node",
            ),
        ),
    ),
    "keys of releases": Rule(
        (
            "release_keys: []",
            f"release_keys: ['ed25519:{'0a' * 32}', 'ed25519:{'0b' * 32}']",
            f"release_keys: '[\"ed25519:{'0a' * 32}\"]'",
        ),
        (
            ("release_keys: ['ed25519:0a']", "error release_keys[0] key"),
            (f"release_keys: ['ed25519:{'0A' * 32}']", "error release_keys[0] key"),
            (f"release_keys: ['rsa:{'0a' * 32}']", "error release_keys[0] key"),
            (f"release_keys: ['ed25519:{'0a' * 32}', '']", "error release_keys[1] key"),
            ("release_keys: [7]", "error release_keys[0] type"),
        ),
    ),
    "resolvers": Rule(
        (
            "resolvers: [1.1.1.1]",
            "resolvers: ['1.1.1.1:5353', '[2001:db8::1]:53']",
            "resolvers: '[\"1.1.1.1\"]'",
        ),
        (
            ("resolvers: []", "error resolvers resolver"),
            ("resolvers: [198.51.100.1]", "error resolvers[0] resolver"),
            ("resolvers: ['198.51.100.3:53']", "error resolvers[0] resolver"),
            ("resolvers: [dns.example.com]", "error resolvers[0] address"),
            ("resolvers: ['1.1.1.1:0']", "error resolvers[0] port"),
            ("resolvers: ['1.1.1.1:65536']", "error resolvers[0] port"),
            ("resolvers: ['1.1.1.1:']", "error resolvers[0] port"),
            ("resolvers: 1.1.1.1", "error resolvers type"),
        ),
    ),
    "ZooKeeper's addresses": Rule(
        (
            "calico_etcd_discovery: zookeeper\ncalico_etcd_zk_addr: zk-1.zk:2181,zk-2.zk:2181",
            "calico_etcd_zk_addr: '[2001:db8::1]:2181'",
        ),
        (
            ("calico_etcd_discovery: zookeeper\ncalico_etcd_zk_addr: zk", "error calico_etcd_zk_addr endpoint"),
            ("calico_etcd_discovery: zookeeper\ncalico_etcd_zk_addr: 'zk:1,'", "error calico_etcd_zk_addr endpoint"),
            ("calico_etcd_discovery: zookeeper\ncalico_etcd_zk_addr: 'zk:0'", "error calico_etcd_zk_addr port"),
            ("calico_etcd_discovery: zookeeper\ncalico_etcd_zk_addr: 'z k:1'", "error calico_etcd_zk_addr whitespace"),
            ("calico_etcd_discovery: zookeeper\ncalico_etcd_zk_addr: '-x:1'", "error calico_etcd_zk_addr host"),
        ),
    ),
    "the ip-detect script": Rule(
        ('ip_detect_contents: "#!/bin/sh\\necho 192.0.2.1"', "ip_detect_contents: |\n  #!/bin/sh\n  echo 192.0.2.1"),
        (
            ("ip_detect_contents: echo 192.0.2.1", "error ip_detect_contents script"),
            ("ip_detect_contents: ''", "error ip_detect_contents script"),
            ("ip_detect_contents: 5", "error ip_detect_contents type"),
            ("ip_detect_filename: /nonexistent/ip-detect", "error ip_detect_filename unreadable"),
            ("ip_detect_filename: /", "error ip_detect_filename unreadable"),
            ("ip_detect_filename: ''", "error ip_detect_filename empty"),
        ),
    ),
    "keys": Rule(
        ("oauth_enabled: yes", "rexray_config: {a: [010, ~]}", "exhibitor_zk_hosts: 1.5", "ui_branding: {on: 1}"),
        (
            ("calico_netwrok_cidr: 1", "error calico_netwrok_cidr unknown-key"),
            ("Calico_Enabled: true", "error Calico_Enabled unknown-key"),
            ("calico-enabled: true", "error calico-enabled unknown-key"),
            ("zzz: 1", "error zzz unknown-key"),
            ("x_mine: yes", "warning x_mine extension-key"),
            ("no_such_key_allowed: 1", "warning no_such_key_allowed allowed-key"),
            ("5: 1", "error  yaml-key"),
            ("yes: 1", "error  yaml-key"),
            ("~: 1", "error  yaml-key"),
            ("? \n: 1", "error  yaml-key"),
            ("? [a]\n: 1", "error  yaml-key"),
        ),
    ),
    "keys are given once": Rule(
        ("oauth_enabled: true\nloglevel: 1",),
        (
            ("calico_veth_mtu: 1400\ncalico_veth_mtu: 1450", "error calico_veth_mtu duplicate-key"),
            ("loglevel: 1\nloglevel: 1", "error loglevel duplicate-key"),
            ("rexray_config: {a: 1, a: 2}", "error rexray_config.a duplicate-key"),
            (overlay()[:-1] + ', "vtep_mtu": 1}', f"error {_NET}.vtep_mtu duplicate-key"),
        ),
    ),
    "anchors, aliases and merges": Rule(
        (
            "rexray_config: &a [1]\nui_branding: *a",
            "rexray_config: &a {b: 1}\nui_branding: {<<: *a, b: 2}",
            "rexray_config: &a {b: 1}\nui_branding: {<<: [*a, {c: 2}]}",
        ),
        (("ui_branding: {<<: 5}", "error ui_branding yaml-merge"),),
    ),
    "the file as a whole": Rule(
        (
            (
                "%YAML 1.1\n---\ncluster_name: a\nbootstrap_url: http://b\nmaster_list: [192.0.2.1]\n"
                "calico_network_cidr: 10.0.0.0/16\n...\n"
            ),
        ),
        (
            ("", "error  empty"),
            ("# nothing\n", "error  empty"),
            ("---\n", "error  not-a-mapping"),
            ("just text", "error  not-a-mapping"),
            ("- a\n- b", "error  not-a-mapping"),
            ("a: 1\n---\nb: 2", "error  yaml-documents"),
            ("a: b: c", "error  yaml-syntax"),
            ("a:\n\tb: 1", "error  yaml-syntax"),
            ("a: [1, 2", "error  yaml-syntax"),
            ('a: "x', "error  yaml-syntax"),
            ("a: @x", "error  yaml-syntax"),
            ("a: *x", "error  yaml-alias"),
            ("a: &x [*x]", "error  yaml-alias"),
            ("a: \x00", "error  not-text"),
            ("a: \x07", "error  not-text"),
            ("a: \ud800", "error  not-text"),
            ("a: " + "[" * 100 + "]" * 100, "error  too-deep"),
            ("a: " + "{a: " * 100 + "}" * 100, "error  too-deep"),
            ("- " * 100 + "a", "error  too-deep"),
            ("# " + "x" * (1 << 20), "error  too-large"),
            (
                (
                    "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                    "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                    "e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]"
                ),
                "error  too-large",
            ),
        ),
        is_raw=True,
    ),
    "several at once": Rule(
        ("calico_vxlan_mtu: 1400\ncalico_vxlan_vni: 5\nresolvers: [1.1.1.1]",),
        (
            (
                "calico_vxlan_mtu: yes\ncalico_vxlan_vni: 1024\nzzz: 1\nagent_list: [x, 5]",
                (
                    "error calico_vxlan_mtu yaml; error calico_vxlan_vni vni-taken; error zzz unknown-key; "
                    "error agent_list[0] address; error agent_list[1] type"
                ),
            ),
            (
                overlay(one(prefix="24", enabled=1), SIX, vtep_mac_oui="x") + f"\n{_CIDR}: 9.0.0.0/16",
                (
                    f"error {_FIRST}.prefix type; error {_FIRST}.enabled type; error {_NET}.vtep_mac_oui mac; "
                    f"error {_CIDR} overlap; error {_FIRST}.subnet overlap; {_OVERLAY_FLAGS}"
                ),
            ),
        ),
    ),
}
