"""`setup` from a folder, and the health gate of an upgrade."""

import contextlib
import errno
import io
import json
import os
from pathlib import Path

import pytest

from tests.unit.node.bundle import write_bundle
from tests.unit.node.crashing import Killed, MortalHost
from tests.unit.node.simulation import UNIT, Machine

ALL = ("master", "slave", "slave_public")
A, B = {"dcos.target.wants/a.service": UNIT}, {"dcos.target.wants/b.service": UNIT}


def _setup(machine: Machine, bundle: tuple[str, str], *more: str) -> int:
    return machine("setup", "--repository-url", bundle[0], "--package-info-sha256", bundle[1], *more)


def _first(machine: Machine) -> tuple[str, str]:
    return write_bundle(
        machine.base / "archives/dist1",
        [
            (machine.package("a--1", {**A, "check/ok": "true"}), ALL),
            (machine.package("b--1", B), ["master"]),
            (machine.package("s--1"), ["slave"]),
        ],
    )


def _second(machine: Machine, *, check: str = "true") -> tuple[str, str]:
    return write_bundle(
        machine.base / "archives/dist2",
        [(machine.package("a--2", {**A, "check/ok": check}), ALL), (machine.package("b--1", B), ["master"])],
    )


def test_setup_installs_what_the_role_wants(machine: Machine) -> None:
    assert _setup(machine, _first(machine)) == 0
    assert machine.active() == ["a--1", "b--1"]
    assert set(machine.host.running) == {"a.service", "b.service"}
    assert Path(machine.layout.root, ".owner").read_text() == "dcos-calico\n"
    assert not os.path.exists(f"{machine.layout.root}/downloads")


def test_a_second_setup_changes_nothing(machine: Machine) -> None:
    bundle = _first(machine)
    assert _setup(machine, bundle) == 0
    before, running = machine.snapshot(), dict(machine.host.running)
    assert _setup(machine, bundle) == 0
    assert _setup(machine, bundle, "--upgrade") == 0
    assert machine.snapshot() == before and machine.host.running == running


class _Unread(io.StringIO):
    """The end of a pipe whose reader is gone, as the operator's is when their session ends."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def test_a_setup_whose_progress_nobody_reads_any_more_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _setup(machine, _first(machine)) == 0
    bundle = _second(machine)
    monkeypatch.setattr("sys.stderr", _Unread())
    assert _setup(machine, bundle, "--upgrade") == 0
    assert machine.active() == ["a--2", "b--1"]


def test_another_set_needs_upgrade(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert _setup(machine, _first(machine)) == 0
    for options in ([], ["--dry-run"]):
        assert _setup(machine, _second(machine), *options) == 1
        assert "--upgrade" in capsys.readouterr().err
    assert machine.active() == ["a--1", "b--1"]
    before = machine.host.running["b.service"]
    assert _setup(machine, _second(machine), "--upgrade") == 0
    assert machine.active() == ["a--2", "b--1"]
    assert machine.host.asked("restart") == ["a.service"] and machine.host.running["b.service"] == before


def test_a_damaged_package_is_repaired_where_it_stands(machine: Machine) -> None:
    bundle = _first(machine)
    assert _setup(machine, bundle) == 0
    package = Path(machine.layout.package("a--1"))
    (package / "dcos.target.wants/a.service").write_text("damaged")
    (package / "check/ok").unlink()
    (package / "stray").write_text("x")
    assert machine("verify") == 1
    assert _setup(machine, bundle) == 0
    assert machine("verify") == 0


def test_setup_dry_run_touches_nothing(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, before = _first(machine), machine.snapshot()
    assert _setup(machine, bundle, "--dry-run", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"fetch": ["a--1", "b--1"]}
    assert machine.snapshot() == before


def test_setup_without_arguments_is_what_a_boot_needs(machine: Machine) -> None:
    assert machine("setup") == 0
    assert _setup(machine, _first(machine)) == 0
    machine.host.running.clear()
    os.unlink(f"{machine.layout.systemd_dir}/a.service")
    assert machine("setup", "--no-block-systemd") == 0
    assert set(machine.host.running) == {"a.service", "b.service"}


def test_fetch_after_setup_trusts_the_bundles_digests(machine: Machine) -> None:
    bundle = _first(machine)
    assert _setup(machine, bundle) == 0
    assert machine("fetch", "--silent", "--repository-url", bundle[0], "s--1") == 0
    assert machine("list") == 0 and os.path.isdir(machine.layout.package("s--1"))


# The health gate


def test_an_upgrade_that_breaks_a_unit_rolls_back(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert _setup(machine, _first(machine)) == 0
    second = _second(machine)
    start_it = machine.host._start

    def start(unit: str, again: bool) -> None:
        before = machine.host.running.get(unit)
        start_it(unit, again)
        if os.readlink(f"{machine.layout.root}/current").endswith("/2"):
            machine.host.broken.add(unit)
            machine.host.given_up.add(unit)
        elif machine.host.running[unit] != before:
            machine.host.broken.discard(unit)

    machine.host._start = start
    assert _setup(machine, second, "--upgrade", "--silent") == 1
    told = capsys.readouterr().err
    assert "a.service: was healthy before and is failed" in told and "last line" in told
    assert "back at generation 1" in told
    assert machine.active() == ["a--1", "b--1"]
    assert machine.host.broken == set(), "systemd had given the unit up, and it runs again"
    assert machine.units().keys() == {"a.service", "b.service"}
    assert not os.path.exists(f"{machine.layout.root}/journal.json")
    assert _setup(machine, second, "--upgrade", "--silent", "--no-health-gate") == 0
    assert machine.active() == ["a--2", "b--1"]


def test_an_upgrade_whose_check_fails_rolls_back(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert _setup(machine, _first(machine)) == 0
    assert _setup(machine, _second(machine, check="exit 1"), "--upgrade", "--health-timeout", "5") == 1
    assert "a--2: check/ok: passed before and fails now: it said no" in capsys.readouterr().err
    assert machine.active() == ["a--1", "b--1"]


def test_what_was_ill_before_causes_no_rollback(machine: Machine) -> None:
    assert _setup(machine, _first(machine)) == 0
    machine.host.broken.add("a.service")
    assert _setup(machine, _second(machine), "--upgrade") == 0
    assert machine.active() == ["a--2", "b--1"]


def test_a_unit_that_keeps_restarting_is_not_healthy(machine: Machine) -> None:
    assert _setup(machine, _first(machine)) == 0
    shown = machine.host._show

    def show(unit: str) -> str:
        if os.readlink(f"{machine.layout.root}/current").endswith("/2"):
            machine.host._start(unit, True)
        return str(shown(unit))

    machine.host._show = show
    assert _setup(machine, _second(machine), "--upgrade") == 1
    assert machine.active() == ["a--1", "b--1"]


def test_a_first_install_never_rolls_back_and_says_what_it_waits_for(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.host.broken.add("a.service")
    assert _setup(machine, _first(machine)) == 0
    assert "waiting for a.service (failed)" in capsys.readouterr().out
    assert machine.active() == ["a--1", "b--1"]


def _failing_upgrade(base: Path, fatal: int) -> tuple[Machine, list[str]]:
    """A node whose upgrade fails at the gate, killed at change number `fatal` of the upgrade."""
    machine = Machine(base)
    machine.host = MortalHost(machine.layout.systemd_dir)
    assert _setup(machine, _first(machine), "--silent") == 0
    second = _second(machine, check="exit 1")
    machine.host.revive()
    machine.host.fatal = fatal
    with contextlib.suppress(Killed):
        assert _setup(machine, second, "--upgrade", "--silent", "--health-timeout", "1") == 1
    steps = list(machine.host.steps)
    machine.host.revive()
    return machine, steps


def test_killed_at_every_change_of_the_way_back(tmp_path: Path) -> None:
    machine, steps = _failing_upgrade(tmp_path / "whole", -1)
    assert machine.active() == ["a--1", "b--1"]
    journals = [number for number, step in enumerate(steps) if "journal.json.new ->" in step]
    assert len(journals) == 2, "one for the upgrade, one for the way back"
    for fatal in range(journals[1] + 1, len(steps)):
        machine, _ = _failing_upgrade(tmp_path / str(fatal), fatal)
        assert machine("setup", "--silent") == 0, steps[fatal]
        assert machine.active() == ["a--1", "b--1"], steps[fatal]
        assert machine.units().keys() == machine.host.running.keys() == {"a.service", "b.service"}
        assert not os.path.exists(f"{machine.layout.root}/journal.json")
