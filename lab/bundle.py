"""The bundle of a lab, made by the commands the documentation names, from the repository this lab stands in."""

import os
import subprocess
import sys
from pathlib import Path

from lab.instance import LabError, bound

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("DCOS_CALICO_BUILD") or ROOT / "build")
_BUILD_SECONDS = 900.0


def command(*words: str | Path, timeout: float = 120) -> str:
    """Run one of this repository's commands as its user does; what it printed. LabError shows what went wrong."""
    program = [str(Path(sys.executable).parent / words[0]), *map(str, words[1:])]
    try:
        done = subprocess.run(bound(program), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(program)}: not done after {timeout:.0f} s") from None
    if done.returncode:
        raise LabError(f"{' '.join(program)}: exit {done.returncode}\n{(done.stdout + done.stderr).strip()}")
    return done.stdout


def build(config: Path, output: Path, tree: Path = ROOT) -> None:
    """Make the bundle of a configuration at `output`, of the recipes in `tree`; what was built before is used again."""
    places = ("--packages", tree / "packages", "--build-dir", BUILD)
    command("release", "bundle", "--config", config, "--output", output, *places, timeout=_BUILD_SECONDS)


def make_keys(directory: Path, config: Path) -> None:
    """Make the cluster's certificates, where they are not there yet."""
    command("gen", "pki", "init", directory, "--config", config)
