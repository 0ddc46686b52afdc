"""The settings of a master's etcd (etc/etcd/etcd.env), and who this node is."""

import ipaddress
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dcos_etcd.errors import EtcdError

SETTINGS_FILE = "/opt/mesosphere/etc/etcd/etcd.env"
DETECT_IP = "/opt/mesosphere/bin/detect_ip"


class Settings(NamedTuple):
    """etcd.env, and this node's address."""

    address: str
    discovery: str
    masters: tuple[str, ...]
    zk_addr: str
    tls: bool
    pki: Path
    data: Path
    client_port: int
    peer_port: int
    metrics_url: str

    @property
    def name(self) -> str:
        """This node's name as a member."""
        return member_name(self.address)

    @property
    def peer_url(self) -> str:
        """Where the other members reach this one."""
        return self.peer_url_of(self.address)

    @property
    def state(self) -> Path:
        """The state directory: beside the data stand `initial-nodes`, `initial-state` and `member.json`."""
        return self.data.parent

    def peer_url_of(self, address: str) -> str:
        """Where members reach the master at `address`."""
        return f"{self._scheme}://{address}:{self.peer_port}"

    def client_url_of(self, address: str) -> str:
        """Where clients reach the master at `address`."""
        return f"{self._scheme}://{address}:{self.client_port}"

    @property
    def _scheme(self) -> str:
        return "https" if self.tls else "http"


def member_name(address: str) -> str:
    """The name of the member at `address`, as DC/OS has it."""
    return f"etcd-{address}"


def load_settings() -> Settings:
    """The settings of this node; $ETCD_ENV names another file, $DETECT_IP another program. Raises EtcdError."""
    path = Path(os.environ.get("ETCD_ENV", SETTINGS_FILE))
    try:
        values = parse_environment(path.read_text())
    except OSError as error:
        raise EtcdError(str(path), f"cannot be read: {error.strerror}", "is this a master?") from None
    return _settings(str(path), values)


def _settings(where: str, values: Mapping[str, str]) -> Settings:
    def get(name: str) -> str:
        if not values.get(f"ETCD_{name}"):
            raise EtcdError(where, f"ETCD_{name} is not set", "render and install the configuration again")
        return values[f"ETCD_{name}"]

    def choice(name: str, *choices: str) -> str:
        if get(name) not in choices:
            raise EtcdError(where, f"ETCD_{name} is '{get(name)}'; it is {' or '.join(choices)}")
        return get(name)

    def port(name: str) -> int:
        if not get(name).isdigit():
            raise EtcdError(where, f"ETCD_{name} is '{get(name)}', which is no port")
        return int(get(name))

    discovery = choice("DISCOVERY", "static", "zookeeper")
    return Settings(
        discovery=discovery,
        # With ZooKeeper the registry names the masters, and the list may be empty.
        masters=tuple((get("MASTERS") if discovery == "static" else values.get("ETCD_MASTERS", "")).split()),
        zk_addr=get("ZK_ADDR") if discovery == "zookeeper" else "",
        tls=choice("TLS", "true", "false") == "true",
        pki=Path(get("PKI_DIR")),
        data=Path(get("DATA_DIR")),
        client_port=port("CLIENT_PORT"),
        peer_port=port("PEER_PORT"),
        metrics_url=get("METRICS_URL"),
        address=_detect_ip(),
    )


def parse_environment(text: str) -> dict[str, str]:
    """NAME=value lines as systemd reads them, as far as gen writes them."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _detect_ip() -> str:
    program = os.environ.get("DETECT_IP", DETECT_IP)
    try:
        done = subprocess.run([program], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        raise EtcdError(program, "failed", "run it by hand to see why") from None
    try:
        return str(ipaddress.IPv4Address(done.stdout.strip()))
    except ValueError:
        raise EtcdError(program, f"printed '{done.stdout.strip()}', which is not an IPv4 address") from None
