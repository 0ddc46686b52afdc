"""The settings of etcd.env: what is accepted, and the one line for what is not."""

from pathlib import Path

import pytest

from dcos_etcd import settings as module
from dcos_etcd.errors import EtcdError
from dcos_etcd.settings import Settings, load_settings

GOOD = {
    "DISCOVERY": "static",
    "MASTERS": "10.0.0.1 10.0.0.2",
    "TLS": "true",
    "PKI_DIR": "/pki",
    "DATA_DIR": "/var/lib/dcos/etcd/default.etcd",
    "CLIENT_PORT": "2379",
    "PEER_PORT": "2380",
    "METRICS_URL": "http://127.0.0.1:2381",
}


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Load":
    monkeypatch.setattr(module, "_detect_ip", lambda: "10.0.0.2")
    monkeypatch.setenv("ETCD_ENV", str(tmp_path / "etcd.env"))
    return Load(tmp_path / "etcd.env")


class Load:
    """Loads changed settings."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, **changed: str) -> Settings:
        lines = [f'ETCD_{name}="{value}"\n' for name, value in {**GOOD, **changed}.items()]
        self._path.write_text("# a comment\n" + "".join(lines))
        return load_settings()


def test_what_gen_writes(load: Load) -> None:
    found = load()
    assert found.masters == ("10.0.0.1", "10.0.0.2")
    assert (found.name, found.peer_url) == ("etcd-10.0.0.2", "https://10.0.0.2:2380")
    assert found.client_url_of("10.0.0.1") == "https://10.0.0.1:2379"
    assert found.state == Path("/var/lib/dcos/etcd")
    assert load(TLS="false").peer_url == "http://10.0.0.2:2380"
    assert load(DISCOVERY="zookeeper", MASTERS="", ZK_ADDR="127.0.0.1:2181").zk_addr == "127.0.0.1:2181"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"TLS": "yes"}, "ETCD_TLS is 'yes'; it is true or false"),
        ({"DISCOVERY": "dns"}, "ETCD_DISCOVERY is 'dns'; it is static or zookeeper"),
        ({"DISCOVERY": "zookeeper"}, "ETCD_ZK_ADDR is not set"),
        ({"MASTERS": ""}, "ETCD_MASTERS is not set"),
        ({"CLIENT_PORT": "x"}, "ETCD_CLIENT_PORT is 'x', which is no port"),
    ],
)
def test_what_cannot_work(load: Load, changed: dict[str, str], message: str) -> None:
    with pytest.raises(EtcdError, match=message):
        load(**changed)


def test_no_file(load: Load) -> None:
    with pytest.raises(EtcdError, match="cannot be read"):
        load_settings()
