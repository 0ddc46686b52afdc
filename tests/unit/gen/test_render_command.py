"""`gen render` and `gen diff` as commands: what is written, what is refused, what is said."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gen.cli import main

CONFIG = (
    "cluster_name: x\nbootstrap_url: http://192.0.2.10\nmaster_list: [192.0.2.11]\ncalico_network_cidr: 172.29.0.0/16\n"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A valid configuration."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def packages(tmp_path: Path) -> str:
    """A tree that holds etcd alone."""
    (tmp_path / "packages/etcd/extra").mkdir(parents=True)
    (tmp_path / "packages/etcd/extra/etcd.sh").touch()
    return str(tmp_path / "packages")


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that takes everything away from others."""
    old = os.umask(0o077)
    yield
    os.umask(old)


def render(config: Path, output: Path, *options: str) -> int:
    return main(["render", str(config), "--output", str(output), *options])


def content(output: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(output)): (path.stat().st_mode & 0o777, path.read_bytes() if path.is_file() else b"")
        for path in [output, *output.rglob("*")]
    }


def test_files_modes_and_nothing_else(config: Path, packages: str, tmp_path: Path, umask: None) -> None:
    output = tmp_path / "deep" / "out"
    assert render(config, output, "--packages", packages) == 0
    found = content(output)
    assert found["dcos_install.sh"][0] == found["dcos-config/bin/detect_ip"][0] == 0o755
    assert found["dcos-config/etc/calico/felix.cfg"][0] == 0o644
    assert {mode for path, (mode, _) in found.items() if (output / path).is_dir()} == {0o755}
    units = {path for path in found if path.endswith(".service")}
    assert units == {"dcos-config/dcos.target.wants_master/dcos-etcd.service"}
    assert os.listdir(output.parent) == ["out"], "no draft is left"


def test_again_gives_the_same_and_replaces_an_earlier_output(config: Path, packages: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    render(config, output, "--packages", packages)
    before = content(output)
    render(config, output, "--packages", packages)
    assert content(output) == before
    config.write_text(CONFIG + "calico_enabled: false\n")
    render(config, output, "--packages", packages)
    assert "dcos-config/etc/calico" not in content(output)


def test_json_lists_the_files(config: Path, packages: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    render(config, tmp_path / "out", "--packages", packages, "--format", "json")
    document = json.loads(capsys.readouterr().out)
    assert document["units"] == ["dcos-etcd.service"]
    assert {"path": "bin/detect_ip", "mode": "0755"}.items() <= document["files"][0].items()
    directory = tmp_path / "out/dcos-config"
    on_disk = {path.relative_to(directory) for path in directory.rglob("*") if path.is_file()}
    assert {Path(file["path"]) for file in document["files"]} == on_disk


def test_a_configuration_with_problems_is_not_rendered(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(CONFIG + "calico_vxlan_vni: 1024\n")
    assert render(config, tmp_path / "out") == 1
    assert "calico_vxlan_vni" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["foreign", "file", "link", "half"])
def test_a_directory_of_someone_elses_is_refused(
    config: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    if kind == "file":
        output.write_text("mine")
    elif kind == "link":
        (tmp_path / "elsewhere").mkdir()
        output.symlink_to(tmp_path / "elsewhere")
    else:
        output.mkdir()
        (output / ("thesis.tex" if kind == "foreign" else "dcos_install.sh")).write_text("mine")
    before = content(output)
    assert render(config, output) == 1
    assert str(output) in capsys.readouterr().err
    assert content(output) == before


def bundle_info(tmp_path: Path, text: str) -> str:
    path = tmp_path / "bundle.json"
    path.write_text(text)
    return str(path)


NAMES = ("bootstrap_id", "bootstrap_sha256", "package_info_sha256", "package_list_id")


def test_with_bundle_info_the_script_installs(config: Path, tmp_path: Path) -> None:
    given = bundle_info(tmp_path, json.dumps({name: f"{n}" * 64 for n, name in enumerate(NAMES)}))
    assert render(config, tmp_path / "out", "--bundle-info", given) == 0
    assert f"package_info_sha256={'2' * 64}" in (tmp_path / "out/dcos_install.sh").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        json.dumps(dict.fromkeys(NAMES, "x")),
        json.dumps({**dict.fromkeys(NAMES, "0" * 64), "more": "0"}),
    ],
)
def test_bundle_info_that_is_none(config: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(config, tmp_path / "out", "--bundle-info", bundle_info(tmp_path, text)) == 1
    assert "bundle.json: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_tree_that_is_not_there(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render(config, tmp_path / "out", "--packages", "/nowhere") == 1
    assert main(["diff", str(config), str(config), "--packages", "/nowhere"]) == 1
    assert capsys.readouterr().err.count("--packages /nowhere: is no directory") == 2


def test_diff_says_what_is_felt(
    config: Path, packages: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(CONFIG + "calico_vxlan_vni: 5\ncalico_etcd_tls: false\n")
    arguments = ["diff", str(config), str(new), "--packages", packages]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "changed etc/calico/calico-node.env" in told
    assert "restart dcos-etcd.service on master" in told
    assert "DISRUPTIVE: calico_vxlan_vni 4096 -> 5" in told
    main([*arguments, "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    assert document["disruptive"] is True
    assert {each["parameter"] for each in document["consequences"]} == {"calico_vxlan_vni", "calico_etcd_tls"}
    main([*arguments, "--text"])
    assert "+FELIX_VXLANVNI=5" in capsys.readouterr().out


def test_diff_of_equals_and_of_a_broken_one(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(config), str(config)]) == 0
    assert capsys.readouterr().out == "nothing changes\n"
    (tmp_path / "broken.yaml").write_text("calico_enabled: maybe\n")
    assert main(["diff", str(config), str(tmp_path / "broken.yaml")]) == 1
    assert "broken.yaml" in capsys.readouterr().err
