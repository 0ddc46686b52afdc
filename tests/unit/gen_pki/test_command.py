"""`gen pki` as its user sees it: what it prints, its status, and that no secret is printed."""

import argparse
import json
from pathlib import Path

import pytest

from gen.commands import pki as command


def gen_pki(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def test_a_directory_is_made_extended_renewed_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "pki"
    assert gen_pki("init", home) == 0
    assert gen_pki("issue", home, "10.0.0.1", "--role", "master") == 0
    assert gen_pki("issue", home, "10.0.0.2", "10.0.0.1") == 1
    assert gen_pki("issue", home, "10.0.0.2", "--days", "30") == 0
    capsys.readouterr()
    assert gen_pki("list", home, "--format", "json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(node["address"], node["role"]) for node in listed["nodes"]] == [
        ("10.0.0.1", "master"),
        ("10.0.0.2", "agent"),
    ]
    assert listed["nodes"][1]["certificates"][0]["days_left"] == 29
    assert gen_pki("renew", home, "10.0.0.2") == 0
    assert "10.0.0.2: renewed (agent)" in capsys.readouterr().out
    assert gen_pki("list", home) == 0
    assert "10.0.0.2   agent   client" in capsys.readouterr().out


def test_no_secret_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "pki"
    for words in (["init"], ["issue"], ["renew"], ["list"]):
        gen_pki(words[0], home, *(["10.0.0.1", "--role", "master"] if words[0] == "issue" else []))
    printed = "".join(capsys.readouterr())
    secrets = [
        file.read_text().strip() for file in home.rglob("*") if file.is_file() and file.stat().st_mode & 0o77 == 0
    ]
    assert len(secrets) == 8
    for secret in secrets:
        assert secret.splitlines()[-1 if len(secret) < 100 else 1] not in printed


def test_a_dry_run_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gen_pki("init", tmp_path / "pki", "--dry-run") == 0
    assert capsys.readouterr().out == "authority: would create\n"
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list", "absent"], "absent: holds no authority ('gen pki init absent' makes one)"),
        (["issue", "absent", "10.0.0.1"], "absent: holds no authority ('gen pki init absent' makes one)"),
        (["init", "no/parent/here"], "no/parent/here: No such file or directory"),
    ],
)
def test_an_error_is_one_line_and_status_1(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert gen_pki(*words) == 1
    assert capsys.readouterr().err == f"gen pki: {message}\n"


@pytest.mark.parametrize("days", ["0", "-1", "ten", "1e3", "99999999"])
def test_a_number_of_days_that_is_none_is_a_usage_error(days: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        gen_pki("renew", tmp_path, "--days", days)
    assert stopped.value.code == 2


CONFIG = """\
cluster_name: c
bootstrap_url: http://192.0.2.10
master_list: [192.0.2.1]
agent_list: [192.0.2.2]
public_agent_list: [192.0.2.3]
calico_network_cidr: 172.29.0.0/16
"""


def test_init_issues_for_every_node_of_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert gen_pki("init", tmp_path / "pki", "--config", tmp_path / "config.yaml") == 0
    assert capsys.readouterr().out.splitlines() == [
        "authority: created",
        "192.0.2.1: issued (master)",
        "192.0.2.2: issued (agent)",
        "192.0.2.3: issued (agent)",
    ]


def test_a_key_nobody_knows_may_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG + "site_code: 7\n")
    arguments = ("init", tmp_path / "pki", "--config", tmp_path / "config.yaml")
    assert gen_pki(*arguments) == 1
    assert gen_pki(*arguments, "--allow-key", "site_code") == 0


def test_a_configuration_with_errors_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG.replace("192.0.2.1]", "master]"))
    assert gen_pki("init", tmp_path / "pki", "--config", tmp_path / "config.yaml") == 1
    assert "config.yaml:3:15: error: master_list" in capsys.readouterr().err
    assert not (tmp_path / "pki").exists()
