"""The desired content of a table: whatever the history, it depends on the present state only; and what is in it."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calico.felix.dataplane.nft.content import Book, Delta
from calico.felix.dataplane.nft.family import V4, V6, Family
from calico.felix.dataplane.nft.names import policy_chain
from calico.felix.dataplane.nft.rendering import Rendering
from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.desired import (
    Changes,
    HostEndpoint,
    IpSet,
    Nat,
    Policy,
    PolicyId,
    PolicyList,
    Profile,
    SetChange,
    Side,
    Workload,
)
from calico.netlink.message import attribute_map, attributes, string
from calico.netlink.nftables.objects import VERDICT, Chain, Element, Rule, Set
from tests.unit.felix_nft.histories import INTERFACES, STATES
from tests.unit.felix_nft.states import EMPTY, OPEN, State, between, identity, policies, rule, workload

EXAMPLES = 400 if os.environ.get("DCOS_CALICO_SOAK") else 25
SETTINGS = NftSettings(vxlan_enabled=True, ipip_enabled=True, vxlan_address="x", ipip_address="y")


class Kernel:
    """What a table would hold after each change, and what the real one refuses: dangling or left references."""

    def __init__(self) -> None:
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, Set] = {}
        self.elements: dict[str, set[Element]] = {}

    def take(self, delta: Delta) -> None:
        for name, elements in delta.removed.items():
            assert elements <= self.elements[name]
            self.elements[name] -= elements
        for name in delta.gone:
            del self.sets[name], self.elements[name]
        for name, kind in delta.created.items():
            assert name not in self.sets
            self.sets[name], self.elements[name] = kind, set()
        for name, (existed, chain) in delta.chains.items():
            assert existed == (name in self.chains)
            if chain is None:
                del self.chains[name]
            else:
                self.chains[name] = chain
        for name, elements in delta.added.items():
            assert not elements & self.elements[name]
            keys = {element.key for element in self.elements[name]}
            if not self.sets[name].interval:
                assert not keys & {element.key for element in elements}
            self.elements[name] |= elements
        self.check()

    def check(self) -> None:
        for name, kind in self.sets.items():
            if kind.value is VERDICT:
                assert {element.value for element in self.elements[name]} <= self.chains.keys()
        references = [one for chain in self.chains.values() for rule in chain.rules for one in referred(rule)]
        assert {name for kind, name in references if kind == "chain"} <= self.chains.keys()
        assert {name for kind, name in references if kind == "set"} <= self.sets.keys()


def referred(rule: Rule) -> Iterator[tuple[str, str]]:
    """The chains and sets that a rule refers to, read from its expressions."""
    for part in rule.parts:
        if isinstance(part, bytes):
            ((_, expression),) = attributes(part)
            found = attribute_map(expression)
            name, data = string(found[1]), attribute_map(found.get(2, b""))
            if name in {"lookup", "dynset"}:
                yield "set", string(data[1])
            elif name == "immediate" and 2 in (value := attribute_map(data[2])) and 2 in attribute_map(value[2]):
                yield "chain", string(attribute_map(value[2])[2])


def content(book: Book) -> tuple[dict[str, Chain], dict[str, Set], dict[str, set[Element]]]:
    """Everything, with sets as hashes where they could be."""
    return book.chains, book.sets, book.elements


@pytest.mark.parametrize("family", [V4, V6], ids=["ip", "ip6"])
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(history=st.lists(st.tuples(STATES, INTERFACES), min_size=1, max_size=4))
def test_the_content_depends_on_the_present_only(
    family: Family, history: list[tuple[State, dict[str, frozenset[str]]]]
) -> None:
    rendering, kernel, before = Rendering(family, SETTINGS), Kernel(), EMPTY
    for state, interfaces in history:
        rendering.update(between(before, state))
        rendering.set_interfaces(interfaces)
        kernel.take(rendering.book.take())
        before = state
    fresh = Rendering(family, SETTINGS)
    fresh.set_interfaces(history[-1][1])
    fresh.update(between(EMPTY, before))
    fresh.use_intervals([name for name, kind in rendering.book.sets.items() if kind.interval])
    assert content(rendering.book) == content(fresh.book)
    assert (kernel.chains, kernel.sets, kernel.elements) == content(rendering.book)
    assert rendering.problems == fresh.problems


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(state=STATES)
def test_what_came_goes_without_a_trace(state: State) -> None:
    rendering = Rendering(V4, SETTINGS)
    start = [dict(part) for part in (rendering.book.chains, rendering.book.sets)]
    rendering.update(between(EMPTY, state))
    rendering.update(between(state, EMPTY))
    assert [dict(part) for part in (rendering.book.chains, rendering.book.sets)] == start
    assert rendering.workloads.groups == 0
    assert rendering.problems == {}


def rendered(state: State, family: Family = V4, **more: object) -> Rendering:
    rendering = Rendering(family, SETTINGS._replace(**more))  # type: ignore[arg-type]
    rendering.update(between(EMPTY, state))
    rendering.book.take()
    return rendering


ONE = State(
    policies={PolicyId("default.p"): Policy((rule(),), (rule(),))},
    profiles={"open": OPEN},
    workloads={identity("a"): workload("cali1", "10.65.0.1", ingress=("default.p",))},
)


def test_an_endpoint_with_a_known_list_is_two_elements() -> None:
    rendering = rendered(ONE)
    rendering.update(Changes(workloads={identity("b"): workload("cali2", "10.65.0.2", ingress=("default.p",))}))
    delta = rendering.book.take()
    assert not delta.chains
    assert {name: len(elements) for name, elements in delta.added.items()} == {"endpoints": 1, "sources": 1}


def test_an_endpoint_that_goes_takes_its_list_only_when_it_was_the_last() -> None:
    rendering = rendered(ONE)
    second = workload("cali2", "10.65.0.2", ingress=("default.p",))
    rendering.update(Changes(workloads={identity("b"): second}))
    rendering.book.take()
    rendering.update(Changes(workloads={identity("a"): None}))
    assert not rendering.book.take().chains
    rendering.update(Changes(workloads={identity("b"): None}))
    gone = {name for name, (_, chain) in rendering.book.take().chains.items() if chain is None}
    assert {"pi-default.p", "pri-open", "pro-open"} < gone


def test_a_policys_change_is_the_change_of_its_chains() -> None:
    rendering = rendered(ONE)
    rendering.update(Changes(policies={PolicyId("default.p"): Policy((rule("deny"),), ())}))
    delta = rendering.book.take()
    assert set(delta.chains) == {"pi-default.p"}
    assert not delta.added


def test_a_policy_has_chains_for_the_directions_that_are_used() -> None:
    chains = rendered(ONE).book.chains
    assert "pi-default.p" in chains
    assert "po-default.p" not in chains
    assert "hpi-default.p" not in chains


def test_the_same_again_is_no_change() -> None:
    rendering = rendered(ONE)
    rendering.update(between(EMPTY, ONE))
    assert rendering.book.take().is_empty


def test_two_workloads_on_one_interface_the_lower_id_has_it() -> None:
    second = workload("cali1", "10.65.0.9")
    rendering = rendered(ONE._replace(workloads={**ONE.workloads, identity("b"): second}))
    address = V4.pack("10.65.0.1")
    assert {element.key[16:] for element in rendering.book.elements["sources"]} == {address}
    rendering.update(Changes(workloads={identity("a"): None}))
    assert {element.key[16:] for element in rendering.book.elements["sources"]} == {V4.pack("10.65.0.9")}


def test_two_lists_with_one_number_get_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calico.felix.dataplane.nft.workloads.digest_number", lambda *_: 7)
    rendering = rendered(ONE._replace(workloads={**ONE.workloads, identity("b"): workload("cali2", "10.65.0.2")}))
    assert len(rendering.book.elements["from-groups"]) == 4
    assert len({element.value for element in rendering.book.elements["endpoints"]}) == 2


def test_a_network_that_comes_makes_an_interval_set_and_writes_its_users_again() -> None:
    state = ONE._replace(
        sets={"s:a": IpSet("net", frozenset({"10.0.0.1"}))},
        policies={PolicyId("default.p"): Policy((rule(source=Side(sets=("s:a",))),), ())},
    )
    rendering = rendered(state)
    assert not rendering.book.sets["s-a"].interval
    rendering.update(Changes(sets_changed={"s:a": SetChange(frozenset({"10.1.0.0/16"}), frozenset())}))
    delta = rendering.book.take()
    assert (set(delta.created), set(delta.gone)) == ({"s-a.n"}, {"s-a"})
    assert set(delta.chains) == {"pi-default.p"}
    rendering.update(Changes(sets_changed={"s:a": SetChange(frozenset(), frozenset({"10.1.0.0/16"}))}))
    delta = rendering.book.take()
    assert not delta.created
    assert not delta.chains
    assert rendering.book.sets["s-a.n"].interval


def test_members_are_in_the_table_of_their_family() -> None:
    members = IpSet("net", frozenset({"10.0.0.1/32", "fd65::1/128", "fd65::2"}))
    state = ONE._replace(sets={"s:a": members, "n:a": IpSet("port", frozenset({"10.0.0.1,tcp:80", "fd65::1,udp:53"}))})
    v4, v6 = rendered(state).book.elements, rendered(state, V6).book.elements
    assert (len(v4["s-a"]), len(v6["s-a"])) == (1, 2)
    assert v4["n-a"] == {Element(bytes((10, 0, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0)))}
    assert v6["n-a"] == {Element(V6.pack("fd65::1") + bytes((17, 0, 0, 0, 0, 53, 0, 0)))}


def test_one_address_in_two_ways_is_one_element_that_stays_until_both_are_gone() -> None:
    rendering = rendered(ONE._replace(sets={"s:a": IpSet("net", frozenset({"10.0.0.1", "10.0.0.1/32"}))}))
    rendering.update(Changes(sets_changed={"s:a": SetChange(frozenset(), frozenset({"10.0.0.1"}))}))
    assert len(rendering.book.elements["s-a"]) == 1
    rendering.update(Changes(sets_changed={"s:a": SetChange(frozenset(), frozenset({"10.0.0.1/32"}))}))
    assert len(rendering.book.elements["s-a"]) == 0


@pytest.mark.parametrize("member", ["10.0.0.300", "10.0.0.0/33", "nonsense", "10.0.0.1/x"])
def test_a_member_that_makes_no_sense_keeps_no_other_out(member: str) -> None:
    rendering = rendered(ONE._replace(sets={"s:a": IpSet("net", frozenset({"10.0.0.1", member}))}))
    assert sum(len(rendering.book.elements.get(name, ())) for name in ("s-a", "s-a.n")) == 1
    assert member in rendering.problems["s:a"]
    rendering.update(Changes(sets_changed={"s:a": SetChange(frozenset(), frozenset({member}))}))
    assert rendering.problems == {}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (workload("cali-that-is-too-long", "10.65.0.9"), "'cali-that-is-too-long'"),
        (workload("", "10.65.0.9"), "''"),
        (workload("cali 9", "10.65.0.9"), "'cali 9'"),
        (workload("cali9", "10.65.0.900"), "'10.65.0.900' is no address"),
        (workload("cali9", "10.65.0.9", nat=(Nat("1.2.3.4.5", "10.65.0.9"),)), "'1.2.3.4.5' is no address"),
        (workload("cali9", "10.65.0.9", nat=(Nat("1.2.3.4", "10.65.0"),)), "'10.65.0' is no address"),
    ],
)
def test_a_workload_that_the_kernel_could_not_hold_is_left_out_and_named(bad: Workload, said: str) -> None:
    rendering = rendered(ONE)
    before = {name: set(elements) for name, elements in rendering.book.elements.items()}
    rendering.update(Changes(workloads={identity("bad"): bad._replace(name="ns/bad")}))
    (line,) = rendering.problems.values()
    assert line.startswith("workload ns/bad: ")
    assert said in line
    assert rendering.book.elements == before
    rendering.update(Changes(workloads={identity("bad"): None}))
    assert rendering.problems == {}


MANY = tuple(f"n:{number}" for number in range(40))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (ONE._replace(policies={}), "policy default.p: is not there"),
        (ONE._replace(profiles={}), "profile open: is not there"),
        (
            ONE._replace(policies={PolicyId("default.p"): Policy((rule(source=Side(sets=("s:x",))),), ())}),
            "policy default.p: refers to sets that are not there: s:x",
        ),
        (
            ONE._replace(policies={PolicyId("default.p"): Policy((rule(source=Side(nets=("10.0.0.0/40",))),), ())}),
            "policy default.p: cannot be rendered, so it denies everything",
        ),
        (
            ONE._replace(
                sets={name: IpSet("port", frozenset()) for name in MANY},
                policies={PolicyId("default.p"): Policy((rule(source=Side(not_port_sets=MANY)),), ())},
            ),
            "policy default.p: cannot be rendered, so it denies everything",
        ),
    ],
)
def test_what_cannot_be_rendered_denies_and_is_named(state: State, said: str) -> None:
    rendering = rendered(state)
    assert any(line.startswith(said) for line in rendering.problems.values())
    chain = rendering.book.chains["pri-open" if "profile" in said else "pi-default.p"]
    assert len(chain.rules) == 1
    assert b"drop-out-" in b"".join(part for part in chain.rules[0].parts if isinstance(part, bytes))


def test_names_that_do_not_fit_are_hashed_and_stay_apart() -> None:
    long = "a" * 300
    assert policy_chain("default.p", "in", "workload") == "pi-default.p"
    assert policy_chain("ns/default.p", "out", "host") == "hpo-ns/default.p"
    names = {policy_chain(name, "in", "workload") for name in (long, long + "b", "späte", "mit leer")}
    assert len(names) == 4
    assert all(len(name) < 127 and name.isascii() for name in names)


def test_without_host_endpoints_the_filter_has_no_chain_of_theirs() -> None:
    chains = rendered(ONE).book.chains
    assert not {"filter-output", "raw-output", "mangle-prerouting", "from-host-endpoint"} & chains.keys()
    with_host = rendered(ONE._replace(host_endpoints={"h": HostEndpoint("eth0", (), ("open",))})).book.chains
    assert {"filter-output", "raw-output", "from-host-endpoint", "to-host-endpoint"} <= with_host.keys()
    assert not {"mangle-prerouting", "raw-from-host-endpoint", "from-host-endpoint-forward"} & with_host.keys()


@pytest.mark.parametrize("interface", ["a-name-that-is-too-long", "cali1"])
def test_a_host_endpoint_with_an_interface_no_host_s_is_nobodys(interface: str) -> None:
    forward = PolicyList(policies("default.p"), policies("default.p"))
    rendering = rendered(ONE._replace(host_endpoints={"h": HostEndpoint(interface, (), (), forward=forward)}))
    assert "from-host-endpoint" not in rendering.book.chains


def test_of_host_endpoints_that_claim_one_interface_the_first_name_has_it() -> None:
    first = HostEndpoint("eth0", (), (), normal=PolicyList(policies("default.p"), ()))
    by_address = HostEndpoint("", ("192.0.2.1",), ("open",))
    rendering = rendered(ONE._replace(host_endpoints={"b": first, "a": by_address}))
    assert "hpi-default.p" in rendering.book.chains
    rendering.set_interfaces({"eth0": frozenset({"192.0.2.1"})})
    assert "hpi-default.p" not in rendering.book.chains
    assert "hpri-open" in rendering.book.chains


def test_a_missing_profile_denies_though_it_has_rules() -> None:
    chain = rendered(ONE._replace(profiles={"open": Profile((rule(),), (), True)})).book.chains["pri-open"]
    assert len(chain.rules) == 1


def test_floating_addresses_lead_to_the_lower_id_and_only_while_it_is_up() -> None:
    nat = (Nat("198.51.100.1", "10.65.0.1"),)
    state = ONE._replace(
        workloads={
            identity("a"): workload("cali1", "10.65.0.1", nat=nat),
            identity("b"): workload("cali2", "10.65.0.2", nat=(Nat("198.51.100.1", "10.65.0.2"),)),
        }
    )
    rendering = rendered(state)
    key = V4.pack("198.51.100.1")
    assert rendering.book.elements["floating"] == {Element(key, V4.pack("10.65.0.1"))}
    rendering.update(Changes(workloads={identity("a"): workload("cali1", "10.65.0.1", nat=nat, active=False)}))
    assert rendering.book.elements["floating"] == {Element(key, V4.pack("10.65.0.2"))}
    assert rendering.book.elements["hairpin"] == {Element(V4.pack("10.65.0.2") * 2, key)}
