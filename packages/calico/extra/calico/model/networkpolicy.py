"""NetworkPolicy: rules for the workloads of one namespace."""

from typing import NamedTuple

from calico.model import formats, policy
from calico.model.problems import Report
from calico.model.resource import Definition, Resource
from calico.model.rule import RULES, SELECTOR, Rule
from calico.model.schema import NUMBER, Member, Struct


class NetworkPolicySpec(NamedTuple):
    """`order` None is last; an empty selector selects every workload of the namespace."""

    order: float | None = None
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    selector: str = ""
    types: tuple[str, ...] = ()
    service_account_selector: str = ""


SPEC = Struct(
    NetworkPolicySpec,
    (
        Member("order", NUMBER, optional=True),
        Member("ingress", RULES),
        Member("egress", RULES),
        Member("selector", SELECTOR),
        Member("types", policy.TYPES),
        Member("serviceAccountSelector", SELECTOR),
    ),
)


def _check(resource: Resource[NetworkPolicySpec], report: Report) -> None:
    policy.check_types(resource.spec.types, report)
    policy.check_egress(resource.spec.egress, report)


DEFINITION = Definition(SPEC, formats.policy_name, prepare=policy.default_types, check=_check)
