"""Warnings before a write that may cut a node from etcd; the analysis is loaded only for the kinds that can."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calico.calicoctl.cutoff import Rehearsal
    from calico.calicoctl.session import Session
    from calico.client.resources import Client

_SENSITIVE = frozenset(("GlobalNetworkPolicy", "HostEndpoint", "FelixConfiguration", "Profile"))


class Caution:
    """Watches over the writes of one command, in their order."""

    def __init__(self, session: "Session", client: "Client") -> None:
        self._session, self._client = session, client
        self._rehearsal: Rehearsal | None = None

    def warn(self, kind: str, subject: str, act: "Callable[[Client], object]") -> None:
        """Say on stderr what `act`, about to be done to a resource of `kind`, would cut from etcd."""
        if kind not in _SENSITIVE:
            return
        if self._rehearsal is None:
            from calico.calicoctl.cutoff import Rehearsal

            self._rehearsal = Rehearsal(self._client.store, self._session.endpoints)
        for cut in self._rehearsal.caused(act):
            self._session.complain(f"Warning: {subject} {cut.sentence()}")
