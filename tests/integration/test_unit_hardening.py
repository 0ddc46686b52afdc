"""The units as systemd reads them: they parse, they order themselves without a cycle, and they are confined."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gen.package import config_package
from gen.parameters import defaults
from gen.render import render
from gen.units import DAEMONS, UNITS

EXPOSURE = {
    "dcos-etcd.service": 2.5,
    "dcos-calico-confd.service": 2.5,
    "dcos-calico-guard.service": 4.0,
    "dcos-calico-node.service": 4.0,
    "dcos-calico-felix.service": 4.0,
    "dcos-calico-bird.service": 4.0,
    "dcos-calico-libnetwork-plugin.service": 4.0,
}

ANALYZE = shutil.which("systemd-analyze") or "/usr/bin/systemd-analyze"


def units(directory: Path, **changed: Any) -> list[Path]:
    """Every unit of a BGP cluster, written below `directory`."""
    values = {
        **defaults(),
        "cluster_name": "x",
        "bootstrap_url": "http://h",
        "master_list": ["192.0.2.11"],
        "calico_vxlan_enabled": False,
        **changed,
    }
    paths = []
    for file in config_package(render(values, DAEMONS)).files:
        if file.path.endswith(".service"):
            path = directory / file.path.rpartition("/")[2]
            path.write_bytes(file.content)
            paths.append(path)
    return paths


@pytest.mark.parametrize("unit", [unit.name for unit in UNITS])
def test_a_unit_is_confined(tmp_path: Path, unit: str) -> None:
    units(tmp_path)
    threshold = f"--threshold={int(EXPOSURE[unit] * 10)}"
    command = [ANALYZE, "security", "--offline=true", "--no-pager", threshold, str(tmp_path / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("tls", [True, False])
def test_systemd_finds_nothing_wrong(tmp_path: Path, tls: bool) -> None:
    paths = units(tmp_path, calico_etcd_tls=tls)
    # The programs and the user are there on nodes alone.
    for path in paths:
        text = path.read_text().replace("User=dcos_etcd\n", "")
        text = text.replace("=+/opt/mesosphere/active/", "=+/bin/true ")
        lines = [("ExecStart=/bin/true" if line.startswith("ExecStart=") else line) for line in text.splitlines()]
        lines = [
            f"{line.partition('=')[0]}=/bin/true" if line.startswith(("ExecReload=", "ExecStop=")) else line
            for line in lines
        ]
        path.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", "--recursive-errors=no", *map(str, paths)],
        capture_output=True,
        text=True,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
