"""Random histories of changes and of interfaces: the kernel ends up as if everything had been wanted from the start."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico.felix.dataplane.network import Network, Settings
from calico.felix.dataplane.routes import RouteSettings
from calico.felix.dataplane.tunnels import TunnelSettings
from calico.felix.desired import Changes, Host, PolicyList, Route, Vtep, Workload, WorkloadId
from calico.felix.state import State
from tests.integration.felix.spaces import Space, run, sweep

SEEDS = range(40 if os.environ.get("DCOS_CALICO_SOAK") else 4)
STEPS = 60
SETTINGS = Settings(RouteSettings("here", vxlan=True), TunnelSettings(vxlan=True, vxlan_mtu=1450), Path("/dev/null"))


class World:
    """A namespace, dice, and the sum of what was wanted."""

    def __init__(self, space: Space, dice: random.Random) -> None:
        self.space, self.dice, self.state = space, dice, State()

    def change(self) -> Changes:
        """Something else is wanted."""
        dice = self.dice
        workloads = {
            WorkloadId("cni", name, "eth0"): dice.choice([None, self._workload()])
            for name in dice.sample("abcde", dice.randint(0, 2))
        }
        routes = {
            network: dice.choice([None, self._route()])
            for network in dice.sample(["10.0.0.0/26", "10.0.1.0/26", "10.0.1.7/32", "10.0.2.0/26"], dice.randint(0, 2))
        }
        vteps = {
            node: dice.choice(
                [None, Vtep(f"10.0.{dice.randint(1, 3)}.63", f"66:00:00:00:00:0{number}", f"10.9.0.{number}")]
            )
            for number, node in ((2, "there"), (3, "elsewhere"))
            if dice.random() < 0.3
        }
        here = Host(
            "10.9.0.1", vxlan_address=dice.choice(["10.0.0.63", "10.0.0.62"]), vxlan_mac=dice.choice(["", _MAC])
        )
        hosts = {"here": here} if dice.random() < 0.2 or "here" not in self.state.hosts else {}
        return self._real(Changes(workloads=workloads, routes=routes, vteps=vteps, hosts=hosts))

    def _real(self, changes: Changes) -> Changes:
        """Without the removal of what is not there."""
        kept = {
            name: {
                key: value
                for key, value in getattr(changes, name).items()
                if value is not None or key in getattr(self.state, name)
            }
            for name in ("workloads", "routes", "vteps", "hosts")
        }
        real = changes._replace(**kept)  # type: ignore[arg-type]
        self.state.apply(real)
        return real

    def _workload(self) -> Workload:
        dice = self.dice
        four = tuple(f"10.0.0.{number}" for number in dice.sample(range(1, 6), dice.randint(0, 2)))
        six = tuple(f"fd00::{number}" for number in dice.sample(range(1, 4), dice.randint(0, 1)))
        return Workload(f"cali{dice.randint(1, 4)}", "", four, six, (), dice.random() < 0.9, (), PolicyList())

    def _route(self) -> Route:
        dice = self.dice
        kind, node = dice.choice(
            [("remote-workload", "there"), ("remote-workload", "elsewhere"), ("local-workload", "here")]
        )
        address = {"there": "10.9.0.2", "elsewhere": "10.9.0.3", "here": "10.9.0.1"}[node]
        return Route(kind, node, address, dice.choice(["vxlan", "vxlan", "none"]), same_subnet=dice.random() < 0.3)  # type: ignore[arg-type]

    def disturb(self) -> None:
        """Something happens to an interface."""
        number = self.dice.randint(1, 4)
        name = f"cali{number}"
        self.space.ip(
            *self.dice.choice(
                [
                    ["link", "del", name],
                    ["link", "add", name, "type", "veth", "peer", "name", f"c{number}"],
                    ["link", "set", name, "up"],
                    ["link", "set", name, "up"],
                    ["link", "set", name, "down"],
                    ["link", "set", "eth0", "up"],
                    ["link", "set", "vxlan.calico", "down"],
                    ["link", "del", "vxlan.calico"],
                ]
            ),
            check=False,
        )

    def everything(self) -> Changes:
        state = self.state
        return Changes(workloads=state.workloads, routes=state.routes, vteps=state.vteps, hosts=state.hosts)

    def shown(self) -> list[str]:
        """What the kernel has."""
        name = self.space.name
        lines = self.space.ip("route").splitlines() + self.space.ip("-6", "route").splitlines()
        lines += self.space.ip("neigh", "show", "nud", "permanent").splitlines()
        lines += run("bridge", "-n", name, "fdb", "show", "dev", "vxlan.calico", check=False).splitlines()
        return sorted(" ".join(line.replace("linkdown", "").split()) for line in lines if "fe80" not in line)


_MAC = "66:00:00:00:00:aa"


@pytest.fixture
def space() -> Iterator[Space]:
    sweep()
    made = Space("history")
    lines = [
        "link add eth0 type veth peer name far",
        "addr add 10.9.0.1/24 dev eth0",
        "link set eth0 up",
        "link set far up",
    ]
    for number in (1, 2, 3):
        lines += [f"link add cali{number} type veth peer name c{number}", f"link set cali{number} up"]
    made.batch(lines)
    yield made
    made.remove()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_way_does_not_matter(space: Space, seed: int, tmp_path: Path) -> None:
    world = World(space, random.Random(seed))
    settings = SETTINGS._replace(record=tmp_path / "record")

    def step(network: Network) -> None:
        if world.dice.random() < 0.6:
            network.on_changes(world.change())
        else:
            world.disturb()
        network.refresh_interfaces()
        if world.dice.random() < 0.7:
            network.apply()

    network = space.call(Network, settings)
    for _ in range(STEPS):
        space.call(step, network)
    for _ in range(3):  # what is refused once for an interface that just went is tried again
        space.call(lambda: (network.refresh_interfaces(), network.apply()))
    found = world.shown()
    assert space.call(network.compare)[0] == [], f"seed {seed}"

    def fresh() -> None:
        other = Network(settings)
        other.on_changes(world.everything())
        report = other.apply()
        other.close()
        assert (report.writes, report.retry) == (0, ()), (seed, report)

    space.call(fresh)
    assert world.shown() == found
    network.close()
