"""Felix' configuration: sources, which of them wins, types, `none`, unknown names, and what a change asks."""

from pathlib import Path
from typing import Any

import pytest

from calico.datastore.syncer import Update
from calico.felix.calc.inputs import decode
from calico.felix.config import page
from calico.felix.config.kinds import ProtoPort
from calico.felix.config.parameters import BY_NAME, PARAMETERS, Effect
from calico.felix.config.resolve import Resolved, differing, effect, resolve
from calico.felix.config.settings import Settings
from calico.felix.config.sources import (
    ConfigError,
    Given,
    Source,
    decode_cluster_information,
    decode_felix_configuration,
    from_environment,
    from_file,
    from_resources,
    parse_file,
)
from calico.felix.configuration import DECODERS, Configuration
from calico.model.felixconfiguration import SPEC, item_name
from tests.unit.felix.documents import Item, node, resource, stored


def _given(local: bool = True, **values: str) -> Source:
    return Source(local, tuple(Given(name, value, "somewhere") for name, value in values.items()))


def _one(name: str, value: str, local: bool = True) -> Resolved:
    return resolve([_given(local, **{name: value})])


GOOD = [
    *(("VXLANEnabled", text, True) for text in ("true", "1", "yes", "y", "t", "TRUE", "Yes")),
    *(("Ipv6Support", text, False) for text in ("false", "0", "no", "n", "f", "False")),
    ("VXLANVNI", "0x1000", 4096),
    ("VXLANVNI", "010", 8),
    ("VXLANVNI", "0b11", 3),
    ("DeviceRouteProtocol", "none", 0),
    ("RouteRefreshInterval", "1.5", 1.5),
    ("RouteRefreshInterval", "0", 0.0),
    ("RouteRefreshInterval", "NONE", 0.0),
    ("DefaultEndpointToHostAction", "return", "RETURN"),
    ("LogSeverityScreen", "warning", "WARNING"),
    ("LogSeverityScreen", "none", ""),
    ("ChainInsertMode", "Append", "append"),
    ("FailsafeInboundHostPorts", "22,udp:68, TCP:179", ((6, 22), (17, 68), (6, 179))),
    ("FailsafeInboundHostPorts", "sctp:5000", ((132, 5000),)),
    ("FailsafeOutboundHostPorts", "none", ()),
    ("InterfacePrefix", "cali,tap_x", ("cali", "tap_x")),
    ("InterfaceExclude", "kube-ipvs0,/^dummy/", (r"^kube\-ipvs0$", "^dummy")),
    ("IptablesMarkMask", "0xff000000", 0xFF000000),
    ("FelixHostname", "Node-A.example", "Node-A.example"),
    ("NATOutgoingAddress", "10.0.0.1", "10.0.0.1"),
    ("NATPortRange", "32768:65535", (32768, 65535)),
    ("NATPortRange", "none", None),
    ("IptablesNATOutgoingInterfaceFilter", "eth+", "eth+"),
    ("ExternalNodesCIDRList", "10.0.0.1,10.1.0.0/16", ("10.0.0.1/32", "10.1.0.0/16")),
    ("RouteSource", "workloadips", "WorkloadIPs"),
    ("OpenstackRegion", "one", "one"),
    ("VXLANTunnelMACAddr", "66-00-00-00-00-0A", "66:00:00:00:00:0a"),
    ("PrometheusMetricsPort", "62091", 62091),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_value_that_is_taken(name: str, text: str, value: object) -> None:
    found = _one(name, text)
    assert not found.problems
    assert getattr(found.settings, BY_NAME[name.lower()].field) == value


BAD = [
    ("VXLANEnabled", "maybe", "not true or false"),
    ("VXLANVNI", "many", "not a whole number"),
    ("VXLANVNI", "16777216", "must be 1 to 16777215"),
    ("VXLANPort", "none", "may not be none"),
    ("RouteRefreshInterval", "-1", "not a time"),
    ("RouteRefreshInterval", "1s", "not a number of seconds"),
    ("RouteRefreshInterval", "nan", "not a time"),
    ("LogSeverityScreen", "LOUD", "none of DEBUG"),
    ("DefaultEndpointToHostAction", "PERHAPS", "none of DROP"),
    ("ChainInsertMode", "none", "may not be none"),
    ("FailsafeInboundHostPorts", "icmp:8", "none of tcp, udp, sctp"),
    ("FailsafeInboundHostPorts", "tcp:99999", "not 0 to 65535"),
    ("InterfacePrefix", "a b", "not an interface name"),
    ("InterfacePrefix", "none", "may not be none"),
    ("InterfacePrefix", " , ", "names no interface"),
    ("InterfaceExclude", "/(/", "not a regular expression"),
    ("InterfaceExclude", "//", "an empty pattern"),
    ("IptablesMarkMask", "0x1", "fewer than the 2 bits"),
    ("FelixHostname", "a b", "not a host name"),
    ("NATOutgoingAddress", "::1", "not an IPv4 address"),
    ("NATPortRange", "web", "not a range of ports"),
    ("NATPortRange", "5:1", "greater than"),
    ("IptablesNATOutgoingInterfaceFilter", "much/too", "not an interface filter"),
    ("ExternalNodesCIDRList", "fd00::/8", "not an IPv4 network"),
    ("RouteSource", "none", "may not be none"),
    ("OpenstackRegion", "A/B", "not a region"),
    ("VXLANTunnelMACAddr", "66", "not a MAC address"),
    ("PrometheusMetricsPort", "65536", "must be 0 to 65535"),
]


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_a_value_that_is_not_taken(name: str, text: str, message: str) -> None:
    found = _one(name, text)
    (problem,) = found.problems
    assert str(problem).startswith(f"somewhere: {name} = {text!r}: ")
    assert message in str(problem)
    assert found.settings == Settings(), "the default stays in force"


def test_every_type_has_a_value_that_is_taken_and_one_that_is_not() -> None:
    parsers = {BY_NAME[name.lower()].parse for name, *_ in GOOD} & {BY_NAME[name.lower()].parse for name, *_ in BAD}
    unseen = {parameter.name for parameter in PARAMETERS if parameter.field and parameter.parse not in parsers}
    anything = {parameter.name for parameter in PARAMETERS if parameter.parse is BY_NAME["logprefix"].parse}
    numbers = {"VXLANMTU", "IpInIpMtu", "DeviceRouteProtocol", "VXLANPort"}
    words = {"ChainInsertMode"}
    assert unseen - anything - numbers - words == set()


@pytest.mark.parametrize("name", ["InterfacePrefix", "FailsafeInboundHostPorts", "IptablesMarkMask", "ChainInsertMode"])
def test_what_felix_must_not_start_with_is_fatal_on_the_machine_and_refused_from_the_datastore(name: str) -> None:
    assert _one(name, "?/").is_fatal
    found = resolve([_given(False, **{name: "?/"}), _given(False)])
    assert not found.is_fatal
    assert "it is refused" in str(found.problems[0])


def test_a_refused_value_leaves_a_weaker_source_in_force() -> None:
    found = resolve([_given(False, FailsafeInboundHostPorts="gre:1"), _given(False, FailsafeInboundHostPorts="tcp:1")])
    assert found.settings.failsafe_inbound == (ProtoPort(6, 1),)


def test_another_value_that_cannot_be_read_leaves_the_default() -> None:
    found = resolve([_given(False, VXLANVNI="x"), _given(False, VXLANVNI="5")])
    assert found.settings.vxlan_vni == 4096


def test_the_stronger_source_wins() -> None:
    sources = [
        _given(VXLANVNI="1"),
        _given(VXLANVNI="2", VXLANMTU="1300"),
        _given(False, VXLANMTU="1200", vxlanport="7"),
    ]
    found = resolve(sources).settings
    assert (found.vxlan_vni, found.vxlan_mtu, found.vxlan_port) == (1, 1300, 7)


def test_names_are_taken_in_any_case_and_unknown_ones_are_told() -> None:
    found = resolve(
        [from_environment({"FELIX_VXLANMTU": "1400", "felix_VxlanVni": "3", "FELIX_VXLANVNU": "9", "X": "y"})]
    )
    assert (found.settings.vxlan_mtu, found.settings.vxlan_vni) == (1400, 3)
    assert list(map(str, found.problems)) == [
        "the variable FELIX_VXLANVNU: VXLANVNU is no parameter (did you mean VXLANVNI?)"
    ]


def test_what_upstream_once_had_raises_no_complaint() -> None:
    assert not resolve([from_environment({"FELIX_IGNORELOOSERPF": "true", "FELIX_LOGFILEPATH": "none"})]).problems


def test_an_empty_value_is_ignored_and_told() -> None:
    found = resolve([_given(VXLANVNI=""), _given(VXLANVNI="2")])
    assert found.settings.vxlan_vni == 2
    assert "is empty" in str(found.problems[0])


def test_a_local_parameter_is_not_taken_from_the_datastore() -> None:
    found = resolve([_given(False, FelixHostname="other")], "Mine")
    assert found.settings.hostname == "mine"
    assert "only be set on the node itself" in str(found.problems[0])


def test_the_default_host_name_is_lowered_and_a_given_one_is_kept() -> None:
    assert resolve([], "Host").settings.hostname == "host"
    assert resolve([_given(FelixHostname="Host")], "x").settings.hostname == "Host"


def test_the_file_of_all_sections(tmp_path: Path) -> None:
    path = tmp_path / "felix.cfg"
    path.write_text("[global]\nMetadataAddr = None\nVXLANMTU = 1300\n[more]\nvxlanvni=5\n")
    found = resolve([from_file(str(path))])
    assert (found.settings.vxlan_mtu, found.settings.vxlan_vni, found.problems) == (1300, 5, ())
    assert from_file(str(tmp_path / "none")) == Source(True)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no section headers"):
        parse_file("VXLANMTU = 1", "felix.cfg")
    with pytest.raises(ConfigError, match="cannot be read"):
        from_file(str(tmp_path))


def _felix(name: str = "default", annotations: dict[str, str] | None = None, **spec: Any) -> Item:
    key, document = resource("FelixConfiguration", name, spec)
    if annotations:
        document["metadata"]["annotations"] = annotations
    return key, document


def _settings(item: Item) -> Resolved:
    return resolve([from_resources(decode_felix_configuration(item[0], stored(item[1])))])


def test_members_of_the_resource_and_their_names() -> None:
    found = _settings(
        _felix(
            ipipEnabled=True,
            ipipMTU=1400,
            vxlanEnabled=True,
            reportingInterval="1m30s",
            netlinkTimeout="500ms",
            logSeverityScreen="Warning",
            defaultEndpointToHostAction="Return",
            failsafeInboundHostPorts=[{"protocol": "TCP", "port": 22}, {"protocol": "SCTP", "port": 5}],
            failsafeOutboundHostPorts=[],
            externalNodesList=["10.0.0.0/8"],
            natPortRange="1:2",
            routeTableRange={"min": 1, "max": 250},
        )
    )
    assert not found.problems
    assert found.settings == Settings(
        ipip_enabled=True,
        ipip_mtu=1400,
        vxlan_enabled=True,
        reporting_interval=90.0,
        netlink_timeout=0.5,
        log_severity_screen="WARNING",
        default_endpoint_to_host_action="RETURN",
        failsafe_inbound=(ProtoPort(6, 22), ProtoPort(132, 5)),
        failsafe_outbound=(),
        external_nodes=("10.0.0.0/8",),
        nat_port_range=(1, 2),
    )


def test_one_member_that_cannot_be_read_leaves_the_others_in_force() -> None:
    found = _settings(_felix(vxlanEnabled=True, vxlanMTU="big", ipv6Support="no"))
    assert found.settings == Settings(vxlan_enabled=True)
    assert [str(problem) for problem in found.problems] == [
        "FelixConfiguration(default): spec.vxlanMTU: 'big' is not a whole number",
        "FelixConfiguration(default): spec.ipv6Support: 'no' is not true or false",
    ]


def test_an_annotation_gives_any_parameter_and_wins_over_the_member() -> None:
    item = _felix(annotations={"config.projectcalico.org/VXLANMTU": "1234", "other": "x"}, vxlanMTU=1300)
    assert _settings(item).settings.vxlan_mtu == 1234


def test_every_member_of_the_resource_is_a_parameter() -> None:
    assert {item_name(member.name) for member in SPEC.members} <= {parameter.name for parameter in PARAMETERS}


def test_every_field_of_the_settings_has_a_parameter_with_the_same_default() -> None:
    used = [parameter.field for parameter in PARAMETERS if parameter.field]
    assert sorted(used) == sorted(Settings._fields)
    for parameter in PARAMETERS:
        assert parameter.default == (getattr(Settings(), parameter.field) if parameter.field else "")


@pytest.mark.parametrize("raw", [b"[]", b"nonsense", b"3"])
@pytest.mark.parametrize("prefix", list(DECODERS))
def test_a_resource_that_is_no_resource(prefix: str, raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        DECODERS[prefix](f"{prefix}default", raw, 1)


def test_the_effect_of_a_change() -> None:
    start = Settings()
    assert effect(start, start) is Effect.NOTHING
    assert effect(start, start._replace(log_severity_screen="DEBUG")) is Effect.IN_PLACE
    assert effect(start, start._replace(log_severity_screen="DEBUG", vxlan_port=1)) is Effect.RESTART
    assert [one.name for one in differing(start, start._replace(vxlan_port=1))] == ["VXLANPort"]


def _put(configuration: Configuration, item: Item, decoder: Any) -> bool:
    return configuration.update(Update(item[0], decoder(item[0], stored(item[1]), 1), 1))


def test_the_configuration_follows_the_resources_of_its_node() -> None:
    configuration = Configuration([_given(VXLANVNI="7")], "A")
    assert configuration.hostname == "a"
    assert not configuration.is_ready
    mine, theirs = _felix("node.a", vxlanMTU=1400), _felix("node.b", vxlanMTU=2)
    assert _put(configuration, _felix(vxlanMTU=1300, vxlanVNI=8), decode_felix_configuration)
    assert not _put(configuration, theirs, decode_felix_configuration)
    assert configuration.resolve().settings == Settings("a", vxlan_vni=7, vxlan_mtu=1300)
    _put(configuration, mine, decode_felix_configuration)
    own = node("a", "10.0.0.1/24", "10.9.0.1")
    _put(configuration, own, decode)
    expected = Settings("a", vxlan_vni=7, vxlan_mtu=1400, vxlan_tunnel_address="10.9.0.1")
    assert configuration.resolve().settings == expected
    named = _felix("node.a", {"config.projectcalico.org/IPv4VXLANTunnelAddr": "10.9.0.2"}, vxlanMTU=1400)
    _put(configuration, named, decode_felix_configuration)
    assert configuration.resolve().settings == expected._replace(vxlan_tunnel_address="10.9.0.2")
    configuration.update(Update(mine[0], None, 2))
    configuration.update(Update(own[0], None, 2))
    assert configuration.resolve().settings == Settings("a", vxlan_vni=7, vxlan_mtu=1300)


@pytest.mark.parametrize(("value", "ready"), [(True, True), (False, False), (None, False)])
def test_the_datastore_says_whether_it_is_ready(value: bool | None, ready: bool) -> None:
    key, document = resource("ClusterInformation", "default", {"clusterGUID": "abc", "datastoreReady": value})
    configuration = Configuration([], "a")
    _put(configuration, (key, document), decode_cluster_information)
    assert configuration.is_ready is ready
    assert configuration.resolve().settings.cluster_guid == "abc"


def test_the_reference_page_is_the_tables() -> None:
    root = Path(__file__).resolve().parents[3]
    said = "run: python -m calico.felix.config.page > docs/reference/felix.md"
    assert (root / "docs/reference/felix.md").read_text() == page.markdown(), said
    assert page.MEANINGS.keys() == {parameter.name for parameter in PARAMETERS if parameter.field}
