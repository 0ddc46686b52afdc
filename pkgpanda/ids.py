"""Package names and ids: `<name>--<version>`, as DC/OS writes them.

The grammar is upstream's (a name, exactly one `--`, a version); matching is whole-string, so that a trailing newline is
not accepted as upstream's `re.match` accepts it.
"""

import re
from typing import NamedTuple

from pkgpanda.errors import PandaError

_NAME = re.compile(r"[a-zA-Z0-9@_+][a-zA-Z0-9@._+\-]*")
_VERSION = re.compile(r"[a-zA-Z0-9@_+:.]+")

ROLES = ("master", "slave", "slave_public")
"""The roles a node may have, in DC/OS's spelling."""


def is_name(text: str) -> bool:
    """Whether `text` may name a package: the id grammar, and no `--` in it."""
    return _NAME.fullmatch(text) is not None and "--" not in text


class PackageId(NamedTuple):
    """A package's name and version; `str()` gives `<name>--<version>`."""

    name: str
    version: str

    @classmethod
    def parse(cls, text: str) -> "PackageId":
        """Read `<name>--<version>`; raise PandaError when `text` is anything else."""
        name, separator, version = text.partition("--")
        if not separator or not is_name(name) or _VERSION.fullmatch(version) is None:
            raise PandaError.one(
                text, "is not a package id", "a package id is <name>--<version>, with exactly one '--' in it"
            )
        return cls(name, version)

    def __str__(self) -> str:
        return f"{self.name}--{self.version}"
