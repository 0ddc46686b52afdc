"""The node side: activating 80 packages of 250 files on a memory file system, upgrading one, and `pkgpanda list`.

The reference is `cp -rs` of the same trees: one link a file, with no checks and nothing to come back to.
"""

import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pkgpanda.node import activate, store
from pkgpanda.node.archive import Entry
from pkgpanda.node.host import Host, to_json
from pkgpanda.node.layout import Layout
from pkgpanda.node.node import Node, Options

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES, _FILES, _SHARED = 80, 250, 20


class _Figure(NamedTuple):
    what: str
    seconds: float
    against: float
    aim: float

    def __str__(self) -> str:
        ratio = self.seconds / self.against
        return f"{self.what}: {self.seconds:.3f} s, {ratio:.2f} of cp -rs ({self.against:.3f} s; aim {self.aim})"


@contextlib.contextmanager
def _memory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="node-bench-", dir="/dev/shm"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _paths(name: str) -> list[str]:
    """20 files in directories that all packages share, the others in directories of the package's own."""
    shared = [f"{('bin', 'etc/common')[i % 2]}/{name}-{i}" for i in range(_SHARED)]
    return shared + [f"lib/{name}/d{i // 50}/f{i}" for i in range(_FILES - _SHARED)]


def _package(layout: Layout, package_id: str) -> None:
    """Put a package into the store as `add` would have left it."""
    root = Path(layout.package(package_id))
    contents = {"pkginfo.json": b"{}", "buildinfo.full.json": b"{}"}
    contents |= dict.fromkeys(_paths(package_id.partition("--")[0]), b"x")
    entries = []
    for path, data in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        entries.append(Entry(path, "f", 0o644, len(data), "0" * 64))
    directories = {str(parent) for path in contents for parent in Path(path).parents if str(parent) != "."}
    entries += [Entry(path, "d", 0o755) for path in directories]
    entries.sort()
    record = store._record(package_id, str(root), entries, package_id)
    Path(layout.manifest(package_id)).write_bytes(to_json(record))
    Path(layout.files(package_id)).write_bytes(to_json([list(entry) for entry in entries]))


def _node(base: Path) -> Node:
    layout = Layout(
        str(base / "opt"), str(base / "opt/packages"), str(base / "etc"), str(base / "var"), str(base / "sd")
    )
    for path in (layout.repository, layout.at("manifests"), f"{layout.config_dir}/roles", layout.systemd_dir):
        os.makedirs(path)
    for number in range(_PACKAGES):
        _package(layout, f"p{number:02}--1")
    _package(layout, "p00--2")
    return Node(Host(), layout, Options(systemd=False))


def _median(rounds: int, run: Callable[[], object], reset: Callable[[], object]) -> float:
    times = []
    for _ in range(rounds):
        reset()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _activate(node: Node, ids: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        activate.apply_prepared(node, activate.prepare(node, ids, "bench"))


def _copy(node: Node, ids: list[str], target: Path) -> None:
    sources = [f"{node.layout.package(package_id)}/{top}" for package_id in ids for top in ("bin", "etc", "lib")]
    subprocess.run(["cp", "-rs", *sources, str(target)], check=True)


def _list(command: list[str], base: Path, rounds: int) -> str:
    argv = [*command, "list", "--root", str(base / "opt")]
    seconds = _median(rounds, lambda: subprocess.run(argv, check=True, stdout=subprocess.DEVNULL), lambda: None)
    return (
        f"pkgpanda list, whole process, {' '.join([Path(command[0]).name, *command[1:2]])}: {seconds:.3f} s (aim 0.08)"
    )


def bench(rounds: int) -> list[str]:
    """The figures as lines."""
    lines = []
    with _memory() as base:
        node = _node(base)
        first = [f"p{number:02}--1" for number in range(_PACKAGES)]
        second = ["p00--2", *first[1:]]

        def forget() -> None:
            for name in set(os.listdir(node.layout.root)) - {"packages", "manifests"}:
                node.host.remove_tree(node.layout.at(name))

        def installed() -> None:
            forget()
            _activate(node, first)

        def emptied() -> None:
            shutil.rmtree(base / "copy", ignore_errors=True)
            (base / "copy").mkdir()

        _activate(node, first)
        reference = _median(rounds, lambda: _copy(node, first, base / "copy"), emptied)
        whole = _median(rounds, lambda: _activate(node, first), forget)
        one = _median(rounds, lambda: _activate(node, second), installed)
        assert len(os.listdir(node.layout.at("bin"))) == _PACKAGES * _SHARED // 2
        lines.append(str(_Figure(f"activating {_PACKAGES} packages x {_FILES} files", whole, reference, 1.0)))
        lines.append(str(_Figure("upgrading one of them", one, reference, 0.5)))
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pkgpanda.node.cli import main; sys.exit(main())"
        lines.append(_list([sys.executable, "-I", "-c", code], base, rounds))
        lines.append(_list(["/usr/bin/python3", "-I", "-c", code], base, rounds))
        assert len(json.loads(_output(code, base))) == _PACKAGES + 1
    return lines


def _output(code: str, base: Path) -> bytes:
    argv = [sys.executable, "-I", "-c", code, "--root", str(base / "opt"), "list", "--format", "json"]
    return subprocess.run(argv, check=True, capture_output=True).stdout
