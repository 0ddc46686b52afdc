"""The command line of gen: forms of output, exit statuses, what it says about wrong calls."""

import io
import json
from pathlib import Path

import pytest

from gen.cli import COMMANDS, main
from tests.unit.gen.cases import whole


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "good.yaml"
    path.write_text(whole(""))
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(whole("calico_vxlan_vni: 1024\nzzz: 1"))
    return str(path)


def _status(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def test_good_file_says_nothing(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("validate", good) == 0
    assert capsys.readouterr() == ("", "")


def test_bad_file_has_a_line_a_problem(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("validate", bad) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        (
            f"{bad}:5:19: error: calico_vxlan_vni: 1024 is the DC/OS overlay's network identifier "
            "(use another, such as the default 4096)"
        ),
        f"{bad}:6:1: error: zzz: nobody knows this key (see gen explain; --allow-key or an x_ prefix passes one over)",
    ]


def test_warnings_do_not_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(whole("zzz: 1\nx_a: 1"))
    assert _status("validate", str(path), "--allow-key", "zzz") == 0
    assert capsys.readouterr().out.count(": warning: ") == 2


def test_json(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("validate", "--format", "json", bad) == 1
    shape = json.loads(capsys.readouterr().out)
    assert shape["status"] == "errors"
    assert set(shape["errors"]) == {"calico_vxlan_vni", "zzz"}


def test_annotate(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("validate", "--annotate", bad) == 1
    assert "6 | zzz: 1\n  | ^ error: zzz" in capsys.readouterr().out


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a: [}")))
    assert _status("validate", "-") == 1
    assert capsys.readouterr().out.startswith("<stdin>:1:")


def test_file_that_is_not_there_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("validate", "/nonexistent.yaml") == 1
    assert capsys.readouterr().out.startswith("/nonexistent.yaml:1:1: error: cannot be read: No such file")


def test_directory_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("validate", "--format", "json", str(tmp_path)) == 1
    shape = json.loads(capsys.readouterr().out)
    assert shape["problems"][0]["code"] == "unreadable"
    assert list(shape["errors"]) == [str(tmp_path)]


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["validate"], ["validate", "a", "--format", "xml"], ["-x"]])
def test_wrong_call_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(*arguments) == 2
    assert "usage: gen" in capsys.readouterr().err


def test_help_names_every_command_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)
    assert "gen validate config/calico.yaml" in shown


@pytest.mark.parametrize("command", ["validate", "explain", "schema"])
def test_help_of_a_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(command, "--help") == 0
    assert f"example:\n  gen {command}" in capsys.readouterr().out


def test_explain_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("explain", "calico_vxlan_port") == 0
    shown = capsys.readouterr().out
    assert "1025 to 65535" in shown
    assert "64000" in shown
    assert "calico_vxlan_enabled: true" in shown


def test_explain_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("explain") == 0
    assert "calico_docker_network_scope" in capsys.readouterr().out


def test_explain_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("explain", "--format", "json", "calico_vxlan_vni") == 0
    (shape,) = json.loads(capsys.readouterr().out)
    assert (shape["default"], shape["minimum"], shape["maximum"]) == (4096, 1, 16777215)


@pytest.mark.parametrize(
    ("name", "said"), [("calico_vxlan_vnl", "did you mean calico_vxlan_vni?"), ("oauth_enabled", "passes it over")]
)
def test_explain_what_is_no_parameter(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("explain", name) == 1
    assert said in capsys.readouterr().err


def test_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with monkeypatch.context() as patch, Path("/dev/full").open("w") as full:
        patch.setattr("sys.stdout", full)
        assert _status("explain") == 3
    assert capsys.readouterr().err == "gen: No space left on device\n"


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("schema") == 0
    assert "calico_network_cidr" in json.loads(capsys.readouterr().out)["properties"]
