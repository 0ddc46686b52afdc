"""The unit table: what is rendered of it, and that it agrees with the units' own text."""

import re
from pathlib import Path

import pytest

from gen.package import config_package
from gen.parameters import defaults
from gen.render import render
from gen.units import DAEMONS, UNITS, Unit, daemons_in, unit_table

VALUES = {**defaults(), "cluster_name": "x", "bootstrap_url": "http://h", "master_list": ["192.0.2.11"]}
IPIP = {**VALUES, "calico_vxlan_enabled": False}


def texts() -> dict[str, str]:
    """Unit -> its text, every unit there is."""
    return {
        file.path.rpartition("/")[2]: file.content.decode()
        for file in render(IPIP, DAEMONS)
        if file.path.endswith(".service")
    }


@pytest.mark.parametrize(
    ("launchers", "daemons"),
    [
        ([], set()),
        (["etcd/extra/etcd.sh"], {"etcd"}),
        (["calico/extra/bin/calico-felix"], {"calico-felix"}),
        (["bird/buildinfo.json"], set()),
        (["bird/buildinfo.json", "calico/extra/bin/calico-confd"], {"calico-bird", "calico-confd"}),
        (["calico/extra/bin/calico-guard", "calico/extra/bin/calico-node"], {"calico-guard", "calico-node"}),
    ],
)
def test_a_daemon_is_there_when_its_launcher_is(tmp_path: Path, launchers: list[str], daemons: set[str]) -> None:
    for launcher in launchers:
        (tmp_path / launcher).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / launcher).touch()
    assert daemons_in(tmp_path) == daemons


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_rendered_only_with_its_daemon(unit: Unit) -> None:
    without = {file.path for file in render(IPIP, DAEMONS - {unit.daemon})}
    alone = {file.path for file in render(IPIP, frozenset({unit.daemon}))}
    assert not any(path.endswith(f"/{unit.name}") for path in without)
    assert {path for path in alone if path.endswith(".service")} == {f"{d}/{unit.name}" for d in unit.directories}


def test_the_roles_of_the_services() -> None:
    table = unit_table({file.path for file in render(IPIP, DAEMONS)})
    assert table["dcos-etcd.service"]["roles"] == ["master"]
    assert table["dcos-calico-libnetwork-plugin.service"]["roles"] == ["slave", "slave_public"]
    everywhere = {name for name, row in table.items() if row["roles"] == ["master", "slave", "slave_public"]}
    assert everywhere == {f"dcos-calico-{name}.service" for name in ("guard", "node", "felix", "confd", "bird")}


def test_a_change_of_every_environment_file_asks_something_of_the_units_that_read_it() -> None:
    for unit in UNITS:
        read = set(re.findall(r"^EnvironmentFile=/opt/mesosphere/etc/(.*)$", texts()[unit.name], re.MULTILINE))
        named = {path.partition("/")[2] for path in unit.files}
        assert read <= named, unit.name
        assert all(effect == "restart" for path, effect in unit.files.items() if path.partition("/")[2] in read)


def test_a_unit_names_the_packages_it_runs_programs_of() -> None:
    for unit in UNITS:
        run = set(re.findall(r"/opt/mesosphere/active/([a-z-]+)/", texts()[unit.name]))
        assert run <= unit.packages.keys(), unit.name


def test_the_table_names_only_files_that_are_rendered() -> None:
    paths = {file.path for file in render(IPIP, DAEMONS)}
    for name, row in unit_table(paths).items():
        assert row["files"].keys() <= paths, name
    assert {path for unit in UNITS for path in unit.files} <= paths


def test_the_package_describes_the_units_it_has() -> None:
    files = config_package(render(VALUES, frozenset({"etcd"}))).files
    (info,) = (file.content for file in files if file.path == "pkginfo.json")
    assert b'"dcos-etcd.service"' in info
    assert b"felix" not in info


def test_secrets_are_named_and_never_held() -> None:
    etcd = texts()["dcos-etcd.service"]
    assert "chown dcos_etcd /etc/dcos-calico/pki/server.key /etc/dcos-calico/pki/peer.key" in etcd
    plain = render({**VALUES, "calico_etcd_tls": False}, DAEMONS)
    assert not any(b"chown" in file.content for file in plain if file.path.endswith("dcos-etcd.service"))
