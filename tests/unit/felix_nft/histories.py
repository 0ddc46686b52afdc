"""Random desired states and histories of them."""

from typing import Any

from hypothesis import strategies as st

from calico.felix.desired import (
    Host,
    HostEndpoint,
    Icmp,
    IpSet,
    Nat,
    Policy,
    PolicyId,
    PolicyList,
    Pool,
    PortRange,
    Profile,
    Rule,
    Side,
    Vtep,
    Workload,
)
from tests.unit.felix_nft.states import State, identity

_NETS = ("10.65.0.1/32", "10.65.0.0/16", "10.0.0.0/8", "192.0.2.2/32", "0.0.0.0/0", "fd65::1/128", "fd65::/64", "::/0")
_PORTS = ("10.65.0.1,tcp:80", "10.65.0.2,udp:53", "fd65::1,tcp:80", "10.65.0.9,sctp:5")
SET_NAMES, PORT_SETS = ("s:a", "s:b", "s:c"), ("n:a", "n:b")
_POLICIES, _PROFILES = tuple(f"default.p{number}" for number in range(4)), ("open", "closed", "gone")
_INTERFACES, _WORKLOADS = tuple(f"cali{number}" for number in range(4)), tuple("abcde")


def _some(values: tuple[Any, ...], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


_RANGES = st.lists(
    st.builds(lambda first, more: PortRange(first, first + more), st.integers(1, 65000), st.integers(0, 500)),
    max_size=2,
).map(tuple)

_SIDES = st.builds(
    Side,
    _some(_NETS),
    _some(_NETS),
    _some(SET_NAMES),
    _some(SET_NAMES),
    _RANGES,
    _RANGES,
    _some(PORT_SETS),
    _some(PORT_SETS),
)
_ICMP = st.none() | st.builds(Icmp, st.integers(0, 255), st.none() | st.integers(0, 255))
RULES = st.builds(
    Rule,
    st.sampled_from(["allow", "deny", "pass", "log"]),
    st.sampled_from([0, 4, 6]),
    st.sampled_from([None, 1, 6, 17, 58]),
    st.sampled_from([None, 6]),
    _ICMP,
    _ICMP,
    st.just(Side()) | _SIDES,
    st.just(Side()) | _SIDES,
    st.sampled_from([(), (("name", "a rule"),)]),
)
_RULE_LISTS = st.lists(RULES, max_size=3).map(tuple)
_LISTS = st.builds(
    PolicyList,
    _some(_POLICIES, 3).map(lambda names: tuple(map(PolicyId, names))),
    _some(_POLICIES, 3).map(lambda names: tuple(map(PolicyId, names))),
)
_ADDRESSES4, _ADDRESSES6 = ("10.65.0.1", "10.65.0.2", "10.65.0.3"), ("fd65::1", "fd65::2")
_NATS = st.lists(
    st.builds(Nat, st.sampled_from(["198.51.100.1", "198.51.100.2"]), st.sampled_from(_ADDRESSES4)), max_size=2
).map(tuple)
_WORKLOAD = st.builds(
    Workload,
    st.sampled_from(_INTERFACES),
    st.just(""),
    _some(_ADDRESSES4),
    _some(_ADDRESSES6),
    _NATS,
    st.booleans(),
    _some(_PROFILES),
    _LISTS,
)
_HOST_ENDPOINT = st.builds(
    HostEndpoint,
    st.sampled_from(["eth0", "eth1", "*", ""]),
    _some(("192.0.2.1", "192.0.2.2")),
    _some(_PROFILES),
    _LISTS,
    _LISTS,
    _LISTS,
    _LISTS,
)

STATES = st.builds(
    State,
    st.fixed_dictionaries(
        {
            **{name: _some(_NETS, 6).map(lambda some: IpSet("net", frozenset(some))) for name in SET_NAMES},
            **{name: _some(_PORTS, 4).map(lambda some: IpSet("port", frozenset(some))) for name in PORT_SETS},
        }
    ),
    st.fixed_dictionaries({PolicyId(name): st.builds(Policy, _RULE_LISTS, _RULE_LISTS) for name in _POLICIES}),
    st.dictionaries(st.sampled_from(_PROFILES), st.builds(Profile, _RULE_LISTS, _RULE_LISTS, st.booleans())),
    st.dictionaries(st.sampled_from(_WORKLOADS).map(identity), _WORKLOAD),
    st.dictionaries(st.sampled_from("hij"), _HOST_ENDPOINT),
    st.dictionaries(
        st.sampled_from(["n1", "n2"]),
        st.sampled_from(["192.0.2.7", "192.0.2.8", ""]).map(lambda one: Vtep("10.65.9.1", "66:00:00:00:00:01", one)),
    ),
    st.dictionaries(
        st.sampled_from(["10.65.0.0/16", "fd65::/64"]), st.builds(Pool, st.just("none"), st.just(False), st.booleans())
    ),
    st.dictionaries(st.sampled_from(["n1", "n2"]), st.sampled_from(["192.0.2.7", ""]).map(Host)),
)
INTERFACES = st.dictionaries(
    st.sampled_from(["eth0", "eth1"]), st.sampled_from([frozenset({"192.0.2.1"}), frozenset({"192.0.2.2"})])
)
