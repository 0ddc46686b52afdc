"""Where containers go, what they are called, and how Docker is told."""

from typing import Any

import pytest

from lab import dockertask
from lab.instance import LabError
from lab.marathon import App, Port, parse
from lab.tasks import Task, hosts, new_task, place

AGENTS = {"agent1": "10.99.0.2", "agent2": "10.99.0.3"}


def app(name: str = "web", **changes: Any) -> App:
    network = {"mode": "container", "name": "calico"}
    return parse({"id": name, "container": {"type": "MESOS"}, "networks": [network]}, "x")._replace(**changes)


def test_instances_go_to_the_agents_with_the_fewest_tasks() -> None:
    running = [new_task(app("old"), "agent1")]
    placed = place([app(instances=3)], running, AGENTS)
    assert sorted(task.agent for task in placed) == ["agent1", "agent2", "agent2"]


def test_an_agent_can_be_asked_for() -> None:
    assert {task.agent for task in place([app(instances=2)], [], AGENTS, "agent2")} == {"agent2"}
    assert {task.agent for task in place([app(at="10.99.0.3", instances=2)], [], AGENTS)} == {"agent2"}


def test_unique_instances_never_share_an_agent() -> None:
    assert {task.agent for task in place([app(spread=True, instances=2)], [], AGENTS)} == set(AGENTS)
    with pytest.raises(LabError, match="UNIQUE asks for 3 agents"):
        place([app(spread=True, instances=3)], [], AGENTS)


def test_an_agent_that_is_not_there_is_named() -> None:
    with pytest.raises(LabError, match=r"no agent is 10\.99\.0\.9"):
        place([app(at="10.99.0.9")], [], AGENTS)
    with pytest.raises(LabError, match="no agent"):
        place([app()], [], {})


def test_a_host_port_is_chosen_once_on_each_agent() -> None:
    mapped = app(ports=(Port(80, 0, "tcp"), Port(81, 0, "tcp")), instances=2)
    placed = place([mapped], [], {"agent1": "10.99.0.2"})
    assert sorted(port.host for task in placed for port in task.app.ports) == [31000, 31001, 31002, 31003]


def test_a_host_port_that_is_taken_is_refused() -> None:
    fixed = app(ports=(Port(80, 31000, "tcp"),))
    running = place([fixed], [], {"agent1": "10.99.0.2"})
    with pytest.raises(LabError, match="host port 31000 of agent1"):
        place([app("other", ports=(Port(80, 31000, "tcp"),))], running, {"agent1": "10.99.0.2"})


def test_one_host_port_may_be_tcp_and_udp() -> None:
    both = app(ports=(Port(53, 31053, "tcp"), Port(53, 31053, "udp")))
    assert len(place([both], [], AGENTS)[0].app.ports) == 2


def test_names_are_marathons() -> None:
    task = new_task(app("/shop/web"), "agent1")
    assert task.id == f"shop_web.instance-{task.container}._app.1"
    assert task.app.host == "web-shop.marathon.containerip.dcos.thisdcos.directory"


def test_the_names_of_all_that_have_an_address_resolve() -> None:
    tasks = [new_task(app("a"), "agent1")._replace(address="172.29.0.1"), new_task(app("b"), "agent2")]
    assert hosts(tasks).splitlines() == [
        "127.0.0.1 localhost",
        "172.29.0.1 a.marathon.containerip.dcos.thisdcos.directory",
    ]


def test_a_task_is_the_same_after_it_was_written_down() -> None:
    task = place([app(ports=(Port(80, 0, "tcp"),), labels={"a": "b"})], [], AGENTS)[0]
    assert Task.from_json(task.to_json()) == task


def test_docker_is_given_the_network_and_its_labels() -> None:
    task = new_task(app(labels={"role": "web"}, ports=(Port(80, 31000, "udp"),), environment={"A": "b"}), "agent1")
    words = dockertask.run_words(task)
    assert words[words.index("--network") + 1] == "calico"
    assert words[words.index("--label") + 1] == "org.projectcalico.label.role=web"
    assert words[words.index("--publish") + 1] == "31000:80/udp"
    assert words[words.index("--env") : words.index("--env") + 2] == ["--env", "A=b"]
    assert words[-1] == dockertask.IMAGE


def test_docker_runs_a_definitions_command() -> None:
    assert dockertask.run_words(new_task(app(command="sleep 1"), "agent1"))[-3:] == ["/bin/sh", "-c", "sleep 1"]
