"""Masters form a cluster and keep it, whatever is lost, killed or replaced on the way."""

import os
import random
import time

import pytest

from tests.integration.etcd.masters import Site, eventually, formed

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(300)]

KILLS = 40 if os.environ.get("DCOS_CALICO_SOAK") == "1" else 3


def test_a_life(site: Site) -> None:
    """All at once; a client without certificate or rights; one wiped and back; one replaced by a new address."""
    one, two, three = masters = site.masters("m1", "m2", "m3")
    for master in masters:
        master.start()
    formed(masters)
    one.put("/calico/x", "1")
    assert len(three.everything()) == 1

    plain = one.run("curl", "-sS", "-m", "3", "-k", f"https://{two.address}:2379/version")
    assert plain.returncode != 0
    assert "200" not in plain.stdout
    assert one.etcdctl("get", "/calico/x", user="calico").stdout == "/calico/x\n1\n"
    assert one.etcdctl("get", "/other", user="calico").returncode != 0
    assert one.etcdctl("put", "/other", "1", user="calico").returncode != 0
    assert one.etcdctl("get", "/calico/x", user="").returncode != 0
    assert oct(one.data.stat().st_mode & 0o777) == "0o700"

    one.kill()
    one.wipe()
    one.start()
    formed(masters)
    assert len(one.everything()) == 1

    two.kill()
    four = site.master("m4")
    left = [one, three, four]
    for master in left:
        master.configure([each.address for each in left])
    four.start()
    assert one.tool("members", "--remove", two.address, "--yes").returncode == 0
    formed(left)
    assert len(four.everything()) == 1
    assert three.tool("diagnostic").stdout == "etcd: healthy, all members answer\n"


def test_killed_at_any_instant_of_joining(site: Site) -> None:
    """Whoever is killed while the cluster forms comes back and is a member in the end."""
    chance = random.Random(7)
    masters = site.masters("m1", "m2", "m3")
    for master in masters:
        master.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 1.5))
        victim = chance.choice(masters)
        victim.kill()
        victim.start()
    formed(masters)


def test_the_first_without_its_data_founds_no_second_cluster(site: Site) -> None:
    one = site.masters("m1")[0]
    one.start()
    formed([one])
    one.kill()
    one.run("rm", "-r", str(one.data))
    one.start()
    eventually(lambda: "this master's data is gone" in one.said(), [one])
    assert not one.data.exists()
