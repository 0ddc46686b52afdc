"""The ClusterInformation that every cluster has."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError
from calico.model.clusterinformation import ClusterInformationSpec
from calico.model.metadata import Metadata
from calico.model.resource import Resource

if TYPE_CHECKING:
    from calico.client.resources import Client

_PAUSE = 1.0
_ATTEMPTS = 30


def ensure_initialized(
    client: "Client", version: str = "", cluster_type: str = "", sleep: Callable[[float], None] = time.sleep
) -> None:
    """Create the ClusterInformation, or fill in what it lacks.

    A `datastoreReady` of false stays: somebody holds the datastore locked, and felix waits. `cluster_type` is a comma
    list whose members are added to those there. Raise ConflictError when others keep changing it.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            sleep(_PAUSE)
        try:
            return _ensure(client, version, cluster_type)
        except (AlreadyExistsError, ConflictError):
            continue
    raise ConflictError("ClusterInformation(default)")


def _ensure(client: "Client", version: str, cluster_type: str) -> None:
    try:
        stored = client.get("ClusterInformation", "default")
    except NotFoundError:
        spec = _filled(ClusterInformationSpec(), version, cluster_type)
        client.create(Resource("ClusterInformation", Metadata("default"), spec))
        return
    spec = _filled(stored.spec, version, cluster_type)
    if spec != stored.spec:
        client.replace(stored._replace(spec=spec))


def _filled(spec: ClusterInformationSpec, version: str, cluster_type: str) -> ClusterInformationSpec:
    there = spec.cluster_type.split(",")
    added = [word for word in cluster_type.split(",") if word and word not in there]
    return ClusterInformationSpec(
        cluster_guid=spec.cluster_guid or _guid(),
        cluster_type=",".join([spec.cluster_type, *added] if spec.cluster_type else added),
        calico_version=version or spec.calico_version,
        datastore_ready=True if spec.datastore_ready is None else spec.datastore_ready,
    )


def _guid() -> str:
    import uuid

    return uuid.uuid4().hex
