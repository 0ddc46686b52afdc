"""Masters as network namespaces: the package's own commands and launcher, under a stand-in for systemd's unit.

`systemctl` is first on a master's PATH and knows the one unit: start runs discovery, etcd and settling again and
again, as Restart=always does; stop ends all of it. Needs root; what it started is in a
process group whose leader it remembers.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gen import pki
from tests.servers.network import Network

DEADLINE = 40.0

_UNIT = """#!/bin/bash
# What dcos-etcd.service does: ExecStartPre, ExecStart, ExecStartPost, Restart=always.
exec >>{directory}/log 2>&1
while :; do
    if {package}/bin/etcd-discovery join-cluster; then
        {package}/bin/etcd-discovery settle & settle=$!
        {package}/etcd.sh
        kill $settle 2>/dev/null; wait
    fi
    sleep 0.2
done
"""

_SYSTEMCTL = """#!/bin/bash
verb=$1
runs() {{ [ -e {directory}/pid ] && [ -n "$(pgrep -g "$(<{directory}/pid)" -r S,R,D)" ]; }}
case $verb in
is-active) if runs; then echo active; else echo inactive; exit 3; fi ;;
start) runs || {{ setsid {directory}/unit </dev/null & echo $! >{directory}/pid; }} ;;
stop) if runs; then kill -TERM -- "-$(<{directory}/pid)"; while runs; do sleep 0.05; done; fi ;;
*) echo "systemctl: $verb?" >&2; exit 1 ;;
esac
"""


class Master:
    """One master: an address, a namespace, and a directory with its settings, keys, state and log."""

    def __init__(self, address: str, prefix: Sequence[str], directory: Path, package: Path) -> None:
        self.address, self.directory, self.package = address, directory, package
        self._prefix = prefix
        self.state = directory / "etcd"
        self.data = self.state / "default.etcd"
        self.state.mkdir(parents=True)
        self._program("unit", _UNIT)
        (directory / "bin").mkdir()
        self._program("bin/systemctl", _SYSTEMCTL)
        self._program("detect_ip", f"#!/bin/sh\necho {address}\n")

    def configure(self, masters: Iterable[str], **settings: str) -> None:
        """Write etcd.env."""
        values = {
            "DISCOVERY": "static",
            "MASTERS": " ".join(masters),
            "TLS": "true",
            "PKI_DIR": str(self.directory / "pki"),
            "DATA_DIR": str(self.data),
            "CLIENT_PORT": "2379",
            "PEER_PORT": "2380",
            "METRICS_URL": "http://127.0.0.1:2381",
            **settings,
        }
        text = "".join(f'ETCD_{name}="{value}"\n' for name, value in values.items())
        (self.directory / "etcd.env").write_text(text)

    def start(self) -> None:
        """Start the unit, without waiting."""
        self.run("systemctl", "start", "dcos-etcd")

    def stop(self) -> None:
        """Stop it and wait."""
        self.run("systemctl", "stop", "dcos-etcd")

    def kill(self) -> None:
        """End all of it at once, as a crash would."""
        pid = self.directory / "pid"
        if pid.exists():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(pid.read_text()), signal.SIGKILL)
            self.run("systemctl", "stop", "dcos-etcd")

    def wipe(self) -> None:
        """Lose the whole state directory."""
        shutil.rmtree(self.state)
        self.state.mkdir()

    def run(self, *command: str, timeout: float = 60, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command here."""
        return subprocess.run(
            [*self._prefix, *command],
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def tool(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run dcos-etcdctl."""
        return self.run(str(self.package / "bin/dcos-etcdctl"), *arguments)

    def etcdctl(self, *arguments: str, user: str = "root", stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run etcdctl against this master; as nobody with user=""."""
        keys = self.directory / "pki"
        command = [
            str(self.package / "bin/etcdctl"),
            f"--endpoints=https://{self.address}:2379",
            "--command-timeout=5s",
        ]
        command += [f"--cacert={keys}/ca.crt", f"--cert={keys}/client.crt", f"--key={keys}/client.key"]
        if user:
            secret = "etcd-root-password" if user == "root" else "etcd-password"
            command.append(f"--user={user}:{(keys / secret).read_text().strip()}")
        return self.run(*command, *arguments, stdin=stdin)

    def put(self, key: str, value: str) -> None:
        """Write a key; it must succeed."""
        done = self.etcdctl("put", key, value)
        assert done.returncode == 0, done.stderr

    def everything(self) -> dict[str, str]:
        """Every key and value, through a majority."""
        done = self.etcdctl("get", "", "--prefix", "-w", "json")
        assert done.returncode == 0, done.stderr
        return {each["key"]: each.get("value", "") for each in json.loads(done.stdout).get("kvs", [])}

    def members(self) -> list[dict[str, Any]]:
        """The members, as etcd lists them."""
        done = self.etcdctl("member", "list", "-w", "json", user="")
        members: list[dict[str, Any]] = json.loads(done.stdout)["members"] if done.returncode == 0 else []
        return members

    def log(self) -> str:
        """The end of the unit's log."""
        path = self.directory / "log"
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    def said(self) -> str:
        """What discovery said."""
        path = self.directory / "log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(line for line in lines if line.startswith(("etcd-discovery", "etcd.sh")))

    def _environment(self) -> dict[str, str]:
        settings = self.directory / "etcd.env"
        pairs = (line.partition("=") for line in settings.read_text().splitlines()) if settings.exists() else ()
        return {
            "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
            "DETECT_IP": str(self.directory / "detect_ip"),
            "ETCD_ENV": str(settings),
            "DCOS_ETCD_ZK_CREDENTIALS": str(self.directory / "zk-creds"),
            **{name: value.strip('"') for name, _, value in pairs},
        }

    def _program(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text.format(directory=self.directory, package=self.package) if "{" in text else text)
        path.chmod(0o755)


class Site:
    """Masters of one network and one authority."""

    def __init__(self, directory: Path, package: Path, network: Network, authority: Path) -> None:
        self._directory, self._package, self._network, self._authority = directory, package, network, authority
        self.all: list[Master] = []

    def masters(self, *hosts: str, **settings: str) -> list[Master]:
        """A configured master for each host, nothing running."""
        addresses = [self._network.address(host) for host in hosts]
        found = [self.master(host) for host in hosts]
        for master in found:
            master.configure(addresses, **settings)
        return found

    def master(self, host: str) -> Master:
        """A master without settings."""
        address = self._network.address(host)
        master = Master(address, self._network.prefix(host), self._directory / host, self._package)
        shutil.copytree(self._authority / "nodes" / address, master.directory / "pki")
        self.all.append(master)
        return master

    def renew(self) -> None:
        """Renew every certificate and place it, one file after another, as dcos_install.sh does."""
        pki.apply(self._authority, pki.plan_renew(self._authority, ()))
        for master in self.all:
            for path in sorted((self._authority / "nodes" / master.address).iterdir()):
                new = master.directory / "pki" / f".{path.name}.new"
                shutil.copy(path, new)
                new.rename(master.directory / "pki" / path.name)

    def close(self) -> None:
        """End what runs."""
        for master in self.all:
            master.kill()


def eventually(holds: Callable[[], bool], masters: Iterable[Master], seconds: float = DEADLINE) -> None:
    """Wait until it holds; AssertionError with what discovery said where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(
                "\n\n".join(f"{each.address}:\n{each.said()}\n{each.log()[-1500:]}" for each in masters)
            )
        time.sleep(0.2)


def formed(masters: Sequence[Master]) -> None:
    """Wait until these, and no others, are members with a vote, users are on, and each answers a read."""

    def holds() -> bool:
        wanted = {f"etcd-{master.address}" for master in masters}
        for master in masters:
            members = master.members()
            if {each.get("name") for each in members} != wanted or any(each.get("isLearner") for each in members):
                return False
            if "permission denied" not in master.etcdctl("get", "x", user="").stderr:
                return False
            if master.etcdctl("get", "x").returncode:
                return False
        return True

    eventually(holds, masters)
