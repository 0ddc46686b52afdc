"""Values to files: everything a node needs to know of the configuration, under upstream's names.

Pure: the same values and daemons give the same files. What belongs to Calico, etcd and this bundle stands where it is
used; what belongs to other components of DC/OS stands under `etc*/fragments/<owner>/` for their owners to merge. The
paths of secrets are rendered, never their content. docs/explanation/rendering.md lists the files.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from gen.checks.networks import taken
from gen.files import RenderedFile, in_order
from gen.render_templates import render_template
from gen.units import AGENTS, units_for

PKI = "/etc/dcos-calico/pki"
MASTERS = "master.dcos.thisdcos.directory"
"""The name DC/OS's DNS gives to the masters together."""

ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380
ETCD_METRICS_PORT = 2381
"""Plain HTTP on 127.0.0.1 alone, so that telegraf needs no certificate."""
FELIX_METRICS_PORT = 62091
CONFD_METRICS_PORT = 62092
BGP_PORT = 179
DCOS_PORTS = (2181, 5050, 5051, 8080, 61001)
"""ZooKeeper, Mesos master and agent, Marathon, the agents' Admin Router: without them policy would cut the cluster off
from what changes policy."""

BUNDLE_CNI = "/opt/mesosphere/etc/dcos/network/cni"
MESOS_CNI = "/var/lib/calico/cni/net.d"
"""What Mesos reads where Calico is on: the node agent keeps it."""

BIRD_CONFIG = "/var/lib/calico/bird/bird.cfg"
BIRD_SOCKET = "/run/calico/bird.ctl"


def render(values: Mapping[str, Any], daemons: frozenset[str]) -> tuple[RenderedFile, ...]:
    """Every file of `dcos-config` for validated `values` (`gen.validate.Report.values`), sorted by path. `daemons` are
    those the tree can start (`gen.units.daemons_in`)."""
    context = {**values, **_derived(values)}
    files = [RenderedFile("bin/detect_ip", values["ip_detect_contents"].encode(), 0o755), *_networks(values)]
    if values["dcos_overlay_enable"]:
        files += _overlay(values)
    if values["calico_enabled"]:
        files += [*_calico(context), *_etcd(context), *_fragments(context), *_units(context, daemons)]
    return in_order(files)


def etcd_endpoints(values: Mapping[str, Any]) -> list[str]:
    """Where clients find etcd: every master where they are listed, their common name otherwise."""
    hosts = values["master_list"] if values["master_discovery"] == "static" else [MASTERS]
    scheme = "https" if values["calico_etcd_tls"] else "http"
    return [f"{scheme}://{host}:{ETCD_CLIENT_PORT}" for host in hosts]


def bootstrap_port(values: Mapping[str, Any]) -> int | None:
    """The port of `bootstrap_url`; None where the bundle is read from a folder."""
    url = urlsplit(values["bootstrap_url"])
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def failsafe_ports(values: Mapping[str, Any]) -> list[int]:
    """The TCP ports that no policy on a host may close, in either direction."""
    ports = {BGP_PORT, ETCD_CLIENT_PORT, ETCD_PEER_PORT, *DCOS_PORTS}
    if (port := bootstrap_port(values)) is not None:
        ports.add(port)
    if values["calico_etcd_discovery"] == "zookeeper":
        ports |= {int(server.rpartition(":")[2]) for server in values["calico_etcd_zk_addr"].split(",")}
    return sorted(ports)


def _derived(values: Mapping[str, Any]) -> dict[str, Any]:
    tcp = [f"tcp:{port}" for port in failsafe_ports(values)]
    return {
        "etcd_endpoints": etcd_endpoints(values),
        "etcd_client_port": ETCD_CLIENT_PORT,
        "etcd_peer_port": ETCD_PEER_PORT,
        "etcd_metrics_url": f"http://127.0.0.1:{ETCD_METRICS_PORT}",
        "felix_metrics_port": FELIX_METRICS_PORT,
        "confd_metrics_port": CONFD_METRICS_PORT,
        # As upstream's defaults: SSH and DHCP's answers in, DNS and DHCP's questions out.
        "failsafe_inbound": ["tcp:22", "udp:68", *tcp],
        "failsafe_outbound": ["udp:53", "udp:67", *tcp],
        "pki": PKI,
        "etc": "/opt/mesosphere/etc",
        "cni_networks": MESOS_CNI,
        "bird_config": BIRD_CONFIG,
        "bird_socket": BIRD_SOCKET,
    }


def _calico(context: Mapping[str, Any]) -> Iterable[RenderedFile]:
    yield RenderedFile("etc/calico/calico_enabled", b"")
    names = ["calico-node.env", "calico-node-datastore.env", "calicoctl.cfg", "felix.cfg", "libnetwork.env"]
    if not context["calico_vxlan_enabled"]:
        yield RenderedFile("etc/calico/bird_enabled", b"")
        names.append("bird.cfg")
    for name in names:
        yield RenderedFile(f"etc/calico/{name}", render_template(f"etc/calico/{name}", **context))
    yield _json("etc/calico/networks.json", _taken(context))
    yield _json("etc/dcos/network/cni/calico.conf", _cni(context))


def _taken(context: Mapping[str, Any]) -> dict[str, Any]:
    """What a network that is added later may not overlap, as `gen validate` has it."""
    claims = [(claim.owner, *claim.ends) for claim in taken(context)]
    return {"networks": [{"owner": owner, "first": first, "last": last} for owner, first, last in claims]}


def _cni(context: Mapping[str, Any]) -> dict[str, Any]:
    """Mesos' port mapper around the plugin `calico`, in the order in which upstream names the members."""
    delegate = {
        "cniVersion": "0.1.0",
        "type": "calico",
        "mtu": context["calico_veth_mtu"],
        "etcd_endpoints": ",".join(context["etcd_endpoints"]),
    }
    if context["calico_etcd_tls"]:
        delegate |= {
            "etcd_ca_cert_file": f"{PKI}/ca.crt",
            "etcd_cert_file": f"{PKI}/client.crt",
            "etcd_key_file": f"{PKI}/client.key",
            "etcd_username": "calico",
            "etcd_password_file": f"{PKI}/etcd-password",
        }
    return {
        "name": "calico",
        "type": "mesos-cni-port-mapper",
        "excludeDevices": ["cali+"],
        "chain": "M-CALICO",
        "delegate": {**delegate, "ipam": {"type": "calico-ipam"}},
    }


def _etcd(context: Mapping[str, Any]) -> Iterable[RenderedFile]:
    yield RenderedFile("etc_master/etcd/etcd.env", render_template("etc/etcd.env", **context))


def _networks(values: Mapping[str, Any]) -> Iterable[RenderedFile]:
    """The networks of DC/OS beside Calico's: their names, as upstream lists them, and the bridge of UCR containers."""
    names = ("dcos_overlay_network_default_name", "dcos_overlay_network6_default_name")
    bridge = values["dcos_ucr_default_bridge_network_name"]
    yield _json("etc/dcos-cni-networks", {"names": [*(values[name] for name in names), bridge, "kube-cni"]})
    yield _json("etc/dcos/network/cni/ucr-default-bridge.conf", _ucr_bridge(values))


def _ucr_bridge(values: Mapping[str, Any]) -> dict[str, Any]:
    ipam = {
        "type": "host-local",
        "dataDir": values["dcos_cni_data_dir"],
        "subnet": values["dcos_ucr_default_bridge_subnet"],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    delegate = {
        "type": "bridge",
        "bridge": "ucr-br0",
        "isDefaultGateway": True,
        "forceAddress": False,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": ipam,
    }
    return {
        "name": values["dcos_ucr_default_bridge_network_name"],
        "type": "mesos-cni-port-mapper",
        "excludeDevices": ["ucr-br0"],
        "chain": "UCR-DEFAULT-BRIDGE",
        "delegate": delegate,
    }


def _overlay(values: Mapping[str, Any]) -> Iterable[RenderedFile]:
    """Mesos' overlay modules and what they read, on masters (which are agents of the overlay too) and on agents."""
    network = values["dcos_overlay_network"]
    if not values["enable_ipv6"]:
        overlays = [each if "subnet" in each else {**each, "enabled": False} for each in network["overlays"]]
        network = {**network, "overlays": overlays}
    yield _json(
        "etc/overlay/config/master.json", {"replicated_log_dir": "/var/lib/dcos/mesos/master", "network": network}
    )
    for name, has_bridges in (("agent", True), ("agent-master", False)):
        yield _json(f"etc/overlay/config/{name}.json", _overlay_agent(values, has_bridges))
    master = {"com_mesosphere_mesos_OverlayMasterManager": ("master_config", "master")}
    for kind, others, config in (("master", master, "agent-master"), ("slave", {}, "agent")):
        modules = {**others, "com_mesosphere_mesos_OverlayAgentManager": ("agent_config", config)}
        yield _json(f"etc/mesos-{kind}-modules/overlay_{kind}_modules.json", _overlay_modules(modules))


def _overlay_modules(modules: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """What Mesos loads: module -> its parameter and the name of the file in etc/overlay/config it is given."""
    listed = [
        {
            "name": module,
            "parameters": [{"key": key, "value": f"/opt/mesosphere/etc/overlay/config/{config}.json"}],
        }
        for module, (key, config) in modules.items()
    ]
    library = "/opt/mesosphere/active/mesos/lib/mesos/libmesos_network_overlay.so"
    return {"libraries": [{"file": library, "modules": listed}]}


def _overlay_agent(values: Mapping[str, Any], has_bridges: bool) -> dict[str, Any]:
    return {
        "cni_dir": MESOS_CNI if values["calico_enabled"] else BUNDLE_CNI,
        "cni_data_dir": values["dcos_cni_data_dir"],
        "network_config": {
            "allocate_subnet": True,
            "mesos_bridge": has_bridges,
            "docker_bridge": has_bridges,
            "overlay_mtu": values["dcos_overlay_mtu"],
            "enable_ipv6": values["enable_ipv6"],
        },
        "max_configuration_attempts": values["dcos_overlay_config_attempts"],
    }


_CALICOCTL = "/opt/mesosphere/bin/calicoctl"
_DIAGNOSED = ("node", "ipPool", "profile", "workloadEndpoint", "networkPolicy", "globalNetworkPolicy")


def _fragments(context: Mapping[str, Any]) -> Iterable[RenderedFile]:
    yield _json("etc/fragments/dcos-diagnostics/dcos-diagnostics-endpoint-config.json", _diagnostics())
    for path, template in (
        ("etc/fragments/telegraf/calico.conf", "telegraf-calico.conf"),
        ("etc_master/fragments/telegraf/etcd.conf", "telegraf-etcd.conf"),
        ("etc_master/fragments/adminrouter/adminrouter-grpc-proxy-etcd.conf", "adminrouter-grpc-proxy-etcd.conf"),
        ("etc_master/fragments/adminrouter/adminrouter-grpc-proxy-port.conf", "adminrouter-grpc-proxy-port.conf"),
        *((f"etc_{role}/fragments/mesos/mesos-slave-common", "mesos-slave-common") for role in AGENTS),
    ):
        yield RenderedFile(path, render_template(f"etc/fragments/{template}", **context))


def _diagnostics() -> dict[str, Any]:
    commands = [[_CALICOCTL, "get", kind, "-o", "yaml"] for kind in _DIAGNOSED]
    commands += [[_CALICOCTL, "node", "status"], ["/opt/mesosphere/bin/dcos-shell", "dcos-etcdctl", "diagnostic"]]
    return {
        "LocalFiles": [
            {"Location": f"/var/lib/dcos/etcd/{name}", "Role": ["master"], "Optional": True}
            for name in ("initial-state", "initial-nodes")
        ],
        "LocalCommands": [
            *({"Command": command, "Role": ["master"]} for command in commands),
            {"Command": [_CALICOCTL, "node", "diags", "--analysis"], "Role": ["master", "agent", "agent_public"]},
        ],
    }


def _units(context: Mapping[str, Any], daemons: frozenset[str]) -> Iterable[RenderedFile]:
    for unit in units_for(context, daemons):
        content = render_template(unit.template, **context)
        for directory in unit.directories:
            yield RenderedFile(f"{directory}/{unit.name}", content)


def _json(path: str, document: Mapping[str, Any]) -> RenderedFile:
    return RenderedFile(path, json.dumps(document, indent=2).encode() + b"\n")
