"""Where the members are: URLs, the addresses behind them, and which one to try first."""

import random
import re
import socket
import threading
import time
from collections.abc import Sequence

from calico.datastore.errors import DatastoreError
from calico.datastore.http1 import Address

_URL = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[^:/\[\]\s@]+)(?::([0-9]{1,5}))?/?")
_DEFAULT_PORT = 2379
_RESOLVED_FOR = 30.0  # seconds; DC/OS moves master.dcos.thisdcos.directory when a master is replaced


class Endpoints:
    """The configured endpoints, the one that answered last in front. A name with two addresses counts as two."""

    def __init__(self, urls: Sequence[str]) -> None:
        if not urls:
            raise DatastoreError("no etcd endpoints specified")
        self._parsed = [_parse(url) for url in urls]
        random.shuffle(self._parsed)
        self._lock = threading.Lock()
        self._addresses: list[Address] = []
        self._unresolved: dict[str, str] = {}
        self._fresh_until = 0.0

    @property
    def secure(self) -> bool:
        """Whether any endpoint speaks TLS."""
        return any(scheme == "https" for scheme, _, _ in self._parsed)

    def addresses(self) -> list[Address]:
        """Every address, in the order to try them."""
        if time.monotonic() >= self._fresh_until:
            self._resolve()
        with self._lock:
            return list(self._addresses)

    def unresolved(self) -> dict[str, str]:
        """The endpoints whose name has no address just now, and why."""
        return dict(self._unresolved)

    def prefer(self, address: Address) -> None:
        """`address` answered: try it first from now on."""
        with self._lock:
            if self._addresses and self._addresses[0] != address and address in self._addresses:
                self._addresses.remove(address)
                self._addresses.insert(0, address)

    def avoid(self, address: Address) -> None:
        """`address` failed: try it last."""
        with self._lock:
            if address in self._addresses:
                self._addresses.remove(address)
                self._addresses.append(address)

    def _resolve(self) -> None:
        found: list[Address] = []
        unresolved: dict[str, str] = {}
        for scheme, host, port in self._parsed:
            try:
                answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError as error:
                url = f"{scheme}://{host}:{port}"
                unresolved[url] = f"{url}: {error.strerror or error}"
                continue
            found += [_address(scheme, host, port, family, sockaddr) for family, _, _, _, sockaddr in answers]
        with self._lock:
            known = [address for address in self._addresses if address in found]
            self._addresses = known + [address for address in dict.fromkeys(found) if address not in known]
            self._unresolved = unresolved
            self._fresh_until = time.monotonic() + (1.0 if unresolved else _RESOLVED_FOR)


def _parse(url: str) -> tuple[str, str, int]:
    match = _URL.fullmatch(url)
    if match is None or not 0 < int(match[3] or _DEFAULT_PORT) < 65536:
        raise DatastoreError(f"etcd endpoint {url!r} is not a URL (write http://HOST:PORT or https://HOST:PORT)")
    return match[1], match[2].strip("[]"), int(match[3] or _DEFAULT_PORT)


def _address(scheme: str, host: str, port: int, family: int, sockaddr: tuple[int | str | bytes, ...]) -> Address:
    numeric = str(sockaddr[0])
    shown = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    url = shown if numeric == host else f"{shown} ({numeric})"
    words = tuple(word if isinstance(word, (int, str)) else word.decode() for word in sockaddr)
    return Address(url, int(family), words, host, port, scheme == "https")
