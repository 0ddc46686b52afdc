"""Every validation rule accepts what it should and refuses what it should, at the member that is wrong."""

from typing import Any

import pytest

from calico.model.problems import ModelError, Problem, dotted
from calico.model.resource import decode, encode, prepare, validate
from tests.unit.model.rules import RULES, Change, Rule, document, table

ACCEPTED = [(rule, case) for rule in RULES for case in rule.accepts]
REFUSED = [(rule, case) for rule in RULES for case in rule.refuses]


def problems(given: dict[str, Any]) -> list[Problem]:
    """All that is wrong with a document, as a write would find it."""
    try:
        return validate(prepare(decode(given)))
    except ModelError as error:
        return list(error.problems)


def _name(value: Any) -> str:
    return value.name if isinstance(value, Rule) else repr(value)[:40]


@pytest.mark.parametrize(("rule", "case"), ACCEPTED, ids=_name)
def test_a_valid_document_is_accepted_and_comes_back_as_it_was(rule: Rule, case: Any) -> None:
    given = document(rule, case)
    assert problems(given) == []
    resource = prepare(decode(given))
    assert decode(encode(resource)) == resource
    assert prepare(resource) == resource


@pytest.mark.parametrize(("rule", "case"), REFUSED, ids=_name)
def test_an_invalid_document_is_refused_where_it_is_wrong(rule: Rule, case: Any) -> None:
    member = (case.at if isinstance(case, Change) else "") or rule.member
    found = problems(document(rule, case))
    top = "" if member in ("kind", "apiVersion") else member
    places = [".".join(map(str, problem.path)) for problem in found]
    assert any(place.lower().startswith(top.lower()) or top.startswith(f"{place}.") for place in places), found
    assert all(problem.message for problem in found)


def test_the_table_is_as_large_as_promised_and_every_rule_has_both_kinds_of_case() -> None:
    assert len(ACCEPTED) + len(REFUSED) >= 300
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert [rule.name for rule in RULES if not rule.accepts or not rule.refuses] == []
    assert len(table()) == len(RULES)


def test_all_problems_of_a_document_are_reported_together() -> None:
    given = {
        "kind": "NetworkPolicy",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "A", "namespace": "default"},
        "spec": {"selector": "a =", "types": ["ingress"], "ingress": [{"action": "allow"}]},
    }
    places = {dotted(problem.path) for problem in problems(given)}
    assert places == {"metadata.name", "spec.selector", "spec.types[0]", "spec.ingress[0].action"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"cidr": "10.0.0.0/16", "ipipmod": "Always"}, "spec.ipipmod: no such member (did you mean ipipMode?)"),
        ({"cidr": "10.0.0.1/16"}, "did you mean 10.0.0.0/16?"),
        (
            {"cidr": "10.0.0.0/16", "ipipMode": "always"},
            "spec.ipipMode: 'always' is none of Always, CrossSubnet, Never (did you mean Always?)",
        ),
        ({"cidr": "10.0.0.0/16", "disabled": "True"}, "spec.disabled: 'True' is not true or false"),
        ({"cidr": "10.0.0.0/16", "nodeSelector": "a = 'b'"}, "at column 3"),
    ],
)
def test_a_message_names_the_member_and_what_to_write(spec: dict[str, Any], expected: str) -> None:
    given = {"kind": "IPPool", "apiVersion": "projectcalico.org/v3", "metadata": {"name": "a"}, "spec": spec}
    assert expected in "\n".join(map(str, problems(given)))
