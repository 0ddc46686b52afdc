"""The engine as the agent runs it: over the agent's own datastore, with pools and nodes remembered for a while."""

from pathlib import Path
from typing import Any

from calico.cni.answer import Answer, Input, answer
from calico.cni.conf import IPAM_TYPE, Call
from calico.cni.plugin import Plugin
from calico.datastore.store import Store
from calico.ipam.inventory import CachedInventory, StoredInventory


class _Declined(BaseException):
    """A call that is for the plugin's own process."""


class Service:
    """Answers the plugins' calls. `endpoints` are those of the agent's datastore.

    Left to the plugin's own process is what names another datastore, and what needs another IPAM plugin: the agent is
    confined, and runs no programs of others.
    """

    def __init__(self, store: Store, endpoints: tuple[str, ...], nodename_file: Path) -> None:
        self._plugin = Plugin(store, CachedInventory(StoredInventory(store)), nodename_file)
        self._endpoints = frozenset(_plain(one) for one in endpoints)

    def handle(self, given: Input) -> Answer | None:
        """See server.Server."""
        try:
            return answer(given, self._run)
        except _Declined:
            return None

    def _run(self, call: Call) -> dict[str, Any] | None:
        if not self._is_ours(call):
            raise _Declined
        return self._plugin.run(call)

    def _is_ours(self, call: Call) -> bool:
        if call.plugin != IPAM_TYPE and call.conf.ipam.type not in (IPAM_TYPE, ""):
            return False
        if call.conf.datastore.get("datastoreType", "etcdv3") != "etcdv3":
            return False
        named = call.conf.datastore.get("etcdEndpoints", "")
        return not named or frozenset(_plain(one) for one in named.split(",")) == self._endpoints


def _plain(endpoint: str) -> str:
    return endpoint.strip().rstrip("/")
