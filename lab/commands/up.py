"""`lab up`: make a cluster."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import yaml

from lab.cluster import Cluster
from lab.commands import Progress, add_format
from lab.instance import Refusal
from lab.kernel import check_kernel, check_programs
from lab.plan import Counts, Node, Plan, make_plan
from lab.state import wait_until_connected

OWNER = "DCOS_CALICO_LAB_OWNER"
"""The pid a lab goes with, in the environment: of tests, whose labs the next run removes when they were killed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--masters", type=_count, metavar="N", help="default: 1, or as many as the configuration lists")
    parser.add_argument("--agents", type=_count, metavar="N", help="default: 2, likewise")
    parser.add_argument("--public-agents", type=_count, metavar="N", help="default: 0, likewise")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="a config.yaml; default: a configuration of its own"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say which nodes there would be")
    add_format(parser)
    parser.epilog = "The lab stays until `lab down`.\n\nexample:\n  lab up --masters 3 --config config/calico.yaml"


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"is not a number from 0 up: {text}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Make it, and say what there is."""
    progress = Progress()
    counts = Counts(args.masters, args.agents, args.public_agents)
    plan = make_plan(read_config(args.config), counts, args.config.parent if args.config else Path())
    check_programs()
    check_kernel(plan.values)
    if args.dry_run:
        print(json.dumps({"status": "planned", **_described(plan)}, indent=2) if args.format == "json" else _told(plan))
        return 0
    cluster = Cluster.create(plan, args.name, int(os.environ.get(OWNER, "0")), say=progress)
    with cluster.alone():
        cluster.up(progress)
        wait_until_connected(cluster)
    if args.format == "json":
        print(json.dumps({"status": "up", "seconds": round(progress.seconds(), 1), **_described(plan)}, indent=2))
    else:
        print(f"{_told(plan)}: up in {progress.seconds():.0f} s")
    return 0


def _shown(node: Node) -> str:
    return f"{node.name} ({node.address})"


def _told(plan: Plan) -> str:
    return "\n".join([*(f"note: {note}" for note in plan.notes), ", ".join(map(_shown, plan.nodes))])


def _described(plan: Plan) -> dict[str, Any]:
    return {"nodes": [node._asdict() for node in plan.nodes], "bootstrap_url": plan.url, "notes": list(plan.notes)}


def read_config(path: Path | None) -> dict[str, Any] | None:
    """A configuration as the user wrote it; `release bundle` judges it."""
    if path is None:
        return None
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise Refusal(f"{path}: is not YAML: {error}") from None
    if not isinstance(found, dict):
        raise Refusal(f"{path}: is no configuration: it has no `key: value` lines")
    return found
