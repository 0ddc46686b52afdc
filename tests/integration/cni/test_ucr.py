"""As Mesos' UCR calls: its environment and no more, the port mapper around the plugin, a configuration checkpointed at
ADD and given again at DEL, results in the shape of 0.1.0."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gen.parameters import defaults
from gen.render import render
from lab import cni
from lab.marathon import Port
from tests.integration.cni.node import Done, Node, Space

ID = "7c1f2e3d-4b5a-4c6d-8e9f-001122334455"
LONG = "https://example.invalid/" + "x" * 60


def rendered(node: Node) -> dict[str, Any]:
    """The network configuration that the bundle brings, for this node's etcd."""
    values = {**defaults(), "cluster_name": "x", "bootstrap_url": "http://h", "master_list": ["192.0.2.11"]}
    values["calico_etcd_tls"] = False
    files = {file.path: file.content for file in render(values, frozenset())}
    conf: dict[str, Any] = json.loads(files["etc/dcos/network/cni/calico.conf"])
    conf["delegate"]["etcd_endpoints"] = node.url
    return conf


class Isolator:
    """Mesos' network/cni isolator, as far as a plugin sees it."""

    def __init__(self, node: Node, directory: Path) -> None:
        self._node, self._directory = node, directory

    def isolate(self, container: str, space: Space, conf: dict[str, Any]) -> Done:
        """ADD, with the configuration checkpointed first."""
        checkpoint = self._directory / container / conf["name"] / "network.conf"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_text(json.dumps(conf))
        return self._plugin("ADD", container, space.path, checkpoint)

    def cleanup(self, container: str, network: str, namespace: str) -> Done:
        """DEL, with what was checkpointed; without a namespace whose handle is gone."""
        return self._plugin("DEL", container, namespace, self._directory / container / network / "network.conf")

    def _plugin(self, command: str, container: str, namespace: str, checkpoint: Path) -> Done:
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_PATH": str(self._node.plugins),
            "CNI_IFNAME": "eth0",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        if namespace:
            environment["CNI_NETNS"] = namespace
        conf = json.loads(checkpoint.read_text())
        done = subprocess.run(
            [*self._node.space.prefix, str(self._node.plugins / conf["type"])],
            stdin=checkpoint.open("rb"),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("is_handle_gone", [False, True])
def test_a_mesos_container(node: Node, tmp_path: Path, is_handle_gone: bool) -> None:
    labels = {"DCOS_SPACE": "/a/b/c", "biz_type": "bookstore", "URL": LONG}
    conf = cni.configuration(rendered(node), labels, [Port(host=31000, container=80, protocol="tcp")])
    isolator, space = Isolator(node, tmp_path), node.container("ucr")
    added = isolator.isolate(ID, space, conf)
    assert added.status == 0, added
    document = added.document
    assert document == {"cniVersion": "0.2.0", "ip4": {"ip": added.address}, "dns": {}}
    address = added.address.removesuffix("/32")
    assert address.startswith("172.29.")
    mapped = (node.plugins / "iptables.log").read_text()
    assert f"--dport 31000 -m comment --comment container_id: {ID} -j DNAT --to-destination {address}:80" in mapped
    endpoint = node.endpoints()["10.0.0.5-cni-7c1f2e3d--4b5a--4c6d--8e9f--001122334455-eth0"]
    found = endpoint["metadata"]["labels"]
    assert found.pop("URL").endswith("x" * 50)
    assert found == {
        "DCOS_SPACE": "a.b.c",
        "biz_type": "bookstore",
        "projectcalico.org/namespace": "default",
        "projectcalico.org/orchestrator": "cni",
    }
    assert endpoint["spec"]["profiles"] == ["calico"]
    assert json.loads(space.ip("-j", "link", "show", "eth0"))[0]["mtu"] == 1500
    if is_handle_gone:
        space.remove()
    deleted = isolator.cleanup(ID, "calico", "" if is_handle_gone else space.path)
    assert (deleted.status, deleted.output) == (0, "")
    assert not node.endpoints()
    assert not node.handles()
    assert not node.interfaces()


def test_an_error_reaches_mesos_as_an_object(node: Node, tmp_path: Path) -> None:
    conf = cni.configuration(rendered(node), {"k" * 64: "v"}, [])
    refused = Isolator(node, tmp_path).isolate(ID, node.container("ucr"), conf)
    assert refused.status == 1
    assert refused.document["cniVersion"] == "0.1.0"
    assert f"metadata.labels.{'k' * 64}" in refused.document["msg"]
    assert not node.handles()
