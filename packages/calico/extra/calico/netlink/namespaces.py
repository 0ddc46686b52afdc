"""Network namespaces other than the process's own.

A thread that enters another namespace makes a socket there and ends; the socket stays where it was made. The process's
own threads are never moved.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from calico.netlink.socket import NETLINK_ROUTE, Netlink

_CLONE_NEWNET = 0x40000000
T = TypeVar("T")


def netlink_in(namespace: int, protocol: int = NETLINK_ROUTE, timeout: float = 10.0) -> Netlink:
    """A netlink socket in the network namespace that the file descriptor `namespace` refers to."""
    return run_in(namespace, lambda: Netlink(protocol, timeout))


def run_in(namespace: int, work: Callable[[], T]) -> T:
    """What `work` returns when a thread of its own runs it inside a network namespace; its exceptions are raised here.

    Also for files of /proc/sys/net, which show the namespace of the thread that opens them.
    Raises OSError where the descriptor is no network namespace or the process may not enter it.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def thread() -> None:
        try:
            enter(namespace)
            results.append(work())
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=thread, name="in-netns")
    worker.start()
    worker.join()
    if errors:
        raise errors[0]
    return results[0]


def open_namespace(path: str) -> int:
    """A descriptor of the network namespace at `path`; the caller closes it. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def same_namespace(first: int, second: int) -> bool:
    """Whether two descriptors refer to one network namespace."""
    one, other = os.fstat(first), os.fstat(second)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def enter(namespace: int) -> None:
    """Move the calling thread, and no other, for good (Python has os.setns from 3.12 on). Raises OSError."""
    if _libc().setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
