"""calicoctl policy trace: who is meant, what decides, and both forms of output."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from calico.calicoctl.verbs import policy
from calico.datastore.store import Put
from calico.felix import live
from calico.model.keys import ResourceKey
from tests.unit.calicoctl.conftest import Calicoctl
from tests.unit.felix import documents
from tests.unit.felix.documents import Item, rule


def _put(calicoctl: Calicoctl, *items: Item) -> None:
    assert calicoctl.store.commit([], [Put(key, documents.stored(document)) for key, document in items]).succeeded


@pytest.fixture
def cluster(calicoctl: Calicoctl) -> Calicoctl:
    """Two nodes with a workload each, a policy on one, and a profile that allows all."""
    web = [rule(protocol="TCP", source={"selector": "app == 'web'"}, destination={"ports": [5432]})]
    _put(
        calicoctl,
        documents.pool("p", "10.0.0.0/16", vxlan="Always", nat=True),
        documents.node("a", "192.168.0.1/24", "10.0.0.0"),
        documents.node("b", "192.168.0.2/24", "10.0.1.0"),
        documents.block("10.0.0.0/29", "a"),
        documents.block("10.0.1.0/29", "b"),
        documents.profile("all", [rule()], [rule()]),
        documents.workload("a", "web", "10.0.0.1", labels={"app": "web"}, profiles=["all"]),
        documents.workload("b", "db", "10.0.1.1", "fd00::1", labels={"app": "db"}, profiles=["all"]),
        documents.policy("db", "app == 'db'", order=1, types=["Ingress"], ingress=web),
    )
    return calicoctl


def _verdict(cluster: Calicoctl, *words: str) -> str:
    result = cluster("policy", "trace", *words, "-o", "json")
    assert result.code == 0, result
    return str(json.loads(result.out)["verdict"])


def test_what_decides_and_why_as_a_table(cluster: Calicoctl) -> None:
    result = cluster("policy", "trace", "web", "db", "--port", "5433")
    assert result.code == 0
    lines = [" | ".join(re.split(" {3,}", line.rstrip())) for line in result.out.splitlines()]
    why = "policies apply to its ingress, and no rule of theirs matches"
    web, db = "default/a-libnetwork-libnetwork-web", "default/b-libnetwork-libnetwork-db"
    assert lines == [
        "NODE | ENDPOINT | DIRECTION | ASKED | RULE | RESULT | WHY",
        f"a | {web} | egress | profile all | 1 | allow | the rule matches",
        f"b | {db} | ingress | policy default.db | 1 | no match | destination port 5433 is not 5432",
        f"b | {db} | ingress | - | - | deny | {why}",
        "",
        "10.0.0.1 -> 10.0.1.1 tcp port 5433: deny",
        f"ingress of {db}: {why}",
    ]


@pytest.mark.parametrize(
    "name", ["web", "10.0.0.1", "caliweb", "a-libnetwork-libnetwork-web", "default/a-libnetwork-libnetwork-web"]
)
def test_an_endpoint_by_any_of_its_names(cluster: Calicoctl, name: str) -> None:
    assert _verdict(cluster, name, "10.0.1.1", "--port", "5432") == "allow"
    assert _verdict(cluster, name, "10.0.1.1", "--port", "5433") == "deny"


def test_another_protocol_a_node_and_the_outside(cluster: Calicoctl) -> None:
    assert _verdict(cluster, "web", "db", "-p", "icmp") == "deny"
    assert _verdict(cluster, "b", "db", "--port", "1") == "allow"
    assert _verdict(cluster, "db", "192.168.0.2", "--port", "80") == "deny"
    assert _verdict(cluster, "198.51.100.7", "db", "--port", "5432") == "deny"
    assert _verdict(cluster, "web", "198.51.100.7", "--port", "443") == "allow"
    assert _verdict(cluster, "2001:db8::1", "db", "--port", "5432") == "deny"
    assert _verdict(cluster, "FD00::0:1", "2001:db8::1", "--port", "443") == "allow"
    assert _verdict(cluster, "2001:db8::1", "FD00::0:1", "--port", "443") == "deny"


def test_a_host_sends_from_its_tunnel(cluster: Calicoctl) -> None:
    only = [rule(source={"nets": ["10.0.0.0/32"]})]
    _put(cluster, documents.policy("db", "app == 'db'", order=1, types=["Ingress"], ingress=only))
    assert _verdict(cluster, "a", "db", "--port", "80") == "allow"


def test_the_configuration_counts(cluster: Calicoctl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _verdict(cluster, "web", "a", "--port", "80") == "deny"
    _put(cluster, documents.resource("FelixConfiguration", "default", {"defaultEndpointToHostAction": "Return"}))
    assert _verdict(cluster, "web", "a", "--port", "80") == "allow"
    (tmp_path / "node.env").write_text("# of every node\nFELIX_DEFAULTENDPOINTTOHOSTACTION=DROP\n")
    monkeypatch.setattr(policy, "NODE_FILE", tmp_path / "node.env")
    assert _verdict(cluster, "web", "a", "--port", "80") == "deny"


def test_the_interface_of_a_host_endpoint(cluster: Calicoctl) -> None:
    _put(cluster, documents.host_endpoint("b", "one", "eth1"), documents.host_endpoint("b", "two", "eth2"))
    assert _verdict(cluster, "198.51.100.7", "b", "--port", "80") == "allow", "nobody says which it comes by"
    assert _verdict(cluster, "198.51.100.7", "b", "--port", "80", "--interface", "eth1") == "deny"
    _put(cluster, documents.host_endpoint("b", "two", "eth1"))
    assert _verdict(cluster, "198.51.100.7", "b", "--port", "80") == "deny"


def test_all_rules_on_request(cluster: Calicoctl) -> None:
    rules = [rule(protocol="UDP"), rule(protocol="TCP", destination={"ports": [1]})]
    _put(cluster, documents.policy("db", "app == 'db'", order=1, types=["Ingress"], ingress=rules))
    short = cluster("policy", "trace", "web", "db", "--port", "2").out
    assert "none of its 2 rules matches" in short
    assert "the protocol is not udp" not in short
    every = cluster("policy", "trace", "web", "db", "--port", "2", "--verbose").out
    assert "the protocol is not udp" in every
    assert "destination port 2 is not 1" in every


def test_json_has_every_step(cluster: Calicoctl) -> None:
    found = json.loads(cluster("policy", "trace", "web", "db", "--port", "5432", "-o", "json").out)
    assert found["packet"] == {
        "source": "10.0.0.1",
        "destination": "10.0.1.1",
        "protocol": 6,
        "sourcePort": 40000,
        "destinationPort": 5432,
    }
    assert [(stage["node"], stage["direction"], stage["verdict"]) for stage in found["stages"]] == [
        ("a", "egress", "allow"),
        ("b", "ingress", "allow"),
    ]
    assert found["stages"][1]["steps"] == [
        {"what": "policy", "name": "default.db", "rule": 1, "result": "allow", "why": "the rule matches"}
    ]
    assert "drops" not in found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "db", "--port", "1"), "nobody is no address, no node and no workload endpoint"),
        (("web", "db"), "--port is needed with protocol tcp"),
        (("web", "db", "-p", "gree", "--port", "1"), "gree is no protocol"),
        (("web", "2001:db8::1", "--port", "1"), "have no addresses of the same family"),
    ],
)
def test_what_cannot_be_traced(cluster: Calicoctl, words: tuple[str, ...], message: str) -> None:
    result = cluster("policy", "trace", *words)
    assert (result.code, result.out) == (1, "")
    assert message in result.err


def test_a_name_that_two_have(cluster: Calicoctl) -> None:
    _put(cluster, documents.workload("b", "web", "10.0.1.2"))
    result = cluster("policy", "trace", "web", "db", "--port", "1")
    assert "may be any of default/a-libnetwork-libnetwork-web, default/b-libnetwork-libnetwork-web" in result.err


def test_what_is_not_valid_counts_as_absent_and_is_told(cluster: Calicoctl) -> None:
    _put(cluster, (ResourceKey("GlobalNetworkPolicy", "db").path, {"kind": "GlobalNetworkPolicy"}))
    result = cluster("policy", "trace", "web", "db", "--port", "5433")
    assert result.code == 0
    assert "counts as absent: /calico/resources/v3/projectcalico.org/globalnetworkpolicies/default.db" in result.err
    assert ": allow\n" in result.out


def test_the_counters_of_this_node(cluster: Calicoctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_path: Path, question: dict[str, Any]) -> list[list[Any]]:
        assert question == {"ask": "drops"}
        return [[4, "caliweb", "ingress", "policy", 3, 180]]

    monkeypatch.setattr(live, "ask", answer)
    result = cluster("policy", "trace", "web", "db", "--port", "5432", "--live")
    assert result.code == 0
    assert "caliweb ingress policy v4 3 180" in " ".join(result.out.split())
    found = json.loads(cluster("policy", "trace", "web", "db", "--port", "5432", "--live", "-o", "json").out)
    assert found["drops"][0] == {
        "version": 4,
        "interface": "caliweb",
        "direction": "ingress",
        "cause": "policy",
        "packets": 3,
        "octets": 180,
    }


def test_no_felix_to_ask(cluster: Calicoctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _question: dict[str, Any]) -> None:
        raise FileNotFoundError("no such file")

    monkeypatch.setattr(live, "ask", refuse)
    result = cluster("policy", "trace", "web", "db", "--port", "5432", "--live")
    assert result.code == 1
    assert ": allow\n" in result.out
    assert "does not answer at /run/calico/felix.sock" in result.err
