"""Private keys of releases: made, loaded, used. They are PEM files of PKCS #8 that only their owner may read.

What a key signs and how keys change is on docs/explanation/signatures.md.
"""

import os
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pkgpanda.errors import PandaError
from pkgpanda.keys import PublicKey, parse_keys

_PUBLIC = ".pub"


class Signer(NamedTuple):
    """A private key, and the public one it belongs to."""

    public: PublicKey
    private: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same for the same message."""
        return self.private.sign(message)


def generate(path: Path) -> Signer:
    """Make a key in the new file `path`; beside it its public part in `<path>.pub` and for OpenSSL `<path>.pub.pem`."""
    private = Ed25519PrivateKey.generate()
    signer = _signer(private)
    public, pem = path.with_name(path.name + _PUBLIC), path.with_name(f"{path.name}{_PUBLIC}.pem")
    for taken in (each for each in (path, public, pem) if each.exists()):
        raise PandaError.one(str(taken), "is there already, and a key is never overwritten", "choose another name")
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    public.write_text(f"{signer.public}\n")
    pem.write_bytes(public_pem(signer.public))
    return signer


def load(path: Path) -> Signer:
    """The key in a PEM file. Refused where others than its owner may read it."""
    content = path.read_bytes()
    if path.stat().st_mode & 0o077:
        raise PandaError.one(str(path), "may be read by others than its owner", f"chmod 600 {path}")
    try:
        private = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PandaError.one(
            str(path), "is no PEM file of a private key without a password", "release keygen"
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise PandaError.one(str(path), "is a private key of another kind than Ed25519", "release keygen makes one")
    return _signer(private)


def _signer(private: Ed25519PrivateKey) -> Signer:
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return Signer(PublicKey(raw), private)


def public_pem(key: PublicKey) -> bytes:
    """The key as `openssl pkeyutl -pubin -inkey` reads it."""
    public = Ed25519PublicKey.from_public_bytes(key.raw)
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_public(words: list[str]) -> tuple[PublicKey, ...]:
    """Public keys of a command line: each `ed25519:HEX`, or a file with keys in it."""
    keys: list[PublicKey] = []
    for word in words:
        if word.startswith("ed25519:"):
            keys.append(PublicKey.parse(word))
        else:
            keys += parse_keys(Path(word).read_text(errors="replace"), word)
    return tuple(keys)


def is_signed(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is `key`'s of `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
