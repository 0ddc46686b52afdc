"""dcos_install.sh as a program: what it finds on a node, what it installs, what it leaves alone.

Each run has namespaces of its own: a network without anything in it, /opt empty, /run with a running systemd's mark,
and /etc as a layer over the machine's. Nothing reaches the machine.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gen.install import BundleInfo, render_install_script
from gen.parameters import defaults

pytestmark = [pytest.mark.root, pytest.mark.netns]

LISTEN = """
import socket, sys, time
kind, port, family = sys.argv[1], int(sys.argv[2]), sys.argv[3]
s = socket.socket(getattr(socket, family), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.bind(("127.0.0.1" if family == "AF_INET" else "::1", port))
if kind == "tcp": s.listen()
print("ready", flush=True)
time.sleep(60)
"""

TOOLS = ("bash", "cat", "chmod", "df", "dirname", "getconf", "head", "kill", "ls", "mktemp", "rm", "sort", "systemctl",
         "tail", "tr", "uname")  # fmt: skip
"""What the checks themselves need."""

STATIC: dict[str, Any] = {
    "cluster_name": "x",
    "bootstrap_url": "http://192.0.2.10:8000",
    "master_list": ["192.0.2.11"],
}
IPIP = {"calico_vxlan_enabled": False}


class Done(NamedTuple):
    """How a run ended, and the directory whose `etc` and `opt` are what the node then has."""

    status: int
    output: str
    node: Path

    @property
    def errors(self) -> list[str]:
        """The errors without the count at their end."""
        lines = [line.partition("error: ")[2] for line in self.output.splitlines() if "error: " in line]
        return [line for line in lines if "preflight check(s) failed" not in line]


class Node:
    """A node in namespaces. What a run leaves in /etc and /opt is there in the next."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.script = directory / "dcos_install.sh"
        for name in ("etc", "work", "opt", "bin"):
            (directory / name).mkdir()
        self.fake("modprobe", "exit 0")
        self.fake("docker", "exit 0")
        self.render()

    def fake(self, name: str, body: str) -> None:
        """Put a program first in PATH."""
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def render(self, values: Mapping[str, Any] | None = None, bundle: BundleInfo | None = None) -> None:
        """Write the script for a configuration."""
        self.script.write_bytes(render_install_script({**defaults(), **STATIC, **(values or {})}, bundle))

    def run(self, *arguments: str, before: str = "") -> Done:
        """Run the script on the node after the shell commands `before`."""
        d = self.directory
        lines = [
            "set -e",
            f"mount -t overlay overlay -o lowerdir=/etc,upperdir={d}/etc,workdir={d}/work /etc",
            f"mount --bind {d}/opt /opt",
            "mount -t tmpfs tmpfs /run",
            "mkdir -p /run/systemd/system",
            "ip link set lo up",
            f"export PATH={d}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            before,
            'status=0; bash "$@" || status=$?',
            "kill $(jobs -p) 2>/dev/null || true",
            "exit $status",
        ]
        command = ["unshare", "--mount", "--net", "--propagation", "private", "bash", "-c", "\n".join(lines), "run"]
        command += [str(self.script), *arguments]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False
        )
        return Done(done.returncode, done.stdout, d)

    def listening(self, protocol: str, port: int, family: str = "AF_INET") -> str:
        """Shell commands that make something listen."""
        program = self.directory / "listen.py"
        program.write_text(LISTEN)
        return f"coproc /usr/bin/python3 {program} {protocol} {port} {family}; read -r _ <&${{COPROC[0]}}"

    def tree(self, name: str) -> dict[str, str]:
        """What is under /etc or /opt of the node's own: relative path -> content, mode of a file."""
        top = self.directory / name
        return {
            str(path.relative_to(top)): f"{path.stat().st_mode & 0o777:o} {path.read_text()}"
            for path in top.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node that is fit for anything."""
    return Node(tmp_path)


# ------------------------------------------------------------------------------------------------- preflight


def test_a_fit_node_passes_and_is_left_alone(node: Node) -> None:
    done = node.run("--preflight-only", "master", "slave")
    assert (done.status, done.errors) == (0, []), done.output
    assert "fit for master slave" in done.output
    assert node.tree("etc") == node.tree("opt") == {}


@pytest.mark.parametrize(
    ("values", "role", "protocol", "port"),
    [
        ({}, "master", "tcp", 2379),
        ({}, "master", "tcp", 2380),
        ({}, "master", "tcp", 2381),
        ({}, "master", "tcp", 62091),
        ({}, "slave", "tcp", 62091),
        ({}, "slave_public", "udp", 64000),
        ({"calico_vxlan_port": 43981}, "slave", "udp", 43981),  # 0xABCD: letters in the kernel's hexadecimal
        (IPIP, "slave", "tcp", 179),
        (IPIP, "master", "tcp", 179),
    ],
)
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_something_listens_on_a_port_of_ours(
    node: Node, values: dict[str, Any], role: str, protocol: str, port: int, family: str
) -> None:
    node.render(values)
    done = node.run("--preflight-only", role, before=node.listening(protocol, port, family))
    assert done.status == 1
    (error,) = done.errors
    assert f"{protocol.upper()} port {port} " in error
    assert "in use by python3 (pid " in error


@pytest.mark.parametrize(
    ("values", "role", "protocol", "port"),
    [
        ({}, "slave", "tcp", 2379),  # etcd runs on masters
        ({}, "master", "tcp", 179),  # no BGP with VXLAN
        (IPIP, "slave", "udp", 64000),  # no VXLAN with BGP
        ({"calico_vxlan_port": 4789}, "slave", "udp", 64000),  # the port is another
        ({}, "slave", "tcp", 64000),  # the same number of the other protocol
        ({"calico_enabled": False}, "master", "tcp", 2379),
    ],
)
def test_a_port_that_is_not_ours_may_be_in_use(
    node: Node, values: dict[str, Any], role: str, protocol: str, port: int
) -> None:
    node.render(values)
    done = node.run("--preflight-only", role, before=node.listening(protocol, port))
    assert (done.status, done.errors) == (0, [])


def test_a_connection_from_a_port_is_no_listener(node: Node) -> None:
    connect = (
        f"{node.listening('tcp', 7777)}; exec 8<>/dev/tcp/127.0.0.1/7777"
        # The client's end has an ephemeral port: make that one of ours.
    )
    before = f"sysctl -q -w net.ipv4.ip_local_port_range='2379 2380'; {connect}"
    done = node.run("--preflight-only", "master", before=before)
    assert (done.status, done.errors) == (0, []), done.output


def test_the_vxlan_port_may_be_shared_with_another_vxlan_device(node: Node) -> None:
    overlay = "ip link add vtep1024 type vxlan id 1024 dstport 64000 local 127.0.0.1 dev lo; ip link set vtep1024 up"
    done = node.run("--preflight-only", "slave", before=overlay)
    assert (done.status, done.errors) == (0, [])


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("ip link add d0 type bridge; ip addr add 172.29.3.1/24 dev d0; ip link set d0 up", "172.29.3.0/24 on d0"),
        ("ip link add d0 type bridge; ip addr add 172.16.0.9/12 dev d0; ip link set d0 up", "172.16.0.0/12 on d0"),
        ("ip addr add 172.29.255.255/32 dev lo", "address 172.29.255.255"),
    ],
)
def test_a_network_of_the_host_overlaps_calicos(node: Node, commands: str, expected: str) -> None:
    done = node.run("--preflight-only", "slave", before=commands)
    assert done.status == 1
    assert any(expected in error and "172.29.0.0/16" in error for error in done.errors), done.output


def test_networks_beside_calicos_are_no_problem(node: Node) -> None:
    before = "; ".join(
        f"ip link add d{n} type bridge; ip addr add {network} dev d{n}; ip link set d{n} up"
        for n, network in enumerate(("172.28.255.1/16", "172.30.0.1/16", "10.0.0.1/8"))
    )
    done = node.run("--preflight-only", "slave", before=f"{before}; ip route add default via 10.1.1.1")
    assert (done.status, done.errors) == (0, [])


def test_a_route_elsewhere_that_overlaps_is_a_warning(node: Node) -> None:
    before = "ip link add d0 type bridge; ip addr add 10.0.0.1/8 dev d0; ip link set d0 up; "
    done = node.run("--preflight-only", "slave", before=before + "ip route add 172.16.0.0/12 via 10.1.1.1")
    assert done.status == 0
    assert "warning: this node has a route to 172.16.0.0/12 on d0" in done.output


def test_every_problem_is_told(node: Node) -> None:
    (node.directory / "opt/mesosphere").mkdir()
    (node.directory / "opt/mesosphere/bin").mkdir()
    node.fake("uname", "case $1 in -m) echo aarch64 ;; *) echo 4.9.0-1-amd64 ;; esac")
    node.fake("getconf", "echo glibc 2.31")
    node.fake("systemctl", "echo 'systemd 229 (229-4)'")
    before = f"{node.listening('tcp', 2379)}; rmdir /run/systemd/system; ip addr add 172.29.0.1/32 dev lo"
    done = node.run("--preflight-only", "master", before=before)
    assert done.status == 1
    for part in ("aarch64", "4.9.0", "glibc 2.31", "systemd is 229", "systemd is not running", "/opt/mesosphere is not",
                 "TCP port 2379", "172.29.0.1"):  # fmt: skip
        assert any(part in error for error in done.errors), (part, done.output)
    assert "8 preflight check(s) failed, nothing was changed" in done.output


def test_missing_commands_are_named(node: Node) -> None:
    only = node.directory / "only"
    only.mkdir()
    for tool in TOOLS:
        if path := shutil.which(tool):
            (only / tool).symlink_to(path)
    done = node.run("--preflight-only", "slave", before=f"mount -t tmpfs tmpfs /usr/sbin; export PATH={only}")
    assert {error.split(":")[0] for error in done.errors} == {
        "there is no tar", "there is no xz", "there is no sha256sum", "there is no modprobe",
        "there is neither curl nor wget",
    }  # fmt: skip
    assert "warning: there is no docker" in done.output


def test_a_path_without_the_administrators_directories_lacks_nothing(node: Node) -> None:
    hidden = f"mount -t tmpfs tmpfs /usr/sbin; mv {node.directory}/bin/modprobe /usr/sbin; export PATH=/usr/bin"
    done = node.run("--preflight-only", "slave", before=hidden)
    assert done.errors == []


def test_too_little_space(node: Node) -> None:
    done = node.run("--preflight-only", "slave", before="mount -t tmpfs -o size=8m tmpfs /opt")
    assert done.errors == ["/opt has 8 MiB free, and the packages need 1024: make room"]


def test_selinux_with_a_policy_we_do_not_know(node: Node) -> None:
    before = "mkdir -p /etc/selinux; echo SELINUXTYPE=mls >/etc/selinux/config; mount -t tmpfs tmpfs /sys/fs; "
    done = node.run(
        "--preflight-only", "slave", before=before + "mkdir /sys/fs/selinux; printf 1 >/sys/fs/selinux/enforce"
    )
    assert any("SELinux enforces the policy 'mls'" in error for error in done.errors)


def test_a_dcos_that_is_not_ours_is_named(node: Node) -> None:
    etc = node.directory / "opt/mesosphere/etc"
    etc.mkdir(parents=True)
    (etc / "dcos-version.json").write_text('{"version": "2.2.1", "dcos-variant": "open"}\n')
    (error,) = node.run("--preflight-only", "slave").errors
    assert "/opt/mesosphere is not ours (DC/OS 2.2.1)" in error


def test_what_a_killed_installation_had_made_first_is_nobodys(node: Node) -> None:
    root = node.directory / "opt/mesosphere"
    root.mkdir(parents=True)
    for name in (".lock", "..owner.new"):
        (root / name).touch()
        assert node.run("--preflight-only", "slave").errors == []
    (root / ".other").touch()
    assert len(node.run("--preflight-only", "slave").errors) == 1


def test_ours_is_recognised_and_its_services_may_hold_their_ports(node: Node) -> None:
    own(node, "slave")
    assert node.run("--preflight-only").status == 0
    done = node.run("--preflight-only", before=node.listening("tcp", 62091))
    assert "TCP port 62091" in done.errors[0], "the holder is no service of ours"


def test_other_roles_than_the_nodes_are_refused(node: Node) -> None:
    own(node, "slave")
    (error,) = node.run("--preflight-only", "master").errors
    assert "is installed as slave" in error


def test_an_installation_that_never_came_to_its_end_binds_nobody(node: Node) -> None:
    own(node, "slave")
    (node.directory / "opt/mesosphere/current").unlink()
    assert node.run("--preflight-only", "master").errors == []


def own(node: Node, role: str) -> None:
    """Make the node one of ours."""
    (node.directory / "opt/mesosphere").mkdir()
    (node.directory / "opt/mesosphere/.owner").write_text("dcos-calico")
    (node.directory / "opt/mesosphere/current").symlink_to("generations/1")
    (node.directory / "etc/mesosphere/roles").mkdir(parents=True)
    (node.directory / f"etc/mesosphere/roles/{role}").touch()


# --------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("--help",), 0, "usage: dcos_install.sh"),
        ((), 2, "say which role"),
        (("minuteman",), 2, "minuteman is no role"),
        (("--nope", "master"), 2, "--nope is no option"),
        (("master", "--pki"), 2, "--pki needs a value"),
        (("--preflight-only", "--disable-preflight", "master"), 2, "exclude each other"),
        (("--preflight-only", "--from", "/nowhere", "master"), 1, "/nowhere is not a directory"),
    ],
)
def test_the_command_line(node: Node, arguments: tuple[str, ...], status: int, text: str) -> None:
    node.render(bundle=BundleInfo(*["0" * 64] * 4))
    done = node.run(*arguments)
    assert (done.status, text in done.output) == (status, True), done.output


def test_a_script_without_a_bundle_only_checks(node: Node) -> None:
    done = node.run("master")
    assert done.status == 1
    assert "rendered without a bundle" in done.output


# ------------------------------------------------------------------------------------------------- installing

PKGPANDA = """#!/bin/bash
# Records what it was called with, where, and what the roles were.
for ((i = 1; i <= $#; i++)); do [[ ${!i} != --config-dir ]] || { j=$((i + 1)); config=${!j}; }; done
roles=$(ls "${config:-/etc/mesosphere}/roles" 2>/dev/null | tr '\\n' ' ')
printf '%s\\n' "$*" "$roles" "${0%/packages/*}" >>NODE/calls
if [[ $1 == verify-release ]]; then [[ ! -e NODE/refuses ]]; exit; fi
if [[ -z ${config:-} ]]; then
    mkdir -p /opt/mesosphere && echo dcos-calico >/opt/mesosphere/.owner && ln -sfn 1 /opt/mesosphere/current
fi
exit $(cat NODE/status 2>/dev/null || echo 0)
"""


class Bundle(NamedTuple):
    """A dist/ with a bootstrap tarball whose pkgpanda tells how it was called."""

    directory: Path
    info: BundleInfo


@pytest.fixture
def bundle(node: Node, tmp_path: Path) -> Bundle:
    """A bundle in a folder with an awkward name, and the node's script for it."""
    dist = tmp_path / "di st%41"
    program = tmp_path / "pkgpanda"
    program.write_text(PKGPANDA.replace("NODE", str(tmp_path)))
    program.chmod(0o755)
    (dist / "bootstrap").mkdir(parents=True)
    archive = dist / "bootstrap" / f"{'b' * 64}.bootstrap.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(program, f"packages/bootstrap--{'1' * 64}/bin/pkgpanda")
    info = BundleInfo("b" * 64, hashlib.sha256(archive.read_bytes()).hexdigest(), "d" * 64, "e" * 64)
    node.render({"calico_etcd_tls": False}, info)
    return Bundle(dist, info)


def calls(node: Node) -> list[list[str]]:
    """Arguments, roles and place of each call of pkgpanda."""
    lines = (node.directory / "calls").read_text().splitlines()
    return [lines[start : start + 3] for start in range(0, len(lines), 3)]


def test_an_installation_from_a_folder(node: Node, bundle: Bundle) -> None:
    done = node.run("--from", str(bundle.directory), "master")
    assert done.status == 0, done.output
    url = f"file://{str(bundle.directory).replace('%', '%25').replace(' ', '%20')}"
    ((arguments, roles, place),) = calls(node)
    assert arguments == f"setup --repository-url {url} --package-info-sha256 {'d' * 64}"
    assert (roles, place) == ("master ", "/opt/.dcos-calico-install/bootstrap")
    assert node.tree("etc") == {
        "mesosphere/roles/master": "644 ",
        "mesosphere/setup-flags/repository-url": f"644 {url}\n",
        "mesosphere/setup-flags/cluster-package-list": f"644 {'e' * 64}\n",
    }
    assert os.listdir(node.directory / "opt") == ["mesosphere"], "the bootstrap tarball's place is removed"


def test_a_second_run_changes_no_file(node: Node, bundle: Bundle) -> None:
    node.run("--from", str(bundle.directory), "slave")
    times = {path: path.stat().st_mtime_ns for path in (node.directory / "etc").rglob("*")}
    done = node.run("--from", str(bundle.directory), "--upgrade", "--no-health-gate")
    assert done.status == 0, done.output
    assert calls(node)[1][0].endswith("--upgrade --no-health-gate")
    assert {path: path.stat().st_mtime_ns for path in (node.directory / "etc").rglob("*")} == times


def test_a_dry_run_changes_nothing(node: Node, bundle: Bundle) -> None:
    done = node.run("--from", str(bundle.directory), "--dry-run", "slave", "slave_public")
    assert done.status == 0, done.output
    ((arguments, roles, _),) = calls(node)
    assert arguments.endswith("--dry-run --config-dir /opt/.dcos-calico-install/config")
    assert roles == "slave slave_public "
    assert node.tree("etc") == node.tree("opt") == {}
    assert os.listdir(node.directory / "opt") == []


KEY = f"ed25519:{'7' * 64}"


def is_refusing(node: Node) -> None:
    """Let pkgpanda find no signature."""
    (node.directory / "refuses").touch()


def pinned(node: Node, *keys: str) -> None:
    """Keys that were put on the node before."""
    flags = node.directory / "etc/mesosphere/setup-flags"
    flags.mkdir(parents=True)
    (flags / "release-keys").write_text("".join(f"{key}\n" for key in keys))


def test_without_a_key_no_signature_is_asked_for(node: Node, bundle: Bundle) -> None:
    assert node.run("--from", str(bundle.directory), "master").status == 0
    assert [arguments.split()[0] for arguments, _, _ in calls(node)] == ["setup"]


def test_with_a_key_the_signature_is_verified_first_and_the_key_pinned(node: Node, bundle: Bundle) -> None:
    node.render({"calico_etcd_tls": False, "release_keys": [KEY, KEY.replace("7", "8")]}, bundle.info)
    done = node.run("--from", str(bundle.directory), "master")
    assert done.status == 0, done.output
    (first, roles, _), (second, _, _) = calls(node)
    assert first.startswith(f"verify-release {node.script} --repository-url file://")
    assert first.endswith(f"--package-info-sha256 {'d' * 64} --config-dir /etc/mesosphere --key {KEY} "
                          f"--key {KEY.replace('7', '8')}")  # fmt: skip
    assert roles == "", "nothing was written before"
    assert second.startswith("setup ")
    keys = node.tree("etc")["mesosphere/setup-flags/release-keys"]
    assert keys == f"644 {KEY}\n{KEY.replace('7', '8')}\n"


@pytest.mark.parametrize("is_pinned", [False, True])
def test_what_is_not_signed_is_refused_and_nothing_is_changed(node: Node, bundle: Bundle, is_pinned: bool) -> None:
    is_refusing(node)
    if is_pinned:
        pinned(node, KEY)
    else:
        node.render({"calico_etcd_tls": False, "release_keys": [KEY]}, bundle.info)
    before = node.tree("etc")
    done = node.run("--from", str(bundle.directory), "master")
    assert done.status == 1, done.output
    assert [arguments.split()[0] for arguments, _, _ in calls(node)] == ["verify-release"]
    assert node.tree("etc") == before
    assert os.listdir(node.directory / "opt") == []


def test_a_script_without_keys_leaves_the_pinned_ones(node: Node, bundle: Bundle) -> None:
    pinned(node, KEY)
    assert node.run("--from", str(bundle.directory), "master").status == 0
    assert node.tree("etc")["mesosphere/setup-flags/release-keys"] == f"644 {KEY}\n"


def test_over_http(node: Node, bundle: Bundle) -> None:
    node.render({"calico_etcd_tls": False, "bootstrap_url": "http://127.0.0.1:8000/"}, bundle.info)
    serve = f"/usr/bin/python3 -m http.server -d '{bundle.directory}' 8000 >/dev/null 2>&1 & "
    wait = "until (: </dev/tcp/127.0.0.1/8000) 2>/dev/null; do sleep 0.05; done"
    done = node.run("slave", before=serve + wait)
    assert done.status == 0, done.output
    assert "--repository-url http://127.0.0.1:8000 " in calls(node)[0][0]


CUT_OFF = """
import http.server, os, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    has_cut = False
    def copyfile(self, source, outputfile):
        outputfile.write(source.read(100 if not Handler.has_cut else -1))
        Handler.has_cut = True
os.chdir(sys.argv[1])
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"""


@pytest.mark.parametrize("hidden", ["curl", "wget"])
def test_a_download_is_cut_off_and_the_server_knows_no_ranges(node: Node, bundle: Bundle, hidden: str) -> None:
    node.render({"calico_etcd_tls": False, "bootstrap_url": "http://127.0.0.1:8000"}, bundle.info)
    program = node.directory / "cut_off.py"
    program.write_text(CUT_OFF)
    serve = f"/usr/bin/python3 {program} '{bundle.directory}' >/dev/null 2>&1 & "
    wait = "until (: </dev/tcp/127.0.0.1/8000) 2>/dev/null; do sleep 0.05; done"
    only = node.directory / "only"
    only.mkdir()
    for tool in Path("/usr/bin").iterdir():
        if tool.name != hidden:
            (only / tool.name).symlink_to(tool)
    done = node.run("slave", before=f"export PATH={node.directory}/bin:{only}; {serve}{wait}")
    assert done.status == 0, done.output


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_bootstrap_tarball_that_is_not_the_one(node: Node, bundle: Bundle, damage: str) -> None:
    (archive,) = (bundle.directory / "bootstrap").iterdir()
    if damage == "flip":
        archive.write_bytes(archive.read_bytes()[:-1] + b"\0")
    else:
        archive.unlink()
    done = node.run("--from", str(bundle.directory), "slave")
    assert done.status == 3
    assert ("digest" if damage == "flip" else "cannot be fetched") in done.errors[-1]
    assert not (node.directory / "calls").exists()
    assert node.tree("etc") == node.tree("opt") == {}


def test_the_status_of_pkgpanda_is_the_scripts(node: Node, bundle: Bundle) -> None:
    (node.directory / "status").write_text("3")
    done = node.run("--from", str(bundle.directory), "slave")
    assert done.status == 3
    assert os.listdir(node.directory / "opt") == ["mesosphere"]


def test_what_a_killed_run_left_is_removed(node: Node, bundle: Bundle) -> None:
    (node.directory / "opt/.dcos-calico-install/bootstrap").mkdir(parents=True)
    (node.directory / "etc/mesosphere/roles").mkdir(parents=True)
    (node.directory / "etc/mesosphere/roles/master").touch()
    done = node.run("--from", str(bundle.directory), "slave")
    assert done.status == 0, done.output
    assert calls(node)[0][1] == "slave ", "the roles of an installation that never came to its end do not count"


# ------------------------------------------------------------------------------------------------- certificates

AGENT = ("ca.crt", "client.crt", "client.key", "etcd-password")
MASTER = (*AGENT, "server.crt", "server.key", "peer.crt", "peer.key", "etcd-root-password")


def secrets(directory: Path, names: tuple[str, ...]) -> None:
    """Files as `gen pki` leaves them."""
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text(f"{name} of {directory.name}\n")


def with_pki(node: Node, bundle: Bundle) -> None:
    node.render({"ip_detect_contents": "#!/bin/sh\n# it's $HOME\necho 192.0.2.11\n"}, bundle.info)


@pytest.mark.parametrize(("role", "names"), [("slave", AGENT), ("master", MASTER)])
@pytest.mark.parametrize("is_whole", [True, False])
def test_the_nodes_own_certificates_are_installed(
    node: Node, bundle: Bundle, role: str, names: tuple[str, ...], is_whole: bool
) -> None:
    with_pki(node, bundle)
    whole = node.directory / "pki"
    secrets(whole / "nodes/192.0.2.11", names)
    secrets(whole / "nodes/192.0.2.12", names)
    (whole / "ca.crt").write_text("ca\n")
    (whole / "ca.key").write_text("the authority's key\n")
    source = whole if is_whole else whole / "nodes/192.0.2.11"
    done = node.run("--from", str(bundle.directory), "--pki", str(source), role)
    assert done.status == 0, done.output
    place = "dcos-calico/pki"
    assert {path: text for path, text in node.tree("etc").items() if path.startswith(place)} == {
        f"{place}/{name}": f"{644 if name.endswith('.crt') else 600} {name} of 192.0.2.11\n" for name in names
    }
    assert (node.directory / "etc" / place).stat().st_mode & 0o777 == 0o711


def test_renewed_certificates_replace_the_old_and_keys_keep_their_owner(node: Node, bundle: Bundle) -> None:
    with_pki(node, bundle)
    secrets(node.directory / "pki", MASTER)
    arguments = ("--from", str(bundle.directory), "--pki", str(node.directory / "pki"), "master")
    node.run(*arguments)
    key = node.directory / "etc/dcos-calico/pki/server.key"
    os.chown(key, 12345, 12345)
    (node.directory / "pki/server.key").write_text("another\n")
    assert node.run(*arguments).status == 0
    assert (key.read_text(), key.stat().st_uid, key.stat().st_mode & 0o777) == ("another\n", 12345, 0o600)


def test_without_certificates_nothing_is_installed(node: Node, bundle: Bundle) -> None:
    with_pki(node, bundle)
    done = node.run("--from", str(bundle.directory), "slave")
    assert (done.status, len(done.errors)) == (1, 1)
    assert "give --pki DIR" in done.errors[0]
    assert "warning: this node has no certificates" in node.run("--preflight-only", "slave").output


@pytest.mark.parametrize("options", [(), ("--disable-preflight",)])
def test_a_part_of_the_certificates_is_missing(node: Node, bundle: Bundle, options: tuple[str, ...]) -> None:
    with_pki(node, bundle)
    secrets(node.directory / "pki/nodes/192.0.2.11", AGENT)
    done = node.run("--from", str(bundle.directory), "--pki", str(node.directory / "pki"), *options, "master")
    assert done.status == 1
    assert "server.crt is missing" in done.errors[0]
    assert node.tree("etc") == {}


def test_this_node_is_not_among_the_certificates(node: Node, bundle: Bundle) -> None:
    with_pki(node, bundle)
    secrets(node.directory / "pki/nodes/192.0.2.99", AGENT)
    (error,) = node.run("--preflight-only", "--pki", str(node.directory / "pki"), "slave").errors
    assert "nodes/192.0.2.11 does not exist" in error


def test_the_default_ip_detect_survives_the_script(node: Node, bundle: Bundle) -> None:
    node.render({}, bundle.info)
    secrets(node.directory / "pki/nodes/198.51.100.7", AGENT)
    network = "ip link add d0 type bridge; ip addr add 198.51.100.7/24 dev d0; ip link set d0 up; "
    done = node.run(
        "--preflight-only", "--pki", str(node.directory / "pki"), "slave",
        before=network + "ip route add default via 198.51.100.1",
    )  # fmt: skip
    assert (done.status, done.errors) == (0, [])


# --------------------------------------------------------------------------------------------------- shellcheck


def test_no_value_reaches_the_shell_as_code(node: Node, bundle: Bundle) -> None:
    ip_detect = "#!/bin/sh\nEND_OF_DETECT_IP\ntouch /opt/pwned\n"
    url = "http://h/$(touch /opt/pwned)`touch /opt/pwned`';touch /opt/pwned;'"
    node.render({"bootstrap_url": url, "ip_detect_contents": ip_detect}, bundle.info)
    assert node.run("--preflight-only", "slave").status == 0
    assert os.listdir(node.directory / "opt") == []


@pytest.mark.parametrize("values", [{}, IPIP, {"calico_enabled": False}, {"bootstrap_url": "http://h/it's"}])
@pytest.mark.parametrize("info", [None, BundleInfo("b" * 64, "c" * 64, "d" * 64, "e" * 64)])
def test_shellcheck_has_nothing_to_say(node: Node, values: dict[str, Any], info: BundleInfo | None) -> None:
    node.render(values, info)
    shellcheck = Path(__file__).parents[2] / ".venv/bin/shellcheck"
    done = subprocess.run([shellcheck, "--format=json", node.script], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == []
