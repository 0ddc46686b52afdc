"""`dcos_install.sh`: what an operator runs on a node, with the digests everything else is checked against.

The script is one static program, gen/templates/dcos_install.sh.jinja, with the values in a block at its top, each
quoted for the shell. Without a bundle it can check a node and nothing else.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gen.render import (
    BGP_PORT,
    CONFD_METRICS_PORT,
    ETCD_CLIENT_PORT,
    ETCD_METRICS_PORT,
    ETCD_PEER_PORT,
    FELIX_METRICS_PORT,
)
from gen.render_templates import render_template


class BundleInfo(NamedTuple):
    """What the script carries of a bundle: names of files in dist/, and the digests that vouch for all the others."""

    bootstrap_id: str
    bootstrap_sha256: str
    package_info_sha256: str
    package_list_id: str


class Release(NamedTuple):
    """What the script of a published release carries beyond a bundle's: where it is served from, and which it is.

    Its packages stand in a repository that other releases share, so its package list has a name of its own there.
    """

    url: str
    package_info: str
    name: str


class Port(NamedTuple):
    """A port that must be free on nodes with `role` ("any": on all), and whose it is."""

    role: str
    protocol: str
    number: int
    purpose: str

    def __str__(self) -> str:
        return f"{self.role} {self.protocol} {self.number} {self.purpose}"


def ports(values: Mapping[str, Any]) -> tuple[Port, ...]:
    """The ports our services open under this configuration."""
    return tuple(_ports(values)) if values["calico_enabled"] else ()


def _ports(values: Mapping[str, Any]) -> Iterable[Port]:
    yield Port("master", "tcp", ETCD_CLIENT_PORT, "etcd's clients")
    yield Port("master", "tcp", ETCD_PEER_PORT, "etcd's peers")
    yield Port("master", "tcp", ETCD_METRICS_PORT, "etcd's metrics")
    yield Port("any", "tcp", FELIX_METRICS_PORT, "felix's metrics")
    if values["calico_vxlan_enabled"]:
        yield Port("any", "udp", values["calico_vxlan_port"], "Calico's VXLAN, calico_vxlan_port")
    else:
        yield Port("any", "tcp", BGP_PORT, "BGP")
        yield Port("any", "tcp", CONFD_METRICS_PORT, "confd's metrics")


def render_install_script(
    values: Mapping[str, Any], bundle: BundleInfo | None, release: Release | None = None
) -> bytes:
    """The script for validated `values`; of a release where one is given."""
    enabled = values["calico_enabled"]
    return render_template(
        "dcos_install.sh.jinja",
        bundle=bundle,
        release_name=release.name if release else "",
        package_info=release.package_info if release else "cluster-package-info.json",
        release_keys=values["release_keys"],
        bootstrap_url=release.url if release else values["bootstrap_url"],
        needs_pki=enabled and values["calico_etcd_tls"],
        network_cidr=values["calico_network_cidr"] if enabled else "",
        tunnel_module=("vxlan" if values["calico_vxlan_enabled"] else "ipip") if enabled else "",
        ports=ports(values),
        ip_detect=values["ip_detect_contents"].removesuffix("\n"),
        delimiter=_delimiter(values["ip_detect_contents"]),
    )


def _delimiter(text: str) -> str:
    """A line that `text` does not have, for the shell to end it by."""
    lines = text.splitlines()
    delimiter = "END_OF_DETECT_IP"
    while delimiter in lines:
        delimiter += "_"
    return delimiter
