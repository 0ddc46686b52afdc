"""`gen render`: a configuration to the files of `dcos-config` and to `dcos_install.sh`."""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gen.commands.validate import add_allow_key, load
from gen.files import RenderedFile
from gen.install import BundleInfo, render_install_script
from gen.package import NAME, ConfigPackage, config_package
from gen.render import render
from gen.units import daemons_in

_PACKAGES = Path(__file__).parent.parent.parent / "packages"
_SCRIPT = "dcos_install.sh"
_DIGEST = re.compile(r"[0-9a-f]{64}")

_EPILOG = f"""\
DIR/{NAME}/ is the package every node gets, DIR/{_SCRIPT} the script an operator runs on a node. Without --bundle-info
the script checks a node and installs nothing; `release bundle` makes the whole.

example:
  gen render config/calico.yaml --output build/config
"""


class RenderError(Exception):
    """Why nothing was written: where, what, what to do."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    parser.add_argument("config", metavar="CONFIG", help="the configuration; - reads standard input")
    parser.add_argument("--output", required=True, metavar="DIR", type=Path, help="empty, new, or an earlier output")
    add_packages(parser)
    parser.add_argument(
        "--bundle-info", metavar="FILE", type=Path, help=f"JSON with {', '.join(BundleInfo._fields)}, for the script"
    )
    add_allow_key(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to tell what was written")


def add_packages(parser: argparse.ArgumentParser) -> None:
    """Declare --packages, which says what daemons there are."""
    parser.add_argument(
        "--packages", metavar="DIR", type=Path, default=_PACKAGES, help="the tree whose daemons get units"
    )


def run(args: argparse.Namespace) -> int:
    """Validate, render, write; nothing at DIR changes unless all of it worked."""
    _, report = load(args.config, args.allow_key)
    if report.problems:
        print(report.text(), file=sys.stderr)
    if not report.ok:
        return 1
    try:
        package = config_package(render(report.values, daemons_in(packages_of(args))))
        script = RenderedFile(_SCRIPT, render_install_script(report.values, _bundle(args.bundle_info)), 0o755)
        files = (file._replace(path=f"{NAME}/{file.path}") for file in package.files)
        _replace(args.output.absolute(), [*files, script])
    except (RenderError, ValueError) as error:
        print(f"gen render: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"gen render: {error.filename or args.output}: cannot be written: {error.strerror}", file=sys.stderr)
        return 3
    print(_told_json(args, package) if args.format == "json" else _told_text(args, package))
    return 0


def packages_of(args: argparse.Namespace) -> Path:
    """The tree of packages, which must be there: a wrong one would silently render no unit."""
    directory: Path = args.packages
    if not directory.is_dir():
        raise RenderError(f"--packages {directory}: is no directory (give the tree that has etcd/, calico/, ...)")
    return directory


def _bundle(path: Path | None) -> BundleInfo | None:
    if path is None:
        return None
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise RenderError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RenderError(f"{path}: is no JSON: {error}") from None
    if not isinstance(document, dict) or set(document) != set(BundleInfo._fields):
        raise RenderError(f"{path}: must be an object with {', '.join(BundleInfo._fields)} and nothing else")
    for name, value in document.items():
        if not isinstance(value, str) or not _DIGEST.fullmatch(value):
            raise RenderError(f"{path}: {name}: must be 64 hexadecimal digits, is {value!r}")
    return BundleInfo(**document)


def _replace(output: Path, files: Sequence[RenderedFile]) -> None:
    """Write `files` beside `output` and put them there by a rename."""
    _refuse_others(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        _write(draft / "new", files)
        if output.exists():
            output.rename(draft / "old")
        (draft / "new").rename(output)
    finally:
        if (draft / "old").exists() and not output.exists():
            (draft / "old").rename(output)
        shutil.rmtree(draft)


def _refuse_others(output: Path) -> None:
    """Stop at a directory with anything in it that no earlier run wrote."""
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise RenderError(f"{output}: is no directory (remove it, or give another --output)")
    found = set(os.listdir(output)) if output.exists() else set()
    if found and (found != {NAME, _SCRIPT} or not (output / NAME / "pkginfo.json").is_file()):
        raise RenderError(f"{output}: holds what gen render did not write (empty it, or give another --output)")


def _write(directory: Path, files: Sequence[RenderedFile]) -> None:
    """Modes are set, not left to the umask."""
    for path, content, mode in files:
        place = directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(mode)
    for place in (directory, *directory.rglob("*")):
        if place.is_dir():
            place.chmod(0o755)


def _units(package: ConfigPackage) -> list[str]:
    return sorted({file.path.rpartition("/")[2] for file in package.files if file.path.endswith(".service")})


def _told_text(args: argparse.Namespace, package: ConfigPackage) -> str:
    units = ", ".join(_units(package)) or "no units"
    return f"{args.output}: {len(package.files)} files of {package.id}, {units}"


def _told_json(args: argparse.Namespace, package: ConfigPackage) -> str:
    files = [{"path": path, "mode": f"{mode:04o}", "size": len(content)} for path, content, mode in package.files]
    document = {"output": str(args.output), "package": str(package.id), "units": _units(package), "files": files}
    return json.dumps(document, indent=2)
