"""The same through ZooKeeper: any start order, ZooKeeper restarted meanwhile, and its registry kept true."""

import json
import sys
import time

import pytest

from tests.integration.etcd.masters import Site, eventually, formed
from tests.servers.zookeeper import ZooKeeper

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(300)]


_READ = """if 1:
    import sys
    from kazoo.client import KazooClient
    client = KazooClient(sys.argv[1], auth_data=[("digest", sys.argv[2])] if sys.argv[2] else []); client.start(10)
    try:
        print(client.get("/etcd/nodes")[0].decode())
    except Exception as error:
        print(type(error).__name__)
    client.stop()
"""


def test_cluster_forms_while_zookeeper_restarts(site: Site, zookeeper: ZooKeeper) -> None:
    masters = site.masters("m3", "m1", "m2", DISCOVERY="zookeeper", ZK_ADDR=zookeeper.server)
    for master in masters:
        master.configure([], DISCOVERY="zookeeper", ZK_ADDR=zookeeper.server)
        (master.directory / "zk-creds").write_text("DATASTORE_ZK_USER=etcd\nDATASTORE_ZK_SECRET=secret\n")
        master.start()
    time.sleep(1.5)
    zookeeper.kill()
    time.sleep(2)
    zookeeper.start()
    formed(masters)

    # A restart needs no ZooKeeper; a member that lost all does, and waits for it.
    zookeeper.kill()
    one, two, _ = masters
    one.kill()
    one.start()
    formed(masters)
    two.kill()
    two.wipe()
    two.start()
    eventually(lambda: "ZooKeeper at" in two.said(), masters)
    zookeeper.start()
    formed(masters)

    read = one.run(sys.executable, "-c", _READ, zookeeper.server, "etcd:secret")
    assert sorted(json.loads(read.stdout)["nodes"]) == sorted(master.address for master in masters), read.stderr
    assert one.run(sys.executable, "-c", _READ, zookeeper.server, "").stdout == "NoAuthError\n"
