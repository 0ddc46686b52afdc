"""Two network namespaces that a test has for itself."""

import os
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from calico.netlink.namespaces import netlink_in, open_namespace
from calico.netlink.socket import Netlink


class Space(NamedTuple):
    """A namespace: its name, a descriptor of it and a socket in it."""

    name: str
    descriptor: int
    netlink: Netlink

    def ip(self, *words: str) -> str:
        """What iproute2 says there."""
        return subprocess.run(
            ["ip", "-n", self.name, *words], check=True, capture_output=True, text=True, timeout=20
        ).stdout


@pytest.fixture
def spaces() -> Iterator[tuple[Space, Space]]:
    names = [f"nlt-{os.getpid()}-{side}" for side in ("a", "b")]
    opened: list[Space] = []
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, timeout=20)
            # With lo comes the table of local addresses, without which the kernel takes no gateway for one.
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True, timeout=20)
            descriptor = open_namespace(f"/run/netns/{name}")
            opened.append(Space(name, descriptor, netlink_in(descriptor)))
        yield opened[0], opened[1]
    finally:
        for space in opened:
            space.netlink.close()
            os.close(space.descriptor)
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=20)
