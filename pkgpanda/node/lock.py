"""One change at a time: a lock on `<root>/.lock` that the kernel drops when its holder dies."""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from pkgpanda.errors import PandaError
from pkgpanda.node.layout import Layout


@contextlib.contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Hold the node's lock; PandaError when somebody else does."""
    os.makedirs(layout.root, exist_ok=True)
    descriptor = _take(layout.at(".lock"))
    try:
        yield
    finally:
        os.close(descriptor)


def _take(path: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise PandaError.one(
                path, f"another pkgpanda (process {holder or 'unknown'}) is changing this node", "wait for it to end"
            ) from error
        if _is_still(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return descriptor
        os.close(descriptor)


def _is_still(path: str, descriptor: int) -> bool:
    """Whether the locked file is the one of that name: an uninstallation may have removed it meanwhile."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
