"""What the analysis looks at: values that collectors read, each of which may be missing."""

from typing import NamedTuple


class Unit(NamedTuple):
    """A unit as systemd has it. `is_wanted`: its conditions hold, or were never asked for."""

    name: str
    state: str
    sub_state: str
    result: str
    restarts: int
    status: str
    pid: int
    is_wanted: bool = True


class Interface(NamedTuple):
    """A network interface; `parent` is the name of the one a tunnel's packets leave by, where that is known."""

    name: str
    kind: str
    mtu: int
    is_up: bool
    parent: str = ""


class Disk(NamedTuple):
    """A file system by a directory on it: bytes and inodes, all and free (for others than root)."""

    directory: str
    size: int
    free: int
    inodes: int
    free_inodes: int


class Pool(NamedTuple):
    """A pool: addresses, and how many are in use."""

    name: str
    cidr: str
    size: int
    in_use: int
    disabled: bool


class Leak(NamedTuple):
    """An address that nobody uses."""

    address: str
    holder: str


class Clock(NamedTuple):
    """What a daemon's own clock said when ours said `ours` (seconds since 1970).

    `source` is how it was seen, `slack` how many seconds the two may differ for reasons of that way of seeing.
    """

    daemon: str
    time: float
    ours: float
    source: str
    slack: float


class Peer(NamedTuple):
    """A BGP session that is not established: with whom, its state, and what to do."""

    address: str
    state: str
    reason: str
    step: str


class Certificate(NamedTuple):
    """A certificate's file and when it ends (seconds since 1970), or why that cannot be read."""

    path: str
    ends: float = 0.0
    error: str = ""


class Facts(NamedTuple):
    """Everything the analysis may look at. None: it could not be read, or does not belong to this node."""

    now: float = 0.0
    node: str = ""
    datastore_error: str = ""
    units: tuple[Unit, ...] | None = None
    interfaces: tuple[Interface, ...] | None = None
    vxlan_wanted: bool | None = None
    disks: tuple[Disk, ...] | None = None
    pools: tuple[Pool, ...] | None = None
    leaks: tuple[Leak, ...] | None = None
    ipam_findings: tuple[str, ...] | None = None
    clocks: tuple[Clock, ...] = ()
    reporting: frozenset[str] = frozenset()
    """The nodes whose felix has reported to etcd in the last 90 s; none where no felix is told to."""
    drops: tuple[str, ...] | None = None
    bird_wanted: bool | None = None
    bird_error: str = ""
    peers: tuple[Peer, ...] | None = None
    differences: tuple[str, ...] | None = None
    certificates: tuple[Certificate, ...] | None = None
    log_tails: dict[str, str] = {}  # noqa: RUF012  a default of a NamedTuple, never changed
