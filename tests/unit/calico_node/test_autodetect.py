"""Upstream's ways to find the node's address."""

from ipaddress import ip_interface
from pathlib import Path

import pytest

from calico.node.autodetect import DetectionError, HostNetwork, Interface, detect
from calico.node.settings import SettingsError, from_environment

INTERFACES = [
    Interface("lo", (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))),
    Interface("eth0", (ip_interface("192.0.2.5/24"), ip_interface("fe80::1/64"), ip_interface("2001:db8::5/64"))),
    Interface("eth1", (ip_interface("169.254.7.7/16"), ip_interface("10.0.0.5/8"))),
    Interface("docker0", (ip_interface("172.17.0.1/16"),)),
    Interface("cali123", (ip_interface("172.29.0.1/32"),)),
]


def towards(family: int, destination: str) -> str:
    if destination == "198.51.100.1":
        return "192.0.2.5"
    raise OSError(101, "Network is unreachable")


HOST = HostNetwork(lambda: INTERFACES, towards)


@pytest.mark.parametrize(
    ("family", "method", "expected"),
    [
        (4, "", "10.0.0.5/8"),
        (4, "first-found", "10.0.0.5/8"),
        (6, "first-found", "2001:db8::5/64"),
        (4, "interface=eth0", "192.0.2.5/24"),
        (4, "interface=docker.*,nothing", "172.17.0.1/16"),
        (4, "skip-interface=eth1", "192.0.2.5/24"),
        (4, "can-reach=198.51.100.1", "192.0.2.5/24"),
    ],
)
def test_a_method_that_finds_one(family: int, method: str, expected: str) -> None:
    assert str(detect(family, method, HOST)) == expected


@pytest.mark.parametrize(
    ("family", "method", "said"),
    [
        (4, "interface=wlan", "no interface has an IPv4 address"),
        (6, "skip-interface=eth0", "no interface has an IPv6 address"),
        (4, "can-reach=203.0.113.1", "Network is unreachable"),
        (4, "interface=(", "not a regular expression"),
        (4, "interface=", "must be first-found"),
        (4, "guess", "must be first-found"),
    ],
)
def test_a_method_that_finds_none(family: int, method: str, said: str) -> None:
    with pytest.raises(DetectionError) as caught:
        detect(family, method, HOST)
    assert said in str(caught.value)


def test_by_the_environment(tmp_path: Path) -> None:
    environment = {"NODENAME": "n1", "IP": "autodetect", "IP_AUTODETECTION_METHOD": "interface=eth0"}
    found = from_environment({**environment, "IP6": "autodetect"}, tmp_path, HOST)
    assert (str(found.address), found.address6) == ("192.0.2.5/24", "2001:db8::5/64")
    with pytest.raises(SettingsError, match="IP_AUTODETECTION_METHOD 'interface=x'"):
        from_environment({**environment, "IP_AUTODETECTION_METHOD": "interface=x"}, tmp_path, HOST)
