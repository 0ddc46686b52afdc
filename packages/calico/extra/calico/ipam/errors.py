"""What IPAM refuses. Each message is one line that says what to do where that is not plain.

A datastore that cannot answer is calico.datastore's DatastoreError, and comes through as it is.
"""


class IpamError(Exception):
    """A request that cannot be carried out as things stand. Nothing was changed unless the subclass says so."""


class NotFoundError(IpamError):
    """What the request names does not exist: a node, a pool, a handle, an allocation."""


class AlreadyAllocatedError(IpamError):
    """The address asked for is somebody's."""


class AffinityError(IpamError):
    """Strict affinity, or another host's claim, stands against it."""


class NotEmptyError(IpamError):
    """The block still holds addresses."""


class UnreadableError(IpamError):
    """A value in the datastore is broken; the message names its key."""


class ContentionError(IpamError):
    """Others changed the same keys every time we tried. Addresses taken before it are given back."""
