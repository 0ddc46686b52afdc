"""Secrets do not leave a node with its diagnostics."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.node.diagnostics.redact import HIDDEN, known, redact

PLANTED = [
    "ETCD_PASSWORD=hunter2hunter",
    "etcdPassword: hunter2hunter",
    '{"password": "hunter2hunter", "name": "x"}',
    "'api_key' = 'hunter2hunter'",
    'password "hunter2hunter";',
    "Authorization: token=hunter2hunter",
    "authorization: Basic hunter2hunter==",
    "DCOS_ACS_TOKEN=hunter2hunter",
    "http://root:hunter2hunter@10.0.0.1:2379/x",
    "aws_secret_access_key: hunter2hunter",
    "exhibitor_azure_account_key: x\nsecret = hunter2hunter",
    "-----BEGIN PRIVATE KEY-----\nhunter2hunter\n-----END PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----\nhunter2hunter\nthe end is cut off",
    "DATASTORE_ZK_SECRET='hunter2hunter'",
]


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_secret_is_gone(text: str) -> None:
    clean = redact(f"before\n{text}\nafter")
    assert "hunter2hunter" not in clean
    assert HIDDEN in clean
    assert clean.startswith("before\n")


@pytest.mark.parametrize(
    "text",
    [
        "ETCD_PASSWORD_FILE=/etc/dcos-calico/pki/etcd-password",
        "etcdPasswordFile: /etc/dcos-calico/pki/etcd-password",
        "172.29.0.0/26 via 10.0.0.1 dev vxlan.calico",
        '{"kind": "IPPool", "cidr": "172.29.0.0/16"}',
        "http://10.0.0.1:2379",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_known_secrets_are_gone_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "etcd-password").write_text("s3cr3t-word\n")
    (tmp_path / "etcd-root-password").write_text("r00t-word\n")
    (tmp_path / "ca.crt").write_text("public")
    secrets = known(tmp_path)
    assert secrets == {"s3cr3t-word", "r00t-word"}
    assert (
        redact("etcd said: s3cr3t-word is wrong, r00t-word too", secrets)
        == f"etcd said: {HIDDEN} is wrong, {HIDDEN} too"
    )
    assert known(tmp_path / "none") == frozenset()


@given(st.text(alphabet="abc:=\"' \n{}.-_/@passwordtk", max_size=300))
def test_any_text_comes_out_in_time(text: str) -> None:
    assert isinstance(redact(text), str)


def test_long_words_take_no_time() -> None:
    assert len(redact("a" * 200_000 + " " + "0123456789abcdef" * 20_000)) > 500_000
