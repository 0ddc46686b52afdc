"""`release upgrade-script`, and the script it writes: on a node, and for several from elsewhere.

A node is namespaces with an /opt and an /etc/mesosphere of its own, and an `dcos_install.sh`, `pkgpanda`, `systemctl`
and `dcos-etcdctl` that do what a file says and record that they were called. The same on real nodes: tests/e2e.
"""

import hashlib
import os
import shlex
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from release.upgrade import Package, Side, render_script

ROOT = Path(__file__).resolve().parents[3]
AGENTS = ("slave", "slave_public")
EVERYWHERE = ("master", *AGENTS)
OLD_PACKAGES = {"calico": Package("calico--1", EVERYWHERE), "etcd": Package("etcd--1", ("master",))}
NEW_PACKAGES = {**OLD_PACKAGES, "calico": Package("calico--2", EVERYWHERE), "cni": Package("cni--2", AGENTS)}
OLD = Side("dcos-calico 1.0", "0.1.0", "a" * 64, "b" * 64, "", OLD_PACKAGES, "")

Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [pytest.mark.root, pytest.mark.netns]

INSTALL = """#!/bin/bash
echo "install $*" >>"$NODE/calls"
[[ ! -e $NODE/dies ]] || { rm "$NODE/dies"; kill -9 $PPID $$; }
[[ ! -e $NODE/waits ]] || /bin/sleep 1
echo "pkgpanda: fetching calico--2 (1.0 MiB)" >&2
[[ ! -e $NODE/fails ]] || { echo "pkgpanda: dcos-calico.service: was healthy before" >&2; exit 1; }
[[ $* != *--dry-run* ]] || exit 0
[[ -e /etc/mesosphere/roles/master ]] && own=etcd--1 || own=cni--2
printf '%s\\n' $own calico--2 >"$NODE/live"
echo NEW >/etc/mesosphere/setup-flags/cluster-package-list
""".replace("NEW", "d" * 64)
PKGPANDA = """#!/bin/bash
[[ $1 != active ]] || exec cat "$NODE/live"
[[ $1 == check ]] || echo "pkgpanda $*" >>"$NODE/calls"
[[ $1 != setup ]] || rm -f /opt/mesosphere/journal.json
if [[ -e $NODE/pkgpanda-$1-fails ]]; then
    [[ $1 != check ]] || echo "failed  calico--1: felix: no tables"
    exit 1
fi
"""
ETCDCTL = """#!/bin/bash
echo "dcos-etcdctl $*" >>"$NODE/calls"
[[ ! -e $NODE/dcos-etcdctl-fails ]] || { echo "member m2 does not answer"; exit 1; }
"""
SYSTEMCTL = """#!/bin/bash
cat "$NODE/units" 2>/dev/null || true
"""


class Node:
    """A node's directories, and what was called on it."""

    def __init__(self, directory: Path, role: str) -> None:
        self.directory = directory
        for name in ("opt/mesosphere/bin", "etc/roles", "etc/setup-flags", "bin"):
            (directory / name).mkdir(parents=True)
        (directory / "opt/mesosphere/current").symlink_to("generations/1")
        (directory / "etc/roles" / role).touch()
        (directory / "etc/setup-flags/cluster-package-list").write_text(f"{'a' * 64}\n")
        self.live = {"calico--1", "etcd--1"} if role == "master" else {"calico--1"}
        programs = {"pkgpanda": PKGPANDA, "dcos-etcdctl": ETCDCTL}
        for path, text in {f"opt/mesosphere/bin/{name}": text for name, text in programs.items()}.items():
            self.program(path, text)
        self.program("bin/systemctl", SYSTEMCTL)
        self.program("bin/sleep", "#!/bin/bash\n")

    def program(self, path: str, text: str) -> None:
        (self.directory / path).write_text(text)
        (self.directory / path).chmod(0o755)

    @property
    def live(self) -> set[str]:
        """The ids of the packages that are active."""
        return set((self.directory / "live").read_text().split())

    @live.setter
    def live(self, ids: set[str]) -> None:
        (self.directory / "live").write_text("\n".join(ids))

    @property
    def is_new(self) -> bool:
        return "calico--2" in self.live

    @property
    def calls(self) -> list[str]:
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def installs(self) -> int:
        """How often dcos_install.sh ran."""
        return sum(call.startswith("install") for call in self.calls)


class Cluster(NamedTuple):
    """Nodes by name, the script, the folder with the new release, and the program that stands for ssh."""

    nodes: dict[str, Node]
    script: Path
    dist: Path
    enter: Path

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """The script on this machine."""
        command = ["bash", str(self.script), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def on(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """The script on a node."""
        with self.script.open() as script:
            command = [str(self.enter), name, shlex.join(["bash", "-s", "--", *words])]
            return subprocess.run(command, stdin=script, capture_output=True, text=True, timeout=60, check=False)

    def upgrade(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """The script on a node, with the folder of the new release."""
        return self.on(name, "--from", str(self.dist), *words)

    def everywhere(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """The script for every node, one after the other."""
        return self.run(*self.to_nodes, *words, *self.nodes)

    @property
    def to_nodes(self) -> list[str]:
        """The options that lead to nodes, and there to the folder."""
        return ["--run", f"{self.enter} {{}} bash -s --", "--from", str(self.dist)]

    def are_new(self) -> list[bool]:
        """Of each node in the order of the upgrade, whether it has the new release."""
        return [self.nodes[name].is_new for name in ("m1", "a1", "a2")]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    dist = tmp_path / "the new $release's"
    dist.mkdir()
    nodes = {name: Node(tmp_path / name, role) for name, role in (("a1", "slave"), ("m1", "master"), ("a2", "slave"))}
    enter = tmp_path / "enter"
    # As ssh: its words, joined by spaces, are for a shell on the node.
    enter.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/bash
            export NODE={tmp_path}/$1 PATH={tmp_path}/$1/bin:$PATH
            [[ -d $NODE ]] || {{ echo "ssh: cannot connect to $1" >&2; exit 255; }}
            echo "Welcome to $1" >&2
            shift
            setup='mount -t tmpfs tmpfs /etc && mkdir /etc/mesosphere && mount --bind "$NODE/etc" /etc/mesosphere &&
                mount --bind "$NODE/opt" /opt && exec bash -c "$*"'
            exec unshare --mount --net --propagation private bash -c "$setup" bash "$@"
            """
        )
    )
    enter.chmod(0o755)
    made = Cluster(nodes, tmp_path / "upgrade.sh", dist, enter)
    write_release(made, INSTALL)
    return made


def write_release(cluster: Cluster, install: str) -> None:
    """A new release with this dcos_install.sh, and the script that leads to it."""
    (cluster.dist / "dcos_install.sh").write_text(install)
    digest = hashlib.sha256(install.encode()).hexdigest()
    new = Side("dcos-calico 1.1", "0.2.0", "d" * 64, digest, "", NEW_PACKAGES, "")
    cluster.script.write_bytes(render_script(OLD, new, "http://127.0.0.1:9/dcos_install.sh"))


def error(done: "subprocess.CompletedProcess[str]") -> str:
    """The one error of a run for several nodes."""
    (line,) = done.stderr.splitlines()
    return line.removeprefix("dcos_node_upgrade.sh: error: ")


def test_shellcheck_has_nothing_to_say(cluster: Cluster) -> None:
    done = subprocess.run([ROOT / ".venv/bin/shellcheck", cluster.script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_node_is_upgraded_once(cluster: Cluster) -> None:
    done = cluster.upgrade("m1")
    assert done.returncode == 0, done.stderr
    node = cluster.nodes["m1"]
    assert node.live == {"calico--2", "etcd--1"}
    install = f"install --upgrade --from {cluster.dist}"
    assert node.calls == ["dcos-etcdctl diagnostic", install, "dcos-etcdctl diagnostic"]
    again = cluster.upgrade("m1")
    assert (again.returncode, node.installs) == (0, 1)
    assert "has dcos-calico 1.1 already" in again.stdout
    assert list((node.directory / "opt").iterdir()) == [node.directory / "opt/mesosphere"], "nothing is left"


def test_agents_have_no_etcd_to_ask(cluster: Cluster) -> None:
    cluster.upgrade("a1")
    assert [call.split()[0] for call in cluster.nodes["a1"].calls] == ["install"]


def test_a_node_that_was_rolled_back_does_not_count_as_upgraded(cluster: Cluster) -> None:
    cluster.upgrade("a1")
    cluster.nodes["a1"].live = {"calico--1"}
    assert cluster.upgrade("a1").returncode == 0
    assert (cluster.nodes["a1"].is_new, cluster.nodes["a1"].installs) == (True, 2)


def test_an_installer_that_did_not_come_to_its_end_is_run_again(cluster: Cluster) -> None:
    cluster.nodes["a1"].live = {"calico--2", "cni--2"}
    assert cluster.upgrade("a1").returncode == 0
    assert cluster.nodes["a1"].installs == 1


def test_a_dry_run_changes_nothing_and_goes_through_all_nodes(cluster: Cluster) -> None:
    (cluster.nodes["m1"].directory / "fails").touch()
    done = cluster.everywhere("--dry-run")
    assert done.returncode == 1
    assert "m1: dcos-calico.service: was healthy before" in done.stderr
    assert "1 of 3 nodes are not fit" in done.stderr
    assert [node.installs for node in cluster.nodes.values()] == [1, 1, 1]
    assert all("--dry-run" in call for node in cluster.nodes.values() for call in node.calls if "install" in call)


def test_a_dry_run_does_not_end_what_was_interrupted(cluster: Cluster) -> None:
    (cluster.nodes["a1"].directory / "opt/mesosphere/journal.json").write_text("{}")
    done = cluster.upgrade("a1", "--dry-run")
    assert done.returncode == 0 and "pkgpanda setup" in done.stdout
    assert cluster.nodes["a1"].calls == []


def test_a_node_of_another_release_is_left_alone(cluster: Cluster) -> None:
    cluster.nodes["a1"].live = {"calico--0"}
    done = cluster.upgrade("a1")
    assert done.returncode == 1 and "has another release" in done.stderr
    assert cluster.nodes["a1"].calls == []


def test_a_script_that_is_not_the_releases_is_not_run(cluster: Cluster) -> None:
    (cluster.dist / "dcos_install.sh").write_text(INSTALL + "# forged\n")
    done = cluster.upgrade("a1")
    assert done.returncode == 1 and "nothing was changed" in done.stderr
    assert cluster.nodes["a1"].calls == []


def test_what_cannot_be_fetched_is_3(cluster: Cluster) -> None:
    done = cluster.on("a1")
    assert done.returncode == 3, done.stderr


def test_an_ill_node_is_not_upgraded_unless_asked_for(cluster: Cluster) -> None:
    hasten(cluster)
    (cluster.nodes["a1"].directory / "units").write_text("dcos-x.service loaded activating auto-restart X\n")
    done = cluster.upgrade("a1")
    assert done.returncode == 1
    assert "not healthy before the upgrade: dcos-x.service is in state auto-restart" in done.stderr
    assert cluster.nodes["a1"].calls == []
    assert cluster.upgrade("a1", "--skip-checks").returncode == 0
    assert cluster.nodes["a1"].is_new


def hasten(cluster: Cluster) -> None:
    """Let the script lose its patience at once."""
    text = cluster.script.read_text()
    for name in ("healthy_before_seconds=30", "healthy_after_seconds=120"):
        assert name in text
        text = text.replace(name, f"{name.partition('=')[0]}=0")
    cluster.script.write_text(text)


def test_a_failing_check_stops_it_after_the_upgrade_and_where_a_node_has_the_release_already(cluster: Cluster) -> None:
    cluster.everywhere()
    hasten(cluster)
    (cluster.nodes["m1"].directory / "pkgpanda-check-fails").touch()
    done = cluster.everywhere()
    assert done.returncode == 1
    assert error(done).startswith(
        "m1: this node is not healthy and has dcos-calico 1.1 already: pkgpanda check: failed"
    )
    assert "felix: no tables" in error(done)


def test_an_ill_etcd_stops_it_before_anything(cluster: Cluster) -> None:
    hasten(cluster)
    (cluster.nodes["m1"].directory / "dcos-etcdctl-fails").touch()
    for words in ([], ["--skip-checks"]):
        done = cluster.upgrade("m1", *words)
        assert done.returncode == 1
        assert "etcd is not healthy before the upgrade: member m2 does not answer" in done.stderr
    assert set(cluster.nodes["m1"].calls) == {"dcos-etcdctl diagnostic"}


def test_what_was_interrupted_is_ended_first(cluster: Cluster) -> None:
    (cluster.nodes["a1"].directory / "opt/mesosphere/journal.json").write_text("{}")
    cluster.upgrade("a1")
    assert [call.split()[0] for call in cluster.nodes["a1"].calls] == ["pkgpanda", "install"]


def test_all_nodes_masters_first_one_at_a_time(cluster: Cluster) -> None:
    done = cluster.everywhere()
    assert (done.returncode, done.stderr) == (0, "")
    order = [line.split()[1] for line in done.stdout.splitlines() if "of 3)" in line]
    assert order == ["m1", "a1", "a2"]
    assert "a1: pkgpanda: fetching calico--2 (1.0 MiB)" in done.stdout
    assert "all 3 nodes have dcos-calico 1.1" in done.stdout


def test_the_first_that_fails_stops_it_and_the_same_command_goes_on_there(cluster: Cluster) -> None:
    (cluster.nodes["a1"].directory / "fails").touch()
    done = cluster.everywhere()
    assert done.returncode == 1
    assert error(done) == (
        "a1: dcos-calico.service: was healthy before; this node runs dcos-calico 1.0 and is healthy. "
        "Mend it and run the same command again; nodes after it, which were left alone: 1"
    )
    assert cluster.are_new() == [True, False, False]
    assert cluster.nodes["a2"].calls == []
    (cluster.nodes["a1"].directory / "fails").unlink()
    assert cluster.everywhere().returncode == 0
    assert [node.installs for node in cluster.nodes.values()] == [2, 1, 1], "what is done is not done again"
    assert cluster.are_new() == [True, True, True]


@pytest.mark.parametrize("cause", ["another release", "not installed", "not reached"])
def test_where_one_node_cannot_be_upgraded_none_is_touched(cluster: Cluster, cause: str) -> None:
    last = cluster.nodes["a2"]
    if cause == "another release":
        last.live = {"calico--0"}
    elif cause == "not installed":
        (last.directory / "opt/mesosphere/current").unlink()
    else:
        last.directory.rename(last.directory.with_name("away"))
    done = cluster.everywhere()
    assert done.returncode == 1
    told, summary = done.stderr.splitlines()
    why = {"another release": "has another release", "not installed": "no dcos-calico", "not reached": "cannot connect"}
    assert "error: a2: " in told and why[cause] in told
    assert "1 of 3 nodes cannot be upgraded, and none was touched" in summary
    assert cluster.nodes["m1"].calls == []


def test_an_installer_that_was_killed_is_named_and_the_next_run_goes_on(cluster: Cluster) -> None:
    (cluster.nodes["a1"].directory / "dies").touch()
    done = cluster.everywhere()
    assert done.returncode == 1 and error(done).startswith("a1: it ended with 137")
    assert cluster.everywhere().returncode == 0
    assert cluster.are_new() == [True, True, True]


def test_an_installer_that_changed_nothing_is_not_believed(cluster: Cluster) -> None:
    write_release(cluster, "#!/bin/bash\n")
    done = cluster.upgrade("a1")
    assert done.returncode == 1 and "does not run dcos-calico 1.1" in done.stderr


def test_a_command_that_starts_no_bash_is_told(cluster: Cluster) -> None:
    done = cluster.run("--run", "echo {}", "a1")
    assert done.returncode == 1 and "a1: what --run starts there is no bash with this script" in done.stderr


def test_a_run_waits_for_one_that_is_at_work_on_the_same_node(cluster: Cluster) -> None:
    node = cluster.nodes["a1"]
    (node.directory / "waits").touch()
    command = ["bash", str(cluster.script), *cluster.to_nodes, "a1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 20
        while not node.installs and time.monotonic() < deadline:
            time.sleep(0.05)
        second = cluster.upgrade("a1")
        assert first.wait(20) == 0
    assert second.returncode == 0, second.stderr
    assert "another run is at work" in second.stdout and "already" in second.stdout
    assert node.installs == 1


def test_an_interrupted_run_says_what_to_do(cluster: Cluster) -> None:
    node = cluster.nodes["a1"]
    (node.directory / "waits").touch()
    command = ["bash", str(cluster.script), *cluster.to_nodes, "a1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as run:
        deadline = time.monotonic() + 20
        while not node.installs and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)
        _, told = run.communicate(timeout=20)
    assert (run.returncode, told.splitlines()[-1]) == (
        130,
        "dcos_node_upgrade.sh: error: interrupted: the same command goes on where this one ended",
    )


def test_nodes_from_a_file(cluster: Cluster) -> None:
    nodes = cluster.script.parent / "nodes"
    nodes.write_text("# agents\na1\n\na2  # the last\n")
    done = cluster.run(*cluster.to_nodes, "--nodes", str(nodes))
    assert done.returncode == 0, done.stderr
    assert "all 2 nodes" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--nosuch"],
        ["--run"],
        ["a1"],
        ["--run", "x {}"],
        ["--run", "ssh a1 bash -s --", "a1"],
        ["--run", "x {}", "a;b"],
        ["--nodes", "/dev/null"],
        ["--run", "x {}", "--nodes", "/nosuch"],
    ],
)
def test_a_wrong_command_line_is_2(cluster: Cluster, words: list[str]) -> None:
    assert cluster.run(*words).returncode == 2


def test_ways_that_are_none_are_refused_by_release(dist: Path, release: Run, tmp_path: Path) -> None:
    done = release("upgrade-script", dist, dist, "--output", tmp_path / "x")
    assert done.returncode == 1 and "both have the same packages" in done.stderr
    nowhere = release("upgrade-script", tmp_path, dist, "--output", tmp_path / "x")
    assert nowhere.returncode == 1 and "holds no bundle" in nowhere.stderr
