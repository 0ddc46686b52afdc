"""What stands beside the data: what etcd starts with, and what this node remembers of its membership.

/var/lib/dcos/etcd/default.etcd/     etcd's data, 0700
/var/lib/dcos/etcd/initial-nodes     etcd-<ip>=<peer url>,...   read by etcd.sh when there is no data
/var/lib/dcos/etcd/initial-state     new | existing
/var/lib/dcos/etcd/member.json       {"clusters": [ids, oldest first], "peers": [addresses]}
"""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dcos_etcd.errors import EtcdError
from dcos_etcd.plan import Member


class Memory(NamedTuple):
    """`clusters`: every cluster id this node's data has had, a restore gives a new one. `peers`: the members' addresses
    when last seen, for a restart that cannot ask ZooKeeper."""

    clusters: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


def read_memory(state: Path) -> Memory:
    """What this node remembers; an empty Memory when it was never a member. EtcdError when it cannot be read."""
    path = state / "member.json"
    try:
        found = json.loads(path.read_text())
        return Memory(tuple(found["clusters"]), tuple(found["peers"]))
    except FileNotFoundError:
        return Memory()
    except (OSError, ValueError, KeyError, TypeError):
        raise EtcdError(str(path), "cannot be read", "restore or remove it: etcd-discovery writes it") from None


def remember(state: Path, cluster_id: int, peers: Iterable[str]) -> None:
    """Note the cluster and the members' addresses."""
    known = read_memory(state)
    current = f"{cluster_id:x}"
    clusters = [each for each in known.clusters if each != current] + [current]
    memory = Memory(tuple(clusters), tuple(sorted(peers)))
    if memory != known:
        write_file(state / "member.json", json.dumps(memory._asdict(), indent=1) + "\n")


def write_initial(state: Path, value: str, members: Iterable[Member]) -> None:
    """What etcd.sh starts etcd with when there is no data; `value` is new or existing. The state comes last."""
    nodes = ",".join(f"{member.label}={member.peer_url}" for member in members)
    write_file(state / "initial-nodes", nodes + "\n")
    write_file(state / "initial-state", value + "\n")


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file by one rename."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    Path(new.name).chmod(mode)
    Path(new.name).rename(path)
