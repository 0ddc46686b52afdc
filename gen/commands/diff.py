"""`gen diff`: what changes between two configurations, and what a running cluster would feel."""

import argparse
import json
import sys
from typing import Any

from gen.commands.render import RenderError, add_packages, packages_of
from gen.commands.validate import add_allow_key, load
from gen.diff import Consequence, Difference, Side, compare
from gen.render import render
from gen.units import daemons_in

_EPILOG = """\
example:
  gen diff installed.yaml config/calico.yaml --text
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    parser.add_argument("old", metavar="OLD", help="the configuration that is installed")
    parser.add_argument("new", metavar="NEW", help="the configuration to come")
    add_packages(parser)
    add_allow_key(parser)
    parser.add_argument("--text", action="store_true", help="show the changed lines of each file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Compare; 0 whether something changes or not, 1 where one of them cannot be rendered."""
    reports = [load(path, args.allow_key)[1] for path in (args.old, args.new)]
    for report in reports:
        if not report.ok:
            print(report.text(), file=sys.stderr)
    if not all(report.ok for report in reports):
        return 1
    try:
        daemons = daemons_in(packages_of(args))
        old, new = (Side(report.values, render(report.values, daemons)) for report in reports)
    except (RenderError, ValueError) as error:
        print(f"gen diff: {error}", file=sys.stderr)
        return 1
    difference = compare(old, new)
    print(json.dumps(_document(difference), indent=2) if args.format == "json" else _text(difference, args.text))
    return 0


def _text(difference: Difference, has_lines: bool) -> str:
    if not difference.files:
        return "nothing changes"
    lines = ["files:"]
    for file in difference.files:
        lines.append(f"  {file.change:8}{file.path}")
        if has_lines:
            lines += [f"    {line}" for line in file.unified().splitlines()]
    lines += ["", "services:"]
    for unit, action, roles, because in difference.services:
        reason = f" (because of {', '.join(because)})" if because else ""
        lines.append(f"  {action:8}{unit} on {', '.join(roles)}{reason}")
    if not difference.services:
        lines.append("  none restarts")
    if difference.consequences:
        lines += ["", "what a running cluster feels:"]
        lines += [f"  {_line(consequence)}" for consequence in difference.consequences]
    return "\n".join(lines)


def _line(consequence: Consequence) -> str:
    mark = "DISRUPTIVE: " if consequence.disruptive else ""
    return f"{mark}{consequence.parameter}{_values(consequence)}: {consequence.text}"


def _values(consequence: Consequence) -> str:
    """Old and new where they are short enough to help."""
    old, new = (json.dumps(value) for value in (consequence.old, consequence.new))
    return f" {old} -> {new}" if len(old) + len(new) < 80 else ""


def _document(difference: Difference) -> dict[str, Any]:
    return {
        "files": [{"path": file.path, "change": file.change} for file in difference.files],
        "services": [service._asdict() for service in difference.services],
        "consequences": [consequence._asdict() for consequence in difference.consequences],
        "disruptive": any(consequence.disruptive for consequence in difference.consequences),
    }
