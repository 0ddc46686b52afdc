"""What NetworkPolicy and GlobalNetworkPolicy share."""

from typing import Any

from calico.model.problems import Report
from calico.model.resource import Resource
from calico.model.rule import Rule
from calico.model.schema import Choice, Listing

TYPES = Listing(Choice("Ingress", "Egress"))


def default_types(resource: Resource[Any]) -> Resource[Any]:
    """The policy with its types, by the rules it has; one without rules selects for ingress."""
    spec = resource.spec
    if spec.types:
        return resource
    if not spec.egress:
        types: tuple[str, ...] = ("Ingress",)
    else:
        types = ("Ingress", "Egress") if spec.ingress else ("Egress",)
    return resource._replace(spec=spec._replace(types=types))


def check_types(types: tuple[str, ...], report: Report) -> None:
    """Report a direction that is given twice."""
    for name in sorted({name for name in types if types.count(name) > 1}):
        report.add(("spec", "types"), f"'{name}' type specified more than once")


def check_egress(rules: tuple[Rule, ...], report: Report) -> None:
    """Report egress rules that match HTTP requests, which only ingress rules may."""
    for index, rule in enumerate(rules):
        if rule.http is not None:
            report.add(("spec", "egress", index, "http"), "not allowed in an egress rule")
