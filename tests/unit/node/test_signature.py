"""Ed25519 on a node: libcrypto against RFC 8032 and against `cryptography`; and what a signed release vouches for."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pkgpanda.errors import PandaError
from pkgpanda.keys import PublicKey, parse_keys, signature_name, signed_path
from pkgpanda.node import signature
from pkgpanda.node.cli import main
from pkgpanda.node.host import Host
from pkgpanda.node.signature import Claim, check_release, is_signed
from release.keys import Signer
from release.keys import is_signed as judged_by_cryptography

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group: a signature whose second half is not below it is refused (RFC 8032, 5.1.7)."""

VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""RFC 8032, 7.1: public key, message, signature."""


def signer(seed: int) -> Signer:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return Signer(PublicKey(private.public_key().public_bytes_raw()), private)


ONE, OTHER = signer(1), signer(2)


@pytest.mark.parametrize(("key", "message", "signed"), VECTORS)
def test_the_vectors_of_the_rfc(key: str, message: str, signed: str) -> None:
    public, text, made = PublicKey(bytes.fromhex(key)), bytes.fromhex(message), bytes.fromhex(signed)
    assert is_signed(public, text, made)
    assert not is_signed(public, text + b"x", made)
    assert not is_signed(public, text, made[:-1] + bytes([made[-1] ^ 1]))


@given(st.binary(max_size=200), st.integers(0, 511))
def test_a_changed_bit_is_seen(message: bytes, bit: int) -> None:
    signed = bytearray(ONE.sign(message))
    assert is_signed(ONE.public, message, bytes(signed))
    signed[bit // 8] ^= 1 << (bit % 8)
    assert not is_signed(ONE.public, message, bytes(signed))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=20), st.binary(min_size=64, max_size=64))
def test_it_judges_as_cryptography_does(key: bytes, message: bytes, signed: bytes) -> None:
    assert is_signed(PublicKey(key), message, signed) == judged_by_cryptography(PublicKey(key), message, signed)


def test_what_is_no_signature_is_refused() -> None:
    signed = ONE.sign(b"text")
    second = int.from_bytes(signed[32:], "little") + ORDER
    assert not is_signed(ONE.public, b"text", signed[:32] + second.to_bytes(32, "little")), "another form of the same"
    for wrong in (b"", signed[:63], signed + b"\0", b"\0" * 64, b"\xff" * 64):
        assert not is_signed(ONE.public, b"text", wrong)
    assert not is_signed(PublicKey(b"\xff" * 32), b"text", signed)


def test_keys_as_files_write_them() -> None:
    text = f"# trusted\n{ONE.public}  the first\n\n{OTHER.public}# the next\n"
    assert parse_keys(text, "keys") == (ONE.public, OTHER.public)
    with pytest.raises(PandaError) as caught:
        parse_keys(f"ed25519:12\n{ONE.public}\nrsa:{'0' * 64}\n", "keys")
    assert [problem.where for problem in caught.value.problems] == ["keys:1", "keys:3"]


def test_a_signatures_name_says_what_and_whose_it_is() -> None:
    name = signature_name("SHA256SUMS", ONE.public)
    assert signed_path(name) == ("SHA256SUMS", ONE.public.id)
    assert signed_path("SHA256SUMS.sig") is None
    assert ONE.public.id == hashlib.sha256(ONE.public.raw).hexdigest()[:16]


# ------------------------------------------------------------------------------------------------- a release


class Release:
    """A release in a folder, as a bundle or in a repository."""

    def __init__(self, top: Path, is_repository: bool) -> None:
        self.top = top
        self.script, self.info = b"#!/bin/bash\n", b"{}"
        self.claim = Claim(hashlib.sha256(self.script).hexdigest(), hashlib.sha256(self.info).hexdigest())
        self.at = top / "releases" / self.claim.script_sha256 if is_repository else top
        self.at.mkdir(parents=True)
        for name, content in (
            ("dcos_install.sh", self.script),
            ("cluster-package-info.json", self.info),
            ("manifest.json", b"{}"),
            ("metadata.json", b"{}"),
        ):
            (self.at / name).write_bytes(content)
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.at.iterdir()}
        digests["packages/a/a--1.tar.xz"] = "0" * 64
        lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
        (self.at / "SHA256SUMS").write_text("".join(lines))

    def sign(self, *signers: Signer) -> None:
        for each in signers:
            sums = (self.at / "SHA256SUMS").read_bytes()
            (self.at / signature_name("SHA256SUMS", each.public)).write_bytes(each.sign(sums))

    def check(self, *keys: PublicKey, claim: Claim | None = None) -> PublicKey:
        return check_release(Host(), f"file://{self.top}", keys, claim or self.claim)


@pytest.fixture(params=[False, True], ids=["bundle", "repository"])
def release(request: pytest.FixtureRequest, tmp_path: Path) -> Release:
    return Release(tmp_path / "served", request.param)


def test_a_signed_release_is_accepted_and_says_by_whom(release: Release) -> None:
    release.sign(ONE)
    assert release.check(OTHER.public, ONE.public) == ONE.public


def test_while_keys_change_either_signature_will_do(release: Release) -> None:
    release.sign(ONE, OTHER)
    assert release.check(ONE.public) == ONE.public
    assert release.check(OTHER.public) == OTHER.public


def _other_key(release: Release) -> Claim:
    release.sign(OTHER)
    return release.claim


def _tampered(name: str) -> Callable[[Release], Claim]:
    def tamper(release: Release) -> Claim:
        release.sign(ONE)
        with (release.at / name).open("ab") as file:
            file.write(b"\n")
        return release.claim

    return tamper


def _missing(release: Release) -> Claim:
    release.sign(ONE)
    (release.at / "metadata.json").unlink()
    return release.claim


def _other_script(release: Release) -> Claim:
    release.sign(ONE)
    return release.claim._replace(info_sha256="f" * 64)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda release: release.claim, "is not signed by"),
        (_other_key, "is not signed by"),
        (_tampered("SHA256SUMS"), "is not signed by"),
        (_tampered(signature_name("SHA256SUMS", ONE.public)), "is not signed by"),
        (_tampered("manifest.json"), "is not what was signed"),
        (_tampered("metadata.json"), "is not what was signed"),
        (_missing, "is missing"),
        (_other_script, "was signed for another cluster-package-info.json"),
    ],
)
def test_what_is_not_signed_is_refused(release: Release, spoil: Callable[[Release], Claim], told: str) -> None:
    claim = spoil(release)
    with pytest.raises(PandaError, match=told):
        release.check(ONE.public, claim=claim)


def test_another_script_is_refused(release: Release) -> None:
    release.sign(ONE)
    with pytest.raises(PandaError, match=r"was signed for another dcos_install.sh|is not there"):
        release.check(ONE.public, claim=Claim("f" * 64))


def test_nothing_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(PandaError, match="is not there"):
        check_release(Host(), f"file://{tmp_path}", [ONE.public], Claim("f" * 64))


def verify_release(release: Release, tmp_path: Path, *words: str) -> int:
    script = tmp_path / "dcos_install.sh"
    script.write_bytes(release.script)
    places = ["--config-dir", str(tmp_path / "mesosphere"), "--root", str(tmp_path / "root")]
    return main(["verify-release", str(script), "--repository-url", f"file://{release.top}", *places, *words])


def pin(tmp_path: Path, *keys: PublicKey) -> None:
    flags = tmp_path / "mesosphere/setup-flags"
    flags.mkdir(parents=True)
    (flags / "release-keys").write_text("".join(f"{key}\n" for key in keys))


def test_pinned_keys_win_over_those_of_a_command_line(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release.sign(OTHER)
    pin(tmp_path, ONE.public)
    assert verify_release(release, tmp_path, "--key", str(OTHER.public)) == 1
    assert f"is not signed by {ONE.public.id}" in capsys.readouterr().err
    release.sign(ONE)
    assert verify_release(release, tmp_path) == 0
    assert f"signed by {ONE.public.id}, which this node has pinned" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "# none\n"])
def test_a_file_of_pinned_keys_that_holds_none_lets_nothing_in(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """Or whoever empties it, or a crash that does, hands the decision to the script."""
    release.sign(OTHER)
    pin(tmp_path)
    (tmp_path / "mesosphere/setup-flags/release-keys").write_text(text)
    assert verify_release(release, tmp_path, "--key", str(OTHER.public)) == 1
    assert "release-keys: holds no key" in capsys.readouterr().err


def test_without_any_key_nothing_can_be_verified(release: Release, tmp_path: Path) -> None:
    release.sign(ONE)
    assert verify_release(release, tmp_path) == 2
    assert verify_release(release, tmp_path, "--key", "nonsense") == 1
    assert verify_release(release, tmp_path, "--key", str(ONE.public)) == 0


def test_a_machine_without_libcrypto_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str) -> None:
        raise OSError("no such file")

    monkeypatch.setattr("ctypes.CDLL", refuse)
    with pytest.raises(PandaError, match="libcrypto: is not there"):
        signature.is_signed(ONE.public, b"", ONE.sign(b""))
