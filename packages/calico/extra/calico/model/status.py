"""The values felix reports to etcd."""

from typing import NamedTuple

from calico.model.schema import FLAG, NUMBER, TEXT, Member, Struct


class FelixStatus(NamedTuple):
    """A felix process: when it reported, and for how many seconds it has run."""

    time: str = ""
    uptime: float = 0.0
    first_update: bool = False


class EndpointStatus(NamedTuple):
    """`up`, `down` or `error`."""

    status: str = ""


FELIX_STATUS = Struct(
    FelixStatus,
    (
        Member("time", TEXT, always=True),
        Member("uptime", NUMBER, always=True),
        Member("first_update", FLAG, always=True),
    ),
)
ENDPOINT_STATUS = Struct(EndpointStatus, (Member("status", TEXT, always=True),))
