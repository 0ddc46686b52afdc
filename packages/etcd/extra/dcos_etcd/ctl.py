"""`dcos-etcdctl`: the operator's commands for a master's etcd."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dcos_etcd import operations, report
from dcos_etcd.backup import Manifest
from dcos_etcd.client import Client
from dcos_etcd.errors import EtcdError
from dcos_etcd.registry import registry_for
from dcos_etcd.settings import Settings, load_settings

_EXAMPLE = """examples:
  dcos-etcdctl backup /root/etcd-$(date +%F).tar.gz
  dcos-etcdctl verify /root/etcd-2026-01-31.tar.gz
  dcos-etcdctl members"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0 done, 1 refused, 2 the command line is wrong, 3 etcd or ZooKeeper failed."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        if settings.tls and not os.access(settings.pki / "client.key", os.R_OK):
            raise EtcdError(str(settings.pki / "client.key"), "cannot be read", "run as root")
        return _run(options, settings)
    except EtcdError as error:
        print(f"dcos-etcdctl: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"dcos-etcdctl: {error.filename or 'system'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, settings: Settings) -> int:
    client = Client(settings)
    work = operations.Operator(
        settings, client, registry_for(settings), lambda question: _confirm(question, options), _say, _progress
    )
    match options.command:
        case "backup":
            _show_manifest(options, operations.backup(work, Path(options.archive).absolute()), "backed up")
        case "verify":
            _show_manifest(options, operations.verify(work, Path(options.archive)), "whole")
        case "restore":
            _show_manifest(options, operations.restore(work, Path(options.archive), options.cluster), "restored")
        case "recover":
            _show(options, {"kept": str(operations.recover(work))}, "the data before it is in {kept}")
        case "rejoin":
            _show(options, {"kept": str(operations.rejoin(work))}, "the data before it is in {kept}")
        case "members" if options.remove:
            operations.remove_member(work, options.remove)
            _show(options, {"removed": options.remove}, "{removed} is no member any more")
        case "members":
            _show_members(options, report.list_members(settings, client))
        case "defrag":
            _show_defrag(options, report.defrag(settings, client, _say))
        case _:
            return _diagnostic(options, settings, client)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "dcos-etcdctl", description=__doc__, epilog=_EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--format", choices=("text", "json"), default="text", help="json: for a program")
    destructive = argparse.ArgumentParser(add_help=False, parents=[shared])
    destructive.add_argument("--yes", action="store_true", help="do not ask")

    for name, summary in (("backup", "write all of etcd's data to a new file"), ("verify", "check a backup")):
        command = commands.add_parser(name, parents=[shared], help=summary, description=summary)
        command.add_argument("archive", help="the file: .tar.gz")
    summary = "put a backup in the place of this master's data; etcd must be stopped on every master"
    command = commands.add_parser("restore", parents=[destructive], help=summary, description=summary)
    command.add_argument("archive", help="what backup wrote")
    command.add_argument("--cluster", default="", metavar="ID", help="accept a backup of this other cluster")
    summary = "after a majority was lost for good: begin anew with this master's data"
    commands.add_parser("recover", parents=[destructive], help=summary, description=summary)
    summary = "set this master's data aside and join the others anew"
    commands.add_parser("rejoin", parents=[destructive], help=summary, description=summary)
    summary = "list the members, or remove one that is gone for good"
    command = commands.add_parser("members", parents=[destructive], help=summary, description=summary)
    command.add_argument("--remove", metavar="ADDRESS", help="the member to remove")
    for name, summary in (
        ("defrag", "give back the room that deleted keys take, one member after another"),
        ("diagnostic", "say what is wrong; exit status 1 where anything is"),
    ):
        commands.add_parser(name, parents=[shared], help=summary, description=summary)
    return parser


def _confirm(question: str, options: argparse.Namespace) -> None:
    if options.yes:
        return
    print(question, file=sys.stderr)
    if not sys.stdin.isatty():
        raise EtcdError(f"dcos-etcdctl {options.command}", "changes data and nobody can be asked", "give --yes")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise EtcdError(f"dcos-etcdctl {options.command}", "nothing was changed")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\r{done >> 20} of {total >> 20} MiB", end=end, file=sys.stderr, flush=True)


def _show(options: argparse.Namespace, answer: dict[str, str], text: str) -> None:
    print(json.dumps(answer) if options.format == "json" else text.format(**answer))


def _show_manifest(options: argparse.Namespace, manifest: Manifest, done: str) -> None:
    if options.format == "json":
        print(json.dumps(manifest._asdict()))
    else:
        print(
            f"{options.archive}: {done}: cluster {manifest.clusters[-1]}, revision {manifest.revision}, "
            f"{manifest.keys} keys, {manifest.size} bytes, taken {manifest.taken} on {manifest.member}"
        )


def _show_members(options: argparse.Namespace, rows: Sequence[report.Row]) -> None:
    if options.format == "json":
        print(json.dumps({"members": [row.as_json() for row in rows]}))
        return
    print(f"{'NAME':24} {'STATE':10} {'VERSION':8} {'SIZE':>10}  ID")
    for row in rows:
        entry = row.as_json()
        size = f"{entry['size'] >> 10} KiB" if entry["size"] is not None else "-"
        print(f"{entry['name']:24} {entry['state']:10} {entry['version'] or '-':8} {size:>10}  {entry['id']}")


def _show_defrag(options: argparse.Namespace, done: Sequence[tuple[str, int, int]]) -> None:
    if options.format == "json":
        print(json.dumps({"members": [{"name": name, "before": old, "after": new} for name, old, new in done]}))
        return
    for name, old, new in done:
        print(f"{name}: {old >> 10} KiB before, {new >> 10} KiB after")


def _diagnostic(options: argparse.Namespace, settings: Settings, client: Client) -> int:
    problems = report.diagnose(settings, client)
    if options.format == "json":
        print(json.dumps({"healthy": not problems, "problems": problems}))
    else:
        print("\n".join(problems) or "etcd: healthy, all members answer")
    return 1 if problems else 0
