"""Packages of dcos-commons: names change, mustache and everything else stays."""

import json

import pytest

from calico.calicoctl.migration import svc
from calico.calicoctl.migration.values import Change, Wish

SVC = """\
name: {{FRAMEWORK_NAME}}
# networks: dcos
scheduler:
  principal: {{FRAMEWORK_PRINCIPAL}}
pods:
  pod-on-virtual-network:
    count: {{COUNT}}
    networks:
      dcos:
        labels: dcos:a
      other:
    tasks:
      networks-of-a-task: dcos
      server:
        goal: RUNNING
        cmd: "echo dcos"
  quoted:
    networks:
    {{#WITH_NETWORK}}
      "dcos":
        host-ports: [80]
    {{/WITH_NETWORK}}
  flow:
    networks: {dcos: {labels: x}, 'other': {}}
  variable:
    {{#ENABLE_VIRTUAL_NETWORK}}
    networks:
      {{VIRTUAL_NETWORK_NAME}}:
        labels: {{VIRTUAL_NETWORK_PLUGIN_LABELS}}
    {{/ENABLE_VIRTUAL_NETWORK}}
  pod-on-host:
    count: {{COUNT}}
"""

MARATHON = """\
{
  "id": "{{service.name}}",
  "cpus": {{service.cpus}},
  {{#service.virtual_network_enabled}}
  "ipAddress": {"networkName": "dcos"},
  "networks": [{{{extra}}} {"mode": "container", "name": "dcos", "labels": {"name": "dcos"}}],
  {{/service.virtual_network_enabled}}
  "env": {
    "VIRTUAL_NETWORK_NAME": "dcos",
    "OTHER_NETWORK": "dcos",
    "NAMED": "{{service.virtual_network_name}}",
    "SERVICE_VIRTUAL_NETWORK_NAME": "{{service.virtual_network_name}}"
  },
  "uris": [ "{{resource.assets.uris.jre}}" ],
  "labels": {"name": "dcos"}
}
"""

CONFIG = """\
{
  "properties": {
    "service": {
      "properties": {
        "name": {"type": "string", "default": "dcos"},
        "virtual_network_enabled": {"type": "boolean", "default": true},
        "virtual_network_name": {"type": "string",   "default": "dcos"},
        "VIRTUAL_NETWORK_NAME": {"type": "string"}
      }
    },
    "hdfs": {"properties": {"virtual-network-name": {"type": "string", "default": "dcos", "enum": ["dcos", "x"]}}}
  }
}
"""


def opens(change: Change) -> list[str]:
    return [str(finding) for finding in change.findings if finding.is_open]


def told(change: Change) -> list[str]:
    return [str(finding) for finding in change.findings if not finding.is_open]


def test_pods_networks_and_nothing_else() -> None:
    change = svc.migrate("svc.yml", SVC, Wish())
    expected = SVC
    for old, new in (
        ("    networks:\n      dcos:", "    networks:\n      calico:"),
        ('      "dcos":', '      "calico":'),
        ("networks: {dcos:", "networks: {calico:"),
    ):
        expected = expected.replace(old, new, 1)
    assert change.after == expected
    assert opens(change) == []
    assert len(told(change)) == 1 and "VIRTUAL_NETWORK_NAME" in told(change)[0]


def test_line_ends_stay() -> None:
    text = SVC.replace("\n", "\r\n")
    change = svc.migrate("svc.yml", text, Wish())
    assert change.after == svc.migrate("svc.yml", SVC, Wish()).after.replace("\n", "\r\n")


def test_what_is_no_key_below_networks_is_left_to_a_person() -> None:
    change = svc.migrate("svc.yml", "pods:\n  a:\n    networks:\n      - dcos\n", Wish())
    assert change.after.endswith("- dcos\n")
    assert len(opens(change)) == 1


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        (" {\n      dcos: {}\n    }", "line 3: is not one line of {...}"),
        (" &name\n      dcos:", "line 3: is not one line of {...}"),
        (" *name", "line 3: is not one line of {...}"),
        (" [dcos]", "line 3: is not one line of {...}"),
        (" dcos", "line 3: is not one line of {...}"),
        ("\n    - dcos", "line 4: is below networks and no key of it"),
        ("\n      dcos:\n      calico:", "line 3: would have the network calico twice"),
        (" {calico: {}, dcos: {}}", "line 3: would have the network calico twice"),
    ],
)
def test_networks_that_a_person_must_look_at(networks: str, told: str) -> None:
    text = f"pods:\n  a:\n    networks:{networks}\n  b:\n    networks:\n      dcos:\n"
    change = svc.migrate("svc.yml", text, Wish())
    assert change.after == text[:-6] + "calico:\n", "what is clear is done"
    assert len(opens(change)) == 1 and told in opens(change)[0]


@pytest.mark.parametrize("mark", ["|", ">-", "|2 # note"])
def test_text_in_a_block_is_nobodys_network(mark: str) -> None:
    shell = "      cat <<EOF\n\n      networks:\n        dcos:\n      EOF\n"
    text = f"pods:\n  a:\n    cmd: {mark}\n{shell}    networks:\n      dcos:\n"
    assert svc.migrate("svc.yml", text, Wish()) == Change(text[:-6] + "calico:\n", ())
    (only,) = opens(svc.migrate("svc.yml", text + "      calico:\n", Wish()))
    assert "line 9: would have the network calico twice" in only


def test_a_key_further_down_is_no_network() -> None:
    text = "pods:\n  a:\n    networks: {other: {labels: {dcos: x}}}\n"
    assert svc.migrate("svc.yml", text, Wish()) == Change(text, ())


def test_a_networks_name_that_is_left_to_marathon() -> None:
    for text in (
        '{"networks": [{"mode": "container"}]}',
        '{"networks": [{"mode": "container", "labels": {"name": 1}}]}',
    ):
        change = svc.migrate("marathon.json.mustache", text, Wish())
        assert change.after == text
        (only,) = opens(change)
        assert "networks: a network of mode container has no name, so it is dcos" in only
    for text in ('{"networks": [{"mode": "host"}]}', '{"networks": [{"mode": "{{mode}}", {{{rest}}}}]}'):
        assert svc.migrate("marathon.json.mustache", text, Wish()) == Change(text, ())


def test_a_template_of_marathons_definition() -> None:
    change = svc.migrate("marathon.json.mustache", MARATHON, Wish())
    expected = MARATHON
    for old, new in (
        ('"networkName": "dcos"', '"networkName": "calico"'),
        ('"mode": "container", "name": "dcos"', '"mode": "container", "name": "calico"'),
        ('"VIRTUAL_NETWORK_NAME": "dcos"', '"VIRTUAL_NETWORK_NAME": "calico"'),
    ):
        expected = expected.replace(old, new, 1)
    assert change.after == expected
    assert opens(change) == []
    (only,) = told(change)
    assert only.startswith(
        "env.SERVICE_VIRTUAL_NETWORK_NAME: the network's name is the variable service.virtual_network_name"
    )


@pytest.mark.parametrize("text", ['{"a": [}', '{"a": "x', '{"networks": [{"name": "dcos"}]', "}"])
def test_a_template_that_is_not_understood_is_left_alone(text: str) -> None:
    change = svc.migrate("marathon.json.mustache", text, Wish())
    assert change.after == text
    assert len(opens(change)) == 1


def test_defaults_of_the_packages_configuration() -> None:
    change = svc.migrate("config.json", CONFIG, Wish())
    after = json.loads(change.after)["properties"]
    assert after["service"]["properties"]["virtual_network_name"]["default"] == "calico"
    assert after["service"]["properties"]["name"]["default"] == "dcos"
    assert change.after.count("   ") == CONFIG.count("   "), "the formatting stays"
    assert [words for words in told(change) if "has no default" in words]
    assert [words for words in opens(change) if "allows only dcos, x" in words]


@pytest.mark.parametrize(
    ("name", "text"), [("svc.yml", SVC), ("marathon.json.mustache", MARATHON), ("config.json", CONFIG)]
)
def test_a_second_time_changes_nothing(name: str, text: str) -> None:
    once = svc.migrate(name, text, Wish()).after
    assert svc.migrate(name, once, Wish()).after == once
