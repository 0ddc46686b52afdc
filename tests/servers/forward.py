"""A TCP port inside a network namespace that leads to a server outside of it: for daemons there that need etcd."""

import os
import socket
import threading
from contextlib import suppress

from calico.netlink.namespaces import open_namespace, run_in


class Forward:
    """Listens at `127.0.0.1:<port>` of the namespace at `path` and passes every connection on to `server`."""

    def __init__(self, path: str, server: tuple[str, int], port: int = 2379) -> None:
        self.server = server
        descriptor = open_namespace(path)
        self._listener = run_in(descriptor, lambda: socket.create_server(("127.0.0.1", port)))
        os.close(descriptor)
        threading.Thread(target=self._accept, name="forward", daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self.server, 5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        for handle in (near, far):
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_pump, args=(near, far), daemon=True).start()
        _pump(far, near)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for handle in (source, target):
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)
