"""`etcd-discovery`: what dcos-etcd.service runs before and after etcd's start."""

import argparse
import signal
import sys
from collections.abc import Sequence

from dcos_etcd.client import Client
from dcos_etcd.errors import EtcdError
from dcos_etcd.join import Joiner, Log, settle
from dcos_etcd.registry import registry_for
from dcos_etcd.settings import load_settings

_EXAMPLE = "example: etcd-discovery join-cluster && exec /opt/mesosphere/active/etcd/etcd.sh"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command = _parser().parse_args(arguments).command
    try:
        settings = load_settings()
        client, registry, log = Client(settings), registry_for(settings), Log()
        if command == "join-cluster":
            Joiner(settings, client, registry, log).join()
        else:
            settle(settings, client, registry, log)
    except EtcdError as error:
        print(f"etcd-discovery: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"etcd-discovery: {error.filename or 'system'}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("etcd-discovery", description=__doc__, epilog=_EXAMPLE)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("join-cluster", help="make this node a member, or wait until it can be; then etcd may start")
    commands.add_parser("settle", help="with etcd running: take the vote, make etcd's users")
    return parser
