"""`deb`: a Debian package, fetched through apt's own configuration, without root.

apt verifies every file against the index its archive signed; the pin is compared on top of that. Archives drop old
versions: when the pinned one is gone, the current one is taken instead and the source becomes `unlocked`, which the
manifest shows and which yields another id. Under `--locked` that is an error.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from pkgpanda.build.fields import Note
from pkgpanda.build.hashing import file_sha256
from pkgpanda.build.sources.base import Source, SourceRecord, Workshop, extract_tar, run_program
from pkgpanda.build.sources.cache import Cache
from pkgpanda.build.sources.licences import deb_licence
from pkgpanda.errors import PandaError

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"(\d+:)?[A-Za-z0-9.+~-]+")
_ARCHITECTURE = re.compile(r"[a-z0-9-]+")
_REMEMBERED_SECONDS = 24 * 3600
"""How long a replacement is used again without asking the archive whether the pinned version is back."""


class Candidate(NamedTuple):
    """A package as the archive's index has it."""

    version: str
    sha256: str


@dataclass(frozen=True)
class DebSource(Source):
    """`package` at `version` (for `arch`, by default the machine's), whose .deb has `sha256`."""

    kind: ClassVar[str] = "deb"
    required: ClassVar[tuple[str, ...]] = ("package", "version", "sha256")
    optional: ClassVar[tuple[str, ...]] = ("arch",)

    @classmethod
    def check(cls, members: Mapping[str, Any], package_dir: Path, note: Note) -> None:
        """Also: Debian's grammars for names, versions and architectures."""
        super().check(members, package_dir, note)
        for key, grammar in (("package", _PACKAGE), ("version", _VERSION), ("arch", _ARCHITECTURE)):
            value = members.get(key)
            if isinstance(value, str) and value and not grammar.fullmatch(value):
                note(key, f"is not a Debian {'architecture' if key == 'arch' else key}: {value}", "")

    @property
    def apt_name(self) -> str:
        """`package`, or `package:arch` where the recipe says."""
        return ":".join(filter(None, (self.members["package"], self.members.get("arch", ""))))

    def recall(self, workshop: Workshop) -> Self:
        """What an earlier build took because the pin was gone, as long as it is fresh and in the cache."""
        known = _read_replacements(workshop.cache).get(self.members["sha256"])
        if workshop.locked or known is None or workshop.cache.path(self.members["sha256"]).exists():
            return self
        if known["time"] < time.time() - _REMEMBERED_SECONDS or not workshop.cache.path(known["sha256"]).exists():
            return self
        return self._unlocked(Candidate(known["version"], known["sha256"]))

    def fetch(self, workshop: Workshop) -> Self:
        """From the cache or the archive; where the archive has dropped it, the current version."""
        with workshop.cache.lock("apt"):
            if workshop.cache.find(self.members["sha256"]):
                return self
            apt = Apt(workshop.cache, self)
            if apt.download([self], workshop) and workshop.cache.find(self.members["sha256"]):
                return self
            apt.update()
            pinned = apt.look_up(f"{self.apt_name}={self.members['version']}")
            if pinned is not None:
                return self._fetch_listed(pinned, apt, workshop)
            return self._replaced(apt, workshop)

    def unpack(self, workshop: Workshop, target: Path) -> None:
        """The files of the package, with our own user and without its scripts."""
        with workshop.cache.scratch() as scratch:
            archive = scratch / "data.tar"
            deb = workshop.cache.path(self.members["sha256"])
            with archive.open("wb") as file:
                self._data_tar(deb, file)
            extract_tar(self.where, archive, target)

    def record(self, workshop: Workshop, unpacked: Path) -> SourceRecord:
        """With the licences its copyright file names."""
        package, version, sha256 = (self.members[key] for key in ("package", "version", "sha256"))
        licence = deb_licence(unpacked, package)
        return SourceRecord(self.name, self.kind, package, version, sha256, self.unlocked, licence)

    def _data_tar(self, deb: Path, file: Any) -> None:
        import subprocess

        try:
            done = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], stdout=file, stderr=subprocess.PIPE, check=False)
        except FileNotFoundError as error:
            raise self.problem("needs the program dpkg-deb", "install Debian's dpkg", 3) from error
        if done.returncode:
            raise self.problem(f"is not a Debian package: {done.stderr.decode(errors='replace').strip()}")

    def _fetch_listed(self, listed: Candidate, apt: "Apt", workshop: Workshop) -> Self:
        if listed.sha256 != self.members["sha256"]:
            raise self.problem(
                f"{self.apt_name} {listed.version} has the sha256 {listed.sha256} in the archive, "
                f"the recipe pins {self.members['sha256']}",
                "mkpanda update-sources pins what the archive has",
            )
        self._obtain(self, apt, workshop)
        return self

    def _obtain(self, wanted: Self, apt: "Apt", workshop: Workshop) -> None:
        sha256 = wanted.members["sha256"]
        if workshop.cache.find(sha256):
            return
        if not apt.download([wanted], workshop) or workshop.cache.find(sha256) is None:
            version = f"{self.apt_name} {wanted.members['version']}"
            raise self.problem(f"cannot fetch {version}: {apt.complaint or 'its bytes are not right'}", "", 3)

    def _replaced(self, apt: "Apt", workshop: Workshop) -> Self:
        pinned = f"{self.apt_name} {self.members['version']}"
        current = apt.look_up(self.apt_name)
        if current is None:
            hint = "" if apt.updated else f"apt-get update failed: {apt.complaint}"
            raise self.problem(f"no archive of apt's configuration has {self.apt_name}", hint, 1 if apt.updated else 3)
        if workshop.locked:
            raise self.problem(
                f"{pinned} is gone from the archive, which has {current.version}",
                "mkpanda update-sources pins it; or build without --locked",
            )
        used = self._unlocked(current)
        self._obtain(used, apt, workshop)
        workshop.report(f"{self.name}: {pinned} is gone from the archive; {current.version} is used instead (unlocked)")
        _remember_replacement(workshop.cache, self.members["sha256"], current)
        return used

    def _unlocked(self, candidate: Candidate) -> Self:
        return replace(self, members={**self.members, **candidate._asdict()}, unlocked=True)


def prefetch(sources: Iterable[Source], workshop: Workshop) -> None:
    """Download all pinned debs that the cache lacks in one go of apt; what that misses, `fetch` deals with."""
    lacking = [
        source
        for source in sources
        if isinstance(source, DebSource) and not workshop.cache.path(source.members["sha256"]).exists()
    ]
    if len(lacking) > 1:
        with workshop.cache.lock("apt"):
            Apt(workshop.cache, lacking[0]).download(lacking, workshop)


def candidate(source: DebSource, workshop: Workshop) -> Candidate:
    """What the archive has now of a source's package; for re-pinning."""
    with workshop.cache.lock("apt"):
        apt = Apt(workshop.cache, source)
        apt.update()
        found = apt.look_up(source.apt_name)
    if found is None:
        raise source.problem(f"no archive of apt's configuration has {source.apt_name}")
    return found


class Apt:
    """apt with its archives and keys as the machine has them, and its state in our cache. Use under the lock `apt`."""

    _tried: ClassVar[dict[Path, bool]] = {}
    """Whether fetching the lists succeeded, for what this run tried: once is enough."""

    def __init__(self, cache: Cache, source: Source) -> None:
        self._home = cache.root / "apt"
        self._cache = cache
        self._source = source
        self.complaint = ""
        for directory in ("state/lists/partial", "cache/archives/partial"):
            (self._home / directory).mkdir(parents=True, exist_ok=True)
        if not any(self._home.glob("state/lists/*Release")):
            self.update()

    @property
    def updated(self) -> bool:
        """Whether this run fetched the lists."""
        return self._tried.get(self._home, False)

    def update(self) -> None:
        """Fetch the archives' signed indexes, once a run; without the network the old ones stay."""
        if self._home not in self._tried:
            self._tried[self._home] = self._try("update", "-q") is not None

    def look_up(self, wanted: str) -> Candidate | None:
        """The version and digest of `name` or `name=version` in the signed index."""
        told = self._try("download", "--print-uris", wanted)
        found = re.search(r"^'\S+' (\S+) \d+ SHA256:([0-9a-f]{64})", told or "", re.MULTILINE)
        if not found:
            return None
        version = found[1].split("_")[1].replace("%3a", ":").replace("%2b", "+").replace("%7e", "~")
        return Candidate(version, found[2])

    def download(self, sources: list[DebSource], workshop: Workshop) -> bool:
        """Fetch pinned packages into the cache; whether apt had them all."""
        names = ", ".join(source.apt_name for source in sources)
        workshop.report(f"{sources[0].name if len(sources) == 1 else 'apt'}: fetching {names}...")
        wanted = {source.members["sha256"] for source in sources}
        with self._cache.scratch() as scratch:
            versions = [f"{source.apt_name}={source.members['version']}" for source in sources]
            done = self._try("download", "-q", *versions, directory=scratch)
            for deb in scratch.iterdir():
                if deb.is_file() and (sha256 := file_sha256(deb)) in wanted:
                    self._cache.admit(deb, sha256)
        return done is not None

    def _try(self, *arguments: str, directory: Path | None = None) -> str | None:
        """apt-get's stdout, or None and its last complaint."""
        options = {
            "Dir::State": self._home / "state",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self._home / "cache",
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "APT::Sandbox::User": "",
            "APT::Update::Error-Mode": "any",
        }
        command: list[str | Path] = ["apt-get"]
        for key, value in options.items():
            command += ["-o", f"{key}={value}"]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        try:
            return run_program(self._source.where, [*command, *arguments], cwd=directory, env=environment)
        except PandaError as error:
            if "needs the program" in error.problems[0].message:
                raise
            self.complaint = error.problems[0].message
            return None


def _replacements(cache: Cache) -> Path:
    return cache.root / "apt" / "replacements.json"


def _read_replacements(cache: Cache) -> dict[str, dict[str, Any]]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(_replacements(cache).read_bytes())
        return known if isinstance(known, dict) else {}
    return {}


def _remember_replacement(cache: Cache, pinned: str, used: Candidate) -> None:
    known = _read_replacements(cache) | {pinned: {**used._asdict(), "time": int(time.time())}}
    with cache.scratch() as scratch:
        file = scratch / "replacements.json"
        file.write_text(json.dumps(known, indent=1, sort_keys=True))
        os.replace(file, _replacements(cache))
