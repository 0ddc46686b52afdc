"""Which host endpoint applies to which interface."""

import pytest

from calico.felix.dataplane.hostendpoints import Resolution, resolve
from calico.felix.desired import HostEndpoint
from tests.unit.felix.dataplane.inputs import interface

INTERFACES = {
    "eth0": interface(2, "eth0", "10.9.0.1/24", "fd09::1/64"),
    "eth1": interface(3, "eth1", "10.9.1.1/24"),
    "cali1": interface(4, "cali1", "10.9.2.1/32"),
}


@pytest.mark.parametrize(
    ("endpoints", "by_interface", "every"),
    [
        ({}, {}, ""),
        ({"a": HostEndpoint("eth0", (), ())}, {"eth0": "a"}, ""),
        ({"a": HostEndpoint("eth9", (), ())}, {"eth9": "a"}, ""),
        ({"a": HostEndpoint("", ("10.9.0.1",), ())}, {"eth0": "a"}, ""),
        ({"a": HostEndpoint("", ("fd09::1",), ())}, {"eth0": "a"}, ""),
        ({"a": HostEndpoint("", ("10.9.0.1", "10.9.1.1"), ())}, {"eth0": "a", "eth1": "a"}, ""),
        ({"a": HostEndpoint("", ("10.7.7.7",), ())}, {}, ""),
        ({"b": HostEndpoint("eth0", (), ()), "a": HostEndpoint("", ("10.9.0.1",), ())}, {"eth0": "a"}, ""),
        ({"a": HostEndpoint("eth0", (), ()), "b": HostEndpoint("eth0", (), ())}, {"eth0": "a"}, ""),
        ({"a": HostEndpoint("*", (), ()), "b": HostEndpoint("eth0", (), ())}, {"eth0": "b"}, "a"),
        ({"a": HostEndpoint("*", (), ()), "b": HostEndpoint("*", (), ())}, {}, "a"),
        ({"a": HostEndpoint("eth0", ("10.9.1.1",), ())}, {"eth0": "a"}, ""),
        ({"a": HostEndpoint("cali1", (), ())}, {}, ""),
        ({"a": HostEndpoint("", ("10.9.2.1",), ())}, {}, ""),
    ],
)
def test_resolution(endpoints: dict[str, HostEndpoint], by_interface: dict[str, str], every: str) -> None:
    assert resolve(endpoints, INTERFACES, ("cali",)) == Resolution(by_interface, every)
