"""NetworkSet and GlobalNetworkSet: addresses outside the cluster that selectors can find by label."""

from typing import NamedTuple

from calico.model import formats
from calico.model.problems import Report
from calico.model.resource import Definition, Resource
from calico.model.schema import Listing, Member, Struct, Text

_NAMESPACE_LABEL = "projectcalico.org/namespace"


class NetworkSetSpec(NamedTuple):
    """The set's networks; a bare address is its own."""

    nets: tuple[str, ...] = ()


SPEC = Struct(NetworkSetSpec, (Member("nets", Listing(Text(formats.cidr))),))


def _check(resource: Resource[NetworkSetSpec], report: Report) -> None:
    if _NAMESPACE_LABEL in resource.metadata.labels:
        report.add(("metadata", "labels", _NAMESPACE_LABEL), "is not a valid label name: Calico sets it itself")


DEFINITION = Definition(SPEC, formats.name, check=_check)
