"""A small bundle, complete and right, for tests to look at and to break."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgpanda.build.archive import pack, pack_files
from pkgpanda.ids import PackageId
from release.archives import extract_archive
from release.assemble import write_draft
from release.documents import Pins, bundle_entries
from release.layout import encode_ids
from release.parts import Bootstrap, Part, Source

Files = dict[str, bytes]
MakePart = Callable[..., Part]


def _documents(package: PackageId, requires: list[str], extra: dict[str, object]) -> Files:
    info = {"environment": {}, "requires": requires, "state_directory": False, **extra}
    full: dict[str, object] = {
        "name": package.name,
        "variant": None,
        "package_version": package.version,
        "sources": {},
        "build_ids": {},
    }
    return {"pkginfo.json": json.dumps(info).encode(), "buildinfo.full.json": json.dumps(full).encode()}


@pytest.fixture
def make_part(tmp_path: Path) -> MakePart:
    """Packs a package: `make_part("name", {"bin/x": b"..."}, requires=(part,), roles=("master",))`."""

    def make(
        name: str,
        files: Files,
        requires: tuple[Part, ...] = (),
        roles: tuple[str, ...] = ("master", "slave", "slave_public"),
        pkginfo: dict[str, object] | None = None,
        sources: tuple[Source, ...] = (),
        drop: tuple[str, ...] = (),
    ) -> Part:
        package = PackageId(name, "0" * 40 + name)
        files = {**files, **_documents(package, [part.id.name for part in requires], pkginfo or {})}
        archive = tmp_path / "archives" / f"{package}.tar.xz"
        packed = pack_files(
            (
                (path, data, 0o755 if path.startswith("bin") else 0o644)
                for path, data in files.items()
                if path not in drop
            ),
            archive,
            threads=1,
        )
        ids = tuple(part.id for part in requires)
        return Part(package, roles, archive, packed.sha256, packed.size, packed.tar_sha256, ids, sources)

    return make


def script(pins: Pins) -> bytes:
    """What stands for dcos_install.sh: all that matters here is which digests it carries."""
    return f"#!/bin/sh\n# {pins.bootstrap_sha256} {pins.package_info_sha256}\n".encode()


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[[list[Part], list[Part]], Path]:
    """Writes a bundle of parts, some of them in the bootstrap tarball; returns the directory."""

    def make(parts: list[Part], boot: list[Part]) -> Path:
        tree = tmp_path / "tree"
        for part in boot:
            extract_archive(part.archive, tree / "packages" / str(part.id))
        archive = tmp_path / "bootstrap.tar.xz"
        packed = pack(tree, archive, threads=1)
        shutil.rmtree(tree)
        ids = tuple(part.id for part in boot)
        bootstrap = Bootstrap(encode_ids(list(ids))[0], ids, archive, packed.sha256, packed.size)
        return write_draft(tmp_path / "dist", bundle_entries(sorted(parts), bootstrap, script, {"configuration": "c"}))

    return make


@pytest.fixture
def bundle(make_part: MakePart, make_bundle: Callable[[list[Part], list[Part]], Path]) -> Path:
    """Three packages: `python`, `bootstrap` that requires it, and `etcd` for masters."""
    source = Source("deb", "etcd-server", "3.4-1+b4", "a" * 64, False, True, ({"license": {"id": "Apache-2.0"}},))
    python = make_part("python", {"bin/python3": b"#!", "usr/lib/os.py": b"pass\n"})
    bootstrap = make_part("bootstrap", {"bin/pkgpanda": b"#!"}, requires=(python,))
    etcd = make_part("etcd", {"bin/etcdctl": b"\x7fELF"}, roles=("master",), sources=(source,))
    return make_bundle([python, bootstrap, etcd], [python, bootstrap])
