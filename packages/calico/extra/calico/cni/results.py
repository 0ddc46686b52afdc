"""What a plugin prints: a result in the shape of the version asked for."""

from collections.abc import Sequence
from typing import Any

from calico.cni.conf import VERSIONS


def result(version: str, networks: Sequence[str], interface: str = "") -> dict[str, Any]:
    """A result with addresses as CIDRs. Up to 0.2.0 each family has a member; later ones list them."""
    if version in ("0.1.0", "0.2.0"):
        found: dict[str, Any] = {"cniVersion": "0.2.0"}
        for network in networks:
            found.setdefault("ip6" if ":" in network else "ip4", {"ip": network})
        return {**found, "dns": {}}
    found = {"cniVersion": version}
    if interface:
        found["interfaces"] = [{"name": interface}]
    found["ips"] = [_address(version, network) for network in networks]
    return {**found, "dns": {}}


def _address(version: str, network: str) -> dict[str, str]:
    if version.startswith("0."):
        return {"version": "6" if ":" in network else "4", "address": network}
    return {"address": network}


def supported(version: str) -> dict[str, Any]:
    """The answer to VERSION."""
    return {"cniVersion": version if version in VERSIONS else VERSIONS[-1], "supportedVersions": list(VERSIONS)}
