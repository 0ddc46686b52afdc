"""The command `calico-felix`: the daemon, `--check` and `--cleanup`.

Exit statuses: 0 done (`--check`: nothing differs), 1 the configuration or the state is wrong, 2 the command line is
wrong, 3 etcd or the kernel failed, 129 the daemon asks to be started again with another configuration.
"""

import argparse
import faulthandler
import fcntl
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from calico.daemon import log
from calico.daemon.notify import Notifier
from calico.datastore.errors import DatastoreError
from calico.datastore.settings import Settings as DatastoreSettings
from calico.datastore.settings import SettingsError, from_environment, open_store
from calico.felix.config.resolve import Resolved
from calico.felix.config.sources import DEFAULT_FILE, ConfigError
from calico.felix.configuration import Configuration, local_sources
from calico.felix.daemon import Context, Daemon

_DIRECTORY = "/run/calico"
LOCK = "felix.lock"
# A snapshot of a large cluster is half a million objects that stay: to look through them again and again as they come
# costs a fifth of the start.
_GC_THRESHOLDS = (50_000, 20, 100)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    options = _parser().parse_args(arguments)
    log.configure(logging.WARNING if options.check or options.cleanup else logging.INFO)
    directory = Path(os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or _DIRECTORY)
    try:
        if options.cleanup:
            return _cleanup(options, directory)
        config = Configuration(local_sources(os.environ, options.config_file))
        _refuse_fatal(config.resolve())
        datastore = _datastore(os.environ)
        return _check(config, datastore, options, directory) if options.check else _run(config, datastore, directory)
    except (ConfigError, SettingsError) as error:
        print(f"calico-felix: {error}", file=sys.stderr)
        return 1
    except (DatastoreError, OSError) as error:
        print(f"calico-felix: {error}", file=sys.stderr)
        return 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="calico-felix",
        description="Calico's felix: brings policy, routes and tunnels from etcd into this host's kernel.",
        epilog="Example: calico-felix --check --format json",
    )
    parser.add_argument("-c", "--config-file", default=DEFAULT_FILE, help=f"the file of settings ({DEFAULT_FILE})")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="print what in the kernel differs from what is desired")
    what.add_argument("--cleanup", action="store_true", help="remove what felix made in the kernel, and nothing else")
    parser.add_argument(
        "--bird-routes", action="store_true", help="with --cleanup: BIRD's routes (protocol 12) as well"
    )
    parser.add_argument("--dry-run", action="store_true", help="with --cleanup: print what would be removed")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of --check and --cleanup")
    return parser


def _refuse_fatal(resolved: Resolved) -> None:
    """A local value that felix must not start with: whoever wrote it is to correct it."""
    fatal = [str(problem) for problem in resolved.problems if problem.fatal]
    if fatal:
        raise ConfigError("\n".join(fatal))


def _datastore(environment: Mapping[str, str]) -> DatastoreSettings:
    """How to reach etcd: the common variables, or felix' own of upstream's names."""
    settings = from_environment(environment)
    if settings.endpoints or settings.discovery_srv:
        return settings
    endpoints = environment.get("FELIX_ETCDENDPOINTS", "")
    return settings._replace(endpoints=tuple(one.strip() for one in endpoints.split(",") if one.strip()))


def _run(config: Configuration, datastore: DatastoreSettings, directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    lock = _lock(directory / LOCK)
    sys.setswitchinterval(0.001)
    gc.set_threshold(*_GC_THRESHOLDS)
    daemon = Daemon(config, Context(directory, open_store(datastore), open_store(datastore), Notifier()))
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    signal.signal(signal.SIGINT, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.leave("SIGHUP"))
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    with lock:
        return daemon.run()


def _lock(path: Path) -> IO[str]:
    """Hold a file as the one felix of this host, for as long as it is open. Raises ConfigError where another does."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise ConfigError(f"{path}: another felix runs here, process {file.read().strip() or 'unknown'}") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _check(config: Configuration, datastore: DatastoreSettings, options: argparse.Namespace, directory: Path) -> int:
    from calico.felix.check import check

    report = check(config, open_store(datastore), directory)
    if options.format == "json":
        print(json.dumps({"differences": report.differences, "problems": report.problems}, indent=2))
    else:
        for line in report.differences:
            print(f"differs: {line}")
        for line in report.problems:
            print(f"problem: {line}")
        if not report.differences:
            print("the kernel is what the datastore wants")
    return 1 if report.differences or report.problems else 0


def _cleanup(options: argparse.Namespace, directory: Path) -> int:
    from calico.felix.cleanup import cleanup

    settings = Configuration(local_sources(os.environ, options.config_file)).resolve().settings
    prefixes, protocol = settings.interface_prefixes, settings.device_route_protocol
    removed = cleanup(directory, prefixes, protocol, dry_run=options.dry_run, bird_routes=options.bird_routes)
    if options.format == "json":
        print(json.dumps({"removed": removed}, indent=2))
    else:
        for line in removed:
            print(f"{'would remove' if options.dry_run else 'removed'} {line}")
    return 0
