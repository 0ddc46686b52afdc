"""What passes and what does not, by real packets: a table of states, and for each what is tried.

One `Tables` goes through all of them, so that each is reached by a change from the one before.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.dataplane.nft.tables import Tables
from calico.felix.desired import (
    HostEndpoint,
    Icmp,
    IpSet,
    Nat,
    Policy,
    PolicyId,
    PolicyList,
    PortRange,
    Profile,
    Rule,
    Side,
)
from tests.integration.nft.topology import Topology
from tests.unit.felix_nft.states import (
    ANY,
    CLOSED,
    EMPTY,
    ICMP,
    OPEN,
    TCP,
    UDP,
    State,
    between,
    identity,
    policies,
    port,
    rule,
    workload,
)

VNI, VXLAN_PORT = 4096, 64000
SETTINGS = NftSettings(
    endpoint_to_host="RETURN", vxlan_enabled=True, vxlan_port=VXLAN_PORT, vxlan_vni=VNI, vxlan_address="10.65.9.0"
)


class Try(NamedTuple):
    """A packet and what becomes of it."""

    sender: str
    receiver: str
    passes: bool
    port: int = 4000
    version: int = 4
    how: str = "udp"


class Case(NamedTuple):
    """A state by name and what passes in it."""

    name: str
    state: State
    tries: tuple[Try, ...]


def vxlan(vni: int) -> bytes:
    return b"\x08\0\0\0" + vni.to_bytes(3, "big") + b"\0" + b"payload"


def state(
    ingress: tuple[Rule, ...] | None = None,
    egress: tuple[Rule, ...] | None = None,
    *,
    more: dict[str, Policy] | None = None,
    order: tuple[str, ...] = (),
    profile: Profile | None = OPEN,
    sets: dict[str, IpSet] | None = None,
    active: bool = True,
    hosts: dict[str, HostEndpoint] | None = None,
    nat: tuple[Nat, ...] = (),
) -> State:
    """Workload `one` has no policy; `two` has policy `p` with these rules, or those of `order`."""
    known = {PolicyId(name): policy for name, policy in (more or {}).items()}
    if ingress is not None or egress is not None:
        known[PolicyId("default.p")] = Policy(ingress or (), egress or ())
    names = order or (("default.p",) if ingress is not None or egress is not None else ())
    return State(
        sets=sets or {},
        policies=known,
        profiles={"open": OPEN} | ({"two": profile} if profile else {}),
        workloads={
            identity("one"): workload("cali1", "10.65.0.1", "fd65::1"),
            identity("two"): workload(
                "cali2",
                "10.65.0.2",
                "fd65::2",
                ingress=names if ingress is not None or order else (),
                egress=names if egress is not None else (),
                profiles=("two",),
                active=active,
                nat=nat,
            ),
        },
        host_endpoints=hosts or {},
    )


def nets(*members: str) -> IpSet:
    return IpSet("net", frozenset(members))


def here(*, source: Side = ANY, to: Side = ANY, action: str = "allow", **more: object) -> tuple[Rule, ...]:
    return (rule(action, UDP, source=source, to=to, **more),)  # type: ignore[arg-type]


IN = Try("one", "two", True)
NOT_IN = Try("one", "two", False)
OUT = Try("two", "one", True)
NOT_OUT = Try("two", "one", False)
IN6, NOT_IN6 = IN._replace(version=6), NOT_IN._replace(version=6)
ONE, TWO = Side(nets=("10.65.0.1/32",)), Side(nets=("10.65.0.2/32",))
PORTS = IpSet("port", frozenset({"10.65.0.2,udp:4000", "10.65.0.2,tcp:4000", "fd65::2,udp:4000"}))

CASES = (
    Case("profiles that allow", state(), (IN, OUT, IN6, Try("far", "two", True), Try("two", "far", True))),
    Case("a profile without rules", state(profile=CLOSED), (NOT_IN, NOT_OUT, NOT_IN6)),
    Case("a profile that is missing", state(profile=None), (NOT_IN, NOT_OUT)),
    Case("a profile marked missing", state(profile=Profile((Rule("allow"),), (), True)), (NOT_IN, NOT_OUT)),
    Case("ingress policy without rules", state(()), (NOT_IN, OUT, NOT_IN6)),
    Case("egress policy without rules", state(egress=()), (IN, NOT_OUT)),
    Case("allow", state((rule(),)), (IN, IN6, OUT)),
    Case("deny", state((rule("deny"),)), (NOT_IN, OUT)),
    Case("deny before allow", state((rule("deny", UDP), rule())), (NOT_IN, IN._replace(how="tcp"))),
    Case("allow before deny", state((rule("allow", UDP), rule("deny"))), (IN, NOT_IN._replace(how="tcp"))),
    Case("log goes on", state((rule("log"), rule())), (IN,)),
    Case("pass to the profile", state((rule("pass"), rule("deny"))), (IN, OUT)),
    Case("pass to a closed profile", state((rule("pass"),), profile=CLOSED), (NOT_IN,)),
    Case(
        "pass skips the policies behind",
        state(more={"a": Policy((rule("pass"),), ()), "b": Policy((rule("deny"),), ())}, order=("a", "b")),
        (IN,),
    ),
    Case(
        "order decides",
        state(more={"a": Policy((rule("deny"),), ()), "b": Policy((rule(),), ())}, order=("a", "b")),
        (NOT_IN,),
    ),
    Case(
        "order decides the other way",
        state(more={"a": Policy((rule("deny"),), ()), "b": Policy((rule(),), ())}, order=("b", "a")),
        (IN,),
    ),
    Case(
        "nothing matches in two policies",
        state(more={"a": Policy(here(to=port(1)), ()), "b": Policy(here(to=port(2)), ())}, order=("a", "b")),
        (NOT_IN,),
    ),
    Case("a policy that is not known", state(order=("default.none",)), (NOT_IN,)),
    Case("protocol", state((rule("allow", TCP),)), (NOT_IN, IN._replace(how="tcp"))),
    Case("not protocol", state((Rule("allow", not_protocol=TCP),)), (IN, NOT_IN._replace(how="tcp"))),
    Case("a port", state(here(to=port(4000))), (IN, NOT_IN._replace(port=4001), IN6)),
    Case(
        "ranges",
        state(here(to=Side(ports=(PortRange(10, 20), PortRange(4000, 4001), PortRange(4001, 4002))))),
        (IN, IN._replace(port=4002), NOT_IN._replace(port=4003)),
    ),
    Case("not a port", state(here(to=Side(not_ports=(PortRange(4000, 4000),)))), (NOT_IN, IN._replace(port=4001))),
    Case(
        "not a range",
        state(here(to=Side(not_ports=(PortRange(4000, 4009),)))),
        (NOT_IN._replace(port=4009), IN._replace(port=4010)),
    ),
    Case(
        "not ranges",
        state(here(to=Side(not_ports=(PortRange(1, 4000), PortRange(4002, 65535))))),
        (NOT_IN, IN._replace(port=4001), NOT_IN._replace(port=4002)),
    ),
    Case(
        "named ports", state(here(to=Side(port_sets=("n:a",))), sets={"n:a": PORTS}), (IN, IN6, NOT_IN._replace(port=1))
    ),
    Case(
        "named ports or numbers",
        state(here(to=Side(ports=(PortRange(5000, 5000),), port_sets=("n:a",))), sets={"n:a": PORTS}),
        (IN, IN._replace(port=5000), NOT_IN._replace(port=5001)),
    ),
    Case(
        "log of named ports or numbers",
        state(
            (
                rule("log", UDP, to=Side(ports=(PortRange(4000, 4000),), port_sets=("n:a",))),
                *here(to=port(4000)),
            ),
            sets={"n:a": PORTS},
        ),
        (IN,),
    ),
    Case(
        "not named ports",
        state(here(to=Side(not_port_sets=("n:a",))), sets={"n:a": PORTS}),
        (NOT_IN, IN._replace(port=4001), NOT_IN6),
    ),
    Case("a net", state(here(source=Side(nets=("10.65.0.0/31",)))), (IN, Try("far", "two", False), NOT_IN6)),
    Case("an address", state(here(source=ONE)), (IN, Try("far", "two", False))),
    Case(
        "nets of both families",
        state(here(source=Side(nets=("192.0.2.0/24", "10.65.0.1/32", "fd65::/64", "2001:db9::/32")))),
        (IN, IN6, Try("far", "two", True), Try("far", "two", False, version=6)),
    ),
    Case("not a net", state(here(source=Side(not_nets=("10.65.0.0/16",)))), (NOT_IN, Try("far", "two", True))),
    Case(
        "not nets",
        state(here(source=Side(not_nets=("10.65.0.0/16", "10.65.0.1/32", "172.16.0.0/12", "fd00::/8")))),
        (NOT_IN, Try("far", "two", True), NOT_IN6, Try("far", "two", True, version=6)),
    ),
    Case("every address", state(here(source=Side(nets=("0.0.0.0/0",)))), (IN, NOT_IN6)),
    Case("every address in halves", state(here(source=Side(nets=("0.0.0.0/1", "128.0.0.0/1")))), (IN, NOT_IN6)),
    Case("destination net", state(egress=here(to=ONE)), (OUT, Try("two", "far", False))),
    Case("ipVersion", state((Rule("allow", ip_version=6),)), (NOT_IN, IN6)),
    Case("a set", state(here(source=Side(sets=("s:a",))), sets={"s:a": nets("10.65.0.1/32")}), (IN, NOT_IN6)),
    Case("a set changed", state(here(source=Side(sets=("s:a",))), sets={"s:a": nets("192.0.2.2")}), (NOT_IN,)),
    Case(
        "a set with networks",
        state(here(source=Side(sets=("s:a",))), sets={"s:a": nets("192.0.2.2", "10.65.0.0/31", "fd65::/64")}),
        (IN, IN6, Try("far", "two", True)),
    ),
    Case(
        "a set with nested networks",
        state(here(source=Side(sets=("s:a",))), sets={"s:a": nets("10.0.0.0/8", "10.65.0.1/32", "10.65.0.0/16")}),
        (IN, Try("far", "two", False)),
    ),
    Case(
        "the outer network gone",
        state(here(source=Side(sets=("s:a",))), sets={"s:a": nets("10.65.0.1/32", "10.66.0.0/16")}),
        (IN, Try("far", "two", False)),
    ),
    Case("the set empty", state(here(source=Side(sets=("s:a",))), sets={"s:a": nets()}), (NOT_IN,)),
    Case("not in a set", state(here(source=Side(not_sets=("s:a",))), sets={"s:a": nets("10.65.0.1")}), (NOT_IN, IN6)),
    Case(
        "in two sets",
        state(
            here(source=Side(sets=("s:a", "s:b"))),
            sets={"s:a": nets("10.65.0.1", "192.0.2.2"), "s:b": nets("10.65.0.1")},
        ),
        (IN, Try("far", "two", False)),
    ),
    Case("admin down", state(active=False), (NOT_IN, NOT_OUT, NOT_IN6, Try("two", "host", False))),
    Case("up again", state(), (IN, OUT)),
    Case("icmp", state((rule("allow", ICMP),)), (NOT_IN, IN._replace(how="8/0"))),
    Case(
        "icmp type",
        state((Rule("allow", protocol=ICMP, icmp=Icmp(13)),)),
        (NOT_IN._replace(how="8/0"), IN._replace(how="13/0")),
    ),
    Case(
        "icmp type and code",
        state((Rule("allow", protocol=ICMP, icmp=Icmp(8, 1)),)),
        (NOT_IN._replace(how="8/0"), IN._replace(how="8/1")),
    ),
    Case(
        "not icmp type and code",
        state((Rule("allow", protocol=ICMP, not_icmp=Icmp(8, 1)),)),
        (IN._replace(how="8/0"), NOT_IN._replace(how="8/1"), IN._replace(how="13/0")),
    ),
    Case(
        "not icmp type",
        state((Rule("allow", protocol=ICMP, not_icmp=Icmp(8)),)),
        (NOT_IN._replace(how="8/0"), NOT_IN._replace(how="8/1"), IN._replace(how="13/0")),
    ),
    Case("to the host by Return", state(), (Try("two", "host", True), Try("two", "host", True, version=6))),
    Case("to the host against egress", state(egress=()), (Try("two", "host", False), Try("host", "two", True))),
    Case(
        "a host endpoint closes the host",
        state(hosts={"e": HostEndpoint("eth0", (), ())}),
        (
            Try("far", "host", False),
            Try("host", "far", False),
            Try("far", "host", True, 22, how="tcp"),
            Try("far", "host", True, 68),
            Try("host", "far", True, 53),
            Try("far", "two", True),
            Try("host", "two", True),
        ),
    ),
    Case(
        "a host endpoint's policy",
        state(
            more={"h": Policy(here(to=port(4000)), here(to=port(4001)))},
            hosts={"e": HostEndpoint("eth0", (), (), normal=PolicyList(policies("h"), policies("h")))},
        ),
        (
            Try("far", "host", True),
            Try("far", "host", False, 4001),
            Try("host", "far", True, 4001),
            Try("host", "far", False),
        ),
    ),
    Case(
        "applyOnForward",
        state(
            more={"h": Policy(here(to=port(4000)), here(to=port(4001)))},
            hosts={"e": HostEndpoint("eth0", (), ("open",), forward=PolicyList(policies("h"), policies("h")))},
        ),
        (
            Try("far", "two", True),
            Try("far", "two", False, 4001),
            Try("two", "far", True, 4001),
            Try("two", "far", False),
            Try("one", "two", True, 4005),
            Try("far", "host", True, 4005),
        ),
    ),
    Case(
        "every interface, applyOnForward",
        state(
            more={"h": Policy(here(to=port(4000)), here())},
            hosts={"e": HostEndpoint("*", (), ("open",), forward=PolicyList(policies("h"), ()))},
        ),
        (
            Try("far", "two", True),
            Try("far", "two", False, 4001),
            Try("one", "two", False, 4001),
            Try("one", "two", True),
        ),
    ),
    Case(
        "every interface but the one with its own",
        state(hosts={"a": HostEndpoint("*", (), ()), "b": HostEndpoint("eth0", (), ("open",))}),
        (Try("far", "host", True), Try("host", "far", True), Try("host", "host", True)),
    ),
    Case(
        "every interface",
        state(hosts={"a": HostEndpoint("*", (), ())}),
        (Try("far", "host", False), Try("host", "host", True)),
    ),
    Case(
        "a host endpoint by address",
        state(hosts={"a": HostEndpoint("", ("192.0.2.1",), ())}),
        (Try("far", "host", False), Try("far", "two", True)),
    ),
    Case(
        "untracked deny",
        state(
            more={"u": Policy((rule("deny", UDP, to=port(4000)),), (), untracked=True)},
            hosts={"e": HostEndpoint("eth0", (), ("open",), untracked=PolicyList(policies("u"), ()))},
        ),
        (
            Try("far", "host", False),
            Try("far", "two", False),
            Try("far", "host", True, 4001),
            Try("far", "two", True, 4001),
        ),
    ),
    Case(
        "untracked allow before a closed endpoint",
        state(
            more={"u": Policy(here(to=port(4000)), (), untracked=True)},
            hosts={"e": HostEndpoint("eth0", (), (), untracked=PolicyList(policies("u"), ()))},
        ),
        (Try("far", "host", True), Try("far", "host", False, 4001)),
    ),
    Case(
        "pre-DNAT deny",
        state(
            more={"d": Policy((rule("deny", UDP, to=port(4000)),), (), pre_dnat=True)},
            hosts={"e": HostEndpoint("eth0", (), ("open",), pre_dnat=PolicyList(policies("d"), ()))},
        ),
        (Try("far", "host", False), Try("far", "two", False), Try("far", "two", True, 4001)),
    ),
    Case(
        "pre-DNAT allow before a closed endpoint",
        state(
            more={"d": Policy(here(to=port(4000)), (), pre_dnat=True)},
            hosts={"e": HostEndpoint("eth0", (), (), pre_dnat=PolicyList(policies("d"), ()))},
        ),
        (Try("far", "host", True), Try("far", "host", False, 4001)),
    ),
)


@pytest.fixture(scope="module")
def walked(shared: Topology) -> Iterator[Callable[[State], Tables]]:
    shared.nft("flush", "ruleset")
    tables = Tables(shared.netlink, SETTINGS)
    tables.set_interfaces({"eth0": frozenset({"192.0.2.1", "2001:db8::1"})})
    stands = [EMPTY]

    def walk(wanted: State) -> Tables:
        tables.apply(between(stands[-1], wanted))
        stands.append(wanted)
        return tables

    yield walk
    shared.nft("flush", "ruleset")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_passes(case: Case, walked: Callable[[State], Tables], shared: Topology) -> None:
    tables = walked(case.state)
    assert tables.metrics()["failures"] == 0
    outcome = {one: try_it(shared, one) for one in case.tries}
    assert outcome == {one: one.passes for one in case.tries}


def try_it(network: Topology, what: Try) -> bool:
    if what.how == "udp":
        return network.udp(what.sender, what.receiver, what.port, version=what.version)
    if what.how == "tcp":
        return network.tcp(what.sender, what.receiver, what.port, version=what.version)
    kind, code = map(int, what.how.split("/"))
    return network.icmp(what.sender, what.receiver, kind, code)


def test_the_walk_left_what_one_step_would(walked: Callable[[State], Tables], shared: Topology) -> None:
    final = CASES[-1].state
    walked(final)
    fresh = Tables(shared.netlink, SETTINGS)
    fresh.set_interfaces({"eth0": frozenset({"192.0.2.1", "2001:db8::1"})})
    assert fresh.apply(between(EMPTY, final)).messages == 0
