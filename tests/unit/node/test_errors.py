"""Everything that may be wrong on the node side: one line that names it, exit 1, and the node as it was.

`CASES` is name -> (what to do, what the line must say). A case prepares the node, then returns the command that fails.
"""

import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.node.bundle import write_bundle, write_info
from tests.unit.node.simulation import UNIT, Archive, Machine, member, write_archive

Command = Sequence[str]
Case = tuple[Callable[[Machine], Command], str]
CASES: dict[str, Case] = {}


def _case(name: str, says: str) -> Callable[[Callable[[Machine], Command]], Callable[[Machine], Command]]:
    def keep(prepare: Callable[[Machine], Command]) -> Callable[[Machine], Command]:
        assert name not in CASES
        CASES[name] = (prepare, says)
        return prepare

    return keep


# Archives

_GOOD = [member("pkginfo.json", b"{}"), member("buildinfo.full.json", b"{}")]


def _adding(archive: Archive) -> Command:
    return ["add", str(archive.path), "--sha256", archive.digest.sha256]


def _archive_case(name: str, says: str, *members: tuple[tarfile.TarInfo, bytes], good: bool = True) -> None:
    def prepare(machine: Machine) -> Command:
        return _adding(write_archive(machine.archives, "a--1", [*(_GOOD if good else []), *members]))

    CASES[name] = (prepare, says)


_archive_case("absolute path", "absolute path '/etc/passwd'", member("/etc/passwd"))
_archive_case("path upwards", "leads out of the package", member("x/../../y"))
_archive_case(
    "device", "is no file, directory or symbolic link", member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
)
_archive_case("block device", "is no file, directory", member("sda", type=tarfile.BLKTYPE))
_archive_case("fifo", "is no file, directory", member("pipe", type=tarfile.FIFOTYPE))
_archive_case("hard link", "is no file, directory", member("h", type=tarfile.LNKTYPE, linkname="pkginfo.json"))
_archive_case("set-uid", "set-uid", member("su", mode=0o4755))
_archive_case("set-gid", "set-uid, set-gid", member("sg", mode=0o2755))
_archive_case("sticky", "sticky bit", member("st", mode=0o1755))
_archive_case("writable by others", "writable by group or others", member("w", mode=0o666))
_archive_case("absolute link", "leaves the package", member("l", type=tarfile.SYMTYPE, linkname="/etc/shadow"))
_archive_case("link upwards", "leaves the package", member("d/l", type=tarfile.SYMTYPE, linkname="../../x"))
_archive_case(
    "link upwards through a link",
    "leaves the package",
    member("d/e/f"),
    member("up", type=tarfile.SYMTYPE, linkname="d/e"),
    member("d/e/l", type=tarfile.SYMTYPE, linkname="../../../x"),
)
_archive_case(
    "link in a circle",
    "leads in a circle",
    member("a", type=tarfile.SYMTYPE, linkname="b"),
    member("b", type=tarfile.SYMTYPE, linkname="a"),
)
_archive_case(
    "file through a link",
    "which is no directory",
    member("d", type=tarfile.SYMTYPE, linkname="bin"),
    member("d/x"),
)
_archive_case("file below a file", "which is no directory", member("f"), member("f/x"))
_archive_case("the same path twice", "'f' twice", member("f"), member("./f"))
_archive_case("control character", "control character", member("a\nb"))
_archive_case("empty link", "bad target", member("l", type=tarfile.SYMTYPE, linkname=""))
_archive_case("very deep", "directories deep", member("/".join("d" * 70)))
_archive_case("no pkginfo.json", "holds no pkginfo.json", member("x"), good=False)
_archive_case("no buildinfo.full.json", "holds no buildinfo.full.json", member("pkginfo.json", b"{}"), good=False)
_archive_case("well-known name as a file", "kept for one", member("bin"))
_archive_case("another package's buildinfo", "holds the package 'b'", member("pkginfo.json", b"{}"),
              member("buildinfo.full.json", b'{"name": "b"}'), good=False)  # fmt: skip
_archive_case("unreadable pkginfo.json", "is not JSON", member("pkginfo.json", b"{"),
              member("buildinfo.full.json", b"{}"), good=False)  # fmt: skip
_archive_case("pkginfo.json is a list", "is not a JSON object", member("pkginfo.json", b"[]"),
              member("buildinfo.full.json", b"{}"), good=False)  # fmt: skip


@_case("truncated archive", "ended before the end-of-stream marker")
def _(machine: Machine) -> Command:
    archive = machine.package("a--1", {"bin/x": os.urandom(20_000).hex()})
    archive.path.write_bytes(archive.path.read_bytes()[:-5000])
    return ["add", str(archive.path), "--sha256", _sha256(archive.path)]


@_case("flipped bit", "expected")
def _(machine: Machine) -> Command:
    archive = machine.package("a--1")
    data = bytearray(archive.path.read_bytes())
    data[len(data) // 2] ^= 4
    archive.path.write_bytes(data)
    return _adding(archive)


@_case("flipped bit in an archive with that digest", "is not a readable .tar.xz")
def _(machine: Machine) -> Command:
    archive = machine.package("a--1")
    data = bytearray(archive.path.read_bytes())
    data[len(data) // 2] ^= 4
    archive.path.write_bytes(data)
    return ["add", str(archive.path), "--sha256", _sha256(archive.path)]


@_case("no xz at all", "is not a readable .tar.xz")
def _(machine: Machine) -> Command:
    path = machine.archives / "a--1.tar.xz"
    path.write_text("hello")
    return ["add", str(path), "--sha256", _sha256(path)]


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@_case("no digest known", "is in no verified manifest")
def _(machine: Machine) -> Command:
    return ["add", str(machine.package("a--1").path)]


@_case("digest that is none", "is no sha256")
def _(machine: Machine) -> Command:
    return ["add", str(machine.package("a--1").path), "--sha256", "1234"]


@_case("archive missing", "there is no such file")
def _(machine: Machine) -> Command:
    return ["add", f"{machine.archives}/a--1.tar.xz", "--sha256", "0" * 64]


@_case("archive with another ending", "is not named <id>.tar.xz")
def _(machine: Machine) -> Command:
    return ["add", f"{machine.archives}/a--1.tgz", "--sha256", "0" * 64]


@_case("archive name is no id", "is not a package id")
def _(machine: Machine) -> Command:
    return ["add", f"{machine.archives}/a-1.tar.xz", "--sha256", "0" * 64]


@_case("SHA256SUMS without the archive", "has no digests for a--1.tar.xz")
def _(machine: Machine) -> Command:
    sums = machine.archives / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  packages/b/b--1.tar.xz\n")
    return ["add", str(machine.package("a--1").path), "--sha256sums", str(sums)]


@_case("SHA256SUMS unreadable", "SHA256SUMS:1: is not a line of sha256sum's")
def _(machine: Machine) -> Command:
    sums = machine.archives / "SHA256SUMS"
    sums.write_text("<html>\n")
    return ["add", str(machine.package("a--1").path), "--sha256sums", str(sums)]


@_case("SHA256SUMS missing", "there is no such file")
def _(machine: Machine) -> Command:
    return ["add", str(machine.package("a--1").path), "--sha256sums", f"{machine.base}/none"]


# pkginfo.json, read when the package is added


def _pkginfo_case(name: str, says: str, **members: Any) -> None:
    CASES[name] = (lambda machine: _adding(machine.package("a--1", **members)), says)


_pkginfo_case("unknown member", "unknown member 'enviroment'", enviroment={})
_pkginfo_case("environment is a list", "environment is not an object", environment=[])
_pkginfo_case("variable name", "names the variable 'A B'", environment={"A B": "x"})
_pkginfo_case("variable value", "gives A the value 1", environment={"A": 1})
_pkginfo_case("variable value with NUL", "without NUL", environment={"A": "\0"})
_pkginfo_case("requires is a string", "requires is not a list", requires="b")
_pkginfo_case("requirement is an id", "requires 'b--1'", requires=["b--1"])
_pkginfo_case("requirement with unknown key", "requires {'name': 'b'", requires=[{"name": "b", "versio": "x"}])
_pkginfo_case("state_directory is a number", "state_directory is 1", state_directory=1)
_pkginfo_case("username of others", "username is 'root'", username="root")
_pkginfo_case("username with a line break", "username is 'dcos_a\\n'", username="dcos_a\n")
_pkginfo_case("group name", "group is 'A B'", username="dcos_a", group="A B")
_pkginfo_case("sysctl is a list", "sysctl is not an object", sysctl=[])
_pkginfo_case("sysctl of a service is a string", "sysctl of 'a' is not an object", sysctl={"a": "x"})
_pkginfo_case("sysctl key that climbs", "sysctl sets '../../etc/x'", sysctl={"a": {"../../etc/x": "1"}})
_pkginfo_case("sysctl value", "gives net.a.b the value True", sysctl={"a": {"net.a.b": True}})
_pkginfo_case("unit table is a list", "units is not an object", units=[])
_pkginfo_case("unit table entry", "is not an object with a list of roles", units={"a.service": 1})
_pkginfo_case("unit table effect", "asks 'kill'", units={"a.service": {"packages": {"a": "kill"}}})
_pkginfo_case("variant", "variant is 1", variant=1)


# Sets


def _set_case(name: str, says: str, *packages: dict[str, Any]) -> None:
    def prepare(machine: Machine) -> Command:
        return ["activate", *(machine.have(**members) for members in packages)]

    CASES[name] = (prepare, says)


def _p(package_id: str, files: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
    return {"package_id": package_id, "files": files, **members}


_set_case("two versions", "is wanted twice: a--1 and a--2", _p("a--1"), _p("a--2"))
_set_case("requirement missing", "a--1: requires b, which is not in the set", _p("a--1", requires=["b"]))
_set_case("requirement in another variant", "requires b in variant x, the set has default",
          _p("a--1", requires=[{"name": "b", "variant": "x"}]), _p("b--1"))  # fmt: skip
_set_case("requirement in the default variant", "in variant default, the set has x",
          _p("a--1", requires=[{"name": "b", "variant": None}]), _p("b--1", variant="x"))  # fmt: skip
_set_case("PATH", "sets PATH", _p("a--1", environment={"PATH": "/"}))
_set_case("LD_LIBRARY_PATH", "sets LD_LIBRARY_PATH", _p("a--1", environment={"LD_LIBRARY_PATH": "/"}))
_set_case("variable twice", "b--1: sets X, which a--1 sets too",
          _p("a--1", environment={"X": "1"}), _p("b--1", environment={"X": "1"}))  # fmt: skip
_set_case("group without user", "names the group docker and no username", _p("a--1", group="docker"))
_set_case("user in two groups", "wants user dcos_a in group its own, a--1 in docker",
          _p("a--1", username="dcos_a", group="docker"), _p("b--1", username="dcos_a"))  # fmt: skip
_set_case("group that is not there", "wants the group nobodys", _p("a--1", username="dcos_a", group="nobodys"))
_set_case("sysctl for no unit", "sets sysctls for x, and no package has that unit",
          _p("a--1", sysctl={"x": {"net.a.b": "1"}}))  # fmt: skip
_set_case("sysctl with two values", "to 2 for a, a--1 to 1 for a",
          _p("a--1", {"dcos.target.wants/a.service": UNIT}, sysctl={"a": {"net.a.b": "1"}}),
          _p("b--1", sysctl={"a": {"net.a.b": "2"}}))  # fmt: skip
_set_case("unit in two tables", "says what u.service uses, and a--1 does too",
          _p("a--1", units={"u.service": {}}), _p("b--1", units={"u.service": {}}))  # fmt: skip
_set_case(
    "reserved unit", "dcos.target: has a name that is pkgpanda's", _p("a--1", {"dcos.target.wants/dcos.target": UNIT})
)
_set_case("reserved unit of a role", "dcos-setup.service: has a name",
          _p("a--1", {"dcos.target.wants_slave/dcos-setup.service": UNIT}))  # fmt: skip
_set_case("unit drop-in", "a.service.d: is a directory", _p("a--1", {"dcos.target.wants/a.service.d/x.conf": "x"}))
_set_case("unit that is none", "README: is not named like a unit", _p("a--1", {"dcos.target.wants/README": "x"}))
_set_case("unit that is a link to nothing", "is a link to nothing",
          _p("a--1", links={"dcos.target.wants/a.service": "../nothing"}))  # fmt: skip
_set_case("file in two packages", "bin/x: is brought by more than one package: a--1/bin/x (a file), b--1/bin/x",
          _p("a--1", {"bin/x": ""}), _p("b--1", {"bin/x": ""}))  # fmt: skip
_set_case("file and directory", "more than one package: a--1/etc/x (a file), b--1/etc/x (a directory)",
          _p("a--1", {"etc/x": ""}), _p("b--1", {"etc/x/y": ""}))  # fmt: skip
_set_case("link to a directory and directory", "a--1/etc/x (a link), b--1/etc/x (a directory)",
          _p("a--1", {"etc/d/y": ""}, links={"etc/x": "d"}), _p("b--1", {"etc/x/z": ""}))  # fmt: skip
_set_case("file of a role and of all", "a--1/etc/x (a file), a--1/etc_master/x (a file)",
          _p("a--1", {"etc/x": "", "etc_master/x": ""}))  # fmt: skip
_set_case("pkgpanda's own file", "pkgpanda writes that file itself",
          _p("a--1", {"etc/dcos-service-configuration.json": "{}"}))  # fmt: skip


# The host


@_case("unknown role", "minuteman: is no role")
def _(machine: Machine) -> Command:
    Path(machine.layout.config_dir, "roles/minuteman").touch()
    return ["activate", machine.have("a--1")]


@_case("user that must be made by hand", "forbids us to")
def _(machine: Machine) -> Command:
    Path(machine.layout.config_dir, "manual_host_users").touch()
    return ["activate", machine.have("a--1", username="dcos_a")]


@_case("user outside its group", "wants the user dcos_a in the group docker, and it is not")
def _(machine: Machine) -> Command:
    machine.host._useradd(["--comment", "x", "dcos_a"])
    return ["activate", machine.have("a--1", username="dcos_a", group="docker")]


@_case("useradd fails", "useradd dcos_a: failed with status 4")
def _(machine: Machine) -> Command:
    machine.host.failing["useradd"] = 4
    return ["activate", machine.have("a--1", username="dcos_a", state_directory=True)]


@_case("unit of somebody else", "a.service: exists and is not ours")
def _(machine: Machine) -> Command:
    Path(machine.layout.systemd_dir, "a.service").write_text(UNIT)
    return ["activate", machine.have("a--1", {"dcos.target.wants/a.service": UNIT})]


@_case("dcos.target.wants of somebody else", "dcos.target.wants: exists and is not ours")
def _(machine: Machine) -> Command:
    Path(machine.layout.systemd_dir, "dcos.target.wants").mkdir()
    return ["activate", machine.have("a--1")]


@_case("state directory is a file", "is no directory, and a--1 keeps its state there")
def _(machine: Machine) -> Command:
    Path(machine.layout.state_root).mkdir()
    Path(machine.layout.state_root, "a").touch()
    return ["activate", machine.have("a--1", state_directory=True)]


@_case("no room", "has 1 MiB free, 16 are needed")
def _(machine: Machine) -> Command:
    package_id = machine.have("a--1")
    machine.host.space = (1 << 20, 1 << 20)
    return ["activate", package_id]


@_case("no inodes", "has 3 inodes free")
def _(machine: Machine) -> Command:
    package_id = machine.have("a--1")
    machine.host.space = (1 << 40, 3)
    return ["activate", package_id]


@_case("somebody else's root", "is somebody else's: it has active, bin")
def _(machine: Machine) -> Command:
    for name in ("active", "bin"):
        Path(machine.layout.root, name).mkdir(parents=True)
    return ["setup"]


@_case("stop fails", "systemctl stop a.service: failed with status 1")
def _(machine: Machine) -> Command:
    machine.have("a--1", {"dcos.target.wants/a.service": UNIT})
    assert machine("activate", "a--1") == 0
    package_id = machine.have("b--1")
    machine.host.failing["systemctl"] = 1
    return ["activate", package_id]


# The store


@_case("package not in the store", "a--9: is not in the store")
def _(machine: Machine) -> Command:
    return ["activate", "a--9"]


@_case("not an id", "is not a package id")
def _(machine: Machine) -> Command:
    return ["activate", "a"]


@_case("id with a line break", "is not a package id")
def _(machine: Machine) -> Command:
    return ["activate", "a--1\n"]


@_case("package put there by hand", "has no record in the store")
def _(machine: Machine) -> Command:
    machine.have("b--1")
    Path(machine.layout.package("a--1")).mkdir()
    return ["activate", "a--1"]


@_case("package without its top", "was changed after it was added")
def _(machine: Machine) -> Command:
    package_id = machine.have("a--1", {"bin/x": ""})
    os.rename(f"{machine.layout.package(package_id)}/bin", f"{machine.layout.package(package_id)}/nib")
    return ["activate", package_id]


@_case("package with another pkginfo.json", "has another pkginfo.json now")
def _(machine: Machine) -> Command:
    package_id = machine.have("a--1")
    Path(machine.layout.package(package_id), "pkginfo.json").write_text("{}")
    return ["activate", package_id]


@_case("damaged record", "is damaged")
def _(machine: Machine) -> Command:
    package_id = machine.have("a--1")
    Path(machine.layout.manifest(package_id)).write_text("{")
    return ["activate", package_id]


def _other_shape(file: str, *command: str) -> None:
    def prepare(machine: Machine) -> Command:
        assert machine("activate", machine.have("a--1", username="dcos_a")) == 0
        machine.have("b--1", username="dcos_b")
        Path(machine.layout.root, file).write_text('{"id": "a--1", "version": 1, "packages": 1}')
        return command

    CASES[f"another shape: {file}"] = (prepare, f"{file}: is damaged: it is JSON, but not what pkgpanda writes")


_other_shape("catalogue.json", "fetch", "--repository-url", "file:///nowhere", "a--1")
_other_shape("generations/1/generation.json", "history")
_other_shape("journal.json", "setup")
_other_shape("ledger.json", "activate", "a--1", "b--1")
_other_shape("manifests/a--1.json", "show", "a")


def _damaged(name: str, says: str, damage: Callable[[Path], object]) -> None:
    def prepare(machine: Machine) -> Command:
        machine.have("a--1", {"bin/x": "12345"}, links={"bin/l": "x"})
        damage(Path(machine.layout.package("a--1")))
        return ["verify"]

    CASES[f"verify: {name}"] = (prepare, says)


_damaged("changed", "bin/x has other content", lambda path: (path / "bin/x").write_text("54321"))
_damaged("longer", "bin/x has other content", lambda path: (path / "bin/x").write_text("123456"))
_damaged("missing", "bin/x is missing", lambda path: (path / "bin/x").unlink())
_damaged("extra", "bin/y was not in the package's archive", lambda path: (path / "bin/y").touch())
_damaged("mode", "bin/x has mode 0777, not 0755", lambda path: (path / "bin/x").chmod(0o777))


def _relink(path: Path) -> None:
    (path / "bin/l").unlink()
    (path / "bin/l").symlink_to("y")


def _unlink_and_touch(path: Path) -> None:
    (path / "bin/l").unlink()
    (path / "bin/l").touch()


_damaged("link", "bin/l links to 'y', not to 'x'", _relink)
_damaged("kind", "bin/l is of another kind now", _unlink_and_touch)


@_case("verify of what is not there", "a--1: is not in the store")
def _(machine: Machine) -> Command:
    return ["verify", "a--1"]


@_case("show of a name with two versions", "names 2 packages of the store")
def _(machine: Machine) -> Command:
    machine.have("a--1")
    machine.have("a--2")
    return ["show", "a"]


@_case("show of nothing", "is not in the store")
def _(machine: Machine) -> Command:
    return ["show", "a"]


@_case("swap of a stranger", "replaces nothing: no b is active")
def _(machine: Machine) -> Command:
    assert machine("activate", machine.have("a--1")) == 0
    return ["swap", machine.have("b--1")]


@_case("removal of what is active", "is used by generation 1")
def _(machine: Machine) -> Command:
    assert machine("activate", machine.have("a--1")) == 0
    return ["remove", "a--1"]


@_case("removal of what a kept generation needs", "is used by generation 1")
def _(machine: Machine) -> Command:
    assert machine("activate", machine.have("a--1")) == 0
    assert machine("activate", machine.have("b--1")) == 0
    return ["remove", "a--1"]


@_case("rollback of nothing", "nothing is active")
def _(machine: Machine) -> Command:
    return ["rollback"]


@_case("rollback from the first", "has no generation before it")
def _(machine: Machine) -> Command:
    assert machine("activate", machine.have("a--1")) == 0
    return ["rollback"]


@_case("rollback to a generation that is gone", "generation 7: does not exist")
def _(machine: Machine) -> Command:
    assert machine("activate", machine.have("a--1")) == 0
    return ["rollback", "7"]


@_case("diff of nothing", "nothing is active")
def _(machine: Machine) -> Command:
    return ["diff"]


@_case("diff of three", "compares two generations")
def _(machine: Machine) -> Command:
    assert machine("activate", machine.have("a--1")) == 0
    return ["diff", "1", "2", "3"]


@_case("uninstall of nothing", "there is nothing to uninstall")
def _(machine: Machine) -> Command:
    return ["uninstall"]


@_case("change on top of an interrupted one", "run pkgpanda setup to finish it")
def _(machine: Machine) -> Command:
    package_id = machine.have("a--1")
    Path(machine.layout.root, "journal.json").write_text("{}")
    return ["activate", package_id]


@_case("journal of another version", "was written by another version")
def _(machine: Machine) -> Command:
    machine.have("a--1")
    Path(machine.layout.root, "journal.json").write_text('{"version": 99}')
    return ["setup"]


@_case("damaged journal", "journal.json: is damaged")
def _(machine: Machine) -> Command:
    machine.have("a--1")
    Path(machine.layout.root, "journal.json").write_text("{")
    return ["setup"]


# Bundles


def _setting_up(machine: Machine, info: Any, *, url: str = "", sha256: str = "") -> Command:
    made, digest = write_info(machine.archives / "dist", info)
    return ["setup", "--silent", "--repository-url", url or made, "--package-info-sha256", sha256 or digest]


def _entry(**changed: Any) -> dict[str, Any]:
    good = {"id": "a--1", "filename": "packages/a/a--1.tar.xz", "sha256": "0" * 64, "tar_sha256": "0" * 64, "size": 9}
    return {"a": {**good, "roles": ["master"], **changed}}


def _bundle_case(name: str, says: str, info: Any, **more: str) -> None:
    CASES[f"bundle: {name}"] = (lambda machine: _setting_up(machine, info, **more), says)


_bundle_case("another digest", "the bundle served is not the one", {}, sha256="0" * 64)
_bundle_case("digest that is none", "is no sha256", {}, sha256="xyz")
_bundle_case("not an object", "is not a JSON object", [])
_bundle_case("member missing", "lacks one of", {"a": {"id": "a--1"}})
_bundle_case("id of another name", "gives the id 'b--1'", _entry(id="b--1"))
_bundle_case("id that is none", "gives an id that is not a package id", _entry(id="a"))
_bundle_case("file name that climbs", "gives the file name '../x'", _entry(filename="../x"))
_bundle_case("no digest", "gives no tar_sha256", _entry(tar_sha256=""))
_bundle_case("size", "gives the size -1", _entry(size=-1))
_bundle_case("roles", "gives the roles ['x']", _entry(roles=["x"]))
_bundle_case("nothing for this role", "has no package for the role master", _entry(roles=["slave"]))
_bundle_case("no such scheme", "is no http://, https:// or file:// address", {}, url="ftp://x")
_bundle_case("no address", "is no http://, https:// or file:// address", {}, url="http://")
_bundle_case("half an IPv6 address", "is no address: Invalid IPv6 URL", {}, url="http://[::1")
_bundle_case("port that is none", "is no address: Port could not be cast", {}, url="http://boot:http")
_bundle_case("space in an address", "has a character that no address may have", {}, url="http://boot/a b")
_bundle_case("letter no address has", "has a character that no address may have", {}, url="http://boot/\u00fc")
_bundle_case("NUL in a path", "has a character that no address may have", {}, url="file:///a%00b")
_bundle_case("larger than the disk", "MiB free, about", _entry(size=1 << 50))


@_case("bundle: no package list", "there is no such file")
def _(machine: Machine) -> Command:
    return ["setup", "--repository-url", f"file://{machine.base}/none", "--package-info-sha256", "0" * 64]


@_case("bundle: no role", "names no role")
def _(machine: Machine) -> Command:
    os.unlink(f"{machine.layout.config_dir}/roles/master")
    return _setting_up(machine, {})


def _served(machine: Machine, damage: Callable[[bytes], bytes]) -> Command:
    url, digest = write_bundle(machine.archives / "dist", [(machine.package("a--1"), ["master"])])
    path = machine.archives / "dist/packages/a/a--1.tar.xz"
    path.write_bytes(damage(path.read_bytes()))
    return ["setup", "--silent", "--repository-url", url, "--package-info-sha256", digest]


@_case("bundle: package of another digest", "has sha256")
def _(machine: Machine) -> Command:
    return _served(machine, lambda data: bytes(len(data)))


@_case("bundle: package longer than promised", "is longer than the manifest says")
def _(machine: Machine) -> Command:
    return _served(machine, lambda data: data + b"x")


@_case("fetch of what the manifest lacks", "is in no verified manifest")
def _(machine: Machine) -> Command:
    return ["fetch", "--repository-url", "file:///nowhere", "z--1"]


@pytest.mark.parametrize("name", CASES)
def test_one_line_exit_1_and_the_node_unchanged(
    machine: Machine, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare, says = CASES[name]
    command = prepare(machine)
    before, users = _lasting(machine), dict(machine.host.users)
    capsys.readouterr()
    status = machine(*command)
    told = capsys.readouterr()
    machine.host.failing.clear()
    expected = 3 if "systemctl" in says else 1
    assert status == expected, told.err
    lines = [line for line in told.err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("pkgpanda: "), told.err
    assert says in lines[0], lines[0]
    assert _lasting(machine) == before
    assert machine.host.users == users


def _lasting(machine: Machine) -> dict[str, str]:
    """The node, but for what the first command on any node makes and a failing download may leave to be continued."""
    made = {
        machine.layout.root,
        f"{machine.layout.root}/.owner",
        f"{machine.layout.systemd_dir}/multi-user.target.wants",
    }
    made |= {
        f"{machine.layout.root}/{name}" for name in ("packages", "manifests", "downloads", "generations", "ledger.json")
    }
    return {path: text for path, text in machine.snapshot().items() if path not in made and "/downloads/" not in path}


def test_there_are_at_least_seventy_different_cases() -> None:
    assert len(CASES) >= 70
    assert len({says for _, says in CASES.values()}) >= 70
