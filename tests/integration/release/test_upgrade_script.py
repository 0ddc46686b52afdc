"""`release upgrade-script`, and the script it writes: on a node, and for several from elsewhere.

A node is namespaces with an /opt and an /etc/mesosphere of its own, and an `dcos_install.sh`, `pkgpanda` and
`dcos-etcdctl` that do what a file says and record that they were called.
"""

import hashlib
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from release.upgrade import Side, render_script

ROOT = Path(__file__).resolve().parents[3]
OLD = Side("dcos-calico 1.0", "0.1.0", "a" * 64, "b" * 64, "", {}, "")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [pytest.mark.root, pytest.mark.netns]

INSTALL = """#!/bin/bash
echo "install $*" >>"$NODE/calls"
[[ ! -e $NODE/fails ]] || { echo "units did not become healthy"; exit 1; }
[[ $* == *--dry-run* ]] || echo NEW >/etc/mesosphere/setup-flags/cluster-package-list
""".replace("NEW", "d" * 64)


class Node:
    """A node's directories, and what was called on it."""

    def __init__(self, directory: Path, role: str) -> None:
        self.directory = directory
        for name in ("opt/mesosphere/bin", "etc/roles", "etc/setup-flags"):
            (directory / name).mkdir(parents=True)
        (directory / "opt/mesosphere/current").symlink_to("generations/1")
        (directory / "etc/roles" / role).touch()
        self.release = "a" * 64
        for name in ("pkgpanda", "dcos-etcdctl"):
            path = directory / "opt/mesosphere/bin" / name
            path.write_text(f'#!/bin/bash\necho "{name} $*" >>"$NODE/calls"\n[[ ! -e $NODE/{name}-fails ]]\n')
            path.chmod(0o755)

    @property
    def release(self) -> str:
        return (self.directory / "etc/setup-flags/cluster-package-list").read_text().strip()

    @release.setter
    def release(self, value: str) -> None:
        (self.directory / "etc/setup-flags/cluster-package-list").write_text(f"{value}\n")

    @property
    def calls(self) -> list[str]:
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []


class Cluster(NamedTuple):
    """Nodes by name, the script, and the program that stands for ssh: it runs bash in a node's namespaces."""

    nodes: dict[str, Node]
    script: Path
    enter: Path

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """The script on this machine."""
        command = ["bash", str(self.script), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def on(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """The script on a node."""
        with self.script.open() as script:
            command = [str(self.enter), name, *words]
            return subprocess.run(command, stdin=script, capture_output=True, text=True, timeout=60, check=False)

    def everywhere(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """The script for every node, one after the other."""
        return self.run("--run", f"{self.enter} {{}}", "--from", str(self.script.parent / "dist"), *words, *self.nodes)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "dcos_install.sh").write_text(INSTALL)
    digest = hashlib.sha256(INSTALL.encode()).hexdigest()
    new = Side("dcos-calico 1.1", "0.2.0", "d" * 64, digest, "", {}, "")
    script = tmp_path / "upgrade.sh"
    script.write_bytes(render_script(OLD, new, "http://127.0.0.1:9/dcos_install.sh"))
    nodes = {name: Node(tmp_path / name, role) for name, role in (("a1", "slave"), ("m1", "master"), ("a2", "slave"))}
    enter = tmp_path / "enter"
    enter.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/bash
            export NODE={tmp_path}/$1
            shift
            setup='mount -t tmpfs tmpfs /etc && mkdir /etc/mesosphere && mount --bind "$NODE/etc" /etc/mesosphere &&
                mount --bind "$NODE/opt" /opt && exec bash -s -- "$@"'
            exec unshare --mount --net --propagation private bash -c "$setup" bash "$@"
            """
        )
    )
    enter.chmod(0o755)
    return Cluster(nodes, script, enter)


def test_shellcheck_has_nothing_to_say(cluster: Cluster) -> None:
    done = subprocess.run([ROOT / ".venv/bin/shellcheck", cluster.script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_node_is_upgraded_once(cluster: Cluster) -> None:
    dist = str(cluster.script.parent / "dist")
    done = cluster.on("m1", "--from", dist)
    assert done.returncode == 0, done.stderr
    node = cluster.nodes["m1"]
    assert node.release == "d" * 64
    assert node.calls == ["dcos-etcdctl diagnostic", f"install --upgrade --from {dist}", "dcos-etcdctl diagnostic"]
    again = cluster.on("m1", "--from", dist)
    assert (again.returncode, len(node.calls)) == (0, 3)
    assert "has dcos-calico 1.1 already" in again.stdout
    assert list((node.directory / "opt").iterdir()) == [node.directory / "opt/mesosphere"], "nothing is left"


def test_agents_have_no_etcd_to_ask(cluster: Cluster) -> None:
    cluster.on("a1", "--from", str(cluster.script.parent / "dist"))
    assert [call.split()[0] for call in cluster.nodes["a1"].calls] == ["install"]


def test_a_dry_run_changes_nothing(cluster: Cluster) -> None:
    done = cluster.everywhere("--dry-run")
    assert done.returncode == 0, done.stderr
    assert {node.release for node in cluster.nodes.values()} == {"a" * 64}
    assert all("--dry-run" in call for node in cluster.nodes.values() for call in node.calls if "install" in call)


def test_a_node_of_another_release_is_left_alone(cluster: Cluster) -> None:
    cluster.nodes["a1"].release = "e" * 64
    done = cluster.on("a1", "--from", str(cluster.script.parent / "dist"))
    assert done.returncode == 1 and "has another release" in done.stderr
    assert cluster.nodes["a1"].calls == []


def test_a_script_that_is_not_the_releases_is_not_run(cluster: Cluster) -> None:
    (cluster.script.parent / "dist/dcos_install.sh").write_text(INSTALL + "# forged\n")
    done = cluster.on("a1", "--from", str(cluster.script.parent / "dist"))
    assert done.returncode == 1 and "nothing was changed" in done.stderr
    assert cluster.nodes["a1"].calls == []


def test_what_cannot_be_fetched_is_3(cluster: Cluster) -> None:
    done = cluster.on("a1")
    assert done.returncode == 3, done.stderr


def test_an_ill_etcd_stops_it_before_anything(cluster: Cluster) -> None:
    (cluster.nodes["m1"].directory / "dcos-etcdctl-fails").touch()
    done = cluster.on("m1", "--from", str(cluster.script.parent / "dist"))
    assert done.returncode == 1 and "etcd is not healthy before the upgrade" in done.stderr
    assert cluster.nodes["m1"].calls == ["dcos-etcdctl diagnostic"]


def test_what_was_interrupted_is_ended_first(cluster: Cluster) -> None:
    (cluster.nodes["a1"].directory / "opt/mesosphere/journal.json").write_text("{}")
    cluster.on("a1", "--from", str(cluster.script.parent / "dist"))
    assert [call.split()[0] for call in cluster.nodes["a1"].calls] == ["pkgpanda", "install"]


def test_all_nodes_masters_first_one_at_a_time(cluster: Cluster) -> None:
    done = cluster.everywhere()
    assert done.returncode == 0, done.stderr
    order = [line.split()[1] for line in done.stdout.splitlines() if "of 3)" in line]
    assert order == ["m1", "a1", "a2"]
    assert "all 3 nodes have dcos-calico 1.1" in done.stdout


def test_the_first_that_fails_stops_it_and_the_same_command_goes_on_there(cluster: Cluster) -> None:
    (cluster.nodes["a1"].directory / "fails").touch()
    done = cluster.everywhere()
    assert done.returncode == 1
    assert "a1 failed" in done.stderr and "1 nodes after it were left alone" in done.stderr
    assert [cluster.nodes[name].release[0] for name in ("m1", "a1", "a2")] == ["d", "a", "a"]
    assert cluster.nodes["a2"].calls == []
    (cluster.nodes["a1"].directory / "fails").unlink()
    before = cluster.nodes["m1"].calls
    assert cluster.everywhere().returncode == 0
    assert cluster.nodes["m1"].calls == before, "what is done is not done again"
    assert {node.release for node in cluster.nodes.values()} == {"d" * 64}


def test_nodes_from_a_file(cluster: Cluster) -> None:
    nodes = cluster.script.parent / "nodes"
    nodes.write_text("# agents\na1\n\na2  # the last\n")
    done = cluster.run("--run", f"{cluster.enter} {{}}", "--nodes", str(nodes), "--from", str(nodes.parent / "dist"))
    assert done.returncode == 0, done.stderr
    assert "all 2 nodes" in done.stdout


@pytest.mark.parametrize(
    "words", [["--nosuch"], ["--run"], ["a1"], ["--run", "x {}"], ["--run", "x {}", "a;b"], ["--nodes", "/dev/null"]]
)
def test_a_wrong_command_line_is_2(cluster: Cluster, words: list[str]) -> None:
    assert cluster.run(*words).returncode == 2


def test_ways_that_are_none_are_refused_by_release(dist: Path, release: Run, tmp_path: Path) -> None:
    done = release("upgrade-script", dist, dist, "--output", tmp_path / "x")
    assert done.returncode == 1 and "both have the same packages" in done.stderr
    nowhere = release("upgrade-script", tmp_path, dist, "--output", tmp_path / "x")
    assert nowhere.returncode == 1 and "holds no bundle" in nowhere.stderr
