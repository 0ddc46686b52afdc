"""Rules and selectors, translated: every member of a rule, and what selectors of namespaces become."""

from typing import Any

import pytest

from calico.felix.calc import inputs, selectors
from calico.felix.calc.inputs import decode
from calico.felix.calc.rules import Sets, translate
from calico.felix.desired import Icmp, PortRange, Rule, Side
from calico.model.rule import ServiceAccounts
from calico.selector.parser import parse, unique_id
from tests.unit.felix.documents import policy, rule, stored


def _translated(members: dict[str, Any], namespace: str = "") -> tuple[Rule, Sets]:
    key, document = policy("p", "", namespace, types=["Ingress"], ingress=[rule(**members)])
    found = decode(key, stored(document))
    assert isinstance(found, inputs.Policy)
    sets: Sets = {}
    (translated,) = translate(found.inbound, namespace, sets)
    return translated, sets


def _side(**members: Any) -> dict[str, Any]:
    return {"source": members}


def _port(selector: str, protocol: str, name: str) -> str:
    return unique_id("n", f"{parse(selector).uid},{protocol},{name}")


_A, _B = parse("a == '1'").uid, parse("b == '2'").uid
_RANGE = (PortRange(80, 80), PortRange(8000, 8010))
CASES: list[tuple[dict[str, Any], Rule]] = [
    ({}, Rule("allow")),
    ({"action": "Deny"}, Rule("deny")),
    ({"action": "Pass"}, Rule("pass")),
    ({"action": "Log"}, Rule("log")),
    ({"action": ""}, Rule("allow")),
    ({"ipVersion": 4}, Rule("allow", 4)),
    ({"ipVersion": 6}, Rule("allow", 6)),
    ({"protocol": "TCP"}, Rule("allow", protocol=6)),
    ({"protocol": "UDPLite"}, Rule("allow", protocol=136)),
    ({"protocol": 47}, Rule("allow", protocol=47)),
    ({"protocol": "ICMP"}, Rule("allow", 4, 1)),
    ({"protocol": "ICMPv6"}, Rule("allow", 6, 58)),
    ({"protocol": 1}, Rule("allow", 0, 1)),
    ({"protocol": 58}, Rule("allow", 0, 58)),
    ({"notProtocol": "ICMP"}, Rule("allow", not_protocol=1)),
    ({"notProtocol": "SCTP"}, Rule("allow", not_protocol=132)),
    ({"protocol": "ICMP", "icmp": {"type": 8}}, Rule("allow", 4, 1, icmp=Icmp(8))),
    ({"protocol": "ICMP", "icmp": {"type": 3, "code": 0}}, Rule("allow", 4, 1, icmp=Icmp(3, 0))),
    ({"protocol": "ICMPv6", "notICMP": {"type": 128, "code": 1}}, Rule("allow", 6, 58, not_icmp=Icmp(128, 1))),
    ({"protocol": "ICMP", "icmp": {}}, Rule("allow", 4, 1)),
    (_side(nets=["10.0.0.0/8", "10.1.0.1/32"]), Rule("allow", 4, source=Side(nets=("10.0.0.0/8", "10.1.0.1/32")))),
    (_side(notNets=["FD00::/8"]), Rule("allow", 6, source=Side(not_nets=("fd00::/8",)))),
    (_side(selector="a == '1'"), Rule("allow", source=Side(sets=(_A,)))),
    (_side(notSelector="a == '1'"), Rule("allow", source=Side(not_sets=(_A,)))),
    (
        _side(selector="a == '1'", notSelector="b == '2'"),
        Rule("allow", source=Side(sets=(parse("(a == '1') && (!(b == '2'))").uid,))),
    ),
    (
        _side(selector="a == '1'", notSelector="!has(b)"),
        Rule("allow", source=Side(sets=(parse("(a == '1') && (!(!has(b)))").uid,))),
    ),
    ({"protocol": "TCP", **_side(ports=[80, "8000:8010"])}, Rule("allow", 0, 6, source=Side(ports=_RANGE))),
    ({"protocol": "TCP", **_side(notPorts=[80, "8000:8010"])}, Rule("allow", 0, 6, source=Side(not_ports=_RANGE))),
    (
        {"protocol": "SCTP", **_side(ports=["web", "web"], selector="a == '1'")},
        Rule("allow", 0, 132, source=Side(port_sets=(_port("a == '1'", "sctp", "web"),))),
    ),
    (
        {"protocol": "TCP", **_side(ports=["web", 80], selector="a == '1'")},
        Rule("allow", 0, 6, source=Side(sets=(_A,), ports=_RANGE[:1], port_sets=(_port("a == '1'", "tcp", "web"),))),
    ),
    (
        {"protocol": 17, **_side(notPorts=["web", 80], selector="a == '1'")},
        Rule(
            "allow",
            0,
            17,
            source=Side(sets=(_A,), not_ports=_RANGE[:1], not_port_sets=(_port("a == '1'", "udp", "web"),)),
        ),
    ),
    (
        {"protocol": "TCP", **_side(notPorts=["web"], notSelector="a == '1'")},
        Rule("allow", 0, 6, source=Side(not_sets=(_A,), not_port_sets=(_port("all()", "tcp", "web"),))),
    ),
    (
        {"destination": {"selector": "b == '2'"}, **_side(selector="a == '1'")},
        Rule("allow", source=Side(sets=(_A,)), destination=Side(sets=(_B,))),
    ),
    (
        {"metadata": {"annotations": {"why": "because", "a": "b"}}},
        Rule("allow", annotations=(("a", "b"), ("why", "because"))),
    ),
    ({"http": {"methods": ["GET"]}}, Rule("allow")),
]


@pytest.mark.parametrize(("members", "expected"), CASES)
def test_a_rule_of_a_global_policy(members: dict[str, Any], expected: Rule) -> None:
    found, sets = _translated(members)
    assert found == expected
    sides = (found.source, found.destination)
    assert sets.keys() == {
        uid for side in sides for uid in side.sets + side.not_sets + side.port_sets + side.not_port_sets
    }
    assert all(definition.id == uid for uid, definition in sets.items())


_NS = "projectcalico.org/namespace == 'red'"
_PEERS: list[tuple[dict[str, Any], str, str | None]] = [
    ({}, "", None),
    ({}, "red", None),
    ({"nets": ["10.0.0.0/8"]}, "red", None),
    ({"selector": "a == '1' || b == '2'"}, "", "a == '1' || b == '2'"),
    ({"selector": "a == '1' || b == '2'"}, "red", f"({_NS}) && (a == '1' || b == '2')"),
    ({"namespaceSelector": "team == 'x'"}, "red", "pcns.team == 'x'"),
    ({"namespaceSelector": "team == 'x'", "selector": "has(a)"}, "red", "(pcns.team == 'x') && (has(a))"),
    ({"namespaceSelector": "team == 'x'", "selector": "has(a)"}, "", "(pcns.team == 'x') && (has(a))"),
    ({"namespaceSelector": "all()"}, "red", "has(projectcalico.org/namespace)"),
    ({"namespaceSelector": "!all() || has(x)"}, "", "!has(projectcalico.org/namespace) || has(pcns.x)"),
    ({"serviceAccounts": {"names": ["b", "a"]}}, "", "projectcalico.org/serviceaccount in {'a', 'b'}"),
    (
        {"serviceAccounts": {"names": ["a"], "selector": "x == 'y'"}, "selector": "has(a)"},
        "red",
        f"({_NS}) && (((pcsa.x == 'y') && projectcalico.org/serviceaccount in {{'a'}}) && has(a))",
    ),
]


@pytest.mark.parametrize(("members", "namespace", "expected"), _PEERS)
def test_what_a_peer_must_be(members: dict[str, Any], namespace: str, expected: str | None) -> None:
    found, sets = _translated(_side(**members), namespace)
    assert found.source.sets == (() if expected is None else (parse(expected).uid,))
    assert len(sets) == len(found.source.sets)


_POLICIES = [
    (("", "", "", ""), "all()"),
    (("has(a)", "", "", ""), "has(a)"),
    (("", "red", "", ""), _NS),
    (("has(a) || has(b)", "red", "", ""), f"(has(a) || has(b)) && {_NS}"),
    (("", "", "team == 'x'", ""), "pcns.team == 'x'"),
    (("has(a)", "", "all()", ""), "has(a) && has(projectcalico.org/namespace)"),
    (("has(a)", "", "", "x == 'y'"), "has(a) && pcsa.x == 'y'"),
    (("has(a)", "red", "", "all()"), f"(has(a) && has(projectcalico.org/serviceaccount)) && {_NS}"),
]


@pytest.mark.parametrize(("given", "expected"), _POLICIES)
def test_whom_a_policy_selects(given: tuple[str, str, str, str], expected: str) -> None:
    assert selectors.of_policy(*given) == parse(expected)


def test_a_selector_as_deep_as_may_be_is_no_deeper_for_being_joined() -> None:
    """What the model accepts must translate, whatever is put around it: an error here would stop felix."""
    deep = "(" * 100 + "has(a)" + ")" * 100
    found = selectors.of_peer(deep, "", "", ServiceAccounts(("x",)), "red")
    assert found is not None
    assert selectors.without(found, parse(deep)).matches({}) is False
    assert selectors.of_policy(deep, "red", "", "").matches({"a": ""}) is False
