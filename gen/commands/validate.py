"""`gen validate`: every problem of a configuration at once."""

import argparse
import sys

from gen.problems import Report

_EPILOG = """\
example:
  gen validate config/calico.yaml
  gen validate --annotate config/calico.yaml
  gen validate --format json - < config/calico.yaml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    parser.add_argument("config", metavar="CONFIG", help="the configuration; - reads standard input")
    add_allow_key(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=("text", "json"), default="text", help="default: text, a line a problem")
    form.add_argument("--annotate", action="store_true", help="print the file with the problems marked in it")


def add_allow_key(parser: argparse.ArgumentParser) -> None:
    """Declare --allow-key, which every command that reads a configuration has."""
    parser.add_argument(
        "--allow-key",
        action="append",
        default=[],
        metavar="NAME",
        help="pass over this key though nobody knows it (may be given again)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the report: on stdout, as it is what was asked for; 0, or 1 where there are errors."""
    text, report = load(args.config, args.allow_key)
    if args.format == "json":
        import json

        print(json.dumps(report.json(), indent=2))
    elif args.annotate:
        from gen.annotate import annotate

        print(_printable(annotate(text.decode("utf-8", "replace"), report)))
    elif report.problems:
        print(_printable(report.text()))
    if args.format == "text" and sys.stderr.isatty():
        print(_summary(report), file=sys.stderr)
    return 0 if report.ok else 1


def load(config: str, allow_keys: list[str]) -> tuple[bytes, Report]:
    """The text and the report of the file `config`, or of standard input for `-`."""
    from gen.document import MAX_BYTES
    from gen.validate import unreadable, validate

    try:
        if config == "-":
            return (text := sys.stdin.buffer.read(MAX_BYTES + 1)), validate(text, "<stdin>", allow_keys)
        with open(config, "rb") as file:
            return (text := file.read(MAX_BYTES + 1)), validate(text, config, allow_keys)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return b"", unreadable(config, reason)


def _printable(text: str) -> str:
    """`text` with what the terminal's encoding lacks escaped: a message must arrive under LANG=C too."""
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _summary(report: Report) -> str:
    errors, warnings = (len({each.group for each in some}) for some in (report.errors, report.warnings))
    return f"{errors} errors, {warnings} warnings"
