"""`release bundle`: configuration and recipes into dist/."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.commands.validate import add_allow_key
from gen.problems import Report as ConfigReport
from gen.validate import unreadable, validate
from pkgpanda.build.cli import Printer
from pkgpanda.errors import PandaError
from release.bundle import Bundle, Request, make_bundle

_EPILOG = """What stood in --output is replaced by one rename, once the new bundle is complete and verified.
exit status: 0 done, 1 configuration or recipes are wrong, 3 a source could not be fetched

example:
  release bundle --config config/calico.yaml --output dist
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="config.yaml, as gen validate reads it"
    )
    add_allow_key(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the bundle: new, empty, or a bundle")
    parser.add_argument("--packages", type=Path, default=Path("packages"), metavar="DIR", help="the recipes")
    parser.add_argument("--tree", type=Path, metavar="FILE", help="which packages; default: buildinfo.json beside DIR")
    parser.add_argument("--build-dir", type=Path, default=Path("build"), metavar="DIR", help="what may be reused")
    parser.add_argument("--locked", action="store_true", help="fail where a pinned source is gone from the archive")
    parser.add_argument(
        "--jobs", type=_count, default=0, metavar="N", help="packages built side by side; 0: by processors"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.epilog = _EPILOG


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"is not a number from 0 up: {text}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Validate, build, say what came of it."""
    report = read_configuration(args)
    if not report.ok:
        return 1
    if not args.packages.is_dir():
        raise PandaError.one(str(args.packages), "is not a directory", "name the recipes' with --packages")
    tree = args.tree or args.packages.absolute().parent / "buildinfo.json"
    request = Request(args.packages, tree, args.build_dir, Path(os.path.abspath(args.output)), args.locked, args.jobs)
    printer = Printer(args.format)
    try:
        bundle, _ = make_bundle(report.values, request, printer)
    finally:
        printer.clear()
    if args.format == "json":
        print(json.dumps(_summary(bundle), indent=2, sort_keys=True))
    else:
        print("\n".join([*_came_of_it(bundle, args.output), *_next_steps(report.values, args)]))
    return 0


def read_configuration(args: argparse.Namespace) -> ConfigReport:
    """The configuration of `--config`, its problems printed."""
    report = _validate(args.config, args.allow_key)
    if args.format == "json" and not report.ok:
        print(json.dumps(report.json(), indent=2))
    elif text := report.text():
        print(text.rstrip("\n"), file=sys.stderr)
    return report


def _validate(path: Path, allow_keys: list[str]) -> ConfigReport:
    try:
        return validate(path.read_bytes(), str(path), allow_keys)
    except OSError as error:
        return unreadable(str(path), error.strerror or str(error))


def _summary(bundle: Bundle) -> dict[str, Any]:
    return {
        "status": "written" if bundle.changed else "unchanged",
        "files": bundle.files,
        "size": bundle.size,
        "bootstrap": bundle.bootstrap.id,
        "packages": [
            {"id": str(part.id), "reused": part.id in bundle.reused, "roles": list(part.roles)} for part in bundle.parts
        ],
        "unlocked": [
            {"package": part.id.name, "source": each.name, "version": each.version}
            for part in bundle.parts
            for each in part.sources
            if each.unlocked
        ],
    }


def _came_of_it(bundle: Bundle, output: Path) -> list[str]:
    built = [part.id.name for part in bundle.parts if part.id not in bundle.reused | {bundle.config}]
    reused = [part.id.name for part in bundle.parts if part.id in bundle.reused]
    lines = [
        f"built: {', '.join(built) or 'nothing'}; reused: {', '.join(reused) or 'nothing'}; rendered: {bundle.config}"
    ]
    unlocked = {f"{each.name} {each.version}" for part in bundle.parts for each in part.sources if each.unlocked}
    if unlocked:
        lines.append(
            f"not as pinned: {', '.join(sorted(unlocked))} (the archive no longer has the pinned versions; "
            "mkpanda update-sources pins these, --locked refuses them)"
        )
    state = "verified and in place" if bundle.changed else "already there, byte for byte"
    return [*lines, f"{output}: {bundle.files} files, {bundle.size / 1e6:.1f} MB, {state}"]


def _next_steps(values: Mapping[str, Any], args: argparse.Namespace) -> list[str]:
    url, options = values["bootstrap_url"], ""
    lines = []
    if values["calico_enabled"] and values["calico_etcd_tls"]:
        options = "--pki DIR "
        lines.append(
            f"next: make certificates (gen pki init PKI --config {args.config}), PKI/nodes/<address> for a node"
        )
    return [
        *lines,
        f"next: serve {args.output} at {url}, then run on each node, as root:",
        f"  curl -fLO {url}/dcos_install.sh && bash dcos_install.sh {options}master   # or slave, slave_public",
    ]
