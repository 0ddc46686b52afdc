"""What a unit of `Type=notify` tells systemd (sd_notify(3)). Without systemd every call does nothing.

READY means that the process works; whether the cluster is reachable is said in the status, which `systemctl status`
shows.
"""

import os
import socket
import time


class Notifier:
    """The way to the service manager that started this process. Used by one thread, or guarded by its users."""

    def __init__(self, address: str | None = None, watchdog_usec: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        usec = os.environ.get("WATCHDOG_USEC", "") if watchdog_usec is None else watchdog_usec
        self.interval = int(usec) / 1e6 / 3 if usec.isdigit() else 0.0
        """Seconds between two `alive` calls that keep the watchdog content; 0: there is none."""
        self._status = ""
        self._next_alive = 0.0

    def ready(self, status: str = "") -> None:
        """This process works now."""
        self._status = status or self._status
        self._send(f"READY=1\nSTATUS={self._status}")

    def status(self, text: str) -> None:
        """One line on how things stand; sent only when it changed."""
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Called from the main loop, as often as it likes: the process is not stuck."""
        now = time.monotonic()
        if self.interval and now >= self._next_alive:
            self._next_alive = now + self.interval
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The process ends."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
                handle.settimeout(1)
                handle.sendto(message.encode(), address)
        except OSError:  # a manager that does not listen is no reason to fail
            return
