"""`gen pki`: the cluster's authority and its nodes' certificates."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gen.commands.validate import add_allow_key

if TYPE_CHECKING:
    from gen.pki import Action, Certificate, Node

EXAMPLE = """\
example:
  gen pki init ~/cluster-pki --config config.yaml     the authority, and every node of the configuration
  gen pki issue ~/cluster-pki 10.0.0.7                one agent more
  gen pki list ~/cluster-pki                          what is there, and when it ends
  gen pki renew ~/cluster-pki                         new certificates for the keys that are there

On each node: bash dcos_install.sh --pki DIR ROLE, where DIR is the directory or a copy of its nodes/<address>.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands."""
    parser.epilog = EXAMPLE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="pki_command", required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="make the authority, and certificates for the nodes of a configuration")
    _add_directory(init)
    init.add_argument(
        "--config", metavar="FILE", type=Path, help="issue for master_list, agent_list, public_agent_list"
    )
    add_allow_key(init)
    _add_changing(init)

    issue = commands.add_parser("issue", help="make certificates for more nodes")
    _add_directory(issue)
    issue.add_argument("addresses", metavar="ADDRESS", nargs="+", help="the address ip-detect prints on the node")
    issue.add_argument("--role", choices=("master", "agent"), default="agent", help="default: agent")
    _add_changing(issue)

    renew = commands.add_parser("renew", help="sign the keys of nodes again, under the same authority")
    _add_directory(renew)
    renew.add_argument("addresses", metavar="ADDRESS", nargs="*", help="default: every node of the directory")
    _add_changing(renew)

    listing = commands.add_parser("list", help="show what is there and when it ends")
    _add_directory(listing)
    _add_format(listing)


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="a directory of your own, outside dist/")


def _add_changing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=_days, metavar="N", help="how long the certificates last (default: 1095)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    _add_format(parser)


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 36500:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days (1 to 36500)")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Carry out the sub-command; 0, or 1 with a line on stderr."""
    from gen.pki import PkiError

    try:
        return _list(args) if args.pki_command == "list" else _change(args)
    except PkiError as error:
        print(f"gen pki: {error}", file=sys.stderr)
    except OSError as error:
        print(f"gen pki: {error.filename or args.directory}: {error.strerror}", file=sys.stderr)
    return 1


def _change(args: argparse.Namespace) -> int:
    from gen import pki

    path: Path = args.directory
    if args.pki_command == "init":
        nodes = _nodes_of(args.config, args.allow_key)
        if nodes is None:
            return 1
        actions = pki.plan_init(path, *nodes)
    else:
        pki.load_authority(path)
        is_renewal = args.pki_command == "renew"
        actions = (
            pki.plan_renew(path, args.addresses) if is_renewal else pki.plan_issue(path, args.addresses, args.role)
        )
    if not args.dry_run:
        pki.apply(path, actions, args.days or pki.NODE_DAYS)
    _print_actions(actions, args)
    return 0


def _nodes_of(config: Path | None, allow_keys: list[str]) -> tuple[list[str], list[str]] | None:
    """The masters and the agents `config` names; None, with its problems printed, when it has errors."""
    if config is None:
        return [], []
    from gen.validate import validate

    report = validate(config.read_bytes(), str(config), allow_keys)
    if not report.ok:
        print(report.text(), file=sys.stderr)
        return None
    values = report.values
    return list(values["master_list"]), [*values["agent_list"], *values["public_agent_list"]]


_SAID = {"create": "created", "issue": "issued", "renew": "renewed", "keep": "kept, as it was"}


def _print_actions(actions: Sequence["Action"], args: argparse.Namespace) -> None:
    if args.format == "json":
        listed = [{"action": each.verb, "what": each.what, "role": each.role} for each in actions]
        print(json.dumps({"dry_run": args.dry_run, "actions": listed}, indent=2))
        return
    for each in actions:
        said = f"would {each.verb}" if args.dry_run else _SAID[each.verb]
        print(f"{each.what}: {said}" + (f" ({each.role})" if each.role else ""))
    if not actions:
        print(f"{args.directory}: nothing to do")
    elif args.pki_command == "renew" and not args.dry_run:
        print("On each node: bash dcos_install.sh --upgrade --pki DIR puts its certificates in place.")


def _list(args: argparse.Namespace) -> int:
    from gen import pki

    authority, nodes = pki.read_authority(args.directory), pki.read_nodes(args.directory)
    show = _list_json if args.format == "json" else _list_text
    show(authority, nodes, datetime.now(UTC))
    return 0


def _list_json(authority: "Certificate", nodes: Sequence["Node"], now: datetime) -> None:
    def ends(certificate: "Certificate") -> dict[str, object]:
        return {"not_after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}", "days_left": certificate.days_left(now)}

    listed = [
        {
            "address": node.address,
            "role": node.role,
            "certificates": [{"name": each.name, **ends(each)} for each in node.certificates],
        }
        for node in nodes
    ]
    print(json.dumps({"authority": ends(authority), "nodes": listed}, indent=2))


def _list_text(authority: "Certificate", nodes: Sequence["Node"], now: datetime) -> None:
    rows = [("authority", "", authority)]
    rows += [(node.address, node.role, each) for node in nodes for each in node.certificates]
    width = max(len(address) for address, _, _ in rows)
    for address, role, each in rows:
        left = each.days_left(now)
        state = f"{left} days left" if left >= 0 else "EXPIRED"
        print(f"{address:<{width}}  {role:<6}  {each.name:<6}  {each.not_after:%Y-%m-%d}  {state}")
