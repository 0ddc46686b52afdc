"""`gen diff`: files, services and consequences of a change."""

from typing import Any

import pytest

from gen.diff import Difference, Side, compare
from gen.parameters import TABLE, defaults
from gen.render import render
from gen.units import DAEMONS

BASE = {**defaults(), "cluster_name": "x", "bootstrap_url": "http://h:8000", "master_list": ["192.0.2.11"]}


def side(**changed: Any) -> Side:
    values = {**BASE, **changed}
    return Side(values, render(values, DAEMONS))


def between(old: dict[str, Any], new: dict[str, Any]) -> Difference:
    return compare(side(**old), side(**new))


def services(difference: Difference) -> dict[str, str]:
    """Unit without its suffix and prefix -> what happens to it."""
    return {
        change.unit.removesuffix(".service").removeprefix("dcos-").removeprefix("calico-"): change.action
        for change in difference.services
    }


def felt(difference: Difference) -> dict[str, bool]:
    return {consequence.parameter: consequence.disruptive for consequence in difference.consequences}


def test_no_change() -> None:
    assert between({}, {}) == Difference((), (), ())


@pytest.mark.parametrize(
    ("changed", "expected_services", "expected_felt"),
    [
        (
            {"calico_network_cidr": "10.0.0.0/16"},
            {"node": "restart", "felix": "restart", "libnetwork-plugin": "restart"},
            {"calico_network_cidr": True},
        ),
        ({"calico_vxlan_vni": 5}, {"node": "restart", "felix": "restart"}, {"calico_vxlan_vni": True}),
        ({"calico_vxlan_port": 5555}, {"node": "restart", "felix": "restart"}, {"calico_vxlan_port": True}),
        ({"calico_vxlan_mtu": 1400}, {"node": "restart", "felix": "restart"}, {"calico_vxlan_mtu": True}),
        ({"calico_veth_mtu": 1400}, {"libnetwork-plugin": "restart"}, {"calico_veth_mtu": False}),
        (
            {"calico_docker_network_scope": "global"},
            {"libnetwork-plugin": "restart"},
            {"calico_docker_network_scope": True},
        ),
        ({"ip_detect_contents": "#!/bin/sh\necho 192.0.2.11\n"}, {}, {"ip_detect_contents": True}),
        ({"adminrouter_grpc_proxy_port": 4444}, {}, {}),
        ({"dcos_overlay_mtu": 1300}, {}, {"dcos_overlay_mtu": False}),
        ({"cluster_name": "y"}, {}, {}),
        # Behind a flag that is off, nobody feels it.
        ({"calico_ipinip_mtu": 1400}, {}, {}),
    ],
)
def test_one_parameter(
    changed: dict[str, Any], expected_services: dict[str, str], expected_felt: dict[str, bool]
) -> None:
    difference = between({}, changed)
    assert services(difference) == expected_services
    assert felt(difference) == expected_felt


def test_another_encapsulation_speaks_for_its_numbers() -> None:
    changed = {"calico_vxlan_enabled": False, "calico_ipinip_mtu": 1400, "calico_vxlan_vni": 9}
    difference = between({}, changed)
    assert felt(difference) == {"calico_vxlan_enabled": True}
    assert services(difference) == {"bird": "start", "confd": "start", "node": "restart", "felix": "restart"}
    assert services(between(changed, {}))["bird"] == "stop"


def test_switching_calico_off_and_on() -> None:
    off = between({"calico_network_cidr": "10.0.0.0/16"}, {"calico_enabled": False})
    assert felt(off) == {"calico_enabled": True}
    assert set(services(off).values()) == {"stop"}
    assert "etcd" in services(off)
    on = between({"calico_enabled": False}, {})
    assert felt(on) == {"calico_enabled": False}
    assert set(services(on).values()) == {"start"}


def test_another_master_restarts_every_client_of_etcd() -> None:
    masters = {"master_list": ["192.0.2.11", "192.0.2.12", "192.0.2.13"]}
    assert services(between({}, masters)) == dict.fromkeys(("etcd", "node", "felix", "libnetwork-plugin"), "restart")


def test_a_change_names_the_files_it_comes_from() -> None:
    (change, _) = between({}, {"calico_vxlan_vni": 5}).services
    assert change.because == ("etc/calico/calico-node.env",)


def test_a_changed_unit_file_means_restart() -> None:
    difference = between({}, {"calico_etcd_tls": False})
    (etcd,) = (change for change in difference.services if change.unit == "dcos-etcd.service")
    assert etcd.because == ("dcos.target.wants_master/dcos-etcd.service", "etc_master/etcd/etcd.env")


def test_the_changed_lines_are_shown() -> None:
    (file,) = between({}, {"calico_vxlan_vni": 5}).files
    assert (file.path, file.change) == ("etc/calico/calico-node.env", "changed")
    assert "-FELIX_VXLANVNI=4096\n+FELIX_VXLANVNI=5" in file.unified()


def test_consequences_are_of_parameters_that_exist() -> None:
    from gen.diff import _FEELS

    assert _FEELS.keys() <= TABLE.keys()
