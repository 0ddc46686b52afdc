"""`node status`: is felix running, and how does BIRD fare with each of its peers; why, and what to do about it.

The table is upstream's. One BIRD serves both families here, so both are read from its one socket.
"""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from calico.calicoctl.output.table import bordered
from calico.calicoctl.session import Failure, Session
from calico.confd import control
from calico.confd.sessions import Daemon, SessionState, next_step, read_daemon, read_running

PROCESSES = "/proc"
SOCKETS = (control.SOCKET, "/run/bird/bird.ctl")
BGP_FLAG = "/opt/mesosphere/etc/calico/bird_enabled"
_HEADINGS = ["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"]
_NONE_RUNS = "None of the BGP backend processes (BIRD or GoBGP) are running."


class Status(NamedTuple):
    """What there is to tell. `error` is why BIRD could not be asked; `bgp_is_off` that it is not meant to run."""

    felix: bool
    daemon: Daemon = Daemon()
    sessions: tuple[SessionState, ...] = ()
    error: str = ""
    bgp_is_off: bool = False


def run(session: Session, options: argparse.Namespace) -> int:
    """Print the status; the exit code: 0, or 1 where felix does not run."""
    if os.geteuid() != 0:
        raise Failure("Need super user privileges: Operation not permitted")
    status = read_status(options.socket)
    if options.output == "json":
        session.say(json.dumps(document(status), indent=2))
    else:
        _print(session, status)
    return 0 if status.felix else 1


def read_status(socket: str = "") -> Status:
    """The status of this node."""
    felix = any(map(_is_felix, _command_lines()))
    path = socket or next((path for path in SOCKETS if os.path.exists(path)), SOCKETS[0])
    try:
        return Status(felix, read_daemon(path), tuple(read_running(path).sessions))
    except control.ControlError as error:
        is_off = not socket and not os.path.exists(BGP_FLAG) and not os.path.exists(path)
        return Status(felix, error=str(error), bgp_is_off=is_off)


def _command_lines() -> Iterator[list[str]]:
    for entry in Path(PROCESSES).iterdir():
        if entry.name.isdigit():
            try:
                yield (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it has ended
                continue


def _is_felix(words: Sequence[str]) -> bool:
    """Ours (a module run by Python), or upstream's (a program of its own, or `calico-node -felix`)."""
    program = words[0].rpartition("/")[2]
    return (
        program == "calico-felix" or "-felix" in words[1:2] or any(word.startswith("calico.felix.") for word in words)
    )


def document(status: Status) -> dict[str, Any]:
    """The status for programs."""
    daemon = status.daemon
    bird = {
        "running": not status.error,
        "version": daemon.version,
        "routerID": daemon.router_id,
        "started": daemon.started,
        "configured": daemon.configured,
        "error": status.error,
    }
    return {
        "felix": {"running": status.felix},
        "bird": bird,
        "bgp": "off" if status.bgp_is_off else "on",
        "peers": [_peer(one) for one in status.sessions],
    }


def _peer(session: SessionState) -> dict[str, Any]:
    return {
        "address": session.address,
        "family": session.version,
        "type": session.kind,
        "asNumber": session.as_number,
        "state": session.state,
        "since": session.since,
        "info": session.info,
        "reason": session.error,
        "nextStep": next_step(session),
        "routes": {"imported": session.imported, "preferred": session.preferred, "exported": session.exported},
    }


def _print(session: Session, status: Status) -> None:
    if status.felix:
        session.say("Calico process is running.")
    else:
        session.complain("Calico process is not running. (systemctl status dcos-calico-felix)")
    if status.bgp_is_off:
        session.say(f"\n{_NONE_RUNS}\nBGP is off on this node: calico_vxlan_enabled is true.")
        return
    if status.error:
        session.say(f"\n{_NONE_RUNS}")
        session.complain(f"Error querying BIRD: {status.error}")
        return
    for version in (4, 6):
        _print_family(session, version, [one for one in status.sessions if one.version == version])


def _print_family(session: Session, version: int, sessions: Sequence[SessionState]) -> None:
    session.say(f"\nIPv{version} BGP status")
    if not sessions:
        session.say(f"No IPv{version} peers found.")
        return
    rows = [[one.address, one.kind, one.state, one.since, one.reason] for one in sessions]
    session.stdout.write(bordered([_HEADINGS, *rows]))
    for one in sessions:
        if step := next_step(one):
            session.say(f"{one.address}: {step}")
