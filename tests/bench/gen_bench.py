"""`gen validate` and `gen render` as whole processes, beside a process that only imports what they stand on."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config" / "calico.yaml"

_REFERENCE = (sys.executable, "-c", "import yaml, cerberus, jinja2")


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def bench(rounds: int) -> list[str]:
    """Medians and ratios; the three are run in turn, so that a busy minute falls on all of them."""
    gen = str(Path(sys.executable).parent / "gen")
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "reference": _REFERENCE,
            "validate": (gen, "validate", str(CONFIG)),
            "render": (gen, "render", str(CONFIG), "--output", f"{folder}/config"),
        }
        for command in commands.values():
            _seconds(command)
        runs = [{name: _seconds(command) for name, command in commands.items()} for _ in range(rounds)]
    medians = {name: statistics.median(run[name] for run in runs) for name in commands}
    version = ".".join(map(str, sys.version_info[:3]))

    def line(name: str, seconds: float) -> str:
        return f"{name}: {seconds:.3f} s, {seconds / medians['reference']:.2f} of the reference"

    together = medians["validate"] + medians["render"]
    return [
        f"reference: python {version} -c 'import yaml, cerberus, jinja2': {medians['reference']:.3f} s",
        line("gen validate, whole process", medians["validate"]),
        line("gen render, whole process", medians["render"]),
        line("together", together) + " (aim: at most 0.40 s)",
    ]
