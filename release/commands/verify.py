"""`release verify DIR`."""

import argparse
import json
import sys
from pathlib import Path

from release.verify import verify


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="what release bundle wrote, or a copy of it")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.epilog = "exit status: 0 all of it fits together, 1 something does not\n\nexample:\n  release verify dist"


def run(args: argparse.Namespace) -> int:
    """Print every problem, or that there is none."""
    verdict = verify(args.directory)
    if args.format == "json":
        document = {
            "status": "errors" if verdict.problems else "ok",
            "files": verdict.files,
            "packages": verdict.packages,
            "problems": [problem._asdict() for problem in verdict.problems],
        }
        print(json.dumps(document, indent=2, sort_keys=True))
        return 1 if verdict.problems else 0
    for problem in verdict.problems:
        print(f"release: {problem}", file=sys.stderr)
    if verdict.problems:
        print(f"release: {args.directory} has {len(verdict.problems)} problems; build it again", file=sys.stderr)
        return 1
    print(f"release: {args.directory} is in order: {verdict.files} files, {verdict.packages} packages")
    return 0
