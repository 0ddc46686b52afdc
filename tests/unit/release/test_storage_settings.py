"""The file that says where releases are kept."""

from pathlib import Path

import pytest

from pkgpanda.errors import PandaError
from release.storage.http import HttpStorage
from release.storage.local import LocalStorage
from release.storage.s3 import S3Storage
from release.storage.settings import load

ROOT = Path(__file__).resolve().parents[3]
S3 = "{kind: s3, bucket: b, region: us-east-1, access_key_id: $KEY, secret_access_key: $SECRET, prefix: calico}"
ENVIRONMENT = {"KEY": "a", "SECRET": "s"}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "release.yaml"
    path.write_text(text)
    return path


def test_the_shipped_file_is_valid_as_it_stands() -> None:
    known = load(ROOT / "config/release.yaml", {})
    assert isinstance(known.preferred, LocalStorage)
    assert known.writable() == [known.preferred]


def test_every_kind_and_upstreams_names_for_them(tmp_path: Path) -> None:
    text = f"""
storage:
  folder: {{kind: local_path, path: store, url: "http://h/x/"}}
  web: {{kind: http_read, url: "https://h/y/"}}
  bucket: {S3.replace("kind: s3", "kind: aws_s3")}
  frozen: {{kind: local, path: /srv, read_only: true}}
options: {{preferred: bucket}}
"""
    known = load(written(tmp_path, text), ENVIRONMENT)
    folder, web, bucket = (known.all[name] for name in ("folder", "web", "bucket"))
    assert isinstance(folder, LocalStorage) and folder.root == tmp_path / "store"
    assert isinstance(web, HttpStorage) and isinstance(bucket, S3Storage)
    assert (folder.url, web.url) == ("http://h/x", "https://h/y")
    assert known.preferred is bucket
    assert known.writable() == [folder, bucket], "the preferred one is last: it is what people look at"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "is not a mapping"),
        ("a: [", "is not YAML"),
        ("storage: {}", "names no storage"),
        ("storage: {a: {kind: local, path: x}}\nextra: 1", "extra: is not known here"),
        ("storage: {a: {kind: ftp, path: x}}", "storage.a.kind: is none of local, http and s3"),
        ("storage: {a: 1}", "storage.a: is not a mapping"),
        ("storage: {a: {kind: local}}", "storage.a.path: is missing"),
        ("storage: {a: {kind: local, path: x, bucket: y}}", "storage.a.bucket: is no setting of local"),
        ("storage: {a: {kind: local, path: 7}}", "storage.a.path: must be text"),
        ('storage: {a: {kind: local, path: x, read_only: "yes"}}', "storage.a.read_only: must be true or false"),
        ("storage: {a: {kind: local, path: $NONE}}", "the environment has no NONE"),
        ("storage: {a: {kind: local, path: x}}\noptions: {preferred: b}", "is the name of no storage"),
        ("storage: {1: {kind: local, path: x}}\noptions: {preferred: b}", "is the name of no storage"),
        ("storage: {a: {kind: local, path: x}}\noptions: {preferred: [a]}", "is the name of no storage"),
        ("storage: {a: {kind: local, path: x}}\noptions: 7", "is the name of no storage"),
        ("storage: {a: {kind: [local], path: x}}", "storage.a.kind: is none of local, http and s3"),
        ("storage: {a: {kind: local, path: 2001-99-99}}", "is not YAML"),
        ("[" * 5000, "is nested too deeply"),
        (
            "storage: {a: {kind: http, url: downloads.example/x}}",
            "storage.a.url: is no http://, https:// or file:// address",
        ),
        (
            "storage: {a: {kind: local, path: x, url: 'http://'}}",
            "storage.a.url: is no http://, https:// or file:// address",
        ),
        (
            "storage: {a: {kind: local, path: x, url: 'http://h/a b'}}",
            "storage.a.url: is no http://, https:// or file:// address",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(PandaError, match=told.replace(".", r"\.")):
        load(written(tmp_path, text), {})


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PandaError) as caught:
        load(written(tmp_path, "storage: {a: {kind: local}, b: {kind: s3}, c: {kind: x}}"), {})
    assert len(caught.value.problems) == 3


def test_a_dollar_can_be_meant(tmp_path: Path) -> None:
    known = load(written(tmp_path, "storage: {a: {kind: local, path: $$x}}"), {})
    assert isinstance(known.preferred, LocalStorage) and known.preferred.root == tmp_path / "$x"


def test_no_file_says_how_to_come_to_one(tmp_path: Path) -> None:
    with pytest.raises(PandaError, match=r"config/release\.yaml"):
        load(tmp_path / "none.yaml", {})
