"""Marathon's definitions: those of the README as written, and what the lab refuses by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from lab import marathon
from lab.marathon import AppError, Port

LAB = Path(marathon.__file__).parent
DEFINITIONS = sorted([*LAB.glob("apps/*.json"), *LAB.glob("stories/*/*.json")])


def definition(**changes: Any) -> dict[str, Any]:
    network = {"mode": "container", "name": "calico"}
    return {"id": "/web", "container": {"type": "MESOS"}, "networks": [network], **changes}


def with_ports(*mappings: dict[str, Any]) -> dict[str, Any]:
    return definition(container={"type": "MESOS", "portMappings": list(mappings)})


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_every_definition_of_the_lab_is_read(path: Path) -> None:
    (app,) = marathon.read(path)
    assert app.name == path.stem
    assert (app.network, app.instances) == ("calico", 1)
    assert app.image == "mesosphere/id-server:2.1.0"


def test_the_readmes_policy_labels_are_the_networks() -> None:
    (app,) = marathon.read(LAB / "stories/bookstore/bookstore-server.json")
    assert app.labels == {"biz_type": "bookstore", "role": "server"}
    assert app.runtime == "MESOS"
    assert app.host == "bookstore-server.marathon.containerip.dcos.thisdcos.directory"


def test_the_readmes_docker_definition_is_dockers() -> None:
    (app,) = marathon.read(LAB / "apps/calico-docker.json")
    assert (app.runtime, app.ports) == ("DOCKER", ())


def test_a_list_of_definitions_is_several_applications(tmp_path: Path) -> None:
    path = tmp_path / "apps.json"
    path.write_text(json.dumps([definition(id="a"), definition(id="/shop/b", instances=3)]))
    assert [(app.id, app.name, app.instances) for app in marathon.read(path)] == [
        ("/a", "a", 1),
        ("/shop/b", "b-shop", 3),
    ]


def test_a_port_is_mapped_when_it_names_a_host_port() -> None:
    app = marathon.parse(
        with_ports(
            {"containerPort": 80},
            {"containerPort": 81, "hostPort": 0},
            {"containerPort": 53, "hostPort": 31053, "protocol": "udp,tcp"},
        ),
        "x",
    )
    assert app.ports == (Port(81, 0, "tcp"), Port(53, 31053, "udp"), Port(53, 31053, "tcp"))


def test_constraints_on_the_host_are_understood() -> None:
    app = marathon.parse(definition(constraints=[["hostname", "CLUSTER", "10.0.0.1"]]), "x")
    assert (app.at, app.spread) == ("10.0.0.1", False)
    assert marathon.parse(definition(constraints=[["hostname", "UNIQUE"]]), "x").spread


def test_command_and_environment_are_kept() -> None:
    app = marathon.parse(definition(cmd="sleep 1", env={"A": "b"}), "x")
    assert (app.command, app.environment) == ("sleep 1", {"A": "b"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no application definition but list"),
        (definition(id=""), "id: is missing|id: '' is no text"),
        (definition(id="/Web"), "id: '/Web' is no path"),
        (definition(instances=-1), "instances: -1"),
        (definition(instances=True), "instances: True"),
        (definition(container={"type": "APPC"}), "container.type: 'APPC'"),
        (definition(container={"type": "MESOS", "volumes": [{}]}), "container.volumes"),
        (definition(container=[1]), r"container: \[1\] is no object"),
        (definition(networks=[]), "networks: the lab connects"),
        (definition(networks=[{"mode": "host"}]), r"networks\[0\].mode: 'host'"),
        (definition(networks=[{"mode": "container"}]), r"networks\[0\].name: is missing"),
        (
            definition(networks=[{"mode": "container", "name": "calico", "labels": {"a": 1}}]),
            r"networks\[0\].labels.a: 1 is no text",
        ),
        (definition(env={"A": 1}), "env.A: 1 is no text"),
        (definition(constraints=[["rack", "GROUP_BY"]]), r"constraints\[0\]"),
        (with_ports({"hostPort": 1}), r"portMappings\[0\].containerPort: is missing"),
        (with_ports({"containerPort": 0, "hostPort": 1}), r"portMappings\[0\]: 0 and 1"),
        (with_ports({"containerPort": 1, "hostPort": 1, "protocol": "sctp"}), "protocol: 'sctp'"),
    ],
)
def test_what_the_lab_cannot_carry_out_is_refused_by_name(given: Any, said: str) -> None:
    with pytest.raises(AppError, match=said):
        marathon.parse(given, "app.json")


def test_a_file_that_is_not_json_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    path.write_text('{"id": }')
    with pytest.raises(AppError, match=r"app.json:1:8: is not JSON"):
        marathon.read(path)
