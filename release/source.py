"""The commit that a release is made from, and whether the files are that commit's."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from pkgpanda.errors import PandaError


class Commit(NamedTuple):
    """A commit's id; `dirty` where tracked files differ from it."""

    id: str
    dirty: bool

    def __str__(self) -> str:
        return self.id + ("-dirty" if self.dirty else "")


def commit_of(directory: Path) -> Commit:
    """The commit that is checked out in `directory`. PandaError where there is none."""
    identifier = _git(directory, "rev-parse", "--verify", "HEAD")
    dirty = bool(_git(directory, "status", "--porcelain", "--untracked-files=no"))
    return Commit(identifier, dirty)


def clean_commit(directory: Path, allow_dirty: bool) -> Commit:
    """The same; refused where files differ from it, unless that is allowed."""
    commit = commit_of(directory)
    if commit.dirty and not allow_dirty:
        told = f"has changes that commit {commit.id[:12]} does not have"
        raise PandaError.one(str(directory), told, "commit them, or give --allow-dirty, which the release then says")
    return commit


def _git(directory: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PandaError.one("git", f"cannot be run: {error}", "a release says which commit it is made from") from error
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["failed"])[-1]
        raise PandaError.one(str(directory), f"git says: {told}", "a release is made from a commit: use a checkout")
    return done.stdout.strip()
