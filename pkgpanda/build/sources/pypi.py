"""`pypi`: a wheel for the Python that nodes run (Debian 12's CPython 3.11 on x86-64), whatever Python builds it."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from pkgpanda.build.fields import Note
from pkgpanda.build.hashing import file_sha256
from pkgpanda.build.sources.base import Source, SourceRecord, Workshop, run_program
from pkgpanda.build.sources.licences import wheel_licence
from pkgpanda.build.sources.url import unzip

_PROJECT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.+!_]+")
_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9.+!_]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")

_PYTHON = "3.11"
_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)] + [
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
]
"""What glibc 2.36, Debian 12's, can load."""


class Release(NamedTuple):
    """A wheel as the index has it."""

    version: str
    filename: str
    sha256: str


@dataclass(frozen=True)
class PypiSource(Source):
    """The wheel `filename` of `project` at `version`, unpacked as it would lie in site-packages."""

    kind: ClassVar[str] = "pypi"
    required: ClassVar[tuple[str, ...]] = ("project", "version", "filename", "sha256")

    @classmethod
    def check(cls, members: Mapping[str, Any], package_dir: Path, note: Note) -> None:
        """Also: names pip cannot take for anything else, and a wheel of that version."""
        super().check(members, package_dir, note)
        if not all(isinstance(members.get(key), str) and members[key] for key in cls.required):
            return
        if not _PROJECT.fullmatch(members["project"]):
            note("project", f"is not a project's name: {members['project']}", "")
        if not _VERSION.fullmatch(members["version"]):
            note("version", f"is not a version: {members['version']}", "")
        wheel = _WHEEL.fullmatch(members["filename"])
        if wheel is None:
            note(
                "filename",
                f"is not a wheel's name: {members['filename']}",
                "source distributions run code; pin a wheel",
            )
        elif wheel["version"] != members["version"]:
            note("filename", f"is of version {wheel['version']}, not {members['version']}", "")

    def fetch(self, workshop: Workshop) -> Self:
        """Through pip, so that the user's index, proxies and wheel directories apply; pip checks the digest too."""
        sha256 = self.members["sha256"]
        with workshop.cache.lock(sha256):
            if workshop.cache.find(sha256):
                return self
            requirement = f"{self.members['project']}=={self.members['version']} --hash=sha256:{sha256}"
            workshop.report(f"{self.name}: fetching {self.members['filename']}...")
            with workshop.cache.scratch() as scratch:
                (scratch / "requirements.txt").write_text(requirement + "\n")
                wheels = self._pip(scratch, "--require-hashes", "-r", str(scratch / "requirements.txt"))
                if len(wheels) != 1 or file_sha256(wheels[0]) != sha256:
                    raise self.problem(f"pip did not fetch {self.members['filename']} with the sha256 {sha256}", "", 3)
                workshop.cache.admit(wheels[0], sha256)
        return self

    def unpack(self, workshop: Workshop, target: Path) -> None:
        """What is for site-packages."""
        unzip(self, workshop.cache.path(self.members["sha256"]), target)

    def record(self, workshop: Workshop, unpacked: Path) -> SourceRecord:
        """With the licence its metadata names."""
        project, version, filename, sha256 = (self.members[key] for key in self.required)
        licence = wheel_licence(unpacked)
        return SourceRecord(self.name, self.kind, project, version, sha256, False, licence, filename)

    def newest(self, workshop: Workshop) -> Release:
        """What the index offers now for the nodes' Python; for re-pinning."""
        with workshop.cache.scratch() as scratch:
            wheels = self._pip(scratch, self.members["project"])
            if len(wheels) != 1:
                raise self.problem(f"the index has no wheel of {self.members['project']} for Python {_PYTHON}")
            sha256, filename = file_sha256(wheels[0]), wheels[0].name
            workshop.cache.admit(wheels[0], sha256)
        wheel = _WHEEL.fullmatch(filename)
        return Release(wheel["version"] if wheel else "", filename, sha256)

    def _pip(self, scratch: Path, *wanted: str) -> list[Path]:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest", str(scratch)]
        command += ["--implementation=cp", f"--python-version={_PYTHON}"]
        command += [f"--abi={abi}" for abi in ("cp311", "abi3", "none")]
        command += [f"--platform={platform}" for platform in _PLATFORMS]
        run_program(self.where, [*command, *wanted])
        return sorted(scratch.glob("*.whl"))
