"""What can be wrong with an operation on a resource. Each message is one line that names the resource.

An invalid resource is calico.model's ModelError; a datastore that cannot answer is calico.datastore's DatastoreError.
"""


class ResourceError(Exception):
    """An operation that was refused. `id` names the resource, as `Kind(name)` or `Kind(namespace/name)`."""

    def __init__(self, identity: str, message: str) -> None:
        self.id = identity
        super().__init__(message)


class AlreadyExistsError(ResourceError):
    """Something of that name is there already."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity, f"resource already exists: {identity}")


class NotFoundError(ResourceError):
    """Nothing of that name is there."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity, f"resource does not exist: {identity}")


class ConflictError(ResourceError):
    """It was changed since it was read: read it again, and decide anew."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity, f"update conflict: {identity}")


class UnsupportedError(ResourceError):
    """The operation makes no sense for this resource."""

    def __init__(self, identity: str, operation: str, reason: str) -> None:
        super().__init__(identity, f"operation {operation} is not supported on {identity}: {reason}")
