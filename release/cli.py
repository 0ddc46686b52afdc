"""`release`: the command line. Each command is a module of release/commands/, imported when it is asked for."""

import argparse
import importlib
import json
import sys

from pkgpanda.errors import PandaError

COMMANDS = {
    "bundle": "build every package, render the configuration, leave a verified bundle in a directory",
    "verify": "check a bundle: every digest, every document and every package in it",
}

_EXAMPLE = """example:
  release bundle --config config/calico.yaml --output dist
  release verify dist
"""


def parser(asked: str | None) -> argparse.ArgumentParser:
    """The parser; only the command that was asked for has its options read in."""
    top = argparse.ArgumentParser(
        prog="release",
        description="Packages and configuration into an install bundle.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == asked:
            importlib.import_module(f"release.commands.{name}").configure(sub)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a command; print what is wrong, one line each, and choose the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    asked = next((each for each in arguments if each in COMMANDS), None)
    args = parser(asked).parse_args(arguments)
    try:
        return int(importlib.import_module(f"release.commands.{args.command}").run(args))
    except PandaError as error:
        return _fail(error, args.format)
    except OSError as error:
        where = str(error.filename or "input/output")
        return _fail(PandaError.one(where, error.strerror or str(error)), args.format)
    except KeyboardInterrupt:
        print("release: interrupted; what stood in the output directory is unchanged", file=sys.stderr)
        return 130


def _fail(error: PandaError, format_: str) -> int:
    if format_ == "json":
        document = {"status": "errors", "problems": [problem._asdict() for problem in error.problems]}
        print(json.dumps(document, indent=2, sort_keys=True))
    else:
        for problem in error.problems:
            print(f"release: {problem}", file=sys.stderr)
    return error.status
