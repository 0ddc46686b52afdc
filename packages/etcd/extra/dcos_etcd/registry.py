"""Where masters find one another: a list in the settings, or ZooKeeper.

ZooKeeper holds what DC/OS keeps there: `/etcd/nodes`, JSON `{"nodes": [addresses]}`, and the lock `/etcd/locking`. A
node is in the registry before its etcd starts for the first time, so an empty registry means that nothing was founded.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dcos_etcd.errors import EtcdError
from dcos_etcd.settings import Settings, parse_environment

if TYPE_CHECKING:
    from kazoo.client import KazooClient

_NODES, _LOCK = "/etcd/nodes", "/etcd/locking"
_TIMEOUT = 10.0
CREDENTIALS = "/run/dcos/etc/etcd/zk-creds"
"""Where DC/OS puts DATASTORE_ZK_USER and DATASTORE_ZK_SECRET; $DCOS_ETCD_ZK_CREDENTIALS names another file."""


class Registry(Protocol):
    """The masters, as far as they are known before there is a cluster to ask."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the registry or the membership meanwhile, where there is somebody to ask for it."""

    def nodes(self) -> tuple[str, ...]:
        """The addresses of the masters."""

    def may_found(self) -> bool:
        """Whether this node is the one that begins, when nobody answers."""

    def add(self) -> None:
        """Note this node."""

    def replace(self, nodes: tuple[str, ...]) -> None:
        """Make these the nodes."""


def registry_for(settings: Settings) -> Registry:
    """The registry that the settings choose."""
    return StaticRegistry(settings) if settings.discovery == "static" else ZooKeeperRegistry(settings)


class StaticRegistry:
    """master_list: its first master founds. etcd itself refuses a second learner while one joins, so nothing has
    to be locked."""

    def __init__(self, settings: Settings) -> None:
        self._address, self._masters = settings.address, settings.masters

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No lock; EtcdError where the list does not name this node."""
        if self._address not in self._masters:
            raise EtcdError(
                "etc/etcd/etcd.env",
                f"this node is {self._address}, and no master of the list ({' '.join(self._masters)})",
                "correct master_list or ip-detect",
            )
        yield

    def nodes(self) -> tuple[str, ...]:
        """The list."""
        return self._masters

    def may_found(self) -> bool:
        """Whether this is the first of the list."""
        return self._masters[0] == self._address

    def add(self) -> None:
        """The list is the operator's."""

    def replace(self, nodes: tuple[str, ...]) -> None:
        """The list is the operator's."""


class ZooKeeperRegistry:
    """The registry of DC/OS. With credentials it logs in, and nobody else may read or write what it makes."""

    def __init__(self, settings: Settings) -> None:
        self._address, self._servers = settings.address, settings.zk_addr
        self._zookeeper: KazooClient | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Connected and holding the lock. EtcdError (3) when ZooKeeper does not answer or another keeps the lock."""
        from kazoo.exceptions import KazooException
        from kazoo.handlers.threading import KazooTimeoutError

        zookeeper = self._client()
        try:
            zookeeper.start(_TIMEOUT)
            zookeeper.ensure_path("/etcd")
            lock = zookeeper.Lock(_LOCK, f"{self._address}:{os.getpid()}")
            if not lock.acquire(timeout=_TIMEOUT):
                raise self._failed(f"another master holds the lock {_LOCK}: {' '.join(lock.contenders())}")
            self._zookeeper = zookeeper
            try:
                yield
            finally:
                lock.release()
        except (KazooException, KazooTimeoutError) as error:
            raise self._failed(f"{type(error).__name__} {error}".strip()) from None
        finally:
            self._zookeeper = None
            zookeeper.stop()
            zookeeper.close()

    def nodes(self) -> tuple[str, ...]:
        """The registered addresses; the lock must be held."""
        from kazoo.exceptions import NoNodeError

        zookeeper = self._connected()
        try:
            zookeeper.sync(_NODES)
            content = zookeeper.get(_NODES)[0]
        except NoNodeError:
            return ()
        try:
            return tuple(map(str, json.loads(content or b'{"nodes": []}')["nodes"]))
        except (ValueError, KeyError, TypeError):
            raise EtcdError(f"ZooKeeper {_NODES}", 'is not {"nodes": [addresses]}', "correct it by hand") from None

    def may_found(self) -> bool:
        """Whether nobody is registered, or this node alone: it began and did not finish."""
        return set(self.nodes()) <= {self._address}

    def add(self) -> None:
        """Register this node."""
        nodes = self.nodes()
        if self._address not in nodes:
            self.replace((*nodes, self._address))

    def replace(self, nodes: tuple[str, ...]) -> None:
        """Make these the registered nodes; the lock must be held."""
        zookeeper = self._connected()
        zookeeper.ensure_path(_NODES)
        zookeeper.set(_NODES, json.dumps({"nodes": list(nodes)}).encode())

    def _connected(self) -> "KazooClient":
        if self._zookeeper is None:
            raise RuntimeError("the registry is used without its lock")
        return self._zookeeper

    def _client(self) -> "KazooClient":
        import logging

        from kazoo.client import KazooClient
        from kazoo.retry import KazooRetry
        from kazoo.security import make_digest_acl

        logging.getLogger("kazoo").setLevel(logging.CRITICAL)
        retry = KazooRetry(max_tries=3, delay=0.3, backoff=1.3)
        login: dict[str, Any] = {}
        user, secret = _credentials()
        if user and secret:
            login["auth_data"] = [("digest", f"{user}:{secret}")]
            login["default_acl"] = [make_digest_acl(user, secret, all=True)]
        return KazooClient(hosts=self._servers, timeout=_TIMEOUT, command_retry=retry, **login)

    def _failed(self, reason: str) -> EtcdError:
        return EtcdError(f"ZooKeeper at {self._servers}", reason, status=3)


def _credentials() -> tuple[str, str]:
    path = Path(os.environ.get("DCOS_ETCD_ZK_CREDENTIALS", CREDENTIALS))
    try:
        found = parse_environment(path.read_text())
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        raise EtcdError(str(path), f"cannot be read: {error.strerror}", "run as root") from None
    return found.get("DATASTORE_ZK_USER", ""), found.get("DATASTORE_ZK_SECRET", "")
