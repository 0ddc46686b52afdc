"""ClusterInformation: the one record of the cluster's identity, named `default`."""

from typing import NamedTuple

from calico.model import formats
from calico.model.resource import Definition
from calico.model.schema import FLAG, TEXT, Member, Struct


class ClusterInformationSpec(NamedTuple):
    """`datastore_ready` None counts as not ready."""

    cluster_guid: str = ""
    cluster_type: str = ""
    calico_version: str = ""
    datastore_ready: bool | None = None


SPEC = Struct(
    ClusterInformationSpec,
    (
        Member("clusterGUID", TEXT),
        Member("clusterType", TEXT),
        Member("calicoVersion", TEXT),
        Member("datastoreReady", FLAG, optional=True, always=True),
    ),
)


def only_default(name: str) -> str:
    """What is wrong with the name of a kind of which there is one resource."""
    return "" if name == "default" else "there is only one, named default"


DEFINITION = Definition(SPEC, lambda name: formats.name(name) or only_default(name))
