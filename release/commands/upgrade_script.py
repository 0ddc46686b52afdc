"""`release upgrade-script FROM TO`: the script that takes nodes from one release to another."""

import argparse
import json
import sys
from pathlib import Path

from pkgpanda.errors import PandaError
from release import repository, upgrade
from release.commands.options import add_format, add_storage, one_storage
from release.layout import INSTALL_SCRIPT
from release.upgrade import Side

_EPILOG = """Refused: going back, leaving out a minor version, and losing etcd. The script runs on each node, or on a
workstation for many (--run 'ssh root@{} bash -s --'); it goes one node at a time, masters first, stops at the
first that does not become healthy, and goes on from there when it is run again.
exit status: 0 done, 1 there is no such way, 3 the storage failed

example:
  release upgrade-script stable testing --output dcos_node_upgrade.sh
  release upgrade-script dist.old dist --url http://boot.example:8000 --output dcos_node_upgrade.sh
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    text = "a directory with a bundle, or else a channel or a release"
    parser.add_argument("old", metavar="FROM", help=f"what the nodes have: {text}")
    parser.add_argument("new", metavar="TO", help="what they shall have, likewise")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the script; - for standard output")
    parser.add_argument("--url", default="", metavar="URL", help="where TO is served, if it is a directory")
    add_storage(parser, has_one=True)
    add_format(parser)
    parser.epilog = _EPILOG


def run(args: argparse.Namespace) -> int:
    """Judge the way, write the script."""
    old, new = _side(args, args.old), _side(args, args.new)
    if problems := upgrade.refusals(old, new):
        raise PandaError(problems)
    url = f"{args.url.rstrip('/')}/{INSTALL_SCRIPT}" if args.url else new.script_url
    if not url.startswith(("http://", "https://")):
        raise PandaError.one(args.new, "is served nowhere as far as is known", "give --url", 2)
    script = upgrade.render_script(old, new, url)
    if str(args.output) == "-":
        sys.stdout.write(script.decode())
        return 0
    args.output.write_bytes(script)
    args.output.chmod(0o755)
    told = upgrade.notes(old, new)
    if args.format == "json":
        print(json.dumps({"from": old.title, "to": new.title, "notes": told, "script": str(args.output)}, indent=2))
    else:
        print("\n".join([f"{args.output}: from {old.title} to {new.title}", *(f"  {line}" for line in told)]))
    return 0


def _side(args: argparse.Namespace, what: str) -> Side:
    if Path(what).is_dir():
        return upgrade.side_of_directory(Path(what))
    storage = one_storage(args)
    return upgrade.side_of_release(storage, repository.resolve(storage, what))
