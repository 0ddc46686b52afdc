"""`Tracker`: the configuration in force, as the datastore changes."""

from collections.abc import Iterable, Sequence
from typing import Any

from calico.datastore.syncer import Update
from calico.felix.config.resolve import Resolved, resolve
from calico.felix.config.sources import Source, from_resources, of_node
from calico.model.keys import ResourceKey


class Tracker:
    """Follows the resources that configure the felix of one node, beside what the machine itself says.

    `local` are the machine's sources, the strongest first; `hostname` is the system's, for where they give none. The
    name of the node is theirs alone, so `hostname` of this object never changes.
    """

    def __init__(self, local: Sequence[Source], hostname: str) -> None:
        self._local, self._system_name = tuple(local), hostname
        self.hostname = resolve(self._local, hostname).settings.hostname
        mine = f"node.{self.hostname}"
        self._keys = {
            ResourceKey("FelixConfiguration", mine).path: mine,
            ResourceKey("FelixConfiguration", "default").path: "default",
            ResourceKey("ClusterInformation", "default").path: "cluster",
            ResourceKey("Node", self.hostname).path: "node",
        }
        self._mine = mine
        self._values: dict[str, Any] = {}

    def update(self, updates: Iterable[Update]) -> bool:
        """Take in what became of some keys, with values as `sources.DECODERS` makes them (a Node's as calc has it).

        True where one of them is about this node's configuration; other keys are ignored.
        """
        concerned = False
        for key, value, _ in updates:
            if name := self._keys.get(key):
                self._values[name] = value
                concerned = True
        return concerned

    @property
    def is_ready(self) -> bool:
        """Whether the datastore says that it may be used."""
        cluster = self._values.get("cluster")
        return bool(cluster is not None and cluster.ready)

    def resolved(self) -> Resolved:
        """The configuration as it is now."""
        values = self._values
        node = from_resources(values.get(self._mine), of_node(values.get("node")))
        cluster = from_resources(values.get("default"), values.get("cluster"))
        return resolve((*self._local, node, cluster), self._system_name)
