"""A master's unit killed right before and right after each step of its join: a restart goes on from there."""

import base64
import os

import pytest

from tests.integration.etcd.masters import Master, Site, eventually, formed

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(300)]

_KILLER = """#!{python} -I
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "{package}/usr/lib/python")
from dcos_etcd import discovery, join
aim = Path("{directory}/aim")

def aimed(step, function, *arguments):
    def at(when):
        if aim.exists() and aim.read_text() == step + " " + when:
            aim.unlink()
            os.killpg(0, signal.SIGKILL)
    at("before")
    answer = function(*arguments)
    at("after")
    return answer

act, promote, users = join.Joiner._act, join._promote, join.ensure_users
join.Joiner._act = lambda self, step: aimed(type(step).__name__, act, self, step)
join._promote = lambda *arguments: aimed("promote", promote, *arguments)
join.ensure_users = lambda *arguments: aimed("users", users, *arguments)
sys.exit(discovery.main(sys.argv[1:]))
"""


def killed_at(master: Master, when: str, *steps: str) -> None:
    """Start the unit and have it killed at each step in turn; then start it a last time."""
    python = next(master.package.parent.glob("python--*/bin/python3"))
    killer, aim, unit = (master.directory / name for name in ("discovery", "aim", "unit"))
    killer.write_text(_KILLER.format(python=python, package=master.package, directory=master.directory))
    killer.chmod(0o755)
    unit.write_text(unit.read_text().replace(f"{master.package}/bin/etcd-discovery", str(killer)))
    for step in steps:
        aim.write_text(f"{step} {when}")
        master.start()
        eventually(lambda: not aim.exists(), [master])
        master.kill()
    master.start()


_ALL = [(mode, when) for mode in ("static", "zookeeper") for when in ("before", "after")]


@pytest.mark.parametrize(("mode", "when"), _ALL if os.environ.get("DCOS_CALICO_SOAK") else [("static", "after")])
def test_killed_at_each_step(site: Site, request: pytest.FixtureRequest, mode: str, when: str) -> None:
    settings = {"DISCOVERY": mode}
    if mode == "zookeeper":
        settings["ZK_ADDR"] = request.getfixturevalue("zookeeper").server
    one, two, three = masters = site.masters("m1", "m2", "m3", **settings)
    killed_at(one, when, "StartNew", "users")
    formed([one])
    one.put("/calico/x", "1")
    two.start()
    three.start()
    formed(masters)
    three.kill()
    killed_at(three, when, "Start")
    formed(masters)
    for step in ("RemoveMember", "AddLearner", "StartAdded", "promote"):
        three.kill()
        three.wipe()
        killed_at(three, when, step)
        formed(masters)
    three.kill()
    assert one.tool("members", "--remove", three.address, "--yes").returncode == 0
    killed_at(three, when, "SetAside")
    formed(masters)
    assert list(map(base64.b64decode, three.everything().values())) == [b"1"]
