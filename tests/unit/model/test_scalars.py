"""Scalars with a text form of their own, endpoint names, and what felix calls its settings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.model import keys
from calico.model.felixconfiguration import SPEC, item_name, items
from calico.model.resource import decode, encode
from calico.model.scalars import Port, format_duration, parse_duration
from calico.model.workloadendpoint import Identity, identity, is_under


@pytest.mark.parametrize(
    ("text", "nanoseconds", "canonical"),
    [
        ("0", 0, "0s"),
        ("0s", 0, "0s"),
        ("90s", 90 * 10**9, "1m30s"),
        ("1h", 3600 * 10**9, "1h0m0s"),
        ("10m", 600 * 10**9, "10m0s"),
        ("500ms", 500 * 10**6, "500ms"),
        ("1.5s", 1500 * 10**6, "1.5s"),
        ("1500ms", 1500 * 10**6, "1.5s"),
        ("1h2m3.5s", 3723500 * 10**6, "1h2m3.5s"),
        ("10us", 10**4, "10µs"),
        ("1µs", 1000, "1µs"),
        ("1ns", 1, "1ns"),
        ("-1.5h", -5400 * 10**9, "-1h30m0s"),
        ("+5s", 5 * 10**9, "5s"),
        (".5s", 5 * 10**8, "500ms"),
        ("1.s", 10**9, "1s"),
        ("0.1ms", 10**5, "100µs"),
    ],
)
def test_durations_read_and_write_as_go_does(text: str, nanoseconds: int, canonical: str) -> None:
    assert parse_duration(text) == nanoseconds
    assert format_duration(nanoseconds) == canonical


@pytest.mark.parametrize("text", ["", "1", "s", "1 s", "1d", "1s1", ".s", "--1s", "1e3s", "\uff11s", "9999999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(-(1 << 63) + 1, (1 << 63) - 1))
def test_a_written_duration_is_read_back_exactly(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "port"),
    [("80", Port(80, 80)), ("080", Port(80, 80)), ("1:65535", Port(1, 65535)), ("http", Port(0, 0, "http"))],
)
def test_ports_are_read(text: str, port: Port) -> None:
    assert Port.parse(text) == port
    assert Port.parse(str(port)) == port


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "port 0 is outside 1 to 65535"),
        ("1:65536", "port 65536 is outside"),
        ("65535:1", r"minimum port number \(65535\) is greater than maximum port number \(1\)"),
        ("*", r"invalid name for named port \(\*\)"),
        ("", "invalid name"),
        ("1:", "invalid name"),
        ("9" * 5000, "outside"),
    ],
)
def test_what_is_no_port_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Port.parse(text)


@pytest.mark.parametrize(
    ("kind", "path", "given_value", "kept"),
    [
        ("BGPConfiguration", ("asNumber",), "64512", 64512),
        ("BGPConfiguration", ("asNumber",), "1.10", 65546),
        ("BGPConfiguration", ("asNumber",), "65535.65535", 4294967295),
        ("KubeControllersConfiguration", ("etcdV3CompactionPeriod",), "600s", "10m0s"),
        ("FelixConfiguration", ("natPortRange",), "80", 80),
        ("FelixConfiguration", ("natPortRange",), "80:80", 80),
        ("FelixConfiguration", ("natPortRange",), "80:81", "80:81"),
        ("NetworkPolicy", ("order",), 100.0, 100),
        ("NetworkPolicy", ("selector",), 5, "5"),
    ],
)
def test_a_value_is_written_in_its_one_form(kind: str, path: tuple[str], given_value: Any, kept: Any) -> None:
    document = {"kind": kind, "apiVersion": "projectcalico.org/v3", "spec": {path[0]: given_value}}
    written = encode(decode(document))["spec"][path[0]]
    assert (written, type(written)) == (kept, type(kept))


@pytest.mark.parametrize(("protocol", "kept"), [("17", 17), (17, 17), ("TCP", "TCP"), ("tcp", "tcp")])
def test_a_protocol_s_number_is_kept_as_a_number(protocol: Any, kept: Any) -> None:
    spec = {"ingress": [{"action": "Allow", "protocol": protocol}]}
    read = decode({"kind": "Profile", "apiVersion": "projectcalico.org/v3", "spec": spec})
    assert read.spec.ingress[0].protocol == kept


@pytest.mark.parametrize(
    ("given_time", "kept"),
    [
        ("2019-12-23T04:16:55Z", "2019-12-23T04:16:55Z"),
        ("2019-12-23T04:16:55.999Z", "2019-12-23T04:16:55Z"),
        ("2019-12-23T01:16:55+02:00", "2019-12-22T23:16:55Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_kept_in_utc_with_whole_seconds(given_time: str, kept: str) -> None:
    metadata = {"creationTimestamp": given_time}
    read = decode({"kind": "Node", "apiVersion": "projectcalico.org/v3", "metadata": metadata})
    assert read.metadata.creation_timestamp == kept


_PARTS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,6}[a-z0-9])?", fullmatch=True)
_IDENTITIES = st.builds(Identity, _PARTS, _PARTS, _PARTS, _PARTS)


@given(_IDENTITIES)
def test_an_endpoint_s_name_gives_its_parts_back(parts: Identity) -> None:
    assert identity(parts.name()) == parts


@given(_IDENTITIES, _IDENTITIES)
def test_different_endpoints_have_different_names(one: Identity, other: Identity) -> None:
    assert (one == other) == (one.name() == other.name())


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (Identity("10.0.0.5", "cni", "0a1b-22", "eth0"), "10.0.0.5-cni-0a1b--22-eth0"),
        (Identity("10.0.0.5", "libnetwork", "libnetwork", "ab"), "10.0.0.5-libnetwork-libnetwork-ab"),
        (Identity("node-1", "k8s", "", ""), "node--1-k8s-"),
        (Identity("node", "", "", "eth0"), "node-"),
        (Identity("", "", "", ""), ""),
    ],
)
def test_an_endpoint_s_name_and_its_prefixes(parts: Identity, name: str) -> None:
    assert parts.name() == name


def test_a_prefix_finds_more_than_it_means_and_the_parts_tell() -> None:
    prefix = Identity("n", "k8s", "pod", "")
    mine, other = Identity("n", "k8s", "pod", "eth0").name(), Identity("n", "k8s", "pod-1", "eth0").name()
    assert mine.startswith(prefix.name())
    assert other.startswith(prefix.name())
    assert is_under(mine, prefix)
    assert not is_under(other, prefix)


@pytest.mark.parametrize("name", ["", "a", "a-b-c", "a-b-c-d-e", "-a-b-c-d", "a-b-c-", "a---b"])
def test_what_is_no_endpoint_name_has_no_parts(name: str) -> None:
    assert identity(name) is None


@given(st.text(max_size=12))
def test_a_component_of_a_status_key_comes_back_and_never_splits(text: str) -> None:
    assert keys.unescape(keys.escape(text)) == text
    assert "/" not in keys.escape(text)


@pytest.mark.parametrize(
    ("member", "value", "item", "text"),
    [
        ("ipipEnabled", True, "IpInIpEnabled", "true"),
        ("vxlanVNI", 4096, "VXLANVNI", "4096"),
        ("reportingInterval", "0s", "ReportingIntervalSecs", "0"),
        ("reportingTTL", "1.5s", "ReportingTTLSecs", "1.5"),
        ("iptablesLockProbeInterval", "50ms", "IptablesLockProbeIntervalMillis", "50"),
        ("routeRefreshInterval", "1m30s", "RouteRefreshInterval", "90"),
        ("failsafeInboundHostPorts", [], "FailsafeInboundHostPorts", "none"),
        ("failsafeOutboundHostPorts", [{"protocol": "TCP", "port": 22}, {"protocol": "UDP", "port": 68}],
         "FailsafeOutboundHostPorts", "tcp:22,udp:68"),
        ("routeTableRange", {"min": 1, "max": 250}, "RouteTableRange", "1-250"),
        ("externalNodesList", ["10.0.0.1", "10.0.0.2"], "ExternalNodesCIDRList", "10.0.0.1,10.0.0.2"),
        ("kubeNodePortRanges", ["1:2", 80], "KubeNodePortRanges", "1:2,80"),
        ("natPortRange", "1024:65535", "NATPortRange", "1024:65535"),
        ("logSeverityScreen", "Info", "LogSeverityScreen", "Info"),
    ],
)  # fmt: skip
def test_felix_s_settings_have_internal_names_and_texts(member: str, value: Any, item: str, text: str) -> None:
    document = {"kind": "FelixConfiguration", "apiVersion": "projectcalico.org/v3", "spec": {member: value}}
    assert dict(items(decode(document).spec)) == {item: text}


def test_there_are_as_many_settings_as_upstream_has_with_names_of_their_own() -> None:
    names = [item_name(member.name) for member in SPEC.members]
    assert len(names) == len(set(names)) == 84
