"""The four resource documents of DC/OS Calico's README, as users paste them: applied, read back, broken in ten ways.

Each document is kept as it stands there, faults included: the pool is of the old v1 API, and the second profile's items
begin with `+`. Its placeholders are filled in, since `<` is no part of a name.
"""

import json
from typing import NamedTuple

import pytest
import yaml

from .conftest import Program

PROFILE = """\
apiVersion: projectcalico.org/v3
kind: Profile
metadata:
  creationTimestamp: 2019-12-23T04:16:55Z
  name: calico
  resourceVersion: "75"
  uid: 0e105ecb-253b-11ea-9e52-065b6833052c
spec:
  egress:
  - action: Allow
    destination: {}
    source: {}
  ingress:
  - action: Allow
    destination: {}
    source:
      selector: has(calico)
  labelsToApply:
    calico: ""
"""
POLICY = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: allow-bookstore-cliient-to-server
spec:
  selector: biz_type == 'bookstore' && role == 'server'
  types:
  - Ingress
  ingress:
  - action: Allow
    protocol: TCP
    source:
      selector:  biz_type == 'bookstore'
    destination:
      ports:
      - 80
  - action: Deny
    protocol: TCP
    source:
      selector: biz_type == 'fruitstore'
    destination:
      ports:
      - 80
"""
POOL = """\
  apiVersion: v1
  kind: ipPool
  metadata:
    name: second
    cidr: 10.1.0.0/16
  spec:
    nat-outgoing: true
    disabled: false
"""
SECOND_PROFILE = """\
  apiVersion: projectcalico.org/v3
  kind: Profile
  metadata:
    name: second
  spec:
    egress:
    + action: Allow
      destination: {}
      source: {}
    ingress:
    + action: Allow
      destination: {}
      source: {}
    labelsToApply:
      calico: ""
"""
CORRECTED_PROFILE = SECOND_PROFILE.replace("+ action", "- action")


def _stored(calicoctl: Program, *words: str) -> dict[str, object]:
    """What `get -o yaml` gives back, without what the cluster adds."""
    result = calicoctl("get", *words, "-o", "yaml")
    assert result.code == 0, result.err
    document: dict[str, object] = yaml.safe_load(result.out)
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    for member in ("uid", "resourceVersion", "creationTimestamp"):
        assert metadata.pop(member)
    return document


def test_the_profile_is_created_on_an_empty_store_with_an_identity_of_its_own(calicoctl: Program) -> None:
    path = calicoctl.file("profile.yaml", PROFILE)
    assert calicoctl("apply", "-f", path) == (0, "Successfully applied 1 'Profile' resource(s)\n", "")
    uid = json.loads(calicoctl("get", "profile", "calico", "-o", "json").out)["metadata"]["uid"]
    assert uid != "0e105ecb-253b-11ea-9e52-065b6833052c"
    expected = yaml.safe_load(PROFILE)
    expected["metadata"] = {"name": "calico"}
    assert _stored(calicoctl, "profile", "calico") == expected


def test_the_profile_is_a_conflict_where_calico_exists(calicoctl: Program) -> None:
    path = calicoctl.file("profile.yaml", PROFILE)
    calicoctl("create", "-f", path)
    result = calicoctl("apply", "-f", path)
    assert result.code == 1
    assert result.err == "Failed to apply 'Profile' resource: [profile.yaml:1: update conflict: Profile(calico)]\n"
    result = calicoctl("create", "-f", path)
    assert result.err == (
        "Failed to create 'Profile' resource: [profile.yaml:1: resource already exists: Profile(calico)]\n"
    )
    assert calicoctl("delete", "-f", path).code == 1, "deleted as of a version that was never stored"


def test_the_policy_goes_to_the_default_namespace_and_comes_back(calicoctl: Program) -> None:
    path = calicoctl.file("policy.yaml", POLICY)
    assert calicoctl("apply", "-f", path) == (0, "Successfully applied 1 'NetworkPolicy' resource(s)\n", "")
    expected = yaml.safe_load(POLICY)
    expected["metadata"]["namespace"] = "default"
    for rule in expected["spec"]["ingress"]:
        rule["source"]["selector"] = rule["source"]["selector"].strip()
    assert _stored(calicoctl, "policy", "allow-bookstore-cliient-to-server") == expected
    keys = calicoctl.cluster.ctl("get", "--prefix", "/calico/", "--keys-only").split()
    assert keys == [
        "/calico/resources/v3/projectcalico.org/networkpolicies/default/default.allow-bookstore-cliient-to-server"
    ]
    assert calicoctl("diff", "-f", path) == (0, "", "")


def test_the_old_pool_is_taken_with_a_notice(calicoctl: Program) -> None:
    path = calicoctl.file("pool.yaml", POOL)
    result = calicoctl("apply", "-f", path)
    assert (result.code, result.out) == (0, "Successfully applied 1 'IPPool' resource(s)\n")
    assert result.err.startswith(
        "pool.yaml:1: Notice: ipPool of the deprecated apiVersion v1 is taken as IPPool(second)"
    )
    assert _stored(calicoctl, "pool", "second")["spec"] == {
        "blockSize": 26,
        "cidr": "10.1.0.0/16",
        "ipipMode": "Never",
        "natOutgoing": True,
        "nodeSelector": "all()",
        "vxlanMode": "Never",
    }
    converted = yaml.safe_load(calicoctl("convert", "-f", path).out)
    assert converted["metadata"]["name"] == "second"
    assert "metadata.name: no such member" in calicoctl("convert", "--strict", "-f", path).err


def test_the_second_profile_is_refused_with_the_corrected_text_and_accepted_once_corrected(calicoctl: Program) -> None:
    result = calicoctl("apply", "-f", calicoctl.file("profile.yaml", SECOND_PROFILE))
    assert (result.code, result.out) == (1, "")
    assert result.err == "".join(
        f"profile.yaml:{line}: error parsing document: an item of a list begins with '-', not with '+'; "
        "write: - action: Allow\n"
        for line in (7, 11)
    )
    assert calicoctl("apply", "-f", calicoctl.file("profile.yaml", CORRECTED_PROFILE)).code == 0
    assert _stored(calicoctl, "profile", "second") == yaml.safe_load(CORRECTED_PROFILE)


class Break(NamedTuple):
    """One fault: what is replaced by what, and what calicoctl must say."""

    old: str
    new: str
    says: str


_BROKEN = {
    "profile": (
        PROFILE,
        [
            Break("kind: Profile", "kind: Profil", "Unknown resource type (Profil)"),
            Break("kind: Profile", "kind: Profil", "did you mean Profile?"),
            Break("org/v3", "org/v4", "version (projectcalico.org/v4)"),
            Break("  name: calico\n", "", "resource name may not be empty"),
            Break("name: calico", "name: Calico_1", "p.yaml:5: Profile(Calico_1): metadata.name"),
            Break(
                "labelsToApply:",
                "labelToApply:",
                "p.yaml:18: error parsing document: spec.labelToApply: no such member",
            ),
            Break('calico: ""', 'calico/a/b: ""', "p.yaml:19: Profile(calico): spec.labelsToApply"),
            Break("action: Allow", "action: allow", "did you mean Allow?"),
            Break("has(calico)", "has(calico", "p.yaml:17: Profile(calico): spec.ingress[0].source.selector"),
            Break(
                "  egress:",
                "  ingress: []\n  egress:",
                "p.yaml:14: error parsing document: spec.ingress: the member is given twice",
            ),
            Break("2019-12-23T04:16:55Z", "yesterday", "p.yaml:4: error parsing document: metadata.creationTimestamp"),
        ],
    ),
    "policy": (
        POLICY,
        [
            Break("NetworkPolicy", "Networkpolicy", "did you mean NetworkPolicy?"),
            Break(
                "  name:", "  namespace: x\n  labels: []\n  name:", "p.yaml:5: error parsing document: metadata.labels"
            ),
            Break("cliient-to", "cliient.to", "p.yaml:4: NetworkPolicy(default/allow-bookstore-cliient.to-server)"),
            Break(
                "&& role", "& role", "p.yaml:6: NetworkPolicy(default/allow-bookstore-cliient-to-server): spec.selector"
            ),
            Break("  - Ingress", "  - Ingres", "did you mean Ingress?"),
            Break("  - Ingress", "  - Ingress\n  - Ingress", "'Ingress' type specified more than once"),
            Break("protocol: TCP", "protocol: tcp", "p.yaml:11: "),
            Break("    protocol: TCP\n", "", "must set protocol to TCP, UDP or SCTP"),
            Break("- 80", "- 80000", "p.yaml:16: error parsing document: spec.ingress[0].destination.ports[0]"),
            Break("- 80", "- 90:80", "minimum port number (90) is greater than maximum port number (80)"),
            Break("    destination:", "    destinaton:", "did you mean destination?"),
        ],
    ),
    "pool": (
        POOL,
        [
            Break("v1", "v2", "Unknown resource type (ipPool) and/or version (v2)"),
            Break("ipPool", "ippool", "Unknown resource type (ippool)"),
            Break("    cidr: 10.1.0.0/16\n", "", "cidr"),
            Break("10.1.0.0/16", "10.1.2.3/16", "p.yaml:5: "),
            Break("10.1.0.0/16", "10.1.0.0", "p.yaml:5: "),
            Break("10.1.0.0/16", "10.1.0.0/30", "p.yaml:5: "),
            Break("10.1.0.0/16", "169.254.0.0/20", "p.yaml:5: "),
            Break("nat-outgoing: true", "nat-outgoing: maybe", "p.yaml:7: error parsing document: spec.nat-outgoing"),
            Break("nat-outgoing", "natOutgoing", "spec.natOutgoing: no such member"),
            Break("  spec:", "  specs:", "specs: no such member"),
            Break("name: second", "name: Second_1", "metadata.name"),
        ],
    ),
    "second profile": (
        CORRECTED_PROFILE,
        [
            Break("- action", "+ action", "write: - action: Allow"),
            Break("- action", "* action", "write: - action: Allow"),
            Break("name: second", "name: <profile-name>", "p.yaml:4: Profile(<profile-name>): metadata.name"),
            Break("    egress:", "    egres:", "did you mean egress?"),
            Break("action: Allow", "action: Accept", "Accept"),
            Break("action: Allow", "actions: Allow", "did you mean action?"),
            Break("      destination: {}", "     destination: {}", "p.yaml:8: error parsing document"),
            Break("destination: {}", "destination: []", "spec.egress[0].destination"),
            Break("source: {}", "source: {nets: [10.0.0.1]}", "write 10.0.0.1/32"),
            Break("source: {}", "source: {nets: [10.0.0.0/8, 'fd00::/8']}", "rule contains both IPv4 and IPv6 CIDRs"),
            Break("source: {}", "source: {ports: [80]}", "must set protocol to TCP, UDP or SCTP"),
            Break('calico: ""', "[a]: b", "p.yaml:15: error parsing document"),
        ],
    ),
}
_CASES = [
    pytest.param(text.replace(fault.old, fault.new, 1), fault.says, id=f"{name}-{fault.new[:24].strip()!r}")
    for name, (text, faults) in _BROKEN.items()
    for fault in faults
]


def test_every_document_is_broken_in_at_least_ten_different_ways() -> None:
    for name, (text, faults) in _BROKEN.items():
        assert all(fault.old in text for fault in faults), name
        assert len({fault.new for fault in faults}) >= 10, name


@pytest.mark.parametrize(("text", "says"), _CASES)
def test_a_broken_document_is_refused_with_its_file_and_line_and_nothing_is_written(
    calicoctl: Program, text: str, says: str
) -> None:
    result = calicoctl("apply", "-f", calicoctl.file("p.yaml", text))
    assert (result.code, result.out) == (1, "")
    assert says in result.err
    assert "p.yaml:" in result.err
    assert calicoctl.cluster.ctl("get", "--prefix", "/calico/resources/", "--keys-only") == ""
