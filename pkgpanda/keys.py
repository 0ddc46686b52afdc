"""Public keys that releases are signed with, as configuration, command lines and nodes write them.

A key is `ed25519:` and 64 hexadecimal digits. Its id, which names its signatures, is the beginning of the sha256 of its
32 bytes: a signature of SHA256SUMS by key 0123456789abcdef is `SHA256SUMS.0123456789abcdef.sig`, 64 bytes as Ed25519
(RFC 8032) makes them, so that OpenSSL can check it too.
"""

import hashlib
import re
from typing import NamedTuple

from pkgpanda.errors import PandaError, Problem

_TEXT = re.compile(r"ed25519:([0-9a-f]{64})")
_SIGNATURE = re.compile(r"(.+)\.([0-9a-f]{16})\.sig")

SIGNATURE_SIZE = 64


class PublicKey(NamedTuple):
    """An Ed25519 public key: 32 bytes."""

    raw: bytes

    @classmethod
    def parse(cls, text: str, where: str = "") -> "PublicKey":
        """Read `ed25519:HEX`; PandaError for anything else."""
        match = _TEXT.fullmatch(text)
        if match is None:
            hint = "write ed25519: and 64 hexadecimal digits, as release keygen prints it"
            raise PandaError.one(where or text, f"{text!r} is no public key" if where else "is no public key", hint)
        return cls(bytes.fromhex(match[1]))

    @property
    def id(self) -> str:
        """The name of this key in file names and messages."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def __str__(self) -> str:
        return f"ed25519:{self.raw.hex()}"


def parse_keys(text: str, where: str) -> tuple[PublicKey, ...]:
    """Keys of a file: one a line, what follows a space or a `#` is a comment."""
    keys: list[PublicKey] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            keys.append(PublicKey.parse(words[0], f"{where}:{number}"))
        except PandaError as error:
            problems += error.problems
    if problems:
        raise PandaError(problems)
    return tuple(keys)


def signature_name(path: str, key: PublicKey) -> str:
    """Where the signature of `path` by `key` stands."""
    return f"{path}.{key.id}.sig"


def signed_path(path: str) -> tuple[str, str] | None:
    """Of a signature's name, what it signs and the key's id; None for other names."""
    match = _SIGNATURE.fullmatch(path)
    return (match[1], match[2]) if match else None
