"""What `make test` leaves out, and that CI does not let it pass."""

from types import SimpleNamespace

import pytest

from tests import suites


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every command the runner starts, all of them succeeding; the machine lacks nothing."""
    commands: list[list[str]] = []

    def run(command: list[str], **_options: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("tests.suites.subprocess.run", run)
    monkeypatch.setattr(suites, "_LACKS", {"debian": str, "root": str, "namespaces": str})
    monkeypatch.delenv("CI", raising=False)
    return commands


def test_everything_runs_through_tox_in_order(ran: list[list[str]]) -> None:
    assert suites.main() == 0
    assert [command[-1] for command in ran if "tox" in command] == ["lint", "type", "unit", "integration", "e2e"]


def test_what_cannot_run_is_named_and_the_rest_runs(
    ran: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(suites._LACKS, "root", lambda: "needs root")
    assert suites.main() == 0
    assert [command[-1] for command in ran if "tox" in command] == ["lint", "type", "unit"]
    assert "suites: left out integration: needs root" in capsys.readouterr().out


def test_under_ci_leaving_one_out_is_a_failure(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(suites._LACKS, "root", lambda: "needs root")
    monkeypatch.setenv("CI", "true")
    assert suites.main() == 1


def test_a_failing_suite_fails_the_whole_but_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, ran: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: list[str], **_options: object) -> SimpleNamespace:
        ran.append(command)
        return SimpleNamespace(returncode=1 if command[-1] == "type" else 0)

    monkeypatch.setattr("tests.suites.subprocess.run", run)
    assert suites.main() == 1
    assert [command[-1] for command in ran if "tox" in command] == ["lint", "type", "unit", "integration", "e2e"]
    assert "suites: failed: type" in capsys.readouterr().out
