"""`lab exec`: run a command on a node or in a container."""

import argparse
import os
import signal

from lab.cluster import Cluster
from lab.commands import opened
from lab.instance import Refusal
from lab.tasks import Tasks

_BIN = "/opt/mesosphere/bin"


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("where", metavar="NODE|APP", help="a node, or an application (its first container)")
    parser.add_argument("command_line", metavar="COMMAND", nargs=argparse.REMAINDER)
    parser.epilog = (
        "example:\n  lab exec agent1 -- calicoctl get pool\n  lab exec bookstore-frontend wget -qO- 10.1.1.1/id"
    )


def run(args: argparse.Namespace) -> int:
    """Become the command; its exit status is this program's."""
    command = args.command_line[1:] if args.command_line[:1] == ["--"] else args.command_line
    if not command:
        raise Refusal("give a command to run, or use `lab shell`")
    return become(opened(args), args.where, command)


def become(cluster: Cluster, where: str, command: list[str]) -> int:
    """Run a program in place of this one."""
    if where in cluster.machines:
        entry = cluster.machine(where).entry(["env", f"PATH={_path()}", *command])
    else:
        tasks = Tasks(cluster)
        task = tasks.one(where)
        entry = cluster.machine(task.agent).entry([*tasks.entry(task), *command])
    # Python ignores this signal, and a program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(entry[0], entry)


def _path() -> str:
    return f"{_BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
