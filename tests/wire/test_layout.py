"""Literal keys and values of every table in etcd and every kind, as a v3.14 component writes them.

Each is read, written again and compared: the key as text, the value as JSON. The literals are typed from the data
model's description, never produced by the code under test.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from calico.model import keys
from calico.model.keys import ResourceKey, from_stored, parse_key, to_stored
from calico.model.kinds import KINDS
from calico.model.resource import validate
from calico.model.values import decode_value, encode_value

_AT = "/calico/resources/v3/projectcalico.org"


def _resources() -> list[tuple[str, str, str]]:
    """Key, the name a user sees, and value of every entry of resources.txt."""
    text = (Path(__file__).parent / "resources.txt").read_text()
    entries = [entry.strip().split("\n") for entry in text.split("\n\n")[1:]]
    return [(key, name, value) for key, name, value in entries]


RESOURCES = _resources()

VALUES: list[tuple[str, Any, str]] = [
    (
        "/calico/ipam/v2/assignment/ipv4/block/172.29.12.64-30",
        keys.BlockKey("172.29.12.64/30"),
        (
            '{"cidr":"172.29.12.64/30","affinity":"host:10.0.0.5","allocations":[0,null,1,null],"unallocated":[1,3],'
            '"attributes":[{"handle_id":"vxlan-tunnel-addr-10.0.0.5","secondary":{"node":"10.0.0.5","type":"vxlanTunnelAddress"}},'
            '{"handle_id":null,"secondary":null}],"deleted":false}'
        ),
    ),
    (
        "/calico/ipam/v2/assignment/ipv6/block/fd12:3456:789a:1::40-127",
        keys.BlockKey("fd12:3456:789a:1::40/127"),
        '{"cidr":"fd12:3456:789a:1::40/127","affinity":null,"allocations":[null,null],"unallocated":[0,1],"attributes":null,"deleted":false}',
    ),
    (
        "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-32",
        keys.BlockKey("10.0.0.0/32"),
        '{"cidr":"10.0.0.0/32","affinity":"host:a","allocations":[null],"unallocated":[0],"attributes":[],"deleted":false}',
    ),
    (
        "/calico/ipam/v2/host/10.0.0.5/ipv4/block/172.29.12.64-26",
        keys.AffinityKey("10.0.0.5", "172.29.12.64/26"),
        '{"state":"confirmed","deleted":false}',
    ),
    (
        "/calico/ipam/v2/host/a/ipv6/block/fd00::-122",
        keys.AffinityKey("a", "fd00::/122"),
        '{"state":"pending","deleted":false}',
    ),
    (
        "/calico/ipam/v2/handle/calico.0a1b22",
        keys.HandleKey("calico.0a1b22"),
        '{"block":{"172.29.12.64/26":1},"deleted":false}',
    ),
    ("/calico/ipam/v2/config", keys.IPAMConfigKey(), '{"strict_affinity":true,"auto_allocate_blocks":true}'),
    ("/calico/ipam/v2/config", keys.IPAMConfigKey(), '{"auto_allocate_blocks":true}'),
    (
        "/calico/felix/v2/no-region/host/10.0.0.5/status",
        keys.FelixStatusKey("10.0.0.5"),
        '{"time":"2020-05-06T10:11:12Z","uptime":12.34,"first_update":true}',
    ),
    (
        "/calico/felix/v2/region-europe/host/10.0.0.5/last_reported_status",
        keys.FelixStatusKey("10.0.0.5", last=True, region="europe"),
        '{"time":"2020-05-06T10:11:12Z","uptime":12,"first_update":false}',
    ),
    (
        "/calico/felix/v2/no-region/host/10.0.0.5/workload/cni/default%2f7c1f-22/endpoint/eth0",
        keys.WorkloadStatusKey("10.0.0.5", "cni", "default/7c1f-22", "eth0"),
        '{"status":"up"}',
    ),
    (
        "/calico/felix/v2/region-e-1/host/a/workload/x%252f/y%2fz/endpoint/e%25",
        keys.WorkloadStatusKey("a", "x%2f", "y/z", "e%", "e-1"),
        '{"status":"error"}',
    ),
    (
        "/calico/felix/v1/host/10.0.0.5/endpoint/eth0",
        keys.HostEndpointStatusKey("10.0.0.5", "eth0"),
        '{"status":"down"}',
    ),
]


@pytest.mark.parametrize(
    ("key", "name", "value"), RESOURCES, ids=[f"{key}-{at}" for at, (key, _, _) in enumerate(RESOURCES)]
)
def test_a_resource_is_read_and_written_as_upstream_does(key: str, name: str, value: str) -> None:
    stored = json.loads(value)
    resource = from_stored(key, stored, 4711)
    assert resource.metadata.name == name
    assert resource.metadata.resource_version == "4711"
    assert validate(resource) == []
    assert to_stored(resource) == (key, stored)
    parsed = parse_key(key)
    assert parsed == ResourceKey(resource.kind, name, resource.metadata.namespace)
    assert parsed.path == key


@pytest.mark.parametrize(("key", "parsed", "value"), VALUES)
def test_what_is_no_resource_is_read_and_written_as_upstream_does(key: str, parsed: Any, value: str) -> None:
    assert parse_key(key) == parsed
    assert parsed.path == key
    stored = json.loads(value)
    assert encode_value(parsed, decode_value(parsed, stored)) == stored


def test_every_kind_has_a_literal() -> None:
    assert {json.loads(value)["kind"] for _, _, value in RESOURCES} == set(KINDS)


def test_the_order_of_members_is_go_s() -> None:
    key, _, value = RESOURCES[0]
    stored = from_stored(key, json.loads(value), 1)
    assert json.dumps(to_stored(stored)[1], separators=(",", ":")) == value


def test_what_older_writers_left_is_read() -> None:
    """The libnetwork fork's member, null lists, an owner nobody looks at, an affinity without a state."""
    block = decode_value(
        keys.BlockKey("10.0.0.0/32"),
        {
            "cidr": "10.0.0.0/32",
            "affinity": None,
            "hostAffinity": "a",
            "strictAffinity": False,
            "allocations": [None],
            "unallocated": None,
            "attributes": None,
        },
    )
    assert (block.affinity, block.unallocated, block.attributes) == (None, (), None)
    assert "strictAffinity" not in encode_value(keys.BlockKey("10.0.0.0/32"), block)
    assert decode_value(keys.AffinityKey("a", "10.0.0.0/26"), {}).state == ""


@pytest.mark.parametrize(
    "key",
    [
        "/calico/",
        "/calico/v1/Ready",
        "/calico/bgp/v1/global/node_mesh",
        f"{_AT}/ippools/",
        f"{_AT}/ippools/a/b",
        f"{_AT}/networkpolicies/a",
        f"{_AT}/networkpolicies//a",
        f"{_AT}/unknown/a",
        "/calico/ipam/v2/host/10.0.0.5",
        "/calico/ipam/v2/handle/",
        "/calico/ipam/v2/assignment/ipv5/block/a",
        "/calico/felix/v2/region-/host/a/status",
        "/calico/felix/v2/no-region/host//status",
        "/calico/felix/v3/no-region/host/a/status",
        "/calico/felix",
        "/other/key",
        "",
    ],
)
def test_a_key_that_nobody_writes_stands_for_nothing(key: str) -> None:
    assert parse_key(key) is None


def test_an_endpoint_is_stored_with_calico_s_own_labels() -> None:
    key, _, value = next(row for row in RESOURCES if "workloadendpoints" in row[0])
    resource = from_stored(key, json.loads(value), 1)
    labels = {"biz_type": "bookstore", "projectcalico.org/namespace": "forged"}
    changed = resource._replace(metadata=resource.metadata._replace(labels=labels))
    assert to_stored(changed)[1]["metadata"]["labels"] == json.loads(value)["metadata"]["labels"]
