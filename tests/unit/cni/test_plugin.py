"""The engine dies, or loses an answer, at every call it makes: what it left is found by whoever comes after."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from calico.cni.conf import parse_call
from calico.cni.errors import CniError
from calico.cni.plugin import Plugin
from calico.datastore.memory import MemoryStore
from calico.ipam.check import Use, check
from calico.ipam.snapshot import take_snapshot
from tests.unit.calico_node.cluster import settings, started
from tests.unit.cni.kernel import Kernel
from tests.unit.cni.steps import BAD_FATES, Steps
from tests.unit.ipam.actors import Crash, Fate, GatedStore
from tests.unit.ipam.cluster import allocated, assert_consistent, documents

_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))
NODE = "10.0.0.5"
C1, C2 = "c1aaaaaaaaaaaaaaa", "c2bbbbbbbbbbbbbbb"
ENDPOINTS = "/calico/resources/v3/projectcalico.org/workloadendpoints/default/"


class World:
    """One node, its kernel, and an engine whose calls go through `steps`."""

    def __init__(self, state: Path) -> None:
        self.store, self.steps, self.kernel = MemoryStore(), Steps(), Kernel()
        self.patch = pytest.MonkeyPatch()
        started(state, NODE, store=self.store, cidr="10.0.0.0/24")
        self.nodename = settings(state, NODE).nodename_file
        self.kernel.step = self.steps.die_perhaps  # type: ignore[method-assign]
        self.kernel.install(self.patch)

    def call(self, command: str, container: str, **conf: Any) -> dict[str, Any] | None:
        """One call, in a process of its own."""
        document = {"cniVersion": "1.1.0", "name": "calico", "type": "calico", "ipam": {"type": "calico-ipam"}, **conf}
        environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": "eth0", "CNI_NETNS": "/ns"}
        plugin = Plugin(GatedStore(self.store, self.steps.gate), None, self.nodename)
        return plugin.run(parse_call("calico", environment, json.dumps(document).encode(), 7))

    def add(self, container: str) -> str:
        """The address that an ADD answers."""
        answer = self.call("ADD", container)
        assert answer
        return str(answer["ips"][0]["address"]).removesuffix("/32")

    def endpoints(self) -> dict[str, str]:
        """Container -> address of the endpoints stored."""
        found = documents(self.store, ENDPOINTS).values()
        return {one["spec"]["containerID"]: one["spec"]["ipNetworks"][0].removesuffix("/32") for one in found}

    def assert_nothing_left(self, *but: str) -> None:
        """Only these containers have anything."""
        assert set(self.endpoints()) == set(but)
        assert {one.owner.container_id for one in self.kernel.interfaces.values()} == set(but)
        held = {address: one["handle_id"] for address, one in allocated(self.store).items()}
        assert held == {address: f"calico.{container}" for container, address in self.endpoints().items()}
        assert_consistent(self.store)


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    yield made
    made.patch.undo()


@pytest.mark.parametrize("fate", BAD_FATES)
@pytest.mark.parametrize("then", ["DEL", "ADD", "GC"])
def test_an_add_that_ends_anywhere(world: World, fate: Fate, then: str) -> None:
    world.add(C2)
    count = world.steps.calls_of(lambda: world.add(C1))
    world.call("DEL", C1)
    assert count >= 10
    for number in range(count):
        world.steps.arm(number, fate)
        with suppress(CniError, Crash):
            world.add(C1)
        world.steps.disarm()
        report = check(take_snapshot(world.store))
        assert report.findings == ()
        assert {one.use for one in report.allocations} <= {Use.ENDPOINT, Use.LEAKED}
        if then == "ADD":
            address = world.add(C1)
            world.assert_nothing_left(C1, C2)
            assert world.endpoints()[C1] == address
            assert world.add(C1) == address
            world.call("CHECK", C1)
            world.call("DEL", C1)
        elif then == "DEL":
            world.call("DEL", C1)
        else:
            world.call("GC", "", **{"cni.dev/valid-attachments": [{"containerID": C2, "ifname": "eth0"}]})
        world.assert_nothing_left(C2)


def test_networks_that_share_a_profile_do_not_collect_one_anothers_containers(world: World) -> None:
    world.add(C1)
    blue = {"name": "blue", "profile": "calico"}
    answer = world.call("ADD", C2, **blue)
    assert answer
    (profiles,) = {tuple(one["spec"]["profiles"]) for one in documents(world.store, ENDPOINTS).values()}
    assert profiles == ("calico",)
    assert not documents(world.store, "/calico/resources/v3/projectcalico.org/profiles/blue")
    world.call("GC", "", **{"cni.dev/valid-attachments": [{"containerID": C1, "ifname": "eth0"}]})
    assert set(world.endpoints()) == {C1, C2}
    world.call("GC", "", **blue, **{"cni.dev/valid-attachments": []})
    world.assert_nothing_left(C1)


@pytest.mark.parametrize("fate", BAD_FATES)
def test_a_del_that_ends_anywhere(world: World, fate: Fate) -> None:
    world.add(C1)
    count = world.steps.calls_of(lambda: world.call("DEL", C1))
    for number in range(count):
        world.add(C1)
        world.steps.arm(number, fate)
        with suppress(CniError, Crash):
            world.call("DEL", C1)
        world.steps.disarm()
        world.call("DEL", C1)
        world.assert_nothing_left()


def test_a_second_network_of_a_container_adds_its_profile(world: World) -> None:
    first = world.add(C1)
    environment = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": C1, "CNI_IFNAME": "eth1", "CNI_NETNS": "/ns"}
    conf = {"cniVersion": "0.3.1", "name": "second", "type": "calico", "ipam": {"type": "calico-ipam"}}
    plugin = Plugin(world.store, None, world.nodename)
    answer = plugin.run(parse_call("calico", environment, json.dumps(conf).encode(), 7))
    assert answer
    assert answer["ips"] == [{"version": "4", "address": f"{first}/32"}]
    (endpoint,) = documents(world.store, ENDPOINTS).values()
    assert endpoint["spec"]["profiles"] == ["calico", "second"]
    plugin.run(parse_call("calico", {**environment, "CNI_COMMAND": "DEL"}, json.dumps(conf).encode(), 7))
    world.assert_nothing_left(C1)  # the first network's is all there
    profile = documents(world.store, "/calico/resources/v3/projectcalico.org/profiles/")["second"]["spec"]
    assert profile["labelsToApply"] == {"second": ""}
    assert profile["ingress"] == [{"action": "Allow", "source": {"selector": "has(second)"}, "destination": {}}]


def test_an_interface_that_is_gone_is_made_anew(world: World) -> None:
    address = world.add(C1)
    world.kernel.interfaces.clear()
    assert world.add(C1) == address
    world.call("CHECK", C1)
    world.assert_nothing_left(C1)


def test_ids_that_begin_alike_are_refused(world: World) -> None:
    world.add("0123456789a-first")
    with pytest.raises(CniError, match="is there already, for 0123456789a-first"):
        world.add("0123456789a-second")
    world.assert_nothing_left("0123456789a-first")


@pytest.mark.parametrize(
    ("container", "conf", "said"),
    [
        ("UPPER", {}, "metadata.name"),
        ("-c", {}, "containerID"),
        (C1, {"ipam": {"type": "calico-ipam", "ipv4_pools": ["nothing"]}}, 'error parsing pool "nothing"'),
        (C1, {"ipam": {"type": "calico-ipam", "ipv4_pools": ["fd00::/64"]}}, "isn't a IPv4 address"),
        (C1, {"ipam": {"type": "calico-ipam", "ipv4_pools": ["10.9.0.0/24"]}}, "does not exist, or is not enabled"),
        (C1, {"ipam": {"type": "host-local"}}, "must be calico-ipam"),
        (C1, {"ipam": {"type": "calico-ipam", "assign_ipv4": "false"}}, "missing IP config"),
        (C1, {"feature_control": {"ip_addrs_no_ipam": True}}, "ip_addrs_no_ipam"),
    ],
)
def test_what_is_refused_leaves_nothing(world: World, container: str, conf: dict[str, Any], said: str) -> None:
    with pytest.raises(CniError) as caught:
        world.call("ADD", container, **conf)
    assert said in str(caught.value)
    world.assert_nothing_left()


def test_check_names_what_is_wrong(world: World) -> None:
    world.add(C1)
    with pytest.raises(CniError, match=r"prevResult has 10.0.0.99/32"):
        world.call("CHECK", C1, prevResult={"ips": [{"address": "10.0.0.99/32"}]})
    world.kernel.interfaces.clear()
    with pytest.raises(CniError, match="it is not there"):
        world.call("CHECK", C1)
    with pytest.raises(CniError, match="does not exist"):
        world.call("CHECK", C2)


# -- many containers, any order, deaths in between ---------------------------------------------------------------------

_CONTAINERS = st.sampled_from([f"c{number:015d}" for number in range(8)])
_FATES = st.sampled_from([Fate.DONE, Fate.DONE, *Fate])


class Node(RuleBasedStateMachine):
    """A runtime that starts, stops, repeats and forgets, on a node whose processes die and lose answers."""

    wanted: Bundle[str] = Bundle("wanted")

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.directory = tempfile.TemporaryDirectory()
        self.world = World(Path(self.directory.name))
        self.addresses: dict[str, str] = {}
        self.unsure: set[str] = set()

    def _try(self, work: Callable[[], Any], number: int, fate: Fate) -> Any:
        self.world.steps.arm(number, fate)
        try:
            return work()
        except (CniError, Crash):
            return None
        finally:
            self.world.steps.disarm()

    @rule(target=wanted, container=_CONTAINERS, number=st.integers(0, 20), fate=_FATES)
    def add(self, container: str, number: int, fate: Fate) -> str:
        address = self._try(lambda: self.world.add(container), number, fate)
        if address is None:
            self.unsure.add(container)
            return container
        if container not in self.unsure:
            assert self.addresses.get(container, address) == address, "a second ADD answers the same"
        self.addresses[container] = address
        self.unsure.discard(container)
        return container

    @rule(target=wanted, container=consumes(wanted), number=st.integers(0, 12), fate=_FATES)
    def delete(self, container: str, number: int, fate: Fate) -> Any:
        self._try(lambda: self.world.call("DEL", container), number, fate)
        self.addresses.pop(container, None)
        self.unsure.add(container)
        return multiple()

    @rule()
    def collect(self) -> None:
        valid = [{"containerID": one, "ifname": "eth0"} for one in self.addresses if one not in self.unsure]
        self.world.call("GC", "", **{"cni.dev/valid-attachments": valid})
        self.addresses = {one: address for one, address in self.addresses.items() if one not in self.unsure}
        self.world.assert_nothing_left(*self.addresses)

    @invariant()
    def no_address_twice(self) -> None:
        sure = {one: address for one, address in self.addresses.items() if one not in self.unsure}
        assert len(set(sure.values())) == len(sure)
        held = allocated(self.world.store)
        for container, address in sure.items():
            assert held[address]["handle_id"] == f"calico.{container}"
            assert self.world.endpoints()[container] == address

    @invariant()
    def everything_adds_up(self) -> None:
        assert_consistent(self.world.store)

    def teardown(self) -> None:
        self.world.patch.undo()
        self.directory.cleanup()


TestNode = Node.TestCase
TestNode.settings = hypothesis_settings(max_examples=500 if _SOAK else 40, stateful_step_count=20, deadline=None)
