"""What a lab is to be: every node at the address the configuration gives it, or at a free one of the same network."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.instance import LabError
from lab.plan import Counts, Plan, make_plan

GIVEN: dict[str, Any] = {
    "bootstrap_url": "http://192.0.2.10:8000",
    "master_discovery": "static",
    "master_list": ["192.0.2.11"],
    "agent_list": ["192.0.2.21", "192.0.2.22"],
}


def addresses(plan: Plan) -> dict[str, str]:
    return {node.name: node.address for node in plan.nodes}


def test_the_default_is_a_master_and_two_agents() -> None:
    plan = make_plan(None, Counts())
    assert addresses(plan) == {"master1": "10.99.0.1", "agent1": "10.99.0.2", "agent2": "10.99.0.3"}
    assert plan.gateway == "10.99.0.254"
    assert plan.values["bootstrap_url"] == plan.url == "http://10.99.0.254:8000"
    assert plan.values["agent_list"] == ["10.99.0.2", "10.99.0.3"]
    assert plan.notes == ()


def test_a_configurations_addresses_are_the_nodes_and_its_bootstrap_is_the_labs() -> None:
    plan = make_plan(GIVEN, Counts())
    assert addresses(plan) == {"master1": "192.0.2.11", "agent1": "192.0.2.21", "agent2": "192.0.2.22"}
    assert (plan.subnet, plan.gateway, plan.url) == ("192.0.2.0/24", "192.0.2.10", "http://192.0.2.10:8000")


def test_more_nodes_than_listed_get_free_addresses_and_enter_the_lists() -> None:
    plan = make_plan(GIVEN, Counts(masters=3, agents=1, public_agents=1))
    assert addresses(plan) == {
        "master1": "192.0.2.11",
        "master2": "192.0.2.1",
        "master3": "192.0.2.2",
        "agent1": "192.0.2.21",
        "public1": "192.0.2.3",
    }
    assert plan.values["master_list"] == ["192.0.2.11", "192.0.2.1", "192.0.2.2"]
    assert plan.values["public_agent_list"] == ["192.0.2.3"]
    assert plan.values["agent_list"] == ["192.0.2.21"]


def test_a_configuration_without_agents_gets_two() -> None:
    plan = make_plan({**GIVEN, "agent_list": []}, Counts())
    assert list(addresses(plan)) == ["master1", "agent1", "agent2"]
    assert list(addresses(make_plan(GIVEN, Counts(agents=0)))) == ["master1"]


def test_a_bootstrap_elsewhere_is_replaced_and_said_so() -> None:
    plan = make_plan({**GIVEN, "bootstrap_url": "https://bootstrap.example/x"}, Counts())
    assert plan.url == "http://192.0.2.254:8000"
    assert "bootstrap_url is http://192.0.2.254:8000" in plan.notes[0]


def test_a_bootstrap_on_a_node_is_replaced() -> None:
    assert make_plan({**GIVEN, "bootstrap_url": "http://192.0.2.11:8000"}, Counts()).gateway == "192.0.2.254"


def test_the_users_other_parameters_stay() -> None:
    plan = make_plan({**GIVEN, "calico_network_cidr": "172.30.0.0/16"}, Counts())
    assert yaml.safe_load(plan.config()) == plan.values
    assert plan.values["calico_network_cidr"] == "172.30.0.0/16"


def test_a_file_of_the_configuration_is_found_from_the_labs_own_directory() -> None:
    plan = make_plan({**GIVEN, "ip_detect_filename": "detect.sh"}, Counts(), Path("/srv/cluster"))
    assert plan.values["ip_detect_filename"] == "/srv/cluster/detect.sh"


def test_a_plan_is_the_same_after_it_was_written_down() -> None:
    plan = make_plan(GIVEN, Counts(public_agents=2))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("given", "counts", "said"),
    [
        ({**GIVEN, "master_discovery": "master_http_loadbalancer"}, Counts(), "master_discovery"),
        ({**GIVEN, "agent_list": ["192.0.3.1"]}, Counts(), "192.0.2.0/24, 192.0.3.0/24"),
        ({**GIVEN, "agent_list": ["here"]}, Counts(), "lists of nodes"),
        ({**GIVEN, "bootstrap_url": "http://x", "agent_list": ["192.0.2.254"]}, Counts(), "is a node's"),
        (None, Counts(masters=0), "needs a master"),
        (None, Counts(agents=300), "no address left"),
    ],
)
def test_what_cannot_be_had_is_said(given: dict[str, Any] | None, counts: Counts, said: str) -> None:
    with pytest.raises(LabError, match=said):
        make_plan(given, counts)
