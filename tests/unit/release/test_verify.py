"""`release verify` accepts a right bundle and names what is wrong with any other."""

import hashlib
import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkgpanda.errors import PandaError
from release import layout
from release.metadata import FORMAT, read_metadata
from release.parts import Part
from release.verify import verify

MakePart = Callable[..., Part]
MakeBundle = Callable[[list[Part], list[Part]], Path]


def complaints(directory: Path) -> str:
    return "\n".join(map(str, verify(directory).problems))


def reseal(directory: Path) -> None:
    """Make SHA256SUMS and the manifest agree with what is there: what remains wrong is the tampering's substance."""
    manifest = json.loads((directory / layout.MANIFEST).read_bytes())
    files = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
    about = {
        path: {"sha256": digest(directory / path), "size": (directory / path).stat().st_size}
        for path in files
        if path not in (layout.MANIFEST, layout.SUMS)
    }
    manifest["artifacts"] = about
    (directory / layout.MANIFEST).write_bytes(layout.encode(manifest))
    entries = [layout.entry(path, (directory / path).read_bytes()) for path in files if path != layout.SUMS]
    (directory / layout.SUMS).write_bytes(layout.encode_sums(entries))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def edit(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_bytes(layout.encode(document))


def archive(directory: Path, name: str) -> Path:
    return next((directory / "packages" / name).iterdir())


def test_a_right_bundle_is_accepted(bundle: Path) -> None:
    verdict = verify(bundle)
    assert verdict.problems == ()
    assert (verdict.packages, verdict.files) == (3, 13)


def test_what_is_no_directory_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(PandaError, match="is not a directory"):
        verify(tmp_path / "nothing")


def test_an_empty_directory_lacks_everything(tmp_path: Path) -> None:
    text = complaints(tmp_path)
    for name in (layout.SUMS, layout.MANIFEST, layout.PACKAGE_INFO, layout.SBOM, layout.INSTALL_SCRIPT):
        assert f"{name}: is missing" in text


def test_every_changed_byte_is_found(bundle: Path) -> None:
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert complaints(bundle), path
        path.write_bytes(data)
    assert complaints(bundle) == ""


def test_every_missing_file_is_found(bundle: Path) -> None:
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        data = path.read_bytes()
        path.unlink()
        assert complaints(bundle), path
        path.write_bytes(data)
        path.chmod(0o755 if path.name == layout.INSTALL_SCRIPT else 0o644)
    assert complaints(bundle) == ""


def test_an_extra_file_is_found(bundle: Path) -> None:
    (bundle / "packages/etcd/notes.txt").write_text("mine")
    assert "packages/etcd/notes.txt: is not in SHA256SUMS" in complaints(bundle)


def test_names_are_shown_as_what_can_be_seen(bundle: Path) -> None:
    (bundle / "bin\x1b[2J\u202e").write_text("x")
    assert "bin\\x1b[2J\\u202e: is not in" in complaints(bundle)


def test_an_empty_directory_is_found(bundle: Path) -> None:
    (bundle / "packages/old").mkdir()
    assert "packages/old: is an empty directory" in complaints(bundle)


def test_a_link_is_found(bundle: Path) -> None:
    (bundle / "latest").symlink_to("bootstrap")
    assert "latest: is neither a file nor a directory" in complaints(bundle)


@pytest.mark.parametrize(("path", "mode"), [("manifest.json", 0o666), ("packages", 0o777), ("dcos_install.sh", 0o644)])
def test_wrong_modes_are_found(bundle: Path, path: str, mode: int) -> None:
    (bundle / path).chmod(mode)
    assert f"{path}: has mode {mode:04o}" in complaints(bundle)


def test_a_line_of_sums_that_is_none(bundle: Path) -> None:
    sums = bundle / layout.SUMS
    sums.write_text(sums.read_text() + "nonsense\n")
    assert "is not '<sha256>  <path>'" in complaints(bundle)


def test_all_problems_are_reported_not_the_first(bundle: Path) -> None:
    (bundle / "sbom.json").write_text("{}")
    (bundle / "extra").write_text("")
    (bundle / "dcos_install.sh").chmod(0o600)
    text = complaints(bundle)
    assert "sbom.json: has sha256" in text
    assert "extra: is not in" in text
    assert "dcos_install.sh: has mode 0600" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info["etcd"].update(sha256="0" * 64), "etcd: sha256 is"),
        (lambda info: info["etcd"].update(size=1), "etcd: size is 1"),
        (lambda info: info["etcd"].update(tar_sha256="0" * 64), "etcd: tar_sha256 is"),
        (lambda info: info["etcd"].update(roles=["slaves"]), "not roles of a node"),
        (lambda info: info["etcd"].update(roles=[]), "not roles of a node"),
        (lambda info: info["etcd"].update(id="etcd--other"), "do not belong together"),
        (lambda info: info["etcd"].update(id="etcd"), "is not a package id"),
        (lambda info: info["etcd"].pop("size"), "does not have exactly"),
        (lambda info: info.pop("etcd"), "belongs to no package of cluster-package-info.json"),
        (lambda info: info.pop("etcd"), "names other packages than cluster-package-info.json"),
        (lambda info: info["python"].update(roles=["slave"]), "requires python, which master, slave_public nodes"),
    ],
)
def test_package_info_that_does_not_fit(bundle: Path, change: Callable[[Any], None], message: str) -> None:
    edit(bundle / layout.PACKAGE_INFO, change)
    reseal(bundle)
    assert message in complaints(bundle)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ({"drop": ("pkginfo.json",)}, "holds no pkginfo.json"),
        ({"drop": ("buildinfo.full.json",)}, "holds no buildinfo.full.json"),
        ({"files": {"bin/python3": b""}}, "has bin/python3, and so has"),
        ({"files": {"dcos.target.wants/dcos-setup.service": b""}}, "that DC/OS reserves"),
        ({"pkginfo": {"environment": {"PATH": "/"}}}, "sets PATH, which is reserved"),
        ({"pkginfo": {"group": "adm"}}, "has a group and no username"),
        ({"pkginfo": {"requires": ["absent"]}}, "requires absent, which the bundle does not hold"),
    ],
)
def test_packages_a_node_would_refuse(
    make_part: MakePart, make_bundle: MakeBundle, make: dict[str, Any], message: str
) -> None:
    python = make_part("python", {"bin/python3": b"#!"})
    broken = make_part("broken", **{"files": {}, **make})
    assert message in complaints(make_bundle([python, broken], [python]))


def test_one_variable_in_two_packages(make_part: MakePart, make_bundle: MakeBundle) -> None:
    one, two = (make_part(name, {}, pkginfo={"environment": {"MODE": "x"}}) for name in ("one", "two"))
    assert "has environment variable MODE, and so has" in complaints(make_bundle([one, two], [one]))


def test_an_archive_that_is_cut_short(bundle: Path) -> None:
    path = archive(bundle, "etcd")
    path.write_bytes(path.read_bytes()[:-20])
    reseal(bundle)
    assert "cannot be read as a .tar.xz" in complaints(bundle)


def test_an_archive_of_another_package(bundle: Path) -> None:
    shutil.copyfile(archive(bundle, "python"), archive(bundle, "etcd"))
    reseal(bundle)
    assert "buildinfo.full.json is another package's" in complaints(bundle)


def test_an_archive_compressed_again_is_not_the_same_archive(bundle: Path) -> None:
    path = archive(bundle, "etcd")
    path.write_bytes(lzma.compress(lzma.decompress(path.read_bytes()), preset=1))
    reseal(bundle)
    text = complaints(bundle)
    assert "etcd: sha256 is" in text
    assert "tar_sha256 is" not in text


def test_a_bootstrap_tarball_of_other_packages(bundle: Path, make_part: MakePart) -> None:
    tarball = next((bundle / "bootstrap").glob("*.tar.xz"))
    shutil.copyfile(archive(bundle, "python"), tarball)
    reseal(bundle)
    text = complaints(bundle)
    assert "against the packages it is made of" in text
    assert "dcos_install.sh: does not carry the sha256" in text


def test_a_bootstrap_list_with_another_name(bundle: Path) -> None:
    edit(next((bundle / "bootstrap").glob("*.json")), lambda ids: ids.append("ghost--1"))
    reseal(bundle)
    text = complaints(bundle)
    assert "has another sha256 than its name says" in text
    assert "names ghost--1, which the bundle does not hold" in text


def test_a_package_list_with_another_name(bundle: Path) -> None:
    edit(next((bundle / "package_lists").iterdir()), lambda ids: ids.pop())
    reseal(bundle)
    text = complaints(bundle)
    assert "has another sha256 than its name says" in text
    assert "names other packages than" in text


@pytest.mark.parametrize("where", ["bootstrap/old.bootstrap.tar.xz", "package_lists/old.package_list.json"])
def test_left_over_lists_are_found_even_when_sealed(bundle: Path, where: str) -> None:
    (bundle / where).write_bytes(b"")
    reseal(bundle)
    assert f"{where}: is not " in complaints(bundle)


def test_a_bill_of_materials_that_forgets_a_package(bundle: Path) -> None:
    edit(bundle / layout.SBOM, lambda sbom: sbom["components"].pop(0))
    reseal(bundle)
    assert "sbom.json: does not have bootstrap--" in complaints(bundle)


def test_a_script_that_trusts_something_else(bundle: Path) -> None:
    path = bundle / layout.INSTALL_SCRIPT
    path.write_text(path.read_text().replace(digest(bundle / layout.PACKAGE_INFO), "0" * 64))
    reseal(bundle)
    assert "dcos_install.sh: does not carry the sha256 of cluster-package-info.json" in complaints(bundle)


def test_a_manifest_of_another_format(bundle: Path) -> None:
    edit(bundle / layout.MANIFEST, lambda manifest: manifest.update(format="else"))
    assert "format is 'else'" in complaints(bundle)


@pytest.mark.parametrize("name", [layout.MANIFEST, layout.PACKAGE_INFO, layout.SBOM])
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"null", b'{"a":' * 100_000])
def test_documents_that_are_none_yield_problems(bundle: Path, name: str, content: bytes) -> None:
    (bundle / name).write_bytes(content)
    assert f"{name}: is not a JSON dict" in complaints(bundle)


@pytest.mark.parametrize(
    "change",
    [
        {"size": float("inf")},
        {"size": None},
        {"path": "\ud800"},
        {"reproducible_path": "../x"},
        {"path": ""},
        {"path": "a/./b"},
    ],
)
def test_metadata_that_is_none_is_a_problem(change: dict[str, object]) -> None:
    about = {"path": "a", "reproducible_path": "a", "sha256": "0" * 64, "size": 1, **change}
    document = {"format": FORMAT, "tag": "", "version": "", "commit": "", "dirty": False, "repository_url": ""}
    content = json.dumps({**document, "packages": {}, "core_artifacts": [about], "channel_artifacts": []}).encode()
    with pytest.raises(PandaError, match="is not the metadata of a release"):
        read_metadata(content, "metadata.json")
    with pytest.raises(PandaError, match="is not the metadata of a release"):
        read_metadata(b"[" * 100_000, "metadata.json")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("etcd--1"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "etcd",
                    "id",
                    "roles",
                    "filename",
                    "size",
                    "components",
                    "bom-ref",
                    "hashes",
                    "packages",
                    "artifacts",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([layout.MANIFEST, layout.PACKAGE_INFO, layout.SBOM, "package_lists", "bootstrap"]), value=_JSON
)
def test_no_document_whatever_it_holds_is_a_traceback(bundle: Path, name: str, value: object) -> None:
    path = bundle / name
    path = next(path.glob("*.json")) if path.is_dir() else path
    data = path.read_bytes()
    path.write_bytes(json.dumps(value).encode())
    assert complaints(bundle)
    path.write_bytes(data)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([layout.BOOTSTRAP_LATEST, layout.PACKAGE_LIST_LATEST, layout.SUMS]), content=st.binary())
def test_no_name_whatever_it_is_is_a_traceback(bundle: Path, name: str, content: bytes) -> None:
    path = bundle / name
    data = path.read_bytes()
    path.write_bytes(content)
    assert complaints(bundle)
    path.write_bytes(data)


@pytest.mark.parametrize("latest", ["\0", "../../etc", "a" * 5000, "\n", "é"])
def test_names_no_file_can_have_are_problems(bundle: Path, latest: str) -> None:
    (bundle / layout.BOOTSTRAP_LATEST).write_text(latest)
    assert "bootstrap.latest: is " in complaints(bundle)


@pytest.mark.parametrize("requires", [7, "python", [[]], [{}], None, {"name": "python"}])
def test_requires_of_any_type_is_no_traceback(make_part: MakePart, make_bundle: MakeBundle, requires: object) -> None:
    part = make_part("odd", {}, pkginfo={"requires": requires, "environment": 3, "sysctl": []})
    verify(make_bundle([part], [part]))


def test_the_umask_does_not_matter(bundle: Path) -> None:
    before = os.umask(0o077)
    try:
        assert verify(bundle).problems == ()
    finally:
        os.umask(before)
