"""`release list`: channels and releases of a storage."""

import argparse
import datetime
import json
from typing import NamedTuple

from release import repository
from release.commands.options import add_format, add_storage, one_storage
from release.storage.base import Storage

_EPILOG = """exit status: 0 done, 3 the storage failed

example:
  release list --storage config/release.yaml
"""


class Row(NamedTuple):
    """A release: its channels, what it says of itself, who signed it, when it was written."""

    name: str
    channels: tuple[str, ...]
    tag: str
    commit: str
    packages: int
    signed: tuple[str, ...]
    written: str


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_storage(parser, has_one=True)
    add_format(parser)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Print a table, the newest release first."""
    rows = find(one_storage(args))
    if args.format == "json":
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    table = [("RELEASE", "CHANNELS", "TAG", "COMMIT", "SIGNED BY", "WRITTEN")]
    table += [
        (row.name[:12], ",".join(row.channels), row.tag, _short(row.commit), ",".join(row.signed), row.written)
        for row in rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join((text or "-").ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _short(commit: str) -> str:
    return commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")


def find(storage: Storage) -> list[Row]:
    """Every release, and every channel whose release is gone."""
    named: dict[str, list[str]] = {}
    for channel, release in repository.channels(storage).items():
        named.setdefault(release, []).append(channel)
    rows = []
    for release, written in sorted(repository.releases(storage).items(), key=lambda item: (-item[1], item[0])):
        said = repository.metadata(storage, release)
        signed = tuple(repository.signers(storage, release))
        when = datetime.datetime.fromtimestamp(written, datetime.UTC).strftime("%Y-%m-%d %H:%M")
        channels = tuple(sorted(named.pop(release, ())))
        rows.append(Row(release, channels, said.tag, said.commit, len(said.packages), signed, when))
    return rows + [Row(release, tuple(sorted(names)), "MISSING", "", 0, (), "") for release, names in named.items()]
