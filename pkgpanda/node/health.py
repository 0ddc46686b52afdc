"""The health gate: what was healthy before an upgrade must be healthy after it.

A unit is healthy when systemd calls it active with no job left (with sd_notify: READY came), a check when its program
ends with 0. What was not healthy before is nobody's business here. A unit that keeps crashing looks active between two
crashes, so health must last for `SETTLE` seconds in the same invocation.
"""

from collections.abc import Iterable, Sequence

from pkgpanda.errors import Problem
from pkgpanda.node import environment, systemd
from pkgpanda.node.host import Done, Host
from pkgpanda.node.journal import Gate
from pkgpanda.node.layout import Layout
from pkgpanda.node.package import Package

SETTLE = 2.0
_PAUSE = 0.5
_BEFORE = 5.0
"""How long before the wait began the units may have been restarted: their lines count from then."""
_CHECK_TIMEOUT = 60


def run_check(host: Host, layout: Layout, package: Package, program: str, directory: str = "check") -> Done:
    """Run one of a package's own programs with the node's environment; its status and output."""
    variables = {"PATH": environment.search_path(layout.root), **package.environment}
    path = f"{layout.package(str(package.id))}/{directory}/{program}"
    return host.run([path], timeout=_CHECK_TIMEOUT, environment=variables)


def measure(host: Host, layout: Layout, packages: Iterable[Package], units: Sequence[str], seconds: float) -> Gate:
    """What is healthy now."""
    found = systemd.statuses(host, units)
    healthy = {unit: status.invocation for unit, status in found.items() if status.healthy}
    checks = [
        (package.name, program)
        for package in packages
        for program in package.programs("check")
        if run_check(host, layout, package, program)[0] == 0
    ]
    return Gate(healthy, tuple(checks), seconds)


def wait(
    host: Host, layout: Layout, gate: Gate, packages: Iterable[Package], restarted: frozenset[str]
) -> list[Problem]:
    """Wait until everything of the gate is healthy again. Returns what is not when the time is over, or as soon as a
    unit has failed for good: one problem a unit or check, with the last lines it logged. `restarted` are the units
    that must show a new invocation."""
    start = host.monotonic()
    present = {package.name: package for package in packages}
    steady, before = start, dict[str, systemd.UnitStatus]()
    while True:
        found = systemd.statuses(host, sorted(gate.units))
        now = host.monotonic()
        if found != before:
            steady, before = now, found
        ill = [
            unit
            for unit, status in found.items()
            if not status.healthy or (unit in restarted and status.invocation == gate.units[unit] != "")
        ]
        settled, over = now - steady >= SETTLE, now - start >= gate.seconds
        if ill and (over or (settled and any(found[unit].failed for unit in ill))):
            return [_ill(host, unit, found[unit], now - start) for unit in ill]
        if settled and not ill:
            failing = _failing_checks(host, layout, gate, present)
            if over or not failing:
                return failing
        elif over:
            return [Problem("health gate", f"units keep restarting for {gate.seconds:.0f} s")]
        host.sleep(_PAUSE)


def _failing_checks(host: Host, layout: Layout, gate: Gate, present: dict[str, Package]) -> list[Problem]:
    problems = []
    for name, program in gate.checks:
        package = present.get(name)
        if package is None or program not in package.programs("check"):
            continue
        status, output = run_check(host, layout, package, program)
        if status:
            said = " | ".join(output.strip().splitlines()[-3:])
            problems.append(Problem(f"{package.id}: check/{program}", f"passed before and fails now: {said}"))
    return problems


def _ill(host: Host, unit: str, status: systemd.UnitStatus, seconds: float) -> Problem:
    said = " | ".join(systemd.last_lines(host, unit, host.wall_time() - seconds - _BEFORE)) or "it logged nothing"
    state = f"{status.active} ({status.sub})"
    return Problem(unit, f"was healthy before and is {state} after {seconds:.0f} s; its last lines: {said}")
