"""A rendered file: what `gen render` writes, `dcos-config` holds and `gen diff` compares."""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple


class RenderedFile(NamedTuple):
    """`path` is relative to the package's root, with `/` between its parts; `mode` holds the permission bits alone."""

    path: str
    content: bytes
    mode: int = 0o644


def in_order(files: Iterable[RenderedFile]) -> tuple[RenderedFile, ...]:
    """The files sorted by path. Two of one path are a mistake of the renderer's, not of a user's."""
    ordered = tuple(sorted(files))
    for one, other in pairwise(ordered):
        if one.path == other.path:
            raise ValueError(f"{one.path} is rendered twice")
    return ordered
