"""`release`: the command line. Each command is a module of release/commands/, imported when it is asked for."""

import argparse
import importlib
import json
import sys
from types import ModuleType

from pkgpanda.errors import PandaError

COMMANDS = {
    "bundle": "build every package, render the configuration, leave a verified bundle in a directory",
    "verify": "check a bundle or a release: every digest, document, package and signature",
    "create": "build a release, sign it, store it, and make it a channel's",
    "promote": "let a channel be what another is, by one write",
    "list": "show channels and releases",
    "prune": "remove what no channel needs",
    "keygen": "make a key to sign releases with",
    "sign": "sign a bundle or a release with one key more",
    "calicoctl": "build calicoctl as one file for any host, and store it under a branch or a tag",
    "upgrade-script": "write the script that takes nodes from one release to another",
}

_EXAMPLE = """example:
  release bundle --config config/calico.yaml --output dist
  release create testing --config config/calico.yaml --key ~/release-key.pem
  release promote testing stable
"""


def parser(asked: str | None) -> argparse.ArgumentParser:
    """The parser; only the command that was asked for has its options read in."""
    top = argparse.ArgumentParser(
        prog="release",
        description="Packages and configuration into an install bundle, and bundles into channels.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == asked:
            _module(name).configure(sub)
    return top


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"release.commands.{name.replace('-', '_')}")


def main(argv: list[str] | None = None) -> int:
    """Run a command; print what is wrong, one line each, and choose the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    asked = next((each for each in arguments if each in COMMANDS), None)
    args = parser(asked).parse_args(arguments)
    try:
        return int(_module(args.command).run(args))
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
