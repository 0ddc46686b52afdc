"""What goes wrong on the way: etcd, the agent, the plugin or the container is gone. Then nothing is left behind."""

import json
import signal
import threading
import time

from calico.client.resources import Client
from calico.datastore.store import Store
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.check import check
from calico.ipam.snapshot import take_snapshot
from tests.integration.cni.node import Node, eventually

ID1 = "0a1b2c3d-1111-4222-8333-444455556666"
ID2 = "9f8e7d6c-aaaa-4bbb-8ccc-ddddeeeeffff"


def assert_clean(node: Node) -> None:
    """Neither etcd nor the kernel hold anything of a container, and everything adds up."""
    assert not node.endpoints()
    assert not node.handles()
    assert not node.interfaces()
    report = node.with_store(lambda store: check(take_snapshot(store)))
    assert report.findings == ()
    assert {str(one.use) for one in report.allocations} <= {"tunnel"}


def test_etcd_away_during_add_and_del(node: Node) -> None:
    assert node.cluster is not None
    first, second = node.container("a"), node.container("b")
    assert node.call("ADD", ID1, first.path).status == 0
    node.cluster.members[0].kill()
    adding, deleting = node.begin("ADD", ID2, second.path), node.begin("DEL", ID1, first.path)
    for process in (adding, deleting):
        output, _ = process.communicate(timeout=110)
        document = json.loads(output)
        assert (process.returncode, document["code"]) == (1, 11)
        assert "the datastore cannot be used" in document["msg"]
    node.cluster.members[0].start()
    node.cluster.wait()
    for container, space in ((ID1, first), (ID2, second)):
        assert node.call("DEL", container, space.path).status == 0
    assert_clean(node)


def test_the_agent_killed_while_it_adds(node: Node) -> None:
    """The plugin does the same work itself, and takes up what the agent had done."""
    assert node.cluster is not None
    space = node.container("a")
    node.cluster.members[0].pause()
    process = node.begin("ADD", ID1, space.path)
    time.sleep(0.5)
    node.stop_agent(signal.SIGKILL)
    node.cluster.members[0].resume()
    output, errors = process.communicate(timeout=110)
    assert process.returncode == 0, output + errors
    assert len(node.endpoints()) == len(node.handles()) == 1
    assert node.call("CHECK", ID1, space.path, node.conf(cniVersion="1.0.0")).status == 0
    node.start_agent()
    assert node.call("DEL", ID1, space.path).status == 0
    assert_clean(node)


def test_a_plugin_killed_at_any_moment(node: Node) -> None:
    """In its own process, where its death ends the work. What it left, DEL finds."""
    node.stop_agent()
    space = node.container("a")
    for number in range(8):
        process = node.begin("ADD", ID1, space.path)
        killer = threading.Timer(0.05 + 0.03 * number, process.kill)
        killer.start()
        process.communicate(timeout=60)
        killer.cancel()
        assert node.call("DEL", ID1, space.path).status == 0
        assert_clean(node)


def test_the_namespace_gone_before_del(node: Node) -> None:
    space = node.container("a")
    assert node.call("ADD", ID1, space.path).status == 0
    space.remove()
    assert node.call("DEL", ID1, space.path).status == 0
    assert_clean(node)
    assert node.call("DEL", ID2, "").status == 0


def test_a_reboot_keeps_the_address(node: Node) -> None:
    """The endpoint is there and the namespace is new: the interface is made anew."""
    space = node.container("a")
    first = node.call("ADD", ID1, space.path)
    space.remove()
    again = node.call("ADD", ID1, node.container("b").path)
    assert (again.status, again.address) == (0, first.address)
    assert len(node.handles()) == len(node.interfaces()) == 1


def test_an_exhausted_pool(node: Node) -> None:
    def shrink(store: Store) -> None:
        client = Client(store, Ipam(store))
        for pool in client.list("IPPool").items:
            client.delete("IPPool", pool.metadata.name)
        spec = pool.spec._replace(cidr="10.8.0.0/26", vxlan_mode="Never", disabled=False)
        client.create(pool._replace(metadata=type(pool.metadata)("tiny"), spec=spec))
        given = Ipam(store).auto_assign(Request(node.name, ipv4=64, handle="others"))
        assert len(given.ipv4) == 64

    node.with_store(shrink)
    refused = node.call("ADD", ID1, node.container("a").path)
    assert refused.status == 1
    message = refused.document["msg"]
    assert "failed to request 1 IPv4 addresses. IPAM allocated only 0" in message
    assert "every address of tiny (10.8.0.0/26) is in use" in message
    assert "see what `calicoctl ipam check` finds unused, or add an IPPool" in message
    assert not node.interfaces()
    assert node.handles() == {"others"}


def test_a_disabled_pool_and_an_unready_datastore(node: Node) -> None:
    def disable(store: Store) -> None:
        client = Client(store)
        pool = client.get("IPPool", "default-ipv4-ippool")
        client.replace(pool._replace(spec=pool.spec._replace(disabled=True)))

    def ready(value: bool) -> None:
        def write(store: Store) -> None:
            client = Client(store)
            found = client.get("ClusterInformation", "default")
            client.replace(found._replace(spec=found.spec._replace(datastore_ready=value)))

        node.with_store(write)

    node.with_store(disable)
    space = node.container("a")
    refused = node.call("ADD", ID1, space.path)
    assert (refused.status, refused.document["code"]) == (1, 100)
    assert "no configured Calico pools for node 10.0.0.5" in refused.document["msg"]
    ready(False)
    for command in ("ADD", "DEL"):
        refused = node.call(command, ID1, space.path)
        assert (refused.status, refused.document["code"]) == (1, 11)
        assert refused.document["msg"] == "Calico is currently not ready to process requests"
    status = node.call("STATUS", "", "", node.conf(cniVersion="1.1.0"))
    assert (status.status, status.document["code"]) == (1, 50)
    ready(True)
    assert node.call("STATUS", "", "", node.conf(cniVersion="1.1.0")).status == 0
    assert node.call("DEL", ID1, space.path).status == 0


def test_a_node_that_never_started(bare_node: Node) -> None:
    refused = bare_node.call("ADD", ID1, bare_node.container("a").path)
    assert refused.status == 1
    assert "nodename: no such file or directory: check that dcos-calico-node runs" in refused.document["msg"]


def test_garbage_collection(node: Node) -> None:
    """GC takes back what the runtime does not know of, and leaves other networks and other nodes alone."""
    spaces = {container: node.container(container[:2]) for container in (ID1, ID2)}
    for container, space in spaces.items():
        assert node.call("ADD", container, space.path).status == 0
    other = node.container("o")
    assert node.call("ADD", "0therc0ntainer", other.path, node.conf(name="calico.more")).status == 0

    def leak(store: Store) -> None:
        Ipam(store).auto_assign(Request(node.name, ipv4=1, handle="calico.gone", attributes={"node": node.name}))
        Ipam(store).auto_assign(Request(node.name, ipv4=1, handle="calico.far", attributes={"node": "10.0.0.9"}))

    node.with_store(leak)
    conf = node.conf(cniVersion="1.1.0", **{"cni.dev/valid-attachments": [{"containerID": ID1, "ifname": "eth0"}]})
    assert node.call("GC", "", "", conf) == (0, "", "")
    assert node.handles() == {f"calico.{ID1}", "calico.more.0therc0ntainer", "calico.far"}
    assert len(node.endpoints()) == len(node.interfaces()) == 2


def test_what_the_agent_waits_for_is_in_its_status(bare_node: Node) -> None:
    assert bare_node.cluster is not None
    bare_node.cluster.members[0].kill()
    bare_node.start_agent()
    eventually(lambda: "start-up: waits: " in bare_node.log(), "the agent says what it waits for")
    bare_node.cluster.members[0].start()
    eventually((bare_node.state / "nodename").exists, "start-up ends once etcd is there", 60)
    assert bare_node.stop_agent() == 0
