"""What a runtime may say, in which words it is refused, and Mesos' labels."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.cni.conf import Attachment, parse_call, parse_conf
from calico.cni.errors import CniError
from calico.cni.labels import endpoint_labels, sanitise, shorten
from calico.cni.results import result, supported
from calico.model.formats import label

ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "0a1b-22",
    "CNI_IFNAME": "eth0",
    "CNI_NETNS": "/run/netns/x",
    "CNI_PATH": "/opt/cni",
}


def conf(**more: Any) -> bytes:
    return json.dumps({"cniVersion": "0.3.1", "name": "calico", "type": "calico", **more}).encode()


def test_a_configuration_as_dcos_renders_it() -> None:
    labels = {"labels": [{"key": "DCOS_SPACE", "value": "/a/b"}, "junk", {"value": "no key"}]}
    found = parse_conf(
        conf(
            mtu=1450,
            etcd_endpoints="http://a:2379,http://b:2379",
            etcd_ca_cert_file="/pki/ca.crt",
            etcd_password_file="/pki/password",
            ipam={"type": "calico-ipam", "assign_ipv4": "true", "ipv4_pools": ["10.0.0.0/16"]},
            args={"org.apache.mesos": {"network_info": {"name": "calico", "labels": labels}}},
        )
    )
    assert found.mtu == 1450
    assert found.datastore == {
        "etcdEndpoints": "http://a:2379,http://b:2379",
        "etcdCACertFile": "/pki/ca.crt",
        "etcdPasswordFile": "/pki/password",
    }
    assert found.ipam == ("calico-ipam", True, False, ("10.0.0.0/16",), ())
    assert found.labels == {"DCOS_SPACE": "a.b"}


def test_what_is_left_out() -> None:
    found = parse_conf(b'{"name": "n", "type": "calico"}')
    assert (found.cni_version, found.mtu, found.policy_type, found.labels) == ("0.1.0", 1500, "", {})
    assert not found.nodename_is_optional
    assert not found.allow_ip_forwarding


@pytest.mark.parametrize(
    ("stdin", "code", "said"),
    [
        (b"{", 6, "not JSON"),
        (b"[]", 7, "must be an object"),
        (conf(cniVersion="9.0.0"), 1, "incompatible CNI versions"),
        (conf(name="a b"), 7, "name 'a b'"),
        (conf(name=""), 7, "name ''"),
        (conf(mtu="big"), 7, "mtu: must be a number"),
        (conf(mtu=-1), 7, "mtu: must be a number from 0"),
        (conf(mtu=True), 7, "mtu"),
        (conf(ipam=[]), 7, "ipam: must be an object"),
        (conf(ipam={"ipv4_pools": [1]}), 7, "ipam.ipv4_pools: must be a list of texts"),
        (conf(ipam={"assign_ipv4": "maybe"}), 7, "ipam.assign_ipv4: must be true or false"),
        (conf(dataplane_options={"type": ""}), 7, "Invalid dataplane type: "),
        (conf(dataplane_options={"type": "grpc"}), 7, "Invalid dataplane type: grpc"),
    ],
)
def test_a_configuration_that_is_refused(stdin: bytes, code: int, said: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_conf(stdin)
    assert caught.value.code == code
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"CNI_COMMAND": ""}, 4, "CNI_COMMAND ''"),
        ({"CNI_CONTAINERID": ""}, 4, "required env variables [CNI_CONTAINERID] missing"),
        ({"CNI_NETNS": "", "CNI_IFNAME": ""}, 4, "[CNI_IFNAME,CNI_NETNS]"),
        ({"CNI_IFNAME": "a/b"}, 4, "CNI_IFNAME 'a/b'"),
        ({"CNI_IFNAME": "a234567890123456"}, 4, "not the name of an interface"),
        ({"CNI_ARGS": "IP"}, 4, "'IP' is not KEY=VALUE"),
        ({"CNI_COMMAND": "CHECK"}, 1, "CHECK is of CNI 0.4.0"),
        ({"CNI_COMMAND": "GC"}, 1, "GC is of CNI 1.1.0"),
        ({"CNI_COMMAND": "STATUS"}, 1, "STATUS is of CNI 1.1.0"),
    ],
)
def test_an_environment_that_is_refused(changed: dict[str, str], code: int, said: str) -> None:
    with pytest.raises(CniError) as caught:
        parse_call("calico", {**ENVIRONMENT, **changed}, conf(), -1)
    assert caught.value.code == code
    assert said in str(caught.value)


def test_del_needs_no_namespace() -> None:
    call = parse_call("calico", {**ENVIRONMENT, "CNI_COMMAND": "DEL", "CNI_NETNS": ""}, conf(), -1)
    assert (call.attachment, call.namespace_path) == (Attachment("0a1b-22", "eth0"), "")


def test_arguments_and_attachments() -> None:
    stdin = conf(cniVersion="1.1.0", **{"cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]})
    call = parse_call(
        "calico", {**ENVIRONMENT, "CNI_COMMAND": "GC", "CNI_ARGS": "IgnoreUnknown=1;IP=10.0.0.9"}, stdin, -1
    )
    assert call.arguments == {"IgnoreUnknown": "1", "IP": "10.0.0.9"}
    assert call.conf.valid_attachments == (Attachment("a", "eth0"),)


# -- labels ------------------------------------------------------------------------------------------------------------


def test_values_are_shortened_as_dcos_does() -> None:
    assert shorten("a" * 63) == "a" * 63
    assert shorten("a" * 64) == "ffe054f..." + "a" * 53


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a/b/c", "a.b.c"),
        ("plain_Value-1", "plain_Value-1"),
        ("a b  c", "a-b-c"),
        ("a.-.b", "a.b"),
        ("-a-", "a"),
        ("_a:_", "a"),
        ("https://x/y", "https.x.y"),
        ("", ""),
    ],
)
def test_sanitising(text: str, expected: str) -> None:
    assert sanitise(text) == expected


@given(st.text(max_size=200))
def test_every_value_becomes_one_that_a_label_may_have(text: str) -> None:
    value = endpoint_labels([{"key": "k", "value": text}])["k"]
    assert not label("k", value)


# -- results -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.1.0", {"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.1/32"}, "ip6": {"ip": "fd00::1/128"}, "dns": {}}),
        (
            "0.4.0",
            {
                "cniVersion": "0.4.0",
                "interfaces": [{"name": "cali0"}],
                "ips": [{"version": "4", "address": "10.0.0.1/32"}, {"version": "6", "address": "fd00::1/128"}],
                "dns": {},
            },
        ),
        (
            "1.0.0",
            {
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "cali0"}],
                "ips": [{"address": "10.0.0.1/32"}, {"address": "fd00::1/128"}],
                "dns": {},
            },
        ),
    ],
)
def test_the_shape_of_each_version(version: str, expected: dict[str, Any]) -> None:
    assert result(version, ("10.0.0.1/32", "fd00::1/128"), "cali0") == expected


def test_versions() -> None:
    assert supported("0.1.0")["supportedVersions"][0] == "0.1.0"
