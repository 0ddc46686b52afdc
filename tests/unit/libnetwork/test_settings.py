"""What the plugin is told by its environment."""

from pathlib import Path

import pytest

from calico.datastore.settings import SettingsError
from calico.libnetwork.settings import PluginSettings, from_environment


def read(**environment: str) -> PluginSettings:
    return from_environment({"CALICO_LIBNETWORK_HOSTNAME": "n", **environment})


def test_defaults_are_upstreams() -> None:
    found = from_environment({"CALICO_LIBNETWORK_HOSTNAME": "n"})
    assert (found.node, found.namespace, found.interface_prefix, found.veth_mtu) == ("n", "libnetwork", "cali", 0)
    assert (found.create_profiles, found.label_endpoints, found.label_timeout, found.debug) == (True, False, 5.0, False)
    assert (found.scope, found.default_network, found.default_subnets) == ("local", "calico", ())


def test_what_the_bundle_renders() -> None:
    found = from_environment(
        {
            "CALICO_LIBNETWORK_HOSTNAME": "n",
            "CALICO_LIBNETWORK_NAMESPACE": "default",
            "CALICO_LIBNETWORK_LABEL_ENDPOINTS": "TRUE",
            "CALICO_LIBNETWORK_CREATE_PROFILES": "False",
            "CALICO_LIBNETWORK_VETH_MTU": "1420",
            "CALICO_LIBNETWORK_NETWORK_SCOPE": "global",
            "CALICO_LIBNETWORK_LABEL_POLL_TIMEOUT": "1m1.5s",
            "CALICO_IPV4POOL_CIDR": "172.29.0.0/16",
            "CALICO_LIBNETWORK_DEFAULT_NETWORK": "",
        }
    )
    assert (found.namespace, found.label_endpoints, found.create_profiles) == ("default", True, False)
    assert (found.veth_mtu, found.scope, found.label_timeout) == (1420, "global", 61.5)
    assert (found.default_subnets, found.default_network) == (("172.29.0.0/16",), "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CALICO_LIBNETWORK_NETWORK_SCOPE", "swarm"),
        ("CALICO_LIBNETWORK_VETH_MTU", "-1"),
        ("CALICO_LIBNETWORK_VETH_MTU", "jumbo"),
        ("CALICO_LIBNETWORK_GRACE", "5"),
        ("CALICO_LIBNETWORK_LABEL_POLL_TIMEOUT", "soon"),
        ("CALICO_IPV4POOL_CIDR", "172.29.0.0/99"),
    ],
)
def test_what_cannot_be_meant_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        read(**{variable: value})


def test_the_nodes_name_is_the_one_it_has(tmp_path: Path) -> None:
    file = tmp_path / "nodename"
    file.write_text("10.0.0.7\n")
    assert from_environment({"CALICO_NODENAME_FILE": str(file)}).node == "10.0.0.7"
