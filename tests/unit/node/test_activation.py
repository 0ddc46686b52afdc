"""Activating, swapping, rolling back: what a user sees of a set that changes."""

import json
import os
from pathlib import Path

import pytest

from tests.unit.node.simulation import UNIT, Machine

ETCD_UNIT = "dcos.target.wants_master/dcos-etcd.service"


def _install(machine: Machine) -> None:
    machine.have("python--1", {"bin/python3": "#!", "lib/python/os.py": "", "lib/python/json/__init__.py": ""})
    machine.have("etcd--1", {"bin/etcd": "#!", ETCD_UNIT: UNIT, "etc/etcd/common": "c", "etc_slave/etcd/x": "y"})
    machine.have("conf--1", {"etc/etcd/etcd.env": "A=1", "etc_master/etcd/master": "m"})
    assert machine("activate", "python--1", "etcd--1", "conf--1") == 0


def test_the_merged_tree_shows_every_package_of_the_role(machine: Machine) -> None:
    _install(machine)
    root = Path(machine.layout.root)
    assert (root / "bin/etcd").read_text() == "#!"
    assert {path.name for path in (root / "etc/etcd").iterdir()} == {"common", "etcd.env", "master"}
    assert machine.active() == ["conf--1", "etcd--1", "python--1"]
    assert (root / "active/etcd/bin/etcd").is_file()
    assert machine.units() == {"dcos-etcd.service": UNIT}
    assert json.loads((root / "active.buildinfo.full.json").read_text())["etcd"]["name"] == "etcd"


def test_a_directory_of_one_package_is_one_link(machine: Machine) -> None:
    _install(machine)
    assert (Path(machine.layout.root) / "lib/python").is_symlink()
    assert not (Path(machine.layout.root) / "etc/etcd").is_symlink()


def test_links_are_relative_so_that_a_moved_root_still_works(machine: Machine) -> None:
    _install(machine)
    moved = machine.base / "moved"
    os.rename(machine.layout.root, moved)
    assert (moved / "bin/python3").read_text() == "#!"


def test_the_target_is_started_and_enabled(machine: Machine) -> None:
    _install(machine)
    assert "dcos-etcd.service" in machine.host.running
    boot = Path(machine.layout.systemd_dir, "multi-user.target.wants")
    assert {path.name for path in boot.iterdir()} == {"dcos.target", "dcos-setup.service"}
    assert all(path.is_file() for path in boot.iterdir())


def test_an_activation_that_changes_nothing_restarts_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(machine)
    before = machine.snapshot()
    machine.host.commands.clear()
    assert machine("activate", "conf--1", "etcd--1", "python--1") == 0
    assert machine.snapshot() == before
    assert [argv for argv in machine.host.commands if argv[1] != "show"] == []
    assert "nothing to do" in capsys.readouterr().out


def test_swap_replaces_one_package_and_rollback_brings_it_back(machine: Machine) -> None:
    _install(machine)
    machine.have("etcd--2", {"bin/etcd": "#!2", ETCD_UNIT: UNIT})
    assert machine("swap", "etcd--2") == 0
    assert Path(machine.layout.root, "bin/etcd").read_text() == "#!2"
    assert machine("rollback") == 0
    assert machine.active() == ["conf--1", "etcd--1", "python--1"]
    assert Path(machine.layout.root, "bin/etcd").read_text() == "#!"
    assert machine("rollback", "2") == 0
    assert "etcd--2" in machine.active()


def test_only_affected_units_restart(machine: Machine) -> None:
    table = {
        "a.service": {"roles": ["master"], "packages": {"a": "restart"}, "files": {"etc/a.cfg": "reload"}},
        "b.service": {"roles": ["master"], "packages": {"b": "restart"}, "files": {"etc/b.cfg": "restart"}},
        "c.service": {"roles": ["master"], "packages": {"b": "nothing"}, "files": {"etc/c.cfg": "nothing"}},
    }
    units = {f"dcos.target.wants/{unit}": UNIT for unit in table}
    config = {"etc/a.cfg": "1", "etc/b.cfg": "1", "etc/c.cfg": "1"}
    machine.have("a--1")
    machine.have("b--1")
    machine.have("config--1", {**units, **config}, units=table)
    assert machine("activate", "a--1", "b--1", "config--1") == 0
    before = dict(machine.host.running)
    machine.have("config--2", {**units, **config, "etc/b.cfg": "2", "etc/c.cfg": "2", "etc/a.cfg": "2"}, units=table)
    machine.host.commands.clear()
    assert machine("swap", "config--2") == 0
    assert machine.host.asked("restart") == ["b.service"]
    assert machine.host.asked("try-reload-or-restart") == ["a.service"]
    assert machine.host.running["a.service"] == before["a.service"]
    assert machine.host.running["c.service"] == before["c.service"]
    machine.have("b--2")
    machine.host.commands.clear()
    assert machine("swap", "b--2") == 0
    assert machine.host.asked("restart") == ["b.service"]


def test_a_changed_unit_file_and_a_changed_environment_restart(machine: Machine) -> None:
    reads = f"[Service]\nEnvironmentFile={machine.layout.root}/environment\n"
    machine.have("a--1", {"dcos.target.wants/a.service": UNIT}, units={"a.service": {}, "b.service": {}})
    machine.have("b--1", {"dcos.target.wants/b.service": reads})
    machine.have("e--1", environment={"X": "1"})
    assert machine("activate", "a--1", "b--1", "e--1") == 0
    machine.have("a--2", {"dcos.target.wants/a.service": UNIT + "#"}, units={"a.service": {}, "b.service": {}})
    machine.host.commands.clear()
    assert machine("swap", "a--2") == 0
    assert machine.host.asked("restart") == ["a.service"]
    machine.have("e--2", environment={"X": "2"})
    machine.host.commands.clear()
    assert machine("swap", "e--2") == 0
    assert machine.host.asked("restart") == ["b.service"]


def test_a_unit_that_is_gone_stops_and_its_package_cleans_up(machine: Machine) -> None:
    machine.have("a--1", {"dcos.target.wants/a.service": UNIT, "remove/clean": "#!"})
    machine.have("b--1")
    assert machine("activate", "a--1", "b--1") == 0
    machine.host.commands.clear()
    assert machine("activate", "b--1") == 0
    assert machine.units() == {} and "a.service" not in machine.host.running
    assert not os.path.lexists(f"{machine.layout.systemd_dir}/a.service")
    names = [argv[1] if argv[0] == "systemctl" else argv[0].rsplit("/", 1)[-1] for argv in machine.host.commands]
    assert names.index("stop") < names.index("reset-failed") < names.index("daemon-reload") < names.index("clean")


def test_a_package_whose_last_unit_is_switched_off_cleans_up(machine: Machine) -> None:
    uses = {"a.service": {"roles": [], "packages": {"a": "restart"}, "files": {}}}
    machine.have("a--1", {"remove/clean": "#!"})
    machine.have("conf--1", {"dcos.target.wants/a.service": UNIT}, units=uses)
    machine.have("conf--2")
    assert machine("activate", "a--1", "conf--1") == 0
    machine.host.commands.clear()
    assert machine("swap", "conf--2") == 0
    assert any(argv[0].endswith("a--1/remove/clean") for argv in machine.host.commands)


def test_users_and_state_directories(machine: Machine) -> None:
    machine.have("a--1", username="dcos_a", group="docker", state_directory=True)
    machine.have("b--1", username="dcos_b", state_directory=True)
    assert machine("activate", "a--1", "b--1") == 0
    assert machine.host.users["dcos_a"].groups == {"docker"}
    assert machine.host.owners[f"{machine.layout.state_root}/b"][0] == machine.host.users["dcos_b"].uid
    machine.host.commands.clear()
    machine.have("a--2", username="dcos_a", group="docker", state_directory=True)
    machine.host.owners.clear()
    assert machine("swap", "a--2", "--dry-run") == 0


def test_sysctls_are_set_for_units_of_this_node_and_restored(machine: Machine) -> None:
    wants = {"dcos.target.wants_master/a.service": UNIT, "dcos.target.wants_slave/s.service": UNIT}
    settings = {
        "a": {"net.ipv4.ip_forward": 1},
        "s.service": {"net.core.somaxconn": 4096},
    }
    machine.have("a--1", wants, sysctl=settings)
    machine.have("b--1")
    assert machine("activate", "a--1", "b--1") == 0
    assert machine.host.sysctls == {"net.ipv4.ip_forward": "1", "net.core.somaxconn": "128"}
    configuration = json.loads(Path(machine.layout.root, "etc/dcos-service-configuration.json").read_text())
    assert configuration["sysctl"]["a"] == {"net.ipv4.ip_forward": "1"}
    machine.host.sysctls["net.ipv4.ip_forward"] = "0"
    assert machine("setup") == 0
    assert machine.host.sysctls["net.ipv4.ip_forward"] == "1"
    assert machine("activate", "b--1") == 0
    assert machine.host.sysctls["net.ipv4.ip_forward"] == "0"


def test_a_dry_run_prints_the_plan_and_touches_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    _install(machine)
    machine.have("etcd--2", {"bin/etcd": "#!2", ETCD_UNIT: UNIT})
    before, commands = machine.snapshot(), len(machine.host.commands)
    capsys.readouterr()
    assert machine("swap", "etcd--2", "--dry-run", "--format", "json") == 0
    actions = json.loads(capsys.readouterr().out)["actions"]
    assert [entry["action"] for entry in actions] == ["BuildGeneration", "Switch", "RestartUnit"]
    assert machine.snapshot() == before and len(machine.host.commands) == commands


def test_the_last_generations_stay(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1, 7):
        machine.have(f"a--{number}")
        assert machine("activate", f"a--{number}") == 0
    capsys.readouterr()
    assert machine("history", "--format", "json") == 0
    kept = json.loads(capsys.readouterr().out)
    assert [(entry["number"], entry["packages"], entry["live"]) for entry in kept] == [
        (4, ["a--4"], False),
        (5, ["a--5"], False),
        (6, ["a--6"], True),
    ]
    assert machine("gc", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [f"would remove a--{number}" for number in (1, 2, 3)]
    assert machine("gc") == 0
    assert sorted(os.listdir(machine.layout.repository)) == ["a--4", "a--5", "a--6"]


def test_after_a_rollback_the_next_activation_forgets_what_was_left(machine: Machine) -> None:
    for number in range(1, 5):
        machine.have(f"a--{number}")
        assert machine("activate", f"a--{number}") == 0
    assert machine("rollback") == 0
    machine.have("a--9")
    assert machine("activate", "a--9") == 0
    assert sorted(os.listdir(f"{machine.layout.root}/generations")) == ["2", "3", "5"]
    assert machine("rollback") == 0
    assert machine.active() == ["a--3"]


def test_uninstall_leaves_the_host_as_it_was(machine: Machine) -> None:
    before = machine.snapshot()
    machine.have(
        "a--1",
        {"dcos.target.wants/a.service": UNIT, "remove/x": "#!"},
        username="dcos_a",
        state_directory=True,
        sysctl={"a": {"net.ipv4.ip_forward": "1"}},
    )
    assert machine("activate", "a--1") == 0
    Path(machine.layout.state_root, "a/data").write_text("precious")
    room, machine.host.space = machine.host.space, (0, 1 << 30)
    assert machine("uninstall") == 0, "a full disk is a reason to uninstall, not one against it"
    machine.host.space = room
    assert machine.host.users == {} and machine.host.running == {}
    assert machine.host.sysctls["net.ipv4.ip_forward"] == "0"
    assert not os.path.exists(machine.layout.config_dir)
    left = {path for path in set(machine.snapshot()) - set(before) if "multi-user" not in path}
    assert left == {f"{machine.base}/var", f"{machine.base}/var/a", f"{machine.base}/var/a/data"}
    assert not os.path.exists(machine.layout.root)
    machine.have("a--1", username="dcos_a", state_directory=True)
    assert machine("activate", "a--1") == 0
    os.makedirs(f"{machine.layout.secrets_dir}/pki")
    assert machine("uninstall", "--purge") == 0
    assert not os.path.exists(machine.layout.state_root)
    assert not os.path.exists(machine.layout.secrets_dir)


def test_a_dry_run_of_uninstall_tells_all_that_would_go(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.have(
        "a--1",
        {"dcos.target.wants/a.service": UNIT},
        username="dcos_a",
        state_directory=True,
        sysctl={"a": {"net.ipv4.ip_forward": "1"}},
    )
    assert machine("activate", "a--1") == 0
    before = machine.snapshot()
    capsys.readouterr()
    assert machine("uninstall", "--dry-run") == 0
    kept = capsys.readouterr().out
    assert "remove the user dcos_a" in kept and f"remove {machine.layout.root}\n" in kept
    assert "restore the kernel setting net.ipv4.ip_forward" in kept
    assert f"remove {machine.layout.state_root}/a\n" not in kept
    assert machine("uninstall", "--purge", "--dry-run", "--format", "json") == 0
    assert f"remove {machine.layout.state_root}/a" in json.loads(capsys.readouterr().out)["removals"]
    assert machine.snapshot() == before


def test_a_rollback_needs_no_room(machine: Machine) -> None:
    machine.have("a--1")
    machine.have("a--2")
    assert machine("activate", "a--1") == 0
    assert machine("activate", "a--2") == 0
    machine.host.space = (0, 1 << 30)
    assert machine("rollback") == 0
    assert machine.active() == ["a--1"]
