"""`lab reboot`: restart nodes."""

import argparse

from lab.commands import Progress, changing
from lab.state import wait_until_connected
from lab.tasks import Tasks


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("node", metavar="NODE", nargs="+")
    parser.epilog = (
        "On an agent, what Mesos and Marathon would do follows: lost containers' networks are taken down and the\n"
        "applications start again.\n\nexample:\n  lab reboot agent1"
    )


def run(args: argparse.Namespace) -> int:
    """One after the other, each healthy before the next."""
    progress = Progress()
    with changing(args) as cluster:
        for name in args.node:
            node = cluster.node(name)
            progress(f"restarting {name}")
            cluster.machine(name).reboot()
            cluster.wait_until_healthy([name])
            wait_until_connected(cluster)
            if node.is_agent:
                Tasks(cluster).recover(name)
    print(f"{', '.join(args.node)}: up again after {progress.seconds():.0f} s")
    return 0
