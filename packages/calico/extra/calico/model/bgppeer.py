"""BGPPeer: whom nodes peer with.

`passwordFile` is this product's addition: the plain name of a file with the session's password on the node itself. It
is left out when empty, so that upstream reads every peer that does not use it.
"""

from typing import NamedTuple

from calico.model import formats
from calico.model.problems import Path, Report
from calico.model.resource import Definition
from calico.model.scalars import AS_NUMBER
from calico.model.schema import Member, Struct, Text


class BGPPeerSpec(NamedTuple):
    """Neither `node` nor `node_selector` means every node."""

    node: str = ""
    peer_ip: str = ""
    as_number: int = 0
    node_selector: str = ""
    peer_selector: str = ""
    password_file: str = ""


def _rule(spec: BGPPeerSpec, path: Path, report: Report) -> None:
    if spec.node and spec.node_selector:
        report.add((*path, "node"), "Node field must be empty when NodeSelector is specified")
    if spec.peer_selector and spec.peer_ip:
        report.add((*path, "peerIP"), "PeerIP field must be empty when PeerSelector is specified")
    if spec.peer_selector and spec.as_number:
        report.add((*path, "asNumber"), "ASNumber field must be empty when PeerSelector is specified")


SPEC = Struct(
    BGPPeerSpec,
    (
        Member("node", Text(formats.name)),
        Member("peerIP", Text(formats.ip), always=True),
        Member("asNumber", AS_NUMBER, always=True),
        Member("nodeSelector", Text(formats.selector)),
        Member("peerSelector", Text(formats.selector)),
        Member("passwordFile", Text(formats.plain_file)),
    ),
    _rule,
)

DEFINITION = Definition(SPEC, formats.name)
