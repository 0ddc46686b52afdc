"""The table of parameters and what is made from it."""

import json
import sys
from pathlib import Path
from typing import Any

import cerberus
import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from gen import explain, schema
from gen.jsonschema import schema as json_schema
from gen.parameters import SECTIONS, TABLE, Parameter, defaults
from gen.validate import known_keys, validate
from tests.unit.gen.cases import RULES, whole

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "config" / "calico.yaml"


def test_shipped_configuration_is_made_from_the_table() -> None:
    assert SHIPPED.read_text() == explain.configuration(), "run: gen explain --format yaml > config/calico.yaml"


def test_reference_page_is_made_from_the_table() -> None:
    page = ROOT / "docs" / "reference" / "parameters.md"
    assert page.read_text() == explain.markdown(), "run: gen explain --format markdown > docs/reference/parameters.md"


def test_shipped_configuration_has_no_problem() -> None:
    assert validate(SHIPPED.read_bytes(), str(SHIPPED)).problems == ()


def test_shipped_configuration_shows_the_defaults() -> None:
    """With every comment removed it still means the same, warnings about explicit defaults aside."""
    lines = [line.removeprefix("# ") for line in SHIPPED.read_text().splitlines()[2:] if not line.startswith("##")]
    text = "\n".join(line for line in lines if "ip_detect" not in line and not line.startswith(("  #!", "  echo")))
    report = validate(text, "c.yaml")
    assert [problem.path for problem in report.errors] == []
    shipped = validate(SHIPPED.read_bytes(), "c.yaml").values
    assert report.values == shipped
    assert {problem.path for problem in report.warnings} == {"calico_veth_mtu", "calico_vxlan_mtu"}


def test_defaults_are_what_upstream_and_the_mission_say() -> None:
    values = defaults()
    wanted = {
        "calico_enabled": True,
        "calico_network_cidr": "172.29.0.0/16",
        "calico_vxlan_enabled": True,
        "calico_vxlan_port": 64000,
        "calico_vxlan_vni": 4096,
        "calico_vxlan_mtu": 1450,
        "calico_ipinip_mtu": 1480,
        "calico_veth_mtu": 1500,
        "calico_etcd_tls": True,
        "calico_etcd_discovery": "static",
        "calico_etcd_zk_addr": "127.0.0.1:2181",
        "calico_docker_network_scope": "local",
    }
    assert {name: values[name] for name in wanted} == wanted


def test_defaults_are_a_copy() -> None:
    defaults()["dcos_overlay_network"]["overlays"].clear()
    assert len(defaults()["dcos_overlay_network"]["overlays"]) == 2


def test_cerberus_accepts_the_schema_it_is_not_asked_to_check() -> None:
    assert schema.Validator(schema.SCHEMA).schema is not None


def test_cerberus_is_imported_without_its_own_metadata() -> None:
    assert cerberus is schema.cerberus
    stand_in = sys.modules.get("importlib.metadata")
    assert stand_in is None or hasattr(stand_in, "Distribution")


@pytest.mark.parametrize("parameter", TABLE.values(), ids=TABLE)
def test_parameter_is_described(parameter: Parameter) -> None:
    assert parameter.section in SECTIONS
    assert parameter.help and not parameter.help.endswith(".")
    assert parameter.help in explain.text(parameter)
    assert all(flag in TABLE for flag, _ in parameter.when)
    assert parameter.example is not None or not parameter.required
    assert (parameter.minimum is None) == (parameter.kind != "int")


def test_known_keys_and_parameters_are_apart() -> None:
    assert known_keys().isdisjoint(TABLE)
    assert {"oauth_enabled", "exhibitor_storage_backend"} <= known_keys()


def _schema_errors(document: Any) -> list[str]:
    checker = jsonschema.Draft202012Validator(json_schema())
    return [".".join(map(str, error.absolute_path)) for error in checker.iter_errors(document)]


def test_json_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert _schema_errors({"cluster_name": "a"}) == [""]
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_json_schema_accepts_the_shipped_configuration() -> None:
    assert _schema_errors(yaml.safe_load(SHIPPED.read_text())) == []


def test_json_schema_accepts_what_validation_accepts() -> None:
    for rule in RULES.values():
        for text in rule.accepts:
            made = yaml.safe_load(text if rule.is_raw else whole(text))
            assert _schema_errors(made) == [], text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("calico_vxlan_port", 1024),
        ("calico_vxlan_vni", True),
        ("calico_enabled", "yes"),
        ("calico_network_cidr", "172.29.0.0"),
        ("calico_netwrok_cidr", "172.29.0.0/16"),
        ("master_list", ["a"]),
        ("master_discovery", "vrrp"),
        ("dcos_overlay_network", {"overlays": []}),
    ],
)
def test_json_schema_refuses(key: str, value: object) -> None:
    assert _schema_errors({**yaml.safe_load(SHIPPED.read_text()), key: value}) != []
