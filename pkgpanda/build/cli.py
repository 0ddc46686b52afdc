"""The command `mkpanda`."""

import argparse
import json
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pkgpanda.errors import PandaError

if TYPE_CHECKING:
    from pkgpanda.build.fields import Requirement
    from pkgpanda.build.tree import BuiltPackage, Shop

_EXAMPLE = """examples:
  mkpanda tree                     build everything that buildinfo.json names
  mkpanda build etcd               build one package, and what it requires
  mkpanda why etcd                 say which input differs from the last build
  mkpanda update-sources python    pin what the archives have now
"""

_BEHAVIOUR = "0 done, 1 the recipe or its result is wrong, 2 the command line is wrong, 3 a network or a program failed"


class Printer:
    """What a run says while it runs: on a terminal progress in place, elsewhere a line per package, to JSON nothing."""

    def __init__(self, format_: str) -> None:
        self._silent = format_ == "json"
        self._terminal = sys.stdout.isatty()
        self._pending = False
        self._guard = threading.Lock()

    def __call__(self, line: str) -> None:
        """Show a line; one that ends in `...` only on a terminal, until the next."""
        if self._silent or (line.endswith("...") and not self._terminal):
            return
        with self._guard:
            self.clear()
            self._pending = line.endswith("...")
            print(line[:100] if self._pending else line, end="" if self._pending else "\n", flush=True)

    def clear(self) -> None:
        """Wipe progress off the terminal."""
        if self._pending:
            print("\r\033[K", end="", flush=True)
        self._pending = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    options = _parser().parse_args(arguments)
    printer = Printer(options.format)
    try:
        command: Callable[[argparse.Namespace, Printer], int] = options.command
        return command(options, printer)
    except PandaError as error:
        printer.clear()
        _print_problems(error, options.format)
        return error.status
    except KeyboardInterrupt:
        printer.clear()
        print("mkpanda: interrupted; nothing half done was kept", file=sys.stderr)
        return 130
    except OSError as error:
        printer.clear()
        where = error.filename or "mkpanda"
        _print_problems(PandaError.one(str(where), error.strerror or str(error)), options.format)
        return 1


def _print_problems(error: PandaError, format_: str) -> None:
    if format_ == "json":
        print(json.dumps({"status": "errors", "problems": [problem._asdict() for problem in error.problems]}, indent=2))
        return
    for problem in error.problems:
        print(f"mkpanda: {problem}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mkpanda",
        description="Build packages from recipes: the same inputs give the same bytes.",
        epilog=f"{_EXAMPLE}\nexit status: {_BEHAVIOUR}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--packages-dir", type=Path, metavar="DIR", help="the recipes (default: packages, from here up)"
    )
    common.add_argument("--build-dir", type=Path, metavar="DIR", help="what is built (default: build beside packages)")
    common.add_argument("--format", choices=("text", "json"), default="text", help="text for people, json for programs")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Callable[..., int], text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, parents=[common], help=text, description=text, epilog=f"example: mkpanda {example}"
        )
        command.set_defaults(command=function)
        return command

    build = add("build", _build, "build packages and what they require (default: all)", "build etcd bird --locked")
    build.add_argument("name", nargs="*", help="a package")
    tree = add("tree", _tree, "build what the tree file names", "tree --locked --format json")
    tree.add_argument("--tree-file", type=Path, metavar="FILE", help="default: buildinfo.json beside packages")
    for command in (build, tree):
        command.add_argument("--locked", action="store_true", help="fail where an archive has dropped a pinned version")
        command.add_argument("-j", "--jobs", type=_count, default=0, help="packages at once (default: processors)")
    for command in (
        build,
        add("id", _id, "print the id a package has as things stand", "id etcd"),
        add("why", _why, "say which inputs differ from the last build", "why etcd"),
    ):
        if command is not build:
            command.add_argument("name", help="a package")
        command.add_argument("--variant", default="", metavar="NAME", help="the variant (default: the default one)")
    add("list", _list, "list the recipes, their ids and whether they are built", "list --format json")
    gc = add("gc", _gc, "remove packages that no recipe gives any more, and old logs", "gc --dry-run")
    gc.add_argument("--dry-run", action="store_true", help="only say what would go")
    gc.add_argument("--cache", action="store_true", help="also downloads that no recipe pins (other trees share them)")
    update = add(
        "update-sources", _update, "pin what the archives have now, and show what changed", "update-sources etcd"
    )
    update.add_argument("name", nargs="*", help="a package (default: all)")
    update.add_argument("--dry-run", action="store_true", help="only show what would change")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is not a number from 1 up: {text}")
    return int(text)


def _places(options: argparse.Namespace) -> tuple[Path, Path]:
    """The directories of recipes and of builds."""
    packages: Path | None = options.packages_dir
    if packages is None:
        above = (directory / "packages" for directory in (Path(), *Path.cwd().parents))
        packages = next((directory for directory in above if directory.is_dir()), Path("packages"))
    return packages, options.build_dir or packages.parent / "build"


def _shop(options: argparse.Namespace, printer: Printer) -> "Shop":
    from pkgpanda.build.tree import Shop

    packages, build = _places(options)
    return Shop(packages, build, locked=getattr(options, "locked", False), report=printer)


def _wanted(options: argparse.Namespace, shop: "Shop") -> "list[Requirement]":
    from pkgpanda.build.fields import Requirement

    variant = "" if options.variant == "default" else options.variant
    names = options.name if isinstance(options.name, list) else [options.name]
    return [Requirement(name, variant) for name in names or shop.store.names()]


def _build(options: argparse.Namespace, printer: Printer) -> int:
    from pkgpanda.build.tree import check_conflicts

    shop = _shop(options, printer)
    built = shop.build(shop.graph(_wanted(options, shop)), options.jobs)
    check_conflicts(built.values())
    _show_built([built[name] for name in sorted(built)], options, printer)
    return 0


def _tree(options: argparse.Namespace, printer: Printer) -> int:
    from pkgpanda.build.tree import build_tree

    packages, build = _places(options)
    tree_file = options.tree_file or packages.parent / "buildinfo.json"
    result = build_tree(packages, tree_file, build, locked=options.locked, jobs=options.jobs, report=printer)
    _show_built(result.packages, options, printer)
    return 0


def _show_built(packages: "Sequence[BuiltPackage]", options: argparse.Namespace, printer: Printer) -> None:
    fresh = sum(not package.reused for package in packages)
    printer(f"mkpanda: {fresh} built, {len(packages) - fresh} unchanged")
    if options.format == "json":
        print(json.dumps({"status": "ok", "packages": [_package_json(package) for package in packages]}, indent=2))


def _package_json(package: "BuiltPackage") -> dict[str, Any]:
    return {
        "id": str(package.id),
        "roles": list(package.roles),
        "archive": str(package.archive),
        "sha256": package.sha256,
        "size": package.size,
        "tar_sha256": package.tar_sha256,
        "reused": package.reused,
        "requires": [str(required) for required in package.requires],
        "sources": [source._asdict() for source in package.sources],
    }


def _id(options: argparse.Namespace, printer: Printer) -> int:
    from pkgpanda.build.inputs import package_id

    shop = _shop(options, printer)
    wanted = _wanted(options, shop)
    identity = str(package_id(shop.inputs(shop.graph(wanted))[options.name]))
    print(json.dumps({"status": "ok", "id": identity}) if options.format == "json" else identity)
    return 0


def _why(options: argparse.Namespace, printer: Printer) -> int:
    from pkgpanda.build.inputs import compare, package_id

    shop = _shop(options, printer)
    graph = shop.graph(_wanted(options, shop))
    new = shop.inputs(graph)[options.name]
    latest = shop.output.latest(graph[options.name])
    last = latest and shop.output.find(latest)
    changes = compare(last.inputs, new) if last else []
    if options.format == "json":
        data = {"status": "ok", "id": str(package_id(new)), "last": str(latest) if last else None, "changes": changes}
        print(json.dumps(data, indent=2))
    elif not last:
        print(f"{options.name}: was never built here")
    elif not changes:
        print(f"{options.name}: nothing changed since {latest}")
    else:
        print(f"{options.name}: since {latest}")
        print("\n".join(f"  {line}" for line in changes))
    return 0


def _list(options: argparse.Namespace, printer: Printer) -> int:
    from pkgpanda.build.stock import list_recipes

    rows = list_recipes(_shop(options, printer))
    if options.format == "json":
        print(json.dumps({"status": "ok", "packages": rows}, indent=2))
        return 0
    for row in rows:
        variant = f" ({row['variant']})" if row["variant"] else ""
        size = f"{row['size'] / 1e6:.1f} MB" if row["size"] else "not built"
        print(f"{row['name'] + variant:<24} {size:>10}  {row['id']}")
    return 0


def _gc(options: argparse.Namespace, printer: Printer) -> int:
    from pkgpanda.build.stock import plan_removal, remove

    paths = plan_removal(_shop(options, printer), with_cache=options.cache)
    freed = sum(path.stat().st_size for path in paths)
    if not options.dry_run:
        remove(paths)
    if options.format == "json":
        print(json.dumps({"status": "ok", "removed": [str(path) for path in paths], "bytes": freed}, indent=2))
        return 0
    for path in paths:
        print(path)
    print(f"mkpanda: {'would free' if options.dry_run else 'freed'} {freed / 1e6:.1f} MB in {len(paths)} files")
    return 0


def _update(options: argparse.Namespace, printer: Printer) -> int:
    from pkgpanda.build.repin import apply_changes, plan_changes

    shop = _shop(options, printer)
    changes = plan_changes(shop.store, options.name, shop.workshop)
    if not options.dry_run:
        apply_changes(changes)
    printer.clear()
    if options.format == "json":
        rows = [{**change._asdict(), "file": str(change.file)} for change in changes]
        print(json.dumps({"status": "ok", "changes": rows}, indent=2))
        return 0
    for change in changes:
        print(f"{change.file}: {change.source}: {change.old} -> {change.new}")
    print(f"mkpanda: {len(changes)} {'source' if len(changes) == 1 else 'sources'} re-pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
