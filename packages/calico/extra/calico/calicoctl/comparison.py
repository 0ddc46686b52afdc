"""What a dry run would have changed, resource by resource."""

from typing import Any, NamedTuple

from calico.calicoctl.overlay import Overlay, Written
from calico.client import values
from calico.datastore.store import KeyValue
from calico.model.keys import ResourceKey
from calico.model.problems import ModelError
from calico.model.resource import encode, resource_id

_BOOKKEEPING = ("uid", "resourceVersion", "creationTimestamp", "generation")


class Difference(NamedTuple):
    """One resource before and after, as documents without bookkeeping; None where it does not exist."""

    id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def change(self) -> str:
        """`created`, `changed` or `deleted`."""
        if self.before is None:
            return "created"
        return "deleted" if self.after is None else "changed"


def differences(overlay: Overlay) -> list[Difference]:
    """The resources that are different in `overlay`: those asked for, and those changed for their sake."""
    found = [_difference(written) for written in overlay.written()]
    return [one for one in found if one is not None and one.before != one.after]


def _difference(written: Written) -> Difference | None:
    key = ResourceKey.parse(written.key)
    if key is None:
        return None
    return Difference(
        resource_id(key.kind, key.namespace, key.name), _document(written.before), _document(written.after)
    )


def _document(item: KeyValue | None) -> dict[str, Any] | None:
    if item is None:
        return None
    try:
        document = encode(values.read(item))
    except ModelError as error:
        return {"unreadable": str(error)}
    for member in _BOOKKEEPING:
        document["metadata"].pop(member, None)
    return document
