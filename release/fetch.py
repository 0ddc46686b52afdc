"""A release from a repository into a directory, laid out as dist/ is."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pkgpanda.errors import Problem
from pkgpanda.keys import PublicKey, signature_name, signed_path
from release import layout, repository
from release.assemble import file_digest
from release.bundle import Report
from release.metadata import Artifact
from release.storage.base import Storage
from release.verify import Verdict, verify


@contextmanager
def fetched(
    storage: Storage, release: str, keys: tuple[PublicKey, ...], report: Report
) -> Iterator[tuple[Path, Verdict]]:
    """A release in a directory that goes away again, and what there is to say of it."""
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        target = Path(scratch) / "dist"
        target.mkdir(mode=layout.DIRECTORY_MODE)
        fetch(storage, release, target, keys, report)
        for path in target.rglob("*"):
            if path.is_dir():
                path.chmod(layout.DIRECTORY_MODE)
        verdict = verify(target)
        script = target / layout.INSTALL_SCRIPT
        if script.is_file() and file_digest(script) != release:
            told = "is not the script that the release is named by"
            where = repository.document_path(release, layout.INSTALL_SCRIPT)
            verdict = verdict._replace(problems=(*verdict.problems, Problem(where, told)))
        yield target, verdict


def fetch(storage: Storage, release: str, target: Path, keys: tuple[PublicKey, ...], report: Report) -> None:
    """Bring every file of a release to the directory `target`, which may hold some already.

    What came is only laid out, not believed: `release.verify` is for that. Of signatures, those by `keys` come, and
    where the storage can be listed all of them.
    """
    said = repository.metadata(storage, release)
    documents = {layout.SUMS, layout.MANIFEST, layout.METADATA, layout.PROVENANCE}
    documents |= {each.path for each in said.documents}
    for name in sorted(documents):
        _fetch_document(storage, release, name, target)
    for each in said.core:
        _fetch_core(storage, each, target, report)
    names = {signature_name(layout.SUMS, key) for key in keys}
    if storage.writable:
        paths = (each.path.rpartition("/")[2] for each in storage.listing(f"releases/{release}/"))
        names |= {name for name in paths if signed_path(name)}
    for name in sorted(names):
        content = storage.read(repository.document_path(release, name))
        if content is not None:
            _write(target / name, content)
    (target / layout.INSTALL_SCRIPT).chmod(0o755)


def _fetch_document(storage: Storage, release: str, name: str, target: Path) -> None:
    content = storage.read(repository.document_path(release, name))
    if content is not None:
        _write(target / name, content)


def _fetch_core(storage: Storage, each: Artifact, target: Path, report: Report) -> None:
    path = target / each.path
    if path.is_file() and path.stat().st_size == each.size and file_digest(path) == each.sha256:
        return
    report(f"{storage.name}: {each.stored} ({each.size / 1e6:.1f} MB)...")
    storage.fetch(each.stored, path)
    path.chmod(0o644)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)
