"""Profile: rules and labels for the endpoints that name it."""

from collections.abc import Mapping
from typing import NamedTuple

from calico.model import formats
from calico.model.metadata import Metadata
from calico.model.resource import Definition, Resource
from calico.model.rule import RULES, Rule
from calico.model.schema import Member, Struct, TextMap

DEFAULT_ALLOW_NAME = "projectcalico-default-allow"


class ProfileSpec(NamedTuple):
    """`labels_to_apply` are inherited by every endpoint with the profile."""

    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    labels_to_apply: Mapping[str, str] = {}


SPEC = Struct(
    ProfileSpec,
    (Member("ingress", RULES), Member("egress", RULES), Member("labelsToApply", TextMap(formats.label))),
)

DEFINITION = Definition(SPEC, formats.name)

DEFAULT_ALLOW = Resource(
    "Profile",
    Metadata(DEFAULT_ALLOW_NAME, resource_version="0"),
    ProfileSpec((Rule("Allow"),), (Rule("Allow"),)),
)
"""The profile that is always there and never stored: it allows everything."""
