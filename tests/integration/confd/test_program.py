"""calico-confd as a process: a real etcd, a real BIRD; once, for show, for ever, killed between any two steps."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico.model.keys import AffinityKey, ResourceKey
from tests.integration.confd.site import Site
from tests.servers.bird import Bird, wait_for
from tests.servers.etcd import Cluster, local_cluster

pytestmark = pytest.mark.root

EXTRA = Path(__file__).resolve().parents[3] / "packages/calico/extra"
EMPTY = "router id 127.0.0.1;\nprotocol device {}\n"


class Confd:
    """Runs calico-confd of node `a` with its files in `directory`."""

    def __init__(self, etcd: Cluster, bird: Bird, directory: Path) -> None:
        self.etcd, self.bird, self.directory = etcd, bird, directory
        self.command = [sys.executable, str(EXTRA / "run.py"), "calico.confd.cli", "--config", str(bird.config)]
        self.command += ["--socket", bird.socket, "--bird", bird.program, "--passwords", str(directory / "passwords")]
        inherited = {name: value for name, value in os.environ.items() if "ETCD" not in name}
        self.environment = {**inherited, "ETCD_ENDPOINTS": etcd.urls[0], "NODENAME": "a"}

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.command, *words],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            cwd=self.directory,
            timeout=60,
        )

    def put(self, kind: str, name: str, spec: dict[str, object]) -> None:
        document = {"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": {"name": name}, "spec": spec}
        self.etcd.ctl("put", ResourceKey(kind, name).path, stdin=json.dumps(document))

    @property
    def text(self) -> str:
        return self.bird.config.read_text()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = local_cluster(tmp_path_factory.mktemp("etcd"))
    yield cluster
    cluster.stop()


@pytest.fixture
def confd(etcd: Cluster, tmp_path: Path) -> Iterator[Confd]:
    etcd.ctl("del", "--prefix", "/calico/")
    site = Site()
    found = Confd(etcd, Bird(tmp_path / "bird", site.prefix("a")), tmp_path)
    try:
        site.add_host("a", 1)
        found.bird.config.write_text(EMPTY)
        found.put("Node", "a", {"bgp": {"ipv4Address": "10.80.0.1/24"}})
        found.put("IPPool", "p", {"cidr": "10.65.0.0/16"})
        found.put("BGPPeer", "router", {"peerIP": "10.80.0.20", "asNumber": 65001})
        etcd.ctl("put", AffinityKey("a", "10.65.1.0/26").path, '{"state":"confirmed"}')
        yield found
    finally:
        found.bird.kill()
        site.remove()


def test_once(confd: Confd) -> None:
    """Written, loaded by the BIRD that runs, and nothing the second time; a BIRD that is away is said."""
    confd.bird.start()
    done = confd("--onetime")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert list(confd.bird.sessions()) == ["Global_10_80_0_20"]
    before = confd.bird.config.stat()
    assert oct(before.st_mode & 0o777) == "0o600"
    assert confd("-onetime").returncode == 0
    after = confd.bird.config.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "not touched"
    assert [path.name for path in confd.bird.config.parent.glob("bird.cfg*")] == ["bird.cfg"]

    confd.bird.kill()
    confd.put("BGPPeer", "second", {"peerIP": "10.80.0.21", "asNumber": 65001})
    done = confd("--onetime")
    assert done.returncode == 3
    assert "BIRD is not running" in done.stderr
    assert "systemctl status dcos-calico-bird" in done.stderr
    assert "10.80.0.21" in confd.text, "BIRD will start with it"


def test_what_is_wrong_is_said_and_the_rest_is_done(confd: Confd) -> None:
    confd.bird.start()
    confd.put("BGPPeer", "empty", {"peerIP": "", "asNumber": 65001})
    confd.put("BGPPeer", "huge", {"peerIP": "10.80.0.22", "asNumber": 4294967296})
    confd.put("BGPPeer", "other", {"peerIP": "10.80.0.20", "asNumber": 65002})
    confd.put("BGPPeer", "secret", {"peerIP": "10.80.0.23", "asNumber": 65001, "passwordFile": "none"})
    done = confd("--onetime")
    assert done.returncode == 1
    for words in ("BGPPeer(empty)", "bgppeers/huge", "BGPPeer(other)", "BGPPeer(secret)"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(confd.bird.sessions()) == ["Global_10_80_0_20"]
    assert confd.bird.networks("protocol static4") == {"10.65.1.0/26"}


def test_for_show(confd: Confd) -> None:
    """Nothing is changed, and no password is printed."""
    passwords = confd.directory / "passwords"
    passwords.mkdir()
    (passwords / "f").write_text("hunter2")
    (passwords / "f").chmod(0o600)
    confd.put("BGPPeer", "router", {"peerIP": "10.80.0.20", "asNumber": 65001, "passwordFile": "f"})
    done = confd("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "neighbor 10.80.0.20 as 65001;" in done.stdout
    assert 'password "***";' in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert confd.text == EMPTY


def test_an_environment_it_cannot_start_in(confd: Confd) -> None:
    confd.environment["ETCD_ENDPOINTS"] = "http://127.0.0.1:1"
    done = confd("--onetime", "--patience", "2")
    assert (done.returncode, confd.text) == (3, EMPTY)
    assert "the datastore could not be read, nothing was changed" in done.stderr
    del confd.environment["ETCD_ENDPOINTS"]
    assert confd("--onetime").returncode == 1
    confd.environment |= {"ETCD_ENDPOINTS": "http://127.0.0.1:1", "NODENAME": ""}
    assert confd("--onetime").returncode == 1
    assert confd("--nonsense").returncode == 2


def test_a_configuration_bird_refuses_stays_out(confd: Confd) -> None:
    liar = confd.directory / "liar"
    liar.write_text('#!/bin/sh\necho "$4: this is no configuration" >&2\nexit 1\n')
    liar.chmod(0o755)
    confd.command += ["--bird", str(liar)]
    done = confd("--onetime")
    assert done.returncode == 3
    assert "BIRD refuses the new configuration, the old one stays" in done.stderr
    assert "this is no configuration" in done.stderr
    assert confd.text == EMPTY
    assert not list(confd.bird.config.parent.glob("*.staged"))


def test_a_bird_that_reads_another_file(confd: Confd, tmp_path: Path) -> None:
    confd.bird.start()
    mine = tmp_path / "mine.cfg"
    mine.write_text(EMPTY)
    confd.command += ["--config", str(mine)]
    done = confd("--onetime")
    assert done.returncode == 3
    assert f"BIRD reads its configuration from {confd.bird.config}, not from {mine}" in done.stderr


class Running:
    """calico-confd for ever, as its unit starts it: it tells `manager` what it tells systemd."""

    def __init__(self, confd: Confd) -> None:
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = str(confd.directory / "notify")
        Path(address).unlink(missing_ok=True)
        self.manager.bind(address)
        self.manager.settimeout(30)
        self.said: list[str] = []
        self.port = free_port()
        environment = {**confd.environment, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}
        command = [*confd.command, "--metrics-port", str(self.port)]
        with (confd.directory / "confd.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def wait_said(self, words: str) -> str:
        """The first message with these words, of those already said or to come."""
        while not (found := [one for one in self.said if words in one]):
            self.said.append(self.manager.recv(65536).decode())
        return found[0]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", None, 10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.manager.close()
        return code


def free_port() -> int:
    with socket.socket() as handle:
        handle.bind(("127.0.0.1", 0))
        return int(handle.getsockname()[1])


def test_for_ever(confd: Confd) -> None:
    """What systemd, Prometheus and the log are told, from a start without BIRD to an end that takes nothing away."""
    running = Running(confd)
    try:
        running.wait_said("READY=1")
        running.wait_said("WATCHDOG=1")
        status = running.wait_said("BIRD is not ready")
        assert "systemctl status dcos-calico-bird" in status
        assert running.get("/readiness")[0] == 503
        assert running.get("/liveness")[0] == 204
        confd.bird.start()
        running.wait_said("0 of 1 sessions established; 10.80.0.20 ")
        assert running.get("/readiness")[0] == 204
        code, text = running.get("/metrics")
        assert code == 200
        assert "calico_bird_up 1" in text
        assert 'calico_bgp_session_up{peer="10.80.0.20",type="global"} 0' in text

        confd.put("BGPPeer", "second", {"peerIP": "10.80.0.21", "asNumber": 65001})
        wait_for(lambda: "Global_10_80_0_21" in confd.bird.sessions(), "the second peer")
        confd.bird.config.write_text(EMPTY)
        wait_for(lambda: "10.80.0.21" in confd.text, "a file edited by hand to be put right")
        confd.put("BGPPeer", "second", {"peerIP": "", "asNumber": 65001})
        running.wait_said("1 problems, see the log")

        confd.bird.kill()
        running.said.clear()
        running.wait_said("BIRD is not ready")
        confd.bird.start()
        running.said.clear()
        running.wait_said("0 of 1 sessions established")
        before = confd.text
        running.said.clear()
        assert running.kill(signal.SIGTERM) == 0
        assert confd.text == before
        assert confd.bird.sessions(), "BIRD goes on"
    finally:
        if running.process.poll() is None:
            running.kill()
    assert "Traceback" not in (confd.directory / "confd.log").read_text()


def test_killed_between_writing_and_reloading(confd: Confd) -> None:
    """The next one has BIRD read what the killed one wrote."""
    confd.bird.start()
    confd("--onetime")
    confd.bird.configure(EMPTY)
    assert not confd.bird.sessions()
    confd.bird.config.write_text(confd("--dry-run").stdout)  # as if written by one that was killed then
    assert not confd.bird.sessions()
    running = Running(confd)
    try:
        wait_for(lambda: list(confd.bird.sessions()) == ["Global_10_80_0_20"], "BIRD to be told")
    finally:
        running.kill()


def test_killed_at_any_moment_the_file_is_whole(confd: Confd) -> None:
    """Two configurations in turn, a kill in between: `bird -p` takes whatever there is."""
    rounds = 40 if os.environ.get("DCOS_CALICO_SOAK") else 6
    for turn in range(rounds):
        confd.put("BGPPeer", "router", {"peerIP": f"10.80.0.{20 + turn % 2}", "asNumber": 65001})
        running = subprocess.Popen([*confd.command], env=confd.environment, stderr=subprocess.DEVNULL)
        try:
            running.wait(0.25 + 0.02 * turn)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait(20)
        checked = subprocess.run([confd.bird.program, "-p", "-c", str(confd.bird.config)], check=False)
        assert checked.returncode == 0
