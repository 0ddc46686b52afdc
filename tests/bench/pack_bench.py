"""Packing a 60 MB tree against `tar | xz -T0` at the same preset, and a `mkpanda tree` that has nothing to do."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pkgpanda.build import archive
from pkgpanda.build.hashing import file_sha256

_ROOT = Path(__file__).resolve().parents[2]
_BYTES = 60_000_000
_MOST_ROUNDS = 3
"""A round of both packers takes most of a minute on two processors; the ratio of medians is steady by then."""


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    with tempfile.TemporaryDirectory() as directory:
        return [*_packing(Path(directory), min(rounds, _MOST_ROUNDS)), _no_op(Path(directory), rounds)]


def _packing(place: Path, rounds: int) -> list[str]:
    tree, ours, theirs = place / "tree", place / "ours.tar.xz", place / "theirs.tar.xz"
    size = _fill(tree)
    shell = f"tar -C {tree} --sort=name -cf - . | xz -{archive.PRESET} -T0 >{theirs}"
    reference, own = [], []
    for _ in range(rounds):
        reference.append(_seconds(lambda: subprocess.run(shell, shell=True, check=True)))
        own.append(_seconds(lambda: archive.pack(tree, ours)))
    one, two = statistics.median(own), statistics.median(reference)
    weight = ours.stat().st_size / theirs.stat().st_size
    return [
        f"packing {size / 1e6:.0f} MB: {one:.1f} s, tar | xz -T0 {two:.1f} s: ratio {one / two:.2f} (aim 0.90)",
        f"its size: {ours.stat().st_size} bytes, xz's {theirs.stat().st_size}: ratio {weight:.3f} (aim 1.020)",
    ]


def _fill(tree: Path) -> int:
    """About 60 MB of what packages hold, half shared libraries and half Python modules of this machine."""
    total, seen = 0, set()
    for source, limit in ((Path("/usr/lib/x86_64-linux-gnu"), _BYTES // 2), (Path("/usr/lib"), _BYTES)):
        for path in sorted(source.rglob("*.so*" if limit < _BYTES else "*.py")):
            if total >= limit or path.is_symlink() or not path.is_file() or path.stat().st_size > 4_000_000:
                continue
            if (content := file_sha256(path)) in seen:  # hosts hold files twice, packages do not
                continue
            seen.add(content)
            target = tree / path.relative_to("/usr")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            total += path.stat().st_size
    return total


def _no_op(place: Path, rounds: int) -> str:
    """Seven recipes with 400 files each, built once before."""
    names = [f"package-{number}" for number in range(7)]
    for name in names:
        recipe = place / "packages" / name
        (recipe / "extra").mkdir(parents=True)
        (recipe / "buildinfo.json").write_text("{}")
        (recipe / "build").write_text('cp -R "$PKG_EXTRA" "$PKG_PATH/extra"')
        for number in range(400):
            (recipe / "extra" / f"file-{number}").write_text(f"{name} {number}\n" * 50)
    (place / "buildinfo.json").write_text('{"requires": ["' + '", "'.join(names) + '"]}')
    command = [sys.executable, "-m", "pkgpanda.build.cli", "tree", "--packages-dir", str(place / "packages")]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}

    def run() -> None:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    time.sleep(1.1)  # fresh files are not remembered
    run()
    run()
    return f"mkpanda tree, nothing to do: {statistics.median(_seconds(run) for _ in range(rounds)):.2f} s (aim 0.50)"


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
