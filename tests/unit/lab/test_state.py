"""What `lab status` reads, and when a node counts as connected."""

import json

import pytest

from lab.state import endpoints_in, has_peers, items_of


@pytest.mark.parametrize(
    ("tunnel", "is_connected"),
    [
        ("VXLAN 4096:64000, 2 peers", True),
        ("VXLAN 4096:64000, 1 peers", False),
        ("VXLAN 4096:64000, 12 peers", False),
        ("", False),
        ("tunl0 up, BGP 2 of 2 established", True),
        ("BGP 1 of 2 established", True),
        ("BGP 0 of 2 established", False),
        ("BGP 1 of 1 established", False),
    ],
)
def test_a_node_is_connected_to_all_others_or_in_session_with_those_that_run(tunnel: str, is_connected: bool) -> None:
    assert has_peers(tunnel, others=2, running=1) is is_connected


def test_resources_are_read_from_one_a_list_and_a_list_of_lists() -> None:
    one = {"metadata": {"name": "a"}}
    for printed in (one, [one], {"items": [one]}, [{"items": [one]}]):
        assert items_of(json.dumps(printed)) == [one]


def test_an_endpoint_without_labels_has_none() -> None:
    spec = {"node": "n", "ipNetworks": ["172.29.0.1/32"], "interfaceName": "cali1", "profiles": ["calico"]}
    (endpoint,) = endpoints_in([{"metadata": {"name": "e", "labels": None}, "spec": spec}])
    assert (endpoint.addresses, endpoint.labels, endpoint.profiles) == (("172.29.0.1",), {}, ("calico",))
