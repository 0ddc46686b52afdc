"""The operator's procedures on three real masters: backup, restore, refusals, recovery, rotation."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from tests.integration.etcd.masters import Master, Site, eventually, formed
from tests.samples import commands_of

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(300)]

KEYS = 300
ROTATIONS = 20 if os.environ.get("DCOS_CALICO_SOAK") == "1" else 1


@pytest.fixture
def masters(site: Site) -> list[Master]:
    masters = site.masters("m1", "m2", "m3")
    for master in masters:
        master.start()
    formed(masters)
    return masters


def fill(master: Master) -> dict[str, str]:
    """Write KEYS keys in one etcdctl; what etcd holds then."""
    for start in range(0, KEYS, 100):
        puts = "".join(f'put "/calico/k{number}" "{number * 7919}"\n' for number in range(start, start + 100))
        done = master.etcdctl("txn", stdin=f"\n{puts}\n\n")
        assert done.returncode == 0, done.stderr
    return master.everything()


def state(master: Master) -> list[str]:
    """What is in the state directory, and the unit's process."""
    return [*sorted(path.name for path in master.state.iterdir()), (master.directory / "pid").read_text()]


def as_written(master: Master, line: str) -> str:
    """Run a command of the guide; what it printed."""
    done = master.tool(*line.split()[1:])
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_rotate_back_up_restore_recover(site: Site, masters: list[Master], tmp_path: Path) -> None:
    one, two, three = masters
    _rotate(site, masters)
    everything = fill(one)
    archive = tmp_path / "b.tar.gz"
    instead = {"/root/etcd-$(date +%F).tar.gz": archive, "/root/etcd-2026-01-31.tar.gz": archive}
    diagnostic, members, backup, verify = commands_of("docs/how-to/etcd.md", "dcos-etcdctl", instead)
    as_written(one, diagnostic)
    assert three.address in as_written(one, members)
    as_written(one, backup)
    assert json.loads(two.tool("verify", str(archive), "--format", "json").stdout)["keys"] >= KEYS
    as_written(two, verify)
    again = one.tool("backup", str(archive))
    assert (again.returncode, "exists" in again.stderr) == (1, True)

    _refusals_change_nothing(two, archive, tmp_path)

    one.put("/calico/late", "1")
    refused = one.tool("restore", str(archive), "--yes")
    assert (refused.returncode, "still runs" in refused.stderr) == (1, True)
    for master in masters:
        master.stop()
    asked = one.tool("restore", str(archive))
    assert (asked.returncode, "give --yes" in asked.stderr) == (1, True)
    for master in masters:
        done = master.tool("restore", str(archive), "--yes")
        assert done.returncode == 0, done.stderr
    for master in masters:
        master.start()
    formed(masters)
    for master in masters:
        assert master.everything() == everything

    # Two of three are lost for good.
    one.put("/calico/after", "restore")
    everything = one.everything()
    two.kill()
    three.kill()
    two.wipe()
    three.wipe()
    eventually(lambda: "no majority" in one.tool("diagnostic").stdout, masters)
    done = one.tool("recover", "--yes")
    assert done.returncode == 0, done.stderr + one.log()
    assert one.everything() == everything
    two.start()
    three.start()
    formed(masters)
    assert three.everything() == everything
    assert one.tool("recover", "--yes").returncode == 1
    assert "KiB after" in two.tool("defrag").stdout
    assert json.loads(three.tool("diagnostic", "--format", "json").stdout) == {"healthy": True, "problems": []}


def _refusals_change_nothing(master: Master, archive: Path, directory: Path) -> None:
    """Truncated, flipped, of another cluster: refused while etcd runs, with the data where it is."""
    before, content = state(master), archive.read_bytes()
    damaged = directory / "damaged.tar.gz"
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    for bad in (content[: len(content) // 2], content[:-1], bytes(flipped)):
        damaged.write_bytes(bad)
        done = master.tool("restore", str(damaged), "--yes")
        assert (done.returncode, "is no whole backup" in done.stderr) == (1, True)
        assert len(done.stderr.splitlines()) == 1
    memory = master.state / "member.json"
    ours = memory.read_text()
    memory.write_text(json.dumps({"clusters": ["abc"], "peers": []}))
    done = master.tool("restore", str(archive), "--yes")
    assert (done.returncode, "--cluster" in done.stderr) == (1, True)
    memory.write_text(ours)
    assert state(master) == before


class Writer(threading.Thread):
    """Writes one key after another until told to stop; remembers what was accepted and the longest wait for it."""

    def __init__(self, master: Master) -> None:
        super().__init__()
        self._master, self.accepted, self.longest, self.ending = master, 0, 0.0, False

    def run(self) -> None:
        """Write on, whatever one attempt says."""
        since = time.monotonic()
        while not self.ending:
            done = self._master.etcdctl("put", f"/calico/w{self.accepted}", "1")
            if done.returncode == 0:
                self.longest = max(self.longest, time.monotonic() - since)
                since = time.monotonic()
                self.accepted += 1
        self.longest = max(self.longest, time.monotonic() - since)


def _rotate(site: Site, masters: list[Master]) -> None:
    """Certificates are replaced under a writer, and a member restarts with them: no write is lost or waits."""
    writer = Writer(masters[0])
    writer.start()
    try:
        for _ in range(ROTATIONS):
            before = writer.accepted
            site.renew()
            eventually(lambda before=before: writer.accepted > before + 5, masters)  # type: ignore[misc]
        # Both ends of its connections are made anew.
        masters[1].stop()
        masters[1].start()
        formed(masters)
    finally:
        writer.ending = True
        writer.join()
    assert writer.longest < 10
    assert len(masters[2].everything()) == writer.accepted
