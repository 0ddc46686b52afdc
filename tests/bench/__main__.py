"""`make bench`: run every `*_bench.py` beside this file and print its lines.

A bench module has `bench(rounds: int) -> list[str]`. Every figure is a median of `rounds` runs and, where there is
something to compare with, a ratio against a reference measured in the same minutes on the same machine.
"""

import argparse
import importlib
import sys
from pathlib import Path

_SUFFIX = "_bench"


def main() -> int:
    """Run the benches named on the command line, or all of them."""
    names = sorted(path.stem.removesuffix(_SUFFIX) for path in Path(__file__).parent.glob(f"*{_SUFFIX}.py"))
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Example: python -m tests.bench gen pack"
    )
    parser.add_argument("name", nargs="*", help=f"one or more of: {', '.join(names)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each command (default 7)")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.name) - set(names)):
        parser.error(f"no bench named {', '.join(unknown)}; there are: {', '.join(names)}")
    for name in arguments.name or names:
        print(f"== {name}", flush=True)
        for line in importlib.import_module(f"tests.bench.{name}{_SUFFIX}").bench(arguments.rounds):
            print(f"   {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
