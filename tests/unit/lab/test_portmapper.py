"""The stand-in for the port mapper: which rules it writes, and which of those it finds there are a container's."""

import shlex
from typing import Any

import pytest

from lab.node.portmapper import Refusal, address_of, read_settings, rules, rules_of

CONF: dict[str, Any] = {
    "name": "calico",
    "type": "mesos-cni-port-mapper",
    "excludeDevices": ["docker0", "cali+"],
    "chain": "M-CALICO",
    "delegate": {"type": "calico", "mtu": 1500},
}


def with_ports(*ports: dict[str, Any]) -> dict[str, Any]:
    return {**CONF, "args": {"org.apache.mesos": {"network_info": {"name": "calico", "port_mappings": list(ports)}}}}


def test_a_rule_leads_a_port_of_the_host_to_the_container() -> None:
    settings = read_settings(with_ports({"host_port": 31000, "container_port": 80, "protocol": "tcp"}))
    (words,) = rules(settings, "172.29.0.5", "abc")
    assert shlex.join(words) == (
        "'!' -i cali+ -p tcp -m tcp --dport 31000 -m comment --comment 'container_id: abc'"
        " -j DNAT --to-destination 172.29.0.5:80"
    )


def test_no_mapping_means_no_rule() -> None:
    assert list(rules(read_settings(CONF), "172.29.0.5", "abc")) == []


def test_a_protocol_is_tcp_unless_said_otherwise() -> None:
    settings = read_settings(
        with_ports({"host_port": 1, "container_port": 2}, {"host_port": 3, "container_port": 4, "protocol": "UDP"})
    )
    assert [port.protocol for port in settings.ports] == ["tcp", "udp"]


def test_only_the_last_excluded_device_counts() -> None:
    assert read_settings(CONF).excluded == "cali+"


def test_a_containers_rules_are_found_by_its_whole_id_and_no_others() -> None:
    line = '-A M-CALICO ! -i cali+ -p tcp --dport {} -m comment --comment "container_id: {}" -j DNAT --to 1.2.3.4:80'
    listing = "\n".join(
        ["-N M-CALICO", line.format(31000, "abc"), line.format(31001, "abcd"), line.format(31002, "abc")]
    )
    found = list(rules_of(listing, "abc"))
    assert [words[words.index("--dport") + 1] for words in found] == ["31000", "31002"]
    assert found[0][:3] == ["!", "-i", "cali+"]


@pytest.mark.parametrize("missing", ["name", "chain", "delegate"])
def test_what_it_needs_is_named(missing: str) -> None:
    with pytest.raises(Refusal, match=missing):
        read_settings({key: value for key, value in CONF.items() if key != missing})


def test_a_delegate_without_a_type_is_refused() -> None:
    with pytest.raises(Refusal, match=r"delegate\.type"):
        read_settings({**CONF, "delegate": {"mtu": 1}})


def test_an_answer_without_ip4_is_refused() -> None:
    assert address_of({"ip4": {"ip": "10.0.0.1/32"}}) == "10.0.0.1"
    with pytest.raises(Refusal, match="ip4"):
        address_of({"ips": []})
