"""`lab run`: start Marathon applications."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import marathon
from lab.commands import Progress, add_format, changing, table
from lab.marathon import App
from lab.tasks import Task, Tasks

_STAND_IN = "runs in the lab's own root, which answers /id as id-server does: images cannot be pulled here"


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "file", metavar="APP.json", type=Path, nargs="+", help="application definitions, or lists of them"
    )
    parser.add_argument("--on", metavar="AGENT", default="", help="on this agent; default: where the fewest tasks are")
    add_format(parser)
    parser.epilog = "example:\n  lab run bookstore-server.json --on agent2"


def run(args: argparse.Namespace) -> int:
    """Start them all, or say what is wrong with a file before anything starts."""
    apps = [app for file in args.file for app in marathon.read(file)]
    progress = Progress()
    with changing(args) as cluster:
        progress(f"starting {', '.join(app.id for app in apps)}")
        started = Tasks(cluster).start(apps, args.on)
    if args.format == "json":
        print(json.dumps({"status": "running", "tasks": [described(task) for task in started]}, indent=2))
    else:
        print(listing(started))
        print("\n".join(f"note: {image} {_STAND_IN}" for image in images(apps)))
    return 0


def images(apps: Sequence[App]) -> list[str]:
    """The images that definitions name, which the lab's own root stands in for."""
    return sorted({app.image for app in apps if app.image})


def described(task: Task) -> dict[str, Any]:
    """A task for a program."""
    return {
        "id": task.id,
        "app": task.app.id,
        "container": task.container,
        "runtime": task.app.runtime,
        "agent": task.agent,
        "address": task.address,
        "name": task.app.host,
        "labels": dict(task.app.labels),
        "ports": [port._asdict() for port in task.app.ports],
    }


def listing(tasks: Sequence[Task]) -> str:
    """Tasks for a person, much as `dcos task list` shows them."""
    head = ("NAME", "HOST", "RUNTIME", "ADDRESS", "PORTS", "ID")
    return table([head, *map(_row, tasks)])


def _row(task: Task) -> tuple[str, ...]:
    ports = ", ".join(f"{port.host}->{port.container}/{port.protocol}" for port in task.app.ports) or "-"
    return (task.app.name, task.agent, task.app.runtime, task.address or "-", ports, task.id)
