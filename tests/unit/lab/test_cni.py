"""What a CNI plugin is given: nothing but what Mesos' isolator gives it, and the agent's own configuration."""

import json

import pytest

from gen.render import render
from gen.validate import validate
from lab import cni
from lab.cni import Checkpoint
from lab.instance import LabError
from lab.marathon import Port
from lab.node.portmapper import read_settings

_ID = "4d7f2465-4826-4c87-94b1-dfa64c649aa1"
_CONFIG = """
bootstrap_url: http://192.0.2.10
master_discovery: static
master_list: [192.0.2.11]
cluster_name: x
calico_enabled: true
"""


def rendered() -> dict[str, str]:
    """The CNI configurations that gen renders for agents."""
    report = validate(_CONFIG, "x")
    assert report.ok
    files = render(report.values, frozenset())
    return {file.path: file.content.decode() for file in files if "/cni/" in file.path and file.path.endswith(".conf")}


def test_the_isolators_environment_has_no_cni_args() -> None:
    given = cni.environment("ADD", _ID, "/var/run/x/ns")
    assert set(given) == {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_PATH", "CNI_IFNAME", "CNI_NETNS", "PATH"}
    assert (given["CNI_IFNAME"], given["CNI_CONTAINERID"]) == ("eth0", _ID)
    assert given["CNI_PATH"].split(":")[0] == "/opt/mesosphere/active/calico/cni"


def test_a_delete_without_a_namespace_does_not_name_one() -> None:
    assert "CNI_NETNS" not in cni.environment("DEL", _ID, "")


def test_the_network_info_is_mesos_own() -> None:
    conf = cni.find_configuration(rendered(), "calico")
    given = cni.configuration(conf, {"biz_type": "bookstore"}, [Port(80, 31000, "tcp")])
    info = given["args"]["org.apache.mesos"]["network_info"]
    assert info["name"] == "calico"
    assert info["labels"] == {"labels": [{"key": "biz_type", "value": "bookstore"}]}
    assert info["port_mappings"] == [{"host_port": 31000, "container_port": 80, "protocol": "tcp"}]
    assert {**given, "args": None} == {**conf, "args": None}


def test_no_labels_and_no_ports_leave_no_empty_members() -> None:
    info = cni.configuration({"name": "n"}, {}, [])["args"]["org.apache.mesos"]["network_info"]
    assert set(info) == {"ip_addresses", "name"}


def test_what_gen_renders_is_what_the_port_mapper_reads() -> None:
    conf = cni.find_configuration(rendered(), "calico")
    settings = read_settings(cni.configuration(conf, {"a": "b"}, [Port(80, 31000, "tcp")]))
    assert (settings.chain, settings.excluded) == ("M-CALICO", "cali+")
    assert settings.delegate["type"] == "calico"
    assert settings.delegate["name"] == "calico"
    assert settings.delegate["args"]["org.apache.mesos"]["network_info"]["labels"]["labels"][0]["key"] == "a"


def test_a_network_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(LabError, match=r"no CNI configuration named 'dcos'.*calico"):
        cni.find_configuration(rendered(), "dcos")
    with pytest.raises(LabError, match=r"x.conf:1:1: is not JSON"):
        cni.find_configuration({"x.conf": "nothing"}, "calico")


def test_mesos_reads_ip4_alone() -> None:
    assert cni.address_in('{"cniVersion":"0.2.0","ip4":{"ip":"172.29.1.2/32"},"dns":{}}') == "172.29.1.2"
    for answer in ("", "{}", json.dumps({"ips": [{"address": "1.2.3.4/32"}]}), '{"ip4": []}'):
        with pytest.raises(LabError, match="ip4"):
            cni.address_in(answer)


def test_a_checkpoint_outlives_a_boot_and_the_namespace_does_not() -> None:
    checkpoint = Checkpoint(_ID, "calico")
    assert checkpoint.configuration.startswith("/var/lib/")
    assert checkpoint.info == f"{checkpoint.directory}/calico/eth0/network.info"
    assert checkpoint.namespace == f"/var/run/mesos/isolators/network/cni/{_ID}/ns"
