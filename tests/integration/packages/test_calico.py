"""The calico package as it is on a node: its launchers, the CNI plugins among them, find the bundle's Python."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]  # the first test builds every package


@pytest.fixture
def calico(extracted: Callable[[str], Path]) -> Path:
    extracted("python")
    return extracted("calico")


@pytest.mark.parametrize("plugin", ["calico", "calico-ipam"])
@pytest.mark.parametrize("way", ["as it is", "active", "a link to the program"])
def test_a_plugin_runs_however_it_is_reached(calico: Path, tmp_path: Path, plugin: str, way: str) -> None:
    program = calico / "cni" / plugin
    if way == "active":
        (tmp_path / "active").symlink_to(calico)
        program = tmp_path / "active/cni" / plugin
    elif way == "a link to the program":
        (tmp_path / plugin).symlink_to(program)
        program = tmp_path / plugin
    environment = {"CNI_COMMAND": "VERSION", "PATH": "/usr/bin:/bin", "CALICO_CNI_SOCKET": str(tmp_path / "none")}
    done = subprocess.run(
        [program], input='{"cniVersion": "1.0.0"}', env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["cniVersion"] == "1.0.0"


def test_calico_node_has_help(calico: Path) -> None:
    done = subprocess.run([calico / "bin/calico-node", "--help"], capture_output=True, text=True, check=True)
    assert "Example: calico-node -startup" in done.stdout
