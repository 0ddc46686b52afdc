"""BIRD's replies, taken apart; and what is said of them."""

import logging

import pytest

from calico.confd.control import ControlError, Line
from calico.confd.health import PATIENCE, Figures, SessionLog, Standing
from calico.confd.sessions import Running, SessionState, next_step, parse_protocols

HEADER = Line(2002, "Name       Proto      Table      State  Since         Info")
REPLY = [
    HEADER,
    Line(1002, "device1    Device     ---        up     15:35:57.031  "),
    Line(1002, "kernel4    Kernel     master4    up     15:35:57.031  "),
    Line(1006, "  Channel ipv4"),
    Line(1006, "    Routes:         1 imported, 7 exported, 1 preferred"),
    Line(1002, "Mesh_10_0_0_2 BGP        ---        up     2026-11-24    Established   "),
    Line(1006, "  BGP state:          Established"),
    Line(1006, "    Neighbor address: 10.0.0.2"),
    Line(1006, "    Neighbor AS:      64512"),
    Line(1006, "    Local AS:         64512"),
    Line(1006, "    Last error:       Received: Hold timer expired"),
    Line(1006, "    Routes:         4 imported, 0 filtered, 2 exported, 3 preferred"),
    Line(1006, ""),
    Line(1002, "Global_2001_db8__1 BGP        ---        start  15:35:57.031  Active     Socket: Connection refused"),
    Line(1006, "  BGP state:          Active"),
    Line(1006, "    Neighbor address: 2001:db8::1"),
    Line(1006, "    Neighbor AS:      65001"),
    Line(1006, "    Local AS:         64512"),
    Line(1006, "    Last error:       Socket: Connection refused"),
    Line(1002, "Node_10_0_0_9 BGP        ---        down   15:35:57.031  "),
    Line(1002, "somebody_elses BGP        ---        up     15:35:57.031  Established"),
    Line(0, ""),
]


def test_sessions_are_read() -> None:
    mesh, outside, disabled = Running(tuple(parse_protocols(REPLY))).sessions
    assert mesh == SessionState(
        "Mesh_10_0_0_2", "10.0.0.2", 64512, 64512, "up", "2026-11-24", "Established", "", 4, 2, 3
    )
    assert (mesh.kind, mesh.version, mesh.is_established, next_step(mesh)) == ("node-to-node mesh", 4, True, "")
    assert (outside.kind, outside.version, outside.is_established) == ("global", 6, False)
    assert outside.reason == "Active Socket: Connection refused"
    assert "2001:db8::1 port 179" in next_step(outside)
    assert (disabled.kind, disabled.state) == ("node specific", "down")
    assert "enable Node_10_0_0_9" in next_step(disabled)


def test_a_source_that_is_on_no_interface_is_the_reason() -> None:
    lines = [
        HEADER,
        Line(1002, "Mesh_10_0_0_2 BGP        ---        start  15:35:57.031  Active        Socket: Connection closed"),
        Line(1006, "  Description:    from 10.0.0.1"),
        Line(1006, "  BGP state:          Active"),
        Line(1006, "    Neighbor address: 10.0.0.2"),
        Line(1006, "    Last error:       Socket: Connection closed"),
    ]
    protocols = tuple(parse_protocols(lines))
    (found,) = Running(protocols, frozenset({"10.0.0.7"})).sessions
    assert found.reason == "Active 10.0.0.1 is on no interface here"
    (found,) = Running(protocols, frozenset({"10.0.0.1"})).sessions
    assert found.reason == "Active Socket: Connection closed"


def test_another_programs_answer_is_refused() -> None:
    with pytest.raises(ControlError, match="unknown BIRD table output format"):
        list(parse_protocols([Line(2002, "Name Pid")]))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("Socket: Connection refused", "systemctl status dcos-calico-bird there"),
        ("Socket: No route to host", "ip route get 10.0.0.2"),
        ("Socket: Connection timed out", "tcp port 179"),
        ("10.0.0.9 is on no interface here", "ip address"),
        ("Socket: Connection closed", "10.0.0.2 hangs up"),
        ("Error: Bad peer AS", "in 64512 and takes 10.0.0.2 for 65001"),
        ("Received: Bad peer AS", "AS numbers"),
        ("Error: Hold timer expired", "get lost"),
        ("Received: Peer de-configured", "BGPPeers"),
        ("Received: Connection rejected", "no peering with this node's address"),
        ("", "tcp port 179"),
        ("Something nobody has seen", "tcp port 179"),
    ],
)
def test_every_error_has_a_next_step(error: str, advice: str) -> None:
    assert advice in next_step(session("Mesh_10_0_0_2", error, as_number=65001))


def session(name: str, error: str = "", info: str = "Active", as_number: int = 64512) -> SessionState:
    address = name.split("_", 1)[1].replace("_", ".")
    return SessionState(name, address, as_number, 64512, "start", "now", info, error)


def test_the_status_line() -> None:
    assert Standing(waiting="etcd is away").status == "nothing rendered yet: etcd is away"
    assert Standing(error="no socket (do this)", problems=2).status == (
        "BIRD is not ready: no socket (do this); 2 problems, see the log"
    )
    good, poor = session("Mesh_10_0_0_1", info="Established"), session("Mesh_10_0_0_2", "Socket: Connection refused")
    assert Standing(sessions=(good,)).status == "1 of 1 sessions established"
    text = Standing(sessions=(good, poor, poor), away="no answer").status
    assert text.startswith("1 of 3 sessions established; 10.0.0.2 Active Socket: Connection refused: nothing listens")
    assert "(1 more: calicoctl node status)" in text
    assert text.endswith("; etcd is away: no answer")


def test_a_session_is_reported_once_and_again_when_its_reason_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    follower, poor = SessionLog(), session("Mesh_10_0_0_2")

    def lines(*sessions: SessionState, at: float) -> list[str]:
        caplog.clear()
        follower.follow(sessions, at)
        return [record.getMessage() for record in caplog.records]

    assert lines(poor, at=0) == [], "it just begins"
    assert lines(poor, at=PATIENCE - 1) == []
    (said,) = lines(poor, at=PATIENCE)
    assert "session=Mesh_10_0_0_2" in said
    assert "next_step=" in said
    assert lines(poor, at=PATIENCE + 10) == []
    assert len(lines(poor._replace(error="Socket: No route to host"), at=PATIENCE + 20)) == 1
    assert len(lines(poor._replace(info="Established"), at=PATIENCE + 30)) == 1, "it is well"
    assert lines(poor, at=PATIENCE + 40) == [], "it was lost a moment ago"
    many = [session(f"Mesh_10_0_1_{number}") for number in range(100)]
    lines(*many, at=1000)
    assert len(lines(*many, at=1000 + PATIENCE)) == 11, "ten, and how many more"


def test_figures() -> None:
    figures = Figures()
    figures.observe(Running(tuple(parse_protocols(REPLY))))
    text = figures.registry.render()
    for line in (
        'calico_bgp_sessions{family="ipv4",type="node-to-node mesh",state="established"} 1',
        'calico_bgp_session_up{peer="2001:db8::1",type="global"} 0',
        'calico_bgp_routes{peer="10.0.0.2",type="node-to-node mesh",direction="imported"} 4',
        'calico_bird_kernel_routes{family="ipv4"} 7',
    ):
        assert line in text.splitlines()
    figures.observe(Running())
    assert "peer=" not in figures.registry.render(), "what is gone has no figures"
