"""Private keys of releases: what is made, and what is refused."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519

from pkgpanda.errors import PandaError
from release.keys import generate, load

# A key of a curve that nobody knows, in PKCS #8.
UNKNOWN = """-----BEGIN PRIVATE KEY-----
MCMCAQAwEwYHKoZIzj0CAQYIKoZIzj0DAWMECTAHAgEBBAIBAg==
-----END PRIVATE KEY-----
"""


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_what_is_made_can_be_loaded(tmp_path: Path) -> None:
    made = generate(tmp_path / "key")
    assert load(tmp_path / "key").public == made.public
    assert (tmp_path / "key.pub").read_text() == f"{made.public}\n"


@pytest.mark.parametrize("taken", ["key", "key.pub", "key.pub.pem"])
def test_no_file_is_overwritten(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("somebody's")
    with pytest.raises(PandaError, match=f"{taken}: is there already"):
        generate(tmp_path / "key")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {taken: "somebody's"}


@pytest.mark.parametrize("content", [b"", b"\xff", UNKNOWN.encode()])
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PandaError, match="is no PEM file of a private key"):
        load(private(tmp_path / "key", content))


def test_a_key_of_another_kind(tmp_path: Path) -> None:
    content = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(PandaError, match="of another kind than Ed25519"):
        load(private(tmp_path / "key", content))


def test_a_key_that_others_may_read(tmp_path: Path) -> None:
    generate(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(PandaError, match="chmod 600"):
        load(tmp_path / "key")
