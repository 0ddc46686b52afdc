"""A site and a cluster for each module; nodes that end with their test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.confd.site import Cluster, Node, Site


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    try:
        yield site
    finally:
        site.remove()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def node(site: Site, cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """`node("a", 1)` is a started node; keywords are those of `Cluster.put_node`."""
    nodes: list[Node] = []

    def make(name: str, number: int, **keywords: object) -> Node:
        site.add_host(name, number)
        cluster.put_node(name, number, **keywords)  # type: ignore[arg-type]
        nodes.append(Node(site, cluster, tmp_path, name))
        return nodes[-1].start()

    yield make
    for one in nodes:
        one.stop()
