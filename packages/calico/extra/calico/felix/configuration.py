"""The configuration as the stream brings it: this machine's sources, and the datastore's resources as they stand."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calico.datastore.syncer import Decoder, Update
from calico.felix.config import sources
from calico.felix.config.resolve import Resolved, resolve
from calico.felix.config.sources import Given, Source
from calico.model.keys import list_prefix

NODENAME_FILE = Path("/var/lib/calico/nodename")

_CONFIGURATIONS = list_prefix("FelixConfiguration")
_CLUSTER = list_prefix("ClusterInformation") + "default"
DECODERS: Mapping[str, Decoder] = {
    _CONFIGURATIONS: sources.decode_felix_configuration,
    list_prefix("ClusterInformation"): sources.decode_cluster_information,
}
"""Beside those of the calculation, what the syncer reads for the configuration."""


def local_sources(environment: Mapping[str, str], path: str, nodename_file: Path = NODENAME_FILE) -> tuple[Source, ...]:
    """What this machine says, the strongest first. Raises ConfigError for a file that cannot be read.

    The node's name is `FelixHostname`'s where that is given, else what the variable NODENAME or the node agent's file
    says.
    """
    name, origin = environment.get("NODENAME", ""), "the variable NODENAME"
    if not name and nodename_file.is_file():
        name, origin = nodename_file.read_text().strip(), str(nodename_file)
    named = Source(True, (Given("FelixHostname", name, origin),) if name else ())
    return (sources.from_environment(environment), sources.from_file(path), named)


class Configuration:
    """What all sources together say. `update` takes a syncer's updates, and ignores what is none of its business."""

    def __init__(self, local: Sequence[Source], default_name: str = "") -> None:
        self._local, self._default_name = tuple(local), default_name or socket.gethostname()
        self._resources: dict[str, Any] = {}
        self.hostname = resolve(self._local, self._default_name).settings.hostname
        """This node's name in the datastore: no resource can change it."""
        self._node = list_prefix("Node") + self.hostname
        self._keys = frozenset(
            (_CLUSTER, self._node, f"{_CONFIGURATIONS}default", f"{_CONFIGURATIONS}node.{self.hostname}")
        )

    def update(self, update: Update) -> bool:
        """Take an update in; whether it concerns the configuration."""
        if update.key not in self._keys:
            return False
        if update.value is None:
            self._resources.pop(update.key, None)
        else:
            self._resources[update.key] = update.value
        return True

    @property
    def is_ready(self) -> bool:
        """Whether the cluster's record says that the datastore may be used."""
        cluster = self._resources.get(_CLUSTER)
        return cluster is not None and bool(cluster.ready)

    def resolve(self) -> Resolved:
        """The configuration in force."""
        found = self._resources.get
        node = sources.from_resources(
            found(f"{_CONFIGURATIONS}node.{self.hostname}"), sources.of_node(found(self._node))
        )
        cluster = sources.from_resources(found(f"{_CONFIGURATIONS}default"), found(_CLUSTER))
        return resolve((*self._local, node, cluster), self._default_name)
