"""The command line: what is printed, and that the reference page knows every command and option."""

import json
from pathlib import Path

import pytest

from pkgpanda.node.cli import main
from pkgpanda.node.commands import COMMANDS
from tests.unit.node.simulation import Machine

_PAGE = Path(__file__).resolve().parents[3] / "docs/reference/pkgpanda.md"


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_the_reference_page_has_the_command(name: str) -> None:
    assert f"| `{name}" in _PAGE.read_text()


def test_list_groups_versions_as_upstream_does(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for package_id in ("a--1", "b--2", "b--1"):
        machine.have(package_id)
    capsys.readouterr()
    assert machine("list") == 0
    assert capsys.readouterr().out == "a--1\nb:\n  1\n  2\n"


def test_show_takes_a_name_or_an_id(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.have("a--1", environment={"X": "1"}, requires=["b"], state_directory=True)
    capsys.readouterr()
    assert machine("show", "a", "--format", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["active"], shown["environment"]) == ("a--1", False, {"X": "1"})
    assert machine("show", "a--1") == 0
    assert "requires: b" in capsys.readouterr().out


def test_diff_names_packages_and_units(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for package_id in ("a--1", "a--2", "b--1", "c--1"):
        machine.have(package_id, {f"dcos.target.wants/{package_id[0]}.service": "[Service]\nExecStart=/bin/true\n"})
    assert machine("activate", "a--1", "b--1") == 0
    assert machine("activate", "a--2", "c--1") == 0
    capsys.readouterr()
    assert machine("diff") == 0
    assert capsys.readouterr().out.splitlines() == [
        "generation 1 -> 2",
        "+ c--1",
        "+ c.service",
        "- b--1",
        "- b.service",
        "~ a--1 -> a--2",
    ]


def test_options_stand_before_or_behind_the_command(machine: Machine) -> None:
    machine.have("a--1")
    assert machine("list") == 0
    assert machine("activate", "a--1", "--no-systemd") == 0
    assert machine.host.commands == []


def test_rooted_systemd_keeps_units_below_the_root(machine: Machine) -> None:
    machine.have("a--1", {"dcos.target.wants/a.service": "[Service]\nExecStart=/bin/true\n"})
    layout = machine.layout
    places = ["--root", layout.root, "--config-dir", layout.config_dir, "--state-dir-root", layout.state_root]
    assert main([*places, "--rooted-systemd", "--no-systemd", "activate", "a--1"], machine.host) == 0
    assert Path(layout.root, "systemd/a.service").is_file()
