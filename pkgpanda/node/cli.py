"""`pkgpanda`: the command line of the node side. The commands themselves are in `commands`.

Exit status: 0 done; 1 the input or the node's state is wrong; 2 the command line is wrong; 3 something else failed that
was needed (a server, systemctl).
"""

import argparse
import os
import sys
from collections.abc import Sequence

from pkgpanda.errors import PandaError
from pkgpanda.node import commands
from pkgpanda.node.host import Host
from pkgpanda.node.layout import Layout
from pkgpanda.node.node import Node, Options

_EXAMPLE = """example:
  pkgpanda activate etcd--0a1b python--2c3d --dry-run    what would happen
  pkgpanda rollback                                      back to the set before
"""


def _options() -> argparse.ArgumentParser:
    """Options that every command takes, before or behind its name."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    defaults = Layout()
    places = common.add_argument_group("places")
    places.add_argument("--root", metavar="DIR", help=f"where the set lives ({defaults.root})")
    places.add_argument("--repository", metavar="DIR", help="the package store (ROOT/packages)")
    places.add_argument("--config-dir", metavar="DIR", help=f"roles and setup flags ({defaults.config_dir})")
    places.add_argument("--state-dir-root", metavar="DIR", help=f"state directories ({defaults.state_root})")
    places.add_argument("--systemd-dir", metavar="DIR", help=f"unit files ({defaults.systemd_dir})")
    places.add_argument("--rooted-systemd", action="store_true", help="keep unit files below ROOT/systemd")
    common.add_argument("--no-systemd", action="store_true", help="ask nothing of systemctl")
    common.add_argument("--no-block-systemd", action="store_true", help="wait for no unit")
    common.add_argument("--silent", action="store_true", help="report no progress")
    common.add_argument("--format", choices=("text", "json"), help="how answers are printed (text)")
    return common


def _parser(first: str) -> argparse.ArgumentParser:
    """The parser; for a command line that begins with a command's name, of that command alone, which is quicker."""
    known = [command for command in commands.COMMANDS if command.name == first] or commands.COMMANDS
    common = _options()
    parser = argparse.ArgumentParser(
        prog="pkgpanda",
        description="Install, upgrade, roll back and inspect the packages of this node.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in known:
        sub = subparsers.add_parser(
            command.name, help=command.help, description=command.help + ".", epilog=command.example, parents=[common]
        )
        for flags, settings in command.arguments:
            sub.add_argument(*flags, **settings)
        sub.set_defaults(run=command.run)
    return parser


def _layout(arguments: argparse.Namespace) -> Layout:
    defaults = Layout()
    root = os.path.abspath(getattr(arguments, "root", defaults.root))
    rooted = getattr(arguments, "rooted_systemd", False)
    return Layout(
        root,
        os.path.abspath(getattr(arguments, "repository", f"{root}/packages")),
        os.path.abspath(getattr(arguments, "config_dir", defaults.config_dir)),
        os.path.abspath(getattr(arguments, "state_dir_root", defaults.state_root)),
        os.path.abspath(getattr(arguments, "systemd_dir", f"{root}/systemd" if rooted else defaults.systemd_dir)),
    )


def _node(arguments: argparse.Namespace, host: Host) -> Node:
    options = Options(
        not getattr(arguments, "no_systemd", False),
        not getattr(arguments, "no_block_systemd", False),
        not getattr(arguments, "no_health_gate", False),
        getattr(arguments, "health_timeout", Options().gate_seconds),
        getattr(arguments, "keep", Options().keep),
    )
    return Node(host, _layout(arguments), options)


def main(argv: Sequence[str] | None = None, host: Host | None = None) -> int:
    """Run one command; the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = _parser(argv[0] if argv else "").parse_args(argv)
    os.umask(0o022)
    try:
        status = arguments.run(_node(arguments, host or Host()), arguments)
        sys.stdout.flush()
    except PandaError as error:
        for problem in error.problems:
            print(f"pkgpanda: {problem}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"pkgpanda: {error.filename or 'this node'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pkgpanda: interrupted; pkgpanda setup finishes what was begun", file=sys.stderr)
        return 130
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
