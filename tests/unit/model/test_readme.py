"""The resource documents of DC/OS's own Calico guide: accepted as they stand, and refused where they are broken."""

from typing import Any

import pytest
import yaml

from calico.model.convert import convert, is_convertible
from calico.model.problems import ModelError
from calico.model.resource import Resource, decode, encode, prepare, validate

PROFILE = """
apiVersion: projectcalico.org/v3
kind: Profile
metadata:
  creationTimestamp: "2019-12-23T04:16:55Z"
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

POLICY = """
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: allow-bookstore-cliient-to-server
  namespace: default
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

POOL = """
apiVersion: v1
kind: ipPool
metadata:
  name: pool-name
  cidr: 10.1.0.0/16
spec:
  nat-outgoing: true
  disabled: false
"""

NEW_PROFILE = """
apiVersion: projectcalico.org/v3
kind: Profile
metadata:
  name: profile-name
spec:
  egress:
  - action: Allow
    destination: {}
    source: {}
  ingress:
  - action: Allow
    destination: {}
    source: {}
  labelsToApply:
    calico: ""
"""


def _accepted(text: str) -> Resource[Any]:
    document = yaml.safe_load(text)
    resource = convert(document) if is_convertible(document) else prepare(decode(document))
    if problems := validate(resource):
        raise ModelError(problems)
    return resource


def test_the_default_profile_comes_back_as_written() -> None:
    assert encode(_accepted(PROFILE)) == yaml.safe_load(PROFILE)


def test_the_policy_comes_back_with_the_members_upstream_always_writes() -> None:
    written = encode(_accepted(POLICY))
    assert written["spec"] == yaml.safe_load(POLICY)["spec"]
    assert written["metadata"]["creationTimestamp"] is None


def test_the_old_pool_keeps_its_name() -> None:
    written = encode(_accepted(POOL))
    assert (written["kind"], written["metadata"]["name"]) == ("IPPool", "pool-name")
    assert written["spec"]["natOutgoing"] is True


def test_the_new_profile_is_accepted_once_its_items_begin_with_a_dash() -> None:
    assert encode(_accepted(NEW_PROFILE))["spec"] == yaml.safe_load(NEW_PROFILE)["spec"]
    plus = {**yaml.safe_load(NEW_PROFILE), "spec": {"egress": "+ action: Allow"}}
    with pytest.raises(ModelError, match=r"spec\.egress: .*items begin with '-', so write: - action: Allow"):
        decode(plus)


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (PROFILE, "kind: Profile", "kind: profile", "did you mean Profile?"),
        (PROFILE, "projectcalico.org/v3", "projectcalico.org/v2", "apiVersion is projectcalico.org/v3"),
        (PROFILE, "labelsToApply", "labelToApply", "spec.labelToApply: no such member (did you mean labelsToApply?)"),
        (PROFILE, "action: Allow", "action: allow", "spec.egress[0].action: 'allow' is none of Allow, Deny, Log, Pass"),
        (PROFILE, "has(calico)", "has(calico", "spec.ingress[0].source.selector"),
        (PROFILE, '    calico: ""', '    calico/: ""', "spec.labelsToApply"),
        (PROFILE, "2019-12-23T04:16:55Z", "last year", "is not a time such as 2020-05-06T10:11:12Z"),
        (PROFILE, "name: calico", "name: Calico", "metadata.name: 'Calico': not a name"),
        (POLICY, "protocol: TCP", "protocol: tcp", "write TCP"),
        (POLICY, "    protocol: TCP\n", "", "rules that specify ports must set protocol to TCP, UDP or SCTP"),
        (POLICY, "- 80", "- 80000", "port 80000 is outside 1 to 65535"),
        (POLICY, "- Ingress", "- ingress", "did you mean Ingress?"),
        (POLICY, "role == 'server'", "role = 'server'", "a single '=' is no operator, write '=='"),
        (POLICY, "  namespace: default\n", "", "metadata.namespace: must be given"),
        (POLICY, "    source:", "    sources:", "did you mean source?"),
        (POOL, "kind: ipPool", "kind: ippool", "did you mean ipPool?"),
        (POOL, "10.1.0.0/16", "10.1.0.1/16", "did you mean 10.1.0.0/16?"),
        (POOL, "10.1.0.0/16", "10.1.0.0", "not a subnet"),
        (POOL, "nat-outgoing", "natOutgoing", "did you mean nat-outgoing?"),
        (POOL, "disabled: false", "disabled: 'false'", "spec.disabled: 'false' is not true or false"),
        (POOL, "10.1.0.0/16", "10.1.0.0/30", "a pool needs at least 64 addresses"),
        (NEW_PROFILE, "name: profile-name", "name: <profile-name>", "metadata.name"),
        (NEW_PROFILE, "source: {}", "source: []", "spec.egress[0].source: a list is not a mapping"),
        (NEW_PROFILE, "metadata:\n  name: profile-name\n", "", "resource name may not be empty"),
    ],
)
def test_a_broken_document_is_refused_with_what_to_do(text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(ModelError) as caught:
        _accepted(text.replace(old, new))
    assert message in str(caught.value)
