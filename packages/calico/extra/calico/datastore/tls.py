"""TLS from files that may be replaced at any time."""

import errno
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from calico.datastore import log

_Stamp = tuple[tuple[int, int, int], ...]


class TlsFiles(NamedTuple):
    """Who vouches for the servers, and this client's certificate and key: paths, or PEM text; empty for none."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


class TlsContext:
    """An SSL context that follows its files: `get` reads them again when one has changed.

    A set of files in the middle of being replaced (a certificate without its key yet) does not unseat the context in
    use; the files are tried again at the next connection.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp: _Stamp | None = None
        self._context: ssl.SSLContext | None = None

    def get(self) -> ssl.SSLContext:
        """The context for a new connection; raise OSError when the files have never been usable."""
        try:
            stamp = self._read_stamp()
            if self._context is None or stamp != self._stamp:
                self._context, self._stamp = self._load(), stamp
        except OSError as error:  # ssl.SSLError is one
            if self._context is None:
                raise
            log.warning("keeping the TLS files read before: %s", error)
        return self._context

    def _read_stamp(self) -> _Stamp:
        stats = [os.stat(path) for path in self._files if path and not _is_pem(path)]
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)

    def _load(self) -> ssl.SSLContext:
        ca, certificate, key = self._files
        inline = _is_pem(ca)
        with _named(ca, "is not a certificate authority's PEM"):
            context = ssl.create_default_context(cafile=None if inline else ca or None, cadata=ca if inline else None)
        with _named(certificate, "and its key are not PEM, or do not belong together"):
            if _is_pem(certificate):
                _load_pem(context, certificate, key)
            elif certificate:
                context.load_cert_chain(certificate, key or None)
        return context


@contextmanager
def _named(path: str, wrong: str) -> Iterator[None]:
    """Say of which file OpenSSL complains, and what about: its own texts name neither."""
    try:
        yield
    except ssl.SSLError:
        subject = "the one in the settings" if _is_pem(path) else path
        raise OSError(errno.EINVAL, f"{subject} {wrong}") from None


def _is_pem(text: str) -> bool:
    return "-----BEGIN " in text


def _load_pem(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """OpenSSL reads certificates from files only; this one has no name and is gone when it is closed."""
    with os.fdopen(os.memfd_create("certificate"), "wb") as file:
        file.write(f"{certificate}\n{key}\n".encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
