"""The lab's own HTTP server, in the lab's own network: one bundle at a time, at the address nodes install from."""

import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from lab.instance import Instance
from lab.network import Network


class Server:
    """Serves what a link points to, so that another bundle takes the place of the one before in one rename."""

    def __init__(self, instance: Instance, network: Network, url: str) -> None:
        self.instance = instance
        self.network = network
        self.port = urlsplit(url).port or 80
        self.log = instance.directory / "server.log"
        self._link = instance.directory / "served"

    def start(self) -> None:
        """Start it; it runs until the lab is taken down."""
        command: Sequence[str] = (
            *(sys.executable, "-m", "http.server", "--bind", self.network.gateway, "--directory", str(self._link)),
            str(self.port),
        )
        self.instance.spawn("server", command, netns=self.network.bridge, log=self.log)

    def serve(self, directory: Path) -> None:
        """From now on, this bundle is what the address shows."""
        draft = self._link.with_suffix(".new")
        draft.symlink_to(directory.resolve())
        draft.rename(self._link)
