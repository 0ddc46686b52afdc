"""etcd for tests: one member or several, with or without TLS and users, each a process of ours on a loopback address.

A `Cluster` hands out addresses of 127.0.0.0/8 at random, so that several test runs share a machine. Members keep their
data across `kill` and `start`.
"""

import itertools
import os
import random
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.servers import debian
from tests.servers.certificates import Authority

_DEADLINE = 20.0
USER, PASSWORD = "calico", "not a secret"


def program(name: str) -> str:
    """The path of Debian's `etcd` or `etcdctl`."""
    return str(debian.unpacked("etcd-server", "etcd-client") / "usr/bin" / name)


def loopback(count: int) -> list[str]:
    """`count` neighbouring loopback addresses on which nothing listens at etcd's ports."""
    while True:
        network = f"127.{random.randint(10, 250)}.{random.randint(1, 250)}"
        addresses = [f"{network}.{index + 1}" for index in range(count)]
        if all(_is_free(address, port) for address in addresses for port in (2379, 2380)):
            return addresses


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


class Place(NamedTuple):
    """Where a member runs: its address, and the words before its command line (`ip netns exec x`)."""

    address: str
    prefix: tuple[str, ...] = ()


class Member:
    """One etcd process. `kill` is SIGKILL; `pause` and `resume` stop and continue it without closing a connection."""

    def __init__(self, name: str, place: Place, directory: Path, arguments: Sequence[str]) -> None:
        self.name, self.place = name, place
        # It must not outlive a test run that is killed.
        self._arguments = [*place.prefix, "setpriv", "--pdeathsig", "KILL", program("etcd"), *arguments]
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; it is not waited for."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._arguments, stdout=log, stderr=log, env=environment)

    def pause(self) -> None:
        """Stop it in its tracks: its connections stay open and nothing answers on them."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused member go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_DEADLINE)
            self._process = None

    def restart(self) -> None:
        """Kill and start it."""
        self.kill()
        self.start()

    def log(self) -> str:
        """The last lines of its log, for a failing test."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        self._process.send_signal(number)


class Cluster:
    """A started etcd cluster. `secure` turns on TLS with client certificates, and users.

    With `secure`, clients need `pki/ca.crt`, `pki/client.crt`, `pki/client.key` and `password` (a file) below
    `directory`; `USER` may read and write below /calico/ only.
    """

    def __init__(self, directory: Path, places: Sequence[Place], *, secure: bool = False, options: Sequence[str] = ()):
        self.directory, self.secure = directory, secure
        self.scheme = "https" if secure else "http"
        self._places, self._options = places, options
        self.authority = Authority(directory / "pki")
        self.authority.issue("client")  # no common name: etcd's gateway would refuse it
        self.authority.issue("server", tuple(place.address for place in places))
        (directory / "password").write_text(PASSWORD + "\n")
        (directory / "password").chmod(0o600)
        self.members = [self._member(index, place) for index, place in enumerate(places)]

    @property
    def urls(self) -> list[str]:
        """What clients connect to, in the order of `members`."""
        return [f"{self.scheme}://{place.address}:2379" for place in self._places]

    def start(self) -> "Cluster":
        """Start every member, wait until all serve, and make the users of a secure cluster."""
        for member in self.members:
            member.start()
        self.wait()
        if self.secure:
            self._enable_users()
        return self

    def stop(self) -> None:
        """End every member."""
        for member in self.members:
            member.kill()

    def wait(self, members: Sequence[Member] | None = None) -> None:
        """Return when `members` (all) serve reads that need a quorum; raise TimeoutError with their logs when not."""
        until = time.monotonic() + _DEADLINE
        for member in self.members if members is None else members:
            while not self._serves(member):
                if time.monotonic() > until:
                    raise TimeoutError(f"{member.name} does not serve:\n{member.log()}")
                time.sleep(0.05)

    def wait_for_port(self, index: int) -> None:
        """Return when member `index` takes connections, without asking it anything."""
        until = time.monotonic() + _DEADLINE
        while True:
            try:
                socket.create_connection((self._places[index].address, 2379), 1).close()
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def ctl(self, *arguments: str, user: str = "", stdin: str = "") -> str:
        """Run etcdctl at the first member against all of them."""
        return self.ctl_at(0, self.urls, *arguments, user=user, stdin=stdin)

    def ctl_at(self, index: int, endpoints: Sequence[str], *arguments: str, user: str = "", stdin: str = "") -> str:
        """Run etcdctl where member `index` runs, against `endpoints`; its output, or RuntimeError."""
        place = self._places[index]
        command = [*place.prefix, program("etcdctl"), f"--endpoints={','.join(endpoints)}", *self._tls_of_ctl()]
        command += [f"--user={user}"] if user else []
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ETCDCTL_API": "3"},
            timeout=_DEADLINE,
        )
        if done.returncode:
            raise RuntimeError(f"etcdctl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def root(self, *arguments: str, stdin: str = "") -> str:
        """Run etcdctl with every right."""
        return self.ctl(*arguments, user=f"root:{PASSWORD}" if self.secure else "", stdin=stdin)

    def _tls_of_ctl(self) -> list[str]:
        if not self.secure:
            return []
        pki = self.directory / "pki"
        return [f"--cacert={pki}/ca.crt", f"--cert={pki}/client.crt", f"--key={pki}/client.key"]

    def _member(self, index: int, place: Place) -> Member:
        name, pki = f"m{index}", self.directory / "pki"
        peers = ",".join(f"m{number}=http://{other.address}:2380" for number, other in enumerate(self._places))
        client, peer = f"{self.scheme}://{place.address}:2379", f"http://{place.address}:2380"
        arguments = [
            f"--name={name}",
            f"--data-dir={self.directory}/{name}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={peers}",
            "--heartbeat-interval=50",
            "--election-timeout=500",
            "--logger=zap",
            "--log-level=error",
            *self._options,
        ]
        if self.secure:
            arguments += [f"--cert-file={pki}/server.crt", f"--key-file={pki}/server.key"]
            arguments += ["--client-cert-auth", f"--trusted-ca-file={pki}/ca.crt"]
        return Member(name, place, self.directory, arguments)

    def _serves(self, member: Member) -> bool:
        index = self.members.index(member)
        url = self.urls[index]
        try:
            if member.place.prefix:
                self.ctl_at(index, [url], "endpoint", "health")
            else:
                urllib.request.urlopen(f"{url}/health", None, 1, context=self._tls()).close()
        except (RuntimeError, OSError):  # URLError is an OSError
            return False
        return True

    def _tls(self) -> ssl.SSLContext | None:
        if not self.secure:
            return None
        pki = self.directory / "pki"
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "client.crt", pki / "client.key")
        return context

    def _enable_users(self) -> None:
        for command in (
            ("user", "add", f"root:{PASSWORD}"),
            ("user", "grant-role", "root", "root"),
            ("role", "add", USER),
            ("role", "grant-permission", USER, "readwrite", "--prefix=true", "/calico/"),
            ("user", "add", f"{USER}:{PASSWORD}"),
            ("user", "grant-role", USER, USER),
            ("auth", "enable"),
        ):
            self.ctl(*command)


_numbers = itertools.count(1)


def local_cluster(directory: Path, size: int = 1, *, secure: bool = False, options: Sequence[str] = ()) -> Cluster:
    """A started cluster of `size` members on loopback addresses, with its files below `directory`."""
    home = directory / f"etcd-{next(_numbers)}"
    home.mkdir(parents=True)
    places = [Place(address) for address in loopback(size)]
    return Cluster(home, places, secure=secure, options=options).start()
