# ruff: noqa: E501
"""Whole datastores, each with what follows of it, worked out by hand: what the calculation's suite goes through.

Every state is seen from the node `a`. What a state expects is complete for the part it speaks of:

    sets      all sets: by selector, or (selector, protocol, port name), their members
    lists     the policies of endpoints: `in / out`, by endpoint; a host endpoint's `in / out | untracked | pre-DNAT |
              forward`
    policies  the active policies
    profiles  the profiles in use; one that is missing begins with `!`
    routes    all routes but those of pools, as words
    vteps     tunnel address and node address, by node
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.unit.felix.documents import (
    Document,
    Item,
    block,
    host_endpoint,
    network_set,
    node,
    policy,
    pool,
    profile,
    rule,
    workload,
)


class StateCase(NamedTuple):
    """A datastore and what follows of it."""

    name: str
    items: tuple[Item, ...]
    expects: Mapping[str, Any]


def _case(name: str, *items: Item, **expects: Any) -> StateCase:
    return StateCase(name, items, expects)


def _from(selector: str, **more: Any) -> Document:
    return rule(source={"selector": selector, **more})


W1 = workload("a", "w1", "10.0.0.1", labels={"app": "web"}, profiles=["p1"])
W1_OTHER = workload("a", "w1", "10.0.0.1", labels={"app": "db"}, profiles=["p1"])
W1_TWO = workload("a", "w1", "10.0.0.1", "10.0.0.11", "fd00::1", labels={"app": "web"}, profiles=["p1"])
W2 = workload("a", "w2", "10.0.0.2", labels={"app": "db"}, profiles=["p1", "p2"])
R1 = workload("b", "r1", "10.0.1.1", labels={"app": "web"}, profiles=["p1"])
R2 = workload("b", "r2", "10.0.1.2", "fd00::12", labels={"app": "db"})
R2_AGAIN = workload("c", "r2", "10.0.1.2", labels={"app": "web"})
P1 = profile("p1", [rule()], [rule()])
P1_LABELS = profile("p1", [rule()], [rule()], {"from": "p1", "app": "inherited"})
P1_FROM = profile("p1", [_from("app == 'web'")], [rule()])
P2 = profile("p2", [rule("Deny")], [], {"from": "p2"})
EH: dict[str, Any] = {"sets": {}, "lists": {}, "policies": [], "profiles": []}
ALLOW_WEB = policy("web", "app == 'db'", order=10, types=["Ingress"], ingress=[_from("app == 'web'")])
NEXT = policy("next", "app == 'db'", order=20, types=["Ingress", "Egress"], ingress=[rule("Pass")], egress=[rule()])
LAST = policy("last", types=["Egress"], egress=[rule("Deny")])
SAME_ORDER = policy("also", "app == 'db'", order=10, types=["Ingress"])
IN_NAMESPACE = policy("web", "app == 'db'", "default", order=10, types=["Ingress"], ingress=[_from("app == 'web'")])
UNTYPED = policy("untyped", "app == 'db'", order=1)
NODES = (node("a", "192.168.0.1/24"), node("b", "192.168.0.2/24"), node("c", "192.168.1.3/24"))
VXLAN = pool("p", "10.0.0.0/16", vxlan="Always", nat=True)

_WEB = "app == 'web'"
_DB_WEB = {_WEB: {"10.0.0.1"}}


def _named(*ports: Any, **members: Any) -> Item:
    destination = {"ports": list(ports), **members}
    return policy("named", "app == 'db'", types=["Egress"], egress=[rule(protocol="TCP", destination=destination)])


PORTS1 = [("http", "TCP", 80), ("dns", "UDP", 53)]
WITH_PORTS = workload("b", "r3", "10.0.1.3", labels={"app": "web"}, ports=PORTS1)
MORE_PORTS = workload(
    "b", "r4", "10.0.1.4", "fd00::4", labels={"app": "web"}, ports=[("http", "TCP", 8080), ("http", "TCP", 81)]
)

HEP = host_endpoint("a", "eth0", "eth0", labels={"role": "host"}, profiles=["p1"])
HEP_IPS = host_endpoint("a", "ips", "", "192.168.0.1", "fd01::1", labels={"role": "host"})
HEP_STAR = host_endpoint("a", "all", "*", labels={"role": "host"})
HEP_REMOTE = host_endpoint("b", "far", "eth0", "192.168.0.2", labels={"role": "host"}, ports=[("ssh", "TCP", 22)])
HEP_MOVED = host_endpoint("b", "eth0", "eth0", labels={"role": "host"})
NORMAL = policy("normal", "role == 'host'", order=1, types=["Ingress", "Egress"], ingress=[rule()])
FORWARD = policy("forward", "role == 'host'", order=2, types=["Ingress"], applyOnForward=True)
UNTRACKED = policy("raw", "role == 'host'", order=3, types=["Ingress", "Egress"], doNotTrack=True, applyOnForward=True)
PRE_DNAT = policy("dnat", "role == 'host'", order=4, types=["Ingress"], preDNAT=True, applyOnForward=True)

ENDPOINTS = (
    _case("nothing", **EH, routes={}, vteps={}),
    _case("one endpoint", W1, P1, sets={}, lists={"w1": "/"}, policies=[], profiles=["p1"]),
    _case("an endpoint with a missing profile", W1, profiles=["!p1"], sets={}),
    _case("an endpoint with two profiles, one missing", W2, P1, profiles=["p1", "!p2"], lists={"w2": "/"}),
    _case("an endpoint with two profiles", W2, P1, P2, profiles=["p1", "p2"], lists={"w2": "/"}),
    _case("an endpoint of another node", R1, P1, **EH),
    _case("an endpoint with the profile that is always there", workload("a", "w1", "10.0.0.1", profiles=["projectcalico-default-allow"]), profiles=["projectcalico-default-allow"]),
    _case("a profile whose rules select", W1, R1, R2, P1_FROM, sets={_WEB: {"10.0.0.1", "10.0.1.1"}}, profiles=["p1"]),
    _case("a profile that nobody here names", R1, P1_FROM, **EH),
    _case("an endpoint without an address is none", workload("a", "w1", labels={"app": "web"}), **EH),
)  # fmt: skip
POLICIES = (
    _case("a policy that selects nobody", ALLOW_WEB, W1, P1, policies=[], sets={}, lists={"w1": "/"}),
    _case("a policy and its peer", ALLOW_WEB, W1, W2, P1, policies=["default.web"], sets=_DB_WEB, lists={"w1": "/", "w2": "default.web /"}),
    _case("a peer on another node", ALLOW_WEB, W2, R1, R2, sets={_WEB: {"10.0.1.1"}}, lists={"w2": "default.web /"}),
    _case("a policy that selects only elsewhere", ALLOW_WEB, W1, R2, policies=[], sets={}),
    _case("a label that moves an endpoint under a policy", ALLOW_WEB, W1_OTHER, policies=["default.web"], sets={_WEB: set()}, lists={"w1": "default.web /"}),
    _case("two policies by order", NEXT, ALLOW_WEB, W2, lists={"w2": "default.web default.next / default.next"}),
    _case("one without an order is last", LAST, NEXT, ALLOW_WEB, W2, lists={"w2": "default.web default.next / default.next default.last"}),
    _case("equal orders are decided by name", SAME_ORDER, ALLOW_WEB, W2, lists={"w2": "default.also default.web /"}),
    _case("a namespaced policy is named with its namespace", SAME_ORDER, IN_NAMESPACE, ALLOW_WEB, W2, lists={"w2": "default.also default.web default/default.web /"}),
    _case("negative and fractional orders", *(policy(f"p{at}", order=order, types=["Ingress"]) for at, order in enumerate((2, -1, 0, 1.5))), W1, lists={"w1": "default.p1 default.p2 default.p3 default.p0 /"}),
    _case("a policy without types governs both directions", UNTYPED, W2, lists={"w2": "default.untyped / default.untyped"}),
    _case("a policy without a selector selects all", LAST, W1, W2, lists={"w1": "/ default.last", "w2": "/ default.last"}),
    _case("names order bytewise", policy("b", types=["Ingress"]), policy("a-b", types=["Ingress"]), policy("a", types=["Ingress"]), policy("a1", types=["Ingress"]), W1, lists={"w1": "default.a default.a-b default.a1 default.b /"}),
    _case("rules of a direction that is not governed need no sets", policy("p", types=["Egress"], ingress=[_from("app == 'x'")], egress=[rule()]), W1, sets={}, lists={"w1": "/ default.p"}),
    _case("an invalid policy is none", policy("p", "app = 'x'", types=["Ingress"]), W1, policies=[], lists={"w1": "/"}),
    _case("a rule without an action allows", policy("p", types=["Ingress"], ingress=[rule("")]), W1, policies=["default.p"], lists={"w1": "default.p /"}),
    _case("labels that a profile gives are selected", policy("p", "from == 'p1'", types=["Ingress"]), W1, P1_LABELS, lists={"w1": "default.p /"}),
    _case("an endpoint's own label wins over the profile's", policy("p", "app == 'inherited'", types=["Ingress"]), W1, P1_LABELS, lists={"w1": "/"}),
    _case("the first profile's label wins", policy("p", "from == 'p1'", types=["Ingress"]), W2, P1_LABELS, P2, lists={"w2": "default.p /"}),
    _case("untracked and pre-DNAT policies leave workloads alone", policy("u", types=["Ingress"], doNotTrack=True, applyOnForward=True), policy("d", types=["Ingress"], preDNAT=True, applyOnForward=True), W1, policies=["default.d", "default.u"], lists={"w1": "/"}),
)  # fmt: skip
NAMESPACES = (
    _case("a namespaced policy holds to its namespace", policy("p", "", "red", types=["Ingress"]), W1, workload("a", "x", "10.0.0.9", namespace="red"), lists={"w1": "/", "x": "red/default.p /"}),
    _case("a rule in it selects in its namespace", policy("p", "", "red", types=["Ingress"], ingress=[_from("app == 'web'")]), W1, workload("a", "x", "10.0.0.9", namespace="red", labels={"app": "web"}), sets={"(projectcalico.org/namespace == 'red') && (app == 'web')": {"10.0.0.9"}}),
    _case("a rule without a selector selects everywhere", policy("p", "", "red", types=["Ingress"], ingress=[rule()]), workload("a", "x", "10.0.0.9", namespace="red"), sets={}),
    _case("a notSelector alone holds to the namespace", policy("p", "", "red", types=["Ingress"], ingress=[rule(source={"notSelector": "app == 'web'"})]), W1, workload("a", "x", "10.0.0.9", namespace="red"), sets={"(projectcalico.org/namespace == 'red') && (!(app == 'web'))": {"10.0.0.9"}}),
    _case("a namespaceSelector looks at other namespaces", policy("p", "", "red", types=["Ingress"], ingress=[_from("has(app)", namespaceSelector="team == 'x'")]), W1, workload("a", "x", "10.0.0.9", namespace="red", labels={"app": "db"}, profiles=["kns.red"]), workload("b", "y", "10.0.1.9", namespace="blue", labels={"app": "db"}, profiles=["kns.blue"]), profile("kns.blue", labels={"pcns.team": "x"}), sets={"(pcns.team == 'x') && (has(app))": {"10.0.1.9"}}),
    _case("namespaceSelector all() means any namespace", policy("p", "", "red", types=["Ingress"], ingress=[rule(source={"namespaceSelector": "all()"})]), W1, workload("a", "x", "10.0.0.9", namespace="red"), HEP_REMOTE, sets={"has(projectcalico.org/namespace)": {"10.0.0.1", "10.0.0.9"}}),
    _case("a global policy's namespaceSelector", policy("p", "has(app)", types=["Ingress"], namespaceSelector="team == 'x'"), W1, workload("a", "x", "10.0.0.9", namespace="red", labels={"app": "db"}, profiles=["kns.red"]), profile("kns.red", labels={"pcns.team": "x"}), lists={"w1": "/", "x": "default.p /"}),
    _case("a global policy's namespaceSelector all() selects workloads only", policy("p", "", types=["Ingress"], namespaceSelector="all()"), W1, HEP, P1, lists={"w1": "default.p /", "eth0": "/ | / | / | /"}),
    _case("an endpoint cannot pretend to be of another namespace", policy("p", "", types=["Ingress"], namespaceSelector="team == 'x'"), workload("a", "w1", "10.0.0.1", labels={"pcns.team": "x", "app": "web"}), lists={"w1": "/"}),
    _case("service accounts by name", policy("p", "", types=["Ingress"], ingress=[rule(source={"serviceAccounts": {"names": ["one", "two"]}})]), workload("a", "w1", "10.0.0.1", profiles=["ksa.one"]), W2, profile("ksa.one", labels={"projectcalico.org/serviceaccount": "one"}), sets={"projectcalico.org/serviceaccount in {'one', 'two'}": {"10.0.0.1"}}),
    _case("service accounts by label, with a selector", policy("p", "", types=["Ingress"], ingress=[rule(source={"selector": "has(app)", "serviceAccounts": {"selector": "tier == 'x'"}})]), workload("a", "w1", "10.0.0.1", profiles=["ksa.one"], labels={"app": "x"}), W2, profile("ksa.one", labels={"pcsa.tier": "x"}), sets={"(pcsa.tier == 'x') && has(app)": {"10.0.0.1"}}),
    _case("a policy's own service account selector", policy("p", "", "red", types=["Ingress"], serviceAccountSelector="tier == 'x'"), workload("a", "x", "10.0.0.1", namespace="red", profiles=["ksa.one"]), workload("a", "y", "10.0.0.2", namespace="red"), profile("ksa.one", labels={"pcsa.tier": "x"}), lists={"x": "red/default.p /", "y": "/"}),
)  # fmt: skip
_ALL_EGRESS = policy("p", "app == 'db'", types=["Egress"], egress=[rule(destination={"selector": "has(app)"})])
_HAS_APP = "has(app)"
SETS = (
    _case("a set of both families", _ALL_EGRESS, W1_TWO, W2, R2, sets={_HAS_APP: {"10.0.0.1", "10.0.0.11", "fd00::1", "10.0.0.2", "10.0.1.2", "fd00::12"}}),
    _case("an address that two endpoints have", _ALL_EGRESS, W2, workload("b", "twin", "10.0.0.2", labels={"app": "x"}), sets={_HAS_APP: {"10.0.0.2"}}),
    _case("one of the two has another label", _ALL_EGRESS, W2, workload("b", "twin", "10.0.0.2", labels={"no": "x"}), sets={_HAS_APP: {"10.0.0.2"}}),
    _case("an endpoint on another node with another address", _ALL_EGRESS, W2, R2_AGAIN, sets={_HAS_APP: {"10.0.0.2", "10.0.1.2"}}),
    _case("a network set", _ALL_EGRESS, W2, network_set("n", "10.1.0.0/16", "10.2.0.1", "fd00::/64", "10.2.0.1/32", labels={"app": "out"}), sets={_HAS_APP: {"10.0.0.2", "10.1.0.0/16", "10.2.0.1", "fd00::/64"}}),
    _case("overlapping network sets", _ALL_EGRESS, W2, network_set("n", "10.1.0.0/16", labels={"app": "out"}), network_set("m", "10.1.0.0/16", "10.0.0.2/32", "0.0.0.0/0", labels={"app": "out"}), sets={_HAS_APP: {"10.0.0.2", "10.1.0.0/16", "0.0.0.0/0"}}),
    _case("a network set with another label", _ALL_EGRESS, W2, network_set("n", "10.1.0.0/16", labels={"other": "out"}), sets={_HAS_APP: {"10.0.0.2"}}),
    _case("a namespaced network set inherits its namespace's labels", policy("p", "app == 'db'", types=["Egress"], egress=[rule(destination={"namespaceSelector": "team == 'x'"})]), W2, network_set("n", "10.1.0.0/16", namespace="red"), profile("kns.red", labels={"pcns.team": "x"}), sets={"pcns.team == 'x'": {"10.1.0.0/16"}}),
    _case("an empty set", policy("p", "app == 'db'", types=["Ingress"], ingress=[_from("app == 'gone'")]), W2, sets={"app == 'gone'": set()}),
    _case("one set for equal selectors", policy("p", "app == 'db'", types=["Ingress"], ingress=[_from("has(app)"), _from(" has( app )", nets=["10.0.0.0/8"])], egress=[]), _ALL_EGRESS, W2, sets={_HAS_APP: {"10.0.0.2"}}),
    _case("a positive and a negative selector are one set", policy("p", "app == 'db'", types=["Ingress"], ingress=[_from("has(app)", notSelector="app == 'db'")]), W1, W2, sets={"(has(app)) && (!(app == 'db'))": {"10.0.0.1"}}),
    _case("a negative selector alone", policy("p", "app == 'db'", types=["Ingress"], ingress=[rule(source={"notSelector": "app == 'db'"})]), W1, W2, sets={"app == 'db'": {"10.0.0.2"}}),
    _case("host endpoints are members", policy("p", "app == 'db'", types=["Ingress"], ingress=[_from("role == 'host'")]), W2, HEP, HEP_IPS, HEP_REMOTE, sets={"role == 'host'": {"192.168.0.1", "fd01::1", "192.168.0.2"}}),
    _case("labels of profiles make members", policy("p", "app == 'db'", types=["Ingress"], ingress=[_from("from == 'p1'")]), W1, W2, R1, P1_LABELS, P2, sets={"from == 'p1'": {"10.0.0.1", "10.0.0.2", "10.0.1.1"}}),
    _case("a set of a selector without a requirement", policy("p", "app == 'db'", types=["Ingress"], ingress=[_from("app != 'db'")]), W1, W2, network_set("n", "10.1.0.0/16"), sets={"app != 'db'": {"10.0.0.1", "10.1.0.0/16"}}),
)  # fmt: skip
NAMED_PORTS = (
    _case("a named port of everybody", _named("http"), W2, WITH_PORTS, MORE_PORTS, sets={("all()", "tcp", "http"): {"10.0.1.3,tcp:80", "10.0.1.4,tcp:8080", "10.0.1.4,tcp:81", "fd00::4,tcp:8080", "fd00::4,tcp:81"}}),
    _case("a named port of some protocol", policy("p", "app == 'db'", types=["Egress"], egress=[rule(protocol="UDP", destination={"ports": ["dns", "http"]})]), W2, WITH_PORTS, sets={("all()", "udp", "dns"): {"10.0.1.3,udp:53"}, ("all()", "udp", "http"): set()}),
    _case("a named port implies its selector", _named("http", selector=_WEB), W2, WITH_PORTS, sets={(_WEB, "tcp", "http"): {"10.0.1.3,tcp:80"}}),
    _case("beside numeric ports it does not", _named("http", 443, selector=_WEB), W2, WITH_PORTS, sets={_WEB: {"10.0.1.3"}, (_WEB, "tcp", "http"): {"10.0.1.3,tcp:80"}}),
    _case("negated named ports are of what the positive selector selects", policy("p", "app == 'db'", types=["Egress"], egress=[rule(protocol="TCP", destination={"notPorts": ["http"], "notSelector": _WEB})]), W2, WITH_PORTS, sets={_WEB: {"10.0.1.3"}, ("all()", "tcp", "http"): {"10.0.1.3,tcp:80"}}),
    _case("a host endpoint's named port", policy("p", "app == 'db'", types=["Egress"], egress=[rule(protocol="TCP", destination={"ports": ["ssh"]})]), W2, HEP_REMOTE, sets={("all()", "tcp", "ssh"): {"192.168.0.2,tcp:22"}}),
    _case("a port that changes its number", _named("http"), W2, workload("b", "r3", "10.0.1.3", labels={"app": "web"}, ports=[("http", "TCP", 8000)]), sets={("all()", "tcp", "http"): {"10.0.1.3,tcp:8000"}}),
    _case("a port that changes its name", _named("http"), W2, workload("b", "r3", "10.0.1.3", labels={"app": "web"}, ports=[("web", "TCP", 80)]), sets={("all()", "tcp", "http"): set()}),
)  # fmt: skip
HOSTS = (
    _case("a host endpoint", HEP, P1, lists={"eth0": "/ | / | / | /"}, profiles=["p1"]),
    _case("a host endpoint with policies of every kind", HEP, P1, NORMAL, FORWARD, UNTRACKED, PRE_DNAT, lists={"eth0": "default.normal default.forward / default.normal | default.raw / default.raw | default.dnat / | default.forward /"}),
    _case("a host endpoint by address, and one of all interfaces", HEP_IPS, HEP_STAR, NORMAL, lists={"ips": "default.normal / default.normal | / | / | /", "all": "default.normal / default.normal | / | / | /"}),
    _case("a host endpoint of another node", HEP_REMOTE, NORMAL, **EH),
    _case("a host endpoint that moved away", HEP_MOVED, NORMAL, **EH),
    _case("a workload under policies for hosts", workload("a", "w1", "10.0.0.1", labels={"role": "host"}), NORMAL, FORWARD, UNTRACKED, PRE_DNAT, lists={"w1": "default.normal default.forward / default.normal"}),
    _case("a pre-DNAT policy without types governs ingress", HEP, P1, policy("dnat", "role == 'host'", preDNAT=True, applyOnForward=True), lists={"eth0": "/ | / | default.dnat / | /"}),
)  # fmt: skip
B1 = block("10.0.1.0/29", "b", {0: "b", 1: "b"})
_B = {"192.168.0.1/32": "local-host a 192.168.0.1", "192.168.0.2/32": "remote-host b 192.168.0.2", "192.168.1.3/32": "remote-host c 192.168.1.3"}  # fmt: skip
_IN = "vxlan nat"
ROUTES = (
    _case("nodes alone", *NODES, routes=_B, vteps={}),
    _case("a pool alone", VXLAN, routes={}),
    _case("a block", VXLAN, *NODES, B1, routes={**_B, "10.0.1.0/29": f"remote-workload b 192.168.0.2 {_IN}"}),
    _case("a block without a pool", *NODES, B1, routes={**_B, "10.0.1.0/29": "remote-workload b 192.168.0.2"}),
    _case("a block of a node without an address", VXLAN, node("b"), B1, routes={"10.0.1.0/29": f"remote-workload b - {_IN}"}),
    _case("a block of a node nobody knows", VXLAN, B1, routes={"10.0.1.0/29": f"remote-workload b - {_IN}"}),
    _case("an own block", VXLAN, *NODES, block("10.0.0.0/29", "a"), routes={**_B, "10.0.0.0/29": f"local-workload a 192.168.0.1 {_IN}"}),
    _case("an own block with a borrowed address", VXLAN, *NODES, block("10.0.0.0/29", "a", {1: "a", 2: "b"}), routes={**_B, "10.0.0.0/29": f"local-workload a 192.168.0.1 {_IN}", "10.0.0.2/32": f"remote-workload b 192.168.0.2 {_IN} borrowed"}),
    _case("an address borrowed from another's block", VXLAN, *NODES, block("10.0.1.0/29", "b", {1: "b", 2: "a", 3: "c"}), routes={**_B, "10.0.1.0/29": f"remote-workload b 192.168.0.2 {_IN}", "10.0.1.2/32": f"local-workload a 192.168.0.1 {_IN} borrowed", "10.0.1.3/32": f"remote-workload c 192.168.1.3 {_IN} borrowed"}),
    _case("a block that was given up", VXLAN, *NODES, block("10.0.1.0/29", "", {1: "b", 2: None}), routes={**_B, "10.0.1.1/32": f"remote-workload b 192.168.0.2 {_IN}"}),
    _case("a block that moved to another node", VXLAN, *NODES, block("10.0.1.0/29", "c", {0: "b", 1: "b"}), routes={**_B, "10.0.1.0/29": f"remote-workload c 192.168.1.3 {_IN}", "10.0.1.0/32": f"remote-workload b 192.168.0.2 {_IN} borrowed", "10.0.1.1/32": f"remote-workload b 192.168.0.2 {_IN} borrowed"}),
    _case("a block of one address", VXLAN, *NODES, block("10.0.1.0/32", "b", {0: "c"}), routes={**_B, "10.0.1.0/32": f"remote-workload c 192.168.1.3 {_IN} borrowed"}),
    _case("a local endpoint", VXLAN, *NODES, W1, B1, routes={**_B, "10.0.1.0/29": f"remote-workload b 192.168.0.2 {_IN}", "10.0.0.1/32": f"local-workload a 192.168.0.1 {_IN}"}),
    _case("a local endpoint, and this node at another address of its subnet", VXLAN, node("a", "192.168.0.7/24"), W1, routes={"192.168.0.7/32": "local-host a 192.168.0.7", "10.0.0.1/32": f"local-workload a 192.168.0.7 {_IN}"}),
    _case("a local endpoint wins over what a block says", VXLAN, *NODES, block("10.0.0.0/29", "b", {1: "c"}), W1, routes={**_B, "10.0.0.0/29": f"remote-workload b 192.168.0.2 {_IN}", "10.0.0.1/32": f"local-workload a 192.168.0.1 {_IN}"}),
    _case("an endpoint elsewhere has no route of its own", VXLAN, *NODES, R1, routes=_B),
    _case("a pool of single addresses is the workload's route", pool("p", "10.0.0.1/32", vxlan="Always", blockSize=32), *NODES, block("10.0.0.1/32", "a", {0: "a"}), W1, routes={**_B, "10.0.0.1/32": "local-workload a 192.168.0.1 vxlan"}),
    _case("a cross-subnet pool", pool("p", "10.0.0.0/16", vxlan="CrossSubnet"), *NODES, B1, block("10.0.2.0/29", "c"), routes={**_B, "10.0.1.0/29": "remote-workload b 192.168.0.2 vxlan same", "10.0.2.0/29": "remote-workload c 192.168.1.3 vxlan"}),
    _case("a cross-subnet pool, and this node's subnet unknown", pool("p", "10.0.0.0/16", vxlan="CrossSubnet"), node("a", "192.168.0.1"), *NODES[1:], B1, routes={**_B, "10.0.1.0/29": "remote-workload b 192.168.0.2 vxlan"}),
    _case("an IPIP pool", pool("p", "10.0.0.0/16", ipip="Always", nat=True), *NODES, B1, routes={**_B, "10.0.1.0/29": "remote-workload b 192.168.0.2 ipip nat"}),
    _case("an IPIP pool between subnets", pool("p", "10.0.0.0/16", ipip="CrossSubnet"), *NODES, B1, routes={**_B, "10.0.1.0/29": "remote-workload b 192.168.0.2 ipip same"}),
    _case("a disabled pool is a pool all the same", pool("p", "10.0.0.0/16", vxlan="Always", disabled=True), *NODES, B1, routes={**_B, "10.0.1.0/29": "remote-workload b 192.168.0.2 vxlan"}),
    _case("two pools, and the narrower counts", VXLAN, pool("q", "10.0.1.0/24", ipip="Always"), *NODES, B1, block("10.0.2.0/29", "c"), routes={**_B, "10.0.1.0/29": "remote-workload b 192.168.0.2 ipip", "10.0.2.0/29": f"remote-workload c 192.168.1.3 {_IN}"}),
    _case("two pools of one network, and the first name counts", VXLAN, pool("o", "10.0.0.0/16"), *NODES, B1, routes={**_B, "10.0.1.0/29": "remote-workload b 192.168.0.2"}),
    _case("two nodes with one address", VXLAN, NODES[0], NODES[1], node("c", "192.168.0.2/24"), routes={**dict(list(_B.items())[:2])}),
    _case("a node's address in a pool", pool("p", "192.168.0.0/16", vxlan="Always"), *NODES, routes={cidr: f"{text} vxlan" for cidr, text in _B.items()}),
    _case("pools and blocks of IPv6 have no routes", pool("p", "fd00::/48", blockSize=122), W1_TWO, routes={"10.0.0.1/32": "local-workload a -", "10.0.0.11/32": "local-workload a -"}),
    _case("VTEPs", node("a", "192.168.0.1/24", "10.0.0.0"), node("b", "192.168.0.2/24", "10.0.1.0"), node("c", "192.168.1.3/24"), vteps={"b": "10.0.1.0 192.168.0.2"}),
    _case("a VTEP that moved", node("a", "192.168.0.1/24", "10.0.0.0"), node("b", "192.168.0.9/24", "10.0.1.7"), node("c", "192.168.1.3/24", "10.0.2.0", mac="66:00:00:00:00:01"), vteps={"b": "10.0.1.7 192.168.0.9", "c": "10.0.2.0 192.168.1.3"}),
)  # fmt: skip

STATES = (*ENDPOINTS, *POLICIES, *NAMESPACES, *SETS, *NAMED_PORTS, *HOSTS, *ROUTES)
