"""Secrets do not leave a node with its diagnostics."""

import base64
import itertools
import time
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
    "http://root:p@ss/hunter2hunter@10.0.0.1:2379/x",
    "redis://:hunter2hunter@10.0.0.1/0",
    "https://hunter2hunter@git.example/x.git",
    "├─12 /opt/mesosphere/bin/etcdctl --user root:hunter2hunter get x",
    "├─12 etcdctl --user=root:hunter2hunter get x",
    "curl -u root:hunter2hunter http://10.0.0.1",
    "ETCDCTL_USER=root:hunter2hunter",
    "mysql --password hunter2hunter -h x",
    "vault --client-token 'hunter2hunter' -h x",
    '{"Authorization": "Bearer hunter2hunter"}',
    r'msg="{\"password\": \"a hunter2hunter\"}"',
    r'msg="{\"authorization\": \"Basic hunter2hunter\"}"',
    "sent bearer hunter2hunterhunter2hunter to x",
    "Set-Cookie: dcos-acs-auth-cookie=hunter2hunter; Path=/",
    "PASSWORD=a,b;hunter2hunter",
    "password: correct horse hunter2hunter",
    "ETCD_PASS=hunter2hunter",
    "db.pwd: hunter2hunter",
    '{"auths": {"h": {"auth": "hunter2hunter="}}}',
    "PresharedKey = hunter2hunter",
    "got eyJhbGciOiJSUzI1NiJ9.eyJ1aWQiOiJodW50ZXIyIn0.hunter2hunter from x",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2hunter\n-----END PGP PRIVATE KEY BLOCK-----",
    "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nhunter2hunter\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    "Private-Lines: 1\nhunter2hunter\nPrivate-MAC: 12",
    '{"kty": "EC", "d": "hunter2hunterhunter2hunter"}',
    "client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJhunter2hunter==",
    "log: MHcCAQEEhunter2hunter0\nlog: hunter2hunter000000\nlog: 0w==\nlog: -----END EC PRIVATE KEY-----",
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
        "felix passed: 3 of 3 compass=9",
        "docker run --user root -p 80:80",
        "etcdctl --password-file /etc/x get y",
        "see https://docs.example/a/b, or mail me@example",
        "basic authentication of the bearer",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_known_secrets_are_gone_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "etcd-password").write_text("s3cr3t-word\n")
    (tmp_path / "etcd-root-password").write_text("r00t-word\n")
    (tmp_path / "ca.crt").write_text("public")
    secrets = known(tmp_path)
    assert {"s3cr3t-word", "r00t-word"} <= secrets
    for before, behind in itertools.product(("", "a", "ab", "etcd-user:"), ("", "x", "xy")):
        encoded = base64.b64encode(f"{before}s3cr3t-word{behind}".encode()).decode()
        assert HIDDEN in redact(f"sent {encoded}", secrets) and "3NyM3Qtd29y" not in redact(encoded, secrets)
    assert (
        redact("etcd said: s3cr3t-word is wrong, r00t-word too", secrets)
        == f"etcd said: {HIDDEN} is wrong, {HIDDEN} too"
    )
    assert known(tmp_path / "none") == frozenset()


def test_the_nodes_private_keys_are_known_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "client.key").write_text(
        "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nshort\n-----END PRIVATE KEY-----\n"
    )
    assert redact("x MIGHAgEAMBMGByqGSM49 y", known(tmp_path)) == f"x {HIDDEN} y"


@given(st.text(alphabet="abc:=\"' \n{}.-_/@passwordtk", max_size=300))
def test_any_text_comes_out_in_time(text: str) -> None:
    assert isinstance(redact(text), str)


@pytest.mark.parametrize("text", ["://a:", "password", "a_", "--user ", "eyJ", "-----END PRIVATE KEY-----\n", '"d":"'])
def test_no_text_makes_it_slow(text: str) -> None:
    begin = time.process_time()
    redact(text * (1_000_000 // len(text)))
    assert time.process_time() - begin < 20


def test_long_words_take_no_time() -> None:
    assert len(redact("a" * 200_000 + " " + "0123456789abcdef" * 20_000)) > 500_000
