"""Fetching over http, https or from a folder: resumed where it broke off, repeated with pauses, verified at the end."""

import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from pkgpanda.errors import PandaError
from pkgpanda.node.archive import check_digest
from pkgpanda.node.host import Host

_CHUNK = 1 << 18
_TIMEOUT = 30
_PAUSES = (1, 2, 4, 8)
_SENDABLE = re.compile(r"[!-~]+")
_ABSENT = frozenset({403, 404, 410})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class _TryAgain(Exception):
    """A failure that may pass."""


class NotThere(PandaError):
    """The server, or the folder, has nothing of that name. (S3 answers 403 where the asker may not list.)"""


def check_url(url: str) -> str:
    """`url` without a slash at its end; PandaError when it is none we can use."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:  # of the brackets of an IPv6 address, or the port
        raise PandaError.one(url, f"is no address: {error}") from error
    is_remote = parts.scheme in ("http", "https")
    if not (parts.scheme == "file" or (is_remote and host)):
        raise PandaError.one(url or "repository URL", "is no http://, https:// or file:// address")
    if (is_remote and not _SENDABLE.fullmatch(url)) or "\0" in urllib.parse.unquote(url):
        raise PandaError.one(url, "has a character that no address may have", "write it as %XX: a space is %20")
    return url.rstrip("/")


def fetch_small(host: Host, url: str, limit: int = 16 << 20) -> bytes:
    """A document as a whole."""

    def attempt() -> bytes:
        with _open(url, 0) as answer:
            data: bytes = answer.read(limit + 1)
        if len(data) > limit:
            raise PandaError.one(url, f"is longer than {limit} bytes")
        return data

    result = _repeat(host, url, attempt)
    assert isinstance(result, bytes)
    return result


def fetch_optional(host: Host, url: str, limit: int) -> bytes | None:
    """A document as a whole; None where there is none of that name."""
    try:
        return fetch_small(host, url, limit)
    except NotThere:
        return None


def fetch_file(host: Host, url: str, path: str, size: int, sha256: str) -> None:
    """Bring a file of known size and digest to `path`. What is there of an earlier attempt is continued."""

    def attempt() -> None:
        have = os.path.getsize(path) if os.path.exists(path) else 0
        if have > size:
            host.unlink(path)
            have = 0
        if have < size or size == 0:
            _continue(host, url, path, have, size)
        if os.path.getsize(path) < size:
            raise _TryAgain(f"the answer ended after {os.path.getsize(path)} of {size} bytes")

    resumed = os.path.exists(path)
    _repeat(host, url, attempt)
    try:
        check_digest(path, sha256)
    except PandaError as error:
        host.unlink(path)
        if resumed:
            fetch_file(host, url, path, size, sha256)
            return
        raise PandaError.one(url, *error.problems[0][1:]) from error


def _continue(host: Host, url: str, path: str, have: int, size: int) -> None:
    with _open(url, have) as answer:
        status = getattr(answer, "status", None)
        if have and status == 200:  # the server does not do ranges
            host.unlink(path)
            have = 0
        elif have and status is None:
            answer.seek(have)
        host.append(path, _chunks(answer, url, size - have))


def _chunks(answer: Any, url: str, expected: int) -> Iterator[bytes]:
    left = expected
    while data := answer.read(_CHUNK):
        left -= len(data)
        if left < 0:
            raise PandaError.one(url, "is longer than the manifest says", "the bundle served is damaged")
        yield data


def _open(url: str, start: int) -> Any:
    if url.startswith("file://"):
        return open(urllib.parse.unquote(urllib.parse.urlsplit(url).path), "rb")
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _TRANSIENT:
            raise _TryAgain(f"the server answers {error.code} {error.reason}") from error
        kind = NotThere if error.code in _ABSENT else PandaError
        raise kind.one(url, f"the server answers {error.code} {error.reason}", "is the URL right?", 3) from error


def _repeat(host: Host, url: str, attempt: Any) -> object:
    """Attempt until it works or the pauses are used up."""
    for pause in (*_PAUSES, None):
        try:
            return attempt()
        except _TryAgain as error:
            said = str(error)
        except FileNotFoundError as error:
            raise NotThere.one(url, "there is no such file", "is the URL right?") from error
        except urllib.error.URLError as error:
            said = str(getattr(error.reason, "strerror", None) or error.reason)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            said = str(error) or type(error).__name__
        if pause is None:
            raise PandaError.one(url, f"{said}, {len(_PAUSES) + 1} times", "is the server up and reachable?", 3)
        host.sleep(pause)
    raise AssertionError("unreachable")
