"""The cluster's authority and each node's certificates, in a directory of the operator's.

    DIR/                        0700
      ca.crt  ca.key            the authority (EC P-256)
      etcd-password             etcd's user `calico`: one for the cluster, copied to every node
      etcd-root-password        etcd's user `root`: copied to masters
      nodes/<address>/          what `dcos_install.sh --pki DIR` puts under /etc/dcos-calico/pki
        ca.crt  client.crt  client.key  etcd-password
        server.crt  server.key  peer.crt  peer.key  etcd-root-password       (masters)

Private keys and passwords are 0600. No command replaces a key or a password: a node's directory appears whole, by one
rename, and renewal signs the keys that are there again. So every state a crash may leave is one that works, and the
next run completes it. docs/explanation/pki.md has the reasoning.
"""

import fcntl
import ipaddress
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Role = Literal["master", "agent"]

ORGANISATION = "dcos-calico"
PEER_NAME = "dcos-calico-etcd-peer"
"""The common name of peer certificates, which `etcd --peer-cert-allowed-cn` asks for: a client certificate of the same
authority must not open the port etcd's members use among themselves."""
MASTER_NAMES = ("localhost", "master.dcos.thisdcos.directory")

_OURS = {"ca.crt", "ca.key", "etcd-password", "etcd-root-password", "nodes"}

AUTHORITY_DAYS = 3650
NODE_DAYS = 1095
_CLOCK_SKEW = timedelta(hours=1)


class PkiError(Exception):
    """Something about the directory or the request that stops a command: where, what, what to do."""

    def __init__(self, where: object, message: str, hint: str = "") -> None:
        super().__init__(f"{where}: {message}" + (f" ({hint})" if hint else ""))


class Profile(NamedTuple):
    """One kind of certificate: its file name and what it may be used for."""

    name: str
    usages: tuple[x509.ObjectIdentifier, ...]


# etcd's JSON gateway calls etcd with the server's own certificate, so that one is a client's too.
_BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_CLIENT = Profile("client", (ExtendedKeyUsageOID.CLIENT_AUTH,))
PROFILES: dict[Role, tuple[Profile, ...]] = {
    "master": (_CLIENT, Profile("server", _BOTH), Profile("peer", _BOTH)),
    "agent": (_CLIENT,),
}
_PASSWORDS: dict[Role, tuple[str, ...]] = {
    "master": ("etcd-password", "etcd-root-password"),
    "agent": ("etcd-password",),
}


class Certificate(NamedTuple):
    """A certificate on disk: `name` as in `<name>.crt`, and when it ends."""

    name: str
    not_after: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until it ends; negative once it has."""
        return (self.not_after - now) // timedelta(days=1)


class Node(NamedTuple):
    """One node's certificates."""

    address: str
    role: Role
    certificates: tuple[Certificate, ...]


class Action(NamedTuple):
    """What a command does, or would do: `verb` is create, issue, renew or keep; `what` an address or `authority`."""

    verb: Literal["create", "issue", "renew", "keep"]
    what: str
    role: Role | None = None


# ---------------------------------------------------------------------------------------------- the authority


class Authority(NamedTuple):
    """The certificate authority, able to sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, key: ec.EllipticCurvePrivateKey, now: datetime, days: int = AUTHORITY_DAYS) -> "Authority":
        """A self-signed authority over `key`."""
        name = _name(common_name=f"{ORGANISATION} cluster authority")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = (
            _builder(name, name, key.public_key(), now, now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    def sign(
        self, profile: Profile, address: str, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
    ) -> x509.Certificate:
        """A certificate of `profile` for the node at `address`."""
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            _builder(_subject(profile, address), self.certificate.subject, key, now, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(profile.usages), critical=False)
            .add_extension(issuer, critical=False)
        )
        if names := _alternative_names(profile, address):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str = "", unit: str = "") -> x509.Name:
    parts = [(NameOID.ORGANIZATION_NAME, ORGANISATION), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
    parts.append((NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


def _subject(profile: Profile, address: str) -> x509.Name:
    # etcd takes a client certificate's common name for a user's name, so only peers, who are no users, have one.
    return _name(common_name=PEER_NAME if profile.name == "peer" else "", unit=address)


def _alternative_names(profile: Profile, address: str) -> list[x509.GeneralName]:
    """What `profile` answers to. A client has none: etcd would refuse it from every other address of its node."""
    if profile.name == "client":
        return []
    addresses = [address] if profile.name == "peer" else [address, "127.0.0.1"]
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(each)) for each in dict.fromkeys(addresses)]
    if profile.name == "server":
        names += [x509.DNSName(each) for each in MASTER_NAMES]
    return names


# ---------------------------------------------------------------------------------------------- the directory


def canonical_address(text: str) -> str:
    """`text` as the one spelling of an address; PkiError when it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise PkiError(text, "is not an IP address", "name a node by the address ip-detect prints on it") from None
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        raise PkiError(text, "cannot be a node's address", "name a node by the address ip-detect prints on it")
    return str(address)


def plan_init(path: Path, masters: Iterable[str], agents: Iterable[str]) -> list[Action]:
    """What `init` has to do: the authority when it is missing, then each node that is missing."""
    check_place(path)
    first: list[Action] = [] if (path / "ca.crt").exists() else [Action("create", "authority")]
    return first + plan_issue(path, masters, "master") + plan_issue(path, agents, "agent")


def plan_issue(path: Path, addresses: Iterable[str], role: Role) -> list[Action]:
    """What `issue` has to do; PkiError when a node is there with the other role."""
    actions = []
    for address in dict.fromkeys(map(canonical_address, addresses)):
        present = _role_of(path / "nodes" / address)
        if present not in {None, role}:
            where = path / "nodes" / address
            raise PkiError(
                where, f"holds the certificates of {_an(present)}", f"remove it to issue those of {_an(role)}"
            )
        actions.append(Action("keep" if present else "issue", address, role))
    return actions


def plan_renew(path: Path, addresses: Sequence[str]) -> list[Action]:
    """What `renew` has to do: the nodes named, or all."""
    known = {node.address: node for node in read_nodes(path)}
    wanted = [canonical_address(each) for each in addresses] or list(known)
    for address in wanted:
        if address not in known:
            raise PkiError(path / "nodes" / address, "does not exist", f"'gen pki issue {path} {address}' makes it")
    return [Action("renew", address, known[address].role) for address in dict.fromkeys(wanted)]


def apply(path: Path, actions: Sequence[Action], days: int = NODE_DAYS, now: datetime | None = None) -> None:
    """Carry out a plan. Interrupted at any point, the next run completes it."""
    now = (now or datetime.now(UTC)).replace(microsecond=0)
    if any(action.verb == "create" for action in actions):
        path.mkdir(mode=0o700, exist_ok=True)
    with _locked(path):
        if any(action.verb == "create" for action in actions):
            _create(path, now)
        authority = load_authority(path)
        work = [action for action in actions if action.verb in {"issue", "renew"}]
        if work:
            _check_days(path, authority, now, days)
        for action in work:
            write = _issue if action.verb == "issue" else _renew
            write(path, authority, action, now, now + timedelta(days=days))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other runs out of `path`; the kernel lets go of it when this process ends."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PkiError(path, "is in use by another gen pki", "run this again when that one is done") from None
    finally:
        os.close(handle)


def check_place(path: Path) -> None:
    """Refuse a directory that is served, or that others may read."""
    for above in (path.resolve(), *path.resolve().parents):
        if (above / "SHA256SUMS").exists():
            raise PkiError(path, f"is inside {above}, which is served to nodes", "keep secrets outside dist/")
    if not path.exists():
        return
    if not path.is_dir():
        raise PkiError(path, "is not a directory")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise PkiError(path, "is open to other users", f"chmod 700 {path}")
    strange = [entry.name for entry in path.iterdir() if entry.name.removesuffix(".new").lstrip(".") not in _OURS]
    if strange and not (path / "ca.crt").exists():
        raise PkiError(path, f"holds something else ({min(strange)})", "name a new or empty directory")


def load_authority(path: Path) -> Authority:
    """Read the authority; PkiError when it is missing or in pieces."""
    check_place(path)
    if not (path / "ca.crt").exists():
        raise PkiError(path, "holds no authority", f"'gen pki init {path}' makes one")
    certificate = _read_certificate(path / "ca.crt")
    if not (path / "ca.key").exists():
        raise PkiError(path / "ca.key", "is missing", "put it back from your copy; without it nothing can be signed")
    key = _read_key(path / "ca.key")
    if key.public_key() != certificate.public_key():
        raise PkiError(path / "ca.key", "is not the key of ca.crt", "put the pair back from your copy")
    return Authority(certificate, key)


def read_authority(path: Path) -> Certificate:
    """When the authority ends."""
    check_place(path)
    if not (path / "ca.crt").exists():
        raise PkiError(path, "holds no authority", f"'gen pki init {path}' makes one")
    return Certificate("ca", _read_certificate(path / "ca.crt").not_valid_after_utc)


def read_nodes(path: Path) -> list[Node]:
    """Every node of the directory, by address."""
    authority = _read_certificate(path / "ca.crt")
    homes = [home for home in (path / "nodes").glob("*") if _role_of(home)]
    return [_read_node(home, authority) for home in sorted(homes, key=lambda home: _sort_key(home.name))]


def _sort_key(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(canonical_address(address))
    return parsed.version, int(parsed)


def _read_node(home: Path, authority: x509.Certificate) -> Node:
    role = _role_of(home) or "agent"
    found = []
    for profile in PROFILES[role]:
        file = home / f"{profile.name}.crt"
        certificate = _read_certificate(file)
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, InvalidSignature):
            hint = f"remove {home} and issue it again"
            raise PkiError(file, "is not signed by this directory's ca.crt", hint) from None
        found.append(Certificate(profile.name, certificate.not_valid_after_utc))
    return Node(home.name, role, tuple(found))


def _role_of(home: Path) -> Role | None:
    if not home.is_dir() or home.name.startswith("."):
        return None
    return "master" if (home / "server.key").exists() else "agent"


def _an(role: str | None) -> str:
    return "an agent" if role == "agent" else f"a {role}"


def _check_days(path: Path, authority: Authority, now: datetime, days: int) -> None:
    end = authority.certificate.not_valid_after_utc
    if now + timedelta(days=days) > end:
        left = (end - now) // timedelta(days=1)
        hint = f"at most --days {left}" if left > 0 else "make a new authority in a new directory"
        raise PkiError(path / "ca.crt", f"ends on {end:%Y-%m-%d}, before {days} days are over", hint)


# ---------------------------------------------------------------------------------------------- writing


def _create(path: Path, now: datetime) -> None:
    """The authority and the passwords. ca.crt is written last: with it, the directory counts as complete."""
    if any((path / "nodes").glob("[!.]*")):
        raise PkiError(path / "ca.crt", "is missing while nodes have certificates", "put it back from your copy")
    for name in _PASSWORDS["master"]:
        if not (path / name).exists():
            _write(path / name, secrets.token_urlsafe(24).encode() + b"\n", 0o600)
    if not (path / "ca.key").exists():
        _write(path / "ca.key", _key_bytes(_new_key()), 0o600)
    if not (path / "ca.crt").exists():
        _write(path / "ca.crt", _pem(Authority.create(_read_key(path / "ca.key"), now).certificate), 0o644)


def _issue(path: Path, authority: Authority, action: Action, now: datetime, end: datetime) -> None:
    """A node's directory, built beside its place and put there by one rename."""
    role = action.role or "agent"
    home, draft = path / "nodes" / action.what, path / "nodes" / f".{action.what}"
    if home.exists():
        raise PkiError(home, "was made by another gen pki meanwhile", "run this again")
    shutil.rmtree(draft, ignore_errors=True)
    for directory in (draft.parent, draft):
        directory.mkdir(mode=0o700, exist_ok=True)
    _write(draft / "ca.crt", _pem(authority.certificate), 0o644)
    for name in _PASSWORDS[role]:
        _write(draft / name, _read_secret(path / name), 0o600)
    for profile in PROFILES[role]:
        key = _new_key()
        certificate = authority.sign(profile, action.what, key.public_key(), now, end)
        _write(draft / f"{profile.name}.key", _key_bytes(key), 0o600)
        _write(draft / f"{profile.name}.crt", _pem(certificate), 0o644)
    draft.rename(home)
    _sync(home.parent)


def _renew(path: Path, authority: Authority, action: Action, now: datetime, end: datetime) -> None:
    """New certificates over the keys that are there; each fits its key, so any mixture of old and new works."""
    home = path / "nodes" / action.what
    for profile in PROFILES[action.role or "agent"]:
        key = _read_key(home / f"{profile.name}.key")
        certificate = authority.sign(profile, action.what, key.public_key(), now, end)
        _write(home / f"{profile.name}.crt", _pem(certificate), 0o644)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except FileNotFoundError:
        raise PkiError(file, "is missing", "put it back from your copy, or issue the node again") from None
    except ValueError:
        raise PkiError(file, "is not a certificate", "put it back from your copy, or issue the node again") from None


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except FileNotFoundError:
        raise PkiError(file, "is missing", "put it back from your copy, or issue the node again") from None
    except (ValueError, TypeError):
        raise PkiError(file, "is not a private key", "put it back from your copy, or issue the node again") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(file, "is not an elliptic curve key", "put it back from your copy, or issue the node again")
    return key


def _read_secret(file: Path) -> bytes:
    if not file.exists():
        raise PkiError(file, "is missing", "put it back from your copy")
    return file.read_bytes()


def _write(file: Path, content: bytes, mode: int) -> None:
    """Put `content` at `file` by one rename, never readable beyond `mode`, on disk when this returns."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        os.fchmod(handle, mode)
        stream.flush()
        os.fsync(handle)
    draft.rename(file)
    _sync(file.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
