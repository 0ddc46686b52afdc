"""Every archive of a real bundle passes the independent checker, and doctored ones do not."""

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.release.independent_check import check

pytestmark = pytest.mark.timeout(900)
"""The first test builds every package: a minute alone, several beside other work."""


def archives(dist: Path) -> list[Path]:
    return sorted(dist.glob("packages/*/*.tar.xz"))


def test_every_archive_of_the_bundle_is_accepted(dist: Path) -> None:
    assert len(archives(dist)) >= 8
    assert check(archives(dist)) == []


Files = dict[str, Any]


@pytest.fixture
def doctor(dist: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Repacks the smallest real package after `change` was at its members, and checks it with all the others."""

    def repack(change: Callable[[Files], None], name: str = "") -> list[str]:
        victim = next(path for path in archives(dist) if path.parent.name == "conntrack")
        rest = [path for path in archives(dist) if path != victim]
        members: Files = {}
        with tarfile.open(victim) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                members[member.name] = (member, file.read() if file else b"")
        change(members)
        target = tmp_path / (name or victim.parent.name) / (f"{name}.tar.xz" if name else victim.name)
        target.parent.mkdir()
        with tarfile.open(target, "w:xz", preset=0) as tar:
            for path, (member, content) in members.items():
                member.name, member.size = path, len(content)
                tar.addfile(member, io.BytesIO(content))
        return check([target, *rest])

    return repack


def edit(document: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Files], None]:
    def apply(members: Files) -> None:
        member, content = members[document]
        data = json.loads(content)
        change(data)
        members[document] = (member, json.dumps(data).encode())

    return apply


def add(path: str, content: bytes = b"", mode: int = 0o644, kind: bytes = tarfile.REGTYPE, target: str = "") -> Any:
    def apply(members: Files) -> None:
        member = tarfile.TarInfo(path)
        member.mode, member.type, member.linkname = mode, kind, target
        members[path] = (member, content)

    return apply


def test_an_untouched_repack_is_accepted(doctor: Callable[..., list[str]]) -> None:
    assert doctor(lambda members: None) == []


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        (lambda members: members.pop("pkginfo.json"), "pkginfo.json is missing"),
        (lambda members: members.pop("buildinfo.full.json"), "buildinfo.full.json is missing"),
        (edit("pkginfo.json", lambda info: info.pop("environment")), "pkginfo.json has the members"),
        (edit("pkginfo.json", lambda info: info.update(docker="x")), "pkginfo.json has the members"),
        (edit("pkginfo.json", lambda info: info.update(environment=[])), "not an object of strings"),
        (edit("pkginfo.json", lambda info: info.update(environment={"PATH": "/"})), "sets PATH"),
        (edit("pkginfo.json", lambda info: info.update(state_directory=1)), "not a boolean"),
        (edit("pkginfo.json", lambda info: info.update(requires="python")), "requires is not a list"),
        (edit("pkginfo.json", lambda info: info.update(requires=["python--1"])), "requires is not a list"),
        (edit("pkginfo.json", lambda info: info.update(requires=["absent"])), "requires absent, which is not there"),
        (edit("pkginfo.json", lambda info: info.update(username="root")), "username is 'root'"),
        (edit("pkginfo.json", lambda info: info.update(group="adm")), "group without username"),
        (edit("pkginfo.json", lambda info: info.update(sysctl=[])), "sysctl is not"),
        (edit("buildinfo.full.json", lambda info: info.update(name="etcd")), "another package's"),
        (edit("buildinfo.full.json", lambda info: info.update(package_version="1")), "another package's"),
        (edit("buildinfo.full.json", lambda info: info.pop("build_ids")), "buildinfo.full.json has the members"),
        (edit("buildinfo.full.json", lambda info: info.update(variant=3)), "variant is neither"),
        (add("bin/nft"), "bin/nft meets the same place in nftables"),
        (add("bin_master/etcdctl"), "bin_master/etcdctl meets the same place in etcd"),
        (add("bin/nft", kind=tarfile.DIRTYPE, mode=0o755), "bin/nft meets the same place in nftables"),
        (add("bin_boss/x"), "for a role that does not exist"),
        (add("dcos.target.wants/dcos-setup.service"), "a unit of DC/OS's own"),
        (add("check/me"), "cannot be run"),
        (add("usr/link", kind=tarfile.SYMTYPE, target="../../other"), "links to ../../other"),
        (add("usr/link", kind=tarfile.SYMTYPE, target="/etc/passwd"), "links to /etc/passwd"),
        (add("usr/pipe", kind=tarfile.FIFOTYPE), "neither file, directory nor symbolic link"),
        (add("usr/su", mode=0o4755), "mode 4755"),
        (add("usr/open", mode=0o666), "mode 666"),
    ],
)
def test_a_doctored_archive_is_refused(
    doctor: Callable[..., list[str]], change: Callable[[Files], None], objection: str
) -> None:
    objections = doctor(change)
    assert any(objection in text for text in objections), objections


@pytest.mark.parametrize("name", ["conntrack", "conntrack--1--2", "con track--1", "conntrack--1-2", "conntrack--1\n"])
def test_an_id_that_is_none_is_refused(doctor: Callable[..., list[str]], name: str) -> None:
    assert any("is not <name>--<version>" in text for text in doctor(lambda members: None, name))


def test_a_package_in_two_versions_is_refused(dist: Path, tmp_path: Path) -> None:
    one = next(path for path in archives(dist) if path.parent.name == "conntrack")
    other = tmp_path / "conntrack" / "conntrack--2.tar.xz"
    other.parent.mkdir()
    shutil.copy(one, other)
    assert "conntrack is there twice" in check([*archives(dist), other])
