"""What surrounds one run of calicoctl: its streams, its environment, and the way to the datastore."""

import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from calico.calicoctl.settings import DEFAULT_PATH, load
from calico.datastore.settings import Settings, SettingsError
from calico.datastore.settings import open_store as open_etcd

if TYPE_CHECKING:
    from calico.client.resources import Client
    from calico.datastore.store import Store


class Failure(Exception):
    """Ends a command with exit code 1. `lines` are shown as they stand; `on_stdout`: where upstream prints them."""

    def __init__(self, *lines: str, on_stdout: bool = False) -> None:
        super().__init__("\n".join(lines))
        self.on_stdout = on_stdout


class Session:
    """One run. `open_store` makes a store of settings; a test puts one in memory there."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        open_store: "Callable[[Settings], Store] | None" = None,
        stdin: Any = None,
    ) -> None:
        self.environment = os.environ if environment is None else environment
        self.stdin: Any = stdin if stdin is not None else getattr(sys.stdin, "buffer", io.BytesIO())
        self.stdout: TextIO = _utf8(sys.stdout)
        self.stderr: TextIO = _utf8(sys.stderr)
        self.endpoints: tuple[str, ...] = ()
        self._open_store = open_store or open_etcd

    def say(self, text: str) -> None:
        """One line of result."""
        print(text, file=self.stdout)

    def complain(self, text: str) -> None:
        """One line of what went wrong, or of what the user should know."""
        self.stdout.flush()
        print(text, file=self.stderr)

    def client(self, config: str = DEFAULT_PATH, dry_run: bool = False) -> "Client":
        """A client of the datastore that `config` or the environment names; raises Failure."""
        from calico.client.resources import Client
        from calico.datastore.errors import DatastoreError

        try:
            settings = load(config, self.environment)
            self.endpoints = settings.endpoints
            store = self._open_store(settings)
        except SettingsError as error:
            text = str(error) if error.on_stdout else f"Failed to create Calico API client: {error}"
            raise Failure(text, on_stdout=True) from None
        except DatastoreError as error:
            raise Failure(f"Failed to create Calico API client: {error}", on_stdout=True) from None
        if dry_run:
            from calico.calicoctl.overlay import Overlay

            return Client(Overlay(store))
        return Client(store)


def _utf8(stream: TextIO | None) -> TextIO:
    """The stream, able to print any text; a closed one (`>&-`) is replaced by one that leads nowhere."""
    if stream is None:
        return io.StringIO()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return stream
