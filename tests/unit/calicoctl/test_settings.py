"""Where calicoctl finds the datastore: file before environment, and what contradicts itself."""

from pathlib import Path

import pytest

from calico.calicoctl import settings
from calico.calicoctl.settings import load
from calico.datastore.settings import Settings, SettingsError

_HEAD = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {}\nspec:\n"


@pytest.fixture(autouse=True)
def _no_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DEFAULT_PATH", str(tmp_path / "absent.cfg"))
    monkeypatch.setattr(settings, "NODE_PATH", str(tmp_path / "node.cfg"))


def _file(tmp_path: Path, spec: str) -> str:
    path = tmp_path / "calicoctl.cfg"
    path.write_text(_HEAD + spec)
    return str(path)


def test_the_file_wins_over_the_environment(tmp_path: Path) -> None:
    path = _file(tmp_path, "  datastoreType: etcdv3\n  etcdEndpoints: https://a:2379, https://b:2379\n")
    assert load(path, {"ETCD_USERNAME": "x"}) == Settings(endpoints=("https://a:2379", "https://b:2379"))


def test_the_environment_serves_where_the_default_file_is_absent() -> None:
    environment = {"ETCD_ENDPOINTS": "http://a:1", "CALICO_ETCD_ENDPOINTS": "http://b:2", "ETCD_USERNAME": "u"}
    assert load(settings.DEFAULT_PATH, environment) == Settings(endpoints=("http://b:2",), username="u")


def test_on_a_node_the_bundles_own_file_serves_where_nothing_else_is_said(tmp_path: Path) -> None:
    Path(settings.NODE_PATH).write_text(_HEAD + "  etcdEndpoints: http://node:2379\n")
    assert load(settings.DEFAULT_PATH, {"PATH": "/bin"}).endpoints == ("http://node:2379",)
    assert load(settings.DEFAULT_PATH, {"ETCD_ENDPOINTS": "http://a:1"}).endpoints == ("http://a:1",)
    Path(settings.DEFAULT_PATH).write_text(_HEAD + "  etcdEndpoints: http://file:2379\n")
    assert load(settings.DEFAULT_PATH, {}).endpoints == ("http://file:2379",)


def test_a_password_file_is_passed_on_unread_and_headers_are_lower_cased() -> None:
    environment = {
        "ETCD_ENDPOINTS": "http://a:1",
        "ETCD_PASSWORD_FILE": "/run/password",
        "ETCD_CUSTOM_GRPC_METADATA": "Authorization:token=a.b,X:y",
    }
    loaded = load(settings.DEFAULT_PATH, environment)
    assert (loaded.password, loaded.password_file, loaded.metadata) == (
        "",
        "/run/password",
        {"authorization": "token=a.b", "x": "y"},
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("  etcdEndpoints: ''\n", "no etcd endpoints specified"),
        ("  etcdEndpoints: http://a\n  etcdDiscoverySrv: example.com\n", "multiple discovery or bootstrap options"),
        ("  etcdEndpoints: http://a\n  etcdKey: x\n  etcdKeyFile: /y\n", "Cannot mix inline"),
        ("  etcdEndpoint: http://a\n", "calicoctl.cfg:5: unknown member etcdEndpoint"),
        ("  etcdEndpoints: [a]\n", "etcdEndpoints must be text"),
        ("  datastoreType: kubernetes\n", "is not supported"),
        ("  etcdDiscoverySrv: example.com\n", "etcdDiscoverySrv is not supported"),
        ("  a: 1\n  a: 2\n", "is given twice"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, spec: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(_file(tmp_path, spec), {})


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Error reading config file") as caught:
        load(str(tmp_path / "none.cfg"), {"ETCD_ENDPOINTS": "http://a"})
    assert caught.value.on_stdout


def test_another_kind_of_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text("apiVersion: v1\nkind: CalicoAPIConfig\n")
    with pytest.raises(SettingsError, match="apiVersion is 'v1'; it must be projectcalico"):
        load(str(path), {})


def test_a_document_without_a_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text("foo: 1\n")
    with pytest.raises(SettingsError, match="apiVersion is missing; it must be projectcalico"):
        load(str(path), {})
