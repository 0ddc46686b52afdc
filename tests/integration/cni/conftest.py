"""A node that has started, with its agent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cni.node import Node, eventually, sweep


@pytest.fixture
def bare_node(tmp_path: Path) -> Iterator[Node]:
    """A node with an etcd, on which nothing of ours has run yet."""
    sweep()
    node = Node(tmp_path / "node")
    try:
        node.start_etcd()
        yield node
    finally:
        node.remove()


@pytest.fixture
def node(bare_node: Node) -> Node:
    """A node whose agent has done its start-up and serves."""
    bare_node.start_agent()
    eventually((bare_node.state / "nodename").exists, "start-up ends")
    return bare_node
