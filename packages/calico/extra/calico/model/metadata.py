"""The `metadata` every resource carries."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from calico.model import formats
from calico.model.problems import Path, Report
from calico.model.scalars import TIMESTAMP
from calico.model.schema import ANY, INTEGER, TEXT, TEXTS, Listing, Member, Struct, TextMap


class Metadata(NamedTuple):
    """A resource's name, labels and bookkeeping; `resource_version` is etcd's mod_revision and never stored."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    self_link: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    owner_references: tuple[Any, ...] = ()
    finalizers: tuple[str, ...] = ()
    cluster_name: str = ""
    managed_fields: tuple[Any, ...] = ()


def check_annotations(annotations: Mapping[str, str], path: Path, report: Report) -> None:
    """Report annotations that together are larger than a resource may carry."""
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > formats.LONGEST_ANNOTATIONS:
        report.add(path, f"total size of annotations is too large by {size - formats.LONGEST_ANNOTATIONS} bytes")


def _rule(metadata: Metadata, path: Path, report: Report) -> None:
    check_annotations(metadata.annotations, (*path, "annotations"), report)


METADATA = Struct(
    Metadata,
    (
        Member("name", TEXT),
        Member("generateName", TEXT),
        Member("namespace", TEXT),
        Member("selfLink", TEXT),
        Member("uid", TEXT),
        Member("resourceVersion", TEXT),
        Member("generation", INTEGER),
        Member("creationTimestamp", TIMESTAMP, optional=True, always=True),
        Member("deletionTimestamp", TIMESTAMP, optional=True),
        Member("deletionGracePeriodSeconds", INTEGER, optional=True),
        Member("labels", TextMap(formats.label)),
        Member("annotations", TextMap(formats.annotation)),
        Member("ownerReferences", Listing(ANY)),
        Member("finalizers", TEXTS),
        Member("clusterName", TEXT),
        Member("managedFields", Listing(ANY)),
    ),
    _rule,
)
