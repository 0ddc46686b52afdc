"""The program `calico-confd`: its options, its environment, its exit status."""

import argparse
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from calico.confd import passwords
from calico.confd.apply import CONFIG
from calico.confd.control import SOCKET
from calico.confd.daemon import Confd, Options
from calico.confd.plan import Plan, Settings
from calico.confd.render import render_without_secrets
from calico.daemon.log import LEVELS, configure, fields
from calico.daemon.metrics import Endpoint, health_page, metrics_page
from calico.daemon.notify import Notifier
from calico.datastore.errors import DatastoreError
from calico.datastore.settings import SettingsError, from_environment, open_store
from calico.datastore.store import Store

NODENAME_FILE = "/var/lib/calico/nodename"
_BUNDLED_BIRD = "/opt/mesosphere/active/bird/bin/bird"
_STUCK_AFTER = 30.0
_DONE, _WRONG, _DEPENDENCY = 0, 1, 3
_log = logging.getLogger(__name__)


class Refusal(Exception):
    """The environment is not one to start in: what is wrong and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit status: 0 done, 1 what was given is wrong, 2 the command line is, 3 etcd or BIRD failed."""
    options = _parser().parse_args(arguments)
    configure(LEVELS.get(os.environ.get("BGP_LOGSEVERITYSCREEN", "").lower(), logging.INFO))
    try:
        chosen = _options(options, os.environ)
        store = open_store(from_environment(os.environ))
    except (Refusal, SettingsError, DatastoreError) as error:
        print(f"calico-confd: {error}", file=sys.stderr)
        return _WRONG
    if options.dry_run:
        return _dry_run(chosen, store, options.patience)
    if options.onetime:
        return _once(chosen, store, options.patience)
    return _for_ever(chosen, store, options.metrics_port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "calico-confd",
        description="Keeps BIRD's configuration equal to what the datastore says of nodes, peers, pools and blocks.",
        epilog="Example: calico-confd --dry-run",
    )
    parser.add_argument("-onetime", "--onetime", action="store_true", help="render and load once, then end")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be rendered, without passwords, and change nothing"
    )
    parser.add_argument("--node", default="", help=f"this node's name (default: $NODENAME, else {NODENAME_FILE})")
    parser.add_argument("--config", default=CONFIG, metavar="FILE", help=f"what is written (default {CONFIG})")
    parser.add_argument("--socket", default=SOCKET, metavar="FILE", help=f"BIRD's control socket (default {SOCKET})")
    text = "the BIRD that checks (default: the bundle's, else the one on PATH)"
    parser.add_argument("--bird", default="", metavar="PROGRAM", help=text)
    text = f"where BGPPeers' password files are (default {passwords.DIRECTORY})"
    parser.add_argument("--passwords", default=passwords.DIRECTORY, metavar="DIR", help=text)
    parser.add_argument(
        "--metrics-port",
        type=int,
        default=int(os.environ.get("CONFD_PROMETHEUSMETRICSPORT", "") or 0),
        metavar="PORT",
        help="port of loopback for /metrics, /readiness, /liveness (default: $CONFD_PROMETHEUSMETRICSPORT; 0: none)",
    )
    text = "how long --onetime and --dry-run wait for etcd (default 60)"
    parser.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help=text)
    return parser


def _options(options: argparse.Namespace, environment: Mapping[str, str]) -> Options:
    settings = Settings(options.node or _node_name(environment), environment.get("CALICO_ROUTER_ID", ""))
    bird = options.bird or (_BUNDLED_BIRD if os.path.exists(_BUNDLED_BIRD) else shutil.which("bird"))
    if not bird:
        raise Refusal(f"there is no bird to check configurations with: neither {_BUNDLED_BIRD} nor one on PATH")
    return Options(settings, bird, options.config, options.socket, options.passwords)


def _node_name(environment: Mapping[str, str]) -> str:
    if name := environment.get("NODENAME"):
        return name
    try:
        name = Path(NODENAME_FILE).read_text().strip()
    except OSError:
        name = ""
    if not name:
        raise Refusal(f"this node has no name: set NODENAME, or let dcos-calico-node write {NODENAME_FILE}")
    return name


def _for_ever(options: Options, store: Store, port: int) -> int:
    confd = Confd(options, store, Notifier())
    signal.signal(signal.SIGTERM, lambda *_: confd.stop())
    signal.signal(signal.SIGINT, lambda *_: confd.stop())
    signal.signal(signal.SIGHUP, lambda *_: confd.refresh())
    endpoint = _serve(confd, port)
    _log.info("calico-confd starts %s", fields(node=options.settings.node, config=options.config))
    try:
        confd.run()
    finally:
        if endpoint is not None:
            endpoint.close()
        store.close()
    return _DONE


def _serve(confd: Confd, port: int) -> Endpoint | None:
    """The figures, where a port is given. A port that is taken costs the figures and nothing else."""
    if not port:
        return None
    pages = {
        "/metrics": metrics_page(confd.figures.registry),
        "/readiness": health_page(lambda: confd.is_ready),
        "/liveness": health_page(lambda: time.monotonic() - confd.heartbeat < _STUCK_AFTER),
    }
    try:
        return Endpoint("127.0.0.1", port, pages)
    except OSError as error:
        _log.error("no metrics %s", fields(port=port, reason=error.strerror))
        return None


def _dry_run(options: Options, store: Store, patience: float) -> int:
    confd = Confd(options, store)
    found = confd.read_once(patience)
    if found is None:
        return _no_datastore(confd)
    sys.stdout.write(render_without_secrets(found.configuration))
    return _tell_problems(found)


def _once(options: Options, store: Store, patience: float) -> int:
    confd = Confd(options, store)
    done = confd.once(patience)
    if done is None:
        return _no_datastore(confd)
    found, outcome = done
    status = _tell_problems(found)
    if outcome.error:
        print(f"calico-confd: {outcome.error}", file=sys.stderr)
        return _DEPENDENCY
    return status


def _no_datastore(confd: Confd) -> int:
    reason = confd.follower.error or "it did not answer in time"
    print(f"calico-confd: the datastore could not be read, nothing was changed: {reason}", file=sys.stderr)
    return _DEPENDENCY


def _tell_problems(found: Plan) -> int:
    for problem in found.problems:
        print(f"calico-confd: left out: {problem}", file=sys.stderr)
    return _WRONG if found.problems else _DONE


if __name__ == "__main__":
    sys.exit(main())
