"""get: tables, documents, templates, what is missing; and get --watch."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from .conftest import Calicoctl

Write = Callable[..., str]


@pytest.fixture
def filled(calicoctl: Calicoctl, resource: Write) -> Calicoctl:
    calicoctl.apply(
        resource("IPPool", "a", "cidr: 10.1.0.0/16", "natOutgoing: true")
        + resource("NetworkPolicy", "p", "order: 1000000", "selector: has(x)")
        + resource("NetworkPolicy", "q", namespace="prod")
        + resource("Profile", "calico", "labelsToApply: {calico: '', yes: 'no'}")
    )
    return calicoctl


def test_tables_are_upstreams_to_the_character(filled: Calicoctl) -> None:
    assert filled("get", "pool").out == "NAME   CIDR          SELECTOR   \na      10.1.0.0/16   all()      \n\n"
    assert filled("get", "IPPOOLS", "-o", "ps").out == filled("get", "ipp").out
    wide = filled("get", "policy", "-o", "wide").out
    assert wide == "NAME   ORDER   SELECTOR   \np      1e+06   has(x)     \n\n"


def test_the_namespace_column_appears_when_a_namespace_was_asked_for(filled: Calicoctl) -> None:
    assert filled("get", "policy").out == "NAME   \np      \n\n"
    assert filled("get", "policy", "-n", "prod").out == "NAMESPACE   NAME   \nprod        q      \n\n"
    assert filled("get", "policy", "-a").out.count("\n") == 4


def test_options_may_stand_between_names(filled: Calicoctl, resource: Write) -> None:
    filled.apply(resource("Profile", "b"))
    between = filled("get", "profile", "-o", "json", "calico", "b")
    assert [one["metadata"]["name"] for one in json.loads(between.out)] == ["calico", "b"]


def test_one_resource_a_list_and_several_resources(filled: Calicoctl) -> None:
    one = yaml.safe_load(filled("get", "pool", "a", "-o", "yaml").out)
    assert (one["kind"], one["metadata"]["name"]) == ("IPPool", "a")
    every = yaml.safe_load(filled("get", "profile", "-o", "yml").out)
    assert every["kind"] == "ProfileList"
    assert every["metadata"]["resourceVersion"].isdigit()
    assert [one["metadata"]["name"] for one in every["items"]] == ["calico", "projectcalico-default-allow"]
    several = json.loads(filled("get", "profile", "calico", "projectcalico-default-allow", "-o", "json").out)
    assert len(several) == 2


def test_yaml_is_quoted_only_where_it_must_be(filled: Calicoctl) -> None:
    out = filled("get", "profile", "calico", "-o", "yaml").out
    assert '    calico: ""\n    "yes": "no"\n' in out
    assert "\n  creationTimestamp: 2" in out
    assert '\n  resourceVersion: "' in out


def test_what_get_prints_can_be_applied_again(filled: Calicoctl) -> None:
    out = filled("get", "pool", "-o", "yaml").out
    assert filled("apply", "-f", "-", stdin=out).out == "Successfully applied 1 'IPPool' resource(s)\n"


def test_export_leaves_out_what_belongs_to_this_cluster(filled: Calicoctl) -> None:
    exported = yaml.safe_load(filled("get", "pool", "a", "--export", "-o", "yaml").out)
    assert exported["metadata"] == {"name": "a", "creationTimestamp": None}
    assert "give NAME" in filled("get", "pool", "--export").err


def test_what_was_found_is_shown_before_what_was_not(filled: Calicoctl) -> None:
    result = filled("get", "pool", "x", "a")
    assert result.code == 1
    assert "10.1.0.0/16" in result.out
    assert result.err == "resource does not exist: IPPool(x)\n"


def test_the_resources_of_a_file(filled: Calicoctl, resource: Write) -> None:
    path = filled.file(resource("IPPool", "a") + resource("Profile", "none"))
    result = filled("get", "-f", path, "-o", "json")
    assert json.loads(result.out)["metadata"]["name"] == "a"
    assert result.err == f"{path}:7: resource does not exist: Profile(none)\n"


def test_templates_and_custom_columns(filled: Calicoctl) -> None:
    template = "{{range .}}{{range .Items}}{{.ObjectMeta.Name}}={{.Spec.CIDR}}{{end}}{{end}}"
    assert filled("get", "pool", "-o", f"go-template={template}").out == "a=10.1.0.0/16"
    path = filled.file(template, "t.tmpl")
    assert filled("get", "pool", "-o", f"go-template-file={path}").out == "a=10.1.0.0/16"
    assert filled("get", "pool", "-o", "custom-columns=cidr,NAME").out.split() == ["CIDR", "NAME", "10.1.0.0/16", "a"]
    assert "Unknown heading X, valid values are: CIDR" in filled("get", "pool", "-o", "custom-columns=X").err
    assert filled("get", "pool", "-o", "go-template={{").code == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("foo",), "Failed to get resources: resource type 'foo' is not supported"),
        (("pooll",), "did you mean pool"),
        (("pool", "-n", "x"), "namespace should not be specified for a non-namespaced resource"),
        (("policy", "-n", "x", "-a"), "cannot be used together"),
        (("policy", "x", "-a"), "cannot be used with a NAME"),
        (("pool", "-o", "xml"), "unrecognized output format 'xml'"),
        (("pool", "-o", "go-template-file=/none"), "cannot read the template /none"),
    ],
)
def test_what_cannot_be_asked(filled: Calicoctl, words: tuple[str, ...], says: str) -> None:
    result = filled("get", *words)
    assert (result.code, result.out) == (1, "")
    assert says in result.err


def test_as_numbers_come_from_the_cluster_where_the_node_has_none(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.apply(resource("Node", "n", "bgp: {ipv4Address: 10.0.0.1/24}"))
    assert "(64512)" in calicoctl("get", "node", "-o", "wide").out
    calicoctl.apply(resource("BGPConfiguration", "default", "asNumber: 64999"))
    assert "(64999)" in calicoctl("get", "node", "-o", "wide").out


def test_values_that_cannot_be_read_are_told(filled: Calicoctl) -> None:
    from calico.datastore.store import put

    put(filled.store, "/calico/resources/v3/projectcalico.org/ippools/broken", b"{")
    result = filled("get", "pool")
    assert result.code == 1
    assert "1 IPPool in the datastore cannot be read" in result.err


def _watched(calicoctl: Calicoctl, monkeypatch: pytest.MonkeyPatch, changes: Callable[[], Any], *words: str) -> str:
    """What `get --watch` printed for what was there and for `changes`, then interrupted."""
    watch = type(calicoctl.client).watch

    def limited(client: Any, kind: str, namespace: str) -> Any:
        seen = 0
        for change in watch(client, kind, namespace, 0.2):
            if change is None:
                raise KeyboardInterrupt
            yield change
            seen += change.type == "SYNCED"
            if seen == 1 and change.type == "SYNCED":
                threading.Thread(target=changes).start()

    monkeypatch.setattr(type(calicoctl.client), "watch", limited)
    result = calicoctl("get", *words, "--watch")
    assert result.code == 130
    return result.out


def test_a_watch_shows_what_is_there_and_every_change(
    filled: Calicoctl, resource: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changes() -> None:
        filled.apply(resource("IPPool", "b", "cidr: 10.2.0.0/16"))
        filled("delete", "pool", "a")

    lines = [line.split() for line in _watched(filled, monkeypatch, changes, "pool").splitlines()]
    assert lines[:2] == [["EVENT", "NAME", "CIDR", "SELECTOR"], ["ADDED", "a", "10.1.0.0/16", "all()"]]
    assert ["ADDED", "b", "10.2.0.0/16", "all()"] in lines
    assert lines[-1][:2] == ["DELETED", "a"]


def test_a_watch_of_one_name_as_json(filled: Calicoctl, resource: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def changes() -> None:
        filled.apply(resource("Profile", "other") + resource("Profile", "calico"))

    out = _watched(filled, monkeypatch, changes, "profile", "calico", "-o", "json")
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["ADDED", "MODIFIED"]
