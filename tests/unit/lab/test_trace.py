"""What the lab makes of `policy trace -o json`."""

import json
from typing import Any

from lab.trace import parse


def stage(direction: str, result: str, why: str) -> dict[str, Any]:
    step = {"what": "policy", "name": "default/p", "rule": 2, "result": result, "why": "the rule matches"}
    other = {"what": "profile", "name": "calico", "rule": 0, "result": "no match", "why": "not asked"}
    return {
        "node": "10.99.0.3",
        "endpoint": "default/e",
        "direction": direction,
        "steps": [other, step],
        "verdict": result,
        "why": why,
    }


def told(verdict: str, *stages: dict[str, Any], drops: list[dict[str, Any]] | None = None) -> str:
    document = {"verdict": verdict, "why": "no rule", "stages": list(stages)}
    return json.dumps(document if drops is None else {**document, "drops": drops})


def test_a_denial_names_the_rule_and_the_counters() -> None:
    drops = [
        {"version": 4, "interface": "cali1", "direction": "ingress", "cause": "policy", "packets": 3, "octets": 180}
    ]
    trace = parse(told("deny", stage("ingress", "deny", "rule 2 of policy default/p denies it"), drops=drops))
    assert not trace.is_allowed
    assert trace.summary == "ingress: rule 2 of policy default/p denies it"
    assert "  policy default/p, rule 2: deny: the rule matches" in trace.text.splitlines()
    assert "  profile calico: no match: not asked" in trace.text.splitlines()
    assert "cali1 ingress, by policy: 3 packets" in trace.text


def test_both_sides_are_told_when_it_passes() -> None:
    trace = parse(told("allow", stage("egress", "allow", "a"), stage("ingress", "allow", "b")))
    assert (trace.is_allowed, trace.summary) == (True, "egress: a; ingress: b")


def test_a_packet_that_no_endpoint_sees_has_the_traces_own_words() -> None:
    assert parse(told("allow")).summary == "no rule"
