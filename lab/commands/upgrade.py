"""`lab upgrade`: another bundle, or another configuration."""

import argparse
from pathlib import Path
from typing import Any

import yaml

from lab.commands import Progress, changing
from lab.instance import Refusal


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", type=Path, help="a dist/ for this lab's configuration")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="build one with another value of a parameter"
    )
    parser.epilog = "example:\n  lab upgrade --set calico_vxlan_enabled=false"


def run(args: argparse.Namespace) -> int:
    """Upgrade every node, one after the other."""
    if bool(args.bundle) == bool(args.set):
        raise Refusal("name a BUNDLE, or changes of the configuration with --set KEY=VALUE, and not both")
    changes = dict(map(_change, args.set))
    progress = Progress()
    with changing(args) as cluster:
        if args.bundle:
            cluster.upgrade(args.bundle, progress)
        else:
            cluster.reconfigure(changes, progress)
    print(f"{args.name}: {len(cluster.plan.nodes)} nodes upgraded in {progress.seconds():.0f} s")
    return 0


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise Refusal(f"--set {text}: has the form KEY=VALUE")
    return key, yaml.safe_load(value)
