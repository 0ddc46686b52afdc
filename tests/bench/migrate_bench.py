"""`calicoctl migrate marathon` on a directory of definitions, and back, beside Python's json on the same files.

Of each file the migration writes and syncs four: what was, what is, the record's index and the file.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.unit.calicoctl.definitions import CASES

_EXTRA = Path(__file__).resolve().parents[2] / "packages/calico/extra"
_CALICOCTL = (sys.executable, "-I", str(_EXTRA / "run.py"), "calico.calicoctl.cli", "migrate", "marathon")
_REFERENCE = """
import json, os, pathlib, sys
for path in pathlib.Path(sys.argv[1]).iterdir():
    text = json.dumps(json.loads(path.read_text("utf-8-sig")), indent=4)
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
"""
_FILES = 400


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        _fill(place / "apps")
        runs = [_round(place, number) for number in range(rounds)]
    there, back, reference = (statistics.median(column) for column in zip(*runs, strict=True))
    return [
        f"reference: json read, written anew and synced, {_FILES} files: {reference * 1000:.0f} ms",
        f"migrate marathon, {_FILES} definitions: {there * 1000:.0f} ms, ratio {there / reference:.1f}",
        f"migrate marathon --back: {back * 1000:.0f} ms, ratio {back / reference:.1f}",
    ]


def _fill(directory: Path) -> None:
    """Definitions that all can be migrated."""
    directory.mkdir()
    texts = [case.before for case in CASES if case.changes and not case.decide]
    for number in range(_FILES):
        (directory / f"app-{number}.json").write_text(texts[number % len(texts)])


def _round(place: Path, number: int) -> tuple[float, float, float]:
    ours, theirs = place / f"ours-{number}", place / f"theirs-{number}"
    for copy in (ours, theirs):
        shutil.copytree(place / "apps", copy)
    return (
        _seconds([*_CALICOCTL, str(ours)]),
        _seconds([*_CALICOCTL, str(ours), "--back"]),
        _seconds([sys.executable, "-I", "-c", _REFERENCE, str(theirs)]),
    )


def _seconds(command: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin
