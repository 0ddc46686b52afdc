"""Checks a bundle against itself: every digest in it, every document about it, and every package inside.

It believes nothing but the bytes: what one document says of another is compared with what is there, and everything that
does not fit is reported, not only the first.
"""

import hashlib
import json
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import ROLES, PackageId
from pkgpanda.keys import PublicKey, signature_name, signed_path
from release import layout
from release.archives import Contents, Member, read_archive
from release.assemble import file_digest
from release.keys import is_signed
from release.metadata import read_metadata, title

_SUMS_LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)")
_WELL_KNOWN = re.compile(rf"(bin|etc|include|lib|dcos\.target\.wants)(_({'|'.join(ROLES)}))?")
_RESERVED_UNITS = {"dcos.target", "dcos-setup.service", "dcos-download.service"}
_RESERVED_ENVIRONMENT = {"PATH", "LD_LIBRARY_PATH"}
_DOCUMENTS = {"pkginfo.json", "buildinfo.full.json"}

Found = Iterator[Problem]
_T = TypeVar("_T", dict[str, Any], list[Any])


class Package(NamedTuple):
    """A package as the bundle has it: what cluster-package-info.json says, and what its archive holds."""

    id: PackageId
    roles: tuple[str, ...]
    contents: Contents
    pkginfo: dict[str, Any]


class Verdict(NamedTuple):
    """What was looked at and what is wrong with it."""

    files: int
    packages: int
    problems: tuple[Problem, ...]


def verify(directory: Path) -> Verdict:
    """Look at all of `directory`. Raises PandaError only where there is nothing to look at."""
    if not directory.is_dir():
        raise PandaError.one(str(directory), "is not a directory", "name the directory that release bundle wrote")
    problems: list[Problem] = []
    files = _walk(directory, problems)
    digests = {path: file_digest(directory / path) for path in files}
    problems += _check_sums(directory, digests)
    packages = _read_packages(directory, problems)
    problems += _check_manifest(directory, digests)
    problems += _check_lists(directory, packages)
    problems += _check_set(packages)
    problems += _check_bootstrap(directory, packages)
    problems += _check_sbom(directory, packages)
    problems += _check_script(directory, digests)
    problems += _check_metadata(directory, digests, packages)
    return Verdict(len(files), len(packages), tuple(sorted(set(problems))))


def _walk(directory: Path, problems: list[Problem]) -> list[str]:
    """Every file's path; problems with what is neither file nor directory, and with modes."""
    files = []
    for root, names, leaves in os.walk(directory):
        if not names and not leaves and root != str(directory):
            problems.append(Problem(str(Path(root).relative_to(directory)), "is an empty directory", "remove it"))
        for name in names + leaves:
            path = Path(root, name)
            relative = str(path.relative_to(directory))
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                files.append(relative)
            elif not stat.S_ISDIR(status.st_mode):
                problems.append(Problem(relative, "is neither a file nor a directory"))
                continue
            problems += _check_mode(relative, status.st_mode)
    return sorted(files)


def _check_mode(path: str, mode: int) -> Found:
    wanted = 0o755 if stat.S_ISDIR(mode) or path == layout.INSTALL_SCRIPT else 0o644
    if stat.S_IMODE(mode) != wanted:
        yield Problem(path, f"has mode {stat.S_IMODE(mode):04o} instead of {wanted:04o}")


def _check_sums(directory: Path, digests: dict[str, str]) -> Found:
    text = _read(directory, layout.SUMS)
    if text is None:
        yield Problem(layout.SUMS, "is missing")
        return
    listed = {}
    for number, line in enumerate(text.decode(errors="replace").removesuffix("\n").split("\n"), 1):
        match = _SUMS_LINE.fullmatch(line)
        if match is None or match[2] in listed:
            yield Problem(f"{layout.SUMS}:{number}", "is not '<sha256>  <path>', or names a file again")
        else:
            listed[match[2]] = match[1]
    for path, digest in listed.items():
        if path not in digests:
            yield Problem(path, f"is in {layout.SUMS} and not in the bundle")
        elif digests[path] != digest:
            yield Problem(path, f"has sha256 {digests[path]}, and {layout.SUMS} says {digest}")
    for path in _unsigned(digests.keys() - listed.keys() - {layout.SUMS}):
        yield Problem(path, f"is not in {layout.SUMS}", "a bundle holds nothing else; remove the file")


def _unsigned(paths: Iterable[str]) -> list[str]:
    """Paths without the signatures of SHA256SUMS, which nothing can list."""
    return [path for path in paths if (signed_path(path) or ("",))[0] != layout.SUMS]


def _check_manifest(directory: Path, digests: dict[str, str]) -> Found:
    manifest, problems = _document(directory, layout.MANIFEST, dict)
    yield from problems
    if problems:
        return
    if manifest.get("format") != layout.FORMAT:
        yield Problem(layout.MANIFEST, f"format is {manifest.get('format')!r} instead of {layout.FORMAT!r}")
    artifacts = _mapping(manifest.get("artifacts"))
    for path, about in artifacts.items():
        if path not in digests:
            yield Problem(path, f"is in {layout.MANIFEST} and not in the bundle")
        elif about != {"sha256": digests[path], "size": (directory / path).stat().st_size}:
            yield Problem(path, f"is not what {layout.MANIFEST} says: {json.dumps(about, sort_keys=True)}")
    for path in _unsigned(digests.keys() - artifacts.keys() - {layout.MANIFEST, layout.SUMS}):
        yield Problem(path, f"is not in {layout.MANIFEST}")
    info, _ = _document(directory, layout.PACKAGE_INFO, dict)
    in_info = {name: about.get("id") for name, about in info.items() if isinstance(about, dict)}
    in_manifest = {name: _mapping(about).get("id") for name, about in _mapping(manifest.get("packages")).items()}
    if in_info != in_manifest:
        yield Problem(layout.MANIFEST, f"names other packages than {layout.PACKAGE_INFO}")


def _read_packages(directory: Path, problems: list[Problem]) -> dict[str, Package]:
    """Every package of cluster-package-info.json whose archive can be read, by name."""
    info, unreadable = _document(directory, layout.PACKAGE_INFO, dict)
    problems += unreadable
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # lzma and sha256 let go of the interpreter, so the archives are read side by side.
        results = list(pool.map(lambda item: _read_package(directory, *item), sorted(info.items())))
    problems += (problem for _, found in results for problem in found)
    packages = {package.id.name: package for package, _ in results if package is not None}
    wanted = {layout.archive_path(package.id) for package in packages.values()}
    held = (path for path in (directory / "packages").rglob("*") if path.is_file())
    extra = {str(path.relative_to(directory)) for path in held} - wanted
    named = {str(about.get("filename")) for about in info.values() if isinstance(about, dict)}
    problems += (Problem(path, f"belongs to no package of {layout.PACKAGE_INFO}") for path in extra - named)
    return packages


def _read_package(directory: Path, name: str, about: Any) -> tuple[Package | None, list[Problem]]:
    where = f"{layout.PACKAGE_INFO}: {name}"
    if not isinstance(about, dict) or about.keys() != {"id", "filename", "sha256", "size", "tar_sha256", "roles"}:
        return None, [Problem(where, "does not have exactly id, filename, sha256, size, tar_sha256, roles")]
    try:
        identifier = PackageId.parse(str(about["id"]))
    except PandaError as error:
        return None, error.problems
    if identifier.name != name or about["filename"] != layout.archive_path(identifier):
        return None, [Problem(where, f"id {identifier} and filename {about['filename']} do not belong together")]
    try:
        contents = read_archive(directory / about["filename"], lambda path: path in _DOCUMENTS)
    except PandaError as error:
        return None, error.problems
    problems = [
        Problem(where, f"{key} is {about[key]}, and the archive's is {value}")
        for key, value in (
            ("sha256", contents.sha256),
            ("size", contents.size),
            ("tar_sha256", contents.tar_sha256),
        )
        if about[key] != value
    ]
    roles = about["roles"]
    if not isinstance(roles, list) or not roles or not all(role in ROLES for role in roles):
        problems.append(Problem(where, f"roles is {roles!r}, which are not roles of a node"))
        roles = []
    problems += _check_contents(identifier, contents)
    pkginfo = _parsed(contents.documents.get("pkginfo.json", b"{}"))
    return Package(identifier, tuple(roles), contents, _mapping(pkginfo)), problems


def _check_contents(identifier: PackageId, contents: Contents) -> Found:
    where = str(identifier)
    yield from (Problem(where, odd) for odd in contents.odd)
    for name in sorted(_DOCUMENTS - contents.documents.keys()):
        yield Problem(where, f"holds no {name}")
    for member in contents.members:
        yield from _check_member(where, member)
    pkginfo = _parsed(contents.documents.get("pkginfo.json", b"{}"))
    if not isinstance(pkginfo, dict) or not {"environment", "requires", "state_directory"} <= pkginfo.keys():
        yield Problem(where, "pkginfo.json lacks environment, requires or state_directory")
    built = _mapping(_parsed(contents.documents.get("buildinfo.full.json", b"{}")))
    if (built.get("name"), built.get("package_version")) != tuple(identifier):
        yield Problem(where, "buildinfo.full.json is another package's")
    if not {"variant", "sources", "build_ids"} <= built.keys():
        yield Problem(where, "buildinfo.full.json lacks variant, sources or build_ids")


def _check_member(where: str, member: Member) -> Found:
    parts = member.path.split("/")
    if member.path.startswith("/") or ".." in parts:
        yield Problem(where, f"{member.path} leads out of the package")
    if member.kind == "other":
        yield Problem(where, f"{member.path} is neither file, directory nor symbolic link")
    if member.kind == "link" and not _link_stays(member):
        yield Problem(where, f"{member.path} links to {member.value}, outside the package and /opt/mesosphere")
    if parts[0].startswith("dcos.target.wants") and parts[-1] in _RESERVED_UNITS:
        yield Problem(where, f"{member.path} has the name of a unit that DC/OS reserves")


def _link_stays(member: Member) -> bool:
    if member.value.startswith("/"):
        return os.path.normpath(member.value).startswith("/opt/mesosphere/")
    target = os.path.normpath(os.path.join(os.path.dirname(member.path), member.value))
    return target != ".." and not target.startswith("../")


def _check_lists(directory: Path, packages: dict[str, Package]) -> Found:
    latest = (_read(directory, layout.PACKAGE_LIST_LATEST) or b"").decode(errors="replace").strip()
    yield from _check_id_list(directory, layout.package_list_path(latest), latest, layout.PACKAGE_LIST_LATEST)
    listed, _ = _document(directory, layout.package_list_path(latest), list)
    if listed != sorted(str(package.id) for package in packages.values()):
        yield Problem(layout.package_list_path(latest), f"names other packages than {layout.PACKAGE_INFO}")
    held = {str(path.relative_to(directory)) for path in (directory / "package_lists").glob("*")}
    for path in held - {layout.package_list_path(latest)}:
        yield Problem(path, f"is not the list {layout.PACKAGE_LIST_LATEST} names")


def _check_id_list(directory: Path, path: str, identifier: str, named_by: str) -> Found:
    content = _read(directory, path)
    if content is None:
        yield Problem(named_by, f"is {identifier or 'empty'}, and {path} is not there")
    elif hashlib.sha256(content).hexdigest() != identifier:
        yield Problem(path, "has another sha256 than its name says")


def _check_set(packages: dict[str, Package]) -> Found:
    """What a node refuses to activate: missing requirements, a file or a variable in two packages, a group alone."""
    owners: dict[str, str] = {}
    for package in packages.values():
        where = str(package.id)
        for requirement in _list(package.pkginfo.get("requires")):
            yield from _check_requirement(package, requirement, packages)
        if "group" in package.pkginfo and "username" not in package.pkginfo:
            yield Problem(where, "has a group and no username")
        for variable in _mapping(package.pkginfo.get("environment")):
            if variable in _RESERVED_ENVIRONMENT:
                yield Problem(where, f"sets {variable}, which is reserved")
            yield from _claim(owners, f"environment variable {variable}", where)
        for member in package.contents.members:
            if member.kind != "directory" and _WELL_KNOWN.fullmatch(member.path.partition("/")[0]):
                yield from _claim(owners, member.path, where)


def _claim(owners: dict[str, str], thing: str, where: str) -> Found:
    first = owners.setdefault(thing, where)
    if first != where:
        yield Problem(where, f"has {thing}, and so has {first}")


def _check_requirement(package: Package, requirement: Any, packages: dict[str, Package]) -> Found:
    name = requirement.get("name") if isinstance(requirement, dict) else requirement
    required = packages.get(str(name))
    if required is None:
        yield Problem(str(package.id), f"requires {name}, which the bundle does not hold")
    elif missing := set(package.roles) - set(required.roles):
        yield Problem(str(package.id), f"requires {name}, which {', '.join(sorted(missing))} nodes do not get")


def _check_bootstrap(directory: Path, packages: dict[str, Package]) -> Found:
    latest = (_read(directory, layout.BOOTSTRAP_LATEST) or b"").decode(errors="replace").strip()
    yield from _check_id_list(directory, layout.active_path(latest), latest, layout.BOOTSTRAP_LATEST)
    ids, problems = _document(directory, layout.active_path(latest), list)
    if problems:
        return
    path = layout.bootstrap_path(latest)
    known = {str(package.id): package for package in packages.values()}
    ids = list(map(str, ids))
    for identifier in sorted(set(ids) - known.keys()):
        yield Problem(layout.active_path(latest), f"names {identifier}, which the bundle does not hold")
    held = {str(found.relative_to(directory)) for found in (directory / "bootstrap").glob("*")}
    for extra in held - {path, layout.active_path(latest)}:
        yield Problem(extra, f"is not what {layout.BOOTSTRAP_LATEST} names")
    if (directory / path).is_file():
        yield from _compare_bootstrap(directory / path, path, {each: known[each] for each in ids if each in known})
    else:
        yield Problem(path, "is missing")


def _compare_bootstrap(archive: Path, where: str, packages: dict[str, Package]) -> Found:
    try:
        contents = read_archive(archive, lambda _: False)
    except PandaError as error:
        yield from error.problems
        return
    yield from (Problem(where, odd) for odd in contents.odd)
    wanted = {
        Member(f"packages/{identifier}/{member.path}", *member[1:])
        for identifier, package in packages.items()
        for member in package.contents.members
    }
    wanted |= {Member(f"packages/{identifier}", "directory", 0o755, "") for identifier in packages}
    wanted.add(Member("packages", "directory", 0o755, ""))
    found = set(contents.members)
    for member in sorted(wanted ^ found)[:5]:
        what = "lacks or changes" if member in wanted else "adds or changes"
        yield Problem(where, f"{what} {member.path}, against the packages it is made of")


def _check_sbom(directory: Path, packages: dict[str, Package]) -> Found:
    document, problems = _document(directory, layout.SBOM, dict)
    yield from problems
    if problems:
        return
    components = map(_mapping, _list(document.get("components")))
    hashes = {str(each.get("bom-ref")): each.get("hashes") for each in components}
    for package in packages.values():
        wanted = [{"alg": "SHA-256", "content": package.contents.sha256}]
        if hashes.get(str(package.id)) != wanted:
            yield Problem(layout.SBOM, f"does not have {package.id} with the digest of its archive")


def _check_script(directory: Path, digests: dict[str, str]) -> Found:
    script = (_read(directory, layout.INSTALL_SCRIPT) or b"").decode(errors="replace")
    if not script:
        yield Problem(layout.INSTALL_SCRIPT, "is missing")
        return
    latest = (_read(directory, layout.BOOTSTRAP_LATEST) or b"").decode(errors="replace").strip()
    for path in (layout.bootstrap_path(latest), layout.PACKAGE_INFO):
        if path in digests and digests[path] not in script:
            yield Problem(layout.INSTALL_SCRIPT, f"does not carry the sha256 of {path}, {digests[path]}")


def _check_metadata(directory: Path, digests: dict[str, str], packages: dict[str, Package]) -> Found:
    """Of a release: what metadata.json and provenance.json say, against the files and one another."""
    content = _read(directory, layout.METADATA)
    if content is None:
        return
    try:
        said = read_metadata(content, layout.METADATA)
    except PandaError as error:
        yield from error.problems
        return
    artifacts = {each.path: each.sha256 for each in (*said.core, *said.documents)}
    for path in sorted(artifacts):
        if digests.get(path) != artifacts[path]:
            yield Problem(layout.METADATA, f"names {path} with another sha256 than it has")
    if said.packages != {name: str(package.id) for name, package in packages.items()}:
        yield Problem(layout.METADATA, f"names other packages than {layout.PACKAGE_INFO}")
    statement, problems = _document(directory, layout.PROVENANCE, dict)
    yield from problems
    subjects = {_mapping(each).get("name"): _mapping(each).get("digest") for each in _list(statement.get("subject"))}
    if not problems and subjects != {path: {"sha256": digest} for path, digest in artifacts.items()}:
        yield Problem(layout.PROVENANCE, f"is about other files than {layout.METADATA}")
    build = _mapping(_mapping(statement.get("predicate")).get("buildDefinition"))
    sources = [_mapping(_mapping(each).get("digest")) for each in _list(build.get("resolvedDependencies"))]
    if not problems and said.commit.removesuffix("-dirty") not in [each.get("gitCommit") for each in sources]:
        yield Problem(layout.PROVENANCE, f"is of another commit than {layout.METADATA}")
    script = (_read(directory, layout.INSTALL_SCRIPT) or b"").decode(errors="replace")
    if shlex.quote(title(said.tag or said.version, said.commit)) not in script:
        yield Problem(layout.METADATA, f"names another tag or commit than {layout.INSTALL_SCRIPT}")


def check_signatures(directory: Path, keys: Sequence[PublicKey]) -> Found:
    """Nothing, where one of `keys` signed the bundle's SHA256SUMS."""
    sums = _read(directory, layout.SUMS) or b""
    signed = {key: _read(directory, signature_name(layout.SUMS, key)) for key in keys}
    if any(content is not None and is_signed(key, sums, content) for key, content in signed.items()):
        return
    for key, content in signed.items():
        where = signature_name(layout.SUMS, key)
        yield Problem(where, "is missing" if content is None else f"is no signature of {layout.SUMS} by this key")


def _read(directory: Path, path: str) -> bytes | None:
    try:
        return (directory / path).read_bytes()
    except (OSError, ValueError):  # ValueError: a name with a zero byte in it
        return None


def _document(directory: Path, path: str, kind: type[_T]) -> tuple[_T, list[Problem]]:
    """A JSON document of the given type; an empty one, with the problem, where it cannot be read."""
    content = _read(directory, path)
    if content is None:
        return kind(), [Problem(path, "is missing")]
    document = _parsed(content)
    if not isinstance(document, kind):
        return kind(), [Problem(path, f"is not a JSON {kind.__name__}")]
    return document, []


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
