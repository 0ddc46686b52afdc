"""`lab story`: play a story and judge it."""

import argparse
import json
from pathlib import Path
from typing import Any

from lab.commands import Progress, add_format, changing
from lab.commands.run import described
from lab.page import page
from lab.story import DOCKER, Outcome, Story

_TITLE = "The bookstore: network policy between Marathon applications"


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("story", choices=("bookstore",))
    parser.add_argument("--on-one-node", action="store_true", help="all three applications on the same agent")
    parser.add_argument(
        "--docker", choices=tuple(DOCKER), default="none", help="applications that the Docker Engine runs (none)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the applications and the policy there")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page about it")
    add_format(parser)
    parser.epilog = (
        "exit status: 0 it went as the README tells, 1 it did not\n\nexample:\n  lab story bookstore --html page.html"
    )


def run(args: argparse.Namespace) -> int:
    """Play it, say how it went, write the page."""
    progress = Progress()
    with changing(args) as cluster:
        outcome = Story(cluster, progress, args.on_one_node, DOCKER[args.docker]).play(args.keep)
    if args.html:
        args.html.write_text(page(_TITLE, cluster.plan, outcome))
    if args.format == "json":
        print(json.dumps(_document(outcome), indent=2))
    else:
        print(_told(outcome))
        if args.html:
            print(f"the whole of it is in {args.html}")
    return 0 if outcome.is_as_told else 1


def _told(outcome: Outcome) -> str:
    lines = []
    for number, step in enumerate(outcome.steps, 1):
        lines += [
            f"{number}. {step.title}: {'as told' if step.is_as_told else 'NOT AS TOLD'}",
            f"   expected: {step.expected}",
        ]
        lines += [
            f"   {'seen:     ' if not line else '          '}{text}" for line, text in enumerate(step.seen.splitlines())
        ]
    verdict = "it went as the README tells" if outcome.is_as_told else "it did NOT go as the README tells"
    return "\n".join([*lines, f"bookstore: {verdict}"])


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": "as told" if outcome.is_as_told else "otherwise",
        "steps": [step._asdict() for step in outcome.steps],
        "tasks": [described(task) for task in outcome.tasks],
        "endpoints": [endpoint._asdict() for endpoint in outcome.endpoints],
        "policies": list(outcome.policies),
        "before": [cell.to_json() for cell in outcome.before],
        "after": [cell.to_json() for cell in outcome.after],
    }
