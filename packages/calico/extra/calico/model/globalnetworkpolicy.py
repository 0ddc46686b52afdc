"""GlobalNetworkPolicy: rules for endpoints of any namespace, and for hosts."""

from typing import NamedTuple

from calico.model import formats, policy
from calico.model.problems import Report
from calico.model.resource import Definition, Resource
from calico.model.rule import RULES, SELECTOR, Rule
from calico.model.schema import FLAG, NUMBER, Member, Struct


class GlobalNetworkPolicySpec(NamedTuple):
    """`order` None is last; an empty selector selects everything."""

    order: float | None = None
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    selector: str = ""
    types: tuple[str, ...] = ()
    do_not_track: bool = False
    pre_dnat: bool = False
    apply_on_forward: bool = False
    service_account_selector: str = ""
    namespace_selector: str = ""


SPEC = Struct(
    GlobalNetworkPolicySpec,
    (
        Member("order", NUMBER, optional=True),
        Member("ingress", RULES),
        Member("egress", RULES),
        Member("selector", SELECTOR),
        Member("types", policy.TYPES),
        Member("doNotTrack", FLAG),
        Member("preDNAT", FLAG),
        Member("applyOnForward", FLAG),
        Member("serviceAccountSelector", SELECTOR),
        Member("namespaceSelector", SELECTOR),
    ),
)


def _check(resource: Resource[GlobalNetworkPolicySpec], report: Report) -> None:
    spec = resource.spec
    policy.check_types(spec.types, report)
    policy.check_egress(spec.egress, report)
    if spec.do_not_track and spec.pre_dnat:
        report.add(("spec", "preDNAT"), "preDNAT and doNotTrack cannot both be true")
    if spec.pre_dnat and spec.egress:
        report.add(("spec", "egress"), "a preDNAT policy cannot have egress rules")
    if spec.pre_dnat and "Egress" in spec.types:
        report.add(("spec", "types"), "a preDNAT policy cannot have the type Egress")
    if (spec.pre_dnat or spec.do_not_track) and not spec.apply_on_forward:
        report.add(("spec", "applyOnForward"), "must be true where preDNAT or doNotTrack is true")


DEFINITION = Definition(SPEC, formats.label_name, prepare=policy.default_types, check=_check)
