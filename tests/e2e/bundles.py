"""The bundles that the nodes of these tests install, and the server they fetch them from.

The tree is the repository's own with one package more, `beacon`: a service on every role, with a user, state, a kernel
setting, a check and something to remove, whose version the tests choose.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lab.instance import Instance
from lab.network import Network

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("DCOS_CALICO_BUILD") or ROOT / "build")
MASTER, AGENT, PUBLIC_AGENT = "10.99.0.1", "10.99.0.2", "10.99.0.3"
URL = "http://10.99.0.254:8000"
_PARTS_OF_THE_TREE = ("packages", "pkgpanda", "tools")


def write_config(path: Path, **changes: object) -> Path:
    """A configuration of the lab's cluster: one master, an agent and a public agent."""
    settings = {
        "cluster_name": "e2e",
        "bootstrap_url": URL,
        "master_discovery": "static",
        "master_list": [MASTER],
        "agent_list": [AGENT],
        "public_agent_list": [PUBLIC_AGENT],
        **changes,
    }
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    return path


def command(*words: str | Path, timeout: float = 300) -> str:
    """Run one of this repository's commands as its user does; what it printed."""
    program = [str(Path(sys.executable).parent / words[0]), *map(str, words[1:])]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{' '.join(program)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Bundle(NamedTuple):
    """A dist/ and what is in it: package name -> id, for each role."""

    directory: Path
    ids: dict[str, str]
    roles: dict[str, tuple[str, ...]]

    def info_digest(self) -> str:
        """The sha256 of the package list, as dcos_install.sh carries it."""
        return hashlib.sha256((self.directory / "cluster-package-info.json").read_bytes()).hexdigest()

    def list_id(self) -> str:
        """What the list of its packages is called."""
        return (self.directory / "cluster-package-list.latest").read_text().strip()

    def ids_for(self, role: str) -> list[str]:
        """What a node with this role runs."""
        return sorted(package for name, package in self.ids.items() if role in self.roles[name])


def make_tree(home: Path) -> Path:
    """A copy of the recipes and of what they read, with `beacon` among them."""
    tree = home / "tree"
    for part in _PARTS_OF_THE_TREE:
        shutil.copytree(ROOT / part, tree / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(__file__).with_name("packages"), tree / "packages", dirs_exist_ok=True)
    wanted = json.loads((ROOT / "buildinfo.json").read_text())
    wanted["requires"].append("beacon")
    (tree / "buildinfo.json").write_text(json.dumps(wanted))
    return tree


def build(tree: Path, name: str, beacon: str, **changes: object) -> Bundle:
    """Build the bundle of a configuration, with this version of `beacon`."""
    (tree / "packages/beacon/extra/version").write_text(f"{beacon}\n")
    config, output = write_config(tree.parent / f"{name}.yaml", **changes), tree.parent / f"dist-{name}"
    places = ("--packages", tree / "packages", "--build-dir", BUILD)
    command("release", "bundle", "--config", config, "--output", output, *places)
    return read(output)


def read(directory: Path) -> Bundle:
    """What a dist/ says of itself."""
    known = json.loads((directory / "cluster-package-info.json").read_text())
    ids = {name: entry["id"] for name, entry in known.items()}
    return Bundle(directory, ids, {name: tuple(entry["roles"]) for name, entry in known.items()})


class Server:
    """An HTTP server in the lab's own network that serves one bundle at a time."""

    def __init__(self, instance: Instance, network: Network) -> None:
        self._link = instance.directory / "served"
        self.log = instance.directory / "server.log"
        command: Sequence[str] = (
            *(sys.executable, "-m", "http.server", "--bind", network.gateway, "--directory", str(self._link)),
            URL.rpartition(":")[2],
        )
        instance.spawn("server", command, netns=network.bridge, log=self.log)

    def serve(self, bundle: Bundle) -> None:
        """From now on, this bundle is what the address shows."""
        draft = self._link.with_suffix(".new")
        draft.symlink_to(bundle.directory)
        draft.rename(self._link)
