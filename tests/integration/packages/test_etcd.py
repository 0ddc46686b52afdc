"""The etcd package as a unit runs it: a launcher, a settings file, certificates of `gen pki`, three masters."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gen import pki

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(900)]  # the first test builds every package

Extracted = Callable[[str], Path]

ADDRESSES = ("10.77.0.1", "10.77.0.2", "10.77.0.3")
PATH = os.environ["PATH"]
DEADLINE = 30.0

_CONNECT = """if 1:
    import http.client, ssl, sys
    keys, name, port, version = sys.argv[1:]
    context = ssl.create_default_context(cafile=f"{keys}/ca.crt")
    context.load_cert_chain(f"{keys}/{name}.crt", f"{keys}/{name}.key")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.check_hostname = False
    try:
        host = "127.0.0.1" if port == "2379" else "10.77.0.1"
        connection = http.client.HTTPSConnection(host, int(port), context=context)
        connection.request("GET", "/version" if port == "2379" else "/members")
        print(connection.getresponse().status, end="")
    except OSError as error:
        print(error, end="")
"""


class Master(NamedTuple):
    """A network namespace with an address, and a directory with settings, keys and data."""

    address: str
    namespace: str
    directory: Path
    package: Path

    def environment(self) -> dict[str, str]:
        return {
            "PATH": PATH,
            "DETECT_IP": str(self.directory / "detect_ip"),
            "ETCD_ENV": str(self.directory / "etcd.env"),
            **self.settings(),
        }

    def settings(self) -> dict[str, str]:
        lines = (self.directory / "etcd.env").read_text().splitlines()
        return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}

    def change(self, **settings: str) -> None:
        changed = {**self.settings(), **{f"ETCD_{name}": value for name, value in settings.items()}}
        (self.directory / "etcd.env").write_text("".join(f'{name}="{value}"\n' for name, value in changed.items()))

    def start(self) -> "subprocess.Popen[str]":
        log = (self.directory / "log").open("a")
        commands = 'bin=$0/bin; $bin/etcd-discovery join-cluster && { $bin/etcd-discovery settle & exec "$0/etcd.sh"; }'
        command = ["ip", "netns", "exec", self.namespace, "bash", "-c", commands, str(self.package)]
        return subprocess.Popen(
            command, env=self.environment(), stderr=log, stdout=log, text=True, start_new_session=True
        )

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )

    def check(self) -> "subprocess.CompletedProcess[str]":
        return self.run(str(self.package / "check/etcd"))

    def etcdctl(self, *arguments: str, certificate: str = "client") -> "subprocess.CompletedProcess[str]":
        keys = self.directory / "pki"
        tls = self.settings()["ETCD_TLS"] == "true"
        secured = [f"--cacert={keys}/ca.crt", f"--cert={keys}/{certificate}.crt", f"--key={keys}/{certificate}.key"]
        if tls:
            secured.append(f"--user=root:{(keys / 'etcd-root-password').read_text().strip()}")
        endpoint = f"--endpoints={'https' if tls else 'http'}://127.0.0.1:2379"
        return self.run(
            str(self.package / "bin/etcdctl"), endpoint, "--command-timeout=3s", *(secured if tls else []), *arguments
        )

    def connect(self, port: int, certificate: str, version: str) -> str:
        """The status that a request over one version of TLS gets, or why there is none."""
        return self.run(
            sys.executable, "-c", _CONNECT, str(self.directory / "pki"), certificate, str(port), version
        ).stdout

    def healthy(self) -> None:
        end = time.monotonic() + DEADLINE
        while (done := self.check()).returncode:
            assert time.monotonic() < end, done.stderr + (self.directory / "log").read_text()[-2000:]
            time.sleep(0.2)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[str, ...]]:
    """Three namespaces on one bridge; the bridge has a namespace of its own."""
    names = tuple(f"etcdpkg{os.getpid()}-{index}" for index in range(4))
    hub, nodes = names[0], names[1:]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", hub, "link", "add", "br0", "type", "bridge")
        ip("-n", hub, "link", "set", "br0", "up")
        for index, (name, address) in enumerate(zip(nodes, ADDRESSES, strict=True)):
            ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"v{index}", "netns", hub)
            ip("-n", hub, "link", "set", f"v{index}", "master", "br0", "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        yield nodes
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("authority") / "pki"
    pki.apply(directory, pki.plan_init(directory, ADDRESSES, ()))
    return directory


@pytest.fixture
def masters(network: tuple[str, ...], keys: Path, extracted: Extracted, tmp_path: Path) -> list[Master]:
    """Three masters with TLS, nothing running."""
    extracted("python")  # which discovery runs under, beside it
    found = []
    for address, namespace in zip(ADDRESSES, network, strict=True):
        directory = tmp_path / address
        directory.mkdir()
        shutil.copytree(keys / "nodes" / address, directory / "pki")
        (directory / "detect_ip").write_text(f"#!/bin/sh\necho {address}\n")
        (directory / "detect_ip").chmod(0o755)
        (directory / "etcd.env").write_text("")
        master = Master(address, namespace, directory, extracted("etcd"))
        master.change(
            DISCOVERY="static",
            MASTERS=" ".join(ADDRESSES),
            TLS="true",
            PKI_DIR=str(directory / "pki"),
            DATA_DIR=str(directory / "default.etcd"),
            CLIENT_PORT="2379",
            PEER_PORT="2380",
            METRICS_URL="http://127.0.0.1:2381",
        )
        found.append(master)
    return found


@pytest.fixture
def running() -> Iterator[list["subprocess.Popen[str]"]]:
    """Processes that end with the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # settling runs in the group, too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_three_masters_form_a_cluster_and_a_restart_needs_no_list(
    masters: list[Master], running: list["subprocess.Popen[str]"]
) -> None:
    running += [master.start() for master in masters]
    for master in masters:
        master.healthy()
    eventually(lambda: masters[0].etcdctl("put", "/calico/x", "1").returncode == 0)
    eventually(lambda: all(master.etcdctl("get", "/calico/x").returncode == 0 for master in masters))
    assert masters[2].etcdctl("get", "/calico/x").stdout == "/calico/x\n1\n"
    members = json.loads(masters[1].etcdctl("member", "list", "-w", "json").stdout)["members"]
    assert {member["name"] for member in members} == {f"etcd-{address}" for address in ADDRESSES}

    running[0].terminate()
    running[0].wait()
    masters[0].change(MASTERS="192.0.2.1")
    running.append(masters[0].start())
    masters[0].healthy()
    assert masters[0].etcdctl("get", "/calico/x").stdout == "/calico/x\n1\n"


def test_without_a_quorum_the_check_fails(masters: list[Master], running: list["subprocess.Popen[str]"]) -> None:
    running += [master.start() for master in masters]
    for master in masters:
        master.healthy()
    eventually(lambda: all(master.etcdctl("get", "/x").returncode == 0 for master in masters))
    for process in running[1:]:
        process.kill()
        process.wait()
    end = time.monotonic() + DEADLINE
    while (done := masters[0].check()).returncode == 0:
        assert time.monotonic() < end
        time.sleep(0.3)
    assert "/health says" in done.stderr


def test_only_certificates_of_the_authority_open_the_ports(
    masters: list[Master], running: list["subprocess.Popen[str]"], tmp_path: Path
) -> None:
    alone = masters[0]
    alone.change(MASTERS=alone.address)
    running.append(alone.start())
    alone.healthy()
    assert alone.etcdctl("endpoint", "health").returncode == 0
    stranger = tmp_path / "stranger"
    pki.apply(stranger, pki.plan_init(stranger, [alone.address], ()))
    for name in ("client.crt", "client.key"):
        shutil.copy(stranger / "nodes" / alone.address / name, alone.directory / "pki" / f"stranger.{name[-3:]}")
    assert alone.etcdctl("get", "/", certificate="stranger").returncode != 0
    # A member's port wants a member's certificate: a client's, of the same authority, is turned away.
    assert alone.connect(2380, "peer", "TLSv1_2") == "200"
    assert alone.connect(2380, "client", "TLSv1_2") != "200"


def test_nothing_older_than_tls_1_2(masters: list[Master], running: list["subprocess.Popen[str]"]) -> None:
    alone = masters[0]
    alone.change(MASTERS=alone.address)
    running.append(alone.start())
    alone.healthy()
    for port, name in ((2379, "client"), (2380, "peer")):
        assert alone.connect(port, name, "TLSv1_2") == "200"
        assert "ALERT_PROTOCOL_VERSION" in alone.connect(port, name, "TLSv1_1")


def test_plain_http_when_it_is_chosen(masters: list[Master], running: list["subprocess.Popen[str]"]) -> None:
    alone = masters[0]
    alone.change(MASTERS=alone.address, TLS="false", PKI_DIR="/nowhere")
    running.append(alone.start())
    alone.healthy()
    assert alone.check().stdout == "etcd: healthy\n"
    assert alone.etcdctl("put", "a", "b").stdout == "OK\n"


def test_none_of_our_settings_reaches_etcd(masters: list[Master], running: list["subprocess.Popen[str]"]) -> None:
    """etcd takes ETCD_DISCOVERY for the address of a discovery service."""
    alone = masters[0]
    alone.change(MASTERS=alone.address)
    running.append(alone.start())
    alone.healthy()
    log = (alone.directory / "log").read_text()
    assert "unrecognized environment variable" not in log


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"TLS": "yes"}, "ETCD_TLS is 'yes'; it is true or false"),
        ({"TLS": ""}, "ETCD_TLS is not set"),
        ({"DISCOVERY": "dns"}, "ETCD_DISCOVERY is 'dns'; it is static or zookeeper"),
        ({"MASTERS": "192.0.2.1 192.0.2.2"}, "this node is 10.77.0.1, and no master of the list (192.0.2.1"),
        ({"PKI_DIR": "/nowhere"}, "/nowhere/ca.crt cannot be read; run dcos_install.sh with --pki"),
    ],
)
def test_settings_that_cannot_work_are_one_line(masters: list[Master], settings: dict[str, str], message: str) -> None:
    master = masters[0]
    master.change(**settings)
    done = master.run("bash", "-c", '"$0/bin/etcd-discovery" join-cluster && exec "$0/etcd.sh"', str(master.package))
    lines = [line for line in done.stderr.splitlines() if "this master founds" not in line]
    assert done.returncode == 1
    assert message in done.stderr
    assert len(lines) == 1
    assert not (master.directory / "default.etcd").exists()


@pytest.mark.parametrize("printed", ["", "localhost", "10.77.0.1 10.0.0.1", "fe80::1"])
def test_an_address_that_is_none(masters: list[Master], printed: str) -> None:
    (masters[0].directory / "detect_ip").write_text(f"#!/bin/sh\necho '{printed}'\n")
    done = masters[0].run(str(masters[0].package / "etcd.sh"))
    assert (done.returncode, "is not an IPv4 address" in done.stderr) == (1, True)


def test_the_check_says_that_nothing_answers(masters: list[Master]) -> None:
    done = masters[0].check()
    assert (done.returncode, "nothing answers at http://127.0.0.1:2381" in done.stderr) == (1, True)
    assert len(done.stderr.splitlines()) == 1


def test_the_check_passes_where_etcd_is_not_configured(masters: list[Master]) -> None:
    (masters[0].directory / "etcd.env").unlink()
    environment = {"PATH": PATH, "ETCD_ENV": str(masters[0].directory / "etcd.env")}
    done = subprocess.run([masters[0].package / "check/etcd"], env=environment, capture_output=True, check=False)
    assert done.returncode == 0
