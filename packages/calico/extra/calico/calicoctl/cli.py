"""calicoctl's command line: what each command takes, and which module runs it.

Every command has a parser of its own, made only when the command is given, and a module that is imported only then: a
short `get` must not pay for what it does not use. Exit codes and the texts for a wrong command line are upstream's.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from calico.calicoctl.session import Failure, Session
from calico.calicoctl.settings import DEFAULT_PATH

LOG_LEVELS = ("panic", "fatal", "error", "warn", "warning", "info", "debug")
_INTERRUPTED = 130


class _Wrong(Exception):
    """A command line that cannot be understood."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Wrong(message)


class Command(NamedTuple):
    """One command: a line for the list, what it takes, its examples, and its module below `verbs`."""

    summary: str
    takes: Callable[[argparse.ArgumentParser], None]
    example: str
    module: str


def _config(parser: argparse.ArgumentParser) -> None:
    text = f"where the datastore is (default {DEFAULT_PATH}; without that file, ETCD_ENDPOINTS and the like)"
    parser.add_argument("-c", "--config", default=DEFAULT_PATH, metavar="FILE", help=text)


def _namespace(parser: argparse.ArgumentParser) -> None:
    text = "namespace of NetworkPolicy, NetworkSet and WorkloadEndpoint (default: default)"
    parser.add_argument("-n", "--namespace", default="", metavar="NS", help=text)


def _files(parser: argparse.ArgumentParser, required: bool = True) -> None:
    text = "YAML or JSON, - for standard input, or a directory; may be repeated"
    parser.add_argument(
        "-f", "--filename", action="append", default=None if required else [], required=required, help=text
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="with a directory: its subdirectories too")


def _dry_run(parser: argparse.ArgumentParser) -> None:
    text = "only say what would be done, judged by the datastore as it is"
    parser.add_argument("--dry-run", action="store_true", help=text)


def _write(parser: argparse.ArgumentParser) -> None:
    _files(parser)
    _config(parser)
    _namespace(parser)
    _dry_run(parser)
    parser.set_defaults(skip_exists=False, skip_not_exists=False)


def _create(parser: argparse.ArgumentParser) -> None:
    _write(parser)
    parser.add_argument("--skip-exists", action="store_true", help="count a resource that exists as created")


def _delete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", help="kind or alias, as in get")
    parser.add_argument("name", nargs="*", metavar="NAME")
    _files(parser, required=False)
    parser.add_argument(
        "-s", "--skip-not-exists", action="store_true", help="count a resource that does not exist as deleted"
    )
    _config(parser)
    _namespace(parser)
    _dry_run(parser)
    parser.set_defaults(skip_exists=False)


def _get(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "kind", nargs="?", metavar="KIND", help="kind or alias: pool, profile, policy, gnp, hep, wep..."
    )
    parser.add_argument("name", nargs="*", metavar="NAME", help="without names: all of the kind")
    _files(parser, required=False)
    text = "ps (default), wide, yaml, json, custom-columns=A,B, go-template=TEXT or go-template-file=FILE"
    parser.add_argument("-o", "--output", default="", metavar="FORMAT", help=text)
    parser.add_argument("-a", "--all-namespaces", action="store_true", help="those of every namespace")
    parser.add_argument("--export", action="store_true", help="with NAMEs: leave out what belongs to this cluster only")
    parser.add_argument("-w", "--watch", action="store_true", help="go on with every change, until interrupted")
    _config(parser)
    _namespace(parser)


def _patch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND")
    parser.add_argument("name", metavar="NAME")
    text = "JSON to merge: null takes a member away, a list takes the old one's place"
    parser.add_argument("-p", "--patch", required=True, metavar="JSON", help=text)
    parser.add_argument("-t", "--type", default="strategic", help="accepted and ignored: there is one way of merging")
    _config(parser)
    _namespace(parser)
    _dry_run(parser)


def _label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("label", metavar="KEY=VALUE", help="or KEY with --remove")
    parser.add_argument("--overwrite", action="store_true", help="replace another value of the label")
    parser.add_argument("--remove", action="store_true", help="take the label away")
    _config(parser)
    _namespace(parser)
    _dry_run(parser)


def _convert(parser: argparse.ArgumentParser) -> None:
    _files(parser)
    parser.add_argument("-o", "--output", default="yaml", choices=("yaml", "json"))
    parser.add_argument("--ignore-validation", action="store_true", help="print also what a write would refuse")
    parser.add_argument("--strict", action="store_true", help="refuse all that upstream's convert refuses")


def _diff(parser: argparse.ArgumentParser) -> None:
    _files(parser)
    parser.add_argument("-o", "--output", default="text", choices=("text", "json"))
    _config(parser)
    _namespace(parser)


def _node_status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="table", choices=("table", "json"))
    parser.add_argument("--socket", default="", metavar="FILE", help="BIRD's control socket (default: the bundle's)")


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("member", metavar="KIND[.MEMBER...]")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 to 86400")
    return seconds


def _node_diags(parser: argparse.ArgumentParser) -> None:
    text = "the archive's new file (default: /var/tmp/calico-diags-NODE-TIME.tar.gz)"
    parser.add_argument("-o", "--output", default="", metavar="FILE", help=text)
    parser.add_argument("--html", default="", metavar="FILE", help="write one page of HTML too")
    parser.add_argument("--analysis", action="store_true", help="only print what looks wrong; no archive")
    text = "for all that is collected; what is late is left out (default 60)"
    parser.add_argument("--timeout", type=_seconds, default=60.0, metavar="SECONDS", help=text)
    _config(parser)


def _ipam_show(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--ip", default="", metavar="IP", help="who has this address")
    what.add_argument("--show-blocks", action="store_true", help="the blocks of each pool too")
    what.add_argument("--show-borrowed", action="store_true", help="addresses on another node than their block's")
    what.add_argument("--show-configuration", action="store_true", help="how addresses are given out")
    _config(parser)


def _ipam_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--show-all", action="store_true", help="every address, not only what is leaked or unknown")
    parser.add_argument("--format", default="text", choices=("text", "json"))
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="write the report there, for ipam release")
    _config(parser)


def _ipam_release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ip", default="", metavar="IP", help="free one address, whoever has it")
    text = "a report of ipam check; given twice: free what both found leaked"
    parser.add_argument("--from-report", action="append", default=[], metavar="FILE", help=text)
    _config(parser)
    _dry_run(parser)


def _ipam_configure(parser: argparse.ArgumentParser) -> None:
    text = "whether a node may only use addresses of its own blocks"
    parser.add_argument("--strictaffinity", required=True, metavar="true|false", help=text)
    _config(parser)
    _dry_run(parser)


def _network_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the network, and of its pool")
    parser.add_argument("--cidr", required=True, metavar="CIDR", help="its addresses: an IPv4 network of its own")
    parser.add_argument(
        "--profile", default="", metavar="NAME", help="its profile (default: NAME); made if there is none"
    )
    text = "accept DC/OS' default ranges where this host does not know what the cluster has instead"
    parser.add_argument("--allow-overlap", action="store_true", help=text)
    _config(parser)
    _dry_run(parser)


def _network_delete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    text = "how long the nodes are given to let go of it (default %(default)s)"
    parser.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help=text)
    _config(parser)
    _dry_run(parser)


def _network_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", default="text", choices=("text", "json"))
    _config(parser)


def _network_cni(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    _config(parser)


def _decommission(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", help="the node's name, as `calicoctl get node` shows it")
    parser.add_argument("--force", action="store_true", help="also while its agent runs")
    _config(parser)
    _dry_run(parser)


def _migrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="the pool that is to go: its CIDR or its name")
    parser.add_argument("new", metavar="NEW", help="the CIDR of the one that takes its place")
    parser.add_argument("--format", default="text", choices=("text", "json"))
    _config(parser)
    _dry_run(parser)


def _trace(parser: argparse.ArgumentParser) -> None:
    what = "a workload endpoint's name, an address, or a node's name"
    parser.add_argument("source", metavar="SOURCE", help=what)
    parser.add_argument("destination", metavar="DESTINATION", help=what)
    parser.add_argument("-p", "--protocol", default="tcp", help="tcp (default), udp, sctp, icmp, icmpv6 or a number")
    parser.add_argument("--port", type=int, default=0, help="the destination's port")
    parser.add_argument("--source-port", type=int, default=40000, help="the source's port (default 40000)")
    parser.add_argument("--icmp-type", type=int, default=8, help="with icmp and icmpv6 (default 8)")
    parser.add_argument("--icmp-code", type=int, default=0, help="with icmp and icmpv6 (default 0)")
    text = "the interface that leads to other nodes (default: the one that host endpoints name)"
    parser.add_argument("--interface", default="", metavar="NAME", help=text)
    parser.add_argument("--verbose", action="store_true", help="every rule that was asked, not only what decided")
    parser.add_argument("--live", action="store_true", help="what this node's felix has dropped so far, too")
    parser.add_argument("-o", "--output", default="table", choices=("table", "json"))
    _config(parser)
    _namespace(parser)


def _migration(parser: argparse.ArgumentParser) -> None:
    text = "the network to leave (default dcos); may be repeated"
    parser.add_argument("--from", dest="old", action="append", default=[], metavar="NAME", help=text)
    text = "the network to join (default calico)"
    parser.add_argument("--to", dest="new", default="calico", metavar="NAME", help=text)
    parser.add_argument("--back", action="store_true", help="give back what was there before the migration")
    text = "only show the difference and what has to be decided"
    parser.add_argument("--dry-run", action="store_true", help=text)
    parser.add_argument("-o", "--output", default="text", choices=("text", "json"))
    text = "where the way back is kept (default: .calico-migration beside a file, or here)"
    parser.add_argument("--record", default="", metavar="DIR", help=text)


def _migrate_marathon(parser: argparse.ArgumentParser) -> None:
    text = "a file, a directory, or the URL of a Marathon, of an application or of a pod"
    parser.add_argument("target", nargs="+", metavar="FILE|DIR|URL", help=text)
    _migration(parser)
    text = "also where ports of the host will not be published"
    parser.add_argument("--allow-host-ports", action="store_true", help=text)
    parser.add_argument("--token-file", default="", metavar="FILE", help="DC/OS' token (or DCOS_ACS_TOKEN)")
    parser.add_argument("--user", default="", metavar="NAME", help="user of a Marathon that asks for a password")
    parser.add_argument("--password-file", default="", metavar="FILE", help="that user's password")
    parser.add_argument("--ca-file", default="", metavar="FILE", help="authority of the server's certificate")
    parser.add_argument("--force", action="store_true", help="end a deployment that is in the way")
    text = "per definition, for its deployment (default 300; 0: not at all)"
    parser.add_argument("--wait", type=_seconds, default=300.0, metavar="SECONDS", help=text)
    parser.set_defaults(form="marathon")


def _migrate_svc(parser: argparse.ArgumentParser) -> None:
    text = "a package, or svc.yml, marathon.json.mustache or config.json of one"
    parser.add_argument("target", nargs="+", metavar="FILE|DIR", help=text)
    _migration(parser)
    parser.set_defaults(form="svc", allow_host_ports=False)


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash",))


COMMANDS = {
    "create": Command("create resources that do not exist yet", _create, "create -f policy.yaml", "write"),
    "apply": Command("create resources, or replace those that exist", _write, "apply -f policies/ -R", "write"),
    "replace": Command("replace resources that exist", _write, "replace -f policy.yaml", "write"),
    "diff": Command("show what apply would change (exit 1: something)", _diff, "diff -f policy.yaml", "diff"),
    "delete": Command("delete resources", _delete, "delete policy allow-web -n default", "delete"),
    "get": Command("show resources", _get, "get pool -o wide", "get"),
    "patch": Command(
        "change members of a resource", _patch, 'patch felixconfig default -p \'{"spec":{"vxlanMTU":1400}}\'', "patch"
    ),
    "label": Command("set or remove a label of a resource", _label, "label node 10.0.0.5 rack=a1", "label"),
    "convert": Command("print documents of the old v1 API as v3", _convert, "convert -f old.yaml", "convert"),
    "node status": Command("show how felix and BIRD fare on this node", _node_status, "node status", "node"),
    "node diags": Command(
        "collect what helps to find a node's faults, and name them", _node_diags, "node diags", "diags"
    ),
    "ipam show": Command("show how full the pools are", _ipam_show, "ipam show --show-blocks", "ipam"),
    "ipam check": Command("explain every address, name what does not add up", _ipam_check, "ipam check", "ipam"),
    "ipam release": Command("free addresses", _ipam_release, "ipam release --ip=172.29.0.9", "ipam"),
    "ipam configure": Command(
        "change how addresses are given out", _ipam_configure, "ipam configure --strictaffinity=true", "ipam"
    ),
    "node decommission": Command(
        "clear away a node that is gone", _decommission, "node decommission 10.0.0.5", "decommission"
    ),
    "pool migrate": Command(
        "move from one pool to another", _migrate, "pool migrate 172.29.0.0/16 172.30.0.0/16", "pool"
    ),
    "policy trace": Command(
        "tell which policy decides about a connection", _trace, "policy trace web-1 172.29.0.9 --port 5432", "policy"
    ),
    "network create": Command(
        "make a network more on every node", _network_create, "network create blue --cidr 10.1.0.0/16", "network"
    ),
    "network delete": Command("take a network away again", _network_delete, "network delete blue", "network"),
    "network list": Command("show the networks of the cluster", _network_list, "network list", "network"),
    "network cni": Command("print the file that gives Mesos a network", _network_cni, "network cni blue", "network"),
    "explain": Command("list the members of a kind", _explain, "explain gnp.spec.ingress", "explain"),
    "migrate marathon": Command(
        "move applications and pods to Calico's network",
        _migrate_marathon,
        "migrate marathon apps/ --dry-run",
        "migrate",
    ),
    "migrate svc": Command(
        "move packages of dcos-commons to Calico's network",
        _migrate_svc,
        "migrate svc my-service/ --dry-run",
        "migrate",
    ),
    "version": Command("show the versions of this client and of the cluster", _config, "version", "version"),
    "completion": Command(
        "print a completion script for the shell", _completion, "completion bash >calicoctl.bash", "completion"
    ),
}


def main(arguments: Sequence[str] | None = None, session: Session | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 not (of diff: 1 different, 2 not), 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    session = session or Session()
    try:
        return _flushed(session, _main(session, words))
    except Failure as failure:
        if failure.on_stdout:
            session.say(str(failure))
        else:
            session.complain(str(failure))
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        _silence(session)
        return 1
    except OSError as error:
        _silence(session)
        session.complain(f"the output cannot be written: {error.strerror or error}")
        return 1
    except RecursionError:
        session.complain("what was given is nested too deeply")
        return 1


def _flushed(session: Session, code: int) -> int:
    session.stdout.flush()
    return code


def _silence(session: Session) -> None:
    """Let the interpreter's last flush go nowhere, instead of complaining."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), session.stdout.fileno())


def _main(session: Session, words: list[str]) -> int:
    try:
        if any(map(_has_bytes, words)):
            raise _Wrong("the command line is not UTF-8 text")
        words, level = _log_level(words)
        if not words or words[0] in ("-h", "--help"):
            session.stdout.write(usage())
            return 0 if words else 1
        if words[0] in _groups() and words[1:] in (["-h"], ["--help"]):
            session.stdout.write(usage(words[0]))
            return 0
        if words[0] == "--version":
            session.say("Use 'calicoctl version' to see the versions of the client and of the cluster.")
            return 0
        if words[0].startswith("-"):
            raise _Wrong(f"unrecognized arguments: {words[0]}")
        name = _command_of(words)
        if name not in COMMANDS:
            return _unknown(session, name)
        _set_log_level(level)
        return _run(session, name, words[name.count(" ") + 1 :])
    except _Wrong as wrong:
        given = " ".join(["calicoctl", *words]).encode(errors="backslashreplace").decode()
        session.say(f"Invalid option: '{given}'. Use flag '--help' to read about a specific subcommand.")
        session.complain(f"calicoctl: {wrong}")
        return 1


def _command_of(words: list[str]) -> str:
    """The command that words begin with: of one word, or of two where the first is a group's."""
    both = " ".join(words[:2])
    return both if both in COMMANDS or (words[0] not in COMMANDS and words[0] in _groups()) else words[0]


def _groups() -> set[str]:
    return {name.partition(" ")[0] for name in COMMANDS if " " in name}


def _has_bytes(word: str) -> bool:
    """Whether a word holds bytes that are no text, which Python keeps as surrogates."""
    return any("\ud800" <= letter <= "\udfff" for letter in word)


def _log_level(words: list[str]) -> tuple[list[str], str]:
    """The words behind `-l LEVEL`, and the level."""
    if not words or not words[0].startswith(("-l", "--log-level")):
        return words, ""
    name, equals, level = words[0].partition("=")
    if name == "-l" or (name == "--log-level" and not equals):
        level, words = (words[1] if len(words) > 1 else ""), words[1:]
    elif name.startswith("-l"):
        level = words[0].removeprefix("-l")
    if level not in LOG_LEVELS:
        text = f"Unknown log level: {level}, expected one of: {', '.join(LOG_LEVELS)}"
        raise Failure(text, on_stdout=True)
    return words[1:], level


def _set_log_level(level: str) -> None:
    """Without a level nothing is set up, and warnings reach stderr as bare lines."""
    if level:
        import logging

        number = logging.CRITICAL if level in ("panic", "fatal") else getattr(logging, level.upper())
        logging.basicConfig(level=number, format="%(levelname)s %(name)s: %(message)s")


def _unknown(session: Session, word: str) -> int:
    from calico.model.problems import nearest

    hint = nearest(word, COMMANDS)
    session.say(f'Unknown command: "{word}"' + (f" ({hint})" if hint else ""))
    session.stdout.write(usage())
    return 1


def _run(session: Session, name: str, words: list[str]) -> int:
    import importlib

    parser = parser_of(name)
    if "-h" in words or "--help" in words:
        session.stdout.write(parser.format_help())
        return 0
    options = parser.parse_intermixed_args(words)
    options.command = name
    _check_subject(name, options)
    module = importlib.import_module(f"calico.calicoctl.verbs.{COMMANDS[name].module}")
    return int(module.run(session, options))


def _check_subject(name: str, options: argparse.Namespace) -> None:
    """`get` and `delete` take a KIND or files, and not both."""
    if name in ("get", "delete") and bool(options.kind) == bool(options.filename):
        raise _Wrong("give either KIND or --filename" + (", not both" if options.kind else ""))


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of one command."""
    command = COMMANDS[name]
    parser = _Parser(
        f"calicoctl {name}",
        description=command.summary[0].upper() + command.summary[1:] + ".",
        epilog=f"Example: calicoctl {command.example}",
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this text")
    command.takes(parser)
    return parser


def options_of(name: str) -> list[str]:
    """The long options of one command."""
    return [option for action in parser_of(name)._actions for option in action.option_strings if option[:2] == "--"]


def usage(group: str = "") -> str:
    """What `calicoctl --help` prints: every command, or those of a group."""
    shown = {name: command for name, command in COMMANDS.items() if group in ("", name.partition(" ")[0])}
    width = max(map(len, shown))
    lines = [f"    {name.ljust(width)}   {command.summary}" for name, command in shown.items()]
    return "\n".join(
        [
            "Usage: calicoctl [-l LEVEL] COMMAND [ARGUMENT...]",
            "",
            "Reads and changes Calico's resources in etcd.",
            "",
            *lines,
            "",
            f"  -l, --log-level LEVEL   one of {', '.join(LOG_LEVELS)}",
            "",
            "'calicoctl COMMAND --help' has a command's options. Example: calicoctl get pool -o wide",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
