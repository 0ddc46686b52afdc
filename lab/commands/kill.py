"""`lab kill`: a unit's processes, or a node's power."""

import argparse

from lab.commands import changing
from lab.commands.logs import unit_name
from lab.instance import Refusal


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("what", metavar="UNIT|NODE", help="felix means dcos-calico-felix.service")
    parser.add_argument("--on", metavar="NODE", help="of a unit: on this node only (default: wherever it runs)")
    parser.epilog = "example:\n  lab kill felix --on agent1\n  lab kill master1; lab reboot master1"


def run(args: argparse.Namespace) -> int:
    """SIGKILL for a unit, on every node where it runs; the power of a node."""
    with changing(args) as cluster:
        if args.what in cluster.machines:
            cluster.machine(args.what).kill()
            return 0
        unit = unit_name(args.what)
        machines = [cluster.machine(args.on)] if args.on else cluster.running()
        struck = [each for each in machines if each.run(["systemctl", "is-active", unit], check=False).status == 0]
        if not struck:
            raise Refusal(f"{unit}: runs on none of {', '.join(machine.name for machine in machines)}")
        for machine in struck:
            machine.run(["systemctl", "kill", "--signal=KILL", unit])
    return 0
