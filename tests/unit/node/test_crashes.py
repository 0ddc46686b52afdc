"""Killed at every change: afterwards the node holds exactly the old set or the new one, and works."""

import contextlib
import copy
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.node.crashing import Killed, MortalHost
from tests.unit.node.simulation import UNIT, Machine

Act = Callable[[Machine], int]


def _node(base: Path) -> Machine:
    machine = Machine(base)
    machine.host = MortalHost(machine.layout.systemd_dir)
    return machine


def _fill(machine: Machine) -> None:
    """Two sets that differ in everything an activation handles."""
    machine.have("a--1", {"bin/a": "1", "dcos.target.wants/a.service": UNIT, "etc/a/x": "1"})
    machine.have("a--2", {"bin/a": "2", "dcos.target.wants/a.service": UNIT + "#2", "etc/a/x": "2", "etc/a/y": "2"})
    machine.have("old--1", {"etc/a/old": "1", "dcos.target.wants/old.service": UNIT, "remove/r": "#!"})
    machine.have(
        "new--1",
        {"etc/a/new": "1", "dcos.target.wants/new.service": UNIT, "check/c": "#!"},
        username="dcos_new",
        state_directory=True,
        environment={"N": "1"},
        sysctl={"new": {"net.ipv4.ip_forward": "1"}},
    )


OLD, NEW = ["a--1", "old--1"], ["a--2", "new--1"]


def _view(machine: Machine) -> dict[str, str]:
    """What services see: every file below the stable names, with its content, and every unit."""
    root = Path(machine.layout.root)
    seen = {f"unit {name}": text for name, text in machine.units().items()}
    for top in ("bin", "etc", "environment", "active"):
        for path in [root / top, *(root / top).rglob("*")] if (root / top).exists() else ():
            if path.is_file():
                seen[str(path.relative_to(root))] = path.read_text()
    return seen


def _install(machine: Machine) -> int:
    return machine("activate", *OLD)


def _upgrade(machine: Machine) -> int:
    return machine("activate", *NEW)


def _rollback(machine: Machine) -> int:
    return machine("rollback", "1")


def _gc(machine: Machine) -> int:
    return machine("gc", "--keep", "1")


def _nothing(machine: Machine) -> int:
    return 0


SCENARIOS: dict[str, tuple[list[Act], Act, list[list[str]]]] = {
    "install": ([], _install, [[], OLD]),
    "upgrade": ([_install], _upgrade, [OLD, NEW]),
    "rollback": ([_install, _upgrade], _rollback, [NEW, OLD]),
    "gc": ([_install, _upgrade], _gc, [NEW]),
}


def _reference(base: Path, sets: list[str]) -> dict[str, str]:
    """What a node that was only ever set to that set shows."""
    machine = _node(base)
    _fill(machine)
    if sets:
        assert machine("activate", *sets) == 0
    shown = _view(machine)
    shutil.rmtree(base)
    return shown


_SAVED: dict[str, tuple[Path, MortalHost]] = {}


@pytest.fixture(autouse=True)
def _forget_saved() -> None:
    _SAVED.clear()


def _prepared(base: Path, scenario: str) -> Machine:
    """A node just before the scenario's act: made once a test, copied from then on."""
    if scenario not in _SAVED:
        machine = _node(base)
        _fill(machine)
        for act in SCENARIOS[scenario][0]:
            assert act(machine) == 0
        host = machine.host
        assert isinstance(host, MortalHost)
        host.steps.clear()
        _SAVED[scenario] = (base.with_name(f"saved-{scenario}"), copy.deepcopy(host))
        shutil.copytree(base, _SAVED[scenario][0], symlinks=True)
        return machine
    saved, host = _SAVED[scenario]
    shutil.copytree(saved, base, symlinks=True)
    machine = Machine(base)
    machine.host = copy.deepcopy(host)
    return machine


def _steps(base: Path, scenario: str) -> list[str]:
    machine = _prepared(base, scenario)
    assert SCENARIOS[scenario][1](machine) == 0
    host = machine.host
    assert isinstance(host, MortalHost)
    shutil.rmtree(base)
    return list(host.steps)


def _assert_clean(machine: Machine) -> None:
    """Nothing half-made is left, and all that is in the store is whole."""
    root = machine.layout.root
    assert not os.path.exists(f"{root}/journal.json")
    for _, names, files in os.walk(root):
        assert [
            name for name in [*names, *files] if name.endswith(".new") or name.startswith((".adding", ".rem"))
        ] == []
    assert machine("verify") == 0
    _assert_no_dangling_unit(machine)


def _assert_no_dangling_unit(machine: Machine) -> None:
    dangling = [path for path in Path(machine.layout.systemd_dir).iterdir() if path.is_symlink() and not path.exists()]
    assert [path for path in dangling if path.name != "dcos.target.wants"] == []


def _assert_additions(machine: Machine, wanted: bool) -> None:
    """The new set's user and state directory are there when that set is, and only then."""
    assert ("dcos_new" in machine.host.users) == wanted
    assert os.path.isdir(f"{machine.layout.state_root}/new") == wanted


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_change(tmp_path: Path, scenario: str) -> None:
    expected = [_reference(tmp_path / "node", wanted) for wanted in SCENARIOS[scenario][2]]
    steps = _steps(tmp_path / "node", scenario)
    seen = set()
    assert any(step.startswith("rename") for step in steps) and len(steps) > 10
    for fatal in range(len(steps)):
        machine = _prepared(tmp_path / "node", scenario)
        host = machine.host
        assert isinstance(host, MortalHost)
        host.fatal = fatal
        with pytest.raises(Killed):
            SCENARIOS[scenario][1](machine)
        host.revive()
        shown = _view(machine)
        live = {key: text for key, text in shown.items() if not key.startswith("unit ")}
        assert live in [
            {key: text for key, text in view.items() if not key.startswith("unit ")} for view in expected
        ], steps[fatal]
        assert machine("setup", "--silent") == 0, steps[fatal]
        assert _view(machine) in expected, steps[fatal]
        seen.add(expected.index(_view(machine)))
        if scenario == "upgrade":
            _assert_additions(machine, _view(machine) == expected[1])
        running = {name.removeprefix("unit ") for name in _view(machine) if name.startswith("unit ")}
        assert set(host.running) == running, steps[fatal]
        _assert_clean(machine)
        assert SCENARIOS[scenario][1](machine) == 0, steps[fatal]
        shutil.rmtree(tmp_path / "node")
    assert seen == set(range(len(expected)))


@pytest.mark.parametrize("scenario", ["install", "upgrade", "rollback", "gc"])
def test_disk_full_at_every_write(tmp_path: Path, scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = [_reference(tmp_path / "node", wanted) for wanted in SCENARIOS[scenario][2]]
    steps = _steps(tmp_path / "node", scenario)
    for number, step in enumerate(steps):
        if step.split()[0] not in ("write", "mkdir", "symlink"):
            continue
        machine = _prepared(tmp_path / "node", scenario)
        host = machine.host
        assert isinstance(host, MortalHost)
        host.full, host.fatal = True, number
        capsys.readouterr()
        assert SCENARIOS[scenario][1](machine) == 1, step
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1 and "No space left" in told[0], told
        if not os.path.exists(f"{machine.layout.root}/journal.json"):
            _assert_no_dangling_unit(machine)
            if scenario == "upgrade":
                _assert_additions(machine, _view(machine) == expected[1])
        host.revive()
        assert machine("setup", "--silent") == 0
        assert _view(machine) in expected, step
        _assert_clean(machine)
        shutil.rmtree(tmp_path / "node")


def test_killed_at_every_change_of_an_addition(tmp_path: Path) -> None:
    machine = _node(tmp_path / "node")
    host = machine.host
    assert isinstance(host, MortalHost)
    archive = machine.package("a--1", {"bin/a": "1", "lib/x": "2"}, links={"lib/y": "x"})
    assert machine.add(archive) == 0
    count = len(host.steps)
    shutil.rmtree(machine.layout.root)
    for fatal in range(count):
        host.revive()
        host.fatal = fatal
        with pytest.raises(Killed):
            machine.add(archive)
        host.revive()
        listed = os.path.isdir(machine.layout.package("a--1"))
        assert not listed or machine("verify", "a--1") == 0
        assert machine.add(archive) == 0
        assert machine("activate", "a--1") == 0
        _assert_clean(machine)
        shutil.rmtree(machine.layout.root)


def test_killed_while_recovering(tmp_path: Path) -> None:
    expected = [_reference(tmp_path / "node", wanted) for wanted in (OLD, NEW)]
    steps = _steps(tmp_path / "node", "upgrade")
    switch = next(number for number, step in enumerate(steps) if step.endswith("/current"))
    for first in (switch - 6, switch + 3):
        for second in range(60):
            machine = _prepared(tmp_path / "node", "upgrade")
            host = machine.host
            assert isinstance(host, MortalHost)
            host.fatal = first
            with pytest.raises(Killed):
                _upgrade(machine)
            host.revive()
            host.fatal = second
            with contextlib.suppress(Killed):
                machine("setup", "--silent")
            host.revive()
            assert machine("setup", "--silent") == 0
            assert _view(machine) in expected
            _assert_clean(machine)
            shutil.rmtree(tmp_path / "node")
