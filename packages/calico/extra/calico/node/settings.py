"""What `calico-node` is told: upstream's variables, as calico-node.env has them, and what `detect_ip` prints."""

import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Interface, ip_interface
from pathlib import Path
from typing import NamedTuple

from calico.model import formats
from calico.node.autodetect import DetectionError, HostNetwork, detect, this_host

DETECT_IP = "/opt/mesosphere/bin/detect_ip"
STATE_DIRECTORY = Path("/var/lib/calico")
VERSION = "v3.14.0"
"""The version of Calico whose data model this is; it is written into ClusterInformation."""

_DETECT_TIMEOUT = 30.0
_MODES = {
    **dict.fromkeys(("", "off", "never"), "Never"),
    "always": "Always",
    **dict.fromkeys(("cross-subnet", "crosssubnet"), "CrossSubnet"),
}
_FALSE = frozenset(("false", "0", "no", "n", "f"))


class SettingsError(Exception):
    """A variable that cannot be used. The text names it, its value and what it may be."""


class Encapsulation(NamedTuple):
    """How packets between nodes are carried: upstream's modes of a pool, of which one at most is not Never."""

    ipip: str = "Never"
    vxlan: str = "Never"

    def __str__(self) -> str:
        named = [f"{name} {mode}" for name, mode in (("IPIP", self.ipip), ("VXLAN", self.vxlan)) if mode != "Never"]
        return ", ".join(named) or "none"


class PoolSettings(NamedTuple):
    """The default pool of a family. An empty CIDR leaves the choice to start-up."""

    cidr: str
    encapsulation: Encapsulation
    nat_outgoing: bool
    block_size: int
    node_selector: str


class NodeSettings(NamedTuple):
    """What start-up goes by. `address` is the node's, with a prefix; None leaves the one stored."""

    name: str
    address: IPv4Interface | None = None
    address6: str = ""
    as_number: int | None = None
    cluster_type: str = ""
    default_pools: bool = True
    pool4: PoolSettings = PoolSettings("", Encapsulation(), True, 26, "all()")
    pool6: PoolSettings | None = None
    check_addresses: bool = True
    state: Path = STATE_DIRECTORY
    nodename_file: Path = STATE_DIRECTORY / "nodename"


def detect_ip(environment: Mapping[str, str]) -> str:
    """What the cluster's detect_ip prints. Raise SettingsError when it fails or prints no IPv4 address."""
    program = environment.get("MESOS_IP_DISCOVERY_COMMAND") or DETECT_IP
    try:
        done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=_DETECT_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"{program}: {error}; run it by hand to see why") from None
    printed = done.stdout.strip()
    address = formats.parse_ip(printed)
    if done.returncode or address is None or address.version != 4:
        said = f"exit {done.returncode}" if done.returncode else f"printed {printed!r}"
        raise SettingsError(f"{program}: {said}; it must print the node's IPv4 address")
    return printed


def from_environment(
    environment: Mapping[str, str], state: Path | None = None, host: HostNetwork | None = None
) -> NodeSettings:
    """The settings that `environment` holds. What detect_ip prints stands for a NODENAME or IP that is not given.

    Raise SettingsError for the first variable that cannot be used, or when nothing is detected.
    """
    state, host = state or STATE_DIRECTORY, host or this_host()
    name, address = environment.get("NODENAME", "").strip(), environment.get("IP", "").strip()
    if address.lower() == "autodetect":
        method = environment.get("IP_AUTODETECTION_METHOD", "")
        address = _detected(4, "IP", method, host) if method else ""
    address6 = environment.get("IP6", "").strip()
    if address6.lower() == "autodetect":
        address6 = _detected(6, "IP6", environment.get("IP6_AUTODETECTION_METHOD", ""), host)
    if not name or not address:
        detected = detect_ip(environment)
        name, address = name or detected, address or detected
    nodename_file = environment.get("CALICO_NODENAME_FILE", "")
    return NodeSettings(
        name=_node_name(name),
        address=_address(address),
        address6=_address6(address6),
        as_number=_as_number(environment.get("AS", "")),
        cluster_type=environment.get("CLUSTER_TYPE", ""),
        default_pools=_default_pools(environment),
        pool4=_pool(environment, 4),
        pool6=_pool(environment, 6) if _has_ipv6(environment) else None,
        check_addresses=environment.get("DISABLE_NODE_IP_CHECK", "").lower() != "true",
        state=state,
        nodename_file=Path(nodename_file) if nodename_file else state / "nodename",
    )


def _detected(family: int, variable: str, method: str, host: HostNetwork) -> str:
    try:
        return str(detect(family, method, host))
    except DetectionError as error:
        raise SettingsError(f"{variable}_AUTODETECTION_METHOD {error}") from None


def _node_name(text: str) -> str:
    if problem := formats.name(text):
        raise SettingsError(f"NODENAME {text!r}: {problem}")
    return text


def _address(text: str) -> IPv4Interface | None:
    if text.lower() == "none":
        return None
    try:
        found = ip_interface(text)
    except ValueError:
        found = None
    if not isinstance(found, IPv4Interface):
        raise SettingsError(f"IP {text!r}: must be an IPv4 address, with or without a prefix length, or none")
    return found


def _address6(text: str) -> str:
    if text.lower() in ("", "none"):
        return ""
    try:
        found = ip_interface(text)
    except ValueError:
        found = None
    if found is None or found.version != 6:
        raise SettingsError(f"IP6 {text!r}: must be an IPv6 address, with or without a prefix length, or none")
    return str(found)


def _as_number(text: str) -> int | None:
    if not text:
        return None
    parts = text.split(".")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise SettingsError(f"AS {text!r}: must be a number, or two joined by a dot")
    numbers = [int(part) for part in parts]
    if len(numbers) == 2 and max(numbers) <= 0xFFFF:
        return numbers[0] << 16 | numbers[1]
    if len(numbers) == 1 and numbers[0] <= 0xFFFFFFFF:
        return numbers[0]
    raise SettingsError(f"AS {text!r}: is more than an AS number holds")


def _default_pools(environment: Mapping[str, str]) -> bool:
    if environment.get("NO_DEFAULT_POOLS", "").lower() != "true":
        return True
    for family in (4, 6):
        if environment.get(f"CALICO_IPV{family}POOL_CIDR"):
            raise SettingsError(
                f"CALICO_IPV{family}POOL_CIDR is given, and NO_DEFAULT_POOLS is true: unset one of them"
            )
    return False


def _pool(environment: Mapping[str, str], family: int) -> PoolSettings:
    def value(name: str) -> str:
        return environment.get(f"CALICO_IPV{family}POOL_{name}", "").strip()

    cidr = value("CIDR")
    parsed = formats.parse_cidr(cidr) if cidr else None
    if cidr and (parsed is None or parsed[1].version != family):
        raise SettingsError(f"CALICO_IPV{family}POOL_CIDR {cidr!r}: must be an IPv{family} network")
    ipip = _mode(f"CALICO_IPV{family}POOL_IPIP", value("IPIP"))
    vxlan = _mode(f"CALICO_IPV{family}POOL_VXLAN", value("VXLAN"))
    if ipip != "Never" and vxlan != "Never":
        raise SettingsError(f"CALICO_IPV{family}POOL_IPIP and CALICO_IPV{family}POOL_VXLAN: only one may be on")
    size = value("BLOCK_SIZE") or ("26" if family == 4 else "122")
    if not (size.isascii() and size.isdigit()):
        raise SettingsError(f"CALICO_IPV{family}POOL_BLOCK_SIZE {size!r}: must be a prefix length")
    nat = value("NAT_OUTGOING").lower()
    is_nat = nat not in _FALSE if nat else family == 4
    selector = value("NODE_SELECTOR") or "all()"
    if problem := formats.selector(selector):
        raise SettingsError(f"CALICO_IPV{family}POOL_NODE_SELECTOR {selector!r}: {problem}")
    return PoolSettings(str(parsed[1]) if parsed else "", Encapsulation(ipip, vxlan), is_nat, int(size), selector)


def _mode(variable: str, text: str) -> str:
    if text.lower() not in _MODES:
        raise SettingsError(f"{variable} {text!r}: must be always, cross-subnet or never")
    return _MODES[text.lower()]


def _has_ipv6(environment: Mapping[str, str]) -> bool:
    if environment.get("FELIX_IPV6SUPPORT", "").lower() in _FALSE:
        return False
    return Path("/proc/sys/net/ipv6").exists()
