"""Reading and writing resources: identity for every kind, member presence, defaults, strictness."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico.model import keys, profile
from calico.model.kinds import KINDS, find
from calico.model.metadata import METADATA
from calico.model.node import NodeBGP, NodeSpec, without_empty_bgp
from calico.model.problems import ModelError
from calico.model.resource import Resource, decode, encode, prepare, validate, with_metadata
from calico.model.scalars import ASNumberCodec, DurationCodec, Port, PortCodec, ProtocolCodec, TimestampCodec
from calico.model.schema import (
    Choice,
    Codec,
    Flag,
    Integer,
    Listing,
    Number,
    Struct,
    Text,
    TextMap,
    unique_members,
)

V3 = "projectcalico.org/v3"
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
_PORTS = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(
    lambda pair: Port(min(pair), max(pair))
) | st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).map(lambda name: Port(0, 0, name))
_DURATIONS = st.integers(-(1 << 62), 1 << 62)
_STAMPS = st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0"))


def typed(codec: Codec) -> st.SearchStrategy[Any]:
    """Values a codec can hold."""
    match codec:
        case Struct():
            members = [st.none() | typed(one.codec) if one.optional else typed(one.codec) for one in codec.members]
            return st.tuples(*members).map(codec.make)
        case Listing():
            return st.lists(typed(codec.item), max_size=2).map(tuple)
        case Choice():
            return st.sampled_from(["", *codec.values])
        case PortCodec():
            return _PORTS
        case TimestampCodec():
            return _STAMPS
        case Integer():
            return st.integers(codec.least, codec.most)
    plain: dict[type[Codec], st.SearchStrategy[Any]] = {
        Text: _TEXT,
        Flag: st.booleans(),
        Number: st.floats(allow_nan=False, allow_infinity=False),
        TextMap: st.dictionaries(_TEXT, _TEXT, max_size=2),
        ProtocolCodec: st.integers(0, 255) | st.sampled_from(["TCP", "ICMPv6", ""]),
        ASNumberCodec: st.integers(0, (1 << 32) - 1),
        DurationCodec: _DURATIONS,
        Codec: st.dictionaries(_TEXT, st.integers() | _TEXT, max_size=2),
    }
    return plain[type(codec)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back_the_same(kind: str) -> None:
    definition = KINDS[kind].definition()
    status = typed(definition.status) if definition.status else st.none()

    @settings(max_examples=25, deadline=None)
    @given(st.builds(Resource, st.just(kind), typed(METADATA), typed(definition.spec), status))
    def check(resource: Resource[Any]) -> None:
        written = json.loads(json.dumps(encode(resource)))
        assert decode(written) == resource
        assert decode(written, strict=False) == resource
        assert encode(decode(written)) == written

    check()


_NAMES = st.sampled_from(["kind", "apiVersion", "metadata", "spec", "name", "cidr", "labels"]) | _TEXT
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
)


@given(_JSON)
def test_any_document_is_read_or_refused_with_its_problems(value: Any) -> None:
    document = {"kind": "IPPool", "apiVersion": V3, "spec": value, "metadata": value}
    for strict in (True, False):
        try:
            resource = decode(document, strict=strict)
        except ModelError as error:
            assert error.problems
        else:
            assert isinstance(validate(resource), list)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("NetworkPolicy", {}),
        ("FelixConfiguration", {"bpfLogLevel": ""}),
        ("ClusterInformation", {"datastoreReady": None}),
        ("BGPPeer", {"peerIP": "", "asNumber": 0}),
        ("KubeControllersConfiguration", {"controllers": {}}),
        ("IPPool", {"cidr": ""}),
    ],
)
def test_an_empty_spec_still_has_the_members_upstream_always_writes(kind: str, expected: dict[str, Any]) -> None:
    written = encode(decode({"kind": kind, "apiVersion": V3}))
    assert written["spec"] == expected
    assert written["metadata"] == {"creationTimestamp": None}
    assert ("status" in written) == (kind in ("Node", "KubeControllersConfiguration"))


def test_a_pool_gets_its_defaults() -> None:
    def prepared(**spec: Any) -> dict[str, Any]:
        document = {"kind": "IPPool", "apiVersion": V3, "metadata": {"name": "a"}, "spec": spec}
        result: dict[str, Any] = encode(prepare(decode(document)))["spec"]
        return result

    modes = {"ipipMode": "Never", "vxlanMode": "Never", "nodeSelector": "all()"}
    assert prepared(cidr="10.0.0.0/8") == {"cidr": "10.0.0.0/8", "blockSize": 26, **modes}
    assert prepared(cidr="FD00:0::/64") == {"cidr": "fd00::/64", "blockSize": 122, **modes}
    assert prepared(cidr="10.0.0.1/8")["cidr"] == "10.0.0.1/8", "host bits are for the user to see"


@pytest.mark.parametrize(
    ("ingress", "egress", "expected"),
    [(0, 0, ["Ingress"]), (1, 0, ["Ingress"]), (0, 1, ["Egress"]), (1, 1, ["Ingress", "Egress"])],
)
@pytest.mark.parametrize("kind", ["NetworkPolicy", "GlobalNetworkPolicy"])
def test_a_policy_s_types_follow_its_rules(kind: str, ingress: int, egress: int, expected: list[str]) -> None:
    rules = [{"action": "Allow"}]
    spec: dict[str, Any] = {"ingress": rules * ingress, "egress": rules * egress}
    document = {"kind": kind, "apiVersion": V3, "metadata": {"name": "a"}, "spec": spec}
    assert list(prepare(decode(document)).spec.types) == expected
    given_types = {**document, "spec": {**spec, "types": ["Egress"]}}
    assert prepare(decode(given_types)).spec.types == ("Egress",)


def test_a_value_from_etcd_may_hold_members_nobody_knows() -> None:
    document = {"kind": "Node", "apiVersion": V3, "future": 1, "metadata": {"name": "a", "x": 1}, "spec": {"y": {}}}
    assert decode(document, strict=False).metadata.name == "a"
    with pytest.raises(ModelError) as caught:
        decode(document, where="nodes.yaml:7")
    assert [str(problem).partition(": no such member")[0] for problem in caught.value.problems] == [
        "nodes.yaml:7: future",
        "nodes.yaml:7: metadata.x",
        "nodes.yaml:7: spec.y",
    ]


@pytest.mark.parametrize("value", [[], "x", None, 7, True])
def test_a_value_that_is_no_mapping_is_unreadable(value: Any) -> None:
    with pytest.raises(ModelError, match="a resource is a mapping"):
        decode(value, strict=False)


def test_a_value_under_another_kind_s_key_is_unreadable() -> None:
    with pytest.raises(ModelError, match="Node does not belong under this key"):
        keys.from_stored(f"{keys.list_prefix('Profile')}a", {"kind": "Node", "apiVersion": V3}, 1)


def test_a_value_from_etcd_of_the_wrong_type_is_unreadable() -> None:
    with pytest.raises(ModelError, match=r"/calico/x: spec\.nets: 'a' is not a list"):
        decode({"kind": "NetworkSet", "apiVersion": V3, "spec": {"nets": "a"}}, where="/calico/x", strict=False)


def test_a_member_given_twice_can_be_told_while_json_is_read() -> None:
    assert json.loads('{"a":{"b":1}}', object_pairs_hook=unique_members) == {"a": {"b": 1}}
    with pytest.raises(ModelError, match="b: is given twice"):
        json.loads('{"a":{"b":1,"b":2}}', object_pairs_hook=unique_members)


def test_the_default_allow_profile_allows_everything() -> None:
    written = encode(profile.DEFAULT_ALLOW)
    allow = {"action": "Allow", "source": {}, "destination": {}}
    assert written["spec"] == {"ingress": [allow], "egress": [allow]}
    assert written["metadata"] == {
        "name": "projectcalico-default-allow",
        "resourceVersion": "0",
        "creationTimestamp": None,
    }


def test_a_node_without_any_address_has_no_bgp() -> None:
    node = decode({"kind": "Node", "apiVersion": V3, "spec": {"bgp": {}}})
    assert without_empty_bgp(node).spec == NodeSpec()
    kept = node._replace(spec=NodeSpec(bgp=NodeBGP(as_number=1)))
    assert without_empty_bgp(kept) is kept


def test_the_version_is_never_stored() -> None:
    document = {"kind": "Profile", "apiVersion": V3, "metadata": {"name": "a", "resourceVersion": "75"}}
    _, stored = keys.to_stored(decode(document))
    assert "resourceVersion" not in stored["metadata"]


def test_a_resource_s_id_names_its_namespace_where_it_has_one() -> None:
    policy = decode({"kind": "NetworkPolicy", "apiVersion": V3, "metadata": {"name": "a", "namespace": "b"}})
    assert policy.id == "NetworkPolicy(b/a)"
    assert decode({"kind": "Node", "apiVersion": V3, "metadata": {"name": "a"}}).id == "Node(a)"
    assert with_metadata(policy, namespace="c").id == "NetworkPolicy(c/a)"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("pool", "IPPool"),
        ("ipPool", "IPPool"),
        ("IPPOOLS", "IPPool"),
        ("policy", "NetworkPolicy"),
        ("gnp", "GlobalNetworkPolicy"),
        ("no", "Node"),
        ("wep", "WorkloadEndpoint"),
        ("bgpp", "BGPPeer"),
        ("felixconfig", "FelixConfiguration"),
        ("pro", "Profile"),
        ("gnetsets", "GlobalNetworkSet"),
        ("netsets", "NetworkSet"),
    ],
)
def test_a_kind_is_found_by_any_of_its_words(word: str, kind: str) -> None:
    found = find(word)
    assert found is not None
    assert found.name == kind
    assert find("nothing") is None


def test_no_word_means_two_kinds() -> None:
    words = [alias for kind in KINDS.values() for alias in set(kind.aliases)]
    assert len(words) == len(set(words))


def test_every_member_has_its_field() -> None:
    """A spec's NamedTuple and its members stand in the same order, with corresponding names."""

    def check(struct: Struct) -> None:
        fields = struct.make.__self__._fields
        assert len(fields) == len(struct.members)
        for field, member in zip(fields, struct.members, strict=True):
            plain = field.replace("_", "").removeprefix("legacy")
            assert plain == member.name.lower().replace("-", "").replace("_", "")
            codec = member.codec.item if isinstance(member.codec, Listing) else member.codec
            if isinstance(codec, Struct):
                check(codec)

    for kind in KINDS.values():
        check(kind.definition().spec)
    check(METADATA)
