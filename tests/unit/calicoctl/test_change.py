"""patch, label, diff, convert, explain, version and completion."""

import json
from collections.abc import Callable

import pytest
import yaml

from calico.calicoctl.verbs.patch import merge
from calico.client.initialize import ensure_initialized
from calico.datastore.store import put

from .conftest import Calicoctl

Write = Callable[..., str]
_OLD_POOL = "apiVersion: v1\nkind: ipPool\nmetadata: {cidr: 10.1.0.0/16}\nspec: {nat-outgoing: true}\n"


@pytest.fixture
def pool(calicoctl: Calicoctl, resource: Write) -> Calicoctl:
    """A store with the pool `a`."""
    calicoctl.apply(resource("IPPool", "a", "cidr: 10.1.0.0/16", "natOutgoing: true"))
    return calicoctl


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        ({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": 1}, {"a": None, "b": None}, {}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_a_merge(value: object, patch: object, result: object) -> None:
    assert merge(value, patch) == result


def test_patch_changes_what_it_names_and_null_takes_away(pool: Calicoctl) -> None:
    result = pool("patch", "pool", "a", "-p", '{"spec": {"natOutgoing": null, "disabled": true}}')
    assert (result.code, result.out) == (0, "Successfully patched 1 'IPPool' resource\n")
    spec = pool.client.get("IPPool", "a").spec
    assert (spec.nat_outgoing, spec.disabled, spec.cidr) == (False, True, "10.1.0.0/16")


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ("{", "the patch is not JSON"),
        ("[]", "the patch is not a JSON object"),
        ('{"spec": {"a": 1, "a": 2}}', "a: is given twice"),
        ('{"spec": {"disabld": true}}', "Hit error: updating existing resource: spec.disabld: no such member"),
        ('{"spec": {"cidr": "10.2.0.0/16"}}', "IPPool CIDR cannot be modified"),
        ('{"metadata": {"name": "b"}}', "metadata.name: cannot be changed"),
        ('{"metadata": {"resourceVersion": "1"}}', "update conflict: IPPool(a)"),
    ],
)
def test_a_patch_that_is_refused_changes_nothing(pool: Calicoctl, patch: str, says: str) -> None:
    before = pool.client.get("IPPool", "a")
    result = pool("patch", "pool", "a", "-p", patch)
    assert result.code == 1
    assert says in result.err
    assert pool.client.get("IPPool", "a") == before


def test_patch_of_what_is_not_there_or_not_ours(pool: Calicoctl) -> None:
    assert pool("patch", "pool", "b", "-p", "{}").err == "Hit error: resource does not exist: IPPool(b)\n"
    assert "readonly" in pool("patch", "clusterinfo", "default", "-p", "{}").err


def test_labels_are_set_updated_and_removed_in_upstreams_words(pool: Calicoctl) -> None:
    assert pool("label", "pool", "a", "k=v").out == "Successfully set label k on IPPool a\n"
    assert pool("label", "pool", "a", "k=v").out == "Successfully updated label k on IPPool a\n"
    assert pool("label", "pool", "a", "k=w").err == (
        "failed to update label of IPPool a, key k is already present. please use '--overwrite' to set a new value.\n"
    )
    assert pool("label", "pool", "a", "k=w", "--overwrite").code == 0
    assert dict(pool.client.get("IPPool", "a").metadata.labels) == {"k": "w"}
    assert pool("label", "pool", "a", "k", "--remove").out == "Successfully removed label k from IPPool a\n"
    assert pool("label", "pool", "a", "k", "--remove").err == (
        "can not remove label of IPPool a, key k does not exist\n"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("a", "k"), "invalid label k"),
        (("a", "k=v", "--remove"), "invalid label k=v"),
        (("a", "b@d=v"), "invalid label b@d=v"),
        (("a", "k=" + "v" * 64), "invalid label"),
        (("b", "k=v"), "IPPool b not found"),
    ],
)
def test_labels_that_are_refused(pool: Calicoctl, words: tuple[str, ...], says: str) -> None:
    name, label, *rest = words
    result = pool("label", *rest, "pool", name, label)
    assert result.code == 1
    assert says in result.err


def test_diff_shows_what_apply_would_change_and_its_exit_code_tells(pool: Calicoctl, resource: Write) -> None:
    same = resource("IPPool", "a", "cidr: 10.1.0.0/16", "natOutgoing: true")
    assert pool("diff", "-f", "-", stdin=same) == (0, "", "")
    changed = resource("IPPool", "a", "cidr: 10.1.0.0/16", "natOutgoing: false", "vxlanMode: Always")
    result = pool("diff", "-f", "-", stdin=changed)
    assert (result.code, result.err) == (1, "")
    lines = result.out.splitlines()
    assert "--- IPPool(a) in the datastore" in lines
    assert "-  natOutgoing: true" in lines
    assert {"-  vxlanMode: Never", "+  vxlanMode: Always", "+  vxlanEnabled: true"} <= set(lines)
    assert pool("diff", "-f", "-", stdin=same).code == 0, "a diff must not change anything"


def test_a_resource_stored_without_a_uid_differs_in_nothing_a_user_wrote(calicoctl: Calicoctl, resource: Write) -> None:
    value = '{"kind":"Profile","apiVersion":"projectcalico.org/v3","metadata":{"name":"p"},"spec":{}}'
    put(calicoctl.store, "/calico/resources/v3/projectcalico.org/profiles/p", value.encode())
    assert calicoctl("diff", "-f", "-", stdin=resource("Profile", "p")) == (0, "", "")


def test_diff_as_json_names_each_change(pool: Calicoctl, resource: Write) -> None:
    result = pool("diff", "-o", "json", "-f", "-", stdin=resource("Profile", "p"))
    assert [(one["id"], one["change"]) for one in json.loads(result.out)] == [("Profile(p)", "created")]


def test_diff_of_what_apply_would_refuse_is_trouble(pool: Calicoctl, resource: Write) -> None:
    text = resource("IPPool", "b", "cidr: 10.1.0.0/20") + resource("Profile", "p")
    result = pool("diff", "-f", "-", stdin=text)
    assert result.code == 2
    assert "standard input:6: IPPool(b): spec.cidr" in result.err
    assert "+++ Profile(p) as given" in result.out
    assert pool("diff", "-f", "/none").code == 2


def test_convert_prints_v3_and_needs_no_datastore(calicoctl: Calicoctl) -> None:
    calicoctl.environment = {}
    document = yaml.safe_load(calicoctl("convert", "-f", "-", stdin=_OLD_POOL).out)
    assert (document["kind"], document["metadata"]["name"]) == ("IPPool", "10-1-0-0-16")
    assert document["spec"]["natOutgoing"] is True
    two = calicoctl("convert", "-o", "json", "-f", "-", stdin=f"{_OLD_POOL}---\n{_OLD_POOL}")
    assert len(json.loads(two.out)) == 2


def test_strict_conversion_refuses_what_upstream_refuses(calicoctl: Calicoctl, resource: Write) -> None:
    named = _OLD_POOL.replace("{cidr", "{name: p, cidr")
    assert calicoctl("convert", "-f", "-", stdin=named).code == 0
    assert (
        "standard input:3: metadata.name: no such member"
        in calicoctl("convert", "--strict", "-f", "-", stdin=named).err
    )
    assert calicoctl("convert", "-f", "-", stdin=resource("Profile", "p")).code == 0
    assert calicoctl("convert", "--strict", "-f", "-", stdin=resource("Profile", "p")).code == 1


def test_conversion_validates_its_result_unless_told_not_to(calicoctl: Calicoctl, resource: Write) -> None:
    wrong = resource("IPPool", "p", "cidr: 10.1.2.3/16")
    assert "standard input:6: spec.cidr: " in calicoctl("convert", "-f", "-", stdin=wrong).err
    assert calicoctl("convert", "--ignore-validation", "-f", "-", stdin=wrong).code == 0


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ("gnp", "KIND:      GlobalNetworkPolicy (projectcalico.org/v3)"),
        ("gnp", "doNotTrack"),
        ("pool.spec.vxlanMode", "TYPE:      one of Always, CrossSubnet, Never"),
        ("networkpolicy.spec.ingress", "TYPE:      list of mapping"),
        ("networkpolicy.spec.ingress[].action", "one of Allow, Deny, Log, Pass (required)"),
        ("POOL.Spec.CIDR", "MEMBER:    IPPool.spec.cidr"),
    ],
)
def test_explain(calicoctl: Calicoctl, member: str, says: str) -> None:
    result = calicoctl("explain", member)
    assert result.code == 0
    assert says in result.out


def test_explain_names_the_nearest_member(calicoctl: Calicoctl) -> None:
    assert "IPPool.spec has no member 'cdir' (did you mean cidr?)" in calicoctl("explain", "pool.spec.cdir").err


def test_every_kind_can_be_explained(calicoctl: Calicoctl) -> None:
    from calico.model.kinds import KINDS

    assert [kind for kind in KINDS if calicoctl("explain", kind).code] == []


def test_version_says_what_the_client_is_also_where_the_cluster_says_nothing(calicoctl: Calicoctl) -> None:
    result = calicoctl("version")
    assert result.code == 1
    assert result.out == "Client Version:    v3.14.0\nGit commit:        unknown\n"
    assert result.err.startswith("Unable to retrieve Cluster Version or Type: ")
    ensure_initialized(calicoctl.client, "v3.14.0")
    assert calicoctl("version").out.splitlines()[2:] == ["Cluster Version:   v3.14.0", "Cluster Type:      unknown"]


def test_every_member_but_felixs_and_kubernetes_has_a_meaning_and_no_meaning_is_left_over() -> None:
    """A member added to the model wants its line in `explain`."""
    from calico.calicoctl import meanings
    from calico.calicoctl.verbs.explain import _members, _root
    from calico.model.kinds import KINDS
    from calico.model.schema import Member

    def walk(member: Member, path: str) -> list[str]:
        found = []
        for one in _members(member):
            found += [path + one.name, *walk(one, f"{path}{one.name}.")]
        return found

    paths = {kind: walk(Member(kind, _root(KINDS[kind])), "") for kind in KINDS}
    undescribed = [
        f"{kind}.{path}"
        for kind, members in paths.items()
        for path in members
        if kind not in ("FelixConfiguration", "KubeControllersConfiguration")
        and not path.startswith("metadata.")
        and not meanings.meaning(kind, path)
    ]
    assert undescribed == []
    left_over = [
        f"{kind}.{path}" for kind, texts in meanings._OF_KIND.items() for path in texts if path not in paths[kind]
    ]
    assert left_over == []
