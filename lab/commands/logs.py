"""`lab logs`: a node's journal."""

import argparse
import os
import re
import signal

from lab.commands import opened
from lab.instance import Refusal


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("node", metavar="NODE")
    parser.add_argument("unit", metavar="UNIT", nargs="?", help="felix means dcos-calico-felix.service")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="how many of the last (default: 100)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    parser.epilog = "example:\n  lab logs agent1 felix -f"


def run(args: argparse.Namespace) -> int:
    """Hand over to journalctl."""
    machine = opened(args).machine(args.node)
    if not machine.is_running:
        raise Refusal(f"{args.node}: is switched off\n{machine.console()}")
    words = ["journalctl", "--no-pager", "--quiet", "-n", str(args.lines)]
    words += ["-u", unit_name(args.unit)] if args.unit else []
    words += ["-f"] if args.follow else []
    command = machine.entry(words)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execvp(command[0], command)


def unit_name(word: str) -> str:
    """A unit by its full name or by the part a person says."""
    if "." in word:
        return word
    known = {"etcd": "dcos-etcd", "docker": "docker", "containerd": "containerd"}
    if word in known or word.startswith("dcos-"):
        return f"{known.get(word, word)}.service"
    if not re.fullmatch(r"[a-z-]+", word):
        raise Refusal(f"{word}: is no name of a unit")
    return f"dcos-calico-{word}.service"
