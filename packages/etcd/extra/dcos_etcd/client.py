"""etcd asked and told through etcdctl, which is beside us in the package.

Passwords go by the environment, never by the command line. What needs no user is asked without one: a login is a write,
and a cluster that has lost its majority takes none.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from dcos_etcd.errors import EtcdError
from dcos_etcd.plan import Member, View
from dcos_etcd.settings import Settings

PACKAGE = Path(__file__).resolve().parents[4]
"""The package: this file is usr/lib/python/dcos_etcd/client.py in it."""

REFUSED = ("user name is empty", "permission denied")
"""What a read without a user says where users are on; it has reached a majority by then."""


class Status(NamedTuple):
    """What a member says of itself."""

    cluster_id: int
    member_id: int
    version: str
    revision: int
    leader: int
    is_learner: bool
    size: int


class Client:
    """etcdctl with this node's certificate; as `root` where users are on."""

    def __init__(self, settings: Settings, etcdctl: Path | None = None) -> None:
        self.settings = settings
        self._program = etcdctl or Path(os.environ.get("DCOS_ETCD_ETCDCTL", PACKAGE / "bin/etcdctl"))

    def run(
        self,
        address: str,
        *arguments: str,
        login: str = "",
        stdin: str = "",
        timeout: float = 5,
    ) -> str:
        """Run one command against the master at `address`; its output. EtcdError with etcd's own last line.

        `login` is `user:password`.
        """
        where = self.settings.client_url_of(address)
        return self._run([*self._flags(address, timeout), *arguments], where, timeout + 5, login, stdin)

    def offline(self, *arguments: str) -> str:
        """Run one command that asks no server; its output. EtcdError with etcd's own last line."""
        return self._run(list(arguments), " ".join(arguments[:2]), None)

    def _run(self, arguments: list[str], where: str, timeout: float | None, login: str = "", stdin: str = "") -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
        environment |= {"ETCDCTL_API": "3"} | ({"ETCDCTL_USER": login} if login else {})
        command = [str(self._program), *arguments]
        try:
            done = subprocess.run(
                command, input=stdin, env=environment, capture_output=True, text=True, check=False, timeout=timeout
            )
        except OSError as error:
            raise EtcdError(command[0], f"cannot be run: {error.strerror}", status=3) from None
        except subprocess.TimeoutExpired:
            raise EtcdError(where, "does not answer", status=3) from None
        if done.returncode:
            raise EtcdError(where, _reason(done.stderr), status=3)
        return done.stdout

    def root(self, address: str, *arguments: str, stdin: str = "", timeout: float = 5) -> str:
        """`run` with every right."""
        return self.run(address, *arguments, login=self.root_login(), stdin=stdin, timeout=timeout)

    def root_login(self) -> str:
        """root's name and password; nothing where TLS is off, and with it the users."""
        return f"root:{self.password('etcd-root-password')}" if self.settings.tls else ""

    def password(self, name: str) -> str:
        """A password of the node's pki directory."""
        path = self.settings.pki / name
        try:
            return path.read_text().strip()
        except OSError as error:
            hint = "run as root" if isinstance(error, PermissionError) else "run dcos_install.sh with --pki"
            raise EtcdError(str(path), f"cannot be read: {error.strerror}", hint) from None

    def status(self, address: str) -> Status:
        """What the member at `address` says of itself; EtcdError when it does not answer."""
        answer = json.loads(self.run(address, "endpoint", "status", "-w", "json", timeout=3))[0]["Status"]
        header = answer["header"]
        return Status(
            header["cluster_id"],
            header["member_id"],
            answer["version"],
            header.get("revision", 0),
            answer.get("leader", 0),
            answer.get("isLearner", False),
            answer.get("dbSize", 0),
        )

    def statuses(self, addresses: Sequence[str]) -> dict[str, Status | None]:
        """What each of them says of itself, asked at once; None from those that do not answer."""

        def ask(address: str) -> Status | None:
            try:
                return self.status(address)
            except EtcdError:
                return None

        with ThreadPoolExecutor(max(len(addresses), 1)) as pool:
            return dict(zip(addresses, pool.map(ask, addresses), strict=True))

    def members(self, address: str) -> tuple[int, tuple[Member, ...]]:
        """The cluster's id and its members, as the member at `address` knows them."""
        answer = json.loads(self.run(address, "member", "list", "-w", "json", timeout=3))
        return answer["header"]["cluster_id"], tuple(_member(each) for each in answer["members"])

    def has_quorum(self, address: str) -> bool:
        """Whether the member at `address` answers a read through a majority."""
        try:
            self.run(address, "get", "health", timeout=3)
        except EtcdError as error:
            return any(text in str(error) for text in REFUSED)
        return True

    def view(self, address: str) -> View | None:
        """What the master at `address` says; None from a learner, which may not speak for the cluster."""
        if self.status(address).is_learner:
            return None
        # First the majority, then the list: the list is then no older than the read.
        quorum = self.has_quorum(address)
        cluster_id, members = self.members(address)
        return View(address, cluster_id, members, quorum)

    def views(self, addresses: Sequence[str]) -> tuple[tuple[View, ...], frozenset[str]]:
        """What all of them say, asked at once, and those that do not answer."""
        silent = set()

        def ask(address: str) -> View | None:
            try:
                return self.view(address)
            except EtcdError:
                silent.add(address)
                return None

        if not addresses:
            return (), frozenset()
        with ThreadPoolExecutor(len(addresses)) as pool:
            found = tuple(view for view in pool.map(ask, addresses) if view)
        return found, frozenset(silent)

    def _flags(self, address: str, timeout: float) -> list[str]:
        flags = [f"--endpoints={self.settings.client_url_of(address)}", f"--command-timeout={timeout:.0f}s"]
        flags.append("--dial-timeout=2s")
        if self.settings.tls:
            pki = self.settings.pki
            flags += [f"--cacert={pki}/ca.crt", f"--cert={pki}/client.crt", f"--key={pki}/client.key"]
        return flags


def _member(entry: dict[str, Any]) -> Member:
    return Member(entry["ID"], entry.get("name", ""), entry["peerURLs"][0], entry.get("isLearner", False))


def _reason(stderr: str) -> str:
    """etcdctl's own error among the lines its client library logs."""
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("{")]
    return (lines[-1] if lines else "etcdctl failed").removeprefix("Error: ")
