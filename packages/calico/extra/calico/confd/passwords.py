"""Sessions' passwords: small files of root's on the node, named by BGPPeers, which hold no path and no secret."""

import stat
from collections.abc import Iterable
from pathlib import Path

from calico.confd.cluster import Cluster
from calico.confd.plan import Password
from calico.model import formats

DIRECTORY = "/etc/dcos-calico/bgp"
_LONGEST_FILE = 4096


def wanted(cluster: Cluster) -> set[str]:
    """The files that BGPPeers name."""
    return {spec.password_file for spec in cluster.peers.values() if spec.password_file}


def read(directory: str, names: Iterable[str]) -> dict[str, Password]:
    """The contents of each, without the newline an editor leaves at the end."""
    return {name: _read(Path(directory), name) for name in names}


def _read(directory: Path, name: str) -> Password:
    if message := formats.plain_file(name):
        return Password(problem=message)
    path = directory / name
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            content = file.read(_LONGEST_FILE)
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except FileNotFoundError:
        return Password(problem=f"does not exist in {directory} on this node")
    except OSError as error:
        return Password(problem=f"cannot be read: {error.strerror}")
    except UnicodeError:
        return Password(problem="is not UTF-8 text")
    if stat.S_IMODE(mode) & 0o077:
        return Password(problem=f"may be read by others than root: chmod 600 {path}")
    return Password(text)
