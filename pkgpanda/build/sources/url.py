"""`url` and `url_extract`: a file from anywhere, pinned by sha256; the second kind is unpacked."""

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import unquote, urlsplit

from pkgpanda.build.fields import Note
from pkgpanda.build.hashing import file_sha256
from pkgpanda.build.sources.base import Source, SourceRecord, Workshop, extract_tar

_ATTEMPTS = 4
_TIMEOUT = (10, 60)
_PIECE = 64 * 1024
_TAR_SUFFIXES = (".tgz", ".tbz2", ".txz", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


class _Retry(Exception):
    """A failure that the next attempt may not meet."""


@dataclass(frozen=True)
class UrlSource(Source):
    """A file, put under its own name into the source's directory. `file://` paths may be relative to the recipe."""

    package_dir: Path = field(default=Path(), kw_only=True)

    kind: ClassVar[str] = "url"
    required: ClassVar[tuple[str, ...]] = ("url", "sha256")

    @classmethod
    def check(cls, members: Mapping[str, Any], package_dir: Path, note: Note) -> None:
        """Also: a scheme we speak, a name at the end, and sha256 rather than upstream's sha1."""
        if "sha1" in members:
            note("sha1", "is too weak a pin", "replace it by sha256")
            return
        super().check(members, package_dir, note)
        url = members.get("url")
        if not isinstance(url, str) or not url:
            return
        if urlsplit(url).scheme not in ("http", "https", "file"):
            note("url", f"begins with none of http://, https://, file://: {url}", "")
        elif not _filename(url):
            note("url", f"does not end in a file's name: {url}", "")

    def prepare(self, package_dir: Path) -> Self:
        """Relative file URLs are relative to the recipe."""
        return replace(self, package_dir=package_dir)

    def fetch(self, workshop: Workshop) -> Self:
        """From the cache, from the file, or downloaded, going on where an earlier attempt stopped."""
        sha256 = self.members["sha256"]
        with workshop.cache.lock(sha256):
            if workshop.cache.find(sha256) is None:
                partial = workshop.cache.partial(sha256)
                self._obtain(partial, workshop)
                self._verify(partial)
                workshop.cache.admit(partial, sha256)
        return self

    def unpack(self, workshop: Workshop, target: Path) -> None:
        """The file, under its own name."""
        shutil.copyfile(workshop.cache.path(self.members["sha256"]), target / _filename(self.members["url"]))

    def record(self, workshop: Workshop, unpacked: Path) -> SourceRecord:
        """A file has no version of its own."""
        filename = _filename(self.members["url"])
        return SourceRecord(self.name, self.kind, self.name, "", self.members["sha256"], filename=filename)

    def _obtain(self, partial: Path, workshop: Workshop) -> None:
        parts = urlsplit(self.members["url"])
        if parts.scheme == "file":
            try:
                shutil.copyfile(self.package_dir / (unquote(parts.netloc) + unquote(parts.path)), partial)
            except OSError as error:
                raise self.problem(f"cannot read {self.members['url']}: {error.strerror}") from error
            return
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._download(partial, workshop)
                return
            except _Retry as error:
                if attempt == _ATTEMPTS:
                    raise self.problem(
                        f"cannot fetch {self.members['url']}: {error}", "run the build again: it goes on from there", 3
                    ) from error
                time.sleep(2 ** (attempt - 1))

    def _download(self, partial: Path, workshop: Workshop) -> None:
        import requests

        have = partial.stat().st_size if partial.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with requests.get(self.members["url"], headers=headers, stream=True, timeout=_TIMEOUT) as answer:
                if answer.status_code == 416:  # what we have is as long as the file, or longer: judged by its digest
                    if file_sha256(partial) != self.members["sha256"]:
                        partial.unlink()
                        raise _Retry("what was downloaded before is no part of it")
                    return
                self._check_status(answer.status_code)
                workshop.report(f"{self.name}: fetching {self.members['url']}...")
                self._gather(answer, partial, have if answer.status_code == 206 else 0)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Retry(_short(error)) from error
        except requests.RequestException as error:
            raise self.problem(f"cannot fetch {self.members['url']}: {_short(error)}", "", 3) from error

    def _check_status(self, status: int) -> None:
        if status in (408, 425, 429) or status >= 500:
            raise _Retry(f"the server answered {status}")
        if status not in (200, 206):
            raise self.problem(f"cannot fetch {self.members['url']}: the server answered {status}")

    def _gather(self, answer: Any, partial: Path, have: int) -> None:
        answer.raw.enforce_content_length = False  # keep what came before a cut; its length is judged below
        expected = have + int(answer.headers.get("Content-Length") or 0)
        with partial.open("r+b" if have else "wb") as file:
            file.seek(have)
            for piece in answer.iter_content(_PIECE):
                file.write(piece)
            length = file.tell()
        if "Content-Length" in answer.headers and length < expected:
            raise _Retry(f"the answer ended at byte {length} of {expected}")

    def _verify(self, partial: Path) -> None:
        found = file_sha256(partial)
        if found != self.members["sha256"]:
            partial.unlink()
            raise self.problem(
                f"{self.members['url']} has the sha256 {found}, the recipe pins {self.members['sha256']}",
                "if the new content is right, pin it",
            )


class UrlExtractSource(UrlSource):
    """An archive, unpacked without its one top directory."""

    kind: ClassVar[str] = "url_extract"

    @classmethod
    def check(cls, members: Mapping[str, Any], package_dir: Path, note: Note) -> None:
        """Also: a suffix that says how to unpack it."""
        super().check(members, package_dir, note)
        url = members.get("url")
        if isinstance(url, str) and _filename(url) and not _filename(url).endswith((*_TAR_SUFFIXES, ".zip")):
            note("url", f"is no archive by its name: {_filename(url)}", f"one of {', '.join(_TAR_SUFFIXES)}, .zip")

    def unpack(self, workshop: Workshop, target: Path) -> None:
        """Tar archives through tar, zip through zipfile; a zip must have exactly one top directory."""
        archive = workshop.cache.path(self.members["sha256"])
        if not _filename(self.members["url"]).endswith(".zip"):
            extract_tar(self.where, archive, target, "--strip-components=1")
            return
        inside = target / ".zip"
        unzip(self, archive, inside)
        tops = sorted(os.listdir(inside))
        if len(tops) != 1 or not (inside / tops[0]).is_dir():
            raise self.problem(f"the zip has {len(tops)} entries at its top", "it needs one directory and nothing else")
        for path in (inside / tops[0]).iterdir():
            path.rename(target / path.name)
        shutil.rmtree(inside)


def unzip(source: Source, archive: Path, target: Path) -> None:
    """Unpack a zip with its execute bits; zipfile itself refuses names that lead out."""
    import zipfile

    try:
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                path = Path(file.extract(info, target))
                if not info.is_dir():
                    path.chmod(0o755 if info.external_attr >> 16 & 0o100 else 0o644)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise source.problem(f"cannot be unpacked: {error}") from error


def _filename(url: str) -> str:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        whole = parts.netloc + parts.path if parts.scheme == "file" else parts.path
        name = unquote(whole.rpartition("/")[2])
        return "" if name in (".", "..") or "/" in name or "\0" in name else name
    return ""


def _short(error: Exception) -> str:
    """The innermost reason; requests wraps three exceptions around "connection refused"."""
    reason = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    return str(reason).rpartition(">: ")[2] or type(error).__name__
