"""A fresh simulated node for each test."""

from pathlib import Path

import pytest

from tests.unit.node.simulation import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A master with nothing installed."""
    return Machine(tmp_path)
