"""A web server that serves a repository of releases: read only."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import requests

from pkgpanda.errors import PandaError
from release.layout import Entry
from release.storage.base import Stored, failed

_TIMEOUT = (20, 60)
_ABSENT = (403, 404, 410)
"""403: what S3 answers for a file that is not there, to who may not list."""


class HttpStorage:
    """Files below a URL, one connection for all of them."""

    writable = False

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._session = requests.Session()

    def read(self, path: str, limit: int = 64 << 20) -> bytes | None:
        """A document; None where there is none."""
        with self._get(path) as answer:
            if answer.status_code in _ABSENT:
                return None
            self._check(answer, path)
            return self._read(answer, path)[:limit]

    def fetch(self, path: str, target: Path) -> None:
        """Bring a file here."""
        with self._get(path) as answer:
            self._check(answer, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("wb") as file:
                    for chunk in answer.iter_content(1 << 20):
                        file.write(chunk)
            except requests.RequestException as error:
                raise failed(f"{self.url}/{path}", error, "run it again") from error

    def holds(self, entry: Entry) -> bool | None:
        """Whether these very bytes are served."""
        content = self.read(entry.path, entry.size + 1)
        return None if content is None else hashlib.sha256(content).hexdigest() == entry.sha256

    def put(self, entry: Entry) -> None:
        """Refused."""
        self._refuse(entry.path)

    def listing(self, prefix: str) -> Iterator[Stored]:
        """Refused: a web server does not say what it has."""
        self._refuse(prefix or "/")

    def remove(self, path: str) -> None:
        """Refused."""
        self._refuse(path)

    def _refuse(self, path: str) -> NoReturn:
        raise PandaError.one(
            f"{self.url}/{path}", "is on a web server, which can only be read", "use the storage behind it"
        )

    def _get(self, path: str) -> requests.Response:
        try:
            return self._session.get(f"{self.url}/{path}", timeout=_TIMEOUT, stream=True)
        except requests.RequestException as error:
            raise failed(f"{self.url}/{path}", error, "is the server up and reachable?") from error

    def _check(self, answer: requests.Response, path: str) -> None:
        if answer.status_code != 200:
            told = f"the server answers {answer.status_code} {answer.reason}"
            raise PandaError.one(f"{self.url}/{path}", told, "is the URL right?", 3)

    def _read(self, answer: requests.Response, path: str) -> bytes:
        try:
            return answer.content
        except requests.RequestException as error:
            raise failed(f"{self.url}/{path}", error, "run it again") from error
