"""A real release, its real dcos_install.sh and its real pkgpanda on a node: what is not signed is refused.

`--dry-run` goes as far as the plan of what would be fetched; nothing of the machine is changed, and no systemd is
needed.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_preflight import Done, Node

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(900)]


class Repository:
    """A storage with one release that asks for a key of its own."""

    def __init__(self, run: Run, directory: Path) -> None:
        self._run = run
        self.directory = directory
        self.store = directory / "store"
        self.settings = directory / "release.yaml"
        self.settings.write_text('storage: {here: {kind: local, path: store, url: "http://127.0.0.1:8000"}}\n')

    def command(self, *words: object) -> str:
        done = self._run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def documents(self) -> Path:
        """The directory of the one release."""
        (found,) = (self.store / "releases").iterdir()
        return found

    @property
    def script(self) -> Path:
        return self.store / "channels/testing/dcos_install.sh"


@pytest.fixture(scope="module")
def made(release: Run, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(release, tmp_path_factory.mktemp("signed"))
    key, config = repository.directory / "key.pem", repository.directory / "config.yaml"
    public = json.loads(repository.command("keygen", key, "--format", "json"))["public"]
    config.write_text(
        f"{(ROOT / 'config/calico.yaml').read_text()}\nrelease_keys: ['{public}']\ncalico_etcd_tls: false\n"
    )
    words = ["--config", config, "--key", key, "--storage", repository.settings, "--allow-dirty"]
    repository.command("create", "testing", *words)
    return repository


@pytest.fixture
def own(made: Repository, release: Run, tmp_path: Path) -> Repository:
    shutil.copytree(made.directory, tmp_path / "repository")
    return Repository(release, tmp_path / "repository")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    (tmp_path / "node").mkdir()
    return Node(tmp_path / "node")


def install(node: Node, repository: Repository) -> Done:
    node.script = repository.script
    return node.run("--from", str(repository.store), "--dry-run", "master")


def pin(node: Node, *keys: str) -> None:
    flags = node.directory / "etc/mesosphere/setup-flags"
    flags.mkdir(parents=True)
    (flags / "release-keys").write_text("".join(f"{key}\n" for key in keys))


def test_a_signed_release_is_installed(node: Node, made: Repository) -> None:
    done = install(node, made)
    assert done.status == 0, done.output
    assert "signed by" in done.output
    assert "fetch etcd--" in done.output and "fetch dcos-config--" in done.output


def _unsigned(repository: Repository) -> None:
    for path in repository.documents.glob("*.sig"):
        path.unlink()


def _changed(name: str) -> Callable[[Repository], None]:
    def change(repository: Repository) -> None:
        (path,) = repository.documents.glob(name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return change


def _other_script(repository: Repository) -> None:
    """A script of nobody's, with the digests of a real one."""
    text = repository.script.read_text()
    repository.script.write_text(text.replace("readonly work=", "# changed\nreadonly work="))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_unsigned, "is not signed by"),
        (_changed("*.sig"), "is not signed by"),
        (_changed("SHA256SUMS"), "is not signed by"),
        (_changed("manifest.json"), "manifest.json: is not what was signed"),
        (_changed("metadata.json"), "metadata.json: is not what was signed"),
        (_other_script, "is not there, so no signature can be checked"),
    ],
)
def test_what_was_tampered_with_is_refused_and_nothing_is_changed(
    node: Node, own: Repository, spoil: Callable[[Repository], None], told: str
) -> None:
    spoil(own)
    done = install(node, own)
    assert done.status == 1, done.output
    assert told in done.output
    assert node.tree("etc") == node.tree("opt") == {}


def test_a_tampered_artifact_is_refused_by_its_digest(node: Node, own: Repository) -> None:
    (path,) = (own.store / "bootstrap").glob("*.bootstrap.tar.xz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = install(node, own)
    assert done.status == 3 and "does not have the digest this script carries" in done.output


def test_a_key_that_the_node_has_pinned_decides(node: Node, made: Repository) -> None:
    pin(node, f"ed25519:{'7' * 64}")
    done = install(node, made)
    assert done.status == 1 and "is not signed by" in done.output
