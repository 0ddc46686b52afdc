"""Power loss at any moment: whatever state the disk legally shows, `setup` makes it the old set or the new one.

A sample here; every moment with many states each under DCOS_CALICO_SOAK=1 (`make soak`).
"""

import copy
import os
import random
import shutil
from pathlib import Path

import pytest

from tests.unit.node.powerloss import Disk, RecordingHost
from tests.unit.node.simulation import Machine
from tests.unit.node.test_crashes import NEW, OLD, SCENARIOS, _fill, _reference, _view

_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))
_MOMENTS, _STATES = (10_000, 25) if _SOAK else (25, 1)


def _recorded(base: Path, scenario: str) -> tuple[Machine, Disk, RecordingHost]:
    """A node before the scenario, its disk, and a host that recorded the scenario."""
    machine = Machine(base)
    host = machine.host = RecordingHost(machine.layout.systemd_dir)
    _fill(machine)
    for act in SCENARIOS[scenario][0]:
        assert act(machine) == 0
    before = copy.deepcopy(host)
    disk = Disk(base)
    host.record.clear()
    assert SCENARIOS[scenario][1](machine) == 0
    before.record = host.record
    return machine, disk, before


@pytest.mark.timeout(6000 if _SOAK else 120)
@pytest.mark.parametrize("scenario", ["install", "upgrade", "rollback", "gc"])
def test_every_state_after_a_power_loss_recovers(tmp_path: Path, scenario: str) -> None:
    chance = random.Random(scenario)
    base = tmp_path / "node"
    expected = [_reference(base, wanted) for wanted in SCENARIOS[scenario][2]]
    machine, disk, before = _recorded(base, scenario)
    moments = set(chance.sample(range(len(before.record)), min(_MOMENTS, len(before.record))))
    seen = set()
    for number, operation in enumerate(before.record):
        disk.apply(operation)
        for _ in range(_STATES if number in moments else 0):
            shutil.rmtree(base)
            disk.write_state(base, chance)
            host = machine.host = copy.deepcopy(before)
            host.running.clear()
            told = f"{number}: {operation.kind} {operation.path}"
            assert machine("setup", "--silent") == 0, told
            shown = _view(machine)
            assert shown in expected, told
            seen.add(expected.index(shown))
            assert machine("verify") == 0, told
            assert SCENARIOS[scenario][1](machine) == 0, told
    assert seen == set(range(len(expected)))
    assert disk.pending == [] or scenario == "gc"


def test_the_model_loses_what_was_not_synced(tmp_path: Path) -> None:
    """Without syncs the same states must show losses: else the tests above prove nothing."""
    base = tmp_path / "node"
    expected = [_reference(base, wanted) for wanted in (OLD, NEW)]
    machine, disk, before = _recorded(base, "upgrade")
    for operation in before.record:
        if operation.kind not in ("fsync", "syncfs"):
            disk.apply(operation)
    bad = 0
    for seed in range(20):
        shutil.rmtree(base)
        disk.write_state(base, random.Random(seed))
        machine.host = copy.deepcopy(before)
        bad += machine("setup", "--silent") != 0 or _view(machine) not in expected
    assert bad > 0
