"""Nodes for the tests of this directory. A failure shows the state of every node that is up."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab import image
from lab.cleanup import destroy, sweep
from lab.cluster import Cluster
from lab.instance import Instance
from lab.machine import Machine
from lab.network import Network
from tests.e2e import bundles
from tests.e2e.bundles import Bundle


class Lab:
    """A network and the nodes on it, all removed at the end."""

    def __init__(self, instance: Instance, root: Path) -> None:
        self.instance = instance
        self.network = Network(instance)
        self.machines: dict[str, Machine] = {}
        self._root = root

    def add(self, name: str, address: str) -> Machine:
        """A node, switched off."""
        machine = Machine(self.instance, self.network, self._root, name, address)
        self.machines[name] = machine
        return machine

    def report(self) -> str:
        """The state of every node."""
        return "\n".join(machine.report() for machine in self.machines.values())


_open: list[Lab | Cluster] = []


def watch(cluster: Cluster | None) -> None:
    """Add a cluster's state to every failure, until the next call."""
    _open[:] = [cluster] if cluster else []


@pytest.fixture(scope="session")
def node_root() -> Path:
    """The root of a node; what earlier runs left behind is removed first."""
    sweep()
    return image.ensure()


class Versions(NamedTuple):
    """Bundles of one cluster: `second` has another configuration and another version of one package than `first`;
    in `broken` that package's service does not start."""

    first: Bundle
    second: Bundle
    broken: Bundle
    pki: Path


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """The bundles, and the operator's directory of certificates, made by the commands the documentation names."""
    home = tmp_path_factory.mktemp("bundles")
    tree, pki = bundles.make_tree(home), home / "pki"
    first = bundles.build(tree, "first", "1")
    second = bundles.build(tree, "second", "2", calico_veth_mtu=1400)
    broken = bundles.build(tree, "broken", "broken")
    bundles.command("gen", "pki", "init", pki, "--config", home / "first.yaml")
    return Versions(first, second, broken, pki)


@pytest.fixture(scope="module")
def lab(node_root: Path) -> Iterator[Lab]:
    """A lab for the tests of one module."""
    instance = Instance.create()
    try:
        made = Lab(instance, node_root)
        _open.append(made)
        yield made
    finally:
        _open.clear()
        destroy(instance)


_broken: set[str] = set()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """In a module that tells a story (`STORY = True`), what follows a failure would only fail for the same reason."""
    if item.nodeid.partition("::")[0] in _broken:
        pytest.skip("an earlier step failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the nodes' state to a failure."""
    report = yield
    if report.failed and call.when != "teardown":
        report.sections += [(f"nodes of {lab.instance.name}", lab.report()) for lab in _open]
        if getattr(getattr(item, "module", None), "STORY", False):
            _broken.add(item.nodeid.partition("::")[0])
    return report
