"""What every operation of IPAM works with."""

import random
import time
from collections.abc import Callable
from typing import NamedTuple

from calico.datastore.store import Store
from calico.ipam.inventory import Inventory
from calico.ipam.view import MOST_ATTEMPTS, Attempts


class Context(NamedTuple):
    """The datastore, where pools and nodes come from, and the chance and pauses that keep hosts out of step."""

    store: Store
    inventory: Inventory
    chance: random.Random
    attempts: Attempts


def context(
    store: Store,
    inventory: Inventory | None = None,
    chance: random.Random | None = None,
    sleep: Callable[[float], None] = time.sleep,
    most_attempts: int = MOST_ATTEMPTS,
) -> Context:
    """A context; without an inventory pools and nodes are read from the datastore each time."""
    from calico.ipam.inventory import StoredInventory

    chance = chance or random.Random()
    return Context(store, inventory or StoredInventory(store), chance, Attempts(chance, sleep, most_attempts))
