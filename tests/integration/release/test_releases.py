"""`release create`, `promote`, `list`, `verify`, `prune` and `sign` as their users run them, on the real packages."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.samples import commands_of
from tests.servers.s3 import S3Server

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "config/calico.yaml"

Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.timeout(900)
"""The first test may build every package."""


class Place:
    """A directory with a storage, a key and the command."""

    def __init__(self, run: Run, directory: Path) -> None:
        self._run = run
        self.directory = directory
        self.store = directory / "store"
        self.settings = directory / "release.yaml"
        self.settings.write_text('storage:\n  here: {kind: local, path: store, url: "http://127.0.0.1:8000"}\n')
        self.key = directory / "key.pem"
        assert run("keygen", self.key).returncode == 0

    def __call__(self, command: str, *words: object) -> Any:
        """Run it; the JSON it answers with."""
        done = self.run(command, *words, "--format", "json")
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def run(self, command: str, *words: object) -> "subprocess.CompletedProcess[str]":
        """Run it, whatever comes of it."""
        done = self._run(command, *words, "--storage", self.settings)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def create(self, channel: str, *words: object) -> Any:
        """`release create` from this checkout."""
        return self("create", channel, "--config", CONFIG, "--allow-dirty", "--key", self.key, *words)

    def files(self) -> dict[str, str]:
        """Every file of the storage, with its digest."""
        return {
            str(path.relative_to(self.store)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.store.rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="module")
def made(release: Run, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A release in the channel testing; tests that change it take a copy."""
    place = Place(release, tmp_path_factory.mktemp("releases"))
    place.create("testing", "--tag", "1.0")
    return place


@pytest.fixture
def own(made: Place, release: Run, tmp_path: Path) -> Place:
    """A copy that a test may change."""
    place = Place.__new__(Place)
    place.__dict__.update(made.__dict__)
    shutil.copytree(made.directory, tmp_path / "copy")
    place.directory, place.store = tmp_path / "copy", tmp_path / "copy/store"
    place.settings, place.key = place.directory / "release.yaml", place.directory / "key.pem"
    return place


def name_of(place: Place) -> str:
    (row,) = place("list")
    return str(row["name"])


def test_created_twice_it_has_the_same_bytes(made: Place, release: Run, tmp_path: Path) -> None:
    other = Place(release, tmp_path)
    other.key = made.key
    other.create("testing", "--tag", "1.0")
    assert other.files() == made.files()


def test_again_in_the_same_place_it_writes_nothing(own: Place) -> None:
    before = {path: path.stat().st_mtime_ns for path in own.store.rglob("*")}
    assert own.create("testing", "--tag", "1.0")["status"] == "unchanged"
    assert {path: path.stat().st_mtime_ns for path in own.store.rglob("*")} == before


def test_a_dry_run_writes_nothing(own: Place) -> None:
    before = own.files()
    planned = own.create("nightly", "--tag", "1.1", "--dry-run")
    assert planned["status"] == "planned"
    assert [step["stage"] for step in planned["steps"]].count(2) == 1
    assert own.files() == before


def test_the_list_says_what_is_where(made: Place) -> None:
    (row,) = made("list")
    assert (row["channels"], row["tag"]) == (["testing"], "1.0")
    assert len(row["signed"]) == 1
    assert made.run("list").stdout.splitlines()[1].split()[1:3] == ["testing", "1.0"]


def test_promotion_builds_nothing_and_moves_one_file(own: Place) -> None:
    before = own.files()
    assert own("promote", "testing", "stable")["status"] == "moved"
    after = own.files()
    assert after.keys() - before.keys() == {"channels/stable/dcos_install.sh"}
    assert {path: after[path] for path in before} == before
    assert own("promote", "testing", "stable")["status"] == "unchanged"
    assert own("list")[0]["channels"] == ["stable", "testing"]


def test_verify_looks_at_a_channel_and_its_signature(made: Place) -> None:
    assert made("verify", "testing", "--key", f"{made.key}.pub")["status"] == "ok"
    assert made("verify", name_of(made)[:12])["signatures"] == "not checked"
    refused = made.run("verify", "testing", "--key", f"ed25519:{'7' * 64}")
    assert refused.returncode == 1 and ".sig: is missing" in refused.stderr


def tamper(place: Place, which: str) -> None:
    """Change a bit in the middle of a file."""
    (path,) = place.store.glob(which)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_whatever_is_tampered_with_is_refused(own: Place) -> None:
    release = name_of(own)
    for which in (
        "packages/calico/*.tar.xz",
        "bootstrap/*.tar.xz",
        "releases/*/SHA256SUMS.*.sig",
        "releases/*/manifest.json",
        "releases/*/metadata.json",
        "releases/*/provenance.json",
        "releases/*/sbom.json",
        "releases/*/dcos_install.sh",
    ):
        tamper(own, which)
    done = own.run("verify", release, "--key", f"{own.key}.pub")
    assert done.returncode == 1
    for told in (
        "packages/calico/",
        "bootstrap/",
        "is no signature of SHA256SUMS",
        "manifest.json: has sha256",
        "metadata.json: has sha256",
        "provenance.json: has sha256",
        "sbom.json: has sha256",
        "dcos_install.sh: is not the script that the release is named by",
    ):
        assert told in done.stderr


@pytest.mark.parametrize("member", ["commit", "tag"])
def test_metadata_that_tells_of_another_release_is_refused_however_well_it_is_made(own: Place, member: str) -> None:
    """Every digest agrees; but the script, whose digest is the release's name, says which release it is."""
    (directory,) = own.store.glob("releases/*")
    listed = {path: directory / path for path in ("metadata.json", "manifest.json", "SHA256SUMS")}
    documents = {path: listed[path].read_text() for path in listed}
    said = json.loads(documents["metadata.json"])
    _replace(documents, "metadata.json", listed, f'"{member}": "{said[member]}"', f'"{member}": "{"5" * 40}"')
    _replace(documents, "manifest.json", listed, "", "")
    for path, file in listed.items():
        file.write_text(documents[path])
    done = own.run("verify", "testing")
    assert done.returncode == 1
    assert "metadata.json: names another tag or commit than dcos_install.sh" in done.stderr
    assert ("provenance.json: is of another commit" in done.stderr) == (member == "commit")
    assert "has sha256" not in done.stderr


def _replace(documents: dict[str, str], name: str, files: dict[str, Path], old: str, new: str) -> None:
    """Change a document, and the digests that others have of it."""
    before = hashlib.sha256(files[name].read_bytes()).hexdigest()
    documents[name] = documents[name].replace(old, new, 1)
    after = hashlib.sha256(documents[name].encode()).hexdigest()
    size = files[name].stat().st_size
    for other in documents.keys() - {name}:
        text = documents[other].replace(before, after)
        documents[other] = text.replace(f'"size": {size}', f'"size": {len(documents[name].encode())}')


def test_a_changed_list_of_digests_is_not_what_was_signed(own: Place) -> None:
    tamper(own, "releases/*/SHA256SUMS")
    done = own.run("verify", "testing", "--key", f"{own.key}.pub")
    assert done.returncode == 1
    assert "is no signature of SHA256SUMS" in done.stderr


def test_a_second_key_signs_beside_the_first(own: Place) -> None:
    second = own.directory / "second.pem"
    own._run("keygen", second)
    own("sign", "testing", "--key", second)
    for key in (own.key, second):
        assert own("verify", "testing", "--key", f"{key}.pub")["status"] == "ok"
    assert len(own("list")[0]["signed"]) == 2


def test_what_is_not_in_order_is_not_signed(own: Place) -> None:
    tamper(own, "releases/*/SHA256SUMS")
    before = own.files()
    done = own.run("sign", "testing", "--key", own.key)
    assert (done.returncode, "SHA256SUMS" in done.stderr) == (1, True), done.stderr
    assert own.files() == before


def test_a_signature_is_one_for_openssl_too(own: Place) -> None:
    (sums,) = own.store.glob("releases/*/SHA256SUMS")
    key = {"release-key.pem": own.key}
    for line in (
        *commands_of("docs/explanation/signatures.md", "openssl pkeyutl", key),
        *commands_of("docs/how-to/releases.md", "openssl pkeyutl", key),
        *commands_of("docs/how-to/releases.md", "sha256sum"),
    ):
        done = subprocess.run(["bash", "-c", line], cwd=sums.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_a_release_that_nodes_would_refuse_is_not_made(own: Place) -> None:
    config = own.directory / "config.yaml"
    config.write_text(f"{CONFIG.read_text()}\nrelease_keys: ['ed25519:{'7' * 64}']\n")
    done = own.run("create", "nightly", "--config", config, "--allow-dirty", "--key", own.key)
    assert done.returncode == 1 and "nodes will ask for a signature" in done.stderr


def test_metadata_and_provenance_say_what_it_was_made_from(made: Place) -> None:
    (path,) = made.store.glob("releases/*/metadata.json")
    said = json.loads(path.read_text())
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (said["tag"], said["commit"]) == ("1.0", commit.stdout.strip())
    statement = json.loads((path.parent / "provenance.json").read_text())
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    build = statement["predicate"]["buildDefinition"]
    assert build["internalParameters"]["inputs"] == said["inputs"]
    names = {each["name"] for each in build["resolvedDependencies"]}
    assert {"dcos-calico", "etcd-server", "pyyaml"} <= names
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    assert subjects == {each["path"]: each["sha256"] for each in (*said["core_artifacts"], *said["channel_artifacts"])}


def test_prune_removes_nothing_that_a_channel_needs(own: Place) -> None:
    before = own.files()
    assert own("prune", "--older-than", "0")["removed"] == []
    assert own.files() == before


def test_a_checkout_that_differs_from_its_commit_is_refused(own: Place, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "packages").mkdir(parents=True)
    (tree / "buildinfo.json").write_text("{}")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=tree, check=True)
    (tree / "buildinfo.json").write_text('{"requires": []}')
    done = own.run("create", "x", "--config", CONFIG, "--packages", tree / "packages")
    assert done.returncode == 1
    assert "--allow-dirty" in done.stderr and "as buildinfo.json" in done.stderr
    (tree / "buildinfo.json").write_text("{}")
    (tree / "packages/x").mkdir()
    (tree / "packages/x/swap~").write_text("")
    (tree / ".git/info/exclude").write_text("*~\n")
    done = own.run("calicoctl", "--tag", "v3.14-d2iq.1", "--packages", tree / "packages")
    assert done.returncode == 1
    assert "as packages/x/swap~" in done.stderr, "it would be built in"
    outside = own.run("create", "x", "--config", CONFIG, "--packages", tmp_path)
    assert outside.returncode == 1 and "a release is made from a commit" in outside.stderr


def test_calicoctls_builds(own: Place) -> None:
    once, again = (own("calicoctl", "--tag", "v3.14-d2iq.1", "--allow-dirty") for _ in range(2))
    assert once == again
    first = once["paths"][0]
    assert first.startswith("http://127.0.0.1:8000/dcos-calicoctl/bin/v3.14-d2iq.1/")
    program = own.store / first.removeprefix("http://127.0.0.1:8000/")
    assert hashlib.sha256(program.read_bytes()).hexdigest() == once["sha256"]
    done = subprocess.run([program, "convert", "-f", "-"], input="", capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    refused = own.run("calicoctl", "--tag", "v3.15-d2iq.1", "--allow-dirty")
    assert refused.returncode == 1 and "speaks 3.14" in refused.stderr


def test_a_bucket_is_as_good_as_a_folder(own: Place, tmp_path: Path) -> None:
    server = S3Server(tmp_path).start()
    settings = own.directory / "s3.yaml"
    credentials = "access_key_id: test, secret_access_key: $SECRET, region: us-east-1"
    settings.write_text(
        f"storage:\n  bucket: {{kind: s3, bucket: {server.bucket}, prefix: calico, endpoint_url: '{server.url}', "
        f"{credentials}, url: 'http://127.0.0.1:8000'}}\n"
    )
    own.settings = settings
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("SECRET", "test")
            assert own.create("testing", "--tag", "1.0")["status"] == "written"
            assert own.create("testing", "--tag", "1.0")["status"] == "unchanged"
            own("promote", "testing", "stable")
            assert own("verify", "stable", "--key", f"{own.key}.pub")["status"] == "ok"
            (row,) = own("list")
            assert row["channels"] == ["stable", "testing"]
            assert own("prune", "--older-than", "0")["removed"] == []
        keys = {each["Key"] for each in server.client().list_objects_v2(Bucket=server.bucket)["Contents"]}
        assert keys == {f"calico/{path}" for path in own.files()} | {"calico/channels/stable/dcos_install.sh"}
    finally:
        server.stop()
