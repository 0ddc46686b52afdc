"""create, apply, replace and delete: upstream's messages, partial failures, and what is refused."""

import json
from collections.abc import Callable

import pytest

from calico.datastore.store import listing
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.errors import ContentionError

from .conftest import Calicoctl

Write = Callable[..., str]

_POOL_A = ("cidr: 10.1.0.0/16",)


def test_apply_creates_then_replaces_and_keeps_what_identifies_the_resource(
    calicoctl: Calicoctl, resource: Write
) -> None:
    calicoctl.apply(resource("NetworkSet", "s", "nets: [10.0.0.0/8]"))
    first = calicoctl.client.get("NetworkSet", "s", "default")
    calicoctl.apply(resource("NetworkSet", "s", "nets: [10.0.0.0/9]"))
    second = calicoctl.client.get("NetworkSet", "s", "default")
    assert second.spec.nets == ("10.0.0.0/9",)
    assert second.metadata.uid == first.metadata.uid
    assert second.metadata.creation_timestamp == first.metadata.creation_timestamp


def test_applying_the_same_again_writes_nothing(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.apply(resource("IPPool", "a", *_POOL_A))
    before = calicoctl.client.get("IPPool", "a")
    calicoctl.apply(resource("IPPool", "a", *_POOL_A))
    assert calicoctl.client.get("IPPool", "a") == before


def test_create_makes_its_own_uid_and_time_whatever_the_document_says(calicoctl: Calicoctl) -> None:
    text = """
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: p, uid: mine, resourceVersion: "75", creationTimestamp: 2001-01-01T00:00:00Z, labels: {a: b}}
"""
    assert calicoctl("create", "-f", "-", stdin=text).out == "Successfully created 1 'Profile' resource(s)\n"
    metadata = calicoctl.client.get("Profile", "p").metadata
    assert metadata.uid != "mine"
    assert metadata.creation_timestamp is not None and not metadata.creation_timestamp.startswith("2001")
    assert dict(metadata.labels) == {"a": "b"}


def test_a_version_that_is_not_the_stored_one_is_a_conflict(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.apply(resource("Profile", "p"))
    stale = 'apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: p, resourceVersion: "9999"}\n'
    for command in ("apply", "replace"):
        result = calicoctl(command, "-f", calicoctl.file(stale))
        assert result.code == 1
        assert f"Failed to {command} 'Profile' resource: [" in result.err
        assert "f.yaml:1: update conflict: Profile(p)]" in result.err


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("create", "Failed to create 'Profile' resource: [standard input:1: resource already exists: Profile(p)]\n"),
        ("apply", ""),
        ("replace", ""),
    ],
)
def test_a_resource_that_exists(calicoctl: Calicoctl, resource: Write, command: str, says: str) -> None:
    calicoctl.apply(resource("Profile", "p"))
    result = calicoctl(command, "-f", "-", stdin=resource("Profile", "p", "labelsToApply: {a: b}"))
    assert (result.code, result.err) == (1 if says else 0, says)


def test_replace_and_delete_of_what_does_not_exist(calicoctl: Calicoctl, resource: Write) -> None:
    text = resource("Profile", "p")
    result = calicoctl("replace", "-f", "-", stdin=text)
    assert result.err == (
        "Failed to replace 'Profile' resource: [standard input:1: resource does not exist: Profile(p)]\n"
    )
    assert calicoctl("delete", "-f", "-", stdin=text).code == 1
    assert calicoctl("delete", "-f", "-", "--skip-not-exists", stdin=text).code == 0


def test_skip_exists_counts_it_as_created(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.apply(resource("Profile", "p", "labelsToApply: {a: b}"))
    result = calicoctl("create", "--skip-exists", "-f", "-", stdin=resource("Profile", "p"))
    assert (result.code, result.out) == (0, "Successfully created 1 'Profile' resource(s)\n")
    assert calicoctl.client.get("Profile", "p").spec.labels_to_apply == {"a": "b"}


def test_what_fails_in_the_middle_does_not_stop_the_rest_and_names_its_line(
    calicoctl: Calicoctl, resource: Write
) -> None:
    bad = resource("IPPool", "b", "cidr: 10.1.128.0/17")
    path = calicoctl.file(resource("IPPool", "a", *_POOL_A) + bad + resource("IPPool", "c", "cidr: 10.3.0.0/16"))
    result = calicoctl("apply", "-f", path)
    assert result.code == 1
    assert result.out == "Partial success: applied 2 out of 3 'IPPool' resources:\n"
    assert result.err.startswith(f"Hit error(s): [{path}:13: IPPool(b): spec.cidr: ")
    assert "overlaps" in result.err
    assert [one.metadata.name for one in calicoctl.client.list("IPPool").items] == ["a", "c"]


def test_upstreams_sentence_where_the_first_ones_were_handled(calicoctl: Calicoctl, resource: Write) -> None:
    text = resource("Profile", "a") + resource("Profile", "b") + resource("IPPool", "c", "cidr: 1.2.3.4/8")
    result = calicoctl("create", "-f", "-", stdin=text)
    assert result.out == "Partial success: created the first 2 out of 3 resources:\n"
    assert result.err.startswith("Hit error: [standard input:")


def test_nothing_handled_of_several(calicoctl: Calicoctl, resource: Write) -> None:
    text = resource("Profile", "a") + resource("Profile", "b")
    calicoctl.apply(text)
    result = calicoctl("create", "-f", "-", stdin=text)
    assert result.err == (
        "Failed to create any 'Profile' resources: [standard input:1: resource already exists: Profile(a)\n"
        "standard input:7: resource already exists: Profile(b)]\n"
    )
    mixed = calicoctl("create", "-f", "-", stdin=resource("Profile", "a") + resource("ClusterInformation", "default"))
    assert mixed.err.startswith("Failed to create any resources: [")


def test_one_unreadable_document_and_nothing_at_all_is_written(calicoctl: Calicoctl, resource: Write) -> None:
    text = resource("Profile", "a") + resource("NetworkPolicy", "b", "ingres: []", "typs: [Ingress]")
    result = calicoctl("apply", "-f", calicoctl.file(text))
    assert result.code == 1
    assert "f.yaml:12: error parsing document: spec.ingres: no such member (did you mean ingress?)" in result.err
    assert "f.yaml:13: error parsing document: spec.typs: no such member (did you mean types?)" in result.err
    assert len(calicoctl.client.list("Profile").items) == 1  # the one that is always there


def test_members_in_any_case_still_name_their_line(calicoctl: Calicoctl) -> None:
    text = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: a}\nSpec:\n  CIDR: 10.1.2.3/16\n"
    assert "f.yaml:5: IPPool(a): spec.cidr" in calicoctl("apply", "-f", calicoctl.file(text)).err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "No resources specified in file f.yaml"),
        ("---\n---\n", "No resources specified in file f.yaml"),
        ("kind: IPPoool\napiVersion: projectcalico.org/v3\n", "Unknown resource type (IPPoool) and/or version"),
        ("kind: IPPool\napiVersion: v3\n", "Unknown resource type (IPPool) and/or version (v3)"),
        (
            "kind: IPPool\napiVersion: projectcalico.org/v3\nspec: {cidr: 10.0.0.0/8}\n",
            "resource name may not be empty",
        ),
    ],
)
def test_what_is_no_resource(calicoctl: Calicoctl, text: str, says: str) -> None:
    calicoctl.file(text)
    result = calicoctl("apply", "-f", "f.yaml")
    assert result.code == 1
    assert says in result.err


def test_a_file_that_is_not_there(calicoctl: Calicoctl) -> None:
    result = calicoctl("apply", "-f", "none.yaml")
    assert (result.code, result.err) == (
        1,
        "Failed to execute command: open none.yaml: no such file or directory\n",
    )


def test_directories_subdirectories_and_standard_input_together(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.file(resource("Profile", "a"), "d/a.yaml")
    calicoctl.file(
        json.dumps({"apiVersion": "projectcalico.org/v3", "kind": "Profile", "metadata": {"name": "b"}}), "d/b.json"
    )
    calicoctl.file(resource("Profile", "c"), "d/sub/c.yml")
    result = calicoctl("apply", "-f", "d", "-f", "-", stdin=resource("Profile", "d"))
    assert result.out == "Successfully applied 3 'Profile' resource(s)\n"
    assert calicoctl("apply", "-R", "-f", "d").out == "Successfully applied 3 'Profile' resource(s)\n"


def test_namespaces_are_given_once_or_default(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.apply(resource("NetworkSet", "s"))
    assert calicoctl("apply", "-n", "prod", "-f", "-", stdin=resource("NetworkSet", "s")).code == 0
    namespaces = [one.metadata.namespace for one in calicoctl.client.list("NetworkSet").items]
    assert namespaces == ["default", "prod"]
    other = calicoctl("apply", "-n", "prod", "-f", "-", stdin=resource("NetworkSet", "s", namespace="test"))
    assert "the namespace of the resource, test, is not the one given with -n, prod" in other.err
    cluster = calicoctl("apply", "-n", "prod", "-f", "-", stdin=resource("Profile", "p"))
    assert "namespace should not be specified for a non-namespaced resource" in cluster.err
    inside = calicoctl("apply", "-f", "-", stdin=resource("Profile", "p", namespace="x"))
    assert inside.code == 1 and "metadata.namespace" in inside.err


@pytest.mark.parametrize("command", ["create", "apply", "replace", "delete"])
def test_what_belongs_to_others_is_refused(calicoctl: Calicoctl, resource: Write, command: str) -> None:
    result = calicoctl(command, "-f", "-", stdin=resource("ClusterInformation", "default"))
    assert f"operation {command} is not supported on ClusterInformation: resource is readonly" in result.err
    result = calicoctl(command, "-f", "-", stdin=resource("NetworkPolicy", "knp.default.x"))
    assert "kubernetes network policies must be managed through the kubernetes API" in result.err
    result = calicoctl(command, "-f", "-", stdin=resource("Profile", "projectcalico-default-allow"))
    assert result.code == 1


def test_an_old_document_is_taken_with_a_notice_that_says_what_it_became(calicoctl: Calicoctl) -> None:
    path = calicoctl.file(
        "apiVersion: v1\nkind: ipPool\nmetadata: {name: p, cidr: 10.1.0.0/16}\nspec: {nat-outgoing: true}\n"
    )
    result = calicoctl("apply", "-f", path)
    assert result.code == 0
    assert f"{path}:1: Notice: ipPool of the deprecated apiVersion v1 is taken as IPPool(p)" in result.err
    assert "natOutgoing: true" in result.err
    assert calicoctl.client.get("IPPool", "p").spec.nat_outgoing is True
    assert calicoctl("delete", "-f", path).code == 0


def test_delete_by_name_goes_on_behind_what_is_missing(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.apply(resource("Profile", "a") + resource("Profile", "b"))
    result = calicoctl("delete", "profile", "a", "x", "b")
    assert result.out == "Successfully deleted 2 'Profile' resource(s)\n"
    assert result.err == "Failed to delete 'Profile' resource: resource does not exist: Profile(x)\n"
    assert result.code == 1
    assert calicoctl("delete", "profile", "a", "-s").code == 0


def test_a_dry_run_says_what_would_happen_and_changes_nothing(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.apply(resource("Profile", "old"))
    revision = calicoctl.client.list("Profile").revision
    text = resource("IPPool", "a", *_POOL_A, "vxlanMode: Always") + resource("Profile", "old")
    result = calicoctl("apply", "--dry-run", "-f", calicoctl.file(text, "f.yaml"))
    assert result.code == 0
    assert "f.yaml:1: IPPool(a) would be created" in result.out
    assert "FelixConfiguration(default) would be created" in result.out  # the pool turns VXLAN on
    assert "Profile(old) would stay as it is" in result.out
    assert result.out.endswith("Successfully applied 2 resource(s) (dry run: nothing was changed)\n")
    assert calicoctl.client.list("Profile").revision == revision


def test_a_dry_run_fails_where_the_run_would_also_among_its_own_documents(
    calicoctl: Calicoctl, resource: Write
) -> None:
    text = resource("IPPool", "a", *_POOL_A) + resource("IPPool", "b", "cidr: 10.1.4.0/24")
    result = calicoctl("create", "--dry-run", "-f", "-", stdin=text)
    assert result.code == 1
    assert "IPPool(b) CIDR overlaps with IPPool(a)" in result.err
    assert calicoctl("delete", "--dry-run", "profile", "none").code == 1
    assert calicoctl("create", "-f", "-", stdin=resource("Profile", "p")).code == 0
    assert calicoctl("delete", "--dry-run", "profile", "p").out.endswith("(dry run: nothing was changed)\n")
    assert calicoctl.client.get("Profile", "p")


def test_an_endpoint_needs_no_name_of_its_own(calicoctl: Calicoctl, resource: Write) -> None:
    spec = ("orchestrator: cni", "node: n1", "containerID: c", "endpoint: eth0", "interfaceName: calic")
    calicoctl.apply(resource("WorkloadEndpoint", "x", *spec).replace("  name: x\n", "  namespace: default\n"))
    assert calicoctl.client.get("WorkloadEndpoint", "n1-cni-c-eth0", "default")


@pytest.mark.parametrize(("kind", "name"), [("IPPool", "a"), ("Node", "n")])
def test_with_a_pool_or_a_node_goes_what_ipam_holds_for_it(
    calicoctl: Calicoctl, resource: Write, kind: str, name: str
) -> None:
    calicoctl.apply(resource("IPPool", "a", *_POOL_A) + resource("Node", "n"))
    ipam = Ipam(calicoctl.store)
    ipam.auto_assign(Request("n", ipv4=1, handle="h"))
    ipam.release_handle("h")
    assert listing(calicoctl.store, "/calico/ipam/v2/host/").items
    assert calicoctl("delete", kind, name, "--dry-run").code == 0
    assert listing(calicoctl.store, "/calico/ipam/v2/host/").items
    assert calicoctl("delete", kind, name).out == f"Successfully deleted 1 '{kind}' resource(s)\n"
    assert not listing(calicoctl.store, "/calico/ipam/v2/").items


def test_what_ipam_refuses_is_one_line_and_the_pool_stays(
    calicoctl: Calicoctl, resource: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_ipam: Ipam, _cidr: str) -> None:
        raise ContentionError("others keep changing its blocks; try again")

    monkeypatch.setattr(Ipam, "release_pool", refuse)
    calicoctl.apply(resource("IPPool", "a", *_POOL_A))
    result = calicoctl("delete", "IPPool", "a")
    assert result.code == 1
    says = "IPPool(a): others keep changing its blocks; try again"
    assert result.err == f"Failed to delete 'IPPool' resource: {says}\n"
    assert calicoctl.client.get("IPPool", "a").metadata.name == "a"
