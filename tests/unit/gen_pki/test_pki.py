"""The authority, what each certificate may be used for, and that no key is ever replaced."""

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from gen import pki

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MASTER, AGENT = "10.0.0.1", "10.0.0.2"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "pki"
    pki.apply(path, pki.plan_init(path, [MASTER], [AGENT]), now=NOW)
    return path


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_node_gets_the_files_of_its_role_and_no_more(home: Path) -> None:
    agent = {"ca.crt", "client.crt", "client.key", "etcd-password"}
    master = agent | {"server.crt", "server.key", "peer.crt", "peer.key", "etcd-root-password"}
    assert {file.name for file in (home / "nodes" / AGENT).iterdir()} == agent
    assert {file.name for file in (home / "nodes" / MASTER).iterdir()} == master


def test_nobody_else_can_read_a_secret(home: Path) -> None:
    for path in (home, *home.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
        else:
            assert mode == (0o644 if path.suffix == ".crt" else 0o600), path


@pytest.mark.parametrize("name", [MASTER, "127.0.0.1", "localhost", "master.dcos.thisdcos.directory"])
def test_the_server_is_verified_by_every_name_clients_use(home: Path, name: str) -> None:
    subject = x509.DNSName(name) if name[0].isalpha() else x509.IPAddress(ipaddress.ip_address(name))
    store = Store([certificate(home / "ca.crt")])
    verifier = PolicyBuilder().store(store).time(NOW + timedelta(days=1)).build_server_verifier(subject)
    chain = verifier.verify(certificate(home / "nodes" / MASTER / "server.crt"), [])
    assert len(chain) == 2


def test_a_client_has_no_name_etcd_could_take_for_a_user_and_works_from_any_address(home: Path) -> None:
    client = certificate(home / "nodes" / AGENT / "client.crt")
    assert client.subject.get_attributes_for_oid(NameOID.COMMON_NAME) == []
    with pytest.raises(x509.ExtensionNotFound):
        client.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_only_peers_carry_the_name_etcd_asks_of_its_members(home: Path) -> None:
    names = {}
    for name in ("client", "server", "peer"):
        found = certificate(home / "nodes" / MASTER / f"{name}.crt").subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names[name] = [each.value for each in found]
    assert names == {"client": [], "server": [], "peer": [pki.PEER_NAME]}


def test_the_authority_signs_nodes_but_no_other_authority(home: Path) -> None:
    constraints = certificate(home / "ca.crt").extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)


def test_etcd_passwords_are_the_clusters_and_root_is_for_masters(home: Path) -> None:
    passwords = {(home / "nodes" / address / "etcd-password").read_bytes() for address in (MASTER, AGENT)}
    assert passwords == {(home / "etcd-password").read_bytes()}
    assert (home / "etcd-root-password").read_bytes() not in passwords


def test_a_second_init_adds_what_is_missing_and_touches_nothing_else(home: Path) -> None:
    before = contents(home)
    actions = pki.plan_init(home, [MASTER], [AGENT, "10.0.0.3"])
    pki.apply(home, actions, now=NOW)
    assert [(each.verb, each.what) for each in actions] == [
        ("keep", MASTER),
        ("keep", AGENT),
        ("issue", "10.0.0.3"),
    ]
    after = contents(home)
    assert {name: after[name] for name in before} == before
    assert "nodes/10.0.0.3/client.key" in after


def test_renewal_keeps_every_key_and_moves_every_end(home: Path) -> None:
    before = contents(home)
    pki.apply(home, pki.plan_renew(home, []), days=2000, now=NOW)
    changed = {name for name, content in contents(home).items() if before[name] != content}
    assert changed == {f"nodes/{MASTER}/{each}.crt" for each in ("client", "server", "peer")} | {
        f"nodes/{AGENT}/client.crt"
    }
    ends = {each.not_after for node in pki.read_nodes(home) for each in node.certificates}
    assert ends == {NOW + timedelta(days=2000)}


def test_renewal_of_one_node_leaves_the_others(home: Path) -> None:
    pki.apply(home, pki.plan_renew(home, [AGENT]), days=10, now=NOW)
    ends = {node.address: node.certificates[0].not_after for node in pki.read_nodes(home)}
    assert ends == {MASTER: NOW + timedelta(days=pki.NODE_DAYS), AGENT: NOW + timedelta(days=10)}


def test_every_interruption_of_init_is_completed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    rename, left = Path.rename, 0

    def rename_until(self: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename_until)
    # Four files of the authority's, ten renames for the master, five for the agent.
    for instant in range(4 + 10 + 5):
        left, path = instant, tmp_path / f"pki{instant}"
        with pytest.raises(Killed):
            pki.apply(path, pki.plan_init(path, [MASTER], [AGENT]), now=NOW)
        left = 100
        survivors = {name: key for name, key in contents(path).items() if name.endswith((".key", "password"))}
        pki.apply(path, pki.plan_init(path, [MASTER], [AGENT]), now=NOW)
        assert [node.address for node in pki.read_nodes(path)] == [MASTER, AGENT]
        assert not list(path.rglob(".10*"))
        kept = {name: key for name, key in survivors.items() if "/." not in name and not name.startswith(".")}
        assert {name: contents(path)[name] for name in kept} == kept
        left = 0


def test_nodes_are_listed_in_the_order_of_addresses(home: Path) -> None:
    pki.apply(home, pki.plan_issue(home, ["10.0.0.10", "10.0.0.9"], "agent"), now=NOW)
    assert [node.address for node in pki.read_nodes(home)] == [MASTER, AGENT, "10.0.0.9", "10.0.0.10"]


def refuse(match: str) -> "pytest.RaisesExc[pki.PkiError]":
    return pytest.raises(pki.PkiError, match=match)


@pytest.mark.parametrize(
    "address", ["", "n1", "10.0.0", "10.0.0.256", "../10.0.0.1", "0.0.0.0", "127.0.0.1", "10.0.0.1/24"]
)
def test_what_is_no_nodes_address_is_refused(home: Path, address: str) -> None:
    with refuse("address"):
        pki.plan_issue(home, [address], "agent")


def test_a_directory_that_is_served_is_refused(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").touch()
    with refuse("is inside .* which is served to nodes"):
        pki.plan_init(tmp_path / "secrets" / "pki", [], [])


def test_a_directory_others_may_read_is_refused(home: Path) -> None:
    home.chmod(0o750)
    with refuse("is open to other users .chmod 700"):
        pki.load_authority(home)


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "thesis.tex").touch()
    with refuse(r"holds something else \(thesis.tex\)"):
        pki.plan_init(tmp_path, [], [])


def test_a_node_that_changes_its_role_is_refused(home: Path) -> None:
    with refuse("holds the certificates of an agent"):
        pki.plan_issue(home, [AGENT], "master")


def test_renewing_a_node_that_is_not_there_says_how_to_make_it(home: Path) -> None:
    with refuse("does not exist .*gen pki issue"):
        pki.plan_renew(home, ["10.0.0.77"])


def test_a_certificate_never_outlives_the_authority(home: Path) -> None:
    with refuse("ends on 2035-12-31, before 4000 days are over .at most --days 3650"):
        pki.apply(home, pki.plan_renew(home, []), days=4000, now=NOW)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda home: (home / "ca.key").unlink(), "ca.key: is missing"),
        (lambda home: (home / "ca.key").write_text("x"), "ca.key: is not a private key"),
        (lambda home: (home / "ca.crt").write_text("x"), "ca.crt: is not a certificate"),
        (lambda home: (home / "ca.crt").unlink(), "holds no authority"),
        (
            lambda home: (home / "ca.key").write_bytes((home / f"nodes/{AGENT}/client.key").read_bytes()),
            "is not the key",
        ),
    ],
)
def test_a_broken_authority_is_named(home: Path, damage: object, message: str) -> None:
    damage(home)  # type: ignore[operator]
    with refuse(message):
        pki.load_authority(home)


def test_an_authority_lost_under_its_nodes_is_not_replaced(home: Path) -> None:
    (home / "ca.crt").unlink()
    with refuse("ca.crt: is missing while nodes have certificates"):
        pki.apply(home, pki.plan_init(home, [], []), now=NOW)


def test_a_certificate_of_another_authority_is_named(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    pki.apply(other, pki.plan_init(other, [], [AGENT]), now=NOW)
    (home / f"nodes/{AGENT}/client.crt").write_bytes((other / f"nodes/{AGENT}/client.crt").read_bytes())
    with refuse("is not signed by this directory's ca.crt"):
        pki.read_nodes(home)


def test_two_at_once_exclude_each_other(home: Path) -> None:
    with pki._locked(home), refuse("is in use by another gen pki"):
        pki.apply(home, pki.plan_renew(home, []), now=NOW)
