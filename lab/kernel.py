"""What a lab needs of this machine and this one lacks: programs, and the kernel that all nodes share."""

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from lab.instance import Refusal, bound

_PROGRAMS = {
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "systemd-nspawn": "systemd-container",
}
"""Program -> Debian's package with it; `make lab` installs the same."""

_OFF = (False, "false")


def check_programs() -> None:
    """LabError when a program is missing, with what to install."""
    lacking = [name for name in _PROGRAMS if shutil.which(name) is None]
    if lacking:
        packages = " ".join(_PROGRAMS[name] for name in lacking)
        raise Refusal(f"this machine lacks {', '.join(lacking)}: apt-get install {packages}")


def tunnel_of(values: Mapping[str, Any]) -> str:
    """The kind of device that the nodes' tunnels are, as `ip link` calls it; empty where Calico is off."""
    if values.get("calico_enabled", True) in _OFF:
        return ""
    return "ipip" if values.get("calico_vxlan_enabled", True) in _OFF else "vxlan"


def check_kernel(values: Mapping[str, Any]) -> None:
    """LabError when this kernel cannot have the tunnels of a configuration; tried in a throw-away namespace."""
    kind = tunnel_of(values)
    if not kind or _can_have(kind):
        return
    switch = "calico_vxlan_enabled: " + ("true" if kind == "ipip" else "false")
    raise Refusal(
        f"this machine's kernel lacks {kind}, which the configuration needs for its nodes' tunnels, and nodes of a lab "
        f"share this kernel: load it (modprobe {kind}), boot a kernel that has it (Debian's linux-image-amd64), or set "
        f"{switch}"
    )


def _can_have(kind: str) -> bool:
    options = ["id", "1", "dstport", "4789"] if kind == "vxlan" else ["local", "127.0.0.1"]
    command = ["unshare", "--net", "ip", "link", "add", "name", "probe", "type", kind, *options]
    return subprocess.run(bound(command), capture_output=True, timeout=30, check=False).returncode == 0
