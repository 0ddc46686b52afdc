"""Problems as values: what is wrong, where, and what to do about it.

Library code collects `Problem`s and raises them together in a `PandaError`; only a command's `main()` prints them and
chooses the exit status.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong.

    `where` is what a user would open or name: a file with a key path (`packages/etcd/buildinfo.json: sources.etcd`), a
    package id, a path on the node. `message` completes it to a sentence without a capital or a full stop; `hint` says
    what to do, or is empty where the message leaves no doubt.
    """

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """The one line a user sees; what cannot be seen in a value, as a line break, is shown escaped."""
        text = f"{self.where}: {self.message}" + (f" ({self.hint})" if self.hint else "")
        return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class PandaError(Exception):
    """One or more problems that stop a command: exit status 1 (or `status`), a line for each on stderr."""

    def __init__(self, problems: Iterable[Problem], status: int = 1) -> None:
        self.problems = sorted(set(problems))
        self.status = status
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def one(cls, where: str, message: str, hint: str = "", status: int = 1) -> "PandaError":
        """A PandaError with a single problem."""
        return cls([Problem(where, message, hint)], status)
