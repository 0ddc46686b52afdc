"""Options that several commands of `release` take, and how they are read."""

import argparse
import os
from pathlib import Path

from pkgpanda.errors import PandaError
from release.storage.base import Storage
from release.storage.settings import Storages, load

DEFAULT_STORAGE = Path("config/release.yaml")


def add_format(parser: argparse.ArgumentParser) -> None:
    """`--format`."""
    parser.add_argument("--format", choices=("text", "json"), default="text")


def add_storage(parser: argparse.ArgumentParser, has_one: bool = False) -> None:
    """`--storage`, and for commands that look at one storage `--in`."""
    text = f"where releases are kept (default: {DEFAULT_STORAGE})"
    parser.add_argument("--storage", type=Path, default=DEFAULT_STORAGE, metavar="FILE", help=text)
    if has_one:
        parser.add_argument(
            "--in", dest="place", default="", metavar="NAME", help="of its storages; default: preferred"
        )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """`--dry-run`."""
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def add_key(parser: argparse.ArgumentParser, text: str) -> None:
    """`--key`, a private key's file."""
    parser.add_argument("--key", type=Path, action="append", default=[], metavar="FILE", help=text)


def storages(args: argparse.Namespace) -> Storages:
    """The storages of `--storage`."""
    return load(args.storage, os.environ)


def one_storage(args: argparse.Namespace) -> Storage:
    """The storage that `--in` names, or the preferred one."""
    known = storages(args)
    if not args.place:
        return known.preferred
    if args.place not in known.all:
        raise PandaError.one(str(args.storage), f"names no storage {args.place}", f"one of {', '.join(known.all)}")
    return known.all[args.place]
