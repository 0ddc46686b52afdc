"""Ed25519 signatures on a node, and what a signed release vouches for.

The bundle's Python has no cryptography library, and a node has nothing but what we bring. So the check is made by the
libcrypto that this Python's own `hashlib` and `ssl` are linked with (package `python`, Debian's libssl3), through
ctypes: the same code that checks TLS, rather than curve arithmetic of our own. Tests compare it with `cryptography` and
with the vectors of RFC 8032.

A release's SHA256SUMS is signed; it names the digest of dcos_install.sh and of cluster-package-info.json, and through
them of everything else (docs/explanation/signatures.md).
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from pkgpanda.errors import PandaError
from pkgpanda.keys import SIGNATURE_SIZE, PublicKey, parse_keys, signature_name
from pkgpanda.node import catalogue
from pkgpanda.node.host import Host
from pkgpanda.node.layout import Layout

_EVP_PKEY_ED25519 = 1087
"""NID_ED25519 of OpenSSL's obj_mac.h, part of its ABI."""

_SMALL = 64 << 20
_SUMS = "SHA256SUMS"
_SCRIPT = "dcos_install.sh"
_INFO = "cluster-package-info.json"


class Claim(NamedTuple):
    """What shall be vouched for: the digests of a dcos_install.sh and, where it is known, of its package list."""

    script_sha256: str
    info_sha256: str = ""


def is_signed(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is `key`'s of `message`."""
    if len(signature) != SIGNATURE_SIZE:
        return False
    crypto = _libcrypto()
    handle = crypto.EVP_PKEY_new_raw_public_key(_EVP_PKEY_ED25519, None, key.raw, len(key.raw))
    context = crypto.EVP_MD_CTX_new()
    try:
        if not handle or not context:
            return False
        if crypto.EVP_DigestVerifyInit(context, None, None, None, handle) != 1:
            raise PandaError.one("libcrypto", "does not do Ed25519", "it must be OpenSSL 1.1.1 or later", 3)
        return bool(crypto.EVP_DigestVerify(context, signature, len(signature), message, len(message)) == 1)
    finally:
        crypto.EVP_MD_CTX_free(context)
        crypto.EVP_PKEY_free(handle)


def _libcrypto() -> Any:
    """The libcrypto that this interpreter has loaded, with the types of what is called."""
    import _hashlib  # noqa: F401  loads it, from the package's own directory
    import ctypes

    crypto: Any = None
    for name in ("libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"):
        try:
            crypto = ctypes.CDLL(name)
            break
        except OSError:
            continue
    if crypto is None:
        raise PandaError.one("libcrypto", "is not there, so no signature can be checked", "", 3)
    pointer, size, data = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    for name, result, arguments in (
        ("EVP_PKEY_new_raw_public_key", pointer, (ctypes.c_int, pointer, data, size)),
        ("EVP_PKEY_free", None, (pointer,)),
        ("EVP_MD_CTX_new", pointer, ()),
        ("EVP_MD_CTX_free", None, (pointer,)),
        ("EVP_DigestVerifyInit", ctypes.c_int, (pointer, pointer, pointer, pointer, pointer)),
        ("EVP_DigestVerify", ctypes.c_int, (pointer, data, size, data, size)),
    ):
        function = getattr(crypto, name)
        function.restype, function.argtypes = result, arguments
    return crypto


def pinned(layout: Layout) -> tuple[PublicKey, ...]:
    """The keys this node trusts whatever a script says: those of its last signed installation, or of its image."""
    path = keys_path(layout)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            keys = parse_keys(file.read(), path)
    except FileNotFoundError:
        return ()
    if not keys:
        raise PandaError.one(path, "holds no key, so nothing can be trusted", "put keys there, or remove the file")
    return keys


def keys_path(layout: Layout) -> str:
    """Where the pinned keys stand."""
    return os.path.join(layout.config_dir, "setup-flags", "release-keys")


def check_release(host: Host, url: str, keys: Sequence[PublicKey], claim: Claim) -> PublicKey:
    """The key that vouches for `claim` in the release served at `url`; PandaError where none of `keys` does.

    `url` serves one bundle (SHA256SUMS at its top) or a repository of releases, where a release's documents stand below
    `releases/<sha256 of its dcos_install.sh>/`.
    """
    where, sums, key = _signed_sums(host, url, keys, claim.script_sha256)
    listed = catalogue.parse_sums(sums.decode(errors="replace"), where)
    for name, digest in ((_SCRIPT, claim.script_sha256), (_INFO, claim.info_sha256)):
        if digest and listed.get(name) != digest:
            told = f"was signed for another {name}: sha256 {listed.get(name, 'none')}, not {digest}"
            raise PandaError.one(where, told, "fetch dcos_install.sh again, from where the release was announced")
    _check_documents(host, where, listed)
    return key


def _check_documents(host: Host, where: str, listed: dict[str, str]) -> None:
    """Raise PandaError where a document beside SHA256SUMS, which tells people of a release, is not what was signed."""
    for name in sorted(name for name in listed if "/" not in name):
        content = _fetch(host, f"{where.removesuffix(_SUMS)}{name}")
        if content is None or hashlib.sha256(content).hexdigest() != listed[name]:
            told = "is missing" if content is None else "is not what was signed"
            raise PandaError.one(f"{where.removesuffix(_SUMS)}{name}", told, "the release that is served was changed")


def _signed_sums(host: Host, url: str, keys: Sequence[PublicKey], script: str) -> tuple[str, bytes, PublicKey]:
    tried = [f"{url}/releases/{script}/{_SUMS}", f"{url}/{_SUMS}"]
    for where in tried:
        sums = _fetch(host, where)
        if sums is None:
            continue
        for key in keys:
            signature = _fetch(host, signature_name(where, key))
            if signature is not None and is_signed(key, sums, signature):
                return where, sums, key
        told = f"is not signed by {' or '.join(key.id for key in keys)}"
        raise PandaError.one(where, told, "this node takes nothing else: sign the release, or correct its keys")
    raise PandaError.one(tried[1], "is not there, so no signature can be checked", "is the whole bundle served?")


def _fetch(host: Host, url: str) -> bytes | None:
    """A document, or None where there is none of that name."""
    from pkgpanda.node import download

    return download.fetch_optional(host, url, _SMALL)


def digest_of(path: str) -> str:
    """The sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
