"""The commit that a release is made from, and whether the files are that commit's."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from pkgpanda.errors import PandaError


class Commit(NamedTuple):
    """A commit's id; `dirty` where tracked files differ from it, or the recipes hold files that it does not have."""

    id: str
    dirty: bool

    def __str__(self) -> str:
        return self.id + ("-dirty" if self.dirty else "")


def clean_commit(packages: Path, allow_dirty: bool) -> Commit:
    """The commit that the recipes in `packages` are of. PandaError where there is none, and where files differ from it
    unless that is allowed."""
    directory = packages.absolute().parent
    identifier = _git(directory, "rev-parse", "--verify", "HEAD")
    changed = _git(directory, "diff", "--name-only", "HEAD").splitlines()
    # Also those that git is told to ignore: a build takes all that is below a recipe, but for Python's leavings.
    others = _git(directory, "ls-files", "--others", "--", packages.name).splitlines()
    changed += [path for path in others if not path.endswith(".pyc")]
    if changed and not allow_dirty:
        told = f"has changes that commit {identifier[:12]} does not have, as {changed[0]}"
        raise PandaError.one(str(directory), told, "commit them, or give --allow-dirty, which the release then says")
    return Commit(identifier, bool(changed))


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
