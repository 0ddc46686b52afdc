"""`git` and `git_local`: a commit of a repository, as plain files."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pkgpanda.build.fields import Note
from pkgpanda.build.sources.base import Source, SourceRecord, Workshop, run_program
from pkgpanda.errors import PandaError

_COMMIT = re.compile(r"[0-9a-fA-F]{40}")


@dataclass(frozen=True)
class _Repository(Source):
    """What both kinds do with a commit once they have it."""

    def _git(self, repository: Path, *arguments: str | Path, **environment: str) -> str:
        # The user's proxies and mirrors apply; nothing of the host may change what is checked out.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        clean |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **environment}
        settings = (
            "core.autocrlf=false",
            "core.attributesFile=/dev/null",
            "core.hooksPath=/dev/null",
            "safe.directory=*",
        )
        options = [word for setting in settings for word in ("-c", setting)]
        return run_program(self.where, ["git", *options, "--git-dir", repository, *arguments], env=clean)

    def _export(self, workshop: Workshop, repository: Path, commit: str, target: Path) -> None:
        with workshop.cache.scratch() as scratch:
            index = {"GIT_INDEX_FILE": str(scratch / "index")}
            self._git(repository, "--work-tree", target, "read-tree", commit, **index)
            self._git(repository, "--work-tree", target, "checkout-index", "--all", "--force", **index)


@dataclass(frozen=True)
class GitSource(_Repository):
    """`ref` is the commit; `ref_origin` is the branch or tag it was taken from, and narrows what is fetched."""

    kind: ClassVar[str] = "git"
    required: ClassVar[tuple[str, ...]] = ("git", "ref")
    optional: ClassVar[tuple[str, ...]] = ("ref_origin",)

    @classmethod
    def check(cls, members: Mapping[str, Any], package_dir: Path, note: Note) -> None:
        """Also: a whole commit, and a URL that git does not take for an option."""
        super().check(members, package_dir, note)
        ref = members.get("ref")
        if isinstance(ref, str) and ref and (not _COMMIT.fullmatch(ref) or not int(ref, 16)):
            note("ref", f"is not a commit of 40 hexadecimal digits: {ref}", "a branch moves; pin what it points at")
        for key in ("git", "ref_origin"):
            if str(members.get(key, "")).startswith("-"):
                note(key, "begins with -", "git would take it for an option")

    def fetch(self, workshop: Workshop) -> Self:
        """Into a bare repository of the cache, if the commit is not there yet."""
        url, commit = self.members["git"], self.members["ref"]
        mirror = self._mirror(workshop)
        with workshop.cache.lock(f"git-{mirror.name}"):
            if not (mirror / "HEAD").exists():
                mirror.mkdir(parents=True, exist_ok=True)
                self._git(mirror, "init", "--bare", "--quiet")
            if self._has(mirror, commit):
                return self
            workshop.report(f"{self.name}: fetching {url}...")
            wanted = self.members.get("ref_origin", commit)
            for refspec in (wanted, "+refs/*:refs/fetched/*"):
                try:
                    self._git(mirror, "fetch", "--quiet", "--no-write-fetch-head", "--force", "--", url, refspec)
                except PandaError:
                    if refspec != wanted:
                        raise
                if self._has(mirror, commit):
                    return self
        raise self.problem(f"{url} has no commit {commit}", "check ref and git")

    def unpack(self, workshop: Workshop, target: Path) -> None:
        """The commit's files, without its history."""
        self._export(workshop, self._mirror(workshop), self.members["ref"], target)

    def record(self, workshop: Workshop, unpacked: Path) -> SourceRecord:
        """The commit is the version."""
        return SourceRecord(self.name, self.kind, self.members["git"], self.members["ref"], "")

    def _mirror(self, workshop: Workshop) -> Path:
        return workshop.cache.root / "git" / hashlib.sha256(self.members["git"].encode()).hexdigest()

    def _has(self, mirror: Path, commit: str) -> bool:
        try:
            self._git(mirror, "cat-file", "-e", f"{commit}^{{commit}}")
        except PandaError:
            return False
        return True


@dataclass(frozen=True)
class GitLocalSource(_Repository):
    """HEAD of a repository on this machine, found from the recipe by `rel_path`; it must have no changes."""

    package_dir: Path = field(default=Path(), kw_only=True)

    kind: ClassVar[str] = "git_local"
    required: ClassVar[tuple[str, ...]] = ("rel_path",)

    @classmethod
    def check(cls, members: Mapping[str, Any], package_dir: Path, note: Note) -> None:
        """Also: a relative path that has a repository."""
        super().check(members, package_dir, note)
        path = members.get("rel_path")
        if not isinstance(path, str) or not path:
            return
        if os.path.isabs(path):
            note("rel_path", f"is not relative to the recipe: {path}", "")
        elif not (package_dir / path / ".git").exists():
            note("rel_path", f"is not a git working tree: {path}", "")

    def prepare(self, package_dir: Path) -> Self:
        """Relative to the recipe."""
        return replace(self, package_dir=package_dir)

    def resolve(self, workshop: Workshop) -> dict[str, Any]:
        """The commit at HEAD; refuses a working tree whose tracked files differ from it."""
        if self._git(self._repository, "--work-tree", self._tree, "status", "--porcelain", "-uno"):
            raise self.problem(f"{self._tree} has changes that are not committed", "commit them, or drop them")
        return {**self.members, "commit": self._git(self._repository, "rev-parse", "HEAD").strip()}

    def fetch(self, workshop: Workshop) -> Self:
        """It is here already."""
        return self

    def unpack(self, workshop: Workshop, target: Path) -> None:
        """The commit's files, without its history."""
        self._export(workshop, self._repository, self.resolve(workshop)["commit"], target)

    def record(self, workshop: Workshop, unpacked: Path) -> SourceRecord:
        """The commit is the version."""
        return SourceRecord(self.name, self.kind, self.name, self.resolve(workshop)["commit"], "")

    @property
    def _tree(self) -> Path:
        return self.package_dir / str(self.members["rel_path"])

    @property
    def _repository(self) -> Path:
        return self._tree / ".git"
