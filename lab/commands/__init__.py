"""The commands of `lab`, and what several of them share."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.cluster import Cluster


class Progress:
    """Says on a terminal what a long step does, with the seconds since the start; says nothing elsewhere."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._is_shown = sys.stderr.isatty()

    def __call__(self, line: str) -> None:
        """Show a line."""
        if self._is_shown:
            print(f"[{time.monotonic() - self._start:5.1f} s] {line}", file=sys.stderr, flush=True)

    def seconds(self) -> float:
        """How long it took until now."""
        return time.monotonic() - self._start


def add_format(parser: argparse.ArgumentParser) -> None:
    """The option of every command whose output a program may read."""
    parser.add_argument("--format", choices=("text", "json"), default="text")


def opened(args: argparse.Namespace) -> Cluster:
    """The lab that was asked for, to look at."""
    return Cluster.open(args.name)


@contextmanager
def changing(args: argparse.Namespace) -> Iterator[Cluster]:
    """The lab that was asked for, to change: alone, and ended by `lab down`."""
    cluster = Cluster.open(args.name)
    cluster.instance.record_self()
    with cluster.alone():
        # What another command changed while this one waited.
        yield Cluster.open(args.name)


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows in columns, as wide as their widest."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
