"""What is rendered: golden trees, what differs between them, and what each file means to its reader.

`DCOS_CALICO_GOLDEN=1 pytest tests/unit/gen/test_render.py` writes the golden trees anew; the difference is for review.
"""

import ipaddress
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.files import RenderedFile, in_order
from gen.package import config_package
from gen.parameters import defaults
from gen.render import render
from gen.render_templates import UnsafeValue, in_environment_file
from gen.units import AGENTS, DAEMONS
from gen.validate import validate
from tests.unit.gen import cases

GOLDEN = Path(__file__).parent / "golden"
TODAY = frozenset({"etcd"})
CONFIGURATIONS: dict[str, tuple[dict[str, Any], frozenset[str]]] = {
    "vxlan": ({}, DAEMONS),
    "ipip": ({"calico_vxlan_enabled": False}, DAEMONS),
    "off": ({"calico_enabled": False}, DAEMONS),
    "etcd-alone": ({}, TODAY),
}


def values(**changed: Any) -> dict[str, Any]:
    """A valid configuration's values."""
    return {
        **defaults(),
        "cluster_name": "dcos-calico",
        "bootstrap_url": "http://192.0.2.10:8000",
        "master_list": ["192.0.2.11", "192.0.2.12", "192.0.2.13"],
        "ip_detect_contents": "#!/bin/sh\necho 192.0.2.11\n",
        **changed,
    }


def tree(**changed: Any) -> dict[str, str]:
    """Path -> text of what is rendered with every daemon there is."""
    return {file.path: file.content.decode() for file in render(values(**changed), DAEMONS)}


def environment(text: str) -> dict[str, str]:
    """The variables of an environment file without quotes."""
    return dict(line.split("=", 1) for line in text.splitlines())


# -------------------------------------------------------------------------------------------------- golden trees


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_golden(name: str) -> None:
    changed, daemons = CONFIGURATIONS[name]
    package = config_package(render(values(**changed), daemons))
    rendered = {file.path: file.content for file in package.files if file.path != "buildinfo.full.json"}
    directory = GOLDEN / name
    if os.environ.get("DCOS_CALICO_GOLDEN"):
        shutil.rmtree(directory, ignore_errors=True)
        for path, content in rendered.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(content)
    expected = {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert rendered.keys() == expected.keys()
    for path, content in rendered.items():
        assert content.decode() == expected[path].decode(), path


def test_ipip_differs_from_vxlan_in_bgp_and_the_tunnel_alone() -> None:
    vxlan, ipip = tree(), tree(calico_vxlan_enabled=False)
    assert ipip.keys() - vxlan.keys() == {
        "etc/calico/bird.cfg",
        "etc/calico/bird_enabled",
        "dcos.target.wants/dcos-calico-bird.service",
        "dcos.target.wants/dcos-calico-confd.service",
    }
    assert vxlan.keys() <= ipip.keys()
    assert {path for path in vxlan if vxlan[path] != ipip[path]} == {
        "etc/calico/calico-node.env",
        "etc/fragments/telegraf/calico.conf",
    }


def test_off_leaves_nothing_of_calico() -> None:
    off = tree(calico_enabled=False)
    assert off.keys() == {
        "bin/detect_ip",
        "etc/dcos-cni-networks",
        "etc/dcos/network/cni/ucr-default-bridge.conf",
        "etc/mesos-master-modules/overlay_master_modules.json",
        "etc/mesos-slave-modules/overlay_slave_modules.json",
        *(f"etc/overlay/config/{name}.json" for name in OVERLAY),
    }
    changed = {path for path, text in tree().items() if path in off and text != off[path]}
    assert changed == {f"etc/overlay/config/{name}.json" for name in ("agent", "agent-master")}
    assert not any("calico" in text.lower() or "etcd" in text for text in off.values())


OVERLAY = ("master", "agent", "agent-master")


# ---------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "https://192.0.2.11:2379,https://192.0.2.12:2379,https://192.0.2.13:2379"),
        ({"master_list": ["192.0.2.9"], "calico_etcd_tls": False}, "http://192.0.2.9:2379"),
        ({"master_discovery": "master_http_loadbalancer"}, "https://master.dcos.thisdcos.directory:2379"),
        (
            {"master_discovery": "master_http_loadbalancer", "calico_etcd_tls": False},
            "http://master.dcos.thisdcos.directory:2379",
        ),
    ],
)
def test_every_client_has_the_same_endpoints(changed: dict[str, Any], expected: str) -> None:
    files = tree(**changed)
    assert environment(files["etc/calico/calico-node-datastore.env"])["ETCD_ENDPOINTS"] == expected
    assert yaml.safe_load(files["etc/calico/calicoctl.cfg"])["spec"]["etcdEndpoints"] == expected
    assert json.loads(files["etc/dcos/network/cni/calico.conf"])["delegate"]["etcd_endpoints"] == expected


def test_with_tls_every_client_knows_its_files_and_without_none_is_named() -> None:
    with_tls, without = tree(), tree(calico_etcd_tls=False)
    for path in (
        "etc/calico/calico-node-datastore.env",
        "etc/calico/calicoctl.cfg",
        "etc/dcos/network/cni/calico.conf",
    ):
        for name in ("ca.crt", "client.crt", "client.key", "etcd-password"):
            assert f"/etc/dcos-calico/pki/{name}" in with_tls[path], (path, name)
    named = {path for path, text in without.items() if "/etc/dcos-calico/pki" in text}
    assert named == {"etc_master/etcd/etcd.env"}
    assert environment(without["etc_master/etcd/etcd.env"])["ETCD_TLS"] == "false"
    assert "grpc://127.0.0.1:2379" in without["etc_master/fragments/adminrouter/adminrouter-grpc-proxy-etcd.conf"]
    assert "grpcs://127.0.0.1:2379" in with_tls["etc_master/fragments/adminrouter/adminrouter-grpc-proxy-etcd.conf"]


def test_the_tunnels_numbers_are_the_configured_ones() -> None:
    changed = {"calico_vxlan_port": 4789, "calico_vxlan_vni": 77, "calico_vxlan_mtu": 8950, "calico_veth_mtu": 8900}
    files = tree(**changed, calico_network_cidr="10.80.0.0/14", adminrouter_grpc_proxy_port=4444)
    node = environment(files["etc/calico/calico-node.env"])
    assert (node["FELIX_VXLANPORT"], node["FELIX_VXLANVNI"], node["FELIX_VXLANMTU"]) == ("4789", "77", "8950")
    assert node["CALICO_IPV4POOL_CIDR"] == "10.80.0.0/14"
    assert json.loads(files["etc/dcos/network/cni/calico.conf"])["delegate"]["mtu"] == 8900
    assert environment(files["etc/calico/libnetwork.env"])["CALICO_LIBNETWORK_VETH_MTU"] == "8900"
    assert files["etc_master/fragments/adminrouter/adminrouter-grpc-proxy-port.conf"] == "listen 4444 http2;\n"
    ipip = environment(tree(calico_vxlan_enabled=False, calico_ipinip_mtu=8980)["etc/calico/calico-node.env"])
    assert ipip["FELIX_IPINIPMTU"] == "8980"
    assert not any(name.startswith("FELIX_VXLAN") for name in ipip)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {8000}),
        ({"bootstrap_url": "http://boot"}, {80}),
        ({"bootstrap_url": "https://boot/dist"}, {443}),
        ({"bootstrap_url": "file:///srv/dist"}, set()),
        ({"bootstrap_url": "http://[fd00::1]:81"}, {81}),
        ({"calico_etcd_discovery": "zookeeper", "calico_etcd_zk_addr": "a:2181,b:2182"}, {8000, 2182}),
    ],
)
def test_failsafe_ports(changed: dict[str, Any], expected: set[int]) -> None:
    node = environment(tree(**changed)["etc/calico/calico-node.env"])
    always = {179, 2379, 2380, 2181, 5050, 5051, 8080, 61001}
    for name, others in (("INBOUND", {"tcp:22", "udp:68"}), ("OUTBOUND", {"udp:53", "udp:67"})):
        listed = node[f"FELIX_FAILSAFE{name}HOSTPORTS"].split(",")
        assert set(listed) == others | {f"tcp:{port}" for port in always | expected}
        assert len(listed) == len(set(listed))


def test_zookeeper_is_given_to_etcd_when_it_is_to_be_used() -> None:
    assert "ETCD_ZK_ADDR" not in tree()["etc_master/etcd/etcd.env"]
    etcd = environment(tree(calico_etcd_discovery="zookeeper")["etc_master/etcd/etcd.env"])
    assert (etcd["ETCD_DISCOVERY"], etcd["ETCD_ZK_ADDR"]) == ("zookeeper", "127.0.0.1:2181")


def test_etcd_has_what_its_launcher_asks_for() -> None:
    launcher = (Path(__file__).parents[3] / "packages/etcd/extra/etcd.sh").read_text()
    wanted = next(line for line in launcher.splitlines() if line.startswith("for name in TLS"))
    names = {"DISCOVERY", *wanted.removeprefix("for name in ").partition(";")[0].split()}
    etcd = environment(tree()["etc_master/etcd/etcd.env"])
    assert {f"ETCD_{name}" for name in names} <= etcd.keys()
    assert etcd["ETCD_MASTERS"] == '"192.0.2.11 192.0.2.12 192.0.2.13"'


def test_overlays_without_ipv4_are_switched_off_with_ipv6() -> None:
    network = json.loads(tree(enable_ipv6=False)["etc/overlay/config/master.json"])["network"]
    assert [each["enabled"] for each in network["overlays"]] == [True, False]
    network = json.loads(tree()["etc/overlay/config/master.json"])["network"]
    assert [each["enabled"] for each in network["overlays"]] == [True, True]
    assert not any(path.startswith("etc/overlay") for path in tree(dcos_overlay_enable=False))


def test_masters_have_no_overlay_bridges() -> None:
    bridges = {
        name: json.loads(tree()[f"etc/overlay/config/{name}.json"])["network_config"]["docker_bridge"]
        for name in ("agent", "agent-master")
    }
    assert bridges == {"agent": True, "agent-master": False}


def test_mesos_reads_one_directory_of_networks_and_the_overlay_writes_there() -> None:
    """The node agent's while Calico is on: its unit makes it, and starts before Mesos."""
    files, off = tree(), tree(calico_enabled=False)
    agents_own = "/var/lib/calico/cni/net.d"
    for role in AGENTS:
        fragment = environment(files[f"etc_{role}/fragments/mesos/mesos-slave-common"].replace("# ", "#="))
        assert fragment["MESOS_NETWORK_CNI_CONFIG_DIR"] == agents_own
    unit = files["dcos.target.wants/dcos-calico-node.service"]
    assert "StateDirectory=calico calico/cni/net.d\n" in unit
    assert "Before=dcos-mesos-slave.service dcos-mesos-slave-public.service\n" in unit
    for name in ("agent", "agent-master"):
        path = f"etc/overlay/config/{name}.json"
        assert json.loads(files[path])["cni_dir"] == agents_own
        assert json.loads(off[path])["cni_dir"] == "/opt/mesosphere/etc/dcos/network/cni"


@settings(max_examples=200, deadline=None)
@given(
    cidr=st.builds(
        lambda first, length: str(ipaddress.ip_network((first, length), strict=False)),
        st.sampled_from(
            [0x09010000, 0x2C800000, 0x0B000000, 0xAC110000, 0xAC1FFE00, 0xC0000200, 0x08080800, 0x0C000000]
        )
        | st.integers(0, 2**32 - 1),
        st.integers(8, 26),
    ),
    text=st.sampled_from(
        [
            "",
            "dcos_overlay_enable: false\n",
            cases.overlay(cases.one(enabled=False), cases.SIX) + "\ndcos_overlay_network_default_name: dcos6\n",
            cases.overlay(cases.one(subnet="12.0.0.0/8"), cases.SIX) + "\n",
            "dcos_l4lb_min_named_ip: 12.0.0.1\ndcos_l4lb_max_named_ip: 12.0.255.254\n",
            "agent_list: [12.0.0.9]\nresolvers: [12.0.1.1]\n",
            "dcos_ucr_default_bridge_subnet: 12.0.0.0/24\n",
            "enable_lb: false\n",
        ]
    ),
)
def test_a_network_may_be_added_where_calicos_own_might_be(cidr: str, text: str) -> None:
    """What is rendered for `calicoctl network create` and what `gen validate` refuses are the same, for any network."""
    usual = validate(cases.whole(text), "config.yaml")
    listed = json.loads(next(f.content for f in render(usual.values, DAEMONS) if f.path == "etc/calico/networks.json"))
    network = ipaddress.IPv4Network(cidr)
    is_taken = any(
        ipaddress.IPv4Address(one["first"]) <= network.broadcast_address
        and network.network_address <= ipaddress.IPv4Address(one["last"])
        for one in listed["networks"]
        if ":" not in one["first"]
    )
    report = validate(cases.whole(f"{text}calico_network_cidr: {cidr}\n"), "config.yaml")
    is_refused = any(
        (each.path, each.code, each.severity) == ("calico_network_cidr", "overlap", "error") for each in report.problems
    )
    assert is_refused == is_taken


def test_mesos_loads_the_overlays_modules_with_their_configuration() -> None:
    given = {
        kind: [
            module["parameters"][0]["value"].removeprefix("/opt/mesosphere/")
            for library in json.loads(tree()[f"etc/mesos-{kind}-modules/overlay_{kind}_modules.json"])["libraries"]
            for module in library["modules"]
        ]
        for kind in ("master", "slave")
    }
    assert given == {
        "master": ["etc/overlay/config/master.json", "etc/overlay/config/agent-master.json"],
        "slave": ["etc/overlay/config/agent.json"],
    }
    assert not any("-modules/" in path for path in tree(dcos_overlay_enable=False))


def test_the_bridge_of_ucr_containers_is_as_configured() -> None:
    files = tree(
        dcos_ucr_default_bridge_network_name="bridge",
        dcos_ucr_default_bridge_subnet="10.9.0.0/24",
        dcos_cni_data_dir="/var/cni",
        dcos_overlay_network_default_name="one",
        dcos_overlay_network6_default_name="six",
    )
    bridge = json.loads(files["etc/dcos/network/cni/ucr-default-bridge.conf"])
    ipam = bridge["delegate"]["ipam"]
    assert (bridge["name"], ipam["subnet"], ipam["dataDir"]) == ("bridge", "10.9.0.0/24", "/var/cni")
    assert json.loads(files["etc/dcos-cni-networks"]) == {"names": ["one", "six", "bridge", "kube-cni"]}


def test_only_detect_ip_is_a_program() -> None:
    assert {file.path for file in render(values(), DAEMONS) if file.mode != 0o644} == {"bin/detect_ip"}


def test_every_json_and_yaml_file_can_be_read() -> None:
    for path, text in tree(calico_vxlan_enabled=False).items():
        if path.endswith((".json", "cni/calico.conf", "cni/ucr-default-bridge.conf", "etc/dcos-cni-networks")):
            json.loads(text)
        elif path.endswith("calicoctl.cfg"):
            assert yaml.safe_load(text)["kind"] == "CalicoAPIConfig"


# -------------------------------------------------------------------------------------------------- the package


def test_the_id_is_of_paths_contents_and_modes() -> None:
    one = (RenderedFile("a", b"bc"), RenderedFile("d", b""))
    others = [
        (RenderedFile("a", b"b"), RenderedFile("d", b"c")),
        (RenderedFile("ab", b"c"), RenderedFile("d", b"")),
        (RenderedFile("a", b"bc", 0o755), RenderedFile("d", b"")),
        (RenderedFile("a", b"bc"),),
        (RenderedFile("a", b"bc"), RenderedFile("d", b""), RenderedFile("e", b"")),
    ]
    ids = [config_package(files).id for files in (one, *others)]
    assert len(set(ids)) == len(ids)
    assert config_package(tuple(reversed(one))).id == ids[0]


_FILES = st.lists(
    st.builds(
        RenderedFile,
        st.text("ab/\n", min_size=1, max_size=4),
        st.binary(max_size=4),
        st.sampled_from((0o644, 0o755)),
    ),
    max_size=4,
    unique_by=lambda file: file.path,
)


@given(_FILES, _FILES)
def test_equal_ids_are_of_equal_files(one: list[RenderedFile], other: list[RenderedFile]) -> None:
    are_equal = sorted(one) == sorted(other)
    assert (config_package(one).id == config_package(other).id) == are_equal


def test_the_package_has_what_pkgpanda_requires() -> None:
    package = config_package(render(values(), DAEMONS))
    documents = {path: json.loads(content) for path, content, _ in package.files if path in MEMBERS}
    assert {path: set(document) for path, document in documents.items()} == MEMBERS
    assert documents["buildinfo.full.json"]["package_version"] == package.id.version
    assert str(package.id).startswith("dcos-config--")


MEMBERS = {
    "pkginfo.json": {"environment", "requires", "state_directory", "units"},
    "buildinfo.full.json": {"name", "variant", "package_version", "sources", "build_ids"},
}


def test_two_files_of_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="a is rendered twice"):
        in_order([RenderedFile("a", b""), RenderedFile("a", b"x")])


# ------------------------------------------------------------------------------------------------------ quoting


def unquoted(text: str) -> str:
    """What systemd, and a shell, read of a value."""
    if not text.startswith('"'):
        return text
    inner, result, escaped = text[1:-1], "", False
    for character in inner:
        if not escaped and character == "\\":
            escaped = True
            continue
        result, escaped = result + character, False
    return result


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"))))
def test_an_environment_file_gives_the_value_back(value: str) -> None:
    assert unquoted(in_environment_file(value)) == value


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "\x7f", "a\rb"])
def test_an_environment_file_holds_no_control_character(value: str) -> None:
    with pytest.raises(UnsafeValue):
        in_environment_file(value)
