"""`python -m manual`: check the documentation, and build it as a site."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from manual.check import check
from manual.pages import read
from manual.site import build

_EPILOG = """exit status: 0 done, 1 the pages have problems, 2 the command line is wrong

example:
  python -m manual build/site
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Check every page; with a directory, write the site there too."""
    parser = argparse.ArgumentParser(
        "manual",
        description="Check the documentation, and build it as a site.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", nargs="?", type=Path, metavar="DIR", help="where the site goes; default: only check")
    options = parser.parse_args(argv)
    pages = read()
    problems = check(pages)
    for problem in problems:
        print(f"manual: {problem}", file=sys.stderr)
    if problems:
        return 1
    if options.output:
        written = build(pages, options.output)
        print(f"{options.output}: {len(written)} files; open {options.output / 'index.html'}")
    else:
        print(f"{len(pages)} pages are in order")
    return 0
