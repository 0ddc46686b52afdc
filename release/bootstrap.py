"""The bootstrap tarball: what a node without any package starts from, packed from the archives of a few."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from pkgpanda.build.archive import pack
from pkgpanda.ids import PackageId
from release import layout
from release.archives import extract_archive
from release.assemble import file_digest
from release.parts import Bootstrap, Part


def make_bootstrap(
    ids: tuple[PackageId, ...], parts: list[Part], work: Path, report: Callable[[str], None]
) -> Bootstrap:
    """The tarball of the packages `ids`, in `work`; one that an earlier run packed of the same archives is used."""
    identifier, _ = layout.encode_ids(list(ids))
    archive = work / f"{identifier}.bootstrap.tar.xz"
    note = work / f"{identifier}.made-of.json"
    held = [part for part in parts if part.id in ids]
    made_of = {str(part.id): part.sha256 for part in held}
    known = _known(archive, note, made_of)
    if known is None:
        report("bootstrap tarball: packing...")
        known = _pack(archive, held)
        note.write_bytes(layout.encode({"made_of": made_of, "sha256": known[0], "size": known[1]}))
    return Bootstrap(identifier, ids, archive, *known)


def _known(archive: Path, note: Path, made_of: dict[str, str]) -> tuple[str, int] | None:
    """Digest and size of the tarball that is there, if it is whole and of these archives."""
    try:
        said = json.loads(note.read_bytes())
        usable = said["made_of"] == made_of and file_digest(archive) == said["sha256"]
        return (said["sha256"], said["size"]) if usable else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _pack(archive: Path, parts: list[Part]) -> tuple[str, int]:
    tree = archive.parent / "bootstrap.tree"
    if tree.exists():
        shutil.rmtree(tree)
    for part in parts:
        extract_archive(part.archive, tree / "packages" / str(part.id))
    packed = pack(tree, archive)
    shutil.rmtree(tree)
    return packed.sha256, packed.size
