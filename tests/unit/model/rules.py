"""The validation rules of the data model, each with documents it accepts and documents it refuses.

A rule starts from the smallest valid document of its kind. A case is the changes it makes: a mapping of dotted path to
value (`ABSENT` removes a member), or, where the rule concerns one member, just that member's value. A refused document
must have a problem at (or below) the rule's member or, where a case says so, elsewhere.

`python -m tests.unit.model.rules` prints the table rule -> number of cases.
"""

import copy
from typing import Any, NamedTuple


class _Absent:
    def __repr__(self) -> str:  # test ids carry it, and must be the same in every process
        return "ABSENT"


ABSENT = _Absent()
V3 = "projectcalico.org/v3"
_ALLOW = {"action": "Allow"}

SMALLEST: dict[str, dict[str, Any]] = {
    "BGPConfiguration": {"metadata": {"name": "default"}, "spec": {}},
    "BGPPeer": {"metadata": {"name": "a"}, "spec": {"peerIP": "192.0.2.1", "asNumber": 64512}},
    "ClusterInformation": {"metadata": {"name": "default"}, "spec": {}},
    "FelixConfiguration": {"metadata": {"name": "default"}, "spec": {}},
    "GlobalNetworkPolicy": {"metadata": {"name": "a"}, "spec": {"ingress": [_ALLOW], "egress": []}},
    "GlobalNetworkSet": {"metadata": {"name": "a"}, "spec": {"nets": ["10.0.0.0/8"]}},
    "HostEndpoint": {"metadata": {"name": "a"}, "spec": {"node": "n", "interfaceName": "eth0"}},
    "IPPool": {"metadata": {"name": "a"}, "spec": {"cidr": "10.0.0.0/16"}},
    "KubeControllersConfiguration": {"metadata": {"name": "default"}, "spec": {"controllers": {}}},
    "NetworkPolicy": {"metadata": {"name": "a", "namespace": "default"}, "spec": {"ingress": [_ALLOW], "egress": []}},
    "NetworkSet": {"metadata": {"name": "a", "namespace": "default"}, "spec": {}},
    "Node": {"metadata": {"name": "a"}, "spec": {}},
    "Profile": {"metadata": {"name": "a"}, "spec": {"ingress": [_ALLOW], "egress": []}},
    "WorkloadEndpoint": {
        "metadata": {"namespace": "default"},
        "spec": {
            "node": "n",
            "orchestrator": "cni",
            "containerID": "c",
            "endpoint": "eth0",
            "interfaceName": "cali1",
            "ipNetworks": ["10.0.0.1/32"],
        },
    },
}


class Rule(NamedTuple):
    """One rule: what it says, of which kind and member, and its cases."""

    name: str
    kind: str
    member: str
    accepts: list[Any]
    refuses: list[Any]


def document(rule: Rule, case: Any) -> dict[str, Any]:
    """The document of one case."""
    result: dict[str, Any] = {"kind": rule.kind, "apiVersion": V3, **copy.deepcopy(SMALLEST[rule.kind])}
    changes = case if isinstance(case, Change) else Change({rule.member: case})
    for path, value in changes.members.items():
        *parents, last = path.split(".")
        place: Any = result
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        if value is ABSENT:
            place.pop(last, None)
        else:
            place[int(last) if isinstance(place, list) else last] = value
    return result


class Change(NamedTuple):
    """Several members changed at once; `at` is where the problem shows when not at the rule's member."""

    members: dict[str, Any]
    at: str = ""


def _also(at: str = "", /, **members: Any) -> Change:
    return Change({name.replace("__", "."): value for name, value in members.items()}, at)


def _rule0(**members: Any) -> Change:
    """The first ingress rule, with members of it."""
    return Change({"spec.ingress": [{"action": "Allow", **members}]})


def _entity_member(name: str, good: list[Any], bad: list[Any], **rule: Any) -> Rule:
    def cases(values: list[Any]) -> list[Any]:
        return [_rule0(**rule, **{end: {name: value}}) for value in values for end in ("source", "destination")]

    return Rule(f"rule {name}", "NetworkPolicy", "spec.ingress", cases(good), cases(bad))


_TCP = {"protocol": "TCP"}
_X64, _X63 = "x" * 64, "x" * 63
_LONG = ".".join(["a" * 60] * 5)
_SELECTORS = (["", "all()", "a == 'b'", "has(a) && !b in {'c'}"], ["a =", "a == b", "global()", "has (a)", "a\n"])
_LOG = (["Debug", "Info", "Warning", "Error", "Fatal"], ["debug", "INFO", "Trace", "None"])
_MACS = (
    ["02:11:22:33:44:55", "02-11-22-33-44-55", "0211.2233.4455", "02:11:22:33:44:55:66:77", ":".join(["aB"] * 20)],
    ["02:11:22:33:44", "0211:2233:4455", "02:11-22:33:44:55", "zz:11:22:33:44:55", "021122334455"],
)
_AS = ([1, 64512, 4294967295, "64512", "1.10", "0.1"], [-1, 4294967296, "x", "1.65536", 1.5, "1.2.3", True])
_DURATIONS = (
    ["0s", "90s", "1m30s", "500ms", "1.5h", "-1s", "0", "1h2m3.5s", "10us", "1µs"],
    ["1", "5 s", "s", 5, "1d"],
)
_IP4 = (["10.0.0.1", "192.168.1.255"], ["10.0.0.256", "10.0.0.1/32", "fd00::1", "host", "10.0.0"])
_TEXT_PORTS = [80, 1, 65535, "80", "1:65535", "8080:8081", "http", "a-1"]
_BAD_PORTS = [0, 65536, -1, "0", "2:1", "1:65536", "UP", "12345678901234567", "a--b", "-a", "a_b", "a b", 1.5, True, []]

_COMMON = [
    Rule("kind is known, in upstream's spelling", "IPPool", "kind", ["IPPool"], ["ippool", "Pool", "", None, 7]),
    Rule("apiVersion is v3's", "IPPool", "apiVersion", [V3], ["v1", "projectcalico.org/v4", "", None]),
    Rule(
        "name: DNS labels joined by dots, at most 253 bytes",
        "IPPool",
        "metadata.name",
        ["a", "a.b", "a-b.c-1", "0", "10.0.0.5", "a" * 253],
        ["", "A", "a_b", "-a", "a-", ".a", "a..b", "a.-b", "a/b", "ä", "a" * 254, ABSENT],
    ),
    Rule(
        "a namespaced kind has a namespace", "NetworkSet", "metadata.namespace", ["default", "x"], ["", ABSENT, "a/b"]
    ),
    Rule("a cluster-wide kind has none", "Profile", "metadata.namespace", ["", ABSENT], ["default"]),
    Rule(
        "label key is a qualified name",
        "Node",
        "metadata.labels",
        [{"a": "b"}, {"a.b/c": "d"}, {"A_b-c.d": "e"}, {_X63: ""}, {"a1/b2": "c"}],
        [{"": "b"}, {_X64: "b"}, {"A.b/c": "d"}, {"a/": "b"}, {"a/b/c": "d"}, {"-a": "b"}, {"a-": "b"}, {"a b": "c"}],
    ),
    Rule(
        "label value is at most 63 letters, digits, '-', '_', '.'",
        "Node",
        "metadata.labels",
        [{"a": ""}, {"a": _X63}, {"a": "B_c.d-1"}, {"a": 1}, {"a": True}],
        [{"a": _X64}, {"a": "-b"}, {"a": "b-"}, {"a": "b c"}, {"a": "b/c"}, {"a": ["b"]}],
    ),
    Rule(
        "annotation key is a qualified name in any case",
        "Node",
        "metadata.annotations",
        [{"A/b": "any text: \n ok"}, {"config.projectcalico.org/Item": ""}],
        [{"a b": ""}, {"/b": ""}, {_X64: ""}],
    ),
    Rule(
        "annotations are at most 256 KiB", "Node", "metadata.annotations", [{"a": "x" * 262143}], [{"a": "x" * 262144}]
    ),
    Rule(
        "creationTimestamp is RFC 3339",
        "Node",
        "metadata.creationTimestamp",
        [None, "2019-12-23T04:16:55Z", "2019-12-23T04:16:55+02:00", "2019-12-23T04:16:55.5Z"],
        ["yesterday", "2019-12-23", "2019-13-23T04:16:55Z", 5],
    ),
    Rule(
        "members are known ones, in any case",
        "IPPool",
        "spec",
        [{"CIDR": "10.0.0.0/16"}, {"cidr": "10.0.0.0/16", "natoutgoing": True}],
        [
            {"cidr": "10.0.0.0/16", "nat": True},
            {"cidrs": "10.0.0.0/16"},
            {"cidr": "10.0.0.0/16", "CIDR": "10.0.0.0/16"},
        ],
    ),
    Rule(
        "metadata has known members only", "Node", "metadata", [{"name": "a", "uid": "x"}], [{"name": "a", "label": {}}]
    ),
    Rule("only some kinds have a status", "Node", "status", [{}, ABSENT], ["x", {"ready": True}]),
    Rule("no status elsewhere", "IPPool", "status", [ABSENT], [{}]),
    Rule("types: flag", "IPPool", "spec.natOutgoing", [True, False, None], ["True", "yes", 1, 0, []]),
    Rule("types: whole number", "FelixConfiguration", "spec.ipipMTU", [0, 1440, None], ["1440", 1440.0, True, 1 << 63]),
    Rule(
        "types: number", "NetworkPolicy", "spec.order", [0, 1.5, -3, 1e9, None], ["1", True, float("inf"), float("nan")]
    ),
    Rule("types: text", "Profile", "metadata.uid", ["x", "", None, 5], [[], {}]),
    Rule("types: list", "NetworkPolicy", "spec.ingress", [[], None], [{}, "x", "+ action: Allow", 1]),
    Rule("types: mapping", "Node", "spec", [{}, None, ABSENT], ["x", "", 1, 0, False, [], ["y"]]),
]

_RULES = [
    Rule(
        "rule action",
        "NetworkPolicy",
        "spec.ingress.0.action",
        ["Allow", "Deny", "Log", "Pass"],
        ["", ABSENT, "allow", "Drop", "next-tier"],
    ),
    Rule("rule ipVersion", "NetworkPolicy", "spec.ingress.0.ipVersion", [4, 6, ABSENT], [0, 5, "4"]),
    Rule(
        "rule protocol",
        "NetworkPolicy",
        "spec.ingress.0.protocol",
        ["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite", 1, 255, "17"],
        [0, 256, -1, "0", "300", "tcp", "Tcp", "GRE", "", 1.5, True],
    ),
    Rule("rule notProtocol", "Profile", "spec.ingress.0.notProtocol", ["TCP", 47, "1"], ["gre", 0, 256]),
    Rule(
        "ICMP type 0 to 254 and code 0 to 255",
        "NetworkPolicy",
        "spec.ingress",
        [
            _rule0(protocol="ICMP", icmp=icmp)
            for icmp in ({"type": 0}, {"type": 254, "code": 255}, {"type": 8, "code": 0})
        ],
        [_rule0(protocol="ICMP", icmp=icmp) for icmp in ({"type": 255}, {"type": -1}, {"type": 1, "code": 256})],
    ),
    Rule(
        "ICMP code needs a type",
        "NetworkPolicy",
        "spec.ingress",
        [_rule0(notICMP={"type": 1, "code": 1}), _rule0(notICMP={})],
        [_rule0(notICMP={"code": 1}), _rule0(protocol="ICMP", icmp={"code": 0})],
    ),
    Rule(
        "ICMP members need protocol ICMP or ICMPv6 by name; notICMP does not",
        "NetworkPolicy",
        "spec.ingress",
        [_rule0(protocol="ICMPv6", icmp={"type": 1}), _rule0(notICMP={"type": 1}), _rule0(protocol="TCP", notICMP={})],
        [_rule0(icmp={"type": 1}), _rule0(protocol=1, icmp={"type": 1}), _rule0(protocol="TCP", icmp={"type": 1})],
    ),
    Rule(
        "ICMP is IPv4's, ICMPv6 IPv6's",
        "NetworkPolicy",
        "spec.ingress",
        [_rule0(protocol="ICMP", ipVersion=4), _rule0(notProtocol="ICMPv6", ipVersion=6), _rule0(protocol="ICMPv6")],
        [
            _rule0(protocol="ICMP", ipVersion=6),
            _rule0(notProtocol="ICMP", ipVersion=6),
            _rule0(protocol="ICMPv6", ipVersion=4),
        ],
    ),
    _entity_member("ports", [[one] for one in _TEXT_PORTS], [[one] for one in _BAD_PORTS], **_TCP),
    _entity_member("notPorts", [[80, "http"]], [[0], ["x y"]], protocol=17),
    Rule(
        "ports need a protocol that has them",
        "NetworkPolicy",
        "spec.ingress",
        [_rule0(protocol=one, source={"ports": [1]}) for one in ("TCP", "UDP", "SCTP", 6, 17, 132)],
        [
            *[_rule0(protocol=one, source={"ports": [1]}) for one in ("ICMP", "UDPLite", 1)],
            *[_rule0(**{end: {name: [1]}}) for end in ("source", "destination") for name in ("ports", "notPorts")],
        ],
    ),
    _entity_member(
        "nets",
        [["10.0.0.0/8"], ["10.0.0.1/32", "0.0.0.0/0"], ["fd00::/8"]],
        [
            ["10.0.0.1/8"],
            ["10.0.0.1"],
            ["x"],
            ["10.0.0.0/33"],
            ["10.0.0.0/"],
            ["10.0.0.0/255.0.0.0"],
            [""],
            ["fd00::%1/8"],
        ],
    ),
    _entity_member("notNets", [["10.0.0.0/8"]], [["10.0.0.1/8"], ["10.0.0.1"]]),
    Rule(
        "all nets of a rule are of one family, that of ipVersion",
        "NetworkPolicy",
        "spec.ingress",
        [
            _rule0(source={"nets": ["10.0.0.0/8"]}, destination={"notNets": ["10.0.0.0/9"]}),
            _rule0(ipVersion=6, source={"nets": ["fd00::/8"]}),
        ],
        [
            _rule0(source={"nets": ["10.0.0.0/8", "fd00::/8"]}),
            _rule0(source={"nets": ["10.0.0.0/8"]}, destination={"notNets": ["fd00::/8"]}),
            _rule0(ipVersion=6, source={"nets": ["10.0.0.0/8"]}),
            _rule0(ipVersion=4, destination={"notNets": ["fd00::/8"]}),
        ],
    ),
    _entity_member("selector", *_SELECTORS),
    _entity_member("notSelector", *_SELECTORS),
    _entity_member("namespaceSelector", *_SELECTORS),
    _entity_member(
        "serviceAccounts", [{"names": ["a"]}, {"selector": "has(a)"}, {}], [{"selector": "a ="}, {"name": "a"}]
    ),
    Rule(
        "http methods are given once each",
        "NetworkPolicy",
        "spec.ingress",
        [_rule0(http={"methods": ["GET", "PUT"]}), _rule0(http={})],
        [_rule0(http={"methods": ["GET", "GET"]})],
    ),
    Rule(
        "an http path is one of exact and prefix, from '/', without space, '?' and '#'",
        "NetworkPolicy",
        "spec.ingress",
        [_rule0(http={"paths": [{"exact": "/a"}, {"prefix": "/"}]})],
        [
            _rule0(http={"paths": [path]})
            for path in (
                {},
                {"exact": "/a", "prefix": "/b"},
                {"exact": "a"},
                {"prefix": "/a b"},
                {"exact": "/?"},
                {"exact": "/#"},
            )
        ],
    ),
    Rule(
        "http needs TCP or no protocol",
        "NetworkPolicy",
        "spec.ingress",
        [_rule0(http={}, protocol="TCP"), _rule0(http={})],
        [_rule0(http={}, protocol="UDP"), _rule0(http={}, protocol=6)],
    ),
    Rule(
        "http is for Allow rules",
        "NetworkPolicy",
        "spec.ingress",
        [_rule0(http={})],
        [_rule0(http={}, action=one) for one in ("Deny", "Log", "Pass")],
    ),
    Rule(
        "http is not for egress (NetworkPolicy)",
        "NetworkPolicy",
        "spec.egress",
        [[{"action": "Allow"}]],
        [[{"action": "Allow", "http": {}}]],
    ),
    Rule(
        "http is not for egress (GlobalNetworkPolicy)",
        "GlobalNetworkPolicy",
        "spec.egress",
        [[{"action": "Allow"}]],
        [[{"action": "Allow", "http": {}}]],
    ),
    Rule(
        "rule annotations",
        "Profile",
        "spec.ingress.0.metadata",
        [{"annotations": {"a": "b"}}, {}],
        [{"annotations": {"a b": ""}}, {"annotations": {"a": "x" * 262144}}, {"labels": {}}],
    ),
]

_POLICIES = [
    Rule(
        "GlobalNetworkPolicy name is one label",
        "GlobalNetworkPolicy",
        "metadata.name",
        ["a", "a-1"],
        ["a.b", "knp.default.a", "A", "a" * 254],
    ),
    Rule(
        "NetworkPolicy name is one label, or Kubernetes' or OpenStack's",
        "NetworkPolicy",
        "metadata.name",
        ["a", "knp.default.a", "ossg.default.a.b-c"],
        ["a.b", "knp.a", "knp.default.", "ossg.other.a", "default.a"],
    ),
    Rule(
        "types are Ingress and Egress, once each (NetworkPolicy)",
        "NetworkPolicy",
        "spec.types",
        [[], ["Ingress"], ["Egress"], ["Egress", "Ingress"]],
        [["ingress"], ["Ingress", "Ingress"], ["Both"], [""]],
    ),
    Rule(
        "types are Ingress and Egress, once each (GlobalNetworkPolicy)",
        "GlobalNetworkPolicy",
        "spec.types",
        [["Ingress"], ["Egress", "Ingress"]],
        [["Egress", "Egress"], ["egress"]],
    ),
    Rule("policy selector (NetworkPolicy)", "NetworkPolicy", "spec.selector", *_SELECTORS),
    Rule("policy selector (GlobalNetworkPolicy)", "GlobalNetworkPolicy", "spec.selector", *_SELECTORS),
    Rule("serviceAccountSelector", "NetworkPolicy", "spec.serviceAccountSelector", *_SELECTORS),
    Rule("namespaceSelector", "GlobalNetworkPolicy", "spec.namespaceSelector", *_SELECTORS),
    Rule("namespaceSelector is not for NetworkPolicy", "NetworkPolicy", "spec.namespaceSelector", [ABSENT], ["all()"]),
    Rule(
        "doNotTrack and preDNAT exclude each other",
        "GlobalNetworkPolicy",
        "spec.preDNAT",
        [_also(spec__doNotTrack=True, spec__applyOnForward=True), _also(spec__preDNAT=True, spec__applyOnForward=True)],
        [_also(spec__doNotTrack=True, spec__preDNAT=True, spec__applyOnForward=True)],
    ),
    Rule(
        "preDNAT has no egress rules",
        "GlobalNetworkPolicy",
        "spec.egress",
        [_also(spec__preDNAT=True, spec__applyOnForward=True, spec__egress=[])],
        [_also(spec__preDNAT=True, spec__applyOnForward=True, spec__egress=[_ALLOW])],
    ),
    Rule(
        "preDNAT has no type Egress",
        "GlobalNetworkPolicy",
        "spec.types",
        [_also(spec__preDNAT=True, spec__applyOnForward=True, spec__types=["Ingress"])],
        [_also(spec__preDNAT=True, spec__applyOnForward=True, spec__types=["Egress", "Ingress"])],
    ),
    Rule(
        "preDNAT and doNotTrack need applyOnForward",
        "GlobalNetworkPolicy",
        "spec.applyOnForward",
        [_also(spec__doNotTrack=True, spec__applyOnForward=True), True, False],
        [_also(spec__doNotTrack=True), _also(spec__preDNAT=True, spec__applyOnForward=False)],
    ),
    Rule(
        "labelsToApply are labels",
        "Profile",
        "spec.labelsToApply",
        [{"a": ""}, {"a/b": "c"}],
        [{"a b": ""}, {"a": "b "}],
    ),
]

_POOLS = [
    Rule(
        "cidr is a subnet with a length, without host bits",
        "IPPool",
        "spec.cidr",
        ["10.0.0.0/16", "172.29.0.0/16", "fd00::/64", "10.0.0.0/26"],
        ["", ABSENT, "10.0.0.0", "x", "10.0.0.1/16", "10.0.0.0/33", "10.0.0.0/x", "fd00::1/64"],
    ),
    Rule(
        "cidr is not link-local",
        "IPPool",
        "spec.cidr",
        ["169.253.0.0/16"],
        ["169.254.0.0/16", "169.254.1.0/24", "168.0.0.0/7", "fe80::/64", "fe00::/8"],
    ),
    Rule("blockSize of IPv4 is 20 to 32", "IPPool", "spec.blockSize", [0, 20, 26, 32], [19, 33, -1, 122]),
    Rule(
        "blockSize of IPv6 is 116 to 128",
        "IPPool",
        "spec.blockSize",
        [_also(spec__cidr="fd00::/64", spec__blockSize=size) for size in (0, 116, 128)],
        [_also(spec__cidr="fd00::/64", spec__blockSize=size) for size in (115, 129, 26)],
    ),
    Rule(
        "an enabled pool holds a block",
        "IPPool",
        "spec.cidr",
        [_also(spec__cidr="10.0.0.0/28", spec__disabled=True), _also(spec__cidr="10.0.0.0/28", spec__blockSize=28)],
        ["10.0.0.0/27", "fd00::/123", _also(spec__cidr="10.0.0.0/21", spec__blockSize=20)],
    ),
    Rule(
        "ipipMode", "IPPool", "spec.ipipMode", ["", "Always", "CrossSubnet", "Never"], ["always", "Off", "cross-subnet"]
    ),
    Rule("vxlanMode", "IPPool", "spec.vxlanMode", ["", "Always", "CrossSubnet", "Never"], ["always", "On"]),
    Rule(
        "not both IPIP and VXLAN",
        "IPPool",
        "spec.ipipMode",
        [_also(spec__ipipMode="Always", spec__vxlanMode="Never"), _also(spec__vxlanMode="CrossSubnet")],
        [
            _also(spec__ipipMode="Always", spec__vxlanMode="Always"),
            _also(spec__ipipMode="CrossSubnet", spec__vxlanMode="Always"),
        ],
    ),
    Rule(
        "no IPIP on IPv6",
        "IPPool",
        "spec.ipipMode",
        [_also(spec__cidr="fd00::/64", spec__ipipMode="Never")],
        [_also(spec__cidr="fd00::/64", spec__ipipMode="Always")],
    ),
    Rule(
        "no VXLAN on IPv6",
        "IPPool",
        "spec.vxlanMode",
        [_also(spec__cidr="fd00::/64", spec__vxlanMode="Never")],
        [_also(spec__cidr="fd00::/64", spec__vxlanMode="CrossSubnet")],
    ),
    Rule("pool nodeSelector", "IPPool", "spec.nodeSelector", *_SELECTORS),
    Rule("legacy ipip is absent", "IPPool", "spec.ipip", [ABSENT, None], [{}, {"enabled": True}]),
    Rule("legacy nat-outgoing is false", "IPPool", "spec.nat-outgoing", [ABSENT, False], [True]),
]

_NODES = [
    Rule("bgp is not empty", "Node", "spec.bgp", [None, {"asNumber": 1}], [{}, {"ipv4Address": ""}]),
    Rule("node asNumber", "Node", "spec.bgp.asNumber", *_AS),
    Rule(
        "node ipv4Address", "Node", "spec.bgp.ipv4Address", ["10.0.0.5/24", "10.0.0.5"], ["fd00::1", "10.0.0.5/33", "x"]
    ),
    Rule(
        "node ipv6Address",
        "Node",
        "spec.bgp.ipv6Address",
        ["fd00::5/64", "fd00::5"],
        ["10.0.0.5", "fd00::5/129", "fd00::5%1"],
    ),
    Rule("node ipv4IPIPTunnelAddr", "Node", "spec.bgp.ipv4IPIPTunnelAddr", *_IP4),
    Rule("node routeReflectorClusterID", "Node", "spec.bgp.routeReflectorClusterID", *_IP4),
    Rule("node ipv4VXLANTunnelAddr", "Node", "spec.ipv4VXLANTunnelAddr", *_IP4),
    Rule("node vxlanTunnelMACAddr", "Node", "spec.vxlanTunnelMACAddr", *_MACS),
    Rule(
        "node orchRefs",
        "Node",
        "spec.orchRefs",
        [[{"nodeName": "a", "orchestrator": "k8s"}], []],
        [[{"node": "a"}], ["x"]],
    ),
    Rule("node wireguard address", "Node", "spec.wireguard.interfaceIpv4Address", *_IP4),
    Rule(
        "node wireguardPublicKey is 32 bytes in base64",
        "Node",
        "status.wireguardPublicKey",
        ["A" * 43 + "="],
        ["AAAA", "!" * 44, "A" * 44],
    ),
]

_ENDPOINT_PORTS = (
    [[{"name": "http", "protocol": "TCP", "port": 80}], [{"name": "a1", "protocol": 17, "port": 65535}]],
    [
        [{"name": "http", "protocol": "ICMP", "port": 80}],
        [{"name": "HTTP", "protocol": "TCP", "port": 80}],
        [{"name": "80", "protocol": "TCP", "port": 80}],
        [{"name": "http", "protocol": "TCP", "port": 0}],
        [{"name": "http", "protocol": "TCP"}],
        [{"name": "http", "protocol": "tcp", "port": 80}],
        [{"name": "http", "protocol": "TCP", "port": 65536}],
        [{"protocol": "TCP", "port": 80}],
        [{"name": "http", "port": 80}],
    ],
)
_PROFILE_NAMES = ([["a"], ["a.b", "kns.default"]], [["A"], ["a_b"], [""]])

_ENDPOINTS = [
    Rule(
        "workload interfaceName",
        "WorkloadEndpoint",
        "spec.interfaceName",
        ["cali0a1b", "*", "a.b-c_d"],
        ["", ABSENT, "x" * 16, "a b", "a/b"],
    ),
    Rule(
        "containerID",
        "WorkloadEndpoint",
        "spec.containerID",
        ["0a1b-22", "a"],
        ["-a", "a-", "a_b", "a.b", ""],
    ),
    Rule("workload node name", "WorkloadEndpoint", "spec.node", ["10.0.0.5", "a-b"], ["A", "a_b", "", "-a"]),
    Rule("workload orchestrator", "WorkloadEndpoint", "spec.orchestrator", ["cni", "CNI".lower()], ["CNI", "", "a b"]),
    Rule("workload endpoint", "WorkloadEndpoint", "spec.endpoint", ["eth0"], ["", "Eth0", "a_b"]),
    Rule(
        "pod of k8s",
        "WorkloadEndpoint",
        "spec.pod",
        [_also(spec__orchestrator="k8s", spec__pod="a.b-c")],
        [_also(spec__orchestrator="k8s"), _also(spec__orchestrator="k8s", spec__pod="A")],
    ),
    Rule(
        "workload of others",
        "WorkloadEndpoint",
        "spec.workload",
        [_also(spec__orchestrator="x", spec__workload="w"), _also(spec__orchestrator="libnetwork")],
        [_also(spec__orchestrator="x"), _also(spec__orchestrator="x", spec__workload="W")],
    ),
    Rule(
        "endpoint name is made of its members",
        "WorkloadEndpoint",
        "metadata.name",
        [
            ABSENT,
            "n-cni-c-eth0",
            _also(spec__containerID="0a1b-22", spec__node="10.0.0.5", metadata__name="10.0.0.5-cni-0a1b--22-eth0"),
        ],
        ["a", "n-cni-c-eth1", "n-cni-c"],
    ),
    Rule(
        "ipNetworks are single addresses",
        "WorkloadEndpoint",
        "spec.ipNetworks",
        [["10.0.0.1"], ["10.0.0.1/32", "fd00::1/128"], []],
        [["10.0.0.0/31"], ["fd00::/127"]],
    ),
    Rule(
        "ipNetworks are networks",
        "WorkloadEndpoint",
        "spec.ipNetworks",
        [["10.0.0.2/32"]],
        [["x"], ["10.0.0.1/24"], [""]],
    ),
    Rule(
        "ipNATs are of one family",
        "WorkloadEndpoint",
        "spec.ipNATs",
        [[{"internalIP": "10.0.0.1", "externalIP": "192.0.2.1"}]],
        [
            [{"internalIP": "10.0.0.1", "externalIP": "fd00::1"}],
            [{"internalIP": "10.0.0.1"}],
            [{"internalIP": "x", "externalIP": "y"}],
        ],
    ),
    Rule(
        "ipNATs are of the endpoint's networks",
        "WorkloadEndpoint",
        "spec.ipNATs",
        [[{"internalIP": "10.0.0.1", "externalIP": "192.0.2.1"}], []],
        [[{"internalIP": "10.0.0.2", "externalIP": "192.0.2.1"}]],
    ),
    Rule("ipv4Gateway", "WorkloadEndpoint", "spec.ipv4Gateway", ["10.0.0.254"], ["fd00::1", "10.0.0.0/24", "x"]),
    Rule("ipv6Gateway", "WorkloadEndpoint", "spec.ipv6Gateway", ["fd00::1"], ["10.0.0.254", "x"]),
    Rule("workload profiles", "WorkloadEndpoint", "spec.profiles", *_PROFILE_NAMES),
    Rule("workload mac", "WorkloadEndpoint", "spec.mac", *_MACS),
    Rule("workload ports", "WorkloadEndpoint", "spec.ports", *_ENDPOINT_PORTS),
    Rule("host endpoint node", "HostEndpoint", "spec.node", ["n", "10.0.0.5"], ["", ABSENT]),
    Rule(
        "host endpoint has an interface or addresses",
        "HostEndpoint",
        "spec.interfaceName",
        ["eth0", "*", _also(spec__interfaceName=ABSENT, spec__expectedIPs=["10.0.0.5"])],
        ["", ABSENT, "x" * 16, "a/b"],
    ),
    Rule(
        "host endpoint expectedIPs",
        "HostEndpoint",
        "spec.expectedIPs",
        [["10.0.0.5", "fd00::5"]],
        [["10.0.0.5/32"], ["x"], [""]],
    ),
    Rule("host endpoint profiles", "HostEndpoint", "spec.profiles", *_PROFILE_NAMES),
    Rule("host endpoint ports", "HostEndpoint", "spec.ports", *_ENDPOINT_PORTS),
    Rule(
        "GlobalNetworkSet nets",
        "GlobalNetworkSet",
        "spec.nets",
        [[], ["10.0.0.1"], ["10.0.0.1/8", "fd00::/8"]],
        [["x"], ["10.0.0.0/33"], [""]],
    ),
    Rule("NetworkSet nets", "NetworkSet", "spec.nets", [["10.0.0.1"]], [["x"]]),
    Rule(
        "GlobalNetworkSet has no namespace label",
        "GlobalNetworkSet",
        "metadata.labels",
        [{"a": "b"}],
        [{"projectcalico.org/namespace": "a"}],
    ),
    Rule(
        "NetworkSet has no namespace label",
        "NetworkSet",
        "metadata.labels",
        [{"a": "b"}],
        [{"projectcalico.org/namespace": "a"}],
    ),
]

_OFF_DEFAULT = {"metadata__name": "node.a"}
_BGP = [
    Rule("BGP logSeverityScreen", "BGPConfiguration", "spec.logSeverityScreen", *_LOG),
    Rule("BGP asNumber", "BGPConfiguration", "spec.asNumber", *_AS),
    *(
        Rule(
            f"{member} is for BGPConfiguration default",
            "BGPConfiguration",
            f"spec.{member}",
            [value, _also(**_OFF_DEFAULT)],
            [_also(**_OFF_DEFAULT, **{f"spec__{member}": value})],
        )
        for member, value in (
            ("nodeToNodeMeshEnabled", False),
            ("asNumber", 1),
            ("serviceExternalIPs", [{"cidr": "10.0.0.0/8"}]),
            ("serviceClusterIPs", [{"cidr": "10.0.0.0/8"}]),
        )
    ),
    Rule(
        "service addresses are networks",
        "BGPConfiguration",
        "spec.serviceExternalIPs",
        [[{"cidr": "10.0.0.1"}], []],
        [[{"cidr": "10.0.0.1/8"}], [{"cidr": "x"}]],
    ),
    Rule(
        "service cluster addresses are networks",
        "BGPConfiguration",
        "spec.serviceClusterIPs",
        [[{"cidr": "fd00::/8"}]],
        [[{"cidr": "x"}]],
    ),
    Rule(
        "peerIP is a bare address",
        "BGPPeer",
        "spec.peerIP",
        ["192.0.2.1", "fd00::1"],
        ["192.0.2.1:179", "192.0.2.0/24", "host"],
    ),
    Rule("peer asNumber", "BGPPeer", "spec.asNumber", *_AS),
    Rule("peer node", "BGPPeer", "spec.node", ["n", "10.0.0.5", ""], ["N", "a b"]),
    Rule("peer nodeSelector", "BGPPeer", "spec.nodeSelector", *_SELECTORS),
    Rule(
        "peer node excludes nodeSelector",
        "BGPPeer",
        "spec.node",
        ["n"],
        [_also(spec__node="n", spec__nodeSelector="all()")],
    ),
    Rule(
        "peerSelector excludes peerIP",
        "BGPPeer",
        "spec.peerIP",
        [_also(spec__peerSelector="has(rr)", spec__peerIP="", spec__asNumber=0)],
        [_also(spec__peerSelector="has(rr)", spec__asNumber=0)],
    ),
    Rule(
        "peerSelector excludes asNumber",
        "BGPPeer",
        "spec.asNumber",
        [_also(spec__peerSelector="has(rr)", spec__peerIP=ABSENT, spec__asNumber=ABSENT)],
        [_also(spec__peerSelector="has(rr)", spec__peerIP="")],
    ),
    Rule(
        "peerSelector is a selector",
        "BGPPeer",
        "spec.peerSelector",
        [_also(spec__peerSelector="has(rr)", spec__peerIP="", spec__asNumber=0)],
        [_also(spec__peerSelector="has(", spec__peerIP="", spec__asNumber=0)],
    ),
    Rule(
        "passwordFile is a plain name",
        "BGPPeer",
        "spec.passwordFile",
        ["rack-7", "a.b_c", ""],
        ["/etc/x", "../x", ".x", "a b", "a/b", "-x"],
    ),
    Rule("ClusterInformation is default", "ClusterInformation", "metadata.name", ["default"], ["a", "node.a", ""]),
    Rule(
        "datastoreReady is a flag or null",
        "ClusterInformation",
        "spec.datastoreReady",
        [None, True, False, ABSENT],
        ["yes", 1],
    ),
    Rule(
        "KubeControllersConfiguration is default", "KubeControllersConfiguration", "metadata.name", ["default"], ["a"]
    ),
    Rule("controllers logSeverityScreen", "KubeControllersConfiguration", "spec.logSeverityScreen", *_LOG),
    Rule(
        "controllers healthChecks",
        "KubeControllersConfiguration",
        "spec.healthChecks",
        ["Enabled", "Disabled"],
        ["enabled", "On"],
    ),
    Rule(
        "controllers etcdV3CompactionPeriod", "KubeControllersConfiguration", "spec.etcdV3CompactionPeriod", *_DURATIONS
    ),
    Rule(
        "controllers syncLabels",
        "KubeControllersConfiguration",
        "spec.controllers.node",
        [{"syncLabels": "Enabled"}, {}],
        [{"syncLabels": "x"}, {"sync": 1}],
    ),
    Rule(
        "controllers autoCreate",
        "KubeControllersConfiguration",
        "spec.controllers.node.hostEndpoint",
        [{"autoCreate": "Disabled"}, {}],
        [{"autoCreate": "x"}],
    ),
    *(
        Rule(
            f"controllers {name} reconcilerPeriod",
            "KubeControllersConfiguration",
            f"spec.controllers.{name}.reconcilerPeriod",
            ["5m"],
            ["5"],
        )
        for name in ("node", "policy", "workloadEndpoint", "serviceAccount", "namespace")
    ),
]


def _felix(member: str, accepts: list[Any], refuses: list[Any]) -> Rule:
    return Rule(f"felix {member}", "FelixConfiguration", f"spec.{member}", accepts, refuses)


_FELIX = [
    *(_felix(member, *_LOG) for member in ("logSeverityFile", "logSeverityScreen", "logSeveritySys")),
    _felix("defaultEndpointToHostAction", ["Drop", "Accept", "Return"], ["DROP", "Deny"]),
    _felix("iptablesFilterAllowAction", ["Accept", "Return"], ["Drop", "accept"]),
    _felix("iptablesMangleAllowAction", ["Accept", "Return"], ["Drop"]),
    _felix("iptablesBackend", ["", "Legacy", "NFT"], ["nft", "Auto"]),
    _felix("bpfLogLevel", ["Debug", "Info", "Off", ""], ["debug", "Warning"]),
    _felix("bpfExternalServiceMode", ["Tunnel", "DSR"], ["dsr"]),
    _felix("bpfDataIfacePattern", ["^(en.*|eth.*)"], ["(", "*"]),
    _felix("iptablesNATOutgoingInterfaceFilter", ["eth+", "eth0"], ["x" * 16, "a b", "a/b"]),
    _felix("prometheusMetricsHost", ["127.0.0.1", "fd00::1", "host.a"], ["a b", "x" * 65, "[::1]"]),
    _felix(
        "kubeNodePortRanges", [["30000:32767"], [], [1, 2, 3, 4, 5, 6, 7]], [[1, 2, 3, 4, 5, 6, 7, 8], ["http"], [0]]
    ),
    _felix("externalNodesList", [["10.0.0.1", "10.0.0.0/8"], []], [["fd00::1"], ["x"]]),
    _felix("openstackRegion", ["europe-1", "x" * 46], ["Europe", "x" * 47, "a.b"]),
    _felix("natOutgoingAddress", *_IP4),
    _felix("deviceRouteSourceAddress", *_IP4),
    _felix(
        "routeTableRange",
        [{"min": 1, "max": 250}, {"min": 9, "max": 9}],
        [{"min": 0, "max": 5}, {"min": 5, "max": 4}, {"min": 1, "max": 251}],
    ),
    _felix("routeSource", ["WorkloadIPs", "CalicoIPAM"], ["workload", "("]),
    _felix("wireguardListeningPort", [1, 65535], [0, 65536]),
    _felix("wireguardRoutingRulePriority", [1, 32765], [0, 32766]),
    _felix("wireguardInterfaceName", ["wireguard.cali"], ["x" * 16, "a/b"]),
    _felix(
        "failsafeInboundHostPorts",
        [[], [{"protocol": "TCP", "port": 22}, {"protocol": "udp", "port": 68}]],
        [[{"protocol": "ICMP", "port": 1}], [{"protocol": "TCP", "port": 0}], [{"port": 22}], [22]],
    ),
    _felix(
        "failsafeOutboundHostPorts", [[{"protocol": "SCTP", "port": 65535}]], [[{"protocol": "TCP", "port": 65536}]]
    ),
    _felix("natPortRange", ["1024:65535", 80], ["b:a", 0]),
    _felix("reportingInterval", *_DURATIONS),
    _felix("iptablesMarkMask", [0, 0xFFFF0000, 4294967295], [-1, 4294967296, "0xffff0000"]),
]

RULES = [*_COMMON, *_RULES, *_POLICIES, *_POOLS, *_NODES, *_ENDPOINTS, *_BGP, *_FELIX]


def table() -> list[str]:
    """A line for each rule: how many documents it accepts and refuses."""
    width = max(len(rule.name) for rule in RULES)
    return [f"{rule.name:{width}}  {len(rule.accepts):3} accepted  {len(rule.refuses):3} refused" for rule in RULES]


if __name__ == "__main__":
    print("\n".join(table()))
