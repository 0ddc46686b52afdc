"""`calicoctl node status` beside real sessions, one for each way in which they fail: the reason and the next step."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calico.calicoctl.cli import main
from calico.calicoctl.session import Session
from calico.calicoctl.verbs import node as verb
from tests.integration.confd.site import Cluster, Node, Site
from tests.servers.bird import Bird, wait_for

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

ROUTER = """
router id 10.80.0.{number};
protocol device {{}}
protocol bgp node {{
  local 10.80.0.{number} as {own}; neighbor {peer} as {other}; {more} ipv4 {{ import all; export none; }};
}}
"""


def calicoctl(*words: str) -> tuple[int, str, str]:
    session = Session({})
    session.stdout, session.stderr = io.StringIO(), io.StringIO()
    code = main(("node", "status", *words), session)
    return code, session.stdout.getvalue(), session.stderr.getvalue()


@pytest.fixture
def router(site: Site, tmp_path: Path) -> Iterator[Callable[..., Bird]]:
    birds: list[Bird] = []

    def make(number: int, own: int = 65001, other: int = 64512, peer: str = "10.80.0.1", more: str = "") -> Bird:
        name = f"router{number}"
        site.add_host(name, number)
        birds.append(Bird(tmp_path / name, site.prefix(name)))
        text = ROUTER.format(number=number, own=own, other=other, peer=peer, more=more)
        birds[-1].config.write_text(text)
        return birds[-1].start()

    yield make
    for one in birds:
        one.kill()


def test_every_session_says_why_it_is_not_up_and_what_to_do(
    site: Site, cluster: Cluster, router: Callable[..., Bird], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake felix stands in /proc, since this is about BIRD."""
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/cmdline").write_bytes(b"/x/bin/python3\0-I\0/y/run.py\0calico.felix.cli\0")
    monkeypatch.setattr(verb, "PROCESSES", str(tmp_path / "proc"))
    for number in (20, 21, 22, 23, 24, 25):
        cluster.put("BGPPeer", f"p{number}", {"peerIP": f"10.80.0.{number}", "asNumber": 65001})
    cluster.put_node("n1", 1)
    site.add_host("n1", 1)
    site.add_host("deaf", 20)
    router(22, own=65009)
    router(23, more='password "x";')
    router(24, peer="10.80.0.77")
    router(25)
    node = Node(site, cluster, tmp_path, "n1")
    try:
        node.start()
        expected = {
            "10.80.0.20": ("Socket: Connection refused", "nothing listens on 10.80.0.20 port 179"),
            "10.80.0.21": ("Socket: ", "10.80.0.21 cannot be reached"),
            "10.80.0.22": ("Bad peer AS", "takes 10.80.0.22 for 65001"),
            "10.80.0.23": ("", "where a password is set, both ends' must be the same"),
            "10.80.0.24": ("Connection ", "10.80.0.24 hangs up"),
            "10.80.0.25": ("", ""),
        }

        def peers() -> dict[str, dict[str, object]]:
            _, out, _ = calicoctl("-o", "json", "--socket", node.bird.socket)
            return {one["address"]: one for one in json.loads(out)["peers"]}

        told: set[str] = set()

        def is_told() -> bool:
            """Each once: what BIRD says last may be of the latest of several attempts."""
            found = peers()
            told.update(
                address
                for address, (reason, step) in expected.items()
                if reason in str(found[address]["reason"]) and step in str(found[address]["nextStep"])
            )
            return found["10.80.0.25"]["info"] == "Established" and told == set(expected)

        wait_for(is_told, "each reason", lambda: json.dumps(peers(), indent=1), 60)
        code, out, _ = calicoctl("--socket", node.bird.socket)
        assert code == 0
        lines = out.splitlines()
        assert lines[0] == "Calico process is running."
        assert lines[2] == "IPv4 BGP status"
        assert [cell.strip() for cell in lines[4].strip("|").split("|")] == (
            ["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"]
        )
        row = next(line for line in lines if "10.80.0.25" in line and line.startswith("|"))
        assert [cell.strip() for cell in row.strip("|").split("|")][1:3] == ["global", "up"]
        assert "Established" in row
        assert any(line.startswith("10.80.0.20: nothing listens") for line in lines)
        assert not any(line.startswith("10.80.0.25: ") for line in lines), "nothing to do there"
        assert lines[-2:] == ["IPv6 BGP status", "No IPv6 peers found."]

        # The node's address is not its own any more: BIRD says so, and so do we.
        cluster.put("Node", "n1", {"bgp": {"ipv4Address": "10.80.0.99/24"}})
        wait_for(lambda: peers()["10.80.0.20"]["reason"] == "10.80.0.99 is on no interface here", "the wrong address")
    finally:
        node.stop()


def test_no_bird(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(verb, "PROCESSES", str(tmp_path / "proc"))
    code, out, err = calicoctl("--socket", str(tmp_path / "bird.ctl"))
    assert code == 1, "felix does not run"
    assert "None of the BGP backend processes (BIRD or GoBGP) are running." in out
    assert "Calico process is not running." in err
    assert "there is no such socket (systemctl status dcos-calico-bird)" in err
    monkeypatch.setattr(verb, "SOCKETS", (str(tmp_path / "bird.ctl"),))
    monkeypatch.setattr(verb, "BGP_FLAG", str(tmp_path / "bird_enabled"))
    code, out, err = calicoctl()
    assert "BGP is off on this node: calico_vxlan_enabled is true." in out
    assert "Error" not in err
    code, out, _ = calicoctl("-o", "json")
    assert json.loads(out)["bgp"] == "off"
    assert not json.loads(out)["bird"]["running"]
