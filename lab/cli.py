"""`lab`: a whole cluster on this machine. Each command is a module of lab/commands/, imported when it is asked for."""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from lab.instance import LabError, Refusal

COMMANDS = {
    "up": "make a cluster: build the bundle, boot the nodes, install",
    "down": "take the cluster down, whatever state it is in",
    "status": "show the nodes with their units, endpoints, addresses and tunnels",
    "run": "start Marathon applications",
    "stop": "stop applications",
    "story": "play a story from the README of DC/OS' Calico and judge its outcome",
    "exec": "run a command on a node, or in an application's container",
    "shell": "open a shell on a node, or in an application's container",
    "logs": "show a node's journal, or one unit's",
    "cut": "unplug a node's cable",
    "slow": "let a node's cable carry little",
    "loss": "let a node's cable lose packets",
    "heal": "undo cut, slow and loss",
    "kill": "kill a unit's processes, or cut a node's power",
    "reboot": "restart a node, or switch on one that is off",
    "upgrade": "install another bundle, or this one with another configuration",
}
"""Every command and its line of help."""

_EPILOG = """example:
  lab up && lab story bookstore; lab down
  lab exec agent1 -- calicoctl get workloadendpoint -o wide

exit status: 0 done, 1 the input is wrong or the outcome is not as it should be, 2 the command line is wrong,
3 something of the lab does not work
"""
_SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="lab", description="A whole cluster on this machine.", epilog=_EPILOG, formatter_class=raw
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.", formatter_class=raw)
        if name == chosen:
            command.add_argument("--name", default="lab", metavar="LAB", help="which lab (default: lab)")
            _module(name).configure(command)
    return parser


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"lab.commands.{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the value is the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    args = _parser(chosen).parse_args(arguments)
    if os.geteuid() != 0:
        print("lab: its nodes need root: use sudo", file=sys.stderr)
        return 1
    os.environ["PATH"] = os.environ.get("PATH", "") + _SBIN
    try:
        status: int = _module(args.command).run(args)
        sys.stdout.flush()
    except LabError as error:
        return _fail(str(error), getattr(args, "format", "text"), 1 if isinstance(error, Refusal) else 3)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", getattr(args, "format", "text"), 3)
    except KeyboardInterrupt:
        print("lab: interrupted; `lab down` removes what there is", file=sys.stderr)
        return 130
    return status


def _fail(message: str, format_: str, status: int) -> int:
    if format_ == "json":
        print(json.dumps({"status": "failed", "problem": message}, indent=2))
    else:
        print(f"lab: {message}", file=sys.stderr)
    return status
