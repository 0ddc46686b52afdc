"""What calico-node.env may say, and what is refused by name."""

from pathlib import Path

import pytest

from calico.node.settings import Encapsulation, SettingsError, from_environment

BASE = {"NODENAME": "10.0.0.5", "IP": "10.0.0.5", "FELIX_IPV6SUPPORT": "false"}


def test_as_dcos_renders_it(tmp_path: Path) -> None:
    environment = {
        **BASE,
        "NO_DEFAULT_POOLS": "false",
        "CALICO_IPV4POOL_CIDR": "172.29.0.0/16",
        "CALICO_IPV4POOL_NAT_OUTGOING": "true",
        "CALICO_IPV4POOL_IPIP": "never",
        "CALICO_IPV4POOL_VXLAN": "always",
    }
    found = from_environment(environment, tmp_path)
    assert (found.name, str(found.address), found.pool6) == ("10.0.0.5", "10.0.0.5/32", None)
    assert found.pool4 == ("172.29.0.0/16", Encapsulation("Never", "Always"), True, 26, "all()")
    assert found.nodename_file == tmp_path / "nodename"


@pytest.mark.parametrize(
    ("variables", "member", "expected"),
    [
        ({"AS": "64512"}, "as_number", 64512),
        ({"AS": "1.10"}, "as_number", 65546),
        ({"IP": "none"}, "address", None),
        ({"IP6": "fd00::5"}, "address6", "fd00::5/128"),
        ({"NO_DEFAULT_POOLS": "TRUE"}, "default_pools", False),
        ({"DISABLE_NODE_IP_CHECK": "true"}, "check_addresses", False),
        ({"CLUSTER_TYPE": "mesos"}, "cluster_type", "mesos"),
    ],
)
def test_upstreams_variables(variables: dict[str, str], member: str, expected: object) -> None:
    assert getattr(from_environment({**BASE, **variables}), member) == expected


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"NODENAME": "Node_1"}, "NODENAME 'Node_1'"),
        ({"IP": "fd00::1"}, "IP 'fd00::1'"),
        ({"IP": "10.0.0.300"}, "IP '10.0.0.300'"),
        ({"IP6": "10.0.0.1"}, "IP6"),
        ({"AS": "x"}, "AS 'x'"),
        ({"AS": "1.70000"}, "more than an AS number holds"),
        ({"CALICO_IPV4POOL_CIDR": "fd00::/64"}, "CALICO_IPV4POOL_CIDR"),
        ({"CALICO_IPV4POOL_IPIP": "sometimes"}, "CALICO_IPV4POOL_IPIP 'sometimes'"),
        ({"CALICO_IPV4POOL_IPIP": "always", "CALICO_IPV4POOL_VXLAN": "always"}, "only one may be on"),
        ({"CALICO_IPV4POOL_BLOCK_SIZE": "x"}, "BLOCK_SIZE"),
        ({"CALICO_IPV4POOL_NODE_SELECTOR": "has("}, "NODE_SELECTOR"),
        ({"NO_DEFAULT_POOLS": "true", "CALICO_IPV4POOL_CIDR": "10.0.0.0/16"}, "unset one of them"),
    ],
)
def test_what_is_refused(variables: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({**BASE, **variables})
    assert said in str(caught.value)


def test_cross_subnet_in_both_spellings() -> None:
    for text in ("cross-subnet", "CrossSubnet"):
        found = from_environment({**BASE, "CALICO_IPV4POOL_IPIP": text})
        assert found.pool4.encapsulation == Encapsulation("CrossSubnet", "Never")
