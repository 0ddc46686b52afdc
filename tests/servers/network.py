"""Hosts as network namespaces on one bridge, for tests that cut cables. Needs root; `remove` leaves nothing behind."""

import os
import subprocess
from collections.abc import Sequence


class Network:
    """A bridge namespace and one namespace per host, `10.213.0.<1...>`. The names carry this process's id."""

    def __init__(self, hosts: Sequence[str], tag: str) -> None:
        self._prefix = f"{tag}-{os.getpid()}"
        self._hosts = list(hosts)
        self._bridge = f"{self._prefix}-br"

    def create(self) -> "Network":
        """Make the namespaces and cables."""
        _ip("netns", "add", self._bridge)
        self._in(self._bridge, "link", "add", "name", "bridge0", "type", "bridge")
        self._in(self._bridge, "link", "set", "bridge0", "up")
        for host in self._hosts:
            self._attach(host)
        return self

    def address(self, host: str) -> str:
        """The host's address."""
        return f"10.213.0.{self._hosts.index(host) + 1}"

    def prefix(self, host: str) -> tuple[str, ...]:
        """The words that run a command on the host."""
        return ("ip", "netns", "exec", self._name(host))

    def cut(self, host: str) -> None:
        """Pull the host's cable: packets vanish, no connection is told."""
        self._in(self._bridge, "link", "set", host, "down")

    def heal(self, host: str) -> None:
        """Put it back."""
        self._in(self._bridge, "link", "set", host, "up")

    def remove(self) -> None:
        """Remove all of it; the hosts' processes must have ended."""
        for name in (*map(self._name, self._hosts), self._bridge):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def _attach(self, host: str) -> None:
        name = self._name(host)
        _ip("netns", "add", name)
        self._in(name, "link", "set", "lo", "up")
        self._in(name, "link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", self._bridge)
        self._in(name, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        self._in(name, "link", "set", "eth0", "up")
        self._in(self._bridge, "link", "set", host, "master", "bridge0", "up")

    def _name(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _in(self, namespace: str, *arguments: str) -> None:
        _ip("-n", namespace, *arguments)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
